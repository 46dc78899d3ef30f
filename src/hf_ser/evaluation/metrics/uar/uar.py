"""Unweighted average recall, the mean of the classes' recalls: a self-contained `evaluate` module."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["unweighted_average_recall"]

_DESCRIPTION = """
Unweighted average recall (UAR; also unweighted accuracy, UA, or balanced accuracy): the mean over the classes
of the share of their clips decided rightly. Every class weighs the same, however rare it is, and guessing
among K classes reaches 1 / K. Classes without a clip in the references take no part.
"""

_INPUTS = """
Args:
    predictions: one decided class index per clip, shape (clips,).
    references: one true class index per clip, shape (clips,).
    num_classes: number of classes; given, it bounds the labels, and does not change the figure.

Returns:
    uar: float from 0 to 1.
"""

_CITATION = """
@inproceedings{schuller2009interspeech,
  title     = {The {INTERSPEECH} 2009 Emotion Challenge},
  author    = {Schuller, Bj{\\"o}rn and Steidl, Stefan and Batliner, Anton},
  booktitle = {Proc. Interspeech},
  pages     = {312--315},
  year      = {2009}
}
"""


def unweighted_average_recall(counts: ArrayLike) -> NDArray[np.float64]:
    r"""Return the mean recall over the classes that have clips.

    UAR = (1 / |P|) * sum over c in P of counts[c, c] / support[c], where P are the classes with clips in the
    references (Schuller, Steidl and Batliner, The INTERSPEECH 2009 Emotion Challenge). A class that is
    predicted but never occurs takes no part of its own: its wrong predictions already lower other recalls.

    Args:
        counts: Confusion counts, shape `(..., classes, classes)`, rows are references.

    Returns:
        UAR from 0 to 1, shape `(...)`.

    Example:
        >>> float(unweighted_average_recall([[3, 1], [0, 2]]))
        0.875
    """
    cells = np.asarray(counts, dtype=np.float64)
    support = cells.sum(axis=-1)
    present = support > 0
    recall = np.diagonal(cells, axis1=-2, axis2=-1) / np.where(present, support, 1)
    return np.asarray(recall.sum(axis=-1) / present.sum(axis=-1))


# Copied from confusion/confusion.py, since an `evaluate` module stands alone; a test keeps the copies equal.
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


# evaluate takes seconds to import and draws torch in. It imports its own copy of this file, under a name
# of its own, and finds the class below; hf_ser, which needs the functions above alone, does not pay for it.
if not __name__.startswith("hf_ser."):
    import datasets
    import evaluate

    class UAR(evaluate.Metric):  # type: ignore[misc]
        """`evaluate.load("uar")`: unweighted average recall."""

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
        ) -> dict[str, float]:
            counts = confusion_counts(predictions, references, num_classes)
            return {"uar": float(unweighted_average_recall(counts))}
