"""Audio as callers of a classifier give it, converted to samples at the encoder's sampling rate."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_ser.audio.decode import decode
from hf_ser.errors import InputError


class UsageError(InputError):
    """A mistake in the call rather than in one of its clips."""


def clip_name(audio: Any, other: str) -> str:
    """Return what messages call a clip: its path, or `other` if it has none."""
    if isinstance(audio, Mapping):
        audio = audio.get("path") or other
    return str(audio) if isinstance(audio, str | os.PathLike) else other


def samples_of(audio: Any, sampling_rate: int | None, target_rate: int, name: str) -> NDArray[np.float32]:
    """Return mono samples at `target_rate` of a path, the bytes of a file, samples, or a dictionary of `datasets`.

    Example:
        >>> samples_of(np.array([0, 16384, -32768], np.int16), 16_000, 16_000, "clip").tolist()
        [0.0, 0.5, -1.0]
    """
    if isinstance(audio, Mapping) and audio.get("array") is not None:
        # Decoded already; `path` is only its name, and a file of that name may be another clip.
        audio, sampling_rate = audio["array"], audio.get("sampling_rate", sampling_rate)
    if isinstance(audio, str | os.PathLike | bytes | Mapping):
        samples: NDArray[np.float32] = decode(audio, target_rate, name=name)
    else:
        samples = _as_floats(audio, name)
        if sampling_rate is None:
            raise UsageError("samples need their sampling_rate; give it in hertz")
        if not 1_000 <= sampling_rate <= 1_000_000:
            raise InputError(f"{name}: sampling_rate is {sampling_rate}; give it in hertz, such as 16000")
        if sampling_rate != target_rate and len(samples):
            import soxr

            samples = soxr.resample(samples, sampling_rate, target_rate, quality="HQ")
    if not np.any(samples):
        raise InputError(f"{name}: silent from start to end; a prediction would be meaningless")
    return samples


def _as_floats(audio: Any, name: str) -> NDArray[np.float32]:
    """Return samples as float32 in [-1, 1]; integers are scaled by their type."""
    try:
        values = np.asarray(audio)
    except (TypeError, ValueError):
        values = np.asarray(None)
    if values.dtype == object or not values.ndim:
        raise InputError(
            f"{name}: give a path, bytes, samples, {{'array', 'sampling_rate'}} or {{'bytes', 'path'}}, not "
            f"{type(audio).__name__}"
        )
    if values.ndim != 1:
        raise InputError(f"{name}: samples have shape {values.shape}; give one channel, (samples,)")
    if values.dtype == np.uint8:
        return ((values.astype(np.float32) - 128) / 128).astype(np.float32)
    if values.dtype in (np.int8, np.int16, np.int32):
        return (values / -float(np.iinfo(values.dtype).min)).astype(np.float32)
    if values.dtype.kind != "f":
        raise InputError(f"{name}: samples are {values.dtype}; give floats in [-1, 1], int8, int16, int32 or uint8")
    # Beyond the range of any integer format, the variance that a preprocessor divides by would overflow.
    if not float(np.abs(values).max(initial=0)) <= 2**31:
        raise InputError(f"{name}: has samples that are not finite numbers or far too loud; scale them to [-1, 1]")
    return values.astype(np.float32)
