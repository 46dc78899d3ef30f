"""Disturbances at the level that they state, and what the section makes of decisions that change."""

import random

import numpy as np
import pytest
from answers import answered
from scipy.signal import welch

from hf_ser.audio.disturbances import DISTURBANCES, SMALL, Disturbance, rms
from hf_ser.evaluation import robustness
from hf_ser.evaluation.judged import Judged

RATE = 16_000


def voice(seed=0, seconds=1.0):
    draw, times = np.random.default_rng(seed), np.arange(int(RATE * seconds)) / RATE
    wave = sum(np.sin(2 * np.pi * 130 * k * times) / k for k in range(1, 20)) * (1 + np.sin(2 * np.pi * 3 * times))
    return (0.05 * wave + 0.001 * draw.standard_normal(len(times))).astype(np.float32)


CLIP = voice()
OTHERS = [voice(seed) for seed in range(1, 10)]


def changed(name, strength, clip=CLIP):
    return DISTURBANCES[name](clip, RATE, strength, [1, 2, 3], OTHERS)


@pytest.mark.parametrize("name", DISTURBANCES)
def test_is_finite_reproducible_and_leaves_its_input_alone(name):
    for strength in (*DISTURBANCES[name].strengths, *DISTURBANCES[name].curve):
        before = CLIP.copy()
        one, other = changed(name, strength), changed(name, strength)
        assert one.dtype == np.float32
        assert np.isfinite(one).all()
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(CLIP, before)
        assert not np.array_equal(one, CLIP)


RESTORED = "tone white_weak pink_20db babble_20db high_pass low_pass telephone tilt reverberation speed pitch"


@pytest.mark.parametrize("name", RESTORED.split())
def test_the_rms_is_restored(name):
    strength = (DISTURBANCES[name].strengths or DISTURBANCES[name].curve)[0]
    assert rms(changed(name, strength)) == pytest.approx(rms(CLIP), rel=1e-4)


@pytest.mark.parametrize("name", ["white_20db", "pink_20db", "babble_20db"])
@pytest.mark.parametrize("snr", [20, 0])
def test_noise_has_its_signal_to_noise_ratio(name, snr):
    mixed = changed(name, snr).astype(float)
    # The clip's share in the mixture, by least squares; noise is nearly orthogonal to it.
    share = mixed @ CLIP / (CLIP @ CLIP)
    noise = mixed - share * CLIP
    tolerance = 0.1 if name != "babble_20db" else 3.0
    assert 20 * np.log10(rms(share * CLIP) / rms(noise)) == pytest.approx(snr, abs=tolerance)


def spectrum(samples):
    return welch(np.asarray(samples, dtype=float), RATE, nperseg=2048)


def test_spectra():
    silence = np.full(RATE * 4, 1e-9, dtype=np.float32)
    noise = DISTURBANCES["pink_20db"](voice(seconds=4), RATE, -60, [0], OTHERS)
    frequencies, power = spectrum(noise)
    octave = [power[(frequencies >= low) & (frequencies < 2 * low)].sum() for low in (250, 500, 1000, 2000)]
    np.testing.assert_allclose(octave, np.mean(octave), rtol=0.25)
    white = np.random.default_rng(0).standard_normal(RATE * 4).astype(np.float32)
    for name, strength, low, high, least in (
        ("high_pass", 150, (20, 60), (1000, 2000), 6), ("low_pass", 6500, (7800, 7999), (1000, 2000), 3),
        ("telephone", 0, (5000, 7000), (1000, 2000), 40), ("tilt", 3, (200, 300), (3200, 4800), 11),
    ):  # fmt: skip
        frequencies, power = spectrum(changed(name, strength, white))
        inside = [10 * np.log10(power[(frequencies > a) & (frequencies < b)].mean()) for a, b in (low, high)]
        assert inside[1] - inside[0] > least, name
    assert not np.isnan(DISTURBANCES["white_20db"](silence, RATE, 20, [0], OTHERS)).any()


def test_small_changes_do_what_they_say():
    np.testing.assert_array_equal(changed("zeros_behind", 500)[:-500], CLIP)
    np.testing.assert_array_equal(changed("zeros_before", 100)[100:], CLIP)
    np.testing.assert_array_equal(changed("cut_end", 1000), CLIP[:-1000])
    np.testing.assert_array_equal(changed("cut_begin", 500), CLIP[500:])
    assert len(changed("cut_end", 1000, CLIP[:100])) == 50
    assert rms(changed("gain", -2)) / rms(CLIP) == pytest.approx(10 ** (-2 / 20), rel=1e-5)
    clipped = changed("clipping", 0.3)
    assert (np.abs(clipped) < np.abs(CLIP)).mean() == pytest.approx(0.003, abs=0.0005)
    tone = (changed("tone", 40) - CLIP * rms(changed("tone", 40)) / rms(CLIP)).astype(float)
    frequencies, power = spectrum(tone)
    assert 5_000 <= frequencies[power.argmax()] <= 7_000
    assert len(changed("speed", 1.25)) == pytest.approx(len(CLIP) / 1.25, rel=0.02)
    assert len(changed("pitch", 4)) == len(CLIP)
    late = changed("reverberation", 0.6, np.concatenate([CLIP, np.zeros(RATE, np.float32)]))[RATE + 1600 :]
    assert rms(late[:1600]) > 3 * rms(late[8000:9600]) > 0


class Listener:
    """A model that hears one thing: whether the clip is longer or louder than at first, or any other change."""

    def __init__(self, hears):
        self.labels, self.calibration, self.sampling_rate = ("calm", "sad"), {}, RATE
        self.hears = hears

    def outputs(self, clips):
        sad = np.array([self.hears(clip) for clip in clips], dtype=float)
        return np.stack([1 - sad, sad, sad], axis=1)


def hearing(monkeypatch, hears, clips, speakers=5):
    references = np.arange(len(clips)) % 2
    judged = answered(("calm", "sad"), references, [hears(clip) for clip in clips],
                      speaker=[f"s{row % speakers}" for row in range(len(clips))])  # fmt: skip
    monkeypatch.setattr(Judged, "samples", lambda self, rows: (clips[int(row)] for row in rows))
    return Judged(Listener(hears), *(getattr(judged, name) for name in Judged.__slots__[1:]))


def test_what_changes_decisions_fails_and_what_does_not_passes(monkeypatch):
    clips = [np.pad(voice(row, 0.2), (0, 40 * (row % 2))) for row in range(40)]
    length = len(clips[0])
    state = (random.getstate(), np.random.get_state()[1].copy())
    found = robustness.section(hearing(monkeypatch, lambda clip: len(clip) > length, clips))
    assert random.getstate() == state[0]
    np.testing.assert_array_equal(np.random.get_state()[1], state[1])
    by_name = found["disturbances"]
    assert set(by_name) == {name for name, it in DISTURBANCES.items() if it.strengths}
    # 100 samples of zeros are more than the 40 by which the two lengths differ.
    assert by_name["zeros_behind"]["unchanged"] == by_name["cut_end"]["unchanged"] == 0.5
    assert by_name["zeros_behind"]["uar_lost"] == 0.5
    assert by_name["gain"]["unchanged"] == by_name["white_20db"]["unchanged"] == 1
    passed = {check["test"]: check["passed"] for check in found["checks"] if check["metric"] == "unchanged"}
    assert not passed["zeros_before"]
    assert passed["tone"]
    assert [point["strength"] for point in found["curves"]["speed"]["points"]] == [0.8, 1, 1.25]
    assert [point["strength"] for point in found["curves"]["white_20db"]["points"]] == [0, 10, 20]
    assert [point["unchanged"] for point in found["curves"]["pitch"]["points"]] == [1, 1, 1]
    assert found["curves"]["speed"]["points"][1]["uar_lost"] == 0
    guessing = {check["test"]: check["guessing_passed"] for check in found["checks"] if check["metric"] == "unchanged"}
    assert not any(passed for name, passed in guessing.items() if name != "telephone")


def test_babble_is_of_other_speakers_or_left_out(monkeypatch):
    clips = [voice(row, 0.2) for row in range(12)]
    heard = []

    def listening(clip, rate, strength, draw, others):
        heard.append(len(others))
        return clip

    own = {"babble_20db": Disturbance(listening, (20,), SMALL), "gain": DISTURBANCES["gain"]}
    monkeypatch.setattr(robustness, "DISTURBANCES", own)
    monkeypatch.setattr(robustness, "babble", listening)
    robustness.section(hearing(monkeypatch, lambda clip: rms(clip) > 1, clips, speakers=3))
    assert set(heard) == {8}
    found = robustness.section(hearing(monkeypatch, lambda clip: rms(clip) > 1, clips, speakers=1))
    assert set(found["disturbances"]) == {"gain"}


def test_a_stratified_draw_keeps_the_proportions():
    references = np.repeat([0, 1, 2], [300, 60, 40])
    judged = answered("abc", references, references, corpus=["a", "b"] * 200)
    few, more = robustness.stratified(judged, 40), robustness.stratified(judged, 100)
    assert np.bincount(references[few]).tolist() == [30, 6, 4]
    assert set(few) <= set(more)
    assert len(robustness.stratified(judged, 10_000)) == 400
