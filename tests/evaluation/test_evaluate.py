"""evaluate(): every form of model and data, labels that differ, what was heard in training, and what is saved."""

import csv
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, DatasetDict, concatenate_datasets
from peft import LoraConfig, get_peft_model
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from hf_ser.dataset.source import open_dataset
from hf_ser.errors import InputError
from hf_ser.evaluation import scores
from hf_ser.evaluation.evaluate import Evaluation, evaluate
from hf_ser.evaluation.metrics.uar import unweighted_average_recall
from hf_ser.evaluation.scores import evaluate_scores
from hf_ser.inference.classifier import Classifier, load
from hf_ser.labels import EMOTIONS

SUPERB = ["neu", "hap", "ang", "sad"]


@pytest.fixture(scope="module")
def model(encoder):
    return encoder(labels=list(EMOTIONS))


@pytest.fixture(scope="module")
def source(toy):
    return open_dataset(toy)


@pytest.fixture(scope="module")
def evaluation(model, source):
    return evaluate(str(model), source)


def as_run(model, folder, source, **changes):
    """A model's folder with the record of a run beside it."""
    shutil.copytree(model, folder)
    parts = {part: {"speakers": sorted(set(rows["speaker"]))} for part, rows in source.parts.items()}
    facts = {"fingerprint": source.fingerprint, "parts": parts}
    record = {"protocol": source.protocol, "recipe": {"segment_seconds": 0.2}, "dataset": facts, **changes}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def same(one, other):
    assert one.results == other.results
    pd.testing.assert_frame_equal(one.predictions, other.predictions, check_exact=True)


def test_the_figures_are_those_of_the_classifier_s_predictions(evaluation, model, source):
    rows = source.parts["test"]
    answers = load(model).predict(rows["audio"])
    predicted = np.array([list(answer["scores"].values()) for answer in answers])
    table = evaluation.predictions
    assert list(table) == ["clip_id", "corpus", "speaker", "emotion", "predicted", *EMOTIONS]
    assert table["clip_id"].tolist() == list(rows["clip_id"])
    np.testing.assert_allclose(table[list(EMOTIONS)], predicted, atol=1e-6)
    assert table["predicted"].tolist() == [answer["label"] for answer in answers]
    expected = evaluate_scores(
        table[list(EMOTIONS)].to_numpy(), rows["emotion"], EMOTIONS, rows["corpus"], rows["speaker"], seed=42
    )
    assert evaluation.results == {"labels": list(EMOTIONS), "test": expected}
    assert evaluation.metrics == expected["pooled"]
    assert evaluation.confusion.loc["sad"].sum() == 3
    assert json.loads(json.dumps(evaluation.facts)) == evaluation.facts
    lines = repr(evaluation).splitlines()
    assert len(lines) == 2
    assert lines[0].endswith(", given, test part: 24 clips")
    assert lines[1].startswith(f"UAR {100 * expected['pooled']['uar']:.1f} % (95 % interval ")


def test_repeating_gives_the_same_bits_with_and_without_the_cache(evaluation, model, source, monkeypatch):
    same(evaluate(model, source), evaluation)
    monkeypatch.setenv("HF_SER_CACHE", "off")
    same(evaluate(model, source), evaluation)


def test_a_classifier_a_transformers_model_and_data_in_memory(evaluation, model, toy):
    plain = AutoModelForAudioClassification.from_pretrained(str(model))
    for given in (load(model), plain):
        same(evaluate(given, toy), evaluation)
    classifier = Classifier(plain, AutoFeatureExtractor.from_pretrained(str(model)))
    assert evaluate(classifier, toy).facts["model"]["name"] == model.name
    plain.config.name_or_path = ""
    with pytest.raises(InputError, match="without name_or_path has no preprocessor"):
        evaluate(plain, toy)


def test_an_adapter_and_its_base(encoder, source, tmp_path):
    base = encoder(labels=SUPERB)
    torch.manual_seed(0)
    adapted = get_peft_model(
        AutoModelForAudioClassification.from_pretrained(str(base)),
        LoraConfig(target_modules=["q_proj"], modules_to_save=["projector", "classifier"], init_lora_weights=False),
    )
    adapted.save_pretrained(str(tmp_path / "adapter"))
    adapted.get_base_model().config.save_pretrained(str(tmp_path / "adapter"))
    feature_extractor = AutoFeatureExtractor.from_pretrained(str(base))
    feature_extractor.save_pretrained(str(tmp_path / "adapter"))
    expected = evaluate(Classifier(adapted, feature_extractor), source)
    same(evaluate(load(tmp_path / "adapter", base=base), source), expected)
    assert not np.allclose(expected.predictions["sad"], evaluate(base, source).predictions["sad"])


def test_four_labels_on_data_with_eight(encoder, source):
    found = evaluate(encoder(labels=SUPERB), source)
    assert found.facts["labels"] == found.results["labels"] == ["angry", "happy", "neutral", "sad"]
    assert found.facts["clips_with_other_labels"] == 12
    assert found.metrics["clips"] == 12
    assert set(found.predictions["emotion"]) == set(found.facts["labels"])
    everything = load(encoder(labels=SUPERB)).predict(source.parts["test"]["audio"])
    by_clip = dict(zip(source.parts["test"]["clip_id"], everything, strict=True))
    for row in found.predictions.to_dict("records"):
        answer = by_clip[row["clip_id"]]["scores"]
        assert [row[label] for label in ("angry", "happy", "neutral", "sad")] == pytest.approx(
            [answer[label] for label in ("ang", "hap", "neu", "sad")], abs=1e-6
        )


def test_labels_that_only_one_of_them_has_are_left_out_of_the_scores(encoder, toy):
    kept = [label for label in EMOTIONS if label not in ("calm", "surprise")]

    def without(rows):
        rows = rows.filter(lambda label: EMOTIONS[label] in kept, input_columns="emotion")
        names = [EMOTIONS[label] for label in rows["emotion"]]
        rows = rows.remove_columns("emotion").add_column("emotion", names)
        return rows.cast_column("emotion", ClassLabel(names=kept))

    found = evaluate(encoder(labels=list(EMOTIONS)), DatasetDict({part: without(rows) for part, rows in toy.items()}))
    assert found.facts["labels"] == kept
    assert found.facts["clips_with_other_labels"] == 0
    np.testing.assert_allclose(found.predictions[kept].sum(axis=1), 1, atol=1e-12)


def test_the_order_of_the_model_s_labels_does_not_matter(model, evaluation, source):
    turned = AutoModelForAudioClassification.from_pretrained(str(model))
    order = [3, 1, 7, 0, 2, 6, 5, 4]
    turned.classifier.weight.data, turned.classifier.bias.data = (
        turned.classifier.weight.data[order], turned.classifier.bias.data[order]
    )  # fmt: skip
    turned.config.id2label = {index: EMOTIONS[label] for index, label in enumerate(order)}
    found = evaluate(turned, source)
    assert found.facts["labels"] == list(EMOTIONS)
    assert found.predictions["predicted"].tolist() == evaluation.predictions["predicted"].tolist()
    assert found.metrics["confusion"] == evaluation.metrics["confusion"]


def test_no_common_label(encoder, source):
    with pytest.raises(InputError, match=r"the model knows bored, proud, the data set angry, .*: scoring needs two"):
        evaluate(encoder(labels=["bored", "proud"]), source)


def test_parts(model, source, evaluation):
    whole = evaluate(model, source, part="all")
    assert whole.metrics["clips"] == sum(len(rows) for rows in source.parts.values()) == 72
    merged = whole.predictions.merge(evaluation.predictions, on="clip_id")
    np.testing.assert_allclose(merged["sad_x"], merged["sad_y"], atol=1e-6)
    assert evaluate(model, source, part="validation").metrics["clips"] == 16
    with pytest.raises(InputError, match="part 'dev' is unknown; choose train, validation, test or all"):
        evaluate(model, source, part="dev")


def test_the_protocol_is_that_of_the_run(model, source, tmp_path, built):
    run = as_run(model, tmp_path / "run", source, protocol="paper")
    assert evaluate(run, built).facts["protocol"] == "paper"
    assert evaluate(run, built, protocol="fold_1").facts["protocol"] == "fold_1"
    (run / "run.json").write_text('{"protocol": ["own"]}')
    assert evaluate(run, built).facts["protocol"] == "speaker_independent"


FROM_THE_HUB = """
import sys
from huggingface_hub import constants
from hf_ser.evaluation.evaluate import evaluate
from hf_ser.inference.classifier import load

evaluate(sys.argv[1], sys.argv[2], protocol="fold_1").save(sys.argv[3])
constants.HF_HUB_OFFLINE = True
assert load(sys.argv[1]).segment_seconds == 0.2
"""


def test_a_hub_id_also_offline_afterwards(model, source, built, hub, tmp_path):
    run = as_run(model, tmp_path / "run", source)
    hub.create_from_folder("alice/evaluated", run)
    command = [sys.executable, "-c", FROM_THE_HUB, "alice/evaluated", str(built), str(tmp_path / "out")]
    done = subprocess.run(command, env=hub.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = evaluate(run, built, protocol="fold_1")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == expected.results
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["model"]["name"] == "alice/evaluated"


def test_says_which_speakers_the_model_knows(model, source, tmp_path):
    run = as_run(model, tmp_path / "run", source)
    found = evaluate(run, source)
    assert found.facts["heard_in_training"] == {"speakers": [], "recordings": 0}
    assert "the figures are for new speakers" in (found.save(tmp_path / "a") / "report.md").read_text()
    validation = evaluate(run, source, part="validation")
    assert validation.facts["heard_in_training"] == {"speakers": [], "recordings": 0}
    known = evaluate(run, source, part="train")
    assert known.facts["heard_in_training"]["speakers"] == [f"speaker_{number}" for number in range(4)]
    report = (known.save(tmp_path / "b") / "report.md").read_text()
    assert "**Warning: the model was trained on, or selected by, some of this data (4 of these speakers).**" in report
    assert "new speakers.\n" not in report.replace("not apply to new speakers", "")


def test_no_claim_of_new_speakers_without_a_record_or_on_other_data(model, source, tmp_path, evaluation):
    assert evaluation.facts["heard_in_training"] == {"speakers": None, "recordings": None}
    assert "not recorded which speakers" in (evaluation.save(tmp_path / "a") / "report.md").read_text()
    run = as_run(model, tmp_path / "run", source, protocol="leave_out_tess")
    found = evaluate(run, source)
    assert found.facts["heard_in_training"] == {"speakers": [], "recordings": None}
    report = (found.save(tmp_path / "b") / "report.md").read_text()
    assert "None of these speakers is recorded" in report
    assert "for new speakers" not in report


def test_copies_of_test_clips_under_other_names_are_no_new_speakers(model, toy, tmp_path):
    copied = toy["test"].select(range(3))
    names = ["hidden"] * 3
    copied = copied.remove_columns("speaker").add_column("speaker", names)
    copied = copied.remove_columns("clip_id").add_column("clip_id", ["a", "b", "c"])
    parts = DatasetDict({**toy, "train": concatenate_datasets([toy["train"], copied.cast(toy["train"].features)])})
    source = open_dataset(parts, allow_speaker_overlap=True)
    found = evaluate(as_run(model, tmp_path / "run", source), source)
    assert found.facts["heard_in_training"] == {"speakers": [], "recordings": 3}
    assert not found.facts["disjoint"]
    report = (found.save(tmp_path / "report") / "report.md").read_text()
    assert "some of this data (3 of these recordings)" in report
    assert "for new speakers" not in report


def test_what_is_saved(evaluation, tmp_path):
    folder = evaluation.save(tmp_path / "new" / "folder")
    assert sorted(file.name for file in folder.iterdir()) == [
        "confusion.png", "evaluation.json", "metrics.json", "predictions.csv", "report.html", "report.md", "scores.png",
        "sources.png",
    ]  # fmt: skip
    assert json.loads((folder / "metrics.json").read_text()) == evaluation.results
    assert json.loads((folder / "evaluation.json").read_text()) == {**evaluation.facts, "suite": None}
    table = pd.read_csv(folder / "predictions.csv")
    pd.testing.assert_frame_equal(table, evaluation.predictions, check_dtype=False, atol=1e-6)
    report = (folder / "report.md").read_text()
    assert report.startswith(f"# Speech emotion recognition: `{evaluation.facts['model']['name']}` on `")
    assert str(tmp_path.parent) not in report + (folder / "evaluation.json").read_text()
    (folder / "run.json").write_text("{}")
    with pytest.raises(InputError, match="contains a run; choose another one"):
        evaluation.save(folder)
    with pytest.raises(InputError, match="cannot be created"):
        evaluation.save(folder / "report.md" / "below")


def test_a_spreadsheet_executes_nothing(evaluation, tmp_path):
    names = ["=1+1", "+1", "-2", "@x", "\t=1", "harmless", "a=b"]
    table = evaluation.predictions.head(len(names)).assign(clip_id=names).rename(columns={"sad": "=sad"})
    folder = Evaluation(evaluation.results, table, evaluation.facts).save(tmp_path)
    header, *rows = csv.reader(io.StringIO((folder / "predictions.csv").read_text()))
    assert "'=sad" in header
    assert [row[0] for row in rows] == ["'=1+1", "'+1", "'-2", "'@x", "'\t=1", "harmless", "a=b"]


def test_a_score_that_is_no_number_names_the_clip(model, source):
    broken = AutoModelForAudioClassification.from_pretrained(str(model))
    broken.classifier.bias.data[0] = float("nan")
    with pytest.raises(InputError, match=r"clip 'toy/6-0': .* not finite numbers \(24 of 24 clips\)"):
        evaluate(broken, source)


def test_a_figure_from_outside_is_measured_with_its_interval(evaluation, monkeypatch):
    def doubled(counts):
        return 2 * unweighted_average_recall(counts)

    monkeypatch.setitem(scores.FIGURES, "doubled", doubled)
    table = evaluation.predictions
    references = [EMOTIONS.index(label) for label in table["emotion"]]
    columns = (list(table["corpus"]), list(table["speaker"]))
    found = evaluate_scores(table[list(EMOTIONS)].to_numpy(), references, EMOTIONS, *columns, seed=42)
    for part in (found["pooled"], *found["corpora"].values(), found["mean_over_corpora"]):
        assert part["doubled"] == pytest.approx(2 * part["uar"])
    low, high = found["pooled"]["intervals"]["doubled"]
    assert [low / 2, high / 2] == pytest.approx(found["pooled"]["intervals"]["uar"])
