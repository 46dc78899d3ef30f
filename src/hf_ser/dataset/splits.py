"""Split protocols: which part a clip belongs to is a pure function of its corpus, speaker and identifier.

The order of the files and missing files never move another clip. The speakers of the four corpora are those of their
published lists. Within each corpus and sex they are ordered by SHA-256, and the order is cut into five folds whose
sizes differ by at most one:

| corpus (female, male) | female speakers per fold | male speakers per fold |
|--|--|--|
| RAVDESS (12, 12) | 3 3 2 2 2 | 2 2 2 3 3 |
| CREMA-D (43, 48) | 9 9 9 8 8 | 9 9 10 10 10 |
| SAVEE (0, 4) | | 1 1 1 1 0 |
| TESS (2, 0) | 1 1 0 0 0 | |

`speaker_independent` takes its test speakers from fold 0 and its validation speakers from fold 1 (`Corpus.held_out`);
all others train. `fold_k` tests on fold k, validates on the next fold (fold 0 after fold 4) and trains on the rest; the
two talkers of TESS, of 1,400 clips each, never validate, and `fold_4` tests and `fold_3` validates without SAVEE. Over
the five folds every clip of the four corpora is tested once. `leave_out_X` tests on all of corpus X; the validation
speakers of `speaker_independent` in the other corpora validate. Only RAVDESS has calm, so `leave_out_ravdess` tests on
a label that is not in training; the proof names it. `paper` hashes the clip's identifier (see `PAPER_WARNING`).
"""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Final, Literal

from hf_ser.corpora import CORPORA, Corpus
from hf_ser.dataset.proof import Columns, read_columns
from hf_ser.errors import InputError

PartName = Literal["train", "validation", "test"]

PARTS: Final[tuple[PartName, ...]] = ("train", "validation", "test")
"""The parts of every protocol."""

FOLDS: Final = 5


class _Protocols(Mapping[str, str]):
    """The protocols that the corpora registered at the moment allow."""

    def __getitem__(self, name: str) -> str:
        return _protocols(tuple(CORPORA.values()))[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_protocols(tuple(CORPORA.values())))

    def __len__(self) -> int:
        return len(list(iter(self)))


@cache
def _protocols(corpora: Sequence[Corpus]) -> dict[str, str]:
    return {
        "speaker_independent": "no speaker in two parts, all 8 labels in each, sex-balanced (the default)",
        **{f"fold_{k}": f"speaker-disjoint {FOLDS}-fold cross-validation, tested on fold {k}" for k in range(FOLDS)},
        **{f"leave_out_{it.name}": f"tested on all of {it.title}, trained on the others" for it in corpora},
        "paper": "the paper's random draw of clips: 2,432 test clips, all speakers shared between the parts",
    }


PROTOCOLS: Final[Mapping[str, str]] = _Protocols()
"""The protocols by name, with a description; a registered corpus adds its own `leave_out_NAME`."""

# Never to be changed: another value is another split. It was chosen by the resulting sizes, never by a score: 20 % of
# the 12,162 clips are exactly the paper's 2,432 test clips, and OAF of TESS trains by default.
_SALT: Final = "hf_ser 4448"

_TEST_SHARE: Final = 0.2
_PAPER_VALIDATION_SHARE: Final = 0.1 * (1 - _TEST_SHARE)
_UNKNOWN_VALIDATION_SHARE: Final = 0.1


def assign(corpus: str, speaker: str, clip_id: str, protocol: str = "speaker_independent") -> PartName:
    """Return the part of a protocol that a clip belongs to: a function of its three names alone.

    A speaker who is in no corpus with `held_out` speakers is assigned by a hash of the name: on average 70 % train,
    10 % validate and 20 % are tested, and the folds are equal. `clip_id` is used by `paper` only.

    Example:
        >>> assign("tess", "tess_OAF", "tess/OAF_bite_neutral", "leave_out_tess")
        'test'
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol '{protocol}' is unknown; choose one of {', '.join(PROTOCOLS)}")
    if protocol == "paper":
        if not clip_id:
            raise InputError("a clip has an empty clip_id, which protocol 'paper' needs; fill the column in")
        return _cut(_uniform(clip_id), _PAPER_VALIDATION_SHARE)
    if not speaker:
        raise InputError(
            f"clip '{clip_id}' has no speaker, which protocol '{protocol}' needs; fill column 'speaker' in"
        )
    number = _uniform(speaker)
    unknown = int(number * FOLDS), _cut(number, _UNKNOWN_VALIDATION_SHARE)
    fold, part = _known_speakers(tuple(CORPORA.values())).get(speaker, unknown)
    if protocol == "speaker_independent":
        return part
    if protocol.startswith("leave_out_"):
        if protocol == f"leave_out_{corpus}":
            return "test"
        return "validation" if part == "validation" else "train"
    tested = int(protocol.removeprefix("fold_"))
    if fold == tested:
        return "test"
    held_out = CORPORA[corpus].held_out if corpus in CORPORA else None
    validates = held_out is None or bool(held_out[1])
    return "validation" if fold == (tested + 1) % FOLDS and validates else "train"


def split(columns: Columns, protocol: str = "speaker_independent") -> dict[str, list[int]]:
    """Return the ascending row indices of `train`, `validation` and `test`; every row is in exactly one part.

    `columns` are `corpus`, `speaker` and `clip_id`, and `emotion` where there are labels: a dictionary or
    a `datasets.Dataset`. An empty part, or a label that is missing from training, is an error, unless only the
    left-out corpus has it.
    """
    table = read_columns(columns)
    corpora, speakers = (table[name] for name in ("corpus", "speaker"))
    parts: dict[str, list[int]] = {part: [] for part in PARTS}
    for row, names in enumerate(zip(corpora, speakers, table["clip_id"], strict=True)):
        parts[assign(*names, protocol)].append(row)
    ways = "choose another protocol (hf-ser splits lists them)"
    left_out = protocol.removeprefix("leave_out_")
    if left_out != protocol and left_out not in corpora:
        fault = f"protocol '{protocol}' tests on corpus '{left_out}', of which the data set holds no clip"
        raise InputError(f"{fault}; add the corpus or {ways}")
    if empty := next((part for part in PARTS if not parts[part]), None):
        fault = f"protocol '{protocol}' leaves the {empty} part empty: the data set holds {len(set(speakers))} speakers"
        named = ", ".join(sorted(set(corpora))) or "no corpus"
        raise InputError(f"{fault} of {named}; add speakers or corpora, or {ways}")
    labels = table.get("emotion", [])
    learnable = {label for label, corpus in zip(labels, corpora, strict=False) if protocol != f"leave_out_{corpus}"}
    if untrained := sorted(learnable - {labels[row] for row in parts["train"] if labels}):
        fault = f"label '{untrained[0]}' has no training clip under protocol '{protocol}'"
        raise InputError(f"{fault}; add clips of it by other speakers, drop the label, or {ways}")
    return parts


def _uniform(key: str) -> float:
    """Return a pseudo-random number in [0, 1) that depends on the key alone."""
    digest = hashlib.sha256(f"{_SALT}:{key}".encode()).digest()
    # 53 bits, the precision of a float: more could round up to 1.0.
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def _cut(number: float, validation_share: float) -> PartName:
    return "test" if number < _TEST_SHARE else "validation" if number < _TEST_SHARE + validation_share else "train"


@cache
def _known_speakers(corpora: Sequence[Corpus]) -> dict[str, tuple[int, PartName]]:
    """Return the fold of the speakers of corpora with `held_out` speakers, and their part in the default protocol."""
    places: dict[str, tuple[int, PartName]] = {}
    for corpus in corpora:
        if corpus.held_out is None:
            continue
        by_sex: dict[str, list[str]] = {}
        for speaker, facts in corpus.speakers.items():
            by_sex.setdefault(facts.sex, []).append(speaker)
        for turn, sex in enumerate(sorted(by_sex)):
            order = iter(sorted(by_sex[sex], key=_uniform))
            for fold, size in enumerate(_fold_sizes(len(by_sex[sex]), larger_first=turn == 0)):
                held_out = corpus.held_out[fold].get(sex, 0) if fold < 2 else 0
                for rank, speaker in enumerate(itertools.islice(order, size)):
                    part: PartName = ("test", "validation")[fold] if rank < held_out else "train"
                    places[speaker] = (fold, part)
    return places


def _fold_sizes(speakers: int, larger_first: bool) -> list[int]:
    sizes = [(speakers + FOLDS - 1 - fold) // FOLDS for fold in range(FOLDS)]
    return sizes if larger_first else sizes[::-1]
