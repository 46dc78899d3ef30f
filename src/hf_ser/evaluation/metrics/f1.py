"""F1, the harmonic mean of precision and recall, in three averages: an `evaluate` module that needs counts.py.

Micro pools all decisions and, as every clip has one label, equals accuracy; macro is the plain mean over classes;
weighted is the mean by class size. Macro and weighted ignore classes without a clip in the references.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .counts import evaluate_metric

_RETURNS = "f1_micro, f1_macro, f1_weighted: floats from 0 to 1."
_SOURCE = (
    "Sokolova and Lapalme, A systematic analysis of performance measures, Information Processing & Management 45, 2009"
)


def precision_recall_f1(counts: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return precision, recall and F1 `(..., classes)` of confusion counts `(..., classes, classes)`.

    With TP, FP and FN of a class, precision = TP / (TP + FP), recall = TP / (TP + FN) and
    F1 = 2 TP / (2 TP + FP + FN), which is 0 for a class that was never predicted. Precision is NaN for such a
    class, and recall and F1 are NaN for a class without clips.

    Example:
        >>> precision, recall, f1 = precision_recall_f1([[3, 1], [0, 2]])
        >>> precision.round(3).tolist(), recall.tolist(), f1.round(3).tolist()
        ([1.0, 0.667], [0.75, 1.0], [0.857, 0.8])
    """
    cells = np.asarray(counts, dtype=np.float64)
    hits = np.diagonal(cells, axis1=-2, axis2=-1)
    predicted, support = cells.sum(axis=-2), cells.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        precision, recall = hits / predicted, hits / support
        f1 = np.where(support > 0, 2 * hits / (predicted + support), np.nan)
    return precision, recall, f1


def f1_averages(counts: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Return micro, macro and weighted F1 `(...)` of confusion counts `(..., classes, classes)`.

    Macro and weighted are means over the classes that have clips, as in UAR. Where another class is predicted (such as
    calm on CREMA-D), scikit-learn adds it as a zero; here that counts once, as a miss of the true class.

    Example:
        >>> {name: round(float(value), 3) for name, value in f1_averages([[3, 1], [0, 2]]).items()}
        {'micro': 0.833, 'macro': 0.829, 'weighted': 0.838}
    """
    cells = np.asarray(counts, dtype=np.float64)
    support = cells.sum(axis=-1)
    clips = support.sum(axis=-1)
    f1 = np.nan_to_num(precision_recall_f1(cells)[2])
    return {
        "micro": np.asarray(np.trace(cells, axis1=-2, axis2=-1) / clips),
        "macro": np.asarray(f1.sum(axis=-1) / (support > 0).sum(axis=-1)),
        "weighted": np.asarray((f1 * support).sum(axis=-1) / clips),
    }


F1 = evaluate_metric(
    __name__,
    "F1",
    __doc__,
    _RETURNS,
    _SOURCE,
    lambda counts: {f"f1_{name}": value for name, value in f1_averages(counts).items()},
)
