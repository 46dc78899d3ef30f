"""Augment training clips with pitch shift, time stretch and noise, reproducibly by (seed, epoch, clip)."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_ser.errors import InputError

# Signalsmith Stretch, behind audiomentations, draws from std::random_device once it slows a clip down by more
# than this factor, and the result would differ from run to run.
_MINIMUM_RATE = 0.5
_MAXIMUM_RATE = 2.0


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training clips; each is drawn on its own.

    Attributes:
        pitch_shift_semitones: Range of the pitch shift.
        pitch_shift_probability: Share of the clips that are shifted.
        time_stretch_rates: Range of the factor on the tempo, within 0.5 to 2; above 1 is faster and shorter.
        time_stretch_probability: Share of the clips that are stretched.
        noise_snr_db: Range of the signal-to-noise ratio of white Gaussian noise, in decibels.
        noise_probability: Share of the clips that get noise.
        views: Number of augmented copies of a clip: epoch `e` uses copy `e % views`, so that a frozen encoder need
            not compute a copy again. None draws anew in every epoch.

    Raises:
        InputError: A range is reversed or outside its limits, or a probability is outside [0, 1].

    Example:
        >>> Augmentation(noise_snr_db=(40, 10))
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: noise_snr_db must be (lowest, highest), not (40, 10)
    """

    pitch_shift_semitones: tuple[float, float] = (-2.0, 2.0)
    pitch_shift_probability: float = 0.3
    time_stretch_rates: tuple[float, float] = (0.9, 1.1)
    time_stretch_probability: float = 0.3
    noise_snr_db: tuple[float, float] = (15.0, 40.0)
    noise_probability: float = 0.3
    views: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that audiomentations would silently change."""
        for name, limits in (
            ("pitch_shift_semitones", (-24.0, 24.0)),
            ("time_stretch_rates", (_MINIMUM_RATE, _MAXIMUM_RATE)),
            ("noise_snr_db", (-60.0, 120.0)),
        ):
            value = getattr(self, name)
            if len(value) != 2 or not value[0] <= value[1]:
                raise InputError(f"{name} must be (lowest, highest), not {value}")
            if not limits[0] <= value[0] <= value[1] <= limits[1]:
                raise InputError(f"{name} must be within {limits[0]:g} to {limits[1]:g}, not {value}")
            # A list from a configuration file would make the augmentation unhashable.
            object.__setattr__(self, name, (float(value[0]), float(value[1])))
        for name in ("pitch_shift_probability", "time_stretch_probability", "noise_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be within 0 to 1, not {getattr(self, name)}")
        if self.views is not None and self.views < 1:
            raise InputError(f"views must be at least 1, or None, not {self.views}")

    def view(self, epoch: int) -> int:
        """Return which of a clip's copies an epoch uses."""
        return epoch if self.views is None else epoch % self.views


def augment(
    samples: npt.NDArray[np.float32],
    sampling_rate: int,
    augmentation: Augmentation,
    seed: int,
    epoch: int,
    clip_id: str,
) -> npt.NDArray[np.float32]:
    """Return an augmented copy of a clip `(samples,)`, float32; time stretch changes the length.

    The result depends on the arguments alone. audiomentations draws from `random` and `numpy.random`, which are seeded
    for the call and restored; call this from one thread of a process at a time. A result without samples, or with some
    that are not finite, is an error.
    """
    with seeded(f"{seed}\n{augmentation.view(epoch)}\n{clip_id}"):
        augmented = _compose(augmentation)(samples=samples.copy(), sample_rate=sampling_rate)
    if not len(augmented) or not np.isfinite(augmented).all():
        raise InputError(
            f"clip {clip_id}: augmentation gives no finite samples; remove the clip, or switch augmentation off"
        )
    return np.ascontiguousarray(augmented, dtype=np.float32)


@lru_cache(maxsize=8)
def _compose(augmentation: Augmentation) -> Any:
    """Build the chain once per process: noise comes last, so that it stays white."""
    from audiomentations import AddGaussianSNR, Compose, PitchShift, TimeStretch

    own, method = augmentation, "signalsmith_stretch"
    pitch = PitchShift(*own.pitch_shift_semitones, method=method, p=own.pitch_shift_probability)
    tempo = {"method": method, "leave_length_unchanged": False, "p": own.time_stretch_probability}
    noise = AddGaussianSNR(*own.noise_snr_db, p=own.noise_probability)
    return Compose([pitch, TimeStretch(*own.time_stretch_rates, **tempo), noise])


@contextmanager
def seeded(key: str) -> Iterator[None]:
    """Seed the global generators for a block and restore their states."""
    digest = hashlib.sha256(key.encode()).digest()
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        random.seed(int.from_bytes(digest[:16], "little"))
        np.random.seed(np.frombuffer(digest[16:], dtype="<u4"))
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
