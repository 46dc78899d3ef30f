"""What the metrics of this folder share: the confusion counts, and the class that `evaluate` looks for."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

DECISIONS = """
Args:
    predictions: the predicted class index of each clip, shape (clips,).
    references: the true class index of each clip, shape (clips,).
    num_classes: number of classes; by default the largest index plus one.
"""


def confusion_counts(
    predictions: ArrayLike, references: ArrayLike, num_classes: int | None = None
) -> NDArray[np.int64]:
    """Count how often each true class was predicted as each class.

    Args:
        predictions: Predicted class indices, shape `(clips,)`.
        references: True class indices, shape `(clips,)`.
        num_classes: Number of classes; by default the largest index plus one.

    Returns:
        Counts of shape `(classes, classes)`: rows are references, columns predictions.

    Raises:
        ValueError: The shapes differ, there is no clip, or a label is not a class index.

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
            raise ValueError(f"{name} contain {wrong[0]:g}, not a class index; give whole numbers from 0{bound}")
    classes = int(max(rows.max(), columns.max())) + 1 if num_classes is None else num_classes
    cells = np.bincount((rows * classes + columns).astype(np.int64), minlength=classes * classes)
    return cells.reshape(classes, classes)


def evaluate_metric(
    name: str, description: str, inputs: str, citation: str, compute: Callable[..., dict[str, Any]], *, scores: bool
) -> Any:
    """Return a subclass of `evaluate.Metric`; the module that calls this is not imported as part of hf_ser.

    Args:
        name: Name of the class; `evaluate` shows it in snake case.
        description: What the metric measures.
        inputs: Arguments and results.
        citation: BibTeX entry.
        compute: Receives `predictions`, `references` and the caller's further arguments.
        scores: Whether predictions are scores `(clips, classes)`; class indices otherwise.
    """
    import datasets
    import evaluate

    # As integers a score of 0.9 would be truncated to the label 0; in single precision close scores would tie.
    number = datasets.Value("float64")
    features = {"predictions": datasets.Sequence(number) if scores else number, "references": number}

    class Metric(evaluate.Metric):  # type: ignore[misc]
        def _info(self) -> Any:
            return evaluate.MetricInfo(description, citation, datasets.Features(features), inputs_description=inputs)

        def _compute(self, **columns: Any) -> dict[str, Any]:
            return compute(**columns)

    Metric.__name__ = name
    return Metric
