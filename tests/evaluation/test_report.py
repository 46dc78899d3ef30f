"""report.md holds the figures of metrics.json, says what they mean, and warns where they mean little."""

import copy
import re

import numpy as np
import pytest

from hf_ser.errors import InputError
from hf_ser.evaluation.report import evaluate_scores, render_report
from hf_ser.labels import EMOTIONS

RUN = {
    "hf_ser": "1.2.3",
    "model": {"name": "superb/hubert-large-superb-er", "architecture": "HubertForSequenceClassification",
              "parameters": 315703176, "trainable_parameters": 2623752, "revision": None},
    "recipe": {"name": "lora_qkv", "learning_rate": 2e-4, "lora": {"r": 16}},
    "protocol": "speaker_independent",
    "labels": list(EMOTIONS),
    "dataset": {
        "name": "corpora",
        "fingerprint": "abc123",
        "clips": 300,
        "parts": {
            "train": {"clips": 200, "speakers": ["ravdess_01", "ravdess_02"],
                      "counts": {"ravdess": {"angry": 100, "sad": 50}, "crema_d": {"angry": 50}, "tess": {"sad": 0}}},
            "test": {"clips": 100, "speakers": ["ravdess_00", "crema_d_0"], "counts": {"ravdess": {"angry": 100}}},
        },
    },
    "arguments": {"weight_decay": 0.01, "lr_scheduler_type": "linear", "run|name": "a|b\nc", "bf16": False},
    "seeds": {"weights": 42},
    "versions": {"torch": "2.13.0"},
    "hardware": {"platform": "Linux x86_64"},
    "seconds": {"training": 12.5},
    "peak_memory_bytes": {"host": 3 * 2**30},
    "best": {"step": 120, "epoch": 3.0, "validation_uar": 0.5},
    "history": [{"step": 1}],
    "novelty": {"secret": "unheard of"},
}  # fmt: skip


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
    return evaluate_scores(scores, references, EMOTIONS, corpora, voices, seed=0)


@pytest.fixture(scope="module")
def metrics():
    return {"labels": list(EMOTIONS), "validation": scored(1), "test": scored(0)}


@pytest.fixture(scope="module")
def report(metrics):
    return render_report(RUN, metrics)


def rows(text, first):
    """The cells of the table row that starts with a word."""
    found = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in found]


def test_the_headline(report, metrics):
    pooled, mean = metrics["test"]["pooled"], metrics["test"]["mean_over_corpora"]
    low, high = pooled["intervals"]["uar"]
    line = report.splitlines()[2]
    assert report.startswith("# Speech emotion recognition: `superb/hubert-large-superb-er`, recipe `lora_qkv`\n\n")
    assert line.startswith(
        f"**UAR {100 * pooled['uar']:.1f} %** (95 % interval {100 * low:.1f} to {100 * high:.1f}; too narrow: tess"
    )
    assert f"on {pooled['clips']} test clips of 17 speakers" in line
    assert line.endswith(f"mean over the 3 corpora {100 * mean['uar']:.1f} %.")
    assert "the 8 emotions that occur in the test clips; guessing reaches 12.5 %" in report


def test_the_table_by_corpus(report, metrics):
    ravdess = metrics["test"]["corpora"]["ravdess"]
    cells = rows(report, "ravdess")[0]
    assert cells[1:3] == [str(ravdess["clips"]), "12"]
    for cell, value, key in zip(
        cells[3:6],
        (ravdess["uar"], ravdess["accuracy"], ravdess["f1"]["macro"]),
        ("uar", "accuracy", "f1_macro"),
        strict=True,
    ):
        low, high = ravdess["intervals"][key]
        assert cell == f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"
    # A single speaker has no interval, and the report says why.
    assert rows(report, "tess")[0][3] == f"{100 * metrics['test']['corpora']['tess']['uar']:.1f}"
    assert "- tess: no interval: 1 speaker, and drawing speakers tells nothing below 3." in report
    assert rows(report, "mean over corpora")[0][1:3] == ["", ""]
    assert len(rows(report, "pooled")) == 2  # test, then validation


def test_the_table_by_emotion(report, metrics):
    calm = metrics["test"]["pooled"]["per_class"]["calm"]
    low, high = calm["recall_interval"]
    cells = rows(report, "calm")[0]
    assert cells == [
        "calm", str(calm["support"]), f"{100 * calm['precision']:.1f}",
        f"{100 * calm['recall']:.1f} ({100 * low:.1f} to {100 * high:.1f})", f"{100 * calm['f1']:.1f}",
        f"{100 * calm['eer']:.1f}",
    ]  # fmt: skip


def test_both_confusion_tables(report, metrics):
    counts = np.array(metrics["test"]["pooled"]["confusion"])
    for index, label in enumerate(EMOTIONS):
        _, clips, percent = rows(report, label)
        assert [int(cell) for cell in clips[1:]] == counts[index].tolist()
        np.testing.assert_allclose(
            [float(cell) for cell in percent[1:]], 100 * counts[index] / counts[index].sum(), atol=0.0501
        )


def test_every_table_is_rectangular_and_nothing_is_raw(report):
    for block in report.split("\n\n"):
        if block.startswith("|"):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    assert not re.search(r"\b(nan|None|inf)\b", report)
    assert report.endswith("\n")


def test_settings_are_those_of_the_run_and_unknown_keys_are_left_out(report):
    assert rows(report, "model trainable_parameters") == [["model trainable_parameters", "2,623,752"]]
    assert rows(report, "recipe learning_rate") == [["recipe learning_rate", "0.0002"]]
    assert rows(report, "recipe lora r") == [["recipe lora r", "16"]]
    assert rows(report, "peak memory host") == [["peak memory host", "3.00 GiB"]]
    assert rows(report, "dataset fingerprint") == [["dataset fingerprint", "abc123"]]
    assert rows(report, "run\\|name") == [["run\\|name", "a\\|b c"]]
    assert rows(report, "bf16") == [["bf16", "no"]]
    assert rows(report, "train") == [["train", "200", "2", "ravdess 150, crema_d 50"]]
    assert "revision" not in report
    assert "unheard of" not in report


def test_speaker_independent_says_so_without_a_warning(report):
    assert "Protocol `speaker_independent`: no speaker of the test clips was heard" in report
    assert "Warning" not in report


def test_the_paper_s_protocol_warns(metrics):
    report = render_report({"protocol": "paper"}, metrics)
    assert "Protocol `paper`: a random draw of clips" in report
    assert "> **Warning: speakers leak.** The same speakers are in the test clips" in report
    assert "must not be compared with speaker-independent ones" in report


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_shared_speaker_warns_whatever_the_protocol_is_called(metrics, part):
    run = copy.deepcopy(RUN)
    run["dataset"]["parts"].setdefault(part, {"speakers": []})["speakers"] += ["ravdess_00"]
    report = render_report(run, metrics)
    assert "> **Warning: speakers leak.** The same speakers (1 of the 2 in the test clips) are" in report
    assert "no speaker of the test clips was heard" not in report


@pytest.mark.parametrize(
    ("protocol", "meaning"), [("fold_3", "one fold of"), ("leave_out_tess", "took no part in training")]
)
def test_other_protocols(metrics, protocol, meaning):
    assert meaning in render_report({"protocol": protocol}, metrics)
    assert "Protocol `own`.\n" in render_report({"protocol": "own"}, metrics)


def test_a_run_without_facts_and_a_corpus_without_a_class():
    labels = ["angry", "calm", "sad"]
    test = evaluate_scores(np.eye(3)[[0, 2, 0]], [0, 2, 2], labels, ["crema_d"] * 3, ["a", "b", "c"], seed=0)
    report = render_report({}, {"labels": labels, "test": test})
    assert report.startswith("# Speech emotion recognition\n")
    assert rows(report, "calm")[0] == ["calm", "0", "–", "–", "–", "–"]
    assert rows(report, "calm")[2] == ["calm", "", "", ""]
    assert "the 2 emotions that occur" in report
    for absent in ("## Settings", "## Data", "## Validation", "Protocol", "mean over"):
        assert absent not in report
    assert not re.search(r"\b(nan|None)\b", report)


@pytest.mark.parametrize("key", ["labels", "test"])
def test_refuses_incomplete_metrics(metrics, key):
    with pytest.raises(InputError, match=f"metrics has no '{key}'"):
        render_report(RUN, {name: value for name, value in metrics.items() if name != key})
