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

__all__ = ["AudioSource", "decode"]

AudioSource: TypeAlias = str | os.PathLike[str] | bytes | Mapping[str, Any]
"""A path, an encoded file's bytes, or the `{"bytes", "path"}` struct of `datasets.Audio(decode=False)`."""


def decode(source: AudioSource, sampling_rate: int = 16_000, name: str | None = None) -> npt.NDArray[np.float32]:
    """Decode a clip to mono samples at `sampling_rate`.

    Every format that libsndfile reads is told by its content, never by its extension. Channels are averaged;
    other sampling rates are converted by soxr at its HQ setting. Level and offset are left as they are.

    Args:
        source: A path, an encoded file's bytes, or the struct of `datasets.Audio(decode=False)`, whose bytes
            are taken before its path.
        sampling_rate: Sampling rate of the result, in hz.
        name: What errors call the clip; its path if left out.

    Returns:
        The samples, float32, shape `(samples,)`, at least one.

    Raises:
        InputError: The clip is missing, empty, a Git LFS pointer, not audio, or not finite.

    Example:
        >>> import io
        >>> import numpy as np
        >>> import soundfile
        >>> file = io.BytesIO()
        >>> soundfile.write(file, np.full((480, 2), [0.5, 0.0]), 48_000, format="WAV")
        >>> samples = decode(file.getvalue())
        >>> samples.shape, samples.dtype, round(float(samples[80]), 2)
        ((160,), dtype('float32'), 0.25)
    """
    if sampling_rate < 1:
        raise InputError(f"sampling_rate must be a positive number of hz, not {sampling_rate}")
    encoded, name = _encoded(source, name)
    if not encoded:
        raise InputError(f"{name}: the file is empty; fetch it again or remove it")
    if encoded.startswith(LFS_POINTER):
        raise InputError(f"{name}: a Git LFS pointer, not audio; fetch the file with `git lfs pull`")
    try:
        frames, rate = soundfile.read(io.BytesIO(encoded), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise InputError(f"{name}: not readable as audio ({reason}); convert it to WAV or FLAC") from error
    samples = frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1, dtype=np.float32)
    if not np.isfinite(samples).all():
        raise InputError(f"{name}: holds samples that are not finite numbers; export it again or remove it")
    if rate != sampling_rate and len(samples):
        samples = soxr.resample(samples, rate, sampling_rate, quality="HQ")
    if not len(samples):
        raise InputError(f"{name}: holds no samples at {sampling_rate} hz; remove it")
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
    path = Path(source)
    name = name or str(path)
    try:
        return path.read_bytes(), name
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such file; check the path") from error
    except OSError as error:
        raise InputError(f"{name}: cannot be opened ({error.strerror}); check the path") from error
