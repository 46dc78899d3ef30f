"""Whether a model treats groups of speakers alike: sexes, ages, races, and speakers with low and high voices.

As in ser-tests (Derington et al., 2023), a group of a corpus is compared with all groups together, every label weighing
the same in it, and the difference is held against the largest one that 1,000 models which guess reach at the same group
sizes. A model that guesses therefore passes: fairness means nothing beside poor correctness.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from hf_ser.audio.features import pitch
from hf_ser.corpora import CORPORA
from hf_ser.evaluation.checks import check, class_figures
from hf_ser.evaluation.judged import Judged

SIMULATIONS = 1000
_FEWEST_CLIPS = 50
_CLIPS_FOR_PITCH = 6
_PITCHES = (145.0, 190.0)


def section(judged: Judged) -> dict[str, Any]:
    """Return UAR, precision and predicted shares of each group, their distances from all clips, and their limits."""
    found: dict[str, Any] = {}
    checks: list[dict[str, Any]] = []
    corpora = judged.column("corpus")
    for (name, groups), corpus in product(_groupings(judged).items(), sorted(set(corpora))):
        # Within each corpus: between corpora, groups would differ by their recordings.
        own, title = np.where(corpora == corpus, groups, ""), f"{corpus}, {name}"
        values = [str(value) for value in sorted(set(own)) if value and (own == value).sum() >= _FEWEST_CLIPS]
        if len(values) > 1:
            found[title], its_checks = _compared(judged, title, own, values)
            checks += its_checks
    if not found:
        return {"not_computed": f"no two groups of sex, age, race or pitch have {_FEWEST_CLIPS} clips each"}
    return {"groupings": found, "simulations": SIMULATIONS, "checks": checks}


def _groupings(judged: Judged) -> dict[str, NDArray[np.str_]]:
    """Return each clip's group by grouping, empty where it is not known."""
    speakers, corpora = judged.column("speaker").tolist(), judged.column("corpus").tolist()
    published = [(CORPORA.get(corpus), who) for corpus, who in zip(corpora, speakers, strict=True)]
    speaking = [corpus.speakers.get(who) if corpus else None for corpus, who in published]
    ages = [age or str((who and who.age) or "") for who, age in zip(speaking, judged.column("age"), strict=True)]
    pitches = _pitches(judged)
    return {
        "sex": judged.column("sex"),
        "age": np.array([_band(float(age), (30, 45), " years") if age not in ("", "nan") else "" for age in ages]),
        "race": np.array([corpus.races.get(who, "") if corpus else "" for corpus, who in published]),
        "pitch": np.array([_band(pitches[who], _PITCHES, " Hz") if who in pitches else "" for who in speakers]),
    }


def _band(value: float, bounds: tuple[float, float], unit: str) -> str:
    low, high = bounds
    names = (f"under {low:g}{unit}", f"{low:g} to {high:g}{unit}", f"{high:g}{unit} and over")
    return names[int(np.searchsorted(bounds, value, side="right"))]


def _pitches(judged: Judged) -> dict[str, float]:
    """Return the pitch of each speaker in hertz, over six clips."""
    speakers, rate = judged.column("speaker"), judged.classifier.sampling_rate
    drawn = np.random.default_rng(judged.seed).permutation(len(speakers))
    clips = {str(who): np.sort(drawn[speakers[drawn] == who][:_CLIPS_FOR_PITCH]) for who in np.unique(speakers)}
    return {who: pitch(judged.samples(rows), rate) for who, rows in clips.items()}


def _compared(
    judged: Judged, name: str, groups: NDArray[np.str_], values: Sequence[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the table of the groups, and the checks of their differences from all groups."""
    decisions = (judged.decisions, judged.guesses(f"fairness {name}"))
    own, chance = (np.stack([judged.counts(it, groups == value) for value in values]) for it in decisions)
    draw, sizes, labels = np.random.default_rng([judged.seed, crc32(name.encode())]), own.sum(axis=2), judged.labels
    simulated = draw.multinomial(sizes, np.full(len(labels), 1 / len(labels)), size=(SIMULATIONS, *sizes.shape))
    difference, limit, guessing = (_largest(it, labels) for it in (own[np.newaxis], simulated, chance[np.newaxis]))
    measured, kinds = class_figures(own, alike=True), {"difference": difference, "limit": limit, "guessing": guessing}
    rows = [
        {
            "group": value,
            "clips": int(sizes[place].sum()),
            "speakers": len(set(judged.column("speaker")[groups == value])),
        }
        | {metric: float(measured[metric][place]) for metric in ("uar", "uap")}
        | {f"{metric}_{kind}": float(it[metric][place]) for kind, it in kinds.items() for metric in ("uar", "uap")}
        for place, value in enumerate(values)
    ]
    checks = [
        check(name, value, metric, it[place], guessing[metric][place], at_most=float(limit[metric][place]))
        for place, value in enumerate(values)
        for metric, it in difference.items()
        if not np.isnan(it[place])
    ]
    return rows, checks


def _largest(cells: NDArray[Any], labels: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return by metric the largest difference `(groups,)` from all groups among samples `(samples, groups, ...)`."""
    group, everyone = (class_figures(it, labels, alike=True) for it in (cells, cells.sum(axis=1, keepdims=True)))
    return {metric: np.abs(group[metric] - everyone[metric]).max(axis=0) for metric in group}
