"""Audio files in any format, decoded to samples: by soundfile, and what it does not read by PyAV."""

from __future__ import annotations

import io
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hf_ser.errors import InputError

if TYPE_CHECKING:
    import soundfile
    from numpy.typing import NDArray

LFS_POINTER = b"version https://git-lfs"
"""First bytes of the text file that Git LFS leaves in place of a file that was not downloaded."""

# What a header claims is checked against these before memory is taken.
_MOST_HOURS = 2
_MOST_BYTES = 4 << 30
_SAMPLING_RATES = (1_000, 1_000_000)
# Samples are within [-1, 1], or 32,768 times that in careless float files; the square of 1e20 is infinite in float32.
_LOUDEST = 1e9
# libsndfile's length of a file that was written to a pipe and states none; it cannot find its place in such a file.
_UNKNOWN_LENGTH = 1 << 60
# Containers that hold their own audio: a playlist, or a list of files, would make FFmpeg open what it names.
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,amr,amrnb,amrwb,aac,avi,flv,asf,mpegts,mpeg,ac3,eac3,flac,ogg,mp3"
_STARTS = (
    b"\x1aE\xdf\xa3", b"#!AMR", b"FLV", b"0&\xb2u\x8ef\xcf\x11", b"\xff\xf1", b"\xff\xf9", b"\x00\x00\x01\xba", b"G@",
)  # fmt: skip


class Sound(NamedTuple):
    """Samples (frames, channels), int16 where the file holds 16-bit PCM and else float32, and their rate in hertz."""

    samples: NDArray[Any]
    sampling_rate: int


def read_file(path: str | os.PathLike[str], name: str | None = None) -> bytes:
    """Return the bytes of a regular file, never of a pipe or a device; `name` is what errors call it."""
    name, file = name or str(path), Path(path)
    try:
        size = file.stat().st_size
        encoded = file.read_bytes() if file.is_file() and size <= _MOST_BYTES else None
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such file; check the path") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: cannot be opened ({getattr(error, 'strerror', error)}); check the path") from error
    if encoded is None:
        raise InputError(f"{name}: not a regular file of at most {_MOST_BYTES:,} bytes; give an audio file")
    return encoded


def read_sound(encoded: bytes | Path, name: str, seconds: float | None = None) -> Sound:
    """Decode the bytes of a file, or a regular file, which libsndfile reads faster; `name` is what errors call it.

    Formats are recognised by their content, not by their extension. Of a video, the first audio stream is read. With
    `seconds`, only so much from the beginning is.

    Raises:
        InputError: The file is empty, a Git LFS pointer, not audio, longer than two hours or claims to be, or holds
            samples that are not finite numbers.
    """
    import numpy as np
    import soundfile

    try:
        opened = _opened(encoded, name)
        if opened is None:
            sound = _by_pyav(encoded, name, seconds)
        else:
            with opened as file:
                kind = "int16" if file.subtype == "PCM_16" else "float32"
                frames = -1 if seconds is None else round(seconds * file.samplerate)
                sound = Sound(file.read(frames, dtype=kind, always_2d=True), int(file.samplerate))
    except soundfile.LibsndfileError as error:
        raise _unreadable(name, error.error_string.rstrip("."), error) from error
    most = np.abs(sound.samples).max(initial=0) if sound.samples.dtype != np.int16 else 0
    # NaN fails this comparison, too.
    if not most <= _LOUDEST:
        raise InputError(f"{name}: holds samples that are not finite numbers or far too loud; export it again")
    if not len(sound.samples):
        raise InputError(f"{name}: holds no samples; remove it")
    return sound


def sound_length(encoded: bytes | Path, name: str) -> tuple[float, int]:
    """Return the length in seconds and the sampling rate in hertz, from the header where it states them."""
    opened = _opened(encoded, name)
    if opened is not None and opened.frames:
        with opened as file:
            return file.frames / file.samplerate, int(file.samplerate)
    samples, rate = read_sound(encoded, name)
    return len(samples) / rate, rate


def _opened(encoded: bytes | Path, name: str) -> soundfile.SoundFile | None:
    """Return the file as libsndfile opens it, its header checked; None for what is left to PyAV."""
    import soundfile

    if encoded == b"":
        raise InputError(f"{name}: the file is empty; fetch it again or remove it")
    if isinstance(encoded, bytes) and encoded.startswith(LFS_POINTER):
        raise InputError(f"{name}: a Git LFS pointer, not audio; fetch the file with `git lfs pull`")
    try:
        file = soundfile.SoundFile(encoded if isinstance(encoded, Path) else io.BytesIO(encoded))
    except soundfile.LibsndfileError as error:
        with io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded.open("rb") as stream:
            start = stream.read(12)
        if start.startswith(_STARTS) or start[4:8] == b"ftyp" or start[8:] == b"AVI ":
            return None
        raise _unreadable(name, error.error_string.rstrip("."), error) from error
    if file.frames >= _UNKNOWN_LENGTH:
        file.close()
        return None
    _check_header(name, int(file.samplerate), int(file.frames), file.channels)
    return file


def _unreadable(name: str, reason: str, error: Exception) -> InputError:
    return InputError(f"{name}: not readable as audio ({reason or type(error).__name__}); convert it to WAV or FLAC")


def _check_header(name: str, rate: int, frames: int, channels: int) -> None:
    if not _SAMPLING_RATES[0] <= rate <= _SAMPLING_RATES[1]:
        raise InputError(f"{name}: has a sampling rate of {rate} hertz; export it at 16,000 hertz")
    if frames > _MOST_HOURS * 3600 * rate or frames * channels > _MOST_BYTES:
        raise InputError(f"{name}: is longer than {_MOST_HOURS} hours, or claims to be; cut it or export it again")


def _by_pyav(encoded: bytes | Path, name: str, seconds: float | None) -> Sound:
    """Decode the first audio stream by PyAV, which brings FFmpeg."""
    import numpy as np

    try:
        import av
    except ImportError as error:
        way = "install the extra hf_ser[av] (PyAV), or convert it to WAV or FLAC"
        raise InputError(f"{name}: soundfile does not read this format; {way}") from error
    blocks: list[NDArray[Any]] = []
    content = io.BytesIO(encoded) if isinstance(encoded, bytes) else str(encoded)
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
    try:
        with av.open(content, mode="r", options=options) as container:
            if not container.streams.audio:
                raise InputError(f"{name}: holds no audio; give a recording of speech")
            stream, planar, length = container.streams.audio[0], av.AudioResampler(format="fltp"), 0
            rate = int(stream.rate or 0)
            _check_header(name, rate, int((stream.duration or 0) * (stream.time_base or 0) * rate), stream.channels)
            # None empties the resampler.
            for frame in itertools.chain(container.decode(stream), [None]):
                parts = [part.to_ndarray() for part in planar.resample(frame)]
                blocks += parts
                length += sum(part.shape[1] for part in parts)
                _check_header(name, rate, length, stream.channels)
                if seconds is not None and length >= seconds * rate:
                    break
    except av.FFmpegError as error:
        raise _unreadable(name, str(error.strerror or ""), error) from error
    samples = np.concatenate(blocks, axis=1).T if blocks else np.zeros((0, 1), np.float32)
    return Sound(samples if seconds is None else samples[: round(seconds * rate)], rate)
