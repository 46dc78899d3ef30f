"""Calibration: fitted on validation, saved, applied by `load` or not; abstention, label sets, unfamiliar audio."""

import json
import shutil

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from hf_ser.dataset.source import open_dataset
from hf_ser.errors import InputError
from hf_ser.evaluation.calibration import calibrate, conformal_threshold, fit_temperature, threshold_of_risk
from hf_ser.evaluation.evaluate import evaluate
from hf_ser.evaluation.judged import judge
from hf_ser.evaluation.probabilities import expected_calibration_error, log_loss
from hf_ser.inference.classifier import load
from hf_ser.inference.confidence import is_far, with_temperature
from hf_ser.labels import EMOTIONS


def sample(clips, temperature=1.0, classes=4, seed=0):
    """References drawn from softmax(logits), and probabilities that are too sure by a temperature."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=1.5, size=(clips, classes))
    references = np.array([generator.choice(classes, p=row) for row in softmax(logits, axis=1)])
    return softmax(logits * temperature, axis=1), references


def test_the_temperature_that_made_a_model_too_sure_is_found():
    for temperature in (0.5, 1.0, 3.0):
        probabilities, references = sample(20_000, temperature)
        assert fit_temperature(probabilities, references) == pytest.approx(temperature, rel=0.03)


def test_no_temperature_of_a_grid_is_better():
    probabilities, references = sample(300, 2.0)
    best = log_loss(with_temperature(probabilities, fit_temperature(probabilities, references)), references)
    grid = [log_loss(with_temperature(probabilities, value), references) for value in np.geomspace(0.05, 20, 400)]
    assert best <= min(grid) + 1e-9


def test_tempering_is_softmax_of_divided_logits_and_keeps_the_order():
    logits = np.random.default_rng(1).normal(size=(50, 5)) * 20
    tempered = with_temperature(softmax(logits, axis=1), 2.5)
    np.testing.assert_allclose(np.log(tempered), log_softmax(logits / 2.5, axis=1), atol=1e-6)
    assert with_temperature([[1.0, 0.0]], 5.0).argmax() == 0
    assert np.isfinite(with_temperature([[1.0, 0.0]], 0.05)).all()


def test_the_risk_is_kept_and_no_lower_threshold_keeps_it():
    probabilities, references = sample(2_000)
    confidence, wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != references
    for risk in (0.05, 0.2, 0.4):
        threshold = threshold_of_risk(probabilities, references, risk)
        assert wrong[confidence >= threshold].mean() <= risk
        lower = np.unique(confidence[confidence < threshold])
        assert all(wrong[confidence >= value].mean() > risk for value in lower[-50:])
    assert threshold_of_risk([[0.9, 0.1]], [1], 0.05) > 1


def test_sets_cover_new_clips():
    probabilities, references = sample(3_000)
    new, truth = sample(3_000, seed=1)
    for coverage in (0.5, 0.9):
        kept = new >= conformal_threshold(probabilities, references, coverage)
        assert kept[np.arange(len(truth)), truth].mean() == pytest.approx(coverage, abs=0.03)
    assert conformal_threshold([[0.9, 0.1]], [0], 0.9) == 0


@pytest.fixture(scope="module")
def source(toy):
    return open_dataset(toy)


@pytest.fixture(scope="module")
def calibrated(encoder, source, tmp_path_factory):
    """A model's folder with a run.json that has the calibration on the validation part."""
    model = encoder(labels=list(EMOTIONS))
    folder = tmp_path_factory.mktemp("calibrated") / "run"
    shutil.copytree(model, folder)
    found = calibrate(judge(load(model), source, "validation", 0))
    (folder / "run.json").write_text(json.dumps({"calibration": found, "recipe": {"segment_seconds": 10}}))
    return folder, found


def test_what_is_recorded(calibrated, source):
    _, found = calibrated
    assert found["clips"] == len(source.parts["validation"])
    assert found["after"]["log_loss"] <= found["before"]["log_loss"]
    assert list(found["risk"].values()) == sorted(found["risk"].values(), reverse=True)
    assert list(found["coverage"].values()) == sorted(found["coverage"].values(), reverse=True)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_load_applies_it_and_can_leave_it(calibrated, source):
    folder, found = calibrated
    audio = source.parts["test"]["audio"]
    plain, tempered = load(folder, calibrated=False).predict(audio), load(folder).predict(audio)
    for before, after in zip(plain, tempered, strict=True):
        scores = with_temperature([list(before["scores"].values())], found["temperature"])[0]
        np.testing.assert_allclose(list(after["scores"].values()), scores, atol=1e-9)
        assert before["label"] == after["label"]
        assert "far" not in before
        assert isinstance(after["far"], bool)
    one, other = evaluate(load(folder, calibrated=False), source), evaluate(folder, source)
    assert one.metrics["uar"] == other.metrics["uar"]
    assert one.metrics["log_loss"] != other.metrics["log_loss"]
    assert (one.facts["temperature"], other.facts["temperature"]) == (None, found["temperature"])
    table = other.predictions[list(EMOTIONS)].to_numpy()
    references = [EMOTIONS.index(label) for label in other.predictions["emotion"]]
    assert other.metrics["ece"] == pytest.approx(expected_calibration_error(table, references))


def test_unknown_below_the_threshold_and_the_labels_of_a_set(calibrated, source):
    folder, found = calibrated
    audio = source.parts["test"]["audio"]
    answers = load(folder, risk=0.5, coverage=0.8).predict(audio)
    for answer in answers:
        confidence = max(answer["scores"].values())
        assert (answer["label"] == "unknown") == (confidence < found["risk"]["0.50"])
        assert answer["labels"] == [
            label for label, score in answer["scores"].items() if score >= found["coverage"]["0.80"]
        ]


def test_audio_unlike_the_validation_data_is_flagged(calibrated, source):
    folder, found = calibrated
    classifier = load(folder)
    outputs = judge(classifier, source, "validation", 0).outputs[:, len(EMOTIONS) :]
    assert is_far(outputs, found).mean() <= 0.07
    assert is_far(-outputs, found).all()
    clip = source.parts["validation"]["audio"][0]
    assert classifier(clip)["far"] is False
    classifier.calibration = {**found, "centre": [-value for value in found["centre"]]}
    assert classifier(clip)["far"] is True


def test_refusals(calibrated, encoder, tmp_path):
    folder, found = calibrated
    with pytest.raises(InputError, match=r"risk 0.6 was not calibrated; give one of 0.01, "):
        load(folder, risk=0.6)
    with pytest.raises(InputError, match=r"coverage 0.905 was not calibrated"):
        load(folder, coverage=0.905)
    with pytest.raises(InputError, match="risk needs a calibrated model"):
        load(encoder(labels=list(EMOTIONS)), risk=0.1)
    damaged = tmp_path / "damaged"
    shutil.copytree(folder, damaged)
    for wrong in (
        {"temperature": 0},
        {"temperature": "hot"},
        {"risk": {"0.10": None}},
        {"familiar": None},
        {"centre": [1.0]},
    ):
        (damaged / "run.json").write_text(json.dumps({"calibration": {**found, **wrong}}))
        with pytest.raises(InputError, match="damaged calibration; pass calibrated=False"):
            load(damaged)
        load(damaged, calibrated=False)
