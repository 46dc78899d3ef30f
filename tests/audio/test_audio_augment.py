"""The same (seed, epoch, clip) gives the same samples in any process, and changes no global state."""

import random

import numpy as np
import pytest

from hf_ser.audio import augment as module
from hf_ser.audio.augment import Augmentation, augment
from hf_ser.errors import InputError

ALWAYS = Augmentation(pitch_shift_probability=1, time_stretch_probability=1, noise_probability=1)


def only(name: str, **ranges: tuple[float, float]) -> Augmentation:
    names = ("pitch_shift", "time_stretch", "noise")
    return Augmentation(**{f"{other}_probability": float(other == name) for other in names}, **ranges)


def noise(samples, seed=0, level=0.1, offset=0.0):
    return (offset + level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


class Clips:
    """A map-style data set of augmented clips, whose epoch travels with the index."""

    def __len__(self):
        return 8

    def __getitem__(self, key):
        epoch, index = key
        # What a worker drew before must not matter.
        np.random.standard_normal(index)
        samples = np.random.default_rng(index).standard_normal(1600).astype(np.float32)
        return index, augment(samples, 16_000, ALWAYS, seed=0, epoch=epoch, clip_id=f"clip {index}")


def first(items):
    return items[0]


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}, {"clip_id": "b"}, {"seed": 11, "epoch": 0}])
def test_each_part_of_the_key_counts(change):
    key = {"seed": 0, "epoch": 0, "clip_id": "a"}
    samples = noise(1600)
    one, other = (augment(samples, 16_000, only("noise"), **k) for k in (key, {**key, **change}))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("fails", [False, True])
def test_global_generators_are_left_as_they_were(monkeypatch, fails):
    if fails:

        def broken(**_):
            random.random()
            np.random.standard_normal()
            raise RuntimeError("broken")

        monkeypatch.setattr(module, "_compose", lambda _: broken)
    random.seed(5)
    np.random.seed(5)
    # Half of a pair of normal numbers is kept in the state, too.
    np.random.standard_normal()
    random.gauss(0, 1)
    before = random.getstate(), np.random.get_state()
    if fails:
        with pytest.raises(RuntimeError, match="broken"):
            augment(noise(1600), 16_000, ALWAYS, 0, 0, "a")
    else:
        augment(noise(1600), 16_000, ALWAYS, 0, 0, "a")
    after = random.getstate(), np.random.get_state()
    assert after[0] == before[0]
    for value, expected in zip(after[1], before[1], strict=True):
        np.testing.assert_array_equal(value, expected)


def test_the_clip_itself_is_left_as_it_was():
    samples = noise(1600)
    before = samples.copy()
    nothing = Augmentation(pitch_shift_probability=0, time_stretch_probability=0, noise_probability=0)
    augmented = augment(samples, 16_000, nothing, 0, 0, "a")
    augmented[:] = 0
    augment(samples, 16_000, ALWAYS, 0, 0, "a")
    np.testing.assert_array_equal(samples, before)


def test_lists_from_a_configuration_file_are_taken():
    assert hash(Augmentation(noise_snr_db=[10, 20])) == hash(Augmentation(noise_snr_db=(10.0, 20.0)))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"time_stretch_rates": (0.4, 1.0)}, "time_stretch_rates must be within 0.5 to 2"),
        ({"time_stretch_rates": (1.0, 3.0)}, "time_stretch_rates must be within 0.5 to 2"),
        ({"pitch_shift_semitones": (2.0, -2.0)}, r"pitch_shift_semitones must be \(lowest, highest\)"),
        ({"noise_snr_db": (float("nan"), 3.0)}, r"noise_snr_db must be \(lowest, highest\)"),
        ({"noise_snr_db": (1.0,)}, r"noise_snr_db must be \(lowest, highest\)"),
        ({"noise_probability": 1.5}, "noise_probability must be within 0 to 1"),
    ],
)
def test_impossible_settings(settings, says):
    with pytest.raises(InputError, match=says):
        Augmentation(**settings)


def test_clips_that_cannot_be_augmented_are_named():
    with pytest.raises(InputError, match="clip savee/DC_a01"):
        augment(np.array([0, np.nan], np.float32), 16_000, ALWAYS, 0, 0, "savee/DC_a01")
