"""What costs little: the most frequent label, and functionals of eGeMAPS with a linear support vector machine (SVM).

The features are openSMILE's eGeMAPSv02 functionals, 88 a clip (Eyben et al., IEEE Trans. Affective Computing 7, 2016).
They need the extra `hf_ser[egemaps]`; openSMILE's licence allows research and private use only.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_ser.audio.features import functionals
from hf_ser.evaluation.judged import Judged
from hf_ser.evaluation.scores import evaluate_scores

_COSTS = (0.0001, 0.001, 0.01, 0.1)
TRAINING_CLIPS = 1000


def section(judged: Judged) -> dict[str, Any]:
    """Return accuracy, UAR and macro F1 of the model and of the baselines on the same clips, with intervals of UAR."""
    train = judged.training_rows(TRAINING_CLIPS)
    if train is None:
        return {"not_computed": "the data has no training part to learn from beside the judged part"}
    labels = judged.labels_of(train)
    rows = {"model": judged.decisions, "majority": np.full(len(judged.references), np.bincount(labels).argmax())}
    note = None
    if importlib.util.find_spec("opensmile"):
        rows["eGeMAPS, linear SVM"] = _egemaps(judged, train, labels)
    else:
        note = "eGeMAPS with a linear SVM needs the extra: pip install 'hf_ser[egemaps]'"
    corpora, speakers, found = judged.column("corpus").tolist(), judged.column("speaker").tolist(), []
    for name, decided in rows.items():
        certain = np.eye(len(judged.labels))[decided]
        it = evaluate_scores(certain, judged.references, judged.labels, corpora, speakers, judged.seed)["pooled"]
        found.append({"name": name, "uar": it["uar"], "accuracy": it["accuracy"], "f1_macro": it["f1"]["macro"],
                      "interval": it["intervals"]["uar"]})  # fmt: skip
    return {"training_clips": len(train), "rows": found, "note": note}


def _egemaps(judged: Judged, train: Any, labels: NDArray[Any]) -> NDArray[Any]:
    """Return the decisions of a linear SVM whose cost is chosen by a cross-validation over training speakers."""
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    rate = judged.classifier.sampling_rate
    machine = make_pipeline(StandardScaler(), LinearSVC(class_weight="balanced", random_state=judged.seed))
    folds = GroupKFold(min(4, len(set(train["speaker"]))))
    search = GridSearchCV(machine, {"linearsvc__C": _COSTS}, scoring="balanced_accuracy", cv=folds)
    search.fit(functionals(train, rate), labels, groups=train["speaker"])
    return np.asarray(search.predict(functionals(judged.rows, rate)))
