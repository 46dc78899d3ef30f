"""evaluate_scores: its parts agree with each other and with scikit-learn, and say where nothing can be said."""

import json

import numpy as np
import pytest
import sklearn.metrics

from hf_ser.errors import InputError
from hf_ser.evaluation.metrics.eer import one_vs_rest_eer
from hf_ser.evaluation.scores import evaluate_scores
from hf_ser.labels import EMOTIONS

CALM = EMOTIONS.index("calm")


def example(seed=0, speakers=(12, 4, 1), clips=16):
    """Scores for three corpora; the second one has no calm."""
    generator = np.random.default_rng(seed)
    columns = {"scores": [], "references": [], "corpora": [], "speakers": []}
    for corpus, size in zip(("ravdess", "crema_d", "tess"), speakers, strict=True):
        for speaker in range(size):
            references = np.arange(clips) % 8
            if corpus == "crema_d":
                references = references[references != CALM]
            scores = generator.random((len(references), 8))
            scores[np.arange(len(references)), references] += generator.uniform(0, 0.6)
            columns["scores"] += (scores / scores.sum(axis=1, keepdims=True)).tolist()
            columns["references"] += references.tolist()
            columns["corpora"] += [corpus] * len(references)
            columns["speakers"] += [f"{corpus}_{speaker}"] * len(references)
    return columns


@pytest.fixture(scope="module")
def columns():
    return example()


@pytest.fixture(scope="module")
def result(columns):
    return evaluate_scores(**columns, labels=EMOTIONS, seed=0)


def test_is_json_without_nan(result):
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_has_the_agreed_shape(result):
    assert list(result) == ["pooled", "corpora", "mean_over_corpora"]
    assert list(result["corpora"]) == ["ravdess", "crema_d", "tess"]
    for measure in (result["pooled"], *result["corpora"].values()):
        assert set(measure) == {
            "clips", "speakers", "accuracy", "uar", "f1", "eer", "paper_eer", "per_class", "confusion",
            "roc_auc", "log_loss", "brier", "ece", "aurc", "intervals", "intervals_note",
        }  # fmt: skip
        assert list(measure["per_class"]) == list(EMOTIONS)
        for entry in measure["per_class"].values():
            assert set(entry) == {"support", "precision", "recall", "f1", "eer", "roc_auc", "recall_interval"}
    for measure in (result["pooled"], *result["corpora"].values(), result["mean_over_corpora"]):
        assert set(measure["f1"]) == {"micro", "macro", "weighted"}
        assert set(measure["eer"]) == {"macro", "micro"}
        assert set(measure["intervals"]) == {"accuracy", "uar", "f1_macro"}


def test_pooled_equals_scikit_learn(columns, result):
    references, decisions = np.array(columns["references"]), np.array(columns["scores"]).argmax(axis=1)
    pooled = result["pooled"]
    assert pooled["clips"] == len(references)
    assert pooled["speakers"] == 17
    assert pooled["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(references, decisions))
    assert pooled["uar"] == pytest.approx(sklearn.metrics.balanced_accuracy_score(references, decisions))
    for average, value in pooled["f1"].items():
        assert value == pytest.approx(sklearn.metrics.f1_score(references, decisions, average=average))
    assert pooled["confusion"] == sklearn.metrics.confusion_matrix(references, decisions).tolist()
    macro, micro, per_class = one_vs_rest_eer(columns["scores"], references)
    assert pooled["eer"] == {"macro": macro, "micro": micro}
    assert [entry["eer"] for entry in pooled["per_class"].values()] == per_class.tolist()


def test_mean_over_corpora(result):
    mean, corpora = result["mean_over_corpora"], list(result["corpora"].values())
    assert mean["corpora"] == 3
    for key in ("accuracy", "uar", "paper_eer", "roc_auc", "log_loss", "brier", "ece", "aurc"):
        assert mean[key] == pytest.approx(np.mean([measure[key] for measure in corpora]))
    for key, names in (("f1", ("micro", "macro", "weighted")), ("eer", ("macro", "micro"))):
        for name in names:
            assert mean[key][name] == pytest.approx(np.mean([measure[key][name] for measure in corpora]))


def test_a_class_without_clips_is_null_and_not_penalised(result):
    crema_d = result["corpora"]["crema_d"]
    calm = crema_d["per_class"]["calm"]
    assert [calm[key] for key in ("support", "recall", "f1", "eer", "roc_auc", "recall_interval")] == [0, *[None] * 5]
    recalls = [entry["recall"] for label, entry in crema_d["per_class"].items() if label != "calm"]
    assert crema_d["uar"] == pytest.approx(np.mean(recalls))


def test_intervals_hold_their_figure(result):
    for measure in (result["pooled"], result["corpora"]["ravdess"], result["corpora"]["crema_d"]):
        figures = {"accuracy": measure["accuracy"], "uar": measure["uar"], "f1_macro": measure["f1"]["macro"]}
        for name, (low, high) in measure["intervals"].items():
            assert low < figures[name] < high
        for entry in measure["per_class"].values():
            if entry["recall_interval"]:
                assert entry["recall_interval"][0] <= entry["recall"] <= entry["recall_interval"][1]


def test_notes_say_what_the_intervals_cannot():
    def notes(*speakers):
        result = evaluate_scores(**example(speakers=speakers), labels=EMOTIONS, seed=0, resamples=10)
        parts = {**result["corpora"], "pooled": result["pooled"], "mean": result["mean_over_corpora"]}
        for part in parts.values():
            note = part["intervals_note"] or ""
            assert (part["intervals"]["uar"] is None) == note.startswith("no interval")
            assert len({bounds is None for bounds in part["intervals"].values()}) == 1
        return {name: part["intervals_note"] for name, part in parts.items()}

    assert notes(12, 4, 1) == {
        "ravdess": None,
        "crema_d": "too narrow: only 4 speakers",
        "tess": "no interval: 1 speaker, and bootstrapping needs at least 3 speakers",
        "pooled": "too narrow: too few speakers in tess (1 speaker) to show how speakers differ",
        "mean": "no interval: too few speakers in tess (1 speaker), and every corpus has the same weight",
    }
    assert notes(12, 10, 11) == dict.fromkeys(("ravdess", "crema_d", "tess", "pooled", "mean"))
    assert notes(3, 12, 12) | {"ravdess": ""} == {
        "ravdess": "",
        "crema_d": None,
        "tess": None,
        "pooled": None,
        "mean": "too narrow: few speakers in ravdess (3 speakers)",
    }
    assert notes(1, 0, 1)["pooled"] == "no interval: 2 speakers, and bootstrapping needs at least 3 speakers"


def test_intervals_depend_on_the_seed_alone(columns, result):
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    arrays = {name: np.array(values) for name, values in columns.items()}
    assert evaluate_scores(**arrays, labels=list(EMOTIONS), seed=0) == result
    assert (np.random.get_state()[1] == before).all()
    order = np.random.default_rng(1).permutation(len(columns["references"]))
    # CREMA-D in front, so that the corpora appear in another order too.
    order = sorted(order, key=lambda row: columns["corpora"][row] != "crema_d")
    shuffled = evaluate_scores(
        **{name: [values[row] for row in order] for name, values in columns.items()}, labels=EMOTIONS, seed=0
    )
    other = evaluate_scores(**columns, labels=EMOTIONS, seed=1)
    for name, bounds in result["pooled"]["intervals"].items():
        assert shuffled["pooled"]["intervals"][name] == pytest.approx(bounds, abs=1e-12)
        assert other["pooled"]["intervals"][name] != bounds
        assert other["pooled"]["intervals"][name] == pytest.approx(bounds, abs=0.02)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("scores", lambda clips: np.zeros((clips, 2)), r"scores have shape \(264, 2\); give \(clips, 8\)"),
        ("scores", lambda clips: np.zeros(clips), r"scores have shape \(264,\)"),
        ("scores", lambda clips: np.full((clips, 8), np.nan), "NaN"),
        ("references", lambda clips: [0] * (clips - 1), "lengths differ or are 0: .*'references': 263"),
        ("references", lambda clips: [8] * clips, "references contain 8, not a class index"),
        ("corpora", lambda clips: [], "'corpora': 0"),
        ("speakers", lambda clips: ["x"], "'speakers': 1"),
        ("resamples", lambda clips: 0, "resamples is 0"),
    ],
)
def test_refuses(columns, name, value, message):
    arguments = {**columns, "labels": EMOTIONS, "seed": 0, name: value(len(columns["references"]))}
    with pytest.raises(InputError, match=message) as caught:
        evaluate_scores(**arguments)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="lengths differ or are 0"):
        evaluate_scores(np.zeros((0, 8)), [], EMOTIONS, [], [], seed=0)
