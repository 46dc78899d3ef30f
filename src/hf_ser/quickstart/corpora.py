"""Write a synthetic miniature of the four corpora, in their names and layouts; evidence of nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import soundfile
import soxr

from hf_ser.corpora import CORPORA, parse
from hf_ser.dataset.splits import assign
from hf_ser.errors import InputError
from hf_ser.quickstart.voice import SAMPLING_RATE, Voice, draw_voice, synthesise

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
# How many of each sex a part gets; all of TESS and SAVEE, which have few.
_SPEAKERS_OF_EACH_SEX: Mapping[str, Mapping[str, int]] = {
    "ravdess": {"train": 2, "validation": 1, "test": 1},
    "crema_d": {"train": 2, "validation": 1, "test": 1},
    "tess": {"train": 2, "validation": 2, "test": 2},
    "savee": {"train": 4, "validation": 4, "test": 4},
}
_TESS_FOLDERS = (
    ("OAF_angry", "OAF_disgust", "OAF_Fear", "OAF_happy", "OAF_neutral", "OAF_Pleasant_surprise", "OAF_Sad"),
    ("YAF_angry", "YAF_disgust", "YAF_fear", "YAF_happy", "YAF_neutral", "YAF_pleasant_surprised", "YAF_sad"),
)
_TESS_SUFFIXES = ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")


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
            clip = parse(_names(identifier)[0])
            assert clip is not None
            place = (assign(name, identifier, clip.clip_id, "speaker_independent"), speaker.sex)
            if place in places:
                places.remove(place)
                chosen[name].append(identifier)
    return chosen


def write_synthetic_corpora(
    folder: str | os.PathLike[str], seed: int = 0, speakers: Mapping[str, Sequence[str]] | None = None
) -> dict[str, int]:
    """Write a synthetic miniature of the four corpora and a README.txt that says what it is.

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
    folder.mkdir(parents=True, exist_ok=True)
    counts = {name: sum(_write_speaker(folder, speaker, seed) for speaker in ids) for name, ids in chosen.items() if ids}
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    readme = _README.format(seed=seed, clips=sum(counts.values()), counts=listed)
    (folder / "README.txt").write_text(readme, encoding="utf-8")
    return counts


def _write_speaker(folder: Path, identifier: str, seed: int) -> int:
    """Write a speaker's clips and return their number."""
    names = _names(identifier)
    for name in names:
        clip = parse(name)
        assert clip is not None
        voice = _voice(identifier, clip.sex, seed)
        samples = synthesise(
            f"{clip.corpus} {clip.sentence[-2:] if clip.corpus == 'savee' else clip.sentence}",
            voice,
            clip.emotion,
            _generator(seed, clip.clip_id),
            _STRENGTHS[clip.intensity],
        )
        rate = _SAMPLING_RATES_HZ[clip.corpus]
        if rate != SAMPLING_RATE:
            samples = soxr.resample(samples, SAMPLING_RATE, rate, quality="HQ")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, samples, rate, subtype="PCM_16")
    return len(names)


def _voice(identifier: str, sex: str, seed: int) -> Voice:
    return draw_voice(sex, _generator(seed, identifier))


def _generator(seed: int, name: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}\n{name}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype="<u4"))


def _names(identifier: str) -> list[str]:
    """Return the paths of a speaker's clips in the miniature, below its folder."""
    corpus = next(name for name in CORPORA if identifier.startswith(f"{name}_"))
    namers: dict[str, Callable[[str], Iterator[str]]] = {
        "ravdess": _ravdess,
        "crema_d": _crema_d,
        "tess": _tess,
        "savee": _savee,
    }
    return [f"{corpus}/{name}" for name in namers[corpus](identifier.removeprefix(f"{corpus}_"))]


def _ravdess(actor: str) -> Iterator[str]:
    for emotion in range(1, 9):
        # Neutral is never acted strongly: a second repetition stands in.
        third = "01-01-02" if emotion == 1 else "02-01-01"
        for rest in ("01-01-01", "01-02-01", third):
            yield f"Actor_{actor}/03-01-{emotion:02d}-{rest}-{actor}.wav"


def _crema_d(speaker: str) -> Iterator[str]:
    for emotion in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD"):
        # Only this sentence comes with levels, and neutral has none.
        for sentence in ("IEO_XX" if emotion == "NEU" else "IEO_HI", "TIE_XX", "IOM_XX"):
            name, level = sentence.split("_")
            yield f"AudioWAV/{speaker}_{name}_{emotion}_{level}.wav"


def _tess(talker: str) -> Iterator[str]:
    folders = _TESS_FOLDERS[("OAF", "YAF").index(talker)]
    for (folder, suffix), word in product(zip(folders, _TESS_SUFFIXES, strict=True), _TESS_WORDS):
        yield f"{folder}/{talker}_{word}_{suffix}.wav"


_TESS_WORDS = ("back", "bean", "dog", "goose", "moon", "yes")


def _savee(speaker: str) -> Iterator[str]:
    # The first three sentences are those that all emotions share.
    for code, number in product(("a", "d", "f", "h", "n", "sa", "su"), (1, 2, 3)):
        yield f"AudioData/{speaker}/{code}{number:02d}.wav"
