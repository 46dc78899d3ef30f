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
# libsndfile's length of a file that was written to a pipe and states none.
_UNKNOWN_LENGTH = 1 << 60

# Containers that hold their own audio: a playlist, or a list of files, would make FFmpeg open what it names.
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,amr,amrnb,amrwb,aac,avi,flv,asf,mpegts,mpeg,ac3,eac3,flac,ogg,mp3"
_STARTS = (
    b"\x1aE\xdf\xa3",
    b"#!AMR",
    b"FLV",
    b"0&\xb2u\x8ef\xcf\x11",
    b"\xff\xf1",
    b"\xff\xf9",
    b"\x00\x00\x01\xba",
    b"G@",
)


class Sound(NamedTuple):
    """Samples (frames, channels), int16 where the file holds 16-bit PCM and else float32, and their rate in hertz."""

    samples: NDArray[Any]
    sampling_rate: int


def read_file(path: str | os.PathLike[str], name: str | None = None) -> bytes:
    """Return the bytes of a regular file; `name` is what errors call it, by default its path.

    Raises:
        InputError: There is no such file, it cannot be opened, is too large, or is a pipe or a device.
    """
    name = name or str(path)
    try:
        # Opening a pipe or a device would wait or read forever.
        file = Path(path)
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

    _refuse_pointer(encoded, name)
    opened = _opened(encoded, name)
    if opened is None:
        sound = _by_pyav(encoded, name, seconds)
    else:
        with opened as file:
            kind = "int16" if file.subtype == "PCM_16" else "float32"
            wanted = -1 if seconds is None else round(seconds * file.samplerate)
            sound = Sound(_decoded(file, wanted, kind, name), int(file.samplerate))
    most = np.abs(sound.samples).max(initial=0) if sound.samples.dtype != np.int16 else 0
    # NaN fails this comparison, too.
    if not most <= _LOUDEST:
        raise InputError(f"{name}: holds samples that are not finite numbers or far too loud; export it again")
    if not len(sound.samples):
        raise InputError(f"{name}: holds no samples; remove it")
    return sound


def sound_length(encoded: bytes | Path, name: str) -> tuple[float, int]:
    """Return the length in seconds and the sampling rate in hertz, from the header where it states them."""
    _refuse_pointer(encoded, name)
    opened = _opened(encoded, name)
    if opened is not None:
        with opened as file:
            if file.frames:
                return file.frames / file.samplerate, int(file.samplerate)
    samples, rate = read_sound(encoded, name)
    return len(samples) / rate, rate


def _refuse_pointer(encoded: bytes | Path, name: str) -> None:
    if isinstance(encoded, Path):
        return
    if not encoded:
        raise InputError(f"{name}: the file is empty; fetch it again or remove it")
    if encoded.startswith(LFS_POINTER):
        raise InputError(f"{name}: a Git LFS pointer, not audio; fetch the file with `git lfs pull`")


def _opened(encoded: bytes | Path, name: str) -> soundfile.SoundFile | None:
    """Return the file as libsndfile opens it, its header checked; None for what is left to PyAV."""
    import soundfile

    try:
        file = soundfile.SoundFile(encoded if isinstance(encoded, Path) else io.BytesIO(encoded))
    except soundfile.LibsndfileError as error:
        start = encoded[:16] if isinstance(encoded, bytes) else _head(encoded)
        if start.startswith(_STARTS) or start[4:8] == b"ftyp" or start[8:12] == b"AVI ":
            return None
        reason = error.error_string.rstrip(".")
        raise InputError(f"{name}: not readable as audio ({reason}); convert it to WAV or FLAC") from error
    if file.frames >= _UNKNOWN_LENGTH:
        # libsndfile could not find its place in it.
        file.close()
        return None
    _check_header(name, int(file.samplerate), int(file.frames), file.channels)
    return file


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def _check_header(name: str, rate: int, frames: int, channels: int) -> None:
    if not _SAMPLING_RATES[0] <= rate <= _SAMPLING_RATES[1]:
        raise InputError(f"{name}: has a sampling rate of {rate} hertz; export it at 16,000 hertz")
    if frames > _MOST_HOURS * 3600 * rate or frames * channels > _MOST_BYTES:
        raise InputError(f"{name}: is longer than {_MOST_HOURS} hours, or claims to be; cut it or export it again")


def _decoded(file: soundfile.SoundFile, wanted: int, kind: str, name: str) -> NDArray[Any]:
    import soundfile

    try:
        samples: NDArray[Any] = file.read(wanted, dtype=kind, always_2d=True)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise InputError(f"{name}: not readable as audio ({reason}); convert it to WAV or FLAC") from error
    return samples


def _by_pyav(encoded: bytes | Path, name: str, seconds: float | None) -> Sound:
    """Decode the first audio stream by PyAV, which brings FFmpeg."""
    import numpy as np

    try:
        import av
    except ImportError as error:
        way = "install the extra hf_ser[av] (PyAV), or convert it to WAV or FLAC"
        raise InputError(f"{name}: soundfile does not read this format; {way}") from error
    blocks, rate, length = [], 0, 0
    try:
        content = io.BytesIO(encoded) if isinstance(encoded, bytes) else str(encoded)
        options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
        with av.open(content, mode="r", options=options) as container:
            if not container.streams.audio:
                raise InputError(f"{name}: holds no audio; give a recording of speech")
            stream = container.streams.audio[0]
            rate = int(stream.rate or 0)
            stated = int((stream.duration or 0) * (stream.time_base or 0) * rate)
            _check_header(name, rate, stated, stream.channels)
            most = rate * (_MOST_HOURS * 3600 if seconds is None else seconds)
            planar = av.AudioResampler(format="fltp")
            # None empties the resampler.
            for frame in itertools.chain(container.decode(stream), [None]):
                for part in planar.resample(frame):
                    blocks.append(part.to_ndarray())
                    length += blocks[-1].shape[1]
                if length > most:
                    break
    except av.FFmpegError as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise InputError(f"{name}: not readable as audio ({reason}); convert it to WAV or FLAC") from error
    if seconds is None:
        _check_header(name, rate, length, len(blocks[0]) if blocks else 1)
    samples = np.concatenate(blocks, axis=1).T if blocks else np.zeros((0, 1), np.float32)
    return Sound(samples if seconds is None else samples[: round(seconds * rate)], rate)
