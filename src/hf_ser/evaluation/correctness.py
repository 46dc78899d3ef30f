"""Whether a model is right where it matters: by class, source, sex and speaker, and next to listeners.

The checks of single sources and of speakers are those of ser-tests (Derington et al., Testing Speech Emotion
Recognition Machine Learning Models, 2023), for categories.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_ser.dataset.votes import VOTE_LABELS
from hf_ser.evaluation.checks import check, guesses
from hf_ser.evaluation.judged import Judged
from hf_ser.evaluation.metrics.counts import confusion_counts
from hf_ser.evaluation.metrics.f1 import precision_recall_f1
from hf_ser.evaluation.metrics.uar import unweighted_average_recall
from hf_ser.evaluation.robustness import unweighted_average_precision

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
    guessed, checks = guesses(judged, "undisturbed"), []
    corpora = judged.column("corpus")
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
        found.append(
            {
                column: str(value),
                "clips": int(counts.sum()),
                "uar": float(unweighted_average_recall(counts)),
                "accuracy": float(counts.trace() / counts.sum()),
                "labels": int((counts.sum(axis=1) > 0).sum()),
            }
        )
    return found


def _figures(judged: Judged, decisions: NDArray[Any], rows: NDArray[np.bool_]) -> dict[str, float]:
    """Return UAR, UAP, recall and precision by class, and the error of each class's share, of some clips."""
    counts = judged.counts(decisions, rows)
    precision, recall, _ = precision_recall_f1(counts)
    found = {"uar": float(unweighted_average_recall(counts)), "uap": unweighted_average_precision(counts)}
    errors = np.abs(counts.sum(axis=0) - counts.sum(axis=1)) / counts.sum()
    for index in np.flatnonzero(counts.sum(axis=1)):
        label = judged.labels[index]
        found |= {f"recall {label}": float(recall[index]), f"precision {label}": float(np.nan_to_num(precision[index]))}
        found[f"share error {label}"] = float(errors[index])
    return found


def _speakers(
    judged: Judged, corpus: str, rows: NDArray[np.bool_], guessed: NDArray[Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return how well the share of each class is found for each speaker, and in what order speakers come by it.

    Shares are over the speakers with 8 clips of a class or more. The order is compared by Spearman's rho, and by the
    quarters of speakers with the largest and the smallest share: the precision of both, and how many of those said to
    be in one are truly in the other.
    """
    from scipy.stats import spearmanr

    speakers, found, checks = judged.column("speaker"), {}, []
    for index, label in enumerate(judged.labels):
        clips = {who: rows & (speakers == who) for who in np.unique(speakers[rows])}
        clips = {who: of for who, of in clips.items() if (judged.references[of] == index).sum() >= _CLIPS_OF_A_SPEAKER}
        if len(clips) < 2:
            continue
        figures = []
        for decided in (judged.decisions, guessed):
            true, said = (np.array([(it[of] == index).mean() for of in clips.values()])
                          for it in (judged.references, decided))  # fmt: skip
            quarter = max(1, round(_QUARTER * len(clips)))
            ranked = [np.argsort(it, kind="stable") for it in (true, said)]
            ends = [(set(it[:quarter]), set(it[-quarter:])) for it in ranked]
            # Speakers with equal shares have no order: rho, and the quarters by it, are then undefined.
            varied = np.ptp(true) > 0 and len(clips) >= 8
            rho = float(spearmanr(true, said).statistic) if varied and np.ptp(said) else 0.0 if varied else None
            hits = sum(len(a & b) for a, b in zip(*ends, strict=True)) / (2 * quarter)
            crossed = (len(ends[0][0] & ends[1][1]) + len(ends[0][1] & ends[1][0])) / (2 * quarter)
            values = (float(np.abs(true - said).mean()), rho, *((hits, crossed) if varied else (None, None)))
            figures.append(dict(zip(_BOUNDS, values, strict=True)))
        found[label] = {"speakers": len(clips), **figures[0]}
        checks += [
            check("by_speaker", corpus, f"{name} {label}", figures[0][name], figures[1][name], **bound)
            for name, bound in _BOUNDS.items()
            if figures[0][name] is not None
        ]
    return found, checks


def _listeners(judged: Judged) -> dict[str, Any] | None:
    """Return how single listeners of voice alone, and their majority, do on the same clips of CREMA-D as the model.

    The divergence of the model's scores from the shares of votes is Jensen and Shannon's, in bits, from 0 to 1.
    """
    from scipy.spatial.distance import jensenshannon

    if "voice_votes" not in judged.rows.column_names:
        return None
    shared = [label for label in judged.labels if label in VOTE_LABELS]
    columns = np.array([judged.labels.index(label) for label in shared])
    votes = np.array([[(row or {}).get(label) or 0 for label in shared] for row in judged.rows["voice_votes"]])
    heard = (votes.sum(axis=1) > 0) & np.isin(judged.references, columns)
    if not heard.any():
        return None
    # Both are in the order of the labels.
    votes, truth = votes[heard].astype(float), np.searchsorted(columns, judged.references[heard])
    shares, scores = votes / votes.sum(axis=1, keepdims=True), judged.scores[heard][:, columns]
    scores = scores / scores.sum(axis=1, keepdims=True)
    rows = []
    for name, counts in {
        "single listener": np.array([shares[truth == index].sum(axis=0) for index in range(len(shared))]),
        "majority of the listeners": confusion_counts(votes.argmax(axis=1), truth, len(shared)),
        "model": confusion_counts(scores.argmax(axis=1), truth, len(shared)),
    }.items():
        accuracy = float(np.trace(counts) / counts.sum())
        rows.append({"who": name, "uar": float(unweighted_average_recall(counts)), "accuracy": accuracy})
    divergence = float((jensenshannon(shares, scores, base=2, axis=1) ** 2).mean())
    uniform = float((jensenshannon(shares, np.full_like(shares, 1 / len(shared)), base=2, axis=1) ** 2).mean())
    return {"clips": int(heard.sum()), "labels": shared, "rows": rows, "divergence": divergence, "guessing": uniform}
