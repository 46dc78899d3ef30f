"""Confusion matrix in counts and in percent of each row: an `evaluate` module that needs counts.py.

Row i, column j is the number of clips of class i that were predicted as class j. Row percent divides each row by its
sum, so that the diagonal is the recall of each class.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .counts import evaluate_metric

_RETURNS = "counts: integers (classes, classes), rows are references; row_percent: None in a row without clips."
_SOURCE = (
    "Stehman, Selecting and interpreting measures of classification accuracy, Remote Sensing of Environment 62, 1997"
)


def row_percent(counts: ArrayLike) -> NDArray[np.float64]:
    """Return each cell of confusion counts `(..., classes, classes)` in percent of its row's sum, NaN for an empty row.

    Example:
        >>> row_percent([[3, 1], [0, 2]]).tolist()
        [[75.0, 25.0], [0.0, 100.0]]
    """
    cells = np.asarray(counts, dtype=np.float64)
    support = cells.sum(axis=-1, keepdims=True)
    return np.where(support > 0, 100 * cells / np.where(support > 0, support, 1), np.nan)


Confusion = evaluate_metric(
    __name__,
    "Confusion",
    __doc__,
    _RETURNS,
    _SOURCE,
    lambda counts: {"counts": counts, "row_percent": row_percent(counts)},
)
