"""The whole suite on a small model and data: sections, shortcuts that are there, baselines, pages, and extensions."""

import json

import numpy as np
import pytest
import soundfile
from datasets import Audio, ClassLabel, Dataset, DatasetDict
from matplotlib.image import imread

from hf_ser.audio.disturbances import DISTURBANCES, Disturbance
from hf_ser.audio.features import functionals, levels
from hf_ser.cli import main
from hf_ser.dataset.source import open_dataset
from hf_ser.errors import InputError
from hf_ser.evaluation import baselines, fairness, latency, suite
from hf_ser.evaluation.evaluate import evaluate
from hf_ser.evaluation.judged import judge
from hf_ser.inference.classifier import load
from toy_corpus import write_clip

LABELS = ["angry", "happy", "neutral", "sad"]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Tones in two corpora whose level tells the label; in corpus `b`, a sentence belongs to each label."""
    folder = tmp_path_factory.mktemp("spoken")
    parts = {}
    for part, first, count in (("train", 0, 6), ("validation", 6, 2), ("test", 8, 4)):
        rows = {name: [] for name in ("audio", "emotion", "speaker", "corpus", "clip_id", "sex", "age", "sentence")}
        for speaker in range(first, first + count):
            for number in range(16):
                label, path = number % 4, folder / f"{speaker}-{number}.wav"
                write_clip(path, label, speaker, number, seconds=0.4)
                samples, rate = soundfile.read(path)
                corpus = "ab"[speaker % 2]
                quiet = np.zeros(1600 if corpus == "b" else 320)
                soundfile.write(path, np.concatenate([quiet, samples * 0.5**label]), rate)
                sex, sentence = ("female", "male")[speaker // 2 % 2], label if corpus == "b" else number // 4
                values = (str(path), label, f"s{speaker}", corpus, f"{speaker}-{number}", sex, 20 + speaker,
                          f"sentence {sentence}")  # fmt: skip
                for name, value in zip(rows, values, strict=True):
                    rows[name].append(value)
        table = Dataset.from_dict(rows).cast_column("audio", Audio(decode=False))
        parts[part] = table.cast_column("emotion", ClassLabel(names=LABELS))
    return DatasetDict(parts)


@pytest.fixture(scope="module")
def model(encoder):
    return encoder(labels=LABELS)


@pytest.fixture(scope="module")
def whole(model, spoken):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fairness, "_FEWEST_CLIPS", 15)
        patch.setattr(latency, "_MOST_SECONDS", 0.01)
        patch.setitem(DISTURBANCES, "silence", Disturbance(lambda clip, *_: 0.001 * clip, (1,), {"unchanged": 0.5}))
        return evaluate(str(model), spoken, suite="full")


def test_every_section_is_there_as_json(whole):
    found = json.loads(json.dumps(whole.suite, allow_nan=False))
    assert list(found["sections"]) == list(found["seconds"]) == list(suite.SECTIONS)
    assert {check["section"] for check in found["checks"]} == {"correctness", "fairness", "robustness"}
    assert found["sections"]["calibration"] == {"not_computed": "the model has no calibration, or it is switched off"}
    assert whole.results["labels"] == LABELS


def test_a_disturbance_from_outside_takes_part(whole):
    assert "unchanged" in whole.suite["sections"]["robustness"]["disturbances"]["silence"]
    assert any(check["test"] == "silence" for check in whole.suite["checks"])


def test_the_level_gives_the_label_away_and_silence_the_corpus(whole):
    found = whole.suite["sections"]["shortcuts"]
    assert found["alone"]["level"] > 0.9
    assert found["alone"]["silence"] < 0.7
    assert found["corpus"]["guessing"] == 0.5
    assert found["sentences"]["b"] == {"clips": 32, "sentences": 4, "in_training": 1.0, "uar": 1.0, "guessing": 0.25}
    assert found["sentences"]["a"]["uar"] == 0.25


def test_levels():
    clip = np.concatenate([np.zeros(3200), np.full(8000, 0.5), np.zeros(4800)]).astype(np.float32)
    rms, peak, before, behind, share, seconds = levels([clip], 16_000)[0]
    assert (peak, seconds) == pytest.approx((20 * np.log10(0.5), 1))
    assert rms == pytest.approx(20 * np.log10(0.5 * np.sqrt(0.5)), abs=1e-6)
    assert (before, behind, share) == pytest.approx((0.2, 0.3, 0.5))


def test_baselines(whole):
    rows = {row["name"]: row for row in whole.suite["sections"]["baselines"]["rows"]}
    assert rows["model"]["uar"] == whole.metrics["uar"]
    assert rows["model"]["interval"] == whole.metrics["intervals"]["uar"]
    assert rows["majority"]["uar"] == 0.25
    # Loudness is one of the functionals.
    assert rows["eGeMAPS, linear SVM"]["uar"] > 0.6


def test_functionals_are_those_of_opensmile(model, spoken):
    import opensmile

    judged = judge(load(model), open_dataset(spoken), "test", 0)
    found = functionals(judged.rows, 16_000)
    extract = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    for row in (0, 40):
        samples = next(iter(judged.samples([row])))
        np.testing.assert_allclose(found[row], extract(samples, 16_000)[0, :, 0], rtol=1e-5)


def test_without_opensmile_the_extra_is_named(model, spoken, monkeypatch):
    monkeypatch.setattr(baselines.importlib.util, "find_spec", lambda name: None)
    found = evaluate(str(model), spoken, suite="baselines").suite["sections"]["baselines"]
    assert [row["name"] for row in found["rows"]] == ["model", "majority"]
    assert "pip install 'hf_ser[egemaps]'" in found["note"]


def test_latency(whole):
    rows = whole.suite["sections"]["latency"]["rows"]
    assert {(row["seconds"], row["batch"]) for row in rows} == {
        (s, b) for s in latency.SECONDS for b in latency.BATCHES
    }
    for row in rows:
        assert 0 < row["p50_ms"] <= row["p95_ms"]
        assert row["real_time_factor"] == pytest.approx(row["p50_ms"] / 1000 / row["seconds"] / row["batch"])


def test_what_cannot_be_computed_says_why(model, spoken):
    found = evaluate(str(model), spoken["test"], part="all", suite=["baselines", "shortcuts"])
    for section in found.suite["sections"].values():
        assert section["not_computed"].startswith("the data has no training part")


def test_sections_are_chosen(model, spoken):
    assert suite.chosen_sections("full") == list(suite.SECTIONS)
    assert suite.chosen_sections(["latency", "correctness"]) == ["correctness", "latency"]
    # A model that guesses is fair.
    assert suite.chosen_sections("fairness") == ["correctness", "fairness"]
    with pytest.raises(InputError, match="suite 'speed' is unknown; choose full or correctness, "):
        evaluate(str(model), spoken, suite="speed")


def test_a_section_from_outside(model, spoken, monkeypatch):
    def clips(judged):
        return {"clips": len(judged.references), "checks": []}

    monkeypatch.setitem(suite.SECTIONS, "clips", clips)
    assert evaluate(str(model), spoken, suite="clips").suite["sections"] == {"clips": {"clips": 64}}


def test_the_pages(whole, tmp_path):
    folder = whole.save(tmp_path / "evaluation")
    assert json.loads((folder / "evaluation.json").read_text())["suite"]["seconds"] == whole.suite["seconds"]
    report = (folder / "report.md").read_text()
    for title in ("Checks", "Baselines", "Groups and shares", "Fairness", "Robustness", "Shortcuts", "Latency"):
        assert f"\n## {title}\n" in report
    assert "eGeMAPS, linear SVM" in report
    assert "Not computed: calibration (the model has no calibration" in report
    assert not [line for line in report.splitlines() if "None" in line or "nan" in line]
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "http" not in page.replace("https://", "").partition("<body>")[0]
    for name in ("confusion", "scores", "sources", "robustness"):
        assert imread(folder / f"{name}.png").shape[1] > 800


def test_html_in_a_name_stays_text(whole, tmp_path):
    from hf_ser.evaluation.evaluate import Evaluation

    facts = {**whole.facts, "model": {**whole.facts["model"], "name": "<script>alert(1)</script>"}}
    folder = Evaluation(whole.results, whole.predictions, facts).save(tmp_path / "evaluation")
    assert "<script>" not in (folder / "report.html").read_text()


def test_limits(whole):
    measured = whole.metrics
    assert whole.failures({"uar": measured["uar"], "ece": measured["ece"], "f1.macro": 0, "a.uar": 0}) == []
    failed = whole.failures({"uar": 1.0, "ece": 0.0, "a.uar": 1.0, "unchanged.silence": 1.01, "eer.macro": 0})
    assert [line.split(" is ")[0] for line in failed] == ["uar", "ece", "a.uar", "unchanged.silence", "eer.macro"]
    assert failed[0].endswith("below 1")
    assert failed[1].endswith("above 0")
    for name in ("uarr", "unchanged.hiss", "confusion", "intervals.uar"):
        with pytest.raises(InputError, match=f"figure '{name}' is not among the results"):
            whole.failures({name: 0.5})


def test_the_command_line_fails_and_names_the_figure(model, spoken, tmp_path, capsys):
    spoken.save_to_disk(str(tmp_path / "data"))
    command = ["evaluate", str(model), "--dataset", str(tmp_path / "data"), "--suite", "correctness"]
    assert main([*command, "--fail-under", "uar=0.0,ece=1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["suite"]["sections"]["correctness"]["sexes"]
    assert main([*command, "--fail-under", "uar=0.99", "--output-dir", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert "below 0.99" in captured.err
    assert "## Groups and shares" in captured.out
    assert (tmp_path / "out" / "report.html").is_file()
    assert main([*command, "--fail-under", "uar"]) == 2
    assert main([*command, "--fail-under", "uar=high"]) == 2
    assert "--fail-under: 'uar=high' is not NAME=NUMBER" in capsys.readouterr().err
