"""The figure that the HuBERT fine-tuning paper calls EER: an `evaluate` module that needs counts.py.

The mean over classes of (FPR + FNR) / 2 of the arg-max decisions, only for comparison with Table 3 of "Efficient
Fine-Tuning Approaches on HuBERT for Speech Emotion Recognition on Multiple Labels". It is not an equal error rate,
since no threshold is varied until the two rates are equal; it equals 1 minus the mean one-vs-rest balanced accuracy.
For the real EER see eer.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .counts import evaluate_metric

_RETURNS = "paper_eer: float from 0 to 1, or None where no class has both positive and negative clips."
_SOURCE = "Efficient Fine-Tuning Approaches on HuBERT for Speech Emotion Recognition on Multiple Labels, ACL submission"


def paper_equal_error_rate(counts: ArrayLike) -> NDArray[np.float64]:
    """Return the "EER" of the paper: the mean over classes of (FPR + FNR) / 2 of hard decisions.

    With TP, FP, FN and TN of a class against all others, FPR = FP / (FP + TN) and FNR = FN / (FN + TP). An equal
    error rate varies a threshold until the two rates are equal; here both come from the arg-max decisions, where they
    differ, and are averaged. The formula was found by recomputing the paper's Table 3 from its confusion matrices: it
    gives 0.07137, 0.16478 and 0.28707 where 0.0713, 0.164 and 0.287 are printed.

    Of counts `(..., classes, classes)`, over the classes that have both positive and negative clips; NaN without any.

    Example:
        >>> float(paper_equal_error_rate([[3, 1], [0, 2]]))  # FPR 0 and FNR 1/4, then FPR 1/4 and FNR 0
        0.125
    """
    cells = np.asarray(counts, dtype=np.float64)
    hits = np.diagonal(cells, axis1=-2, axis2=-1)
    predicted, support = cells.sum(axis=-2), cells.sum(axis=-1)
    others = support.sum(axis=-1, keepdims=True) - support
    usable = (support > 0) & (others > 0)
    with np.errstate(invalid="ignore"):
        mean_rate = ((predicted - hits) / others + (support - hits) / support) / 2
        return np.asarray(np.where(usable, mean_rate, 0).sum(axis=-1) / usable.sum(axis=-1))


PaperEER = evaluate_metric(
    __name__, "PaperEER", __doc__, _RETURNS, _SOURCE, lambda counts: {"paper_eer": paper_equal_error_rate(counts)}
)
