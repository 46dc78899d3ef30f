"""The files of a built data set: which there are, their columns, and the clips in them with unchanged bytes."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Collection as Group
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import filter as matching
from itertools import product
from pathlib import Path
from typing import Any, Final

import pandas
import pyarrow
import pyarrow.parquet
from datasets import Audio, ClassLabel, DatasetInfo, Features, List, Value
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCardData
from tqdm import tqdm

from hf_ser.dataset.splits import FOLDS, PARTS, PROTOCOLS, parts_of, rows_by_part, split
from hf_ser.dataset.votes import VOTE_COLUMNS, VOTE_LABELS
from hf_ser.errors import InputError
from hf_ser.labels import EMOTIONS

_GIVEN: Final = "given"
_WHOLE: Final = "all"

_TEXT: Final = Value("string")

EIGHT_EMOTIONS: Final = Features(
    {
        # The rate of the encoders, on decoding; the stored bytes keep their own rate.
        "audio": Audio(sampling_rate=16_000),
        "emotion": ClassLabel(names=list(EMOTIONS)),
        **dict.fromkeys(("corpus", "speaker", "sex"), _TEXT),
        "age": Value("int32"),
        **dict.fromkeys(("sentence", "intensity"), _TEXT),
        "duration": Value("float64"),
        "sampling_rate": Value("int32"),
        "clip_id": _TEXT,
        "flags": List(_TEXT),
        "provenance": _TEXT,
        **dict.fromkeys(VOTE_COLUMNS, dict.fromkeys(VOTE_LABELS, Value("int32"))),
    }
)
"""The columns of the eight-emotions data set."""

_OWN: Final = ("audio", "emotion", "corpus", "speaker", "sex", "language", "sentence", "duration", "sampling_rate",
               "clip_id", "flags")  # fmt: skip


def own_features(columns: Group[str], labels: Sequence[str]) -> Features:
    """Return the columns of a data set of one's own, of those that it has."""
    kinds = {**EIGHT_EMOTIONS, "emotion": ClassLabel(names=list(labels)), "language": _TEXT}
    return Features({name: kinds[name] for name in _OWN if name in columns or name == "audio"})


def feature_list(features: Features) -> list[dict[str, Any]]:
    """Return columns as the `dataset_info` of a card lists them."""
    card = DatasetCardData()
    DatasetInfosDict(default=DatasetInfo(features=features)).to_dataset_card_data(card)
    # `list` is unknown before `datasets` 4.0.
    return [{"sequence" if key == "list" else key: it for key, it in column.items()}
            for column in card["dataset_info"]["features"]]  # fmt: skip


def schema(features: Features) -> pyarrow.Schema:
    """Return the Arrow schema of the files; `datasets` restores the columns from its metadata."""
    made = features.arrow_schema
    # `List` is unknown before `datasets` 4.0.
    described = made.metadata[b"huggingface"].replace(b'"_type": "List"', b'"_type": "Sequence"')
    return made.with_metadata({"huggingface": described})


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


def plan(
    clips: Mapping[str, Any], wanted: Sequence[str] = tuple(PROTOCOLS), given: Sequence[str] | None = None
) -> Layout:
    """Plan the files and configurations of a data set, given its columns `corpus`, `speaker`, `clip_id`, `emotion`.

    `wanted` are the protocols to have a configuration; `given` the part of each clip where the data came with parts,
    which are then the only ones.
    """
    wanted = [_GIVEN] if given is not None else list(wanted)
    parts = {name: parts_of(clips, name) for name in wanted} if given is None else {_GIVEN: list(given)}
    table = pandas.DataFrame(parts, dtype=object)
    fields = [pandas.Series(list(clips["corpus"]), dtype=object), table[wanted[0]]]
    if given is None:
        fields.append((table[[f"fold_{k}" for k in range(FOLDS)]] == "test").idxmax(axis=1))
    if "paper" in table:
        fields.append("paper_" + table["paper"])
    table["corpus"] = fields[0]
    path = "data/" + fields[0].str.cat(fields[1:], sep="-") + ".parquet"
    # The fields of a path determine the parts in all protocols; otherwise a file would be in two parts.
    if (table.groupby(path).nunique() > 1).any(axis=None):
        raise RuntimeError("clips of different parts have the same file")
    files = {name: rows.tolist() for name, rows in sorted(table.groupby(path).indices.items())}
    of_file = table.groupby(path).first()
    configurations: dict[str, dict[str, list[str]]] = {}
    rows, left_out = {}, {}
    for protocol in wanted:
        try:
            rows[protocol] = split(clips, protocol) if given is None else rows_by_part(given)
        except InputError as error:
            left_out[protocol] = str(error)
        else:
            configurations[protocol] = {part: list(of_file.index[of_file[protocol] == part]) for part in PARTS}
    for corpus in of_file["corpus"].unique():
        configurations[corpus] = {"train": list(of_file.index[of_file["corpus"] == corpus])}
    configurations[_WHOLE] = {"train": list(files)}
    default = wanted[0] if wanted[0] in configurations else _WHOLE
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


_ROWS_OF_A_TABLE: Final = 100
_BYTES_OF_A_TABLE: Final = 1 << 26

_WRITERS: Final = 4
"""Largest number of files written at a time: each needs a table of up to 64 MiB, twice, in memory."""

_AUDIO_BYTES: Final = "audio.bytes"


def write_files(
    clips: pandas.DataFrame,
    layout: Layout,
    folder: Path,
    num_proc: int | None = None,
    features: Features = EIGHT_EMOTIONS,
    read: Callable[[dict[str, Any]], bytes] | None = None,
) -> dict[str, tuple[int, int]]:
    """Write the Parquet files; return the bytes of the columns in memory, and of the file, by path.

    `read` returns the bytes of a clip; by default those of the file in column `path`.
    """
    (folder / "data").mkdir(parents=True)
    progress = tqdm(total=len(clips), desc="Writing Parquet", unit="clip", disable=None)

    def write(path: str) -> tuple[int, int]:
        size = 0
        with _writer(folder / path, schema(features)) as writer:
            for table in tables(clips.iloc[list(layout.files[path])], features, read):
                writer.write_table(table)
                size += table.nbytes
                progress.update(len(table))
        return size, (folder / path).stat().st_size

    # The largest first, so that no thread is left alone with it at the end.
    order = sorted(layout.files, key=lambda path: -len(layout.files[path]))
    with progress, ThreadPoolExecutor(min(num_proc or os.cpu_count() or 1, _WRITERS)) as pool:
        return dict(zip(order, pool.map(write, order), strict=True))


def _writer(path: Path, schema: pyarrow.Schema) -> pyarrow.parquet.ParquetWriter:
    """Open a file; audio is stored as it is, since compression and statistics of it only cost time and space."""
    columns = schema.empty_table().flatten().column_names
    others = [f"{name}.list.element" if name == "flags" else name for name in columns if name != _AUDIO_BYTES]
    return pyarrow.parquet.ParquetWriter(
        path,
        schema,
        compression={**dict.fromkeys(others, "snappy"), _AUDIO_BYTES: "none"},
        use_dictionary=others,
        write_statistics=others,
        # A page ends only after a batch: the default of 1,024 rows would make the whole table one page.
        write_batch_size=8,
    )


def tables(
    clips: pandas.DataFrame, features: Features = EIGHT_EMOTIONS, read: Callable[[dict[str, Any]], bytes] | None = None
) -> Iterator[pyarrow.Table]:
    """Yield clips as tables of at most 100 rows and about 64 MiB, with the unchanged bytes of their files."""
    batch: list[dict[str, Any]] = []
    size = 0
    for clip in clips.astype(object).where(clips.notna(), None).to_dict("records"):
        # Named after the clip: in the published folders of SAVEE, every speaker has a file a01.wav.
        name, suffix = clip["clip_id"], clip["path"].suffix.lower()
        name = name if suffix and name.lower().endswith(suffix) else f"{name}{suffix}"
        row = {"audio": {"bytes": (read or _unchanged)(clip), "path": name}, "flags": list(clip["flags"])}
        row = clip | row | {"emotion": features["emotion"].str2int(clip["emotion"])}
        size += len(row["audio"]["bytes"])
        if batch and (len(batch) == _ROWS_OF_A_TABLE or size > _BYTES_OF_A_TABLE):
            yield pyarrow.Table.from_pylist(batch, schema=schema(features))
            batch, size = [], len(row["audio"]["bytes"])
        batch.append(row)
    if batch:
        yield pyarrow.Table.from_pylist(batch, schema=schema(features))


def _unchanged(clip: Mapping[str, Any]) -> bytes:
    content: bytes = clip["path"].read_bytes()
    if len(content) != clip["size"]:
        raise OSError(f"{clip['path']} changed while it was read")
    return content
