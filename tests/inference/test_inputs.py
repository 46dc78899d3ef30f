"""What a classifier takes as audio, and what it says of audio and models that give no score."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch

from hf_ser import InputError
from hf_ser.inference.classifier import load
from hf_ser.inference.samples import samples_of

LABELS = ["angry", "calm", "happy", "sad"]
TONE = (0.5 * np.sin(np.arange(8000) / 7)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(encoder):
    return encoder(labels=LABELS)


@pytest.fixture(scope="module")
def built(folder):
    return load(folder)


def heard(audio, sampling_rate=16_000, rate=16_000):
    return samples_of(audio, sampling_rate, rate, "clip 7")


@pytest.mark.parametrize(
    ("kind", "scale", "offset"), [("int8", 127, 0), ("int16", 32767, 0), ("int32", 2**31 - 1, 0), ("uint8", 127, 128)]
)
def test_integers_are_scaled_by_their_type(kind, scale, offset):
    integers = np.round(TONE.astype(np.float64) * scale + offset).astype(kind)
    found = heard(integers)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, TONE, atol=0.02 if "8" in kind else 5e-5)
    assert heard(np.array([np.iinfo(kind).min, offset], kind)).tolist() == [-1, 0]


def test_floats_lists_and_tensors_are_taken_as_they_are():
    for samples in (TONE, TONE.astype(np.float64), TONE.tolist(), torch.from_numpy(TONE)):
        np.testing.assert_array_equal(heard(samples), TONE)
    assert heard(TONE.astype(np.float16)).dtype == np.float32
    assert len(heard(TONE, 8_000)) == 16_000


@pytest.mark.parametrize(
    ("audio", "reason"),
    [
        (None, "give a path, bytes, samples, .* not NoneType"),
        (3.5, "not float"),
        (object(), "not object"),
        ([[0.1, 0.2], [0.3]], "not list"),
        (np.ones((2, 9), np.float32), r"samples have shape \(2, 9\)"),
        (np.ones(9, np.int64), "samples are int64; give floats"),
        (np.ones(9, bool), "samples are bool"),
        (np.ones(9, complex), "samples are complex128"),
        (TONE * np.nan, "not finite numbers"),
        (TONE * 1e30, "far too loud; scale them"),
        (np.zeros(9), "silent from start to end"),
        (np.full(9, 128, np.uint8), "silent from start to end"),
        ([], "silent from start to end"),
        ({"array": TONE, "sampling_rate": 16}, "sampling_rate is 16; give it in hertz"),
        ({}, "neither bytes nor a path"),
    ],
)
def test_what_is_no_clip_says_so(audio, reason):
    with pytest.raises(InputError, match=f"^clip 7:? .*{reason}") as caught:
        heard(audio)
    assert "\n" not in str(caught.value)


def test_decoded_audio_is_taken_from_its_array(built, tmp_path, monkeypatch):
    expected = built(TONE, sampling_rate=16_000)
    monkeypatch.chdir(tmp_path)
    soundfile.write("other.wav", np.random.default_rng(0).normal(0, 0.1, 8000), 16_000)
    decoded = {"array": TONE, "sampling_rate": 16_000}
    assert built(decoded) == expected
    assert built({**decoded, "path": "other.wav"}) == expected != built({"path": "other.wav"})
    for answer in built.predict([{**decoded, "path": None}, {"array": TONE}], sampling_rate=16_000):
        assert answer["scores"] == pytest.approx(expected["scores"], abs=1e-5)
    assert built({"array": None, "path": "other.wav"}) == built("other.wav")
    with pytest.raises(InputError, match="need their sampling_rate"):
        built({"array": TONE})


def test_one_none_costs_its_own_answer(built):
    first, second, third = built.predict([TONE, None, TONE], sampling_rate=16_000)
    assert second["error"].startswith("clip 1: give a path")
    for answer in (first, third):
        assert answer["scores"] == pytest.approx(built(TONE, sampling_rate=16_000)["scores"], abs=1e-5)


def test_a_level_that_is_not_audio_is_that_clip_s_error(built, tmp_path):
    loud = tmp_path / "loud.wav"
    soundfile.write(loud, np.tile([1e30, -1e30], 4000), 16_000, subtype="FLOAT")
    good, bad, large = built.predict([TONE, loud, 32768 * TONE], sampling_rate=16_000)
    assert bad["error"].startswith(f"{loud}: holds samples that are not finite numbers or far too loud")
    assert good["scores"] == pytest.approx(large["scores"], abs=1e-5)


def test_a_model_without_numbers_never_answers(folder):
    broken = load(folder)
    broken.model.classifier.bias.data[1] = float("inf")
    with pytest.raises(InputError, match="the audio: the model returns scores that are not finite numbers"):
        broken(TONE, sampling_rate=16_000)
    answers = broken.predict([TONE, None], sampling_rate=16_000)
    assert answers[0]["error"].startswith("clip 0: the model returns scores that are not finite numbers")
    assert answers[1]["error"].startswith("clip 1: give a path")
    json.dumps(answers, allow_nan=False)


def test_segments_are_as_long_as_the_run_records(folder, tmp_path):
    run = shutil.copytree(folder, tmp_path / "run")
    for text, seconds in [
        ('{"recipe": {"segment_seconds": 0.2}}', 0.2),
        ('{"recipe": {}, "segment_seconds": 0.3}', 0.3),
        ("{}", 10),
        ("[]", 10),
        ("torn", 10),
    ]:
        (run / "run.json").write_text(text)
        assert load(run).segment_seconds == seconds
    assert load(run, segment_seconds=2).segment_seconds == 2
    (run / "run.json").write_text('{"recipe": {"segment_seconds": 1e9}}')
    with pytest.raises(InputError, match=r"segment_seconds 1000000000\.0; pass segment_seconds"):
        load(run)


def test_what_a_loaded_model_says_of_itself(built, folder):
    assert repr(built) == f"Classifier('{folder}', labels: angry, calm, happy, sad, device: cpu)"
    assert (built.sampling_rate, built.segment_seconds, built.labels) == (16_000, 10.0, tuple(LABELS))
    assert built.name == str(folder)
    assert built.record == {}
    assert load(folder, device="meta").device.type == "meta"
