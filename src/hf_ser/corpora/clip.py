"""Plain data about a clip, a speaker, a licence and a corpus; no audio is read here."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import NamedTuple

LOSSY_EXTENSIONS: frozenset[str] = frozenset({".mp3", ".oga", ".ogg", ".opus"})

# soundfile also reads `.au` and `.snd`, but under these two names libsndfile accepts any bytes (such as those of a
# Git LFS pointer) as headerless audio.
AUDIO_EXTENSIONS: frozenset[str] = LOSSY_EXTENSIONS | {
    *(".aif", ".aifc", ".aiff", ".caf", ".flac", ".rf64", ".w64", ".wav", ".wave")
}
"""Extensions, in lower case, of the files that count as audio; soundfile reads each of these formats."""


@dataclass(frozen=True, slots=True)
class Clip:
    """What the file name of a clip says about it.

    Attributes:
        corpus: A key of `CORPORA`, such as `ravdess`.
        clip_id: Corpus and published file name without extension, such as `crema_d/1001_DFA_ANG_XX`; the same
            for every copy of the clip, in any folder and format.
        speaker: Identifier, unique across corpora, such as `crema_d_1001`.
        sex: As in `Speaker`.
        age: As in `Speaker`.
        emotion: The emotion that the speaker was asked to act, such as one of `hf_ser.labels.EMOTIONS`.
        sentence: A key of `Corpus.sentences`; it identifies the spoken text within the corpus.
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


class Speaker(NamedTuple):
    """A speaker as published: `female` or `male`, and the age in years (None where it is not published)."""

    sex: str
    age: int | None


@dataclass(frozen=True, slots=True)
class Licence:
    """The terms of a corpus as its source states them, by default the strictest; facts to weigh, not legal advice.

    Attributes:
        id: The Hub's identifier of the licence; `other` where there is none.
        name: The licence in words.
        url: Address of its text; None where no text is published.
        redistribution: Whether the terms allow others to publish the audio, with or without conditions.
        non_commercial: Whether the terms forbid commercial use.
    """

    id: str
    name: str
    url: str | None = None
    redistribution: bool = False
    non_commercial: bool = True


NameReader = Callable[[str, str], Clip | str | None]
"""Reads a file's stem and the name of its folder; see `Corpus.classify` for the result."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Corpus:
    """Everything that is known about a corpus, and the function that reads its file names.

    Attributes:
        name: Identifier used in this library, such as `crema_d`.
        title: Full name, with the usual abbreviation in brackets at its end where there is one.
        read_name: Reads a file name; see `classify`.
        language: BCP-47 code of the spoken language.
        licence: The terms of the audio.
        citation: BibTeX entry.
        homepage: Where the corpus is described and can be obtained.
        speakers: Every speaker by `Clip.speaker`.
        races: Race of a speaker, in the words of the source, for those for whom it is published.
        counts: Clips of each emotion in the complete corpus (for the four built-in corpora, Table 2 of the paper).
        sentences: The spoken words by `Clip.sentence`; None where they are not published.
        faults: Published clips that training leaves out: `clip_id` to `all_zeros` or `identical_samples_two_labels`.
        held_out: Number of speakers of each sex in the test and in the validation part of the default protocol, at
            most a fifth of them each. None assigns the speakers by a hash of their names.
        examples: Published file names, for messages.
        doi: Identifier of the data (not of the paper); None where it has none.
        archive_url: A public archive of exactly these clips; None where none is known.
        acted: Whether the speech is acted, as the source says; None where it does not.
    """

    name: str
    title: str
    read_name: NameReader = field(repr=False)
    language: str
    licence: Licence
    citation: str = field(repr=False)
    homepage: str
    speakers: Mapping[str, Speaker] = field(default_factory=dict, repr=False)
    races: Mapping[str, str] = field(default_factory=dict, repr=False)
    counts: Mapping[str, int] = field(default_factory=dict)
    sentences: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    faults: Mapping[str, str] = field(default_factory=dict, repr=False)
    held_out: tuple[Mapping[str, int], Mapping[str, int]] | None = None
    examples: tuple[str, ...] = ()
    doi: str | None = None
    archive_url: str | None = None
    acted: bool | None = None

    @property
    def short_title(self) -> str:
        """The usual name, such as `CREMA-D`."""
        return self.title.rpartition("(")[2].rstrip(")")

    def classify(self, path: str | os.PathLike[str]) -> Clip | str | None:
        """Return what a file name says, for any extension.

        Returns:
            The clip; the reason why a name in this corpus's scheme is not one of its clips (a song, an unknown
            speaker); or None where the name follows another scheme.
        """
        pure = PurePath(path)
        return self.read_name(pure.stem, pure.parent.name)

    def parse(self, path: str | os.PathLike[str]) -> Clip | None:
        """Return the clip that an audio file's name stands for; None if it is not a clip of this corpus."""
        if PurePath(path).suffix.lower() not in AUDIO_EXTENSIONS:
            return None
        outcome = self.classify(path)
        return outcome if isinstance(outcome, Clip) else None
