"""Whether two models differ on the same clips: a paired bootstrap over speakers, McNemar's test, Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

POWER = 0.8
LEVEL = 0.05


def bootstrap_p_value(differences: ArrayLike) -> float:
    """Return the two-sided p-value of a difference from its bootstrap values.

    Twice the smaller share of values on either side of 0, each counted with one more value (Davison and Hinkley,
    Bootstrap Methods and their Application, 1997, section 4.2).

    Example:
        >>> bootstrap_p_value([0.1] * 97 + [-0.1] * 2)
        0.06
    """
    values = np.asarray(differences, dtype=np.float64)
    if not values.size or np.isnan(values).any():
        raise ValueError("the bootstrap values of a difference are none, or contain NaN")
    below, above = (values <= 0).sum() + 1, (values >= 0).sum() + 1
    return float(min(1.0, 2 * min(below, above) / (len(values) + 1)))


def mcnemar_p_value(correct: ArrayLike, other_correct: ArrayLike) -> float:
    """Return the exact two-sided p-value that two models are right equally often on the same clips.

    Of the clips on which only one is right, each is as likely to be one's as the other's (McNemar, Psychometrika 12,
    1947). It takes clips as independent, which those of one speaker are not.

    Example:
        >>> mcnemar_p_value([True, True, True, False], [False, False, False, False])
        0.25
    """
    from scipy.stats import binomtest

    one, other = np.asarray(correct, dtype=bool), np.asarray(other_correct, dtype=bool)
    if one.shape != other.shape or one.ndim != 1 or not one.size:
        raise ValueError(f"shapes {one.shape} and {other.shape} differ or are empty; give (clips,) in both")
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    return float(binomtest(only_one, only_one + only_other).pvalue) if only_one + only_other else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's method (Scandinavian Journal of Statistics 6, 1979).

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    raised = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    corrected = np.empty(len(values))
    corrected[order] = raised
    return [float(value) for value in corrected]


def smallest_difference(differences: NDArray[np.float64]) -> float:
    """Return the smallest true difference that clips and speakers like these show in 80 % of the cases, at 5 %.

    (z_0.975 + z_0.8) times the standard error, which is the bootstrap values' standard deviation (Bloom, Minimum
    Detectable Effects, Evaluation Review 19, 1995).

    Example:
        >>> round(smallest_difference(np.array([-0.01, 0.01])), 3)
        0.028
    """
    z = NormalDist().inv_cdf(1 - LEVEL / 2) + NormalDist().inv_cdf(POWER)
    return float(z * np.std(differences))
