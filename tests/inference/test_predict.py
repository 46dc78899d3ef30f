"""Many clips get the answers that each gets alone, in their order, whatever some of them hold."""

import itertools

import numpy as np
import pytest
import soundfile
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from hf_ser import InputError
from hf_ser.audio.segment import segments
from hf_ser.inference import batches
from hf_ser.inference.classifier import Classifier

LABELS = ["angry", "calm", "happy", "sad"]


def classifier(encoder, architecture="hubert", segment_seconds=1.0, **changes):
    folder = encoder(architecture, **({} if architecture == "whisper" else {"labels": LABELS}), **changes)
    model = AutoModelForAudioClassification.from_pretrained(str(folder))
    return Classifier(model, AutoFeatureExtractor.from_pretrained(str(folder)), segment_seconds=segment_seconds)


def speech(count, seed=0):
    """Clips of random lengths, some longer than a segment."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(300, 24_000, count)
    return [generator.normal(0, 0.1, length).astype(np.float32) for length in lengths]


def stock(built, clip):
    """What `transformers` says to each segment of a clip, one at a time."""
    found = []
    for start, stop in segments(len(clip), 16_000):
        inputs = built._collate([{"samples": clip[start:stop]}])
        with torch.inference_mode():
            found.append(built.model(**inputs).logits[0].double().softmax(-1).numpy())
    return np.mean(found, axis=0)


def assert_same(answers, expected, labels):
    assert len(answers) == len(expected)
    for answer, scores in zip(answers, expected, strict=True):
        assert list(answer["scores"]) == list(labels)
        assert max(abs(answer["scores"][label] - score) for label, score in zip(labels, scores, strict=True)) < 1e-5
        assert answer["label"] == labels[int(np.argmax(scores))]


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("hubert", {}),
        ("hubert", {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}),
        ("hubert", {"use_weighted_layer_sum": True}),
        ("wav2vec2", {"feat_extract_norm": "group"}),
        ("wavlm", {}),
    ],
)
def test_answers_are_those_of_each_clip_alone_in_order(encoder, architecture, changes):
    built, clips = classifier(encoder, architecture, **changes), speech(45)
    answers = built.predict(iter(clips), sampling_rate=16_000)
    assert_same(answers, [stock(built, clip) for clip in clips], built.labels)


def test_whisper_reads_its_fixed_length(encoder):
    built, clips = classifier(encoder, "whisper"), speech(5)
    answers = built.predict(clips, sampling_rate=16_000, batch_size=4)
    assert_same(answers, [stock(built, clip) for clip in clips], built.labels)


def test_every_kind_of_clip_and_those_that_cannot_be_read(encoder, tmp_path, caplog):
    built = classifier(encoder)
    tone = np.sin(np.arange(8000, dtype=np.float32) / 7)
    good, empty, text, silent = (tmp_path / f"{name}.wav" for name in ("good", "empty", "text", "silent"))
    soundfile.write(good, tone, 16_000, subtype="FLOAT")
    soundfile.write(silent, np.zeros(8000), 16_000)
    empty.touch()
    text.write_text("no audio")
    clips = [good, empty, str(good), text, tmp_path / "absent.wav", silent, good.read_bytes(),
             {"bytes": good.read_bytes(), "path": "good.wav"}, {"bytes": b"", "path": "bare.wav"}, b"RIFF"]  # fmt: skip
    answers = built.predict(clips)
    assert [sorted(answer) for answer in answers] == [
        ["error"] if position in (1, 3, 4, 5, 8, 9) else ["label", "scores"] for position in range(10)
    ]
    assert len({tuple(answer["scores"].values()) for answer in answers if "error" not in answer}) == 1
    expected = [empty, text, tmp_path / "absent.wav", silent, "bare.wav", "clip 9"]
    for name, answer in zip(expected, [answer for answer in answers if "error" in answer], strict=True):
        assert answer["error"].startswith(str(name))
        assert "\n" not in answer["error"]
    samples = built.predict([tone, tone * np.nan, np.zeros((2, 9)), []], sampling_rate=16_000)
    assert samples[0] == built(tone, sampling_rate=16_000)
    assert [answer["error"].split()[1].rstrip(":") for answer in samples[1:]] == ["1", "2", "3"]


def test_wrong_calls_say_so(encoder, tmp_path):
    built = classifier(encoder)
    for call, reason in (
        (lambda: built.predict(["a.wav"], batch_size=0), "batch_size is 0"),
        (lambda: built.predict("a.wav"), "give a list"),
        (lambda: built(["a.wav", "b.wav"]), "predict"),
        (lambda: built.predict([np.ones(900)]), "sampling_rate"),
    ):
        with pytest.raises(InputError, match=reason):
            call()
    assert built.predict([]) == []


def test_memory_is_bounded_and_threads_come_back(encoder, monkeypatch):
    monkeypatch.setattr(batches, "FIRST_WINDOW_CLIPS", 2)
    monkeypatch.setattr(batches, "WINDOW_CLIPS", 5)
    built, taken = classifier(encoder), []

    def endless():
        for number in itertools.count():
            taken.append(number)
            yield np.full(1000, 0.1 + number / 1000, np.float32) + np.eye(1, 1000, dtype=np.float32)[0]

    threads = torch.get_num_threads()
    stream = built.stream(endless(), sampling_rate=16_000)
    assert not taken
    for number in range(40):
        next(stream)
        assert torch.get_num_threads() == threads
        # Two windows, and what is being decoded.
        assert len(taken) <= number + 2 * 5 + 2 * 8 + 1
    stream.close()
    stopped = len(taken)
    assert not built.model.hubert._forward_pre_hooks
    assert len(taken) == stopped


def test_a_fault_of_the_model_is_not_taken_for_a_fault_of_a_clip(encoder, monkeypatch):
    built = classifier(encoder)

    def fail(*_, **__):
        raise RuntimeError("out of order")

    monkeypatch.setattr(built.model.hubert, "forward", fail)
    with pytest.raises(RuntimeError, match="out of order"):
        built.predict(speech(3), sampling_rate=16_000)


def test_a_batch_that_does_not_fit_is_halved(encoder, monkeypatch):
    built, clips = classifier(encoder), [np.resize(clip, 4000) for clip in speech(8)]
    expected = built.predict(clips, sampling_rate=16_000, batch_size=1)
    forward, sizes = built.model.hubert.forward, []

    def small(input_values, **inputs):
        if len(input_values) > 3:
            raise torch.OutOfMemoryError("too large")
        sizes.append(len(input_values))
        return forward(input_values, **inputs)

    monkeypatch.setattr(built.model.hubert, "forward", small)
    answers = built.predict(clips, sampling_rate=16_000, batch_size=8)
    assert sizes == [2, 2, 2, 2]
    assert_same(answers, [list(answer["scores"].values()) for answer in expected], built.labels)
