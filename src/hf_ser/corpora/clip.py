"""What is known of a clip, a speaker, a licence and a corpus: plain data without audio."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

__all__ = ["AUDIO_EXTENSIONS", "LFS_POINTER", "Clip", "Corpus", "Licence", "Speaker"]

LFS_POINTER = b"version https://git-lfs"
"""How the text file begins that Git LFS leaves where audio should be."""

# `.au` and `.snd` are left out although soundfile reads them: for these two names libsndfile takes any bytes,
# a Git LFS pointer's too, for headerless audio.
AUDIO_EXTENSIONS: frozenset[str] = frozenset(
    {
        ".aif",
        ".aifc",
        ".aiff",
        ".caf",
        ".flac",
        ".mp3",
        ".oga",
        ".ogg",
        ".opus",
        ".rf64",
        ".w64",
        ".wav",
        ".wave",
    }
)
"""Extensions, in lower case, of the files that count as audio; soundfile reads each of these formats."""


@dataclass(frozen=True, slots=True)
class Clip:
    """What the name of an audio file says about it.

    Attributes:
        corpus: `ravdess`, `crema_d`, `tess` or `savee`.
        clip_id: Corpus and published file name without extension, such as `crema_d/1001_DFA_ANG_XX`; the same
            for every copy of the clip, whatever its folder, its extension or the quirks of its name.
        speaker: Identifier that no other corpus uses, such as `crema_d_1001`.
        sex: `female` or `male`, as published.
        age: Years at the time of recording; None where it is not published for each speaker.
        emotion: The emotion that the speaker was asked to act, one of `hf_ser.labels.EMOTIONS`.
        sentence: A key of `Corpus.sentences`; it identifies the spoken text within its corpus only.
        intensity: `normal` or `strong` (RAVDESS), `low`, `medium`, `high` or `unspecified` (CREMA-D),
            `unspecified` (TESS and SAVEE).
    """

    corpus: str
    clip_id: str
    speaker: str
    sex: str
    age: int | None
    emotion: str
    sentence: str
    intensity: str


@dataclass(frozen=True, slots=True)
class Speaker:
    """A speaker as published.

    Attributes:
        sex: `female` or `male`.
        age: Years at the time of recording; None where it is not published for each speaker.
    """

    sex: str
    age: int | None


@dataclass(frozen=True, slots=True)
class Licence:
    """The terms of a corpus as its source states them; facts to weigh, not legal advice.

    Attributes:
        id: The Hub's identifier of the licence; `other` where there is none.
        name: The licence in words.
        url: Where its text lies; None where no text is published.
        redistribution: Whether the terms let others publish the audio again, under conditions or without.
        non_commercial: Whether the terms forbid commercial use.
    """

    id: str
    name: str
    url: str | None
    redistribution: bool
    non_commercial: bool


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """What is published about a corpus, and how to read its file names.

    Attributes:
        name: Identifier used in this library, such as `crema_d`.
        title: Name in full.
        speakers: Every speaker by `Clip.speaker`.
        counts: Clips of each emotion that the complete corpus holds (Table 2 of the paper).
        sentences: The words behind each `Clip.sentence`; None where they are not published.
        licence: The terms of the audio.
        citation: BibTeX entry.
        homepage: Where the corpus is described and asked for.
        doi: Identifier of the data (not of the paper); None where it has none.
        archive_url: A public archive of exactly these clips; None where none is known.
        examples: Published names that a folder is expected to hold, for messages.
        read_name: Reads a file's stem and its folder's name; see `classify` for what it returns.
    """

    name: str
    title: str
    speakers: Mapping[str, Speaker] = field(repr=False)
    counts: Mapping[str, int]
    sentences: Mapping[str, str | None] = field(repr=False)
    licence: Licence
    citation: str = field(repr=False)
    homepage: str
    doi: str | None
    archive_url: str | None
    examples: tuple[str, ...]
    read_name: Callable[[str, str], Clip | str | None] = field(repr=False)

    @property
    def short_title(self) -> str:
        """The corpus's usual name, such as `CREMA-D`."""
        return self.title[self.title.rindex("(") + 1 : -1]

    def classify(self, path: str | os.PathLike[str]) -> Clip | str | None:
        """Return what the name of a file says, whatever its extension.

        Returns:
            The clip; a sentence that says why a name in this corpus's scheme is none of its clips (a song, an
            unknown speaker); or None where the name follows another scheme.

        Example:
            >>> from hf_ser.corpora import CORPORA
            >>> CORPORA["ravdess"].classify("03-02-05-01-02-01-09.wav")
            'RAVDESS song (vocal channel 02), not speech'
        """
        pure = PurePath(path)
        return self.read_name(pure.stem, pure.parent.name)

    def parse(self, path: str | os.PathLike[str]) -> Clip | None:
        """Return the clip that an audio file's name stands for, or None where it is no clip of this corpus.

        The file itself is not opened; of the path, only the last two parts are read.

        Example:
            >>> from hf_ser.corpora import CORPORA
            >>> CORPORA["savee"].parse("AudioData/DC/su03.wav").clip_id
            'savee/DC_su03'
        """
        if PurePath(path).suffix.lower() not in AUDIO_EXTENSIONS:
            return None
        outcome = self.classify(path)
        return outcome if isinstance(outcome, Clip) else None
