"""The figures of `metrics.json` from scores: pooled, per corpus, and as a mean over corpora."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_ser.errors import InputError
from hf_ser.evaluation.intervals import RESAMPLES, percentile_interval, speaker_draws, wilson_interval
from hf_ser.evaluation.metrics.accuracy import accuracy_score
from hf_ser.evaluation.metrics.counts import confusion_counts
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

    The predicted label of a clip is the one with the highest score, the first among equals. UAR and macro F1 are
    means over the classes that have clips in the references, so a corpus without calm is not penalised for it.

    The 95 % intervals are percentile intervals of a bootstrap over the speakers of each corpus. Fewer than 3
    speakers do not show how speakers differ: such a corpus has no intervals (None), and neither has the mean over
    corpora, in which every corpus has the same weight. `intervals_note` says so, and says where an interval is too
    narrow because speakers are few: of simulated intervals around a known UAR, 81 % contained it with 4 speakers,
    90 % with 10, 92 % with 20.

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
    corpus_of, speaker_of = np.asarray(corpora), np.asarray(speakers)
    measures: dict[str, dict[str, Any]] = {}
    for corpus in draws:
        rows = corpus_of == corpus
        voices = len(np.unique(speaker_of[rows]))
        measures[corpus] = _measure(table[rows], truth[rows], decisions[rows], labels, voices)
    sizes = {corpus: measures[corpus]["speakers"] for corpus in dict.fromkeys(corpora)}

    for corpus, size in sizes.items():
        measures[corpus] |= _intervals(figures(draws[corpus]), *_pooled_note({corpus: size}))
    pooled |= _intervals(figures(sum(draws.values(), np.zeros(()))), *_pooled_note(sizes))
    each = [figures(counts) for counts in draws.values()]
    mean_figures = {name: np.mean([it[name] for it in each], axis=0) for name in each[0]}
    return {
        "pooled": pooled,
        "corpora": {corpus: measures[corpus] for corpus in sizes},
        "mean_over_corpora": _mean(list(measures.values())) | _intervals(mean_figures, *_mean_note(sizes)),
    }


def _measure(
    scores: NDArray[np.float64], references: NDArray[Any], decisions: NDArray[Any], labels: Sequence[str], speakers: int
) -> dict[str, Any]:
    counts = confusion_counts(decisions, references, len(labels))
    macro, micro, eer = one_vs_rest_eer(scores, references)
    areas = roc_auc(scores, references)
    precision, recall, f1 = precision_recall_f1(counts)
    support, hits = counts.sum(axis=1), counts.diagonal()
    return {
        "clips": int(counts.sum()),
        "speakers": speakers,
        **{name: float(figure(counts)) for name, figure in FIGURES.items()},
        "f1": {name: float(value) for name, value in f1_averages(counts).items()},
        "eer": {"macro": _defined(macro), "micro": micro},
        "paper_eer": _defined(paper_equal_error_rate(counts)),
        **{name: _defined(figure(scores, references)) for name, figure in PROBABILITY_FIGURES.items()},
        "per_class": {
            label: {
                "support": int(support[index]),
                "precision": _defined(precision[index]),
                "recall": _defined(recall[index]),
                "f1": _defined(f1[index]),
                "eer": _defined(eer[index]),
                "roc_auc": _defined(areas[index]),
                "recall_interval": _listed(wilson_interval(int(hits[index]), int(support[index]))),
            }
            for index, label in enumerate(labels)
        },
        "confusion": counts.tolist(),
    }


def figures(counts: NDArray[Any]) -> dict[str, Any]:
    """Return accuracy, UAR and macro F1 of confusion counts `(..., classes, classes)`."""
    return {name: figure(counts) for name, figure in FIGURES.items()} | {"f1_macro": f1_averages(counts)["macro"]}


def _intervals(draws: Mapping[str, NDArray[np.float64]], usable: bool, note: str | None) -> dict[str, Any]:
    bounds = {name: list(percentile_interval(values)) if usable else None for name, values in draws.items()}
    return {"intervals": bounds, "intervals_note": note}


def _pooled_note(speakers: Mapping[str, int]) -> tuple[bool, str | None]:
    total = sum(speakers.values())
    if total < MINIMUM_SPEAKERS:
        return False, f"no interval: {_plural(total)}, and bootstrapping needs at least {MINIMUM_SPEAKERS} speakers"
    if thin := _listing(speakers, MINIMUM_SPEAKERS):
        return True, f"too narrow: too few speakers in {thin} to show how speakers differ"
    if total < FEW_SPEAKERS:
        return True, f"too narrow: only {_plural(total)}"
    return True, None


def _mean_note(speakers: Mapping[str, int]) -> tuple[bool, str | None]:
    if thin := _listing(speakers, MINIMUM_SPEAKERS):
        return False, f"no interval: too few speakers in {thin}, and every corpus has the same weight"
    if few := _listing(speakers, FEW_SPEAKERS):
        return True, f"too narrow: few speakers in {few}"
    return True, None


def _listing(speakers: Mapping[str, int], below: int) -> str:
    return ", ".join(f"{corpus} ({_plural(size)})" for corpus, size in speakers.items() if size < below)


def _mean(measures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    def mean(*path: str) -> float | None:
        values: list[Any] = list(measures)
        for key in path:
            values = [value[key] for value in values]
        return None if None in values else float(np.mean(values))

    return {
        "corpora": len(measures),
        **{name: mean(name) for name in FIGURES},
        "f1": {name: mean("f1", name) for name in ("micro", "macro", "weighted")},
        "eer": {name: mean("eer", name) for name in ("macro", "micro")},
        **{name: mean(name) for name in ("paper_eer", *PROBABILITY_FIGURES)},
    }


def _plural(speakers: int) -> str:
    return f"{speakers} speaker" if speakers == 1 else f"{speakers} speakers"


def _defined(value: float | NDArray[np.float64]) -> float | None:
    return None if np.isnan(value) else float(value)


def _listed(bounds: tuple[float, float] | None) -> list[float] | None:
    return None if bounds is None else list(bounds)
