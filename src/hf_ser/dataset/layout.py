"""The files of a built data set: every protocol is a list of files, and no clip is stored twice."""

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
    """A file of the data set: clips of one corpus that are in the same part of every protocol.

    Attributes:
        fields: Corpus, part in the default protocol, fold, part in the paper's protocol; they make the name.
        parts: The part of its clips, by protocol.
        rows: Their row indices, ascending.
    """

    fields: tuple[str, str, str, str]
    parts: Mapping[str, str]
    rows: tuple[int, ...]

    @property
    def path(self) -> str:
        """The path of the file in the data set's folder."""
        return _path(self.fields)


@dataclass(frozen=True, slots=True)
class Configuration:
    """A configuration of the published data set: a protocol, a corpus, or `all`.

    Attributes:
        name: Its name.
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
    splits: dict[str, dict[str, tuple[Shard, ...]]] = {}
    rows, left_out = {}, {}
    for protocol in PROTOCOLS:
        try:
            rows[protocol] = split(columns, protocol)
        except InputError as error:
            left_out[protocol] = str(error)
        else:
            splits[protocol] = {part: tuple(it for it in shards if it.parts[protocol] == part) for part in PARTS}
    for corpus in dict.fromkeys(shard.fields[0] for shard in shards):
        splits[corpus] = {"train": tuple(shard for shard in shards if shard.fields[0] == corpus)}
    splits[_WHOLE] = {"train": shards}
    default = DEFAULT_PROTOCOL if DEFAULT_PROTOCOL in splits else _WHOLE
    configurations = tuple(
        Configuration(name, splits[name], {part: _patterns(files, shards) for part, files in splits[name].items()})
        for name in sorted(splits, key=lambda name: name != default)
    )
    return Layout(shards, configurations, rows, left_out)


def _shards(columns: Mapping[str, Sequence[str]]) -> tuple[Shard, ...]:
    """Group the clips by corpus and by their parts in all protocols."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for row, names in enumerate(zip(columns["corpus"], columns["speaker"], columns["clip_id"], strict=True)):
        parts = (assign(*names, protocol) for protocol in PROTOCOLS)
        groups.setdefault((names[0], *parts), []).append(row)
    shards: dict[str, Shard] = {}
    for (corpus, *assigned), members in groups.items():
        parts_of = dict(zip(PROTOCOLS, assigned, strict=True))
        fold = next(k for k in range(FOLDS) if parts_of[f"fold_{k}"] == "test")
        fields = (corpus, parts_of[DEFAULT_PROTOCOL], f"fold_{fold}", f"paper_{parts_of['paper']}")
        # These four fields determine the parts in all protocols; otherwise two groups would have one path.
        if shards.setdefault(_path(fields), shard := Shard(fields, parts_of, tuple(members))) is not shard:
            raise RuntimeError(f"two groups of clips are called {_path(fields)}")
    return tuple(shards[path] for path in sorted(shards))


def _path(fields: Sequence[str]) -> str:
    return f"data/{'-'.join(fields)}.parquet"


def _patterns(chosen: Group[Shard], shards: Sequence[Shard]) -> tuple[str, ...]:
    """Return few glob patterns, found greedily: each chosen file matches exactly one, other files match none."""
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
        # Disjoint patterns: `datasets` would read a file twice that matches two of them.
        usable = [pattern for pattern in sorted(sound) if sound[pattern] <= left]
        best = max(usable, key=lambda pattern: (len(sound[pattern]), pattern.count("*")))
        found.append(_path(best))
        left -= sound[best]
    return tuple(sorted(found))
