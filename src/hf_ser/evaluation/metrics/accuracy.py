"""Accuracy, the share of clips classified correctly: an `evaluate` module that needs counts.py.

Also called weighted accuracy (WA) in speech emotion recognition: correct clips / clips. With unequal classes it mostly
reflects the frequent ones; see uar.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .counts import DECISIONS, confusion_counts, evaluate_metric

_RETURNS = """
Returns:
    accuracy: float from 0 to 1.
"""

_CITATION = """@article{schuller2011recognising,
  title={Recognising realistic emotions and affect in speech}, author={Schuller,
  Bj{\\"o}rn and Batliner, Anton and Steidl, Stefan and Seppi, Dino}, journal={Speech Communication}, volume={53},
  number={9-10}, pages={1062--1087}, year={2011}}"""


def accuracy_score(counts: ArrayLike) -> NDArray[np.float64]:
    """Return the share of clips on the diagonal of a confusion matrix.

    Args:
        counts: Confusion counts, shape `(..., classes, classes)`, rows are references.

    Returns:
        Accuracy from 0 to 1, shape `(...)`.

    Example:
        >>> float(accuracy_score([[3, 1], [0, 4]]))
        0.875
    """
    cells = np.asarray(counts, dtype=np.float64)
    return np.asarray(np.trace(cells, axis1=-2, axis2=-1) / cells.sum(axis=(-2, -1)))


def _compute(predictions: ArrayLike, references: ArrayLike, num_classes: int | None = None) -> dict[str, Any]:
    return {"accuracy": float(accuracy_score(confusion_counts(predictions, references, num_classes)))}


# evaluate takes seconds to import, and only the copy of this file that `evaluate.load` makes needs it.
if not __name__.startswith("hf_ser."):
    Accuracy = evaluate_metric("Accuracy", __doc__, DECISIONS + _RETURNS, _CITATION, _compute, scores=False)
