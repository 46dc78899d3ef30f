"""F1 in its micro, macro and weighted averages: a self-contained `evaluate` module."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["f1_averages", "precision_recall_f1"]

_DESCRIPTION = """
F1, the harmonic mean of precision and recall, in three averages. Micro pools all decisions and, as every
clip has one label, equals accuracy; macro is the plain mean over classes; weighted is the mean by class size.
Classes without a clip in the references take no part in macro and weighted.
"""

_INPUTS = """
Args:
    predictions: one decided class index per clip, shape (clips,).
    references: one true class index per clip, shape (clips,).
    num_classes: number of classes; given, it bounds the labels, and does not change the figures.

Returns:
    f1_micro, f1_macro, f1_weighted: floats from 0 to 1.
"""

_CITATION = """
@article{sokolova2009systematic,
  title   = {A systematic analysis of performance measures for classification tasks},
  author  = {Sokolova, Marina and Lapalme, Guy},
  journal = {Information Processing \\& Management},
  volume  = {45},
  number  = {4},
  pages   = {427--437},
  year    = {2009}
}
"""


def precision_recall_f1(
    counts: ArrayLike,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return precision, recall and F1 of every class.

    With TP, FP and FN of a class, precision = TP / (TP + FP), recall = TP / (TP + FN) and
    F1 = 2 TP / (2 TP + FP + FN), which stays defined (0) for a class that was never predicted.

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

    Macro and weighted run over the classes that have clips, the classes of UAR. On complete test sets this is
    scikit-learn's average. They differ where a class that has no clip is predicted (calm on CREMA-D, say):
    scikit-learn then adds that class as a zero, so that one stray decision lowers macro F1 by a whole
    class; here the stray decision counts once, as a miss of its true class.

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

    class F1(evaluate.Metric):  # type: ignore[misc]
        """`evaluate.load("f1")`: micro, macro and weighted F1."""

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
            averages = f1_averages(confusion_counts(predictions, references, num_classes))
            return {f"f1_{name}": float(value) for name, value in averages.items()}
