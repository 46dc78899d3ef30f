"""The files of a built data set: every protocol is a list of files, and no clip is stored twice."""

from collections.abc import Collection as Group
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import filter as matching
from itertools import product
from typing import Any, Final

import pandas

from hf_ser.dataset.splits import FOLDS, PARTS, PROTOCOLS, assign, split
from hf_ser.errors import InputError

__all__ = ["Layout", "patterns", "plan"]

_DEFAULT: Final = "speaker_independent"
_WHOLE: Final = "all"


@dataclass(frozen=True, slots=True)
class Layout:
    """The files and configurations of a data set.

    Attributes:
        files: Row indices of the clips in each file, by path, sorted. The clips of a file are of one corpus and in the
            same part of every protocol: corpus, default part, fold and part in the paper's protocol name it.
        configurations: Paths of each split by configuration (a protocol, a corpus or `all`), the default one first.
        rows: Row indices of each part by protocol, for the protocols that the clips allow.
        left_out: Why a protocol has no configuration, by protocol.
    """

    files: Mapping[str, Sequence[int]]
    configurations: Mapping[str, Mapping[str, Sequence[str]]]
    rows: Mapping[str, Mapping[str, Sequence[int]]]
    left_out: Mapping[str, str]


def plan(clips: Mapping[str, Any]) -> Layout:
    """Plan the files and configurations of a data set, given its columns `corpus`, `speaker`, `clip_id`, `emotion`."""
    named = list(zip(clips["corpus"], clips["speaker"], clips["clip_id"], strict=True))
    table = pandas.DataFrame({name: [assign(*names, name) for names in named] for name in PROTOCOLS}, dtype=object)
    folds = (table[[f"fold_{k}" for k in range(FOLDS)]] == "test").idxmax(axis=1)
    table["corpus"] = [corpus for corpus, *_ in named]
    path = "data/" + table["corpus"] + "-" + table[_DEFAULT] + "-" + folds + "-paper_" + table["paper"] + ".parquet"
    # The four fields of a path determine the parts in all protocols; otherwise a file would be in two parts.
    if (table.groupby(path).nunique() > 1).any(axis=None):
        raise RuntimeError("clips of different parts have the same file")
    files = {name: rows.tolist() for name, rows in sorted(table.groupby(path).indices.items())}
    of_file = table.groupby(path).first()
    configurations: dict[str, dict[str, list[str]]] = {}
    rows, left_out = {}, {}
    for protocol in PROTOCOLS:
        try:
            rows[protocol] = split(clips, protocol)
        except InputError as error:
            left_out[protocol] = str(error)
        else:
            configurations[protocol] = {part: list(of_file.index[of_file[protocol] == part]) for part in PARTS}
    for corpus in of_file["corpus"].unique():
        configurations[corpus] = {"train": list(of_file.index[of_file["corpus"] == corpus])}
    configurations[_WHOLE] = {"train": list(files)}
    default = _DEFAULT if _DEFAULT in configurations else _WHOLE
    return Layout(files, {default: configurations[default]} | configurations, rows, left_out)


def patterns(chosen: Group[str], files: Group[str]) -> list[str]:
    """Return few glob patterns, found greedily: each chosen file matches exactly one, other files match none."""
    left, sound = set(chosen), dict[str, set[str]]()
    for path in chosen:
        fields = path.removeprefix("data/").removesuffix(".parquet").split("-")
        for pattern in product(*(("*", value) for value in fields)):
            name = f"data/{'-'.join(pattern)}.parquet"
            if name not in sound and (matched := set(matching(files, name))) <= left:
                sound[name] = matched
    found: list[str] = []
    while left:
        # Disjoint patterns: `datasets` would read a file twice that matches two of them.
        usable = [name for name in sorted(sound) if sound[name] <= left]
        found.append(max(usable, key=lambda name: (len(sound[name]), name.count("*"))))
        left -= sound[found[-1]]
    return sorted(found)
