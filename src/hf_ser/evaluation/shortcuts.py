"""What a model could use instead of the emotion: the corpus, the level, the silence, the sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_ser.audio.features import decoded, levels
from hf_ser.evaluation.judged import Judged
from hf_ser.evaluation.metrics.counts import confusion_counts
from hf_ser.evaluation.metrics.uar import unweighted_average_recall
from hf_ser.evaluation.robustness import stratified
from hf_ser.inference.classifier import part_outputs

TRAINING_CLIPS, TEST_CLIPS = 500, 1000


def section(judged: Judged) -> dict[str, Any]:
    """Return what the corpus, level, silence or sentence alone give, learned on at most 500 training clips."""
    train = judged.training_rows(TRAINING_CLIPS)
    if train is None:
        return {"not_computed": "the data has no training part to learn from beside the judged part"}
    rows = stratified(judged, TEST_CLIPS)
    truth, train_truth = judged.references[rows], judged.labels_of(train)
    rate = judged.classifier.sampling_rate
    heard, trained = (levels(it, rate) for it in (judged.samples(rows), map(decoded(train, rate), range(len(train)))))
    columns = {"level": [0, 1], "silence": [2, 3, 4], "duration": [5], "all three": [0, 1, 2, 3, 4, 5]}
    return {
        "training_clips": len(train),
        "clips": len(rows),
        "guessing": 1 / len(set(truth)),
        "alone": {
            name: _uar(_trees(trained[:, it], train_truth, heard[:, it], judged.seed), truth, len(judged.labels))
            for name, it in columns.items()
        },
        "model": _uar(judged.decisions[rows], truth, len(judged.labels)),
        "corpus": _corpus(judged, train, rows),
        "sentences": _sentences(judged),
    }


def _uar(decided: Any, truth: Any, labels: int) -> float:
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
    features = [it[:, len(judged.classifier.labels) :] for it in
                (part_outputs(judged.classifier, train), judged.outputs[rows[known]])]  # fmt: skip
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, class_weight="balanced"))
    decided = np.searchsorted(names, probe.fit(features[0], train["corpus"]).predict(features[1]))
    truth = np.searchsorted(names, corpora[known])
    return {"uar": _uar(decided, truth, len(names)), "guessing": 1 / len(set(truth))}


def _sentences(judged: Judged) -> dict[str, Any]:
    """Return by corpus what the most frequent training label of a sentence gives, and how many sentences are shared."""
    import pandas as pd

    everything, keys = judged.training_rows(10**9), ["corpus", "sentence"]
    if "sentence" not in everything.column_names or not any(judged.column("sentence")):
        return {}
    train = pd.DataFrame({name: everything[name] for name in keys} | {"label": judged.labels_of(everything)}).dropna()
    heard = train.groupby(keys)["label"].agg(lambda labels: labels.mode()[0]).rename("guess").reset_index()
    test = pd.DataFrame({name: judged.column(name) for name in keys} | {"label": judged.references})
    found = {}
    for corpus, rows in test[test["sentence"] != ""].merge(heard, on=keys, how="left").groupby("corpus"):
        own = train["label"][train["corpus"] == corpus]
        if len(own):
            guess = rows["guess"].fillna(own.mode()[0]).astype(int)
            found[str(corpus)] = {
                "clips": len(rows),
                "sentences": rows["sentence"].nunique(),
                "in_training": float(rows["guess"].notna().mean()),
                "uar": _uar(guess, rows["label"], len(judged.labels)),
                "guessing": 1 / rows["label"].nunique(),
            }
    return found
