"""The figures of `metrics.json` from scores: pooled, per corpus, and as a mean over corpora."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_ser.errors import InputError
from hf_ser.evaluation.intervals import RESAMPLES, percentile_interval, speaker_draws, wilson_interval
from hf_ser.evaluation.metrics.accuracy import accuracy_score
from hf_ser.evaluation.metrics.counts import confusion_counts, plain
from hf_ser.evaluation.metrics.eer import one_vs_rest_eer
from hf_ser.evaluation.metrics.f1 import f1_averages, precision_recall_f1
from hf_ser.evaluation.metrics.paper_eer import paper_equal_error_rate
from hf_ser.evaluation.metrics.uar import unweighted_average_recall
from hf_ser.evaluation.probabilities import PROBABILITY_FIGURES, roc_auc

FIGURES: dict[str, Callable[[NDArray[Any]], NDArray[np.float64]]] = {
    "accuracy": accuracy_score,
    "uar": unweighted_average_recall,
}
"""Figures that follow from confusion counts `(..., classes, classes)`; each is reported with its interval."""

MINIMUM_SPEAKERS = 3
FEW_SPEAKERS = 10


def evaluate_scores(
    scores: ArrayLike,
    references: ArrayLike,
    labels: Sequence[str],
    corpora: Sequence[str],
    speakers: Sequence[str],
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Compare scores with references: all clips pooled, each corpus, and the mean over corpora.

    UAR and macro F1 are means over the classes that have clips, so a corpus without calm is not penalised for it. The
    95 % intervals are percentile intervals of a bootstrap over the speakers of each corpus. Fewer than 3 speakers do
    not show how speakers differ: such a corpus has no intervals (None), and neither has the mean over corpora.
    `intervals_note` says so, and where an interval is too narrow because speakers are few: of simulated intervals
    around a known UAR, 81 % contained it with 4 speakers, 90 % with 10, 92 % with 20.

    Args:
        scores: Probabilities, shape `(clips, classes)`.
        references: True class indices, shape `(clips,)`.
        labels: Name of each class, in the order of the columns of the scores.
        corpora: Name of each clip's corpus.
        speakers: Name of each clip's speaker.
        seed: Seed of the bootstrap; the order of the clips does not change the intervals.
        resamples: Number of bootstrap samples.

    Returns:
        `pooled`, `corpora` (by name, in order of appearance) and `mean_over_corpora`, ready for JSON:
        fractions from 0 to 1, None where a figure is undefined (such as the recall of a class without clips).

    Example:
        >>> result = evaluate_scores(
        ...     [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]], [0, 0, 1], ["calm", "sad"],
        ...     corpora=["ravdess"] * 3, speakers=["ravdess_01", "ravdess_02", "ravdess_02"], seed=0)
        >>> result["pooled"]["uar"], result["pooled"]["confusion"]
        (0.75, [[1, 1], [0, 1]])
    """
    table, truth = np.asarray(scores, dtype=np.float64), np.asarray(references)
    if table.ndim != 2 or table.shape[1] != len(labels):
        raise InputError(f"scores have shape {table.shape}; give (clips, {len(labels)}), a column for each label")
    lengths = {"scores": len(table), "references": len(truth), "corpora": len(corpora), "speakers": len(speakers)}
    if len(set(lengths.values())) > 1 or not len(table):
        raise InputError(f"lengths differ or are 0: {lengths}; give one entry per clip in each")
    if resamples < 1:
        raise InputError(f"resamples is {resamples}; give at least 1 ({RESAMPLES} is usual)")
    decisions = table.argmax(axis=1)
    try:
        pooled = _measure(table, truth, decisions, labels, len(set(zip(corpora, speakers, strict=True))))
    except ValueError as error:
        raise InputError(str(error)) from None

    drawn = speaker_draws([decisions], truth, len(labels), corpora, speakers, resamples, seed)
    draws = {corpus: counts[:, 0] for corpus, counts in drawn.items()}
    measures: dict[str, dict[str, Any]] = {}
    for corpus in draws:
        rows = np.asarray(corpora) == corpus
        voices = len(np.unique(np.asarray(speakers)[rows]))
        measures[corpus] = _measure(table[rows], truth[rows], decisions[rows], labels, voices)
    sizes = {corpus: measures[corpus]["speakers"] for corpus in dict.fromkeys(corpora)}

    for corpus, size in sizes.items():
        measures[corpus] |= _intervals(figures(draws[corpus]), _note({corpus: size}))
    pooled |= _intervals(figures(sum(draws.values(), np.zeros(()))), _note(sizes))
    each = [figures(counts) for counts in draws.values()]
    mean_figures = {name: np.mean([it[name] for it in each], axis=0) for name in each[0]}
    mean = _mean(list(measures.values())) | _intervals(mean_figures, _note(sizes, of_corpora=True))
    return {
        "pooled": pooled,
        "corpora": {corpus: measures[corpus] for corpus in sizes},
        "mean_over_corpora": {"corpora": len(sizes), **mean},
    }


def _measure(
    scores: NDArray[np.float64], references: NDArray[Any], decisions: NDArray[Any], labels: Sequence[str], speakers: int
) -> dict[str, Any]:
    counts = confusion_counts(decisions, references, len(labels))
    macro, micro, eer = one_vs_rest_eer(scores, references)
    areas = roc_auc(scores, references)
    precision, recall, f1 = precision_recall_f1(counts)
    support, hits = counts.sum(axis=1).tolist(), counts.diagonal().tolist()
    by_class = {"support": support, "precision": precision, "recall": recall, "f1": f1, "eer": eer, "roc_auc": areas,
                "recall_interval": list(map(wilson_interval, hits, support))}  # fmt: skip
    found: dict[str, Any] = plain(
        {
            "clips": counts.sum(),
            "speakers": speakers,
            **{name: figure(counts) for name, figure in FIGURES.items()},
            "f1": f1_averages(counts),
            "eer": {"macro": macro, "micro": micro},
            "paper_eer": paper_equal_error_rate(counts),
            "roc_auc": areas[~np.isnan(areas)].mean() if not np.isnan(areas).all() else None,
            **{name: figure(scores, references) for name, figure in PROBABILITY_FIGURES.items()},
            "per_class": {
                label: {name: values[index] for name, values in by_class.items()} for index, label in enumerate(labels)
            },
            "confusion": counts,
        }
    )
    return found


def figures(counts: NDArray[Any]) -> dict[str, Any]:
    """Return accuracy, UAR and macro F1 of confusion counts `(..., classes, classes)`."""
    return {name: figure(counts) for name, figure in FIGURES.items()} | {"f1_macro": f1_averages(counts)["macro"]}


def _intervals(draws: Mapping[str, NDArray[np.float64]], note: str | None) -> dict[str, Any]:
    usable = not (note or "").startswith("no interval")
    bounds = {name: list(percentile_interval(values)) if usable else None for name, values in draws.items()}
    return {"intervals": bounds, "intervals_note": note}


def _note(sizes: Mapping[str, int], *, of_corpora: bool = False) -> str | None:
    """Return what an interval over so many speakers by corpus cannot tell, or why there is none."""

    def plural(speakers: int) -> str:
        return f"{speakers} speaker" if speakers == 1 else f"{speakers} speakers"

    def listing(below: int) -> str:
        return ", ".join(f"{corpus} ({plural(size)})" for corpus, size in sizes.items() if size < below)

    total, thin = sum(sizes.values()), listing(MINIMUM_SPEAKERS)
    if of_corpora:
        if thin:
            return f"no interval: too few speakers in {thin}, and every corpus has the same weight"
        return f"too narrow: few speakers in {few}" if (few := listing(FEW_SPEAKERS)) else None
    if total < MINIMUM_SPEAKERS:
        return f"no interval: {plural(total)}, and bootstrapping needs at least {MINIMUM_SPEAKERS} speakers"
    if thin:
        return f"too narrow: too few speakers in {thin} to show how speakers differ"
    return f"too narrow: only {plural(total)}" if total < FEW_SPEAKERS else None


def _mean(values: Sequence[Any]) -> Any:
    """Return the mean of each figure that is not of a single label or clip; None where one is undefined."""
    if isinstance(values[0], Mapping):
        left_out = ("clips", "speakers", "per_class", "confusion", "intervals", "intervals_note")
        return {name: _mean([it[name] for it in values]) for name in values[0] if name not in left_out}
    return None if None in values else float(np.mean(values))
