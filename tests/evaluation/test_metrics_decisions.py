"""Accuracy, UAR, F1, the paper's EER and the confusion matrix against scikit-learn and against counting."""

import numpy as np
import pytest
import sklearn.metrics

from hf_ser.evaluation.metrics.accuracy import accuracy_score
from hf_ser.evaluation.metrics.confusion import row_percent
from hf_ser.evaluation.metrics.counts import confusion_counts
from hf_ser.evaluation.metrics.f1 import f1_averages, precision_recall_f1
from hf_ser.evaluation.metrics.paper_eer import paper_equal_error_rate
from hf_ser.evaluation.metrics.uar import unweighted_average_recall

CLASSES = 8


def decision_sets(trials=20):
    """References that may lack classes, and predictions that may name classes which never occur."""
    generator = np.random.default_rng(3)
    for _ in range(trials):
        clips = int(generator.integers(3, 300))
        occurring = generator.permutation(CLASSES)[: generator.integers(2, CLASSES + 1)]
        references = generator.choice(occurring, clips)
        references[:2] = occurring[:2]
        noise = generator.integers(0, CLASSES, clips)
        yield np.where(generator.random(clips) < 0.6, references, noise), references


def test_equals_scikit_learn():
    for predictions, references in decision_sets():
        counts = confusion_counts(predictions, references, CLASSES)
        present = np.unique(references)
        every = range(CLASSES)
        np.testing.assert_array_equal(counts, sklearn.metrics.confusion_matrix(references, predictions, labels=every))
        assert accuracy_score(counts) == sklearn.metrics.accuracy_score(references, predictions)
        recall = sklearn.metrics.recall_score(references, predictions, labels=present, average="macro")
        assert unweighted_average_recall(counts) == pytest.approx(recall, abs=1e-12)
        averages = f1_averages(counts)
        for average in ("macro", "weighted"):
            expected = sklearn.metrics.f1_score(
                references, predictions, labels=present, average=average, zero_division=0
            )
            assert averages[average] == pytest.approx(expected, abs=1e-12)
        assert averages["micro"] == pytest.approx(
            sklearn.metrics.f1_score(references, predictions, average="micro"), abs=1e-12
        )
        theirs = sklearn.metrics.precision_recall_fscore_support(
            references, predictions, labels=every, zero_division=np.nan
        )
        precision, recalls, f1 = precision_recall_f1(counts)
        np.testing.assert_allclose(precision, theirs[0])
        np.testing.assert_allclose(recalls, theirs[1])
        np.testing.assert_allclose(f1[present], theirs[2][present])
        assert np.isnan(np.delete(f1, present)).all()


def test_a_class_without_clips_takes_no_part():
    # The last class never occurs, and takes one clip of the first.
    counts = [[3, 0, 1], [0, 2, 0], [0, 0, 0]]
    assert unweighted_average_recall(counts) == (0.75 + 1) / 2
    assert f1_averages(counts)["macro"] == pytest.approx((6 / 7 + 1) / 2)
    assert row_percent(counts)[:2].tolist() == [[75, 0, 25], [0, 100, 0]]
    assert np.isnan(row_percent(counts)[2]).all()
    precision, recall, f1 = precision_recall_f1(counts)
    assert precision[2] == 0
    assert np.isnan([recall[2], f1[2]]).all()


def test_a_class_never_predicted_has_f1_zero():
    precision, recall, f1 = precision_recall_f1([[2, 0], [2, 0]])
    assert np.isnan(precision[1])
    assert (recall[1], f1[1]) == (0, 0)
    assert f1_averages([[2, 0], [2, 0]])["macro"] == pytest.approx(1 / 3)


def test_a_constant_guess():
    references = np.arange(80) % CLASSES
    counts = confusion_counts(np.zeros(80, int), references)
    assert unweighted_average_recall(counts) == 1 / CLASSES
    assert paper_equal_error_rate(counts) == 0.5


@pytest.mark.parametrize(
    ("predictions", "references", "classes", "message"),
    [
        ([0, 1], [0], None, r"shape \(2,\) and references \(1,\)"),
        ([], [], None, r"shape \(0,\)"),
        ([[0, 1]], [[0, 1]], None, r"shape \(1, 2\)"),
        ([0, 2], [0, 1], 2, "predictions contain 2, not a class index; give whole numbers from 0 to 1"),
        ([0, 1], [0, -1], None, "references contain -1, not a class index; give whole numbers from 0$"),
        ([0.9, 0.1], [0, 1], None, "predictions contain 0.9"),
        ([0, np.nan], [0, 1], None, "predictions contain nan"),
        ([0, None], [0, 1], None, "predictions contain nan"),
        ([0, np.inf], [0, 1], None, "predictions contain inf"),
    ],
)
def test_counts_refuse(predictions, references, classes, message):
    with pytest.raises(ValueError, match=message) as caught:
        confusion_counts(predictions, references, classes)
    assert "\n" not in str(caught.value)
