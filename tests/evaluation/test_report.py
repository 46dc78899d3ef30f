"""report.md holds the figures of metrics.json, says what they mean, and warns where they mean little."""

import re

import numpy as np
import pytest

from hf_ser.evaluation.report import render_report
from hf_ser.evaluation.scores import evaluate_scores
from hf_ser.labels import EMOTIONS

FACTS = {
    "hf_ser": "1.2.3",
    "model": {"name": "superb/hubert-large-superb-er", "labels": list(EMOTIONS)},
    "dataset": {"name": "cor|pora", "fingerprint": "abc123", "synthetic": False},
    "protocol": "speaker_independent",
    "disjoint": True,
    "part": "test",
    "labels": list(EMOTIONS),
    "clips_with_other_labels": 0,
    "heard_in_training": {"speakers": [], "recordings": 0},
    "seed": 42,
    "versions": {"torch": "2.13.0"},
    "novelty": {"secret": "unheard of"},
}


def scored(seed=0, speakers=(12, 4, 1)):
    generator = np.random.default_rng(seed)
    corpora, voices, references = [], [], []
    for corpus, size in zip(("ravdess", "crema_d", "tess"), speakers, strict=True):
        for speaker in range(size):
            labels = [label for label in range(8) if not (corpus == "crema_d" and EMOTIONS[label] == "calm")] * 2
            references += labels
            corpora += [corpus] * len(labels)
            voices += [f"{corpus}_{speaker}"] * len(labels)
    scores = generator.random((len(references), 8))
    scores[np.arange(len(references)), references] += 0.3
    scores /= scores.sum(axis=1, keepdims=True)
    return evaluate_scores(scores, references, EMOTIONS, corpora, voices, seed=0)


@pytest.fixture(scope="module")
def metrics():
    return {"labels": list(EMOTIONS), "validation": scored(1), "test": scored(0)}


@pytest.fixture(scope="module")
def report(metrics):
    return render_report(FACTS, metrics)


def rows(text, first):
    """The cells of the table row that starts with a word."""
    found = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in found]


def test_the_headline(report, metrics):
    pooled, mean = metrics["test"]["pooled"], metrics["test"]["mean_over_corpora"]
    low, high = pooled["intervals"]["uar"]
    line = report.splitlines()[2]
    assert report.startswith("# Speech emotion recognition: `superb/hubert-large-superb-er` on `cor|pora`\n\n")
    assert line.startswith(
        f"**UAR {100 * pooled['uar']:.1f} %** (95 % interval {100 * low:.1f} to {100 * high:.1f}; too narrow: too few"
    )
    assert f"on {pooled['clips']} test clips of 17 speakers" in line
    assert line.endswith(f"mean over the 3 corpora {100 * mean['uar']:.1f} %.")
    assert "the 8 emotions that occur in these clips; guessing reaches 12.5 %" in report


def test_the_tables_by_corpus_and_by_emotion(report, metrics):
    def cell(value, bounds):
        return f"{100 * value:.1f} ({100 * bounds[0]:.1f} to {100 * bounds[1]:.1f})"

    ravdess = metrics["test"]["corpora"]["ravdess"]
    figures = {"uar": ravdess["uar"], "accuracy": ravdess["accuracy"], "f1_macro": ravdess["f1"]["macro"]}
    expected = [cell(value, ravdess["intervals"][name]) for name, value in figures.items()]
    assert rows(report, "ravdess")[0][1:6] == [str(ravdess["clips"]), "12", *expected]
    # A single speaker has no interval, and the report says why.
    assert rows(report, "tess")[0][3] == f"{100 * metrics['test']['corpora']['tess']['uar']:.1f}"
    assert "- tess: no interval: 1 speaker, and bootstrapping needs at least 3 speakers." in report
    assert rows(report, "mean over corpora")[0][1:3] == ["", ""]
    assert len(rows(report, "pooled")) == 2  # test, then validation
    calm = metrics["test"]["pooled"]["per_class"]["calm"]
    shares = (f"{100 * calm[name]:.1f}" for name in ("precision", "f1", "eer"))
    precision, *others = shares
    recall = cell(calm["recall"], calm["recall_interval"])
    assert rows(report, "calm")[0] == ["calm", str(calm["support"]), precision, recall, *others]


def test_both_confusion_tables(report, metrics):
    counts = np.array(metrics["test"]["pooled"]["confusion"])
    for index, label in enumerate(EMOTIONS):
        _, clips, percent = rows(report, label)
        assert [int(cell) for cell in clips[1:]] == counts[index].tolist()
        np.testing.assert_allclose(
            [float(cell) for cell in percent[1:]], 100 * counts[index] / counts[index].sum(), atol=0.0501
        )


def test_new_speakers_are_claimed_only_where_it_is_proved(metrics):
    def said(**heard):
        return render_report({**FACTS, "heard_in_training": heard}, metrics)

    assert "the figures are for new speakers" in said(speakers=[], recordings=0)
    for heard in ({"speakers": None, "recordings": None}, {"speakers": [], "recordings": None},
                  {"speakers": ["a"], "recordings": 0}, {"speakers": [], "recordings": 3}):  # fmt: skip
        assert "the figures are for new speakers" not in said(**heard)
    found = said(speakers=["a", "b"], recordings=3)
    assert "trained on, or selected by, some of this data (2 of these speakers and 3 of these recordings)" in found
    assert "(1 of these recordings)" in said(speakers=[], recordings=1)


@pytest.mark.parametrize(
    ("protocol", "meaning"),
    [
        ("speaker_independent", "no speaker is in two parts"),
        ("fold_3", "one fold of"),
        ("leave_out_tess", "the test part is a corpus that is in no other part"),
        ("paper", "a random draw of clips"),
        ("given", "the parts that the data set came with"),
    ],
)
def test_a_protocol_is_explained_unless_the_data_set_breaks_it(metrics, protocol, meaning):
    assert f"Protocol `{protocol}`: {meaning}" in render_report({**FACTS, "protocol": protocol}, metrics)
    broken = render_report({**FACTS, "protocol": protocol, "disjoint": False}, metrics)
    assert (meaning in broken) == (protocol in ("paper", "given"))
    assert "Protocol `own`.\n" in render_report({**FACTS, "protocol": "own"}, metrics)


def test_says_which_labels_were_scored(metrics, report):
    assert "Scored on" not in report
    four = ["neu", "hap", "ang", "sad"]
    facts = {**FACTS, "model": {"name": "m", "labels": four}, "labels": ["angry", "happy", "neutral", "sad"]}
    found = render_report({**facts, "clips_with_other_labels": 12}, metrics)
    assert "Scored on the 4 labels that the model and the data set share: angry, happy, neutral, sad." in found
    assert "The model knows neu, hap, ang, sad; 12 clips with other labels left out." in found


def test_unknown_speakers_are_never_called_new_or_counted_as_speakers(metrics):
    found = render_report({**FACTS, "speakers_known": False, "disjoint": False}, metrics)
    assert "**The speakers of this data are not known.**" in found
    assert "clips of unknown speakers" in found
    assert "so they are too narrow" in found
    assert "| corpus | clips | groups |" in found
    for claim in ("for new speakers", "no speaker is in two parts", "neither trained on these speakers"):
        assert claim not in found


def test_synthetic_speech_is_no_evidence(metrics, report):
    assert "synthetic" not in report
    dataset = {**FACTS["dataset"], "synthetic": True}
    assert "only show that the pipeline runs" in render_report({**FACTS, "dataset": dataset}, metrics)


def test_few_facts_and_a_corpus_without_a_class():
    labels = ["angry", "calm", "sad"]
    test = evaluate_scores(np.eye(3)[[0, 2, 0]], [0, 2, 2], labels, ["crema_d"] * 3, ["a", "b", "c"], seed=0)
    report = render_report({"part": "test"}, {"labels": labels, "test": test})
    assert report.startswith("# Speech emotion recognition\n")
    assert rows(report, "calm")[0] == ["calm", "0", "–", "–", "–", "–"]
    assert rows(report, "calm")[2] == ["calm", "", "", ""]
    assert "the 2 emotions that occur" in report
    for absent in ("## Settings", "## Validation", "Protocol", "mean over", "new speakers"):
        assert absent not in report
    assert not re.search(r"\b(nan|None)\b", report)
