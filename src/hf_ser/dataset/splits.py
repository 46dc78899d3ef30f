"""Which part of a split a clip belongs to: protocols that depend on nothing but the clip's own names.

Where a clip goes is settled by its corpus, speaker and identifier alone, so neither the order of the files nor
the absence of some of them moves any other clip. The speakers of the four corpora come from their published
lists; within each corpus and sex they are put in a fixed order by SHA-256, and the order is cut into
five folds whose sizes differ by one at most:

| corpus (female, male) | female speakers per fold | male speakers per fold |
|--|--|--|
| RAVDESS (12, 12) | 3 3 2 2 2 | 2 2 2 3 3 |
| CREMA-D (43, 48) | 9 9 9 8 8 | 9 9 10 10 10 |
| SAVEE (0, 4) | | 1 1 1 1 0 |
| TESS (2, 0) | 1 1 0 0 0 | |

`speaker_independent` takes its test speakers from fold 0 and its validation speakers from fold 1; all others
train. So `fold_0` is the default split with larger test and validation parts: who trains there also trains by
default, and hyper-parameters found on the default validation speakers have not seen its test speakers.

`fold_k` tests on fold k, validates on the next fold (fold 0 after fold 4) and trains on the rest. TESS has two
talkers of 1,400 clips each, so either would drown a validation part: TESS never validates. YAF is tested in
`fold_0`, OAF in `fold_1`, and a talker that is not tested trains. SAVEE has four speakers for five folds:
`fold_4` tests without SAVEE and `fold_3` validates without it. Over the five folds every clip of the four
corpora is tested exactly once.

`leave_out_X` tests on all of corpus X; the other corpora give the validation speakers of
`speaker_independent`, and everyone else trains. Labels that X lacks stay in training. Calm is spoken in RAVDESS
only, so `leave_out_ravdess` tests on a label that no model can have learned; the proof names it.

`paper` hashes the clip's identifier instead of its speaker. See `PAPER_WARNING`.
"""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final, Literal

from hf_ser.corpora import CORPORA
from hf_ser.dataset.proof import (
    PAPER_WARNING,
    Columns,
    SplitProof,
    column,
    label_column,
    prove,
)
from hf_ser.errors import InputError

__all__ = ["PAPER_WARNING", "PARTS", "PROTOCOLS", "SplitProof", "assign", "prove", "split"]

PartName = Literal["train", "validation", "test"]

PARTS: Final[tuple[PartName, ...]] = ("train", "validation", "test")
"""The parts of every protocol."""

FOLDS: Final = 5

PROTOCOLS: Final[Mapping[str, str]] = {
    "speaker_independent": "no speaker in two parts, all 8 labels in each, sex-balanced (the default)",
    **{f"fold_{k}": f"speaker-disjoint {FOLDS}-fold cross-validation, tested on fold {k}" for k in range(FOLDS)},
    **{
        f"leave_out_{name}": f"tested on all of {corpus.title}, trained on the others"
        for name, corpus in CORPORA.items()
    },
    "paper": "the paper's random draw of clips: 2,432 test clips, all speakers shared between the parts",
}
"""The protocols by name, each with what it does."""

# Fixed for good: another value is another split. Chosen by where it puts clips and speakers, never by a score:
# the paper's 20 % of the 12,162 clips are exactly its 2,432, and of TESS's talkers OAF trains by default.
_SALT: Final = "hf_ser 4448"

# Speakers of `speaker_independent` by corpus: (from fold 0 for test, from fold 1 for validation), by sex. The
# whole is 16/4/4 of RAVDESS, 64/9/18 of CREMA-D, 2/1/1 of SAVEE and 1/0/1 of TESS.
_HELD_OUT: Final[Mapping[str, tuple[Mapping[str, int], Mapping[str, int]]]] = {
    "ravdess": ({"female": 2, "male": 2}, {"female": 2, "male": 2}),
    "crema_d": ({"female": 9, "male": 9}, {"female": 4, "male": 5}),
    "tess": ({"female": 1}, {}),
    "savee": ({"male": 1}, {"male": 1}),
}

_TEST_SHARE: Final = 0.2
_PAPER_VALIDATION_SHARE: Final = 0.1 * (1 - _TEST_SHARE)
_UNKNOWN_VALIDATION_SHARE: Final = 0.1


def assign(corpus: str, speaker: str, clip_id: str, protocol: str = "speaker_independent") -> PartName:
    """Return the part of a protocol that a clip belongs to.

    A pure function of its arguments. A speaker who is in none of the four corpora is placed by the hash of the
    speaker's name: 70 % train, 10 % validate and 20 % are tested in the long run, and the folds are equal.

    Args:
        corpus: The clip's corpus, such as `'ravdess'`; any name for a corpus of one's own.
        speaker: The speaker, unique across corpora, such as `'ravdess_09'`.
        clip_id: The clip's identifier, such as `'ravdess/03-01-05-01-02-01-09'`; used by `paper` only.
        protocol: One of `PROTOCOLS`.

    Raises:
        InputError: The protocol is unknown, or the name it goes by (speaker or identifier) is empty.

    Example:
        >>> assign("tess", "tess_OAF", "tess/OAF_bite_neutral", "speaker_independent")
        'train'
        >>> assign("tess", "tess_OAF", "tess/OAF_bite_neutral", "leave_out_tess")
        'test'
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol '{protocol}' is unknown; choose one of {', '.join(PROTOCOLS)}")
    if protocol == "paper":
        if not clip_id:
            raise InputError("a clip has an empty clip_id, by which protocol 'paper' goes; fill the column in")
        return _cut(_uniform(clip_id), _PAPER_VALIDATION_SHARE)
    if not speaker:
        raise InputError(
            f"clip '{clip_id}' has no speaker, by which protocol '{protocol}' goes; fill column 'speaker' in"
        )
    fold, part = _place(speaker)
    if protocol == "speaker_independent":
        return part
    if protocol.startswith("leave_out_"):
        if protocol == f"leave_out_{corpus}":
            return "test"
        return "validation" if part == "validation" else "train"
    tested = int(protocol.removeprefix("fold_"))
    if fold == tested:
        return "test"
    validates = corpus not in _HELD_OUT or bool(_HELD_OUT[corpus][1])
    return "validation" if fold == (tested + 1) % FOLDS and validates else "train"


def split(columns: Columns, protocol: str = "speaker_independent") -> dict[str, list[int]]:
    """Return the rows of each part of a data set under a protocol.

    Args:
        columns: Columns `corpus`, `speaker` and `clip_id`, and `emotion` where there are labels: a dictionary
            of sequences or a `datasets.Dataset`.
        protocol: One of `PROTOCOLS`.

    Returns:
        Ascending row indices for each of `train`, `validation` and `test`; every row is in exactly one.

    Raises:
        InputError: The protocol is unknown, a column is missing, a part would be empty, or a label of the data
            set would be missing from training. A label that only the left-out corpus has is not an error.

    Example:
        >>> speakers = [f"savee_{name}" for name in ("DC", "JE", "JK", "KL")]
        >>> clip_ids = [f"savee/{name}_a01" for name in ("DC", "JE", "JK", "KL")]
        >>> parts = split({"corpus": ["savee"] * 4, "speaker": speakers, "clip_id": clip_ids})
        >>> {part: len(rows) for part, rows in parts.items()}
        {'train': 2, 'validation': 1, 'test': 1}
    """
    corpora, speakers, clip_ids = (column(columns, name) for name in ("corpus", "speaker", "clip_id"))
    parts: dict[str, list[int]] = {part: [] for part in PARTS}
    for row, (corpus, speaker, clip_id) in enumerate(zip(corpora, speakers, clip_ids, strict=True)):
        parts[assign(corpus, speaker, clip_id, protocol)].append(row)
    _refuse_empty(parts, corpora, speakers, protocol)
    labels = label_column(columns)
    if labels is not None:
        trained = {labels[row] for row in parts["train"]}
        learnable = {label for label, corpus in zip(labels, corpora, strict=True) if protocol != f"leave_out_{corpus}"}
        for label in sorted(learnable - trained):
            raise InputError(
                f"label '{label}' has no training clip under protocol '{protocol}'; add clips of it by other "
                "speakers, drop the label, or choose another protocol (hf-ser splits lists them)"
            )
    return parts


def _refuse_empty(
    parts: Mapping[str, Sequence[int]], corpora: Sequence[str], speakers: Sequence[str], protocol: str
) -> None:
    left_out = protocol.removeprefix("leave_out_")
    if left_out != protocol and left_out not in corpora:
        raise InputError(
            f"protocol '{protocol}' tests on corpus '{left_out}', of which the data set holds no clip; "
            "add the corpus or choose another protocol (hf-ser splits lists them)"
        )
    for part, rows in parts.items():
        if not rows:
            raise InputError(
                f"protocol '{protocol}' leaves the {part} part empty: the data set holds {len(set(speakers))} "
                f"speakers of {', '.join(sorted(set(corpora))) or 'no corpus'}; add speakers or corpora, or choose "
                "another protocol (hf-ser splits lists them)"
            )


def _uniform(key: str) -> float:
    """Return a number in [0, 1) that looks random but depends on the key alone."""
    digest = hashlib.sha256(f"{_SALT}:{key}".encode()).digest()
    # 53 bits, all that a float holds: more could round up to 1.0.
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def _cut(number: float, validation_share: float) -> PartName:
    if number < _TEST_SHARE:
        return "test"
    return "validation" if number < _TEST_SHARE + validation_share else "train"


def _place(speaker: str) -> tuple[int, PartName]:
    """Return a speaker's fold and part of the default protocol."""
    known = _known_speakers().get(speaker)
    if known is not None:
        return known
    number = _uniform(speaker)
    return int(number * FOLDS), _cut(number, _UNKNOWN_VALIDATION_SHARE)


@cache
def _known_speakers() -> dict[str, tuple[int, PartName]]:
    places: dict[str, tuple[int, PartName]] = {}
    for name, corpus in CORPORA.items():
        by_sex: dict[str, list[str]] = {}
        for speaker, facts in corpus.speakers.items():
            by_sex.setdefault(facts.sex, []).append(speaker)
        for turn, sex in enumerate(sorted(by_sex)):
            order = iter(sorted(by_sex[sex], key=_uniform))
            for fold, size in enumerate(_fold_sizes(len(by_sex[sex]), larger_first=turn == 0)):
                held_out = _HELD_OUT[name][fold].get(sex, 0) if fold < 2 else 0
                for rank, speaker in enumerate(itertools.islice(order, size)):
                    part: PartName = ("test", "validation")[fold] if rank < held_out else "train"
                    places[speaker] = (fold, part)
    return places


def _fold_sizes(speakers: int, larger_first: bool) -> list[int]:
    """Return sizes of the folds that differ by one at most; the two sexes put their larger folds apart."""
    base, extra = divmod(speakers, FOLDS)
    sizes = [base + (fold < extra) for fold in range(FOLDS)]
    return sizes if larger_first else sizes[::-1]
