"""Write a synthetic miniature of the four corpora, in their names and layouts; evidence of nothing."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import soundfile
import soxr

from hf_ser.corpora import CORPORA, parse
from hf_ser.dataset.source import SYNTHETIC_MARK
from hf_ser.dataset.splits import assign
from hf_ser.errors import InputError
from hf_ser.quickstart.voice import SAMPLING_RATE, draw_voice, synthesise

__all__ = ["choose_speakers", "write_synthetic_corpora"]

_README = """\
SYNTHETIC AUDIO: every clip below this folder was computed, by hf_ser.quickstart with seed {seed}.

The folders and names are those of RAVDESS, CREMA-D, TESS and SAVEE, so that the software reads them as it reads
the real corpora. The audio has nothing to do with theirs: no recording went into it, and nobody acted or felt
anything. What a model scores here shows that the software runs, and is evidence of nothing else.

{clips} clips: {counts}.
"""
_SAMPLING_RATES_HZ = {"ravdess": 48_000, "crema_d": 16_000, "tess": 24_414, "savee": 44_100}
_STRENGTHS = {"normal": 0.9, "strong": 1.2, "low": 0.7, "medium": 0.95, "high": 1.2, "unspecified": 1.0}
# How many of each sex a part gets at most: of TESS and SAVEE, which have few, more than there are.
_SPEAKERS_OF_EACH_SEX: Mapping[str, Mapping[str, int]] = {
    "ravdess": {"train": 2, "validation": 1, "test": 1},
    "crema_d": {"train": 2, "validation": 1, "test": 1},
    "tess": {"train": 2, "validation": 2, "test": 2},
    "savee": {"train": 4, "validation": 4, "test": 4},
}
# The published folders, each with the suffix of its files: the one is spelled in several ways, the other is not.
_TESS_FOLDERS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "OAF": (
        ("OAF_angry", "angry"),
        ("OAF_disgust", "disgust"),
        ("OAF_Fear", "fear"),
        ("OAF_happy", "happy"),
        ("OAF_neutral", "neutral"),
        ("OAF_Pleasant_surprise", "ps"),
        ("OAF_Sad", "sad"),
    ),
    "YAF": (
        ("YAF_angry", "angry"),
        ("YAF_disgust", "disgust"),
        ("YAF_fear", "fear"),
        ("YAF_happy", "happy"),
        ("YAF_neutral", "neutral"),
        ("YAF_pleasant_surprised", "ps"),
        ("YAF_sad", "sad"),
    ),
}


def choose_speakers() -> dict[str, list[str]]:
    """Return speakers of each corpus for a miniature in which every part has some, of both sexes where possible.

    The parts are those of the protocol `speaker_independent`; of each part and sex, the first speakers are
    taken in the order of the corpus.

    Returns:
        Corpus to speakers, such as `{"savee": ["savee_DC", ...], ...}`.

    Example:
        >>> sorted(choose_speakers()["tess"])
        ['tess_OAF', 'tess_YAF']
    """
    chosen: dict[str, list[str]] = {}
    for name, wanted in _SPEAKERS_OF_EACH_SEX.items():
        places = [(part, sex) for part, count in wanted.items() for sex in ("female", "male") for _ in range(count)]
        chosen[name] = []
        for identifier, speaker in CORPORA[name].speakers.items():
            place = (assign(name, identifier, clip_id="", protocol="speaker_independent"), speaker.sex)
            if place in places:
                places.remove(place)
                chosen[name].append(identifier)
    return chosen


def write_synthetic_corpora(
    folder: str | os.PathLike[str], seed: int = 0, speakers: Mapping[str, Sequence[str]] | None = None
) -> dict[str, int]:
    """Write a synthetic miniature of the four corpora and a SYNTHETIC.txt that says what it is.

    Prosody differs by emotion, voices by speaker, syllables by sentence. A clip depends on the seed and its own
    name, not on which others are written. The files are WAV with 16 bits, at each real corpus's sampling rate.

    Args:
        folder: Where to write; must be missing or empty.
        seed: Seed of voices and clips.
        speakers: Corpus to speakers; those of `choose_speakers` if left out. A corpus without speakers is left
            out.

    Returns:
        Number of clips of each corpus.

    Raises:
        InputError: The folder is not empty, or a corpus or speaker is unknown.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_synthetic_corpora(folder, speakers={"savee": ["savee_DC"]})
        {'savee': 21}
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: is not an empty folder; name another one for the synthetic corpora")
    chosen = choose_speakers() if speakers is None else speakers
    for name, identifiers in chosen.items():
        if name not in CORPORA:
            raise InputError(f"corpus '{name}' is unknown; choose {', '.join(CORPORA)}")
        for identifier in identifiers:
            if identifier not in CORPORA[name].speakers:
                raise InputError(f"speaker '{identifier}' is not of corpus '{name}'")
    names = {identifier: _names(name, identifier) for name, ids in chosen.items() for identifier in ids}
    counts = {name: sum(len(names[identifier]) for identifier in ids) for name, ids in chosen.items() if ids}
    folder.mkdir(parents=True, exist_ok=True)
    # The first file of all: a folder cut short must not pass for real speech either.
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    readme = _README.format(seed=seed, clips=sum(counts.values()), counts=listed)
    (folder / SYNTHETIC_MARK).write_text(readme, encoding="utf-8")
    for identifier, paths in names.items():
        for path in paths:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(_wav(path, identifier, seed))
    return counts


def _wav(path: str, identifier: str, seed: int) -> bytes:
    """Return the encoded file of the clip that a path names."""
    clip = parse(path)
    assert clip is not None, path
    # SAVEE's codes hold the emotion; the numbers taken here are of the sentences that all emotions share.
    sentence = clip.sentence[-2:] if clip.corpus == "savee" else clip.sentence
    samples = synthesise(
        f"{clip.corpus} {sentence}",
        draw_voice(clip.sex, _generator(seed, identifier)),
        clip.emotion,
        _generator(seed, clip.clip_id),
        _STRENGTHS[clip.intensity],
    )
    rate = _SAMPLING_RATES_HZ[clip.corpus]
    if rate != SAMPLING_RATE:
        samples = soxr.resample(samples, SAMPLING_RATE, rate, quality="HQ")
    # In memory, since soundfile waits for the disk with every file that it closes.
    encoded = io.BytesIO()
    soundfile.write(encoded, samples, rate, format="WAV", subtype="PCM_16")
    return encoded.getvalue()


def _generator(seed: int, name: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}\n{name}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype="<u4"))


def _names(corpus: str, identifier: str) -> list[str]:
    """Return the paths of a speaker's clips, below the folder of the corpora."""
    return [f"{corpus}/{path}" for path in _LAYOUTS[corpus](identifier.removeprefix(f"{corpus}_"))]


def _ravdess(actor: str) -> Iterator[str]:
    for emotion in range(1, 9):
        # Neutral is never acted strongly: a second repetition stands in.
        third = "01-01-02" if emotion == 1 else "02-01-01"
        for rest in ("01-01-01", "01-02-01", third):
            yield f"Actor_{actor}/03-01-{emotion:02d}-{rest}-{actor}.wav"


def _crema_d(speaker: str) -> Iterator[str]:
    for emotion in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD"):
        # "It's eleven o'clock" alone comes with levels, and neutral has none.
        yield f"AudioWAV/{speaker}_IEO_{emotion}_{'XX' if emotion == 'NEU' else 'HI'}.wav"
        for sentence in ("TIE", "IOM"):
            yield f"AudioWAV/{speaker}_{sentence}_{emotion}_XX.wav"


def _tess(talker: str) -> Iterator[str]:
    for (folder, suffix), word in product(_TESS_FOLDERS[talker], ("back", "bean", "dog", "goose", "moon", "yes")):
        yield f"{folder}/{talker}_{word}_{suffix}.wav"


def _savee(speaker: str) -> Iterator[str]:
    for code, number in product(("a", "d", "f", "h", "n", "sa", "su"), (1, 2, 3)):
        yield f"AudioData/{speaker}/{code}{number:02d}.wav"


_LAYOUTS: Mapping[str, Callable[[str], Iterator[str]]] = {
    "ravdess": _ravdess,
    "crema_d": _crema_d,
    "tess": _tess,
    "savee": _savee,
}
