"""How a model's decisions change under disturbances of the audio."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from hf_ser.audio.augment import seeded
from hf_ser.audio.disturbances import DISTURBANCES, Samples, babble
from hf_ser.evaluation.checks import check, class_figures
from hf_ser.evaluation.judged import Judged
from hf_ser.evaluation.metrics.counts import confusion_counts

TEST_CLIPS = 1500
FEWER_CLIPS = 512
_VOICES = 64
_AT_ONCE = 256


def section(judged: Judged) -> dict[str, Any]:
    """Return what each disturbance does to UAR, average precision (UAP) and decisions, and curves over strengths.

    A loss of UAR is of at most 1,500 clips; decisions and curves are of 512, drawn by label and corpus in proportion.
    """
    rows = stratified(judged, TEST_CLIPS)
    fewer = np.flatnonzero(np.isin(rows, stratified(judged, FEWER_CLIPS)))
    clips, speakers = list(judged.samples(rows)), judged.column("speaker")[rows]
    voices = np.random.default_rng(judged.seed).permutation(len(rows))[:_VOICES]
    # Babble is of other speakers, so that none of it comes from the clip's own voice.
    others = {who: [clips[place] for place in voices if speakers[place] != who] for who in np.unique(speakers)}
    jobs: list[tuple[str, float | None]] = [(name, None) for name, it in DISTURBANCES.items() if it.strengths]
    jobs += [(name, strength) for name, it in DISTURBANCES.items() for strength in it.curve]
    if not all(others.values()):
        jobs = [job for job in jobs if DISTURBANCES[job[0]].change is not babble]
    found: dict[str, Any] = {"curve_clips": len(fewer), "disturbances": {}, "curves": {}}
    checks: list[dict[str, Any]] = []

    def disturbed(place: int, name: str, strength: float | None) -> Samples:
        key, it = [judged.seed, int(rows[place]), crc32(name.encode())], DISTURBANCES[name]
        drawn = float(np.random.default_rng([*key, 1]).choice(it.strengths)) if strength is None else strength
        return it(clips[place], judged.classifier.sampling_rate, drawn, key, others[speakers[place]])

    decisions, guessed = judged.decisions, judged.guesses("undisturbed")
    # audiomentations draws, although its ranges are single values: the generators are left as they were.
    with ThreadPoolExecutor() as pool, seeded("disturbances"):
        for name, strength in tqdm(jobs, desc="Disturbances", unit="disturbance", leave=False):
            it = DISTURBANCES[name]
            places = np.arange(len(rows)) if strength is None and "uar_lost" in it.limits else fewer
            change, chosen = partial(disturbed, name=name, strength=strength), rows[places]
            pieces = np.array_split(places, range(_AT_ONCE, len(places), _AT_ONCE))
            outputs = [judged.classifier.outputs(list(pool.map(change, some.tolist()))) for some in pieces]
            after = judged.scores_of(np.concatenate(outputs)).argmax(axis=1)
            if it.curve:
                # Of one set of clips, so that its points compare.
                inside, at = np.isin(places, fewer), it.strengths[0] if strength is None else strength
                point = _compared(judged, chosen[inside], decisions, after[inside])
                found["curves"].setdefault(name, {"unit": it.unit, "points": []})["points"].append(
                    {"strength": at, **point}
                )
            if strength is not None:
                continue
            measured = _compared(judged, chosen, decisions, after)
            described = {"strengths": it.strengths, "unit": it.unit, "clips": len(places)}
            found["disturbances"][name] = {**described, **measured}
            guessing = _compared(judged, chosen, guessed, judged.guesses(name)[chosen])
            for metric, limit in it.limits.items():
                bound = {"at_least" if metric == "unchanged" else "at_most": limit}
                checks.append(check(name, "all clips", metric, measured[metric], guessing[metric], **bound))
    for name, curve in found["curves"].items():
        if (neutral := DISTURBANCES[name].neutral) is not None:
            undisturbed = _compared(judged, rows[fewer], decisions, decisions[rows[fewer]])
            curve["points"].append({"strength": neutral, **undisturbed})
        curve["points"].sort(key=lambda point: point["strength"])
    return {**found, "checks": checks}


def stratified(judged: Judged, most: int) -> NDArray[np.int64]:
    """Return at most so many rows, in order, with the proportions of label and corpus kept; fewer are among more."""
    draw, corpora = np.random.default_rng(judged.seed), judged.column("corpus")
    order, place = draw.permutation(len(corpora)), np.empty(len(corpora))
    for corpus, label in {*zip(corpora.tolist(), judged.references.tolist(), strict=True)}:
        group = order[(corpora[order] == corpus) & (judged.references[order] == label)]
        place[group] = (np.arange(len(group)) + 0.5) / len(group)
    return np.sort(order[np.argsort(place[order], kind="stable")][:most])


def _compared(judged: Judged, rows: NDArray[Any], before: NDArray[Any], after: NDArray[Any]) -> dict[str, float]:
    """Return UAR and UAP of decisions `after` on some rows, what is lost of them, and the share of equal decisions."""
    both = (before[rows], after)
    old, new = (class_figures(confusion_counts(it, judged.references[rows], len(judged.labels))) for it in both)
    found = {name: float(value) for name, value in new.items()}
    lost = {f"{name}_lost": float(old[name] - value) for name, value in new.items()}
    return found | lost | {"unchanged": float((both[0] == after).mean())}
