"""Accuracy, the share of clips classified correctly: an `evaluate` module that needs counts.py.

Also called weighted accuracy (WA) in speech emotion recognition: correct clips / clips. With unequal classes it mostly
reflects the frequent ones; see uar.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .counts import evaluate_metric

_RETURNS = "accuracy: float from 0 to 1."
_SOURCE = "Schuller et al., Recognising realistic emotions and affect in speech, Speech Communication 53, 2011"


def accuracy_score(counts: ArrayLike) -> NDArray[np.float64]:
    """Return the share `(...)` of clips on the diagonal of confusion counts `(..., classes, classes)`.

    Example:
        >>> float(accuracy_score([[3, 1], [0, 4]]))
        0.875
    """
    cells = np.asarray(counts, dtype=np.float64)
    return np.asarray(np.trace(cells, axis1=-2, axis2=-1) / cells.sum(axis=(-2, -1)))


Accuracy = evaluate_metric(
    __name__, "Accuracy", __doc__, _RETURNS, _SOURCE, lambda counts: {"accuracy": accuracy_score(counts)}
)
