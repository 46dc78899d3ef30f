"""Augment training clips: pitch shift, time stretch and noise, the same for the same (seed, epoch, clip)."""

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

__all__ = ["Augmentation", "augment", "stretched_length"]

# Signalsmith Stretch, behind audiomentations, draws from std::random_device once it slows a clip down by more
# than this factor, and the result would differ from run to run.
_MINIMUM_RATE = 0.5
_MAXIMUM_RATE = 2.0


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a training clip, each transform drawn on its own.

    Attributes:
        pitch_shift_semitones: Range of the pitch shift, in semitones; the tempo stays.
        pitch_shift_probability: Share of the clips that are shifted.
        time_stretch_rates: Range of the tempo's factor, above 1 is faster and shorter; the pitch stays. Within
            0.5 to 2.
        time_stretch_probability: Share of the clips that are stretched.
        noise_snr_db: Range of the signal-to-noise ratio of white Gaussian noise, in dB.
        noise_probability: Share of the clips that get noise.
        views: Number of augmented copies that a clip has: epoch `e` hears copy `e % views`, so that what a frozen
            part of the encoder makes of a copy need not be computed again. None draws anew in every epoch.

    Raises:
        InputError: A range is reversed or beyond its limits, or a probability is none.

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
        """Refuse values that audiomentations would take and turn into something else."""
        for name, limits in (
            ("pitch_shift_semitones", (-24.0, 24.0)),
            ("time_stretch_rates", (_MINIMUM_RATE, _MAXIMUM_RATE)),
            ("noise_snr_db", (-60.0, 120.0)),
        ):
            value = getattr(self, name)
            if len(value) != 2 or not value[0] <= value[1]:
                raise InputError(f"{name} must be (lowest, highest), not {value}")
            if not limits[0] <= value[0] <= value[1] <= limits[1]:
                raise InputError(f"{name} must lie within {limits[0]:g} to {limits[1]:g}, not {value}")
            # A list from a configuration file would make the augmentation unhashable.
            object.__setattr__(self, name, (float(value[0]), float(value[1])))
        for name in ("pitch_shift_probability", "time_stretch_probability", "noise_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must lie within 0 to 1, not {getattr(self, name)}")
        if self.views is not None and self.views < 1:
            raise InputError(f"views must be at least 1, or None, not {self.views}")

    def view(self, epoch: int) -> int:
        """Return which of a clip's copies an epoch hears."""
        return epoch if self.views is None else epoch % self.views


def augment(
    samples: npt.NDArray[np.float32],
    sampling_rate: int,
    augmentation: Augmentation,
    seed: int,
    epoch: int,
    clip_id: str,
) -> npt.NDArray[np.float32]:
    """Return an augmented copy of a clip.

    The result depends on the arguments alone: not on the worker, the process, the order of the clips, or what
    was drawn before. audiomentations draws from `random` and `numpy.random`, which are seeded for the call and
    put back; call this from one thread of a process at a time.

    Args:
        samples: The clip, float32, shape `(samples,)`.
        sampling_rate: In hz.
        augmentation: What may happen to the clip.
        seed: Seed of the run.
        epoch: Pass over the training clips; each draws anew.
        clip_id: Name of the clip (or of its segment) in its data set.

    Returns:
        float32, shape `(augmented samples,)`: time stretch changes the length.

    Raises:
        InputError: `samples` is not a finite, one-dimensional, non-empty float32 array.

    Example:
        >>> import numpy as np
        >>> clip = np.sin(np.arange(1600, dtype=np.float32) / 9)
        >>> noise = Augmentation(pitch_shift_probability=0, time_stretch_probability=0, noise_probability=1)
        >>> first = augment(clip, 16_000, noise, seed=0, epoch=0, clip_id="savee/DC_a01")
        >>> again = augment(clip, 16_000, noise, seed=0, epoch=0, clip_id="savee/DC_a01")
        >>> later = augment(clip, 16_000, noise, seed=0, epoch=1, clip_id="savee/DC_a01")
        >>> bool((first == again).all()), bool((first == later).all())
        (True, False)
    """
    if samples.ndim != 1 or samples.dtype != np.float32 or not len(samples):
        raise InputError(
            f"clip {clip_id}: samples must be float32 of shape (samples,), not {samples.dtype} {samples.shape}"
        )
    if not np.isfinite(samples).all():
        raise InputError(f"clip {clip_id}: holds samples that are not finite numbers; remove it")
    with _seeded(f"{seed}\n{augmentation.view(epoch)}\n{clip_id}"):
        augmented = _compose(augmentation)(samples=samples.copy(), sample_rate=sampling_rate)
    if not len(augmented) or not np.isfinite(augmented).all():
        raise InputError(f"clip {clip_id}: augmentation broke it ({len(samples)} samples); remove it or switch it off")
    return np.ascontiguousarray(augmented, dtype=np.float32)


def stretched_length(length: int, augmentation: Augmentation, seed: int, epoch: int, clip_id: str) -> int:
    """Return about how long `augment` makes a clip, without its audio: within one part in a hundred.

    Example:
        >>> slower = Augmentation(time_stretch_rates=(0.5, 0.5), time_stretch_probability=1)
        >>> stretched_length(1000, slower, seed=0, epoch=0, clip_id="savee/DC_a01")
        2000
    """
    key = f"{seed}\n{augmentation.view(epoch)}\n{clip_id}"
    pitch, stretch, _ = _compose(augmentation).transforms
    state = random.getstate()
    try:
        random.seed(_digest(key)[0])
        # In the order in which audiomentations draws: whether to do anything, the pitch, the rate.
        random.random()
        pitch.randomize_parameters(None, 0)
        stretch.randomize_parameters(None, 0)
    finally:
        random.setstate(state)
    return round(length / stretch.parameters["rate"]) if stretch.parameters["should_apply"] else length


@lru_cache(maxsize=8)
def _compose(augmentation: Augmentation) -> Any:
    """Build the chain once per process: noise comes last, so that it stays white."""
    from audiomentations import AddGaussianSNR, Compose, PitchShift, TimeStretch

    pitch, rate, noise = (
        augmentation.pitch_shift_semitones,
        augmentation.time_stretch_rates,
        augmentation.noise_snr_db,
    )
    return Compose(
        [
            PitchShift(*pitch, method="signalsmith_stretch", p=augmentation.pitch_shift_probability),
            TimeStretch(
                *rate,
                leave_length_unchanged=False,
                method="signalsmith_stretch",
                p=augmentation.time_stretch_probability,
            ),
            AddGaussianSNR(*noise, p=augmentation.noise_probability),
        ]
    )


@contextmanager
def _seeded(key: str) -> Iterator[None]:
    """Seed the global generators for a block and put their states back, whatever happens inside."""
    python_seed, numpy_seed = _digest(key)
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        random.seed(python_seed)
        np.random.seed(numpy_seed)
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def _digest(key: str) -> tuple[int, npt.NDArray[np.uint32]]:
    """Return seeds for `random` and `numpy.random`."""
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:16], "little"), np.frombuffer(digest[16:], dtype="<u4")
