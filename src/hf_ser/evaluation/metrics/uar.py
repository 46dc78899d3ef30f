"""Unweighted average recall (UAR), the mean of the classes' recalls: an `evaluate` module that needs counts.py.

Also called unweighted accuracy (UA) or balanced accuracy. Every class has the same weight, however rare it is, and
guessing among K classes reaches 1 / K. Classes without a clip in the references are ignored.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .counts import evaluate_metric

_RETURNS = "uar: float from 0 to 1."
_SOURCE = "Schuller, Steidl and Batliner, The INTERSPEECH 2009 Emotion Challenge, Interspeech 2009"


def unweighted_average_recall(counts: ArrayLike) -> NDArray[np.float64]:
    """Return the mean recall `(...)` of confusion counts `(..., classes, classes)` over the classes that have clips.

    UAR = (1 / |P|) * sum over c in P of counts[c, c] / support[c], where P are the classes with clips in the
    references (Schuller, Steidl and Batliner, The INTERSPEECH 2009 Emotion Challenge). A class that is predicted
    but never occurs is ignored: its wrong predictions already lower the recalls of other classes.

    Example:
        >>> float(unweighted_average_recall([[3, 1], [0, 2]]))
        0.875
    """
    cells = np.asarray(counts, dtype=np.float64)
    support = cells.sum(axis=-1)
    present = support > 0
    recall = np.diagonal(cells, axis1=-2, axis2=-1) / np.where(present, support, 1)
    return np.asarray(recall.sum(axis=-1) / present.sum(axis=-1))


UAR = evaluate_metric(
    __name__, "UAR", __doc__, _RETURNS, _SOURCE, lambda counts: {"uar": unweighted_average_recall(counts)}
)
