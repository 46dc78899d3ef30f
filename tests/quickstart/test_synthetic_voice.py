"""The prosody that is asked for is in the sound."""

import numpy as np
import pytest

from hf_ser.labels import EMOTIONS
from hf_ser.quickstart.voice import SAMPLING_RATE, draw_voice, synthesise


def clips(emotion, sex="male", count=8, text="a text"):
    for seed in range(count):
        voice = draw_voice(sex, np.random.default_rng(1000 + seed))
        yield synthesise(text, voice, emotion, np.random.default_rng(seed))


def pitch_hz(samples):
    """Median over frames of the strongest autocorrelation between 60 and 500 hz, where there is a clear one."""
    lags = np.arange(SAMPLING_RATE // 500, SAMPLING_RATE // 60)
    found = []
    for start in range(0, len(samples) - 1024, 512):
        frame = samples[start : start + 1024] - samples[start : start + 1024].mean()
        if frame.std() < 0.5 * samples.std():
            continue
        correlation = np.fft.irfft(np.abs(np.fft.rfft(frame, 2048)) ** 2)[:1024]
        best = lags[np.argmax(correlation[lags])]
        if correlation[best] > 0.4 * correlation[0]:
            found.append(SAMPLING_RATE / best)
    return float(np.median(found))


def share_above_2_khz(samples):
    power = np.abs(np.fft.rfft(samples)) ** 2
    return power[int(len(power) / 4) :].sum() / power.sum()


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_length_level_and_numbers(emotion):
    for samples in clips(emotion, count=6):
        assert samples.dtype == np.float32
        assert 0.8 <= len(samples) / SAMPLING_RATE <= 1.6
        assert np.isfinite(samples).all()
        assert 0.005 < np.abs(samples).max() <= 1.0


def test_women_speak_higher():
    female = np.median([pitch_hz(clip) for clip in clips("neutral", "female")])
    male = np.median([pitch_hz(clip) for clip in clips("neutral", "male")])
    assert 150 < female < 300
    assert 80 < male < 170


def test_emotions_differ_in_pitch_brightness_and_level():
    pitch = {name: np.median([pitch_hz(clip) for clip in clips(name)]) for name in ("neutral", "sad", "surprise")}
    assert pitch["surprise"] > 1.2 * pitch["neutral"] > 1.2 * pitch["sad"]
    bright = {
        name: np.median([share_above_2_khz(clip) for clip in clips(name)]) for name in ("angry", "neutral", "calm")
    }
    assert bright["angry"] > bright["neutral"] > bright["calm"]
    level = {name: np.median([clip.std() for clip in clips(name)]) for name in ("angry", "neutral", "sad")}
    assert level["angry"] > level["neutral"] > level["sad"]
    seconds = {name: np.median([len(clip) for clip in clips(name)]) for name in ("fear", "neutral", "sad")}
    assert seconds["fear"] < seconds["neutral"] < seconds["sad"]


def test_two_clips_of_a_kind_differ():
    one, other = list(clips("happy", count=2))
    length = min(len(one), len(other))
    assert not np.allclose(one[:length], other[:length])
