"""F1, the harmonic mean of precision and recall, in three averages: an `evaluate` module that needs counts.py.

Micro pools all decisions and, as every clip has one label, equals accuracy; macro is the plain mean over classes;
weighted is the mean by class size. Macro and weighted ignore classes without a clip in the references.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .counts import DECISIONS, confusion_counts, evaluate_metric

_RETURNS = """
Returns:
    f1_micro, f1_macro, f1_weighted: floats from 0 to 1.
"""

_CITATION = """@article{sokolova2009systematic,
  title={A systematic analysis of performance measures for classification tasks},
  author={Sokolova, Marina and Lapalme, Guy}, journal={Information Processing \\& Management}, volume={45}, number={4},
  pages={427--437}, year={2009}}"""


def precision_recall_f1(counts: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return precision, recall and F1 of every class.

    With TP, FP and FN of a class, precision = TP / (TP + FP), recall = TP / (TP + FN) and
    F1 = 2 TP / (2 TP + FP + FN), which is 0 for a class that was never predicted.

    Args:
        counts: Confusion counts, shape `(..., classes, classes)`, rows are references.

    Returns:
        Three arrays of shape `(..., classes)`. Precision is NaN for a class that was never predicted,
        recall and F1 are NaN for a class without clips.

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
    """Return micro, macro and weighted F1.

    Macro and weighted are means over the classes that have clips, as in UAR. On complete test sets they equal
    scikit-learn's averages. They differ where a class without clips is predicted (such as calm on CREMA-D):
    scikit-learn then adds that class as a zero, so that one wrong prediction lowers macro F1 by a whole class;
    here it counts once, as a miss of its true class.

    Args:
        counts: Confusion counts, shape `(..., classes, classes)`, rows are references.

    Returns:
        `micro`, `macro` and `weighted`, each from 0 to 1, of shape `(...)`.

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


def _compute(predictions: ArrayLike, references: ArrayLike, num_classes: int | None = None) -> dict[str, Any]:
    averages = f1_averages(confusion_counts(predictions, references, num_classes))
    return {f"f1_{name}": float(value) for name, value in averages.items()}


# evaluate takes seconds to import, and only the copy of this file that `evaluate.load` makes needs it.
if not __name__.startswith("hf_ser."):
    F1 = evaluate_metric("F1", __doc__, DECISIONS + _RETURNS, _CITATION, _compute, scores=False)
