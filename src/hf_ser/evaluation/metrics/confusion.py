"""Confusion matrix in counts and in percent of each row: an `evaluate` module that needs counts.py.

Row i, column j is the number of clips of class i that were predicted as class j. Row percent divides each row by its
sum, so that the diagonal is the recall of each class.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .counts import DECISIONS, confusion_counts, evaluate_metric

_RETURNS = """
Returns:
    counts: nested lists of integers, (classes, classes), rows are references and columns predictions.
    row_percent: the same in percent of the row; None in a row without clips.
"""

_CITATION = """@article{stehman1997selecting,
  title={Selecting and interpreting measures of thematic classification accuracy},
  author={Stehman, Stephen V.}, journal={Remote Sensing of Environment}, volume={62}, number={1}, pages={77--89},
  year={1997}}"""


def row_percent(counts: ArrayLike) -> NDArray[np.float64]:
    """Return each cell in percent of its row's sum.

    Args:
        counts: Confusion counts, shape `(..., classes, classes)`, rows are references.

    Returns:
        Percentages of the same shape; NaN throughout a row without clips.

    Example:
        >>> row_percent([[3, 1], [0, 2]]).tolist()
        [[75.0, 25.0], [0.0, 100.0]]
    """
    cells = np.asarray(counts, dtype=np.float64)
    support = cells.sum(axis=-1, keepdims=True)
    return np.where(support > 0, 100 * cells / np.where(support > 0, support, 1), np.nan)


def _compute(predictions: ArrayLike, references: ArrayLike, num_classes: int | None = None) -> dict[str, Any]:
    counts = confusion_counts(predictions, references, num_classes)
    percent = [[None if np.isnan(cell) else cell for cell in row] for row in row_percent(counts).tolist()]
    return {"counts": counts.tolist(), "row_percent": percent}


# evaluate takes seconds to import, and only the copy of this file that `evaluate.load` makes needs it.
if not __name__.startswith("hf_ser."):
    Confusion = evaluate_metric("Confusion", __doc__, DECISIONS + _RETURNS, _CITATION, _compute, scores=False)
