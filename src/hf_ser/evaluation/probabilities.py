"""Figures of probabilities rather than of decisions: ROC-AUC, log loss, Brier score, calibration, risk and coverage.

Each takes probabilities `(clips, classes)` and the true class indices `(clips,)`, and raises a `ValueError` where the
shapes differ, there is no clip, a probability is not within 0 to 1 (NaN among them), or a reference is no class index.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_ser.evaluation.metrics.counts import score_table

BINS = 15


def checked(probabilities: ArrayLike, references: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return both as arrays, or raise the error that the module's docstring names."""
    table, truth = score_table(probabilities, references)
    if not ((table >= 0) & (table <= 1 + 1e-9)).all():
        raise ValueError("probabilities contain a value outside 0 to 1, or NaN; apply softmax to logits first")
    return table, truth


def roc_auc(probabilities: ArrayLike, references: ArrayLike) -> NDArray[np.float64]:
    """Return the area under the ROC curve of each class against the others, `(classes,)`; NaN where one side is empty.

    The chance that a clip of the class scores above a clip of another one, ties counting half (Fawcett, An introduction
    to ROC analysis, 2006).

    Example:
        >>> roc_auc([[0.9, 0.1], [0.4, 0.6], [0.6, 0.4]], [0, 1, 1]).tolist()
        [1.0, 1.0]
    """
    from sklearn.metrics import roc_auc_score

    table, truth = checked(probabilities, references)
    areas = np.full(table.shape[1], np.nan)
    for index in range(table.shape[1]):
        if 0 < (truth == index).sum() < len(truth):
            areas[index] = roc_auc_score(truth == index, table[:, index])
    return areas


def log_loss(probabilities: ArrayLike, references: ArrayLike) -> float:
    """Return the mean of -ln p(true class), in nats; a probability of 0 counts as 1e-15.

    Example:
        >>> round(log_loss([[0.5, 0.5], [0.25, 0.75]], [0, 1]), 4)
        0.4904
    """
    table, truth = checked(probabilities, references)
    return float(-np.log(np.maximum(table[np.arange(len(truth)), truth], 1e-15)).mean())


def brier_score(probabilities: ArrayLike, references: ArrayLike) -> float:
    """Return the mean over clips of sum_c (p_c - [c is true])^2, from 0 to 2 (Brier, Monthly Weather Review 78, 1950).

    Example:
        >>> brier_score([[0.5, 0.5], [0.0, 1.0]], [0, 1])
        0.25
    """
    table, truth = checked(probabilities, references)
    return float(((table - np.eye(table.shape[1])[truth]) ** 2).sum(axis=1).mean())


def reliability(probabilities: ArrayLike, references: ArrayLike) -> dict[str, list[float]]:
    """Return `confidence`, `accuracy` and `share` of the clips in those of 15 equal bins of confidence that have any.

    The confidence of a clip is its highest probability; a bin holds those above its lower and up to its upper bound.

    Example:
        >>> reliability([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]], [0, 1, 1])["accuracy"]
        [1.0, 0.5]
    """
    table, truth = checked(probabilities, references)
    confidence, hits = table.max(axis=1), table.argmax(axis=1) == truth
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    sizes = np.bincount(bins, minlength=BINS)
    used = sizes > 0
    means = [np.bincount(bins, values, BINS)[used] / sizes[used] for values in (confidence, hits.astype(float))]
    found = zip(("confidence", "accuracy", "share"), (*means, sizes[used] / len(truth)), strict=True)
    return {name: values.tolist() for name, values in found}


def expected_calibration_error(probabilities: ArrayLike, references: ArrayLike) -> float:
    """Return the mean over the bins of `reliability`, by share, of |accuracy - confidence| (Guo et al., ICML 2017).

    Example:
        >>> round(expected_calibration_error([[0.9, 0.1], [0.9, 0.1]], [0, 1]), 3)
        0.4
    """
    bins = {name: np.array(values) for name, values in reliability(probabilities, references).items()}
    return float((bins["share"] * np.abs(bins["accuracy"] - bins["confidence"])).sum())


def risk_coverage(
    probabilities: ArrayLike, references: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return coverage, risk and threshold for each distinct confidence, from the highest one on.

    Coverage is the share of clips whose highest probability is at least the threshold, risk the share of errors among
    them (El-Yaniv and Wiener, JMLR 11, 2010). Clips with equal confidence are answered together.

    Example:
        >>> [values.tolist() for values in risk_coverage([[0.9, 0.1], [0.2, 0.8]], [0, 0])]
        [[0.5, 1.0], [0.0, 0.5], [0.9, 0.8]]
    """
    table, truth = checked(probabilities, references)
    confidence = table.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    ranked, errors = confidence[order], (table.argmax(axis=1) != truth)[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    return (last + 1) / len(truth), np.cumsum(errors)[last] / (last + 1), ranked[last]


def area_under_risk(probabilities: ArrayLike, references: ArrayLike) -> float:
    """Return the mean risk over all coverages, each clip adding its share at the risk of its threshold (AURC).

    Geifman, Uziel and El-Yaniv, Bias-Reduced Uncertainty Estimation, ICLR 2019. 0 is best; a model whose confidence
    says nothing gives its error rate.

    Example:
        >>> area_under_risk([[0.9, 0.1], [0.2, 0.8]], [0, 0])
        0.25
    """
    coverage, risk, _ = risk_coverage(probabilities, references)
    return float((np.diff(coverage, prepend=0) * risk).sum())


PROBABILITY_FIGURES: Mapping[str, Callable[[ArrayLike, ArrayLike], float]] = {
    "log_loss": log_loss,
    "brier": brier_score,
    "ece": expected_calibration_error,
    "aurc": area_under_risk,
}
"""The figures of probabilities that are one number, by their names in `metrics.json`."""
