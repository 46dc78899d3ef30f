"""What a recipe has to beat: guessing, regressions on frozen states, eGeMAPS functionals with a linear SVM.

Each learns from all training clips; its regularisation is the one with the best UAR on the validation part. What it
decided on the test part is written as an evaluation is, so that `hf_ser.compare` reads it.
"""

import json

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from hf_ser.audio.clips import Segments
from hf_ser.audio.features import functionals
from hf_ser.evaluation.scores import evaluate_scores
from hf_ser.inference.states import pooled_states
from hf_ser.models.encoders import open_encoder, open_feature_extractor

BASELINES = ("guess", "egemaps_svm", "regression_last", "regression_all")
STRENGTHS = (0.003, 0.01, 0.03, 0.1)
COSTS = (0.0001, 0.001, 0.01, 0.1)


def baseline(name, model, source, everything, folder):
    """Fit one of `BASELINES`, and write `metrics.json` and `predictions.csv` into the folder.

    The features of a clip come from `everything`, the clips in any split: they are computed once.
    """
    test = source.parts["test"]
    truth = {part: np.asarray(rows["emotion"]) for part, rows in source.parts.items()}
    if name == "guess":
        decided = np.full(len(test), np.bincount(truth["train"]).argmax())
    else:
        known = {}
        for rows in (*everything.parts.values(), *source.parts.values()):
            places = [place for place, clip in enumerate(rows["clip_id"]) if clip not in known]
            if places:
                chosen = rows.select(places)
                known |= dict(zip(chosen["clip_id"], FEATURES[name](model, chosen), strict=True))
        features = {part: np.stack([known[clip] for clip in rows["clip_id"]]) for part, rows in source.parts.items()}
        decided = fitted(candidates(name), features, truth).predict(features["test"])
    columns = {key: list(test[key]) for key in ("clip_id", "corpus", "speaker")}
    scores = np.eye(len(source.labels))[decided]
    found = evaluate_scores(scores, truth["test"], list(source.labels), columns["corpus"], columns["speaker"], seed=42)
    names = np.array(source.labels)
    table = pd.DataFrame({**columns, "emotion": names[truth["test"]], "predicted": names[decided]})
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "predictions.csv", index=False)
    metrics = {"labels": list(source.labels), "test": found}
    (folder / "metrics.json").write_text(json.dumps(metrics, default=float), encoding="utf-8")


def candidates(name):
    """The regressions or machines to choose from."""
    if name == "egemaps_svm":
        return [LinearSVC(C=cost, class_weight="balanced", random_state=42) for cost in COSTS]
    return [LogisticRegression(C=strength, max_iter=500, class_weight="balanced") for strength in STRENGTHS]


def fitted(solvers, features, truth):
    """The one with the best UAR on the validation part."""
    known = np.unique(truth["validation"])
    found = []
    for solver in solvers:
        one = make_pipeline(StandardScaler(), solver).fit(features["train"], truth["train"])
        decided = one.predict(features["validation"])
        found.append((recall_score(truth["validation"], decided, average="macro", labels=known), len(found), one))
    return max(found)[-1]


def states(model, rows):
    """Pooled states `(clips, layers + 1, hidden)` of the frozen encoder."""
    encoder, _ = open_encoder(model, rows.features["emotion"].names, settings={"use_weighted_layer_sum": True})
    extractor = open_feature_extractor(model)
    # No clip of the four corpora is longer than a segment.
    segments = Segments(rows, sampling_rate=extractor.sampling_rate, segment_seconds=10.0)
    return pooled_states(encoder, extractor, segments, layers=True)


FEATURES = {
    "egemaps_svm": lambda model, rows: functionals(rows, 16000),
    "regression_last": lambda model, rows: states(model, rows)[:, -1],
    "regression_all": lambda model, rows: states(model, rows).reshape(len(rows), -1),
}
