"""Unweighted average recall (UAR), the mean of the classes' recalls: an `evaluate` module that needs counts.py.

Also called unweighted accuracy (UA) or balanced accuracy. Every class has the same weight, however rare it is, and
guessing among K classes reaches 1 / K. Classes without a clip in the references are ignored.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .counts import DECISIONS, confusion_counts, evaluate_metric

_RETURNS = """
Returns:
    uar: float from 0 to 1.
"""

_CITATION = """@inproceedings{schuller2009interspeech,
  title={The {INTERSPEECH} 2009 Emotion Challenge}, author={Schuller,
  Bj{\\"o}rn and Steidl, Stefan and Batliner, Anton}, booktitle={Proc. Interspeech}, pages={312--315}, year={2009}}"""


def unweighted_average_recall(counts: ArrayLike) -> NDArray[np.float64]:
    """Return the mean recall over the classes that have clips.

    UAR = (1 / |P|) * sum over c in P of counts[c, c] / support[c], where P are the classes with clips in the
    references (Schuller, Steidl and Batliner, The INTERSPEECH 2009 Emotion Challenge). A class that is predicted
    but never occurs is ignored: its wrong predictions already lower the recalls of other classes.

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


def _compute(predictions: ArrayLike, references: ArrayLike, num_classes: int | None = None) -> dict[str, Any]:
    return {"uar": float(unweighted_average_recall(confusion_counts(predictions, references, num_classes)))}


# evaluate takes seconds to import, and only the copy of this file that `evaluate.load` makes needs it.
if not __name__.startswith("hf_ser."):
    UAR = evaluate_metric("UAR", __doc__, DECISIONS + _RETURNS, _CITATION, _compute, scores=False)
