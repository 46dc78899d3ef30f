"""What the metrics of this folder share: their input, the confusion counts, and the class that `evaluate` looks for."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_INPUTS = """
Args:
    predictions: {}
    references: the true class index of each clip, shape (clips,).

Returns:
    """
_DECISIONS = "the predicted class index of each clip; num_classes is by default the largest index plus one."
_SCORES = "scores, shape (clips, classes): probabilities or logits, higher for more likely."


def confusion_counts(
    predictions: ArrayLike, references: ArrayLike, num_classes: int | None = None
) -> NDArray[np.int64]:
    """Count how often each true class was predicted as each class.

    Args:
        predictions: Predicted class indices, shape `(clips,)`.
        references: True class indices, shape `(clips,)`.
        num_classes: Number of classes; by default the largest index plus one.

    Returns:
        Counts of shape `(classes, classes)`: rows are references, columns predictions. Shapes that differ, no clip, and
        a label that is not a class index are a `ValueError`.

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
    for name, labels in (("predictions", columns), ("references", rows)):
        _check_labels(name, labels, num_classes)
    classes = int(max(rows.max(), columns.max())) + 1 if num_classes is None else num_classes
    cells = np.bincount((rows * classes + columns).astype(np.int64), minlength=classes * classes)
    return cells.reshape(classes, classes)


def score_table(scores: ArrayLike, references: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return scores `(clips, classes)` and true class indices `(clips,)` as arrays, or raise a `ValueError`."""
    try:
        table, truth = np.asarray(scores, dtype=np.float64), np.asarray(references, dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"scores are not a table of numbers, shape (clips, classes): {error}") from None
    if table.ndim != 2 or table.shape[1] < 2 or truth.shape != table.shape[:1] or not truth.size:
        raise ValueError(
            f"scores have shape {table.shape} and references {truth.shape}; "
            "give (clips, classes) with at least two classes, and (clips,)"
        )
    _check_labels("references", truth, table.shape[1])
    return table, truth.astype(np.int64)


def _check_labels(name: str, labels: NDArray[np.float64], classes: int | None) -> None:
    limit = np.inf if classes is None else classes
    wrong = labels[~((labels >= 0) & (labels < limit) & (labels == np.floor(labels)))]
    if wrong.size:
        bound = "" if classes is None else f" to {classes - 1}"
        raise ValueError(f"{name} contain {wrong[0]:g}, not a class index; give whole numbers from 0{bound}")


def plain(value: Any) -> Any:
    """Return numbers and arrays ready for JSON: lists, and None for NaN."""
    if isinstance(value, Mapping):
        return {key: plain(it) for key, it in value.items()}
    if isinstance(value, list | tuple):
        return [plain(it) for it in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    return None if isinstance(value, float) and np.isnan(value) else value


def evaluate_metric(
    module: str,
    name: str,
    description: str,
    returns: str,
    source: str,
    compute: Callable[..., Any],
    scores: bool = False,
) -> Any:
    """Return a subclass of `evaluate.Metric` for the copy of a module that `evaluate.load` makes, and None in hf_ser.

    `compute` receives confusion counts or, with `scores`, scores `(clips, classes)` and true class indices.
    """
    # evaluate takes seconds to import.
    if module.startswith("hf_ser."):
        return None
    import datasets
    import evaluate

    # As integers a score of 0.9 would be truncated to the label 0; in single precision close scores would tie.
    number = datasets.Value("float64")
    features = {"predictions": datasets.Sequence(number) if scores else number, "references": number}
    inputs = _INPUTS.format(_SCORES if scores else _DECISIONS) + returns

    class Metric(evaluate.Metric):  # type: ignore[misc]
        def _info(self) -> Any:
            return evaluate.MetricInfo(description, source, datasets.Features(features), inputs_description=inputs)

        def _compute(self, predictions: Any, references: Any, **settings: Any) -> Any:
            given = (predictions, references) if scores else (confusion_counts(predictions, references, **settings),)
            return plain(compute(*given))

    Metric.__name__ = name
    return Metric
