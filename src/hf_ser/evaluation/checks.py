"""Checks: a figure, its threshold, whether it passes, and whether a model that guesses would pass as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def check(test: str, subject: str, metric: str, value: float, guessing: float, **bound: float) -> dict[str, Any]:
    """Return a check of a figure and of the same figure of a model that guesses, against `at_most` or `at_least`.

    Example:
        >>> found = check("white_20db", "all", "unchanged", 0.93, 0.12, at_least=0.9)
        >>> found["passed"], found["guessing_passed"]
        (True, False)
    """
    own, chance = (bool(bound.get("at_least", it) <= it <= bound.get("at_most", it)) for it in (value, guessing))
    found = {"test": test, "subject": subject, "metric": metric, "value": float(value), **bound, "passed": own}
    return {**found, "guessing": float(guessing), "guessing_passed": chance}


def class_figures(
    counts: ArrayLike, labels: Sequence[str] = (), *, alike: bool = False
) -> dict[str, NDArray[np.float64]]:
    """Return figures `(...)` of counts `(..., classes, classes)` by name; NaN for a class without clips.

    UAR, the mean precision over the classes that have clips (UAP; 0 for one that was never predicted), and of each
    label recall, precision and the share of clips that is predicted as it. Every label weighs the same with `alike`.

    Example:
        >>> {name: it.round(2).item() for name, it in class_figures([[3, 1], [0, 1]], ("calm", "sad")).items()}
        {'uar': 0.88, 'uap': 0.75, 'recall calm': 0.75, 'recall sad': 1.0, 'precision calm': 1.0, ...}
    """
    cells = np.asarray(counts, dtype=np.float64)
    cells = cells / np.maximum(cells.sum(axis=-1, keepdims=True), 1) if alike else cells
    support, predicted, hits = cells.sum(axis=-1), cells.sum(axis=-2), np.diagonal(cells, axis1=-2, axis2=-1)
    totals = {"recall": support, "precision": predicted, "share": support.sum(axis=-1, keepdims=True)}
    found = {
        name: np.where(support > 0, (predicted if name == "share" else hits) / np.maximum(total, 1e-12), np.nan)
        for name, total in totals.items()
    }
    means = {name: np.nanmean(found[of], axis=-1) for name, of in (("uar", "recall"), ("uap", "precision"))}
    return means | {f"{name} {label}": it[..., k] for name, it in found.items() for k, label in enumerate(labels)}


def passed_shares(checks: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return by section the number of checks, and the shares that the model and guessing pass.

    Example:
        >>> passed_shares([{"section": "fairness", "passed": True, "guessing_passed": False}])
        {'fairness': {'checks': 1, 'passed': 1.0, 'guessing': 0.0}}
    """
    found = {}
    for name in dict.fromkeys(one["section"] for one in checks):
        group = [one for one in checks if one["section"] == name]
        passed, guessing = (sum(one[key] for one in group) / len(group) for key in ("passed", "guessing_passed"))
        found[name] = {"checks": len(group), "passed": passed, "guessing": guessing}
    return found
