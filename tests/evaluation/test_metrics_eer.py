"""EER against counting in exact fractions, and by what must hold for any EER."""

from fractions import Fraction

import numpy as np
import pytest

from hf_ser.evaluation.metrics.eer import equal_error_rate, one_vs_rest_eer

# Levels of the scores: few make many ties, 10**9 makes practically none.
LEVELS = (2, 3, 7, 50, 10**9)


def score_sets(levels, trials=40):
    generator = np.random.default_rng(levels)
    for _ in range(trials):
        clips = int(generator.integers(2, 120))
        targets = generator.random(clips) < generator.uniform(0.1, 0.9)
        targets[:2] = [True, False]
        scores = generator.normal(size=clips) + generator.uniform(-1, 3) * targets
        yield np.floor(scores * levels / 4) if levels < 10**9 else scores, targets


def operating_points(scores, targets):
    """FPR and FNR at every threshold, counted one by one in exact fractions."""
    positives = [score for score, target in zip(scores, targets, strict=True) if target]
    negatives = [score for score, target in zip(scores, targets, strict=True) if not target]
    for threshold in [np.inf, *sorted(set(scores), reverse=True)]:
        accepted = sum(score >= threshold for score in negatives)
        rejected = sum(score < threshold for score in positives)
        yield Fraction(accepted, len(negatives)), Fraction(rejected, len(positives))


def crossing(points):
    """Where the line through the operating points meets FPR = FNR, in exact fractions."""
    before = None
    for fpr, fnr in points:
        if fpr == fnr:
            return fpr
        if fpr > fnr:
            previous_fpr, previous_fnr = before
            share = (previous_fnr - previous_fpr) / (previous_fnr - previous_fpr + fpr - fnr)
            return previous_fpr + share * (fpr - previous_fpr)
        before = fpr, fnr
    raise AssertionError("the last point accepts all clips: FPR 1, FNR 0")


@pytest.mark.parametrize("levels", LEVELS)
def test_equals_exact_counting(levels):
    for scores, targets in score_sets(levels, trials=15):
        exact = float(crossing(operating_points(scores.tolist(), targets.tolist())))
        assert equal_error_rate(scores, targets) == pytest.approx(exact, abs=1e-15)


@pytest.mark.parametrize(
    ("scores", "targets", "expected"),
    [
        ([3, 2, 1, 0], [1, 1, 0, 0], 0.0),
        ([0, 1, 2, 3], [1, 1, 0, 0], 1.0),
        ([5, 5, 5, 5, 5], [1, 0, 0, 0, 0], 0.5),
        ([1, 0], [1, 0], 0.0),
        ([0, 1], [1, 0], 1.0),
        ([np.inf, 0.0, -np.inf], [1, 0, 0], 0.0),
        ([0.0, -0.0], [1, 0], 0.5),
        # One positive between two negatives: the line from (0, 1) to (1/2, 1) to (1/2, 0) meets at 1/2.
        ([2, 1, 0], [0, 1, 0], 0.5),
    ],
)
def test_known_values(scores, targets, expected):
    assert equal_error_rate(scores, targets) == expected


@pytest.mark.parametrize("levels", LEVELS)
def test_what_holds_for_every_score_set(levels):
    generator = np.random.default_rng(1)
    for scores, targets in score_sets(levels):
        value = equal_error_rate(scores, targets)
        assert 0 <= value <= 1
        order = generator.permutation(len(scores))
        assert equal_error_rate(scores[order], targets[order]) == value
        # The ranks are a strictly increasing map that cannot merge close scores.
        ranks = np.unique(scores, return_inverse=True)[1]
        for mapped in (ranks, 3 * ranks - 7, ranks**3, np.log1p(ranks)):
            assert equal_error_rate(mapped, targets) == value
        assert equal_error_rate(-scores, ~targets) == pytest.approx(value, abs=1e-15)
        assert equal_error_rate(-scores, targets) == pytest.approx(1 - value, abs=1e-15)
        assert equal_error_rate(np.tile(scores, 3), np.tile(targets, 3)) == pytest.approx(value, abs=1e-15)


def test_averages():
    generator = np.random.default_rng(2)
    references = generator.integers(0, 5, 300)
    scores = generator.random((300, 6))
    scores[np.arange(300), references] += 0.4
    macro, micro, per_class = one_vs_rest_eer(scores, references)
    for index in range(5):
        assert per_class[index] == equal_error_rate(scores[:, index], references == index)
    assert np.isnan(per_class[5])
    assert macro == pytest.approx(per_class[:5].mean())
    assert micro == equal_error_rate(scores.ravel(), (references[:, None] == np.arange(6)).ravel())


@pytest.mark.parametrize(
    ("scores", "references", "message"),
    [
        ([0.1, 0.9], [0, 1], r"scores have shape \(2,\)"),
        ([[0.1], [0.9]], [0, 0], "at least two classes"),
        ([[0.1, 0.9]], [0, 1], r"references \(2,\)"),
        ([[0.1, 0.9], [0.2]], [0, 1], "not a table of numbers"),
        ([[0.1, np.nan]], [0], "1 NaN"),
        ([[0.1, 0.9]], [2], "references contain 2, not a class index; give whole numbers from 0 to 1"),
        ([[0.1, 0.9]], [-1], "references contain -1"),
        ([[0.1, 0.9]], [0.5], "references contain 0.5"),
        ([[0.1, 0.9]], [np.nan], "references contain nan"),
        (np.zeros((0, 2)), [], r"references \(0,\)"),
    ],
)
def test_refuses(scores, references, message):
    with pytest.raises(ValueError, match=message) as caught:
        one_vs_rest_eer(scores, references)
    assert "\n" not in str(caught.value)
