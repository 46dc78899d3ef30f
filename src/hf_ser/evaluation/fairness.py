"""Whether a model treats groups of speakers alike: sexes, ages, races, and speakers with low and high voices.

As in ser-tests (Derington et al., 2023), a group of a corpus is compared with all groups together, every label weighing
the same in it, and the difference is held against the largest one that 1,000 models which guess reach at the same group
sizes. A model that guesses therefore passes: fairness means nothing beside poor correctness.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from hf_ser.audio.features import pitch
from hf_ser.corpora import CORPORA
from hf_ser.evaluation.checks import check, guesses
from hf_ser.evaluation.judged import Judged

SIMULATIONS = 1000
_FEWEST_CLIPS = 50
_CLIPS_FOR_PITCH = 6
_PITCHES = (145.0, 190.0)


def section(judged: Judged) -> dict[str, Any]:
    """Return UAR, precision and predicted shares of each group, their distances from all clips, and their limits."""
    found, checks, corpora = {}, [], judged.column("corpus")
    # Within each corpus: between corpora, groups would differ by their recordings.
    groupings = {
        f"{corpus}, {name}": np.where(corpora == corpus, groups, "")
        for name, groups in _groupings(judged).items()
        for corpus in sorted(set(corpora))
    }
    for name, groups in groupings.items():
        values = [str(value) for value in sorted(set(groups)) if value and (groups == value).sum() >= _FEWEST_CLIPS]
        if len(values) < 2:
            continue
        rows, own, limits, chance = _compared(judged, name, groups, values)
        found[name] = rows
        for value in values:
            for metric, difference in own[value].items():
                limit = limits[value][metric]
                checks.append(check(name, value, metric, difference, chance[value][metric], at_most=limit))
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


def _compared(judged: Judged, name: str, groups: NDArray[np.str_], values: Sequence[str]) -> tuple[Any, ...]:
    """Return the table of the groups, and by group and metric: differences, limits, and differences of guessing."""
    labels = len(judged.labels)
    guessed = guesses(judged, f"fairness {name}")
    draw = np.random.default_rng([judged.seed, crc32(name.encode())])

    def counts(decisions: NDArray[Any]) -> NDArray[Any]:
        return np.stack([judged.counts(decisions, groups == it) for it in values])

    own, chance = counts(judged.decisions), counts(guessed)
    sizes = own.sum(axis=2)
    simulated = draw.multinomial(sizes, np.full(labels, 1 / labels), size=(SIMULATIONS, *sizes.shape))
    distances: list[dict[str, dict[str, float]]] = []
    for cells in (own[np.newaxis], simulated, chance[np.newaxis]):
        group, all_clips = (_figures(it, judged.labels) for it in (cells, cells.sum(axis=1, keepdims=True)))
        largest = {metric: np.abs(group[metric] - all_clips[metric]).max(axis=0) for metric in group}
        distances.append(
            {it: {metric: float(of[place]) for metric, of in largest.items() if not np.isnan(of[place])}
             for place, it in enumerate(values)}
        )  # fmt: skip
    measured, rows = _figures(own, judged.labels), []
    for place, value in enumerate(values):
        row = {"group": value, "clips": int(sizes[place].sum())}
        row["speakers"] = len(set(judged.column("speaker")[groups == value]))
        for metric in ("uar", "uap"):
            row[metric] = float(measured[metric][place])
            row |= {
                f"{metric}_{kind}": distance[value][metric]
                for kind, distance in zip(("difference", "limit", "guessing"), distances, strict=True)
            }
        rows.append(row)
    return rows, *distances


def _figures(counts: NDArray[Any], labels: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return figures `(...)` of counts `(..., classes, classes)` by name, every class that has clips weighing the same.

    UAR, UAP, and of each class recall, precision and the share that is predicted; NaN for a class without clips.
    """
    support = counts.sum(axis=-1, keepdims=True)
    cells = np.where(support > 0, counts / np.maximum(support, 1), 0)
    absent, recall = support[..., 0] == 0, np.diagonal(cells, axis1=-2, axis2=-1)
    predicted = cells.sum(axis=-2)
    by_class = {
        "recall": recall,
        "precision": recall / np.maximum(predicted, 1e-12),
        "share": predicted / (~absent).sum(axis=-1, keepdims=True),
    }
    by_class = {name: np.where(absent, np.nan, values) for name, values in by_class.items()}
    found = {name: np.nanmean(by_class[of], axis=-1) for name, of in (("uar", "recall"), ("uap", "precision"))}
    for name, values in by_class.items():
        found |= {f"{name} {label}": values[..., index] for index, label in enumerate(labels)}
    return found
