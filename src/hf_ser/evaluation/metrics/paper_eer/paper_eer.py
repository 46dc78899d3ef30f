"""The figure that the HuBERT fine-tuning paper prints as EER: a self-contained `evaluate` module."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["paper_equal_error_rate"]

_DESCRIPTION = """
The "EER" of "Efficient Fine-Tuning Approaches on HuBERT for Speech Emotion Recognition on Multiple Labels":
the mean over classes of (FPR + FNR) / 2 of the arg-max decisions. Kept under its own name for comparison with
that paper's Table 3 only. It is no equal error rate: nothing makes the two rates equal, since no threshold is
moved; it equals 1 minus the mean one-vs-rest balanced accuracy. See eer for the real one.
"""

_INPUTS = """
Args:
    predictions: one decided class index per clip, shape (clips,).
    references: one true class index per clip, shape (clips,).
    num_classes: number of classes; given, it bounds the labels, and does not change the figure.

Returns:
    paper_eer: float from 0 to 1, or None where no class has both positive and negative clips.
"""

_CITATION = """
@unpublished{hubert_ser_multiple_labels,
  title  = {Efficient Fine-Tuning Approaches on {HuBERT} for Speech Emotion Recognition on Multiple Labels},
  author = {{Anonymous}},
  note   = {{ACL} submission}
}
"""


def paper_equal_error_rate(counts: ArrayLike) -> NDArray[np.float64]:
    """Return the paper's "EER": the mean over classes of (FPR + FNR) / 2 of hard decisions.

    With TP, FP, FN and TN of a class against all others, FPR = FP / (FP + TN) and FNR = FN / (FN + TP). An
    equal error rate moves a threshold over scores until the two rates meet; here both are read off the
    arg-max decisions, where they differ (FNR is mostly many times FPR), and then averaged. The formula was
    found by fitting the paper's Table 3 from its confusion matrices: it gives 0.07137, 0.16478 and 0.28707
    where 0.0713, 0.164 and 0.287 are printed.

    Args:
        counts: Confusion counts, shape `(..., classes, classes)`, rows are references.

    Returns:
        The mean over the classes that have both positive and negative clips, shape `(...)`; NaN without any.

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

    class PaperEER(evaluate.Metric):  # type: ignore[misc]
        """`evaluate.load("paper_eer")`: the paper's decision-based figure."""

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
        ) -> dict[str, float | None]:
            value = float(paper_equal_error_rate(confusion_counts(predictions, references, num_classes)))
            return {"paper_eer": None if np.isnan(value) else value}
