"""The sections of the suite: what they are called, running them, and the shares of their checks that pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tqdm.auto import tqdm

from hf_ser.errors import InputError
from hf_ser.evaluation import baselines, calibration, correctness, fairness, latency, robustness, shortcuts
from hf_ser.evaluation.judged import Judged

Section = Callable[[Judged], Mapping[str, Any]]
"""Returns figures, ready for JSON; under `checks`, those with a threshold; under `not_computed`, why there are none."""

SECTIONS: dict[str, Section] = {
    it.__name__.rpartition(".")[2]: it.section
    for it in (correctness, baselines, calibration, fairness, robustness, shortcuts, latency)
}
"""The sections by name, in the order of the report; another package adds its own here."""


def chosen_sections(suite: str | Sequence[str] | None) -> list[str]:
    """Return the names of the sections that `full`, a name, several joined by commas, or a list stand for.

    Example:
        >>> chosen_sections("calibration"), chosen_sections(None)
        (['calibration'], [])
    """
    names = suite.split(",") if isinstance(suite, str) else list(suite or ())
    if names == ["full"]:
        return list(SECTIONS)
    if unknown := [name for name in names if name not in SECTIONS]:
        raise InputError(f"suite '{unknown[0]}' is unknown; choose full or {', '.join(SECTIONS)}")
    # Fairness without correctness says nothing: a model that guesses is fair.
    names += ["correctness"] if "fairness" in names else []
    return [name for name in SECTIONS if name in names]


def run_suite(judged: Judged, names: Sequence[str]) -> dict[str, Any]:
    """Return `sections` and `seconds` by name, and the `checks` of all sections."""
    sections, seconds, checks = {}, {}, []
    bar = tqdm(names, desc="Evaluation suite", unit="section")
    for name in bar:
        bar.set_postfix_str(name)
        start = time.perf_counter()
        found = dict(SECTIONS[name](judged))
        checks += [{"section": name, **check} for check in found.pop("checks", [])]
        sections[name], seconds[name] = found, round(time.perf_counter() - start, 2)
    return {"sections": sections, "checks": checks, "seconds": seconds}
