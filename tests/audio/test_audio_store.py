import io

import numpy as np
import pytest
import soundfile

import hf_ser.audio.store as module
from hf_ser.audio.decode import decode
from hf_ser.audio.store import SampleStore, from_16_bit, to_16_bit
from hf_ser.cache import CacheFolder
from hf_ser.errors import InputError


def encoded(samples, rate=16_000, subtype="PCM_16"):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype=subtype)
    return file.getvalue()


def noise(length=1000, level=0.1, seed=0):
    return (level * np.random.default_rng(seed).standard_normal(length)).clip(-1, 1).astype(np.float32)


def test_16_bit_audio_comes_back_bit_for_bit():
    samples = decode(encoded(noise()))
    assert np.array_equal(from_16_bit(*to_16_bit(samples)), samples)
    full = np.array([-1.0, 32767 / 32768, 0.0], np.float32)
    assert np.array_equal(from_16_bit(*to_16_bit(full)), full)
    # The five stereo clips of RAVDESS hold the same samples twice.
    assert np.array_equal(decode(encoded(np.stack([samples, samples], axis=1))), samples)


@pytest.mark.parametrize("level", [1e-4, 1e-2, 1.0, 5.0])
def test_other_audio_keeps_the_error_that_is_promised(level):
    samples = np.random.default_rng(0).uniform(-level, level, 4000).astype(np.float32)
    stored, scale = to_16_bit(samples)
    peak = np.abs(samples).max()
    assert np.abs(from_16_bit(stored, scale) - samples).max() <= peak / 65000


def test_silence_and_the_smallest_numbers_survive():
    for samples in (np.zeros(5, np.float32), np.full(5, 1e-40, np.float32)):
        assert np.isfinite(from_16_bit(*to_16_bit(samples))).all()
    assert not from_16_bit(*to_16_bit(np.zeros(5, np.float32))).any()


@pytest.fixture
def clips():
    sounds = {"a": encoded(noise(seed=1)), "b": encoded(noise(4410, seed=2), rate=44_100), "c": encoded(noise(seed=3))}
    return {key: (f"{key}.wav", lambda sound=sound: sound) for key, sound in sounds.items()}


def test_each_clip_is_decoded_once(tmp_path, clips, monkeypatch):
    decoded = []
    original = module.decode

    def counted(source, rate, name):
        decoded.append(name)
        return original(source, rate, name=name)

    monkeypatch.setattr(module, "decode", counted)
    first = SampleStore(CacheFolder(tmp_path, 1), 16_000)
    assert first.fill({key: clips[key] for key in "ab"}, progress=False) == 2
    second = SampleStore(CacheFolder(tmp_path, 1), 16_000)
    assert second.fill(clips, progress=False) == 1
    assert sorted(decoded) == ["a.wav", "b.wav", "c.wav"]
    for key, (_, source) in clips.items():
        samples = original(source(), 16_000)
        assert second.length(key) == len(samples)
        assert np.allclose(second.read(key), samples, rtol=0, atol=np.abs(samples).max() / 65000)
    assert np.array_equal(second.read("a"), original(clips["a"][1](), 16_000))
    assert np.array_equal(second.read("a", 10, 20), second.read("a")[10:20])
    # Another sampling rate is another store.
    assert "a" not in SampleStore(CacheFolder(tmp_path, 1), 8_000)


def test_a_clip_that_cannot_be_decoded_is_named_and_the_others_are_kept(tmp_path, clips):
    store = SampleStore(CacheFolder(tmp_path, 1), 16_000)
    with pytest.raises(InputError, match=r"broken\.wav"):
        store.fill({**clips, "d": ("broken.wav", lambda: b"no audio")}, progress=False)
    assert "a" in SampleStore(CacheFolder(tmp_path, 1), 16_000)


def test_real_speech_keeps_to_the_bound(shared, tmp_path):
    for path in sorted((shared / "originals").rglob("*.wav")):
        samples = decode(path)
        stored, scale = to_16_bit(samples)
        error = np.abs(from_16_bit(stored, scale) - samples).max()
        exact = soundfile.info(path).samplerate == 16_000 and soundfile.info(path).channels == 1
        assert error == 0 if exact else error <= np.abs(samples).max() / 65000, path
