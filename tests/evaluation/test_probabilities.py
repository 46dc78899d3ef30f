"""Figures of probabilities against scikit-learn, scipy and counting by hand; edges: ties, one class, one clip, NaN."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from hf_ser.evaluation import probabilities as figures

ALL = (*figures.PROBABILITY_FIGURES.values(), figures.roc_auc, figures.reliability, figures.risk_coverage)


def tables(trials=15, classes=5):
    """Probabilities with and without ties, and references that follow them in part."""
    generator = np.random.default_rng(4)
    for trial in range(trials):
        clips = int(generator.integers(20, 200))
        table = generator.dirichlet(np.full(classes, 0.6), clips)
        if trial % 3 == 0:
            table = np.round(table * 4) + 0.1
            table /= table.sum(axis=1, keepdims=True)
        likely = np.array([generator.choice(classes, p=row) for row in table])
        references = np.where(generator.random(clips) < 0.7, likely, generator.integers(0, classes, clips))
        references[:classes] = range(classes)
        yield table, references


def test_against_scikit_learn_and_pairs():
    for table, truth in tables():
        assert figures.log_loss(table, truth) == pytest.approx(sklearn.metrics.log_loss(truth, table))
        target = np.eye(5)[truth]
        assert figures.brier_score(table, truth) == pytest.approx(5 * sklearn.metrics.mean_squared_error(target, table))
        for index, area in enumerate(figures.roc_auc(table, truth)):
            inside, outside = table[truth == index, index], table[truth != index, index]
            pairs = scipy.stats.mannwhitneyu(inside, outside).statistic / (len(inside) * len(outside))
            assert area == pytest.approx(pairs)
        mean = sklearn.metrics.roc_auc_score(truth, table, multi_class="ovr")
        assert figures.roc_auc(table, truth).mean() == pytest.approx(mean)


def test_calibration_error_by_a_loop_over_the_bins():
    for table, truth in tables():
        expected = 0.0
        confidence, hit = table.max(axis=1), table.argmax(axis=1) == truth
        for bin in range(figures.BINS):
            inside = (confidence > bin / figures.BINS) & (confidence <= (bin + 1) / figures.BINS)
            if inside.any():
                expected += inside.mean() * abs(hit[inside].mean() - confidence[inside].mean())
        assert figures.expected_calibration_error(table, truth) == pytest.approx(expected)
        assert sum(figures.reliability(table, truth)["share"]) == pytest.approx(1)


def test_risk_by_counting_at_every_threshold():
    for table, truth in tables():
        confidence, wrong = table.max(axis=1), table.argmax(axis=1) != truth
        coverage, risk, thresholds = figures.risk_coverage(table, truth)
        assert (np.diff(thresholds) < 0).all()
        assert coverage[-1] == 1
        assert risk[-1] == pytest.approx(wrong.mean())
        for share, error, threshold in zip(coverage, risk, thresholds, strict=True):
            assert share == pytest.approx((confidence >= threshold).mean())
            assert error == pytest.approx(wrong[confidence >= threshold].mean())
        each = [risk[np.flatnonzero(thresholds <= value)[0]] for value in confidence]
        assert figures.area_under_risk(table, truth) == pytest.approx(np.mean(each))


def test_constant_scores_say_nothing():
    table, truth = np.full((8, 4), 0.25), np.arange(8) % 4
    assert figures.roc_auc(table, truth).tolist() == [0.5] * 4
    assert figures.log_loss(table, truth) == pytest.approx(np.log(4))
    assert figures.expected_calibration_error(table, truth) == 0
    assert figures.area_under_risk(table, truth) == 0.75
    assert figures.risk_coverage(table, truth)[0].tolist() == [1]


def test_a_class_is_missing_and_one_clip():
    areas = figures.roc_auc([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], [0, 1])
    assert areas[:2].tolist() == [1, 1]
    assert np.isnan(areas[2])
    assert np.isnan(figures.roc_auc([[0.7, 0.3]], [0])).all()
    assert figures.log_loss([[1.0, 0.0]], [1]) == pytest.approx(-np.log(1e-15))
    assert figures.brier_score([[1.0, 0.0]], [1]) == 2
    assert figures.area_under_risk([[1.0, 0.0]], [0]) == 0


@pytest.mark.parametrize(
    ("table", "references", "message"),
    [
        ([[np.nan, 1.0]], [0], "outside 0 to 1, or NaN"),
        ([[2.0, -1.0]], [0], "outside 0 to 1"),
        ([[0.5, 0.5]], [2], "not a class index; give whole numbers from 0 to 1"),
        ([[0.5, 0.5]], [0.5], "not a class index"),
        ([[0.5, 0.5]], [0, 1], r"shape \(1, 2\) and references \(2,\)"),
        (np.zeros((0, 2)), [], r"shape \(0, 2\)"),
        ([[1.0]], [0], r"shape \(1, 1\)"),
    ],
)
@pytest.mark.parametrize("figure", ALL)
def test_refuses(figure, table, references, message):
    with pytest.raises(ValueError, match=message):
        figure(table, references)
