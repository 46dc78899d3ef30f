"""What a model could use instead of the emotion: the corpus, the level, the silence, the sentence."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_ser.audio.clips import Segments
from hf_ser.audio.features import decoded, levels
from hf_ser.audio.segment import average_by_clip
from hf_ser.evaluation.judged import Judged
from hf_ser.evaluation.metrics.counts import confusion_counts
from hf_ser.evaluation.metrics.uar import unweighted_average_recall
from hf_ser.evaluation.robustness import stratified
from hf_ser.inference.states import pooled_states

TRAINING_CLIPS = 1500


def section(judged: Judged) -> dict[str, Any]:
    """Return what the corpus, level, silence or sentence alone give, learned on training clips.

    At most 1,500 training clips, and as many judged ones, are heard.
    """
    train = judged.training_rows(TRAINING_CLIPS)
    if train is None:
        return {"not_computed": "the data has no training part to learn from beside the judged part"}
    rows = stratified(judged, TRAINING_CLIPS)
    truth, train_truth = judged.references[rows], judged.labels_of(train)
    rate = judged.classifier.sampling_rate
    heard, trained = (levels(it, rate) for it in (judged.samples(rows), map(decoded(train, rate), range(len(train)))))
    found: dict[str, Any] = {"training_clips": len(train), "clips": len(rows), "guessing": 1 / len(set(truth))}
    columns = {"level": [0, 1], "silence": [2, 3, 4], "duration": [5], "all three": [0, 1, 2, 3, 4, 5]}
    found["alone"] = {
        name: _uar(_trees(trained[:, chosen], train_truth, heard[:, chosen], judged.seed), truth, len(judged.labels))
        for name, chosen in columns.items()
    }
    counts = confusion_counts(judged.decisions[rows], truth, len(judged.labels))
    found["model"] = float(unweighted_average_recall(counts))
    found["corpus"] = _corpus(judged, train, rows)
    found["sentences"] = _sentences(judged)
    return found


def _uar(decided: NDArray[Any], truth: NDArray[Any], labels: int) -> float:
    return float(unweighted_average_recall(confusion_counts(decided, truth, labels)))


def _trees(features: NDArray[Any], truth: NDArray[Any], new: NDArray[Any], seed: int) -> NDArray[Any]:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(200, min_samples_leaf=5, class_weight="balanced", random_state=seed, n_jobs=-1)
    return np.asarray(forest.fit(features, truth).predict(new))


def _corpus(judged: Judged, train: Any, rows: NDArray[Any]) -> dict[str, Any] | None:
    """Return how well a logistic regression on the features that enter the head tells the corpus."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    corpora, names = judged.column("corpus")[rows], sorted(set(train["corpus"]))
    known = np.isin(corpora, names)
    if len(names) < 2 or len(set(corpora[known])) < 2:
        return None
    features = [_states(judged, clips) for clips in (train, judged.rows.select(rows[known]))]
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, class_weight="balanced"))
    decided = probe.fit(features[0], train["corpus"]).predict(features[1])
    index = {name: place for place, name in enumerate(names)}
    counts = confusion_counts([index[it] for it in decided], [index[it] for it in corpora[known]], len(names))
    return {"uar": float(unweighted_average_recall(counts)), "guessing": 1 / len(set(corpora[known]))}


def _states(judged: Judged, rows: Any) -> NDArray[np.float64]:
    classifier = judged.classifier
    items = Segments(rows, sampling_rate=classifier.sampling_rate, segment_seconds=classifier.segment_seconds)
    states = pooled_states(classifier.model, classifier.feature_extractor, items, description="Encoding clips")
    return average_by_clip(states, items.clip_index, len(rows))


def _sentences(judged: Judged) -> dict[str, Any]:
    """Return by corpus what the most frequent training label of a sentence gives, and how many sentences are shared."""
    known, everything = judged.column("sentence"), judged.training_rows(10**9)
    if not any(known) or "sentence" not in everything.column_names:
        return {}
    heard: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    overall: dict[str, Counter[int]] = defaultdict(Counter)
    columns = (everything["corpus"], everything["sentence"], judged.labels_of(everything).tolist())
    for corpus, sentence, label in zip(*columns, strict=True):
        if sentence:
            heard[corpus, sentence][label] += 1
            overall[corpus][label] += 1
    found, corpora = {}, judged.column("corpus")
    for corpus in sorted(set(corpora[known != ""])):
        rows = np.flatnonzero((corpora == corpus) & (known != ""))
        shared = [bool(heard.get((corpus, known[row]))) for row in rows]
        if not overall.get(corpus):
            continue
        guess = [(heard.get((corpus, known[row])) or overall[corpus]).most_common(1)[0][0] for row in rows]
        truth = judged.references[rows]
        found[corpus] = {
            "clips": len(rows),
            "sentences": len(set(known[rows])),
            "in_training": float(np.mean(shared)),
            "uar": _uar(np.array(guess), truth, len(judged.labels)),
            "guessing": 1 / len(set(truth)),
        }
    return found
