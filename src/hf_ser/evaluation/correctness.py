"""Whether a model is right where it matters: by class, source, sex and speaker, and next to listeners.

The checks of single sources and of speakers are those of ser-tests (Derington et al., Testing Speech Emotion
Recognition Machine Learning Models, 2023), for categories.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_ser.dataset.votes import VOTE_LABELS
from hf_ser.evaluation.checks import check, class_figures
from hf_ser.evaluation.judged import Judged
from hf_ser.evaluation.metrics.accuracy import accuracy_score
from hf_ser.evaluation.metrics.counts import confusion_counts
from hf_ser.evaluation.metrics.uar import unweighted_average_recall
from hf_ser.labels import vote_counts

_CLIPS_OF_A_SPEAKER = 8
_QUARTER = 0.25
_BOUNDS = {
    "mean absolute error": {"at_most": 0.1},
    "rho": {"at_least": 0.7},
    "precision of quarters": {"at_least": 0.7},
    "quarters confused": {"at_most": 0.15},
}


def section(judged: Judged) -> dict[str, Any]:
    """Return figures by sex and speaker, class shares, their errors and order by speaker, and the listeners' row."""
    guessed, corpora, checks = judged.guesses("undisturbed"), judged.column("corpus"), []
    by_speaker: dict[str, Any] = {}
    for corpus in sorted(set(corpora)):
        rows = corpora == corpus
        own, chance = (_figures(judged, decided, rows) for decided in (judged.decisions, guessed))
        for metric, value in own.items():
            bound = {"at_most": 0.15} if metric.startswith("share") else {"at_least": 0.5}
            checks.append(check("by_class", corpus, metric, value, chance[metric], **bound))
        by_speaker[corpus], speaker_checks = _speakers(judged, corpus, rows, guessed)
        checks += speaker_checks
    return {
        "sexes": _rows(judged, "sex"),
        "speakers": _rows(judged, "speaker"),
        "class_shares": {
            label: [float((it == index).mean()) for it in (judged.references, judged.decisions)]
            for index, label in enumerate(judged.labels)
        },
        "by_speaker": {corpus: found for corpus, found in by_speaker.items() if found},
        "listeners": _listeners(judged),
        "checks": checks,
    }


def _rows(judged: Judged, column: str) -> list[dict[str, Any]]:
    """Return figures of the clips of each value of a column."""
    groups, decisions, found = judged.column(column), judged.decisions, []
    for value in sorted(set(groups) - {""}):
        counts = judged.counts(decisions, groups == value)
        clips, labels = int(counts.sum()), int((counts.sum(axis=1) > 0).sum())
        figures = {"uar": float(class_figures(counts)["uar"]), "accuracy": float(counts.trace() / clips)}
        found.append({column: str(value), "clips": clips, **figures, "labels": labels})
    return found


def _figures(judged: Judged, decisions: NDArray[Any], rows: NDArray[np.bool_]) -> dict[str, float]:
    """Return UAR, UAP, recall and precision by class, and the error of each class's share, of some clips."""
    counts = judged.counts(decisions, rows)
    found, shares = class_figures(counts, judged.labels), counts.sum(axis=1) / counts.sum()
    for label, share in zip(judged.labels, shares, strict=True):
        found[f"share error {label}"] = abs(found.pop(f"share {label}") - share)
    return {name: float(value) for name, value in found.items() if not np.isnan(value)}


def _speakers(
    judged: Judged, corpus: str, rows: NDArray[np.bool_], guessed: NDArray[Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return how well the share of each class is found for each speaker, and in what order speakers come by it.

    Of speakers with 8 clips of a class or more. The order is compared by Spearman's rho, and by the quarters with the
    largest and smallest share: the precision of both, and how many of those said to be in one are truly in the other.
    """
    import pandas as pd

    speakers, found, checks = judged.column("speaker")[rows], {}, []
    counted = [pd.crosstab(speakers, it[rows]).reindex(columns=range(len(judged.labels)), fill_value=0)
               for it in (judged.references, judged.decisions, guessed)]  # fmt: skip
    true, *said = (counts.div(counts.sum(axis=1), axis=0) for counts in counted)
    for index, label in enumerate(judged.labels):
        kept = counted[0][index] >= _CLIPS_OF_A_SPEAKER
        if kept.sum() < 2:
            continue
        own, chance = (_agreement(true[index][kept].to_numpy(), it[index][kept].to_numpy()) for it in said)
        found[label] = {"speakers": int(kept.sum()), **own}
        checks += [
            check("by_speaker", corpus, f"{name} {label}", own[name], chance[name], **bound)
            for name, bound in _BOUNDS.items()
            if own[name] is not None
        ]
    return found, checks


def _agreement(true: NDArray[np.float64], said: NDArray[np.float64]) -> dict[str, Any]:
    """Return the figures of `_BOUNDS` for the shares of a class by speaker."""
    from scipy.stats import spearmanr

    quarter = max(1, round(_QUARTER * len(true)))
    ranked = [np.argsort(it, kind="stable") for it in (true, said)]
    (low, high), (said_low, said_high) = ((set(it[:quarter]), set(it[-quarter:])) for it in ranked)
    found = [float(np.abs(true - said).mean()), None, None, None]
    # Speakers with equal shares have no order: rho, and the quarters by it, are then undefined.
    if np.ptp(true) > 0 and len(true) >= 8:
        rho = float(spearmanr(true, said).statistic) if np.ptp(said) else 0.0
        hits, crossed = len(low & said_low) + len(high & said_high), len(low & said_high) + len(high & said_low)
        found[1:] = [rho, hits / (2 * quarter), crossed / (2 * quarter)]
    return dict(zip(_BOUNDS, found, strict=True))


def _listeners(judged: Judged) -> dict[str, Any] | None:
    """Return how single listeners of voice alone, and their majority, do on the same clips of CREMA-D as the model.

    The divergence of the model's scores from the shares of votes is Jensen and Shannon's, in bits, from 0 to 1.
    """
    from scipy.spatial.distance import jensenshannon

    shared = [label for label in judged.labels if label in VOTE_LABELS]
    columns = np.array([judged.labels.index(label) for label in shared])
    votes = vote_counts(judged.rows, shared)
    heard = (votes.sum(axis=1) > 0) & np.isin(judged.references, columns)
    if not heard.any():
        return None
    # Both are in the order of the labels.
    votes, truth = votes[heard], np.searchsorted(columns, judged.references[heard])
    shares, scores = votes / votes.sum(axis=1, keepdims=True), judged.scores[heard][:, columns]
    scores = scores / scores.sum(axis=1, keepdims=True)
    answers = {
        "single listener": np.array([shares[truth == index].sum(axis=0) for index in range(len(shared))]),
        "majority of the listeners": confusion_counts(votes.argmax(axis=1), truth, len(shared)),
        "model": confusion_counts(scores.argmax(axis=1), truth, len(shared)),
    }
    rows = [{"who": name, "uar": float(unweighted_average_recall(it)), "accuracy": float(accuracy_score(it))}
            for name, it in answers.items()]  # fmt: skip
    divergence, uniform = (
        float((jensenshannon(shares, it, base=2, axis=1) ** 2).mean())
        for it in (scores, np.full_like(shares, 1 / len(shared)))
    )
    return {"clips": int(heard.sum()), "labels": shared, "rows": rows, "divergence": divergence, "guessing": uniform}
