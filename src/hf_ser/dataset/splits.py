"""Split protocols: which part a clip belongs to, decided by its speaker and never by the order of the rows.

The speakers of the four corpora are those of their published lists, so missing files never move another clip. Within
each corpus and sex they are ordered by SHA-256, and the order is cut into five folds whose sizes differ by at most one:

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

All other speakers are distributed within their corpus by `stratify`: 65 % train, 15 % validate and 20 % are tested, or
five equal folds. `stratified` does the same with the speakers of the four corpora, for a part of a corpus whose
published assignment would leave a part empty. `leave_speaker_out_X` tests on one speaker and validates on another.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, Literal

from hf_ser.corpora import CORPORA, EIGHT_EMOTIONS_CORPORA, Corpus
from hf_ser.dataset.proof import Columns, read_columns
from hf_ser.errors import InputError

PartName = Literal["train", "validation", "test"]

PARTS: Final[tuple[PartName, ...]] = ("train", "validation", "test")
"""The parts of every protocol."""

FOLDS: Final = 5

LEAVE_OUT: Final = "leave_out_"
LEAVE_SPEAKER_OUT: Final = "leave_speaker_out_"

_SHARES: Final = (0.65, 0.15, 0.2)
_TRIALS: Final = 64
# Traits of more speakers than this are balanced by the number of speakers alone: if they took part, one missing row
# would change the order in which speakers are placed.
_COMMON: Final = 2 / 3


def protocols(corpora: Iterable[str]) -> dict[str, str]:
    """Return the protocols for data of these corpora by name, with a description."""
    titles = {name: CORPORA[name].title if name in CORPORA else name for name in corpora}
    return {
        "speaker_independent": "no speaker in two parts, all labels in each, sex-balanced (the default)",
        **{f"fold_{k}": f"speaker-disjoint {FOLDS}-fold cross-validation, tested on fold {k}" for k in range(FOLDS)},
        **{f"{LEAVE_OUT}{name}": f"tested on all of {title}, trained on the others" for name, title in titles.items()},
        "stratified": "as speaker_independent, over the speakers that are there instead of the published lists",
        "paper": "the paper's random draw of clips: 2,432 test clips, all speakers shared between the parts",
    }


PROTOCOLS: Final[Mapping[str, str]] = {
    name: text for name, text in protocols(EIGHT_EMOTIONS_CORPORA).items() if name != "stratified"
}
"""The protocols of the eight-emotions data set by name, with a description."""


def is_protocol(name: str) -> bool:
    """Return whether there is a protocol of this name; whether data allows it, `split` says."""
    starts = (LEAVE_OUT, LEAVE_SPEAKER_OUT)
    return name in protocols(()) or any(name != start and name.startswith(start) for start in starts)


def check_protocol(name: str) -> str:
    """Return the name of a protocol, or refuse another one."""
    if is_protocol(name):
        return name
    others = f"{LEAVE_OUT}CORPUS, {LEAVE_SPEAKER_OUT}SPEAKER"
    raise InputError(f"protocol '{name}' is unknown; choose one of {', '.join(protocols(()))}, {others}")


# Never to be changed: another value is another split. It was chosen by the resulting sizes, never by a score: 20 % of
# the 12,162 clips are exactly the paper's 2,432 test clips, and OAF of TESS trains by default.
_SALT: Final = "hf_ser 4448"

_PAPER_SHARES: Final = (0.2, 0.28)


def parts_of(columns: Columns, protocol: str = "speaker_independent") -> list[PartName]:
    """Return the part of every clip under a protocol; `columns` as for `split`."""
    table = read_columns(columns)
    corpora, speakers, clip_ids = (table[name] for name in ("corpus", "speaker", "clip_id"))
    needed, column = (clip_ids, "clip_id") if check_protocol(protocol) == "paper" else (speakers, "speaker")
    if "" in needed:
        clip = clip_ids[needed.index("")]
        raise InputError(f"clip '{clip}' has no {column}, which protocol '{protocol}' needs; fill column '{column}' in")
    if protocol == "paper":
        cut, numbers = _PAPER_SHARES, map(_uniform, clip_ids)
        return ["test" if it < cut[0] else "validation" if it < cut[1] else "train" for it in numbers]
    if protocol.startswith(LEAVE_SPEAKER_OUT):
        tested, validated = _left_out(protocol.removeprefix(LEAVE_SPEAKER_OUT), corpora, speakers)
        return ["test" if it == tested else "validation" if it == validated else "train" for it in speakers]
    places = _places(table, published=protocol != "stratified")
    return [
        _part(corpus, *places[corpus, speaker], protocol) for corpus, speaker in zip(corpora, speakers, strict=True)
    ]


def _part(corpus: str, fold: int, part: PartName, protocol: str) -> PartName:
    if protocol.startswith(LEAVE_OUT):
        return "test" if protocol == f"{LEAVE_OUT}{corpus}" else "validation" if part == "validation" else "train"
    if not protocol.startswith("fold_"):
        return part
    tested = int(protocol.removeprefix("fold_"))
    if fold == tested:
        return "test"
    held_out = CORPORA[corpus].held_out if corpus in CORPORA else None
    validates = held_out is None or bool(held_out[1])
    return "validation" if fold == (tested + 1) % FOLDS and validates else "train"


def _left_out(named: str, corpora: Sequence[str], speakers: Sequence[str]) -> tuple[str, str]:
    """Return the tested speaker, and the one that validates: the next in the order of their hashes, of its corpus."""
    homes = dict(zip(speakers, corpora, strict=True))
    found = [name for name, home in homes.items() if named in (name, name.removeprefix(f"{home}_"))]
    if len(found) != 1 or len(homes) < 3:
        fault = f"{len(found) or 'no'} speaker{'s' if len(found) > 1 else ''} called '{named}' among {len(homes)}"
        shown = ", ".join(sorted(homes)[:8]) + (", …" if len(homes) > 8 else "")
        raise InputError(f"protocol '{LEAVE_SPEAKER_OUT}{named}': {fault}; name one of three or more: {shown}")

    def turn(name: str) -> tuple[bool, bool, float]:
        return homes[name] != homes[found[0]], _uniform(name) < _uniform(found[0]), _uniform(name)

    return found[0], min(homes.keys() - {found[0]}, key=turn)


def split(columns: Columns, protocol: str = "speaker_independent") -> dict[str, list[int]]:
    """Return the ascending row indices of `train`, `validation` and `test`; every row is in exactly one part.

    `columns` are `corpus`, `speaker` and `clip_id`, and `emotion` and `sex` where they are known: a dictionary or
    a `datasets.Dataset`. An empty part, or a label that is missing from training, is an error, unless only the
    left-out corpus has it.
    """
    table = read_columns(columns)
    corpora, speakers = table["corpus"], table["speaker"]
    left_out = check_protocol(protocol).removeprefix(LEAVE_OUT)
    ways, held = "choose another protocol (hf-ser splits lists them)", ", ".join(sorted(set(corpora))) or "no corpus"
    if left_out != protocol and left_out not in corpora:
        fault = f"protocol '{protocol}' tests on corpus '{left_out}', of which the data set holds no clip"
        raise InputError(f"{fault} (it holds {held}); add the corpus or {ways}")
    places = parts_of(table, protocol)
    parts = rows_by_part(places)
    if empty := next((part for part in PARTS if not parts[part]), None):
        fault = f"protocol '{protocol}' leaves the {empty} part empty: the data set holds {len(set(speakers))} speakers"
        if len(set(speakers)) >= 3:
            others = "'stratified', which splits the speakers that are there, or " if protocol != "stratified" else ""
            ways = f"choose protocol {others}'{LEAVE_SPEAKER_OUT}{min(speakers)}' and so on, which tests on one speaker"
        raise InputError(f"{fault} of {held}; add speakers or corpora, or {ways}")
    labels = table.get("emotion", [])
    learnable = {label for label, corpus in zip(labels, corpora, strict=False) if protocol != f"{LEAVE_OUT}{corpus}"}
    if untrained := sorted(learnable - {labels[row] for row in parts["train"] if labels}):
        fault = f"label '{untrained[0]}' has no training clip under protocol '{protocol}'"
        raise InputError(f"{fault}; add clips of it by other speakers, drop the label, or {ways}")
    return parts


def rows_by_part(places: Sequence[str | None]) -> dict[str, list[int]]:
    """Return the rows of each part, given the part of each row."""
    return {part: [row for row, it in enumerate(places) if it == part] for part in PARTS}


def stratify(traits: Mapping[str, Collection[str]], shares: Sequence[float]) -> dict[str, int]:
    """Distribute speakers to parts of given shares so that each part gets its share of every trait (label, sex).

    Speakers with the rarest trait are placed first, each into a part that has none of it yet, else into the one that
    lacks most (iterative stratification, Sechidis et al. 2011, https://doi.org/10.1007/978-3-642-23808-6_10, on
    speakers in place of clips). Ties are decided by SHA-256 of the names. Where a part lacks a trait that enough
    speakers have, up to 64 orders are tried. The result is the index of the part of each speaker.
    """
    counts = Counter(itertools.chain.from_iterable(map(set, traits.values())))
    enough = [trait for trait, count in counts.items() if count >= len(shares)]
    best: tuple[int, dict[str, int]] = len(enough) * len(shares) + 1, {}
    for trial in range(_TRIALS):
        order = sorted(traits, key=lambda name: (_uniform(f"{trial or ''}{name}"), name))
        placed = _distribute(order, traits, counts, shares)
        held = {(trait, part) for name, part in placed.items() for trait in traits[name]}
        lacking = sum((trait, part) not in held for trait in enough for part in range(len(shares)))
        best = min(best, (lacking, placed), key=lambda it: it[0])
        if not lacking:
            break
    return best[1]


def _distribute(
    order: Sequence[str], traits: Mapping[str, Collection[str]], counts: Mapping[str, int], shares: Sequence[float]
) -> dict[str, int]:
    held: dict[str, list[int]] = {trait: [0] * len(shares) for trait in (*counts, "")}
    placed: dict[str, int] = {}
    rare = sorted((trait for trait in counts if counts[trait] <= _COMMON * len(order)), key=lambda it: (counts[it], it))
    # At the end those without a rare trait.
    for trait in (*rare, ""):
        wanted = counts[trait] if trait else len(order)

        def need(part: int, trait: str = trait, wanted: int = wanted) -> tuple[Any, ...]:
            lack, whole = shares[part] * wanted - held[trait][part], shares[part] * len(order) - held[""][part]
            first = wanted >= len(shares) and held[trait][part] == 0
            return first, held[""][part] == 0, round(lack, 9), round(whole, 9), -part

        for name in order:
            if name not in placed and (not trait or trait in traits[name]):
                placed[name] = max(range(len(shares)), key=need)
                for own in ("", *set(traits[name])):
                    held[own][placed[name]] += 1
    return placed


def _places(table: Mapping[str, Sequence[Any]], published: bool) -> dict[tuple[str, str], tuple[int, PartName]]:
    """Return the fold of every speaker of a corpus, and the part in the default protocol."""
    known = _known_speakers(tuple(CORPORA.values())) if published else {}
    traits: dict[str, dict[str, set[str]]] = {}
    places: dict[tuple[str, str], tuple[int, PartName]] = {}
    empty = [None] * len(table["corpus"])
    columns = (table["corpus"], table["speaker"], table.get("emotion", empty), table.get("sex", empty))
    for corpus, speaker, label, sex in set(zip(*columns, strict=True)):
        if speaker in known:
            places[corpus, speaker] = known[speaker]
        else:
            own = traits.setdefault(corpus, {}).setdefault(speaker, set())
            own.update(filter(None, (label and f"label {label}", sex and f"sex {sex}")))
    for corpus, speakers in traits.items():
        parts = stratify(speakers, _SHARES)
        folds = stratify(speakers, [1 / FOLDS] * FOLDS)
        places |= {(corpus, speaker): (folds[speaker], PARTS[parts[speaker]]) for speaker in speakers}
    return places


def _uniform(key: str) -> float:
    """Return a pseudo-random number in [0, 1) that depends on the key alone."""
    digest = hashlib.sha256(f"{_SALT}:{key}".encode()).digest()
    # 53 bits, the precision of a float: more could round up to 1.0.
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


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
            sizes = [(len(by_sex[sex]) + FOLDS - 1 - fold) // FOLDS for fold in range(FOLDS)]
            # The larger folds are the first ones of one sex and the last ones of the other.
            for fold, size in enumerate(sizes if turn == 0 else sizes[::-1]):
                held_out = corpus.held_out[fold].get(sex, 0) if fold < 2 else 0
                for rank, speaker in enumerate(itertools.islice(order, size)):
                    part: PartName = ("test", "validation")[fold] if rank < held_out else "train"
                    places[speaker] = (fold, part)
    return places
