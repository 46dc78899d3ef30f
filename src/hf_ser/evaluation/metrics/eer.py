"""Equal error rate (EER) of one-vs-rest detection, from scores: an `evaluate` module that needs counts.py.

The error of detecting each class against all others by its score, at the threshold where the false positive rate equals
the false negative rate. Macro is the mean over the classes that have both positive and negative clips; micro pools all
(clip, class) pairs into one detection task. Between two operating points the ROC curve is interpolated linearly; clips
with tied scores are accepted together.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .counts import evaluate_metric, score_table

_RETURNS = "eer_macro, eer_micro: floats from 0 to 1; eer_per_class: a list; None where a side has no clips."
_SOURCE = "Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 27, 2006"


def equal_error_rate(scores: ArrayLike, targets: ArrayLike) -> float:
    """Return the equal error rate of detecting the targets by thresholding the scores.

    A clip is accepted when its score is at least the threshold. FPR is the share of negatives accepted, FNR the share
    of positives rejected. From rejecting all clips (FPR 0, FNR 1) to accepting all (1, 0) there is one operating point
    per distinct score. Neighbouring ones are joined by a straight line, which corresponds to choosing between the two
    thresholds at random (Fawcett, 2006, "Interpolating classifiers"). The EER is where that line crosses FPR = FNR: 0
    when the classes are separated, 0.5 when all scores are equal, 1 when they are reversed. The crossing is found in
    whole numbers, without rounding.

    Other programs take the mean of FPR and FNR at the operating point next to the crossing (Maio et al., FVC2000;
    pyeer, audmetric), which differs by at most half the gap between the two rates there.

    Args:
        scores: Detection scores, shape `(clips,)`, higher for more likely; infinities are ordered as usual.
        targets: Whether each clip is of the class, shape `(clips,)`.

    Raises:
        ValueError: The shapes differ, a score is NaN, or the positives or the negatives are missing.

    Example:
        >>> equal_error_rate([0.9, 0.6, 0.4, 0.2], [True, False, True, False])
        0.5
        >>> equal_error_rate([0.9, 0.4, 0.4, 0.2], [True, False, True, False])  # a tie
        0.25
    """
    scores, targets = np.asarray(scores, dtype=np.float64), np.asarray(targets, dtype=bool)
    if scores.ndim != 1 or scores.shape != targets.shape:
        raise ValueError(f"scores have shape {scores.shape} and targets {targets.shape}; give (clips,) in both")
    if np.isnan(scores).any():
        raise ValueError(f"scores contain {int(np.isnan(scores).sum())} NaN; every clip needs a number")
    positives = int(targets.sum())
    negatives = targets.size - positives
    if not positives or not negatives:
        raise ValueError(f"an EER needs both kinds of clips; got {positives} positive and {negatives} negative")
    order = np.argsort(-scores)
    ranked = scores[order]
    last_of_tie = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    accepted = np.append(0, last_of_tie + 1)
    hits = np.append(0, np.cumsum(targets[order], dtype=np.int64)[last_of_tie])
    false_alarms = accepted - hits
    # FPR - FNR times both totals: rises strictly from -1 to +1 (scaled) along the operating points.
    gap = false_alarms * positives - (positives - hits) * negatives
    after = int(np.searchsorted(gap, 0))
    before = after - 1
    weight = -gap[before] / (gap[after] - gap[before])
    return float((false_alarms[before] + weight * (false_alarms[after] - false_alarms[before])) / negatives)


def one_vs_rest_eer(scores: ArrayLike, references: ArrayLike) -> tuple[float, float, NDArray[np.float64]]:
    """Return macro EER, micro EER and the EER of every class against the rest.

    Class c is detected by column c of the scores. Micro pools all (clip, class) pairs into a single detection task,
    including classes without clips; its scores have to be comparable: give probabilities rather than logits.

    Args:
        scores: Shape `(clips, classes)`, higher for more likely.
        references: True class indices, shape `(clips,)`.

    Returns:
        Macro EER (NaN if no class has positive and negative clips), micro EER, and the EER per class, shape
        `(classes,)`, NaN for a class without positive or without negative clips.

    Raises:
        ValueError: The shapes do not fit, a score is NaN, or a reference is not a class index.

    Example:
        >>> scores = [[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.5, 0.4, 0.1], [0.2, 0.7, 0.1]]
        >>> macro, micro, per_class = one_vs_rest_eer(scores, [0, 0, 1, 1])
        >>> macro, micro, per_class.tolist()
        (0.5, 0.25, [0.5, 0.5, nan])
    """
    table, truth = score_table(scores, references)
    targets = truth[:, None] == np.arange(table.shape[1])
    per_class = np.full(table.shape[1], np.nan)
    for index in np.flatnonzero(targets.any(axis=0) & ~targets.all(axis=0)):
        per_class[index] = equal_error_rate(table[:, index], targets[:, index])
    usable = per_class[~np.isnan(per_class)]
    macro = float(usable.mean()) if usable.size else float("nan")
    return macro, equal_error_rate(table.ravel(), targets.ravel()), per_class


_NAMES = ("eer_macro", "eer_micro", "eer_per_class")
EER = evaluate_metric(
    __name__, "EER", __doc__, _RETURNS, _SOURCE, lambda *it: dict(zip(_NAMES, one_vs_rest_eer(*it), strict=True)), True
)
