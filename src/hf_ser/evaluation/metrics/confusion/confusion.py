"""Confusion matrix of decisions, in counts and in row percent: a self-contained `evaluate` module."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["confusion_counts", "row_percent"]

_DESCRIPTION = """
Confusion matrix: row i, column j holds the clips of class i that were taken for class j.
Row percent divides each row by its sum, so that the diagonal is the recall of each class.
"""

_INPUTS = """
Args:
    predictions: one decided class index per clip, shape (clips,).
    references: one true class index per clip, shape (clips,).
    num_classes: number of classes; by default the largest index seen plus one.

Returns:
    counts: nested lists of integers, (classes, classes), rows are references and columns predictions.
    row_percent: the same in percent of the row; a row without clips holds None.
"""

_CITATION = """
@article{stehman1997selecting,
  title   = {Selecting and interpreting measures of thematic classification accuracy},
  author  = {Stehman, Stephen V.},
  journal = {Remote Sensing of Environment},
  volume  = {62},
  number  = {1},
  pages   = {77--89},
  year    = {1997}
}
"""


def confusion_counts(
    predictions: ArrayLike, references: ArrayLike, num_classes: int | None = None
) -> NDArray[np.int64]:
    """Count how often each reference class was taken for each class.

    Args:
        predictions: Decided class indices, shape `(clips,)`.
        references: True class indices, shape `(clips,)`.
        num_classes: Number of classes; by default the largest index seen plus one.

    Returns:
        Counts of shape `(classes, classes)`: rows are references, columns predictions.

    Raises:
        ValueError: The shapes differ, there is no clip, or a label is no class index.

    Example:
        >>> confusion_counts([0, 1, 1], [0, 0, 1]).tolist()
        [[1, 1], [0, 1]]
    """
    rows, columns = (np.asarray(labels, dtype=np.float64) for labels in (references, predictions))
    if rows.ndim != 1 or rows.shape != columns.shape or not rows.size:
        raise ValueError(
            f"predictions have shape {columns.shape} and references {rows.shape}; "
            "give one class index per clip in both, shape (clips,)"
        )
    limit = np.inf if num_classes is None else num_classes
    for name, labels in (("predictions", columns), ("references", rows)):
        wrong = labels[~((labels >= 0) & (labels < limit) & (labels == np.floor(labels)))]
        if wrong.size:
            bound = "" if num_classes is None else f" to {num_classes - 1}"
            raise ValueError(f"{name} hold {wrong[0]:g}, no class index; give whole numbers from 0{bound}")
    classes = int(max(rows.max(), columns.max())) + 1 if num_classes is None else num_classes
    cells = np.bincount((rows * classes + columns).astype(np.int64), minlength=classes * classes)
    return cells.reshape(classes, classes)


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


# evaluate takes seconds to import and draws torch in. It imports its own copy of this file, under a name
# of its own, and finds the class below; hf_ser, which needs the functions above alone, does not pay for it.
if not __name__.startswith("hf_ser."):
    import datasets
    import evaluate

    class Confusion(evaluate.Metric):  # type: ignore[misc]
        """`evaluate.load("confusion")`: confusion counts and row percent."""

        def _info(self) -> evaluate.MetricInfo:
            # Declared as integers, labels would reach `_compute` truncated: a score of 0.9 would pass as 0.
            label = datasets.Value("float64")
            return evaluate.MetricInfo(
                description=_DESCRIPTION,
                citation=_CITATION,
                inputs_description=_INPUTS,
                features=datasets.Features({"predictions": label, "references": label}),
            )

        def _compute(
            self, predictions: ArrayLike, references: ArrayLike, num_classes: int | None = None
        ) -> dict[str, object]:
            counts = confusion_counts(predictions, references, num_classes)
            percent = [[None if np.isnan(cell) else cell for cell in row] for row in row_percent(counts).tolist()]
            return {"counts": counts.tolist(), "row_percent": percent}
