"""Wilson's interval by its defining equation; the bootstrap by looking at every clip again, and by coverage."""

import numpy as np
import pytest
import sklearn.metrics

from hf_ser.evaluation.intervals import bootstrap_counts, percentile_interval, wilson_interval
from hf_ser.evaluation.metrics.accuracy import accuracy_score
from hf_ser.evaluation.metrics.uar import unweighted_average_recall


@pytest.mark.parametrize(("successes", "trials"), [(1, 2), (35, 39), (300, 400), (1, 1000)])
def test_wilson_bounds_are_where_the_score_test_rejects(successes, trials):
    for bound in wilson_interval(successes, trials):
        deviation = abs(successes / trials - bound)
        assert deviation == pytest.approx(1.959964 * np.sqrt(bound * (1 - bound) / trials), rel=1e-6)


def test_wilson_at_the_ends():
    assert wilson_interval(0, 10)[0] == 0.0
    assert wilson_interval(10, 10)[1] == 1.0
    assert wilson_interval(0, 10)[1] == pytest.approx(1.959964**2 / (10 + 1.959964**2), rel=1e-6)
    assert wilson_interval(0, 0) is None
    for trials in range(1, 60):
        for successes in range(trials + 1):
            low, high = wilson_interval(successes, trials)
            assert 0 <= low <= successes / trials <= high <= 1


def test_a_draw_is_what_looking_at_its_clips_again_gives():
    generator = np.random.default_rng(0)
    speakers, classes, clips = 5, 3, 30
    references = np.tile(np.arange(classes), (speakers, clips // classes))
    predictions = np.where(generator.random((speakers, clips)) < 0.6, references, 0)
    counts = np.stack(
        [
            sklearn.metrics.confusion_matrix(true, guess, labels=range(classes))
            for true, guess in zip(references, predictions, strict=True)
        ]
    )
    draws = bootstrap_counts(counts, 20, np.random.default_rng(7))
    weights = np.random.default_rng(7).multinomial(speakers, [1 / speakers] * speakers, size=20)
    for draw, weight in zip(draws, weights, strict=True):
        true = np.repeat(references, weight, axis=0).ravel()
        guess = np.repeat(predictions, weight, axis=0).ravel()
        assert accuracy_score(draw) == pytest.approx(sklearn.metrics.accuracy_score(true, guess))
        assert unweighted_average_recall(draw) == pytest.approx(sklearn.metrics.balanced_accuracy_score(true, guess))


def simulated_counts(generator, speakers, clips=20, classes=4):
    """Confusion counts of speakers whose recalls scatter around 0.6, the UAR to be covered."""
    hits = generator.binomial(clips, generator.beta(6, 4, size=(speakers, classes)))
    counts = np.zeros((speakers, classes, classes))
    index = np.arange(classes)
    counts[:, index, index] = hits
    counts[:, index, (index + 1) % classes] = clips - hits
    return counts


@pytest.mark.parametrize(("speakers", "low", "high"), [(4, 0.72, 0.90), (10, 0.83, 0.96), (40, 0.89, 0.99)])
def test_coverage(speakers, low, high):
    """Near 95 % with many speakers; with few it falls short, which is why the notes call those too narrow."""
    generator = np.random.default_rng(speakers)
    covered = 0
    for _ in range(300):
        draws = bootstrap_counts(simulated_counts(generator, speakers), 300, generator)
        lower, upper = percentile_interval(unweighted_average_recall(draws))
        covered += lower <= 0.6 <= upper
    assert low <= covered / 300 <= high
