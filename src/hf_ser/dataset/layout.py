"""Which clips share a file, so that every protocol is a list of files and no clip is stored twice."""

from collections.abc import Collection as Group
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from hf_ser.dataset.splits import FOLDS, PARTS, PROTOCOLS, assign, split
from hf_ser.errors import InputError

__all__ = ["Configuration", "Layout", "Shard", "plan"]

DEFAULT_PROTOCOL: Final = "speaker_independent"
_WHOLE: Final = "all"


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of the data set: clips of one corpus that are together in every protocol.

    Attributes:
        fields: Corpus, part of the default protocol, fold, part of the paper's protocol; they make the name.
        parts: The part that all of its clips belong to, by protocol.
        rows: Their row indices, ascending.
    """

    fields: tuple[str, str, str, str]
    parts: Mapping[str, str]
    rows: tuple[int, ...]

    @property
    def path(self) -> str:
        """Where the file lies in the data set's folder."""
        return _path(self.fields)


@dataclass(frozen=True, slots=True)
class Configuration:
    """A configuration of the published data set.

    Attributes:
        name: A protocol, a corpus, or `all`.
        splits: The files of each split.
        patterns: Glob patterns that match exactly these files.
    """

    name: str
    splits: Mapping[str, tuple[Shard, ...]]
    patterns: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Layout:
    """The files and configurations of a data set.

    Attributes:
        shards: The files, sorted by path.
        configurations: The default one first.
        rows: Row indices of each part by protocol, for the protocols that the clips allow.
        left_out: Why a protocol has no configuration, by protocol.
    """

    shards: tuple[Shard, ...]
    configurations: tuple[Configuration, ...]
    rows: Mapping[str, Mapping[str, Sequence[int]]]
    left_out: Mapping[str, str]


def plan(columns: Mapping[str, Sequence[str]]) -> Layout:
    """Plan the files and configurations of a data set.

    Args:
        columns: Columns `corpus`, `speaker`, `clip_id` and `emotion`.

    Example:
        >>> speakers = ["savee_DC", "savee_JE", "savee_JK", "savee_KL"]
        >>> clip_ids = [f"savee/{speaker[-2:]}_a01" for speaker in speakers]
        >>> columns = {"corpus": ["savee"] * 4, "speaker": speakers, "clip_id": clip_ids, "emotion": ["angry"] * 4}
        >>> layout = plan(columns)
        >>> [configuration.name for configuration in layout.configurations][:2]
        ['speaker_independent', 'fold_0']
        >>> sorted(row for shard in layout.shards for row in shard.rows)
        [0, 1, 2, 3]
    """
    shards = _shards(columns)
    splits: dict[str, dict[str, list[Shard]]] = {}
    rows, left_out = {}, {}
    examples = _examples(columns, shards)
    for protocol in PROTOCOLS:
        try:
            split(examples, protocol)
        except InputError as error:
            left_out[protocol] = str(error)
            continue
        splits[protocol] = {part: [shard for shard in shards if shard.parts[protocol] == part] for part in PARTS}
        rows[protocol] = {
            part: sorted(row for shard in files for row in shard.rows) for part, files in splits[protocol].items()
        }
    corpora = list(dict.fromkeys(shard.fields[0] for shard in shards))
    for corpus in corpora:
        splits[corpus] = {"train": [shard for shard in shards if shard.fields[0] == corpus]}
    splits[_WHOLE] = {"train": list(shards)}
    default = DEFAULT_PROTOCOL if DEFAULT_PROTOCOL in splits else _WHOLE
    return Layout(
        shards=tuple(shards),
        configurations=tuple(
            Configuration(
                name,
                {part: tuple(files) for part, files in splits[name].items()},
                {part: _patterns(files, shards) for part, files in splits[name].items()},
            )
            for name in sorted(splits, key=lambda name: name != default)
        ),
        rows=rows,
        left_out=left_out,
    )


def _shards(columns: Mapping[str, Sequence[str]]) -> list[Shard]:
    """Group the clips by their corpus and their parts in all protocols together."""
    groups: dict[tuple[str, ...], list[int]] = {}
    of_speaker: dict[tuple[str, str], dict[str, str]] = {}
    for row, place in enumerate(zip(columns["corpus"], columns["speaker"], columns["clip_id"], strict=True)):
        corpus, speaker, clip_id = place
        if (corpus, speaker) not in of_speaker:
            of_speaker[corpus, speaker] = {
                protocol: assign(corpus, speaker, clip_id, protocol) for protocol in PROTOCOLS if protocol != "paper"
            }
        # The paper's protocol alone goes by the clip.
        parts = of_speaker[corpus, speaker] | {"paper": assign(corpus, speaker, clip_id, "paper")}
        groups.setdefault((corpus, *(parts[protocol] for protocol in PROTOCOLS)), []).append(row)
    shards: dict[str, Shard] = {}
    for (corpus, *assigned), members in groups.items():
        parts_of = dict(zip(PROTOCOLS, assigned, strict=True))
        fold = next(k for k in range(FOLDS) if parts_of[f"fold_{k}"] == "test")
        fields = (corpus, parts_of[DEFAULT_PROTOCOL], f"fold_{fold}", f"paper_{parts_of['paper']}")
        # The four fields say all that the protocols do with a clip; were that to change, files would collide.
        if shards.setdefault(_path(fields), shard := Shard(fields, parts_of, tuple(members))) is not shard:
            raise RuntimeError(f"two groups of clips are called {_path(fields)}")
    return [shards[path] for path in sorted(shards)]


def _examples(columns: Mapping[str, Sequence[str]], shards: Sequence[Shard]) -> dict[str, list[str]]:
    """Return one clip for each file, speaker and label: whatever `split` refuses of them, it refuses of all."""
    first: dict[tuple[str, str, str], int] = {}
    for shard in shards:
        for row in shard.rows:
            first.setdefault((shard.path, columns["speaker"][row], columns["emotion"][row]), row)
    chosen = sorted(first.values())
    return {name: [columns[name][row] for row in chosen] for name in ("corpus", "speaker", "clip_id", "emotion")}


def _path(fields: Sequence[str]) -> str:
    return f"data/{'-'.join(fields)}.parquet"


def _patterns(chosen: Group[Shard], shards: Sequence[Shard]) -> tuple[str, ...]:
    """Return few glob patterns, found greedily, of which each chosen file matches one and no other file any."""
    wanted = {shard.fields for shard in chosen}
    holders: dict[tuple[int, str], set[tuple[str, ...]]] = {}
    for shard in shards:
        for place, value in enumerate(shard.fields):
            holders.setdefault((place, value), set()).add(shard.fields)
    everything: set[tuple[str, ...]] = {shard.fields for shard in shards}
    sound: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for fields in sorted(wanted):
        for pattern in product(*(("*", value) for value in fields)):
            fixed = [holders[place, value] for place, value in enumerate(pattern) if value != "*"]
            matched: set[tuple[str, ...]] = set.intersection(*fixed) if fixed else everything
            if matched <= wanted:
                sound[pattern] = matched
    left: set[tuple[str, ...]] = set(wanted)
    found = []
    while left:
        # Disjoint patterns: `datasets` would read a file twice that two of them match.
        usable = [pattern for pattern in sorted(sound) if sound[pattern] <= left]
        best = max(usable, key=lambda pattern: (len(sound[pattern]), pattern.count("*")))
        found.append(_path(best))
        left -= sound[best]
    return tuple(sorted(found))
