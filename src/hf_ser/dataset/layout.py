"""The files of a built data set: which there are, and their columns. Every protocol is a list of files."""

import json
from collections.abc import Collection as Group
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import filter as matching
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import pandas
import pyarrow

from hf_ser.dataset.splits import FOLDS, PARTS, PROTOCOLS, parts_of, split
from hf_ser.dataset.votes import VOTE_COLUMNS, VOTE_LABELS
from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS

if TYPE_CHECKING:
    from datasets import Features

_DEFAULT: Final = "speaker_independent"
_WHOLE: Final = "all"
# In Hz, on decoding: the rate of the encoders. The stored bytes keep their own rate.
_SAMPLING_RATE: Final = 16_000
_ROWS_OF_A_TABLE: Final = 100
_BYTES_OF_A_TABLE: Final = 1 << 26
_TYPES: Final[dict[str, pyarrow.DataType]] = {
    "audio": pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()}),
    "emotion": pyarrow.int64(),
    "corpus": pyarrow.string(),
    "speaker": pyarrow.string(),
    "sex": pyarrow.string(),
    "age": pyarrow.int32(),
    "sentence": pyarrow.string(),
    "intensity": pyarrow.string(),
    "duration": pyarrow.float64(),
    "sampling_rate": pyarrow.int32(),
    "clip_id": pyarrow.string(),
    "flags": pyarrow.list_(pyarrow.string()),
    "provenance": pyarrow.string(),
    **dict.fromkeys(VOTE_COLUMNS, pyarrow.struct(dict.fromkeys(VOTE_LABELS, pyarrow.int32()))),
}


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


def plan(clips: Mapping[str, Any], wanted: Sequence[str] = tuple(PROTOCOLS)) -> Layout:
    """Plan the files and configurations of a data set, given its columns `corpus`, `speaker`, `clip_id`, `emotion`."""
    table = pandas.DataFrame({name: parts_of(clips, name) for name in wanted}, dtype=object)
    folds = (table[[f"fold_{k}" for k in range(FOLDS)]] == "test").idxmax(axis=1)
    table["corpus"] = list(clips["corpus"])
    path = "data/" + table["corpus"] + "-" + table[_DEFAULT] + "-" + folds + "-paper_" + table["paper"] + ".parquet"
    # The four fields of a path determine the parts in all protocols; otherwise a file would be in two parts.
    if (table.groupby(path).nunique() > 1).any(axis=None):
        raise RuntimeError("clips of different parts have the same file")
    files = {name: rows.tolist() for name, rows in sorted(table.groupby(path).indices.items())}
    of_file = table.groupby(path).first()
    configurations: dict[str, dict[str, list[str]]] = {}
    rows, left_out = {}, {}
    for protocol in wanted:
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


def _value(arrow: pyarrow.DataType) -> dict[str, Any]:
    return {"dtype": "float64" if arrow == pyarrow.float64() else str(arrow), "_type": "Value"}


def _metadata() -> dict[str, Any]:
    """Return the columns as `datasets` describes them in a file, in terms that every release of it reads."""
    return {name: _value(arrow) for name, arrow in _TYPES.items()} | {
        "audio": {"sampling_rate": _SAMPLING_RATE, "_type": "Audio"},
        "emotion": {"names": list(EMOTIONS), "_type": "ClassLabel"},
        # `List` is unknown before `datasets` 4.0.
        "flags": {"feature": _value(pyarrow.string()), "_type": "Sequence"},
        **dict.fromkeys(VOTE_COLUMNS, dict.fromkeys(VOTE_LABELS, _value(pyarrow.int32()))),
    }


def features() -> "Features":
    """Return the columns of the data set."""
    from datasets import Features

    return Features.from_dict(_metadata())


def feature_list() -> list[dict[str, Any]]:
    """Return the columns as the `dataset_info` of a card lists them."""
    special: dict[str, dict[str, Any]] = {
        "audio": {"dtype": {"audio": {"sampling_rate": _SAMPLING_RATE}}},
        # The Hub's schema of cards requires the ids as text.
        "emotion": {"dtype": {"class_label": {"names": {str(k): name for k, name in enumerate(EMOTIONS)}}}},
        "flags": {"sequence": "string"},
    }
    for column in VOTE_COLUMNS:
        # A new list for each column: YAML would refer back to a shared one by an alias.
        special[column] = {"struct": [{"name": label, "dtype": "int32"} for label in VOTE_LABELS]}
    return [{"name": name, **special.get(name, {"dtype": _value(arrow)["dtype"]})} for name, arrow in _TYPES.items()]


def schema() -> pyarrow.Schema:
    """Return the Arrow schema of the files; `datasets` restores the columns from its metadata."""
    return pyarrow.schema(_TYPES, metadata={"huggingface": json.dumps({"info": {"features": _metadata()}})})


def tables(clips: pandas.DataFrame) -> Iterator[pyarrow.Table]:
    """Yield clips as tables of at most 100 rows and about 64 MiB, with the unchanged bytes of their files."""
    batch: list[dict[str, Any]] = []
    size = 0
    for clip in [*clips.to_dict("records"), None]:
        size += clip["size"] if clip else 0
        if batch and (clip is None or len(batch) == _ROWS_OF_A_TABLE or size > _BYTES_OF_A_TABLE):
            yield pyarrow.Table.from_pylist([_row(row) for row in batch], schema=schema())
            batch, size = [], clip["size"] if clip else 0
        batch += [clip] if clip else []


def _row(clip: dict[str, Any]) -> dict[str, Any]:
    content = clip["path"].read_bytes()
    if len(content) != clip["size"]:
        raise OSError(f"{clip['path']} changed while it was read")
    # Named after the clip: in the published folders of SAVEE, every speaker has a file a01.wav.
    audio = {"bytes": content, "path": f"{clip['clip_id']}{clip['path'].suffix.lower()}"}
    return clip | {"audio": audio, "emotion": EMOTIONS.index(clip["emotion"]), "flags": list(clip["flags"])}
