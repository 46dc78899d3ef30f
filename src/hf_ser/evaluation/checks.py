"""Checks: a figure, its threshold, whether it passes, and whether a model that guesses would pass as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from hf_ser.evaluation.judged import Judged


def check(
    test: str,
    subject: str,
    metric: str,
    value: float,
    guessing: float,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
) -> dict[str, Any]:
    """Return a check of a figure and of the same figure of a model that guesses; give one of the two bounds.

    Example:
        >>> found = check("white_20db", "all", "unchanged", 0.93, 0.12, at_least=0.9)
        >>> found["passed"], found["guessing_passed"]
        (True, False)
    """
    bound = {name: limit for name, limit in (("at_most", at_most), ("at_least", at_least)) if limit is not None}

    def passed(figure: float) -> bool:
        return bool(bound.get("at_least", -np.inf) <= figure <= bound.get("at_most", np.inf))

    return {
        "test": test,
        "subject": subject,
        "metric": metric,
        "value": float(value),
        **bound,
        "passed": passed(value),
        "guessing": float(guessing),
        "guessing_passed": passed(guessing),
    }


def guesses(judged: Judged, name: str) -> NDArray[np.int64]:
    """Return the decisions `(clips,)` of a model that draws each label alike; another name draws anew."""
    draw = np.random.default_rng([judged.seed, crc32(name.encode())])
    return draw.integers(0, len(judged.labels), len(judged.references))


def passed_shares(checks: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return by section the number of checks, and the shares that the model and guessing pass.

    Example:
        >>> passed_shares([{"section": "fairness", "passed": True, "guessing_passed": False}])
        {'fairness': {'checks': 1, 'passed': 1.0, 'guessing': 0.0}}
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in checks:
        groups.setdefault(one["section"], []).append(one)
    return {
        name: {
            "checks": len(group),
            "passed": sum(one["passed"] for one in group) / len(group),
            "guessing": sum(one["guessing_passed"] for one in group) / len(group),
        }
        for name, group in groups.items()
    }
