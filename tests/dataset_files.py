"""Files under the published names, whose audio is noise of each clip's own."""

import hashlib
import wave
from pathlib import Path

import numpy as np

from hf_ser.corpora import CORPORA, EIGHT_EMOTIONS_CORPORA
from hf_ser.dataset.splits import parts_of

FOUR = {name: CORPORA[name] for name in EIGHT_EMOTIONS_CORPORA}


def write_wav(path: Path, samples, rate: int = 16_000, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, dtype="<i2").tobytes())
    return path


def noise(seed: int, frames: int = 800):
    return np.random.default_rng(seed).integers(-8000, 8000, frames)


def published_names() -> list[str]:
    """One clip for each speaker and emotion; of CREMA-D, every third speaker."""
    names = []
    for speaker in CORPORA["ravdess"].speakers:
        actor = speaker[-2:]
        names += [f"RAVDESS/Actor_{actor}/03-01-{code:02d}-01-01-01-{actor}.wav" for code in range(1, 9)]
    for speaker in list(CORPORA["crema_d"].speakers)[::3]:
        names += [f"CREMA-D/{speaker[-4:]}_DFA_{code}_XX.wav" for code in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")]
    for talker in ("OAF", "YAF"):
        codes = ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")
        names += [f"TESS/{talker}_{code}/{talker}_back_{code}.wav" for code in codes]
    for speaker in ("DC", "JE", "JK", "KL"):
        names += [f"SAVEE/AudioData/{speaker}/{code}01.wav" for code in ("a", "d", "f", "h", "n", "sa", "su")]
    return names


def contents(folder: Path) -> dict[str, str]:
    """The digest of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def assign(corpus, speaker, clip_id, protocol="speaker_independent"):
    """Return the part of a single clip; for the speakers of published lists, other clips do not matter."""
    return parts_of({"corpus": [corpus], "speaker": [speaker], "clip_id": [clip_id]}, protocol)[0]
