"""Write a synthetic miniature of the four corpora, with their file names and folder layouts."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import soundfile
import soxr

from hf_ser.corpora import CORPORA
from hf_ser.dataset.opening import SYNTHETIC_MARK
from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS
from hf_ser.quickstart.voice import SAMPLING_RATE, synthesise
from hf_ser.text import render

_SAMPLING_RATES_HZ = {"ravdess": 48_000, "crema_d": 16_000, "tess": 24_414, "savee": 44_100}
# In the protocol `speaker_independent`, each part has some of each corpus but TESS, of both sexes except in SAVEE.
_SPEAKERS = {
    "ravdess": ("01", "02", "03", "04", "06", "07", "08", "17"),
    "crema_d": ("1001", "1002", "1004", "1005", "1006", "1007", "1015", "1019"),
    "tess": ("OAF", "YAF"),
    "savee": ("DC", "JE", "JK", "KL"),
}
_CREMA_D = {"angry": "ANG", "disgust": "DIS", "fear": "FEA", "happy": "HAP", "neutral": "NEU", "sad": "SAD"}
_SAVEE = {"angry": "a", "disgust": "d", "fear": "f", "happy": "h", "neutral": "n", "sad": "sa", "surprise": "su"}
# The published folders of TESS, of the two talkers: they differ in spelling.
_TESS = {
    "OAF": ("angry", "disgust", "Fear", "happy", "neutral", "Sad", "Pleasant_surprise"),
    "YAF": ("angry", "disgust", "fear", "happy", "neutral", "sad", "pleasant_surprised"),
}


def write_synthetic_corpora(folder: str | os.PathLike[str], seed: int = 0) -> dict[str, int]:
    """Write a synthetic miniature of the four corpora, and a SYNTHETIC.txt that says so; return each corpus's clips.

    The prosody depends on the emotion, the voice on the speaker, the vowels on the sentence. The files are 16-bit WAV
    at the sampling rate of each real corpus. The folder must be absent or empty.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: is not an empty folder; name another one for the synthetic corpora")
    clips = [(corpus, speaker, *clip) for corpus in _SPEAKERS for speaker in _SPEAKERS[corpus]
             for clip in _LAYOUTS[corpus](speaker)]  # fmt: skip
    counts = {name: sum(corpus == name for corpus, *_ in clips) for name in _SPEAKERS}
    folder.mkdir(parents=True, exist_ok=True)
    # Written first: an interrupted folder must not be taken for real speech either.
    (folder / SYNTHETIC_MARK).write_text(render("synthetic.txt", seed=seed, clips=len(clips)), encoding="utf-8")
    for corpus, speaker, path, emotion, sentence, strength in clips:
        identifier = f"{corpus}_{speaker}"
        samples = synthesise(
            emotion,
            CORPORA[corpus].speakers[identifier].sex,
            f"{corpus} {sentence}",
            _generator(seed, identifier),
            _generator(seed, path),
            strength,
        )
        rate = _SAMPLING_RATES_HZ[corpus]
        encoded = io.BytesIO()
        # In memory: soundfile waits for the disk whenever it closes a file.
        soundfile.write(encoded, soxr.resample(samples, SAMPLING_RATE, rate), rate, format="WAV", subtype="PCM_16")
        file = folder / corpus / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded.getvalue())
    return counts


def _generator(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng(list(hashlib.sha256(f"{seed}\n{name}".encode()).digest()))


# Each returns the clips of a speaker: path in the corpus, emotion, sentence, strength of the emotion.
def _ravdess(actor: str) -> Iterator[tuple[str, str, str, float]]:
    for number, emotion in enumerate(("neutral", "calm", "happy", "sad", "angry", "fear", "disgust", "surprise"), 1):
        # Neutral is never acted with strong intensity: a second repetition replaces it.
        third = ("01-01-02", 0.9) if emotion == "neutral" else ("02-01-01", 1.2)
        for rest, strength in (("01-01-01", 0.9), ("01-02-01", 0.9), third):
            yield f"Actor_{actor}/03-01-{number:02d}-{rest}-{actor}.wav", emotion, rest[3:5], strength


def _crema_d(speaker: str) -> Iterator[tuple[str, str, str, float]]:
    for emotion, code in _CREMA_D.items():
        # The sentence IEO alone was acted at several levels, and neutral at none.
        level = "XX" if emotion == "neutral" else "HI"
        yield f"AudioWAV/{speaker}_IEO_{code}_{level}.wav", emotion, "IEO", 1.2
        for sentence in ("TIE", "IOM"):
            yield f"AudioWAV/{speaker}_{sentence}_{code}_XX.wav", emotion, sentence, 1.0


def _tess(talker: str) -> Iterator[tuple[str, str, str, float]]:
    emotions = [emotion for emotion in EMOTIONS if emotion != "calm"]
    for (emotion, folder), word in product(zip(emotions, _TESS[talker], strict=True), ("back", "bean", "dog", "yes")):
        suffix = "ps" if emotion == "surprise" else emotion
        yield f"{talker}_{folder}/{talker}_{word}_{suffix}.wav", emotion, word, 1.0


def _savee(speaker: str) -> Iterator[tuple[str, str, str, float]]:
    for (emotion, code), number in product(_SAVEE.items(), (1, 2, 3)):
        yield f"AudioData/{speaker}/{code}{number:02d}.wav", emotion, str(number), 1.0


_LAYOUTS = {"ravdess": _ravdess, "crema_d": _crema_d, "tess": _tess, "savee": _savee}
