import io
from pathlib import Path
from typing import Any, NamedTuple

import soundfile

from hf_ser.errors import InputError


class Sound(NamedTuple):
    samples: Any
    sampling_rate: int


def read_file(path, name=None):
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{name or path}: no such file; check the path")
    return path.read_bytes()


def read_sound(encoded, name, seconds=None):
    try:
        with soundfile.SoundFile(io.BytesIO(encoded)) as f:
            n = -1 if seconds is None else int(seconds * f.samplerate)
            return Sound(
                f.read(n, dtype="int16" if f.subtype == "PCM_16" else "float32", always_2d=True), int(f.samplerate)
            )
    except Exception as error:
        raise InputError(f"{name}: not readable as audio ({error})") from error


def sound_length(encoded, name):
    try:
        info = soundfile.info(io.BytesIO(encoded))
    except Exception as error:
        raise InputError(f"{name}: not readable as audio ({error})") from error
    return float(info.duration), int(info.samplerate), int(info.channels)
