"""Decode one clip to mono float32 samples at the encoder's sampling rate."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from hf_ser.corpora.clip import LFS_POINTER
from hf_ser.errors import InputError

AudioSource: TypeAlias = str | os.PathLike[str] | bytes | Mapping[str, Any]
"""A path, an encoded file's bytes, or the `{"bytes", "path"}` struct of `datasets.Audio(decode=False)`."""

# What a header claims is checked against these before memory is taken.
_MOST_HOURS = 2
_MOST_BYTES = 4 << 30
_SAMPLING_RATES = (1_000, 1_000_000)
# Samples are within [-1, 1], or 32,768 times that in careless float files; the square of 1e20 is infinite in float32.
_LOUDEST = 1e9


def decode(source: AudioSource, sampling_rate: int = 16_000, name: str | None = None) -> npt.NDArray[np.float32]:
    """Decode a clip to mono samples `(samples,)`, float32, at `sampling_rate` (hertz).

    All formats of libsndfile are recognised by their content, not by their extension. Channels are averaged; other
    sampling rates are converted by soxr at its HQ setting. Level and offset are left as they are.

    Args:
        source: Of a struct, the bytes are used before the path.
        sampling_rate: Sampling rate of the result, in hertz.
        name: What errors call the clip; by default its path.

    Raises:
        InputError: The clip is missing, empty, a Git LFS pointer, not audio, too long, or not finite.
    """
    if sampling_rate < 1:
        raise InputError(f"sampling_rate must be a positive number of hertz, not {sampling_rate}")
    encoded, name = _encoded(source, name)
    if not encoded:
        raise InputError(f"{name}: the file is empty; fetch it again or remove it")
    if encoded.startswith(LFS_POINTER):
        raise InputError(f"{name}: a Git LFS pointer, not audio; fetch the file with `git lfs pull`")
    try:
        samples, rate = _read(encoded, name)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise InputError(f"{name}: not readable as audio ({reason}); convert it to WAV or FLAC") from error
    # NaN fails this comparison, too.
    if len(samples) and not np.abs(samples).max() <= _LOUDEST:
        raise InputError(f"{name}: holds samples that are not finite numbers or far too loud; export it again")
    if rate != sampling_rate and len(samples):
        samples = soxr.resample(samples, rate, sampling_rate, quality="HQ")
    if not len(samples):
        raise InputError(f"{name}: holds no samples at {sampling_rate} hertz; remove it")
    return cast(npt.NDArray[np.float32], np.ascontiguousarray(samples, dtype=np.float32))


def _read(encoded: bytes, name: str) -> tuple[npt.NDArray[np.float32], int]:
    with soundfile.SoundFile(io.BytesIO(encoded)) as file:
        rate, length = int(file.samplerate), max(0, int(file.frames))
        if not _SAMPLING_RATES[0] <= rate <= _SAMPLING_RATES[1]:
            raise InputError(f"{name}: its sampling rate is {rate} hertz; export it at 16,000 hertz")
        if length > _MOST_HOURS * 3600 * rate or length * file.channels > _MOST_BYTES:
            raise InputError(f"{name}: is longer than {_MOST_HOURS} hours, or claims to be; cut it or export it again")
        frames = file.read(length, dtype="float32", always_2d=True)
    return frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1, dtype=np.float32), rate


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
    path = Path(source)
    name = name or str(path)
    try:
        size = path.stat().st_size
        # Opening a pipe or a device would wait or read forever.
        encoded = path.read_bytes() if path.is_file() and size <= _MOST_BYTES else None
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such file; check the path") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: cannot be opened ({getattr(error, 'strerror', error)}); check the path") from error
    if encoded is None:
        raise InputError(f"{name}: not a regular file of at most {_MOST_BYTES:,} bytes; give an audio file")
    return encoded, name
