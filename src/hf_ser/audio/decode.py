"""Decode one clip to mono float32 samples at the encoder's sampling rate."""

import os
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import soxr

from hf_ser.errors import InputError
from hf_ser.sound import read_file, read_sound

AudioSource: TypeAlias = str | os.PathLike[str] | bytes | Mapping[str, Any]
"""A path, an encoded file's bytes, or the `{"bytes", "path"}` struct of `datasets.Audio(decode=False)`."""


def decode(source: AudioSource, sampling_rate: int = 16_000, name: str | None = None) -> npt.NDArray[np.float32]:
    """Decode a clip to mono samples `(samples,)`, float32, at `sampling_rate` (hertz).

    Formats are those of `hf_ser.sound`. Channels are averaged; other sampling rates are converted by soxr at its HQ
    setting. Level and offset are left as they are. Of a struct, the bytes are used before the path; `name` is what
    errors call the clip, by default its path.

    Raises:
        InputError: The clip is missing, empty, a Git LFS pointer, not audio, too long, or not finite.
    """
    if sampling_rate < 1:
        raise InputError(f"sampling_rate must be a positive number of hertz, not {sampling_rate}")
    encoded, name = _encoded(source, name)
    frames, rate = read_sound(encoded, name)
    scaled = frames / np.float32(32768) if frames.dtype == np.int16 else frames
    samples = scaled[:, 0] if scaled.shape[1] == 1 else scaled.mean(axis=1, dtype=np.float32)
    if rate != sampling_rate and len(samples):
        samples = soxr.resample(samples, rate, sampling_rate, quality="HQ")
    if not len(samples):
        raise InputError(f"{name}: holds no samples at {sampling_rate} hertz; remove it")
    return cast(npt.NDArray[np.float32], np.ascontiguousarray(samples, dtype=np.float32))


def _encoded(source: AudioSource, name: str | None) -> tuple[bytes, str]:
    """Return the encoded file and what errors call it."""
    if isinstance(source, bytes):
        return source, name or f"clip of {len(source)} bytes"
    if isinstance(source, Mapping):
        encoded, path = source.get("bytes"), source.get("path")
        if encoded is not None:
            return encoded, name or (str(path) if path else f"clip of {len(encoded)} bytes")
        if path is None:
            raise InputError(f"{name or 'clip'}: has neither bytes nor a path; give one of them")
        source = path
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(f"{name or 'clip'}: give a path, bytes or {{'bytes', 'path'}}, not {type(source).__name__}")
    name = name or str(source)
    return read_file(source, name), name
