"""A data set too large for the disk: its columns are read at once, its audio while training goes on.

Parquet keeps every column of every row group apart, so all that a split and its proof need is read without a byte
of audio, and audio is read by row groups, from the Hub or a folder, without a copy on the disk.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_ser.dataset.fitness import without_unfit
from hf_ser.dataset.source import (
    LABEL_COLUMNS,
    PART_NAMES,
    SYNTHETIC_MARK,
    Source,
    divided,
    fingerprint_of,
    labels_of,
    proved,
    with_label_ids,
)
from hf_ser.dataset.splits import PROTOCOLS
from hf_ser.errors import InputError
from hf_ser.remote import hub_reason, passes, persistent, waits

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

__all__ = ["ParquetAudio", "StreamedSource", "open_stream"]

logger = logging.getLogger(__name__)

PLACE = ("file", "row_group", "row")
"""The columns that say where a clip's audio lies."""

_PAUSES = (1.0, 4.0, 16.0, 60.0)
_KEPT = ("corpus", "speaker", "clip_id", "duration", "flags", "sentence", "sex")


@dataclass(frozen=True)
class StreamedSource(Source):
    """A `Source` whose parts hold no audio, but the columns `file`, `row_group` and `row` that say where it lies.

    Attributes:
        audio: Reads it.
    """

    audio: ParquetAudio = field(kw_only=True)


class ParquetAudio:
    """The audio of Parquet files, read by row groups; may be sent to other processes.

    Args:
        files: Paths, or addresses that `fsspec` knows, such as `hf://datasets/…`.
        token: For the Hub; None takes the one that is logged in.
    """

    def __init__(self, files: Sequence[str], token: str | bool | None = None) -> None:
        self.files = tuple(files)
        self._token = token
        self._metadata: dict[int, Any] = {}

    @contextmanager
    def _open(self, number: int) -> Iterator[Any]:
        import pyarrow
        import pyarrow.parquet

        name = self.files[number]
        try:
            with self._stream(name) as stream:
                # Read together in few requests what lies together.
                file = pyarrow.parquet.ParquetFile(stream, metadata=self._metadata.get(number), pre_buffer=True)
                self._metadata[number] = file.metadata
                yield file
        except InputError:
            raise
        except pyarrow.ArrowInvalid as error:
            raise InputError(f"{name} is no sound Parquet file ({error}); fetch or build it again") from error
        except Exception as error:
            raise InputError(f"{name} cannot be read: {hub_reason(error)}") from error

    def _stream(self, name: str) -> Any:
        if "://" not in name:
            return Path(name).open("rb")
        import fsspec

        options = {"token": self._token} if self._token is not None and name.startswith("hf://") else {}
        system, path = fsspec.core.url_to_fs(name, **options)
        # Parquet's reader asks for what it needs; reading ahead of it would fetch the audio of other rows.
        return system.open(path, "rb", cache_type="none")

    def schema(self, number: int = 0) -> pa.Schema:
        """Return the columns of a file."""
        with self._open(number) as file:
            return file.schema_arrow

    def columns(self, number: int, names: Sequence[str]) -> pa.Table:
        """Return columns of a file, with `file`, `row_group` and `row`, without reading the others."""
        import numpy as np
        import pyarrow

        def of_file() -> tuple[pa.Table, list[int]]:
            with self._open(number) as file:
                groups = range(file.metadata.num_row_groups)
                sizes = [file.metadata.row_group(group).num_rows for group in groups]
                return file.read(columns=list(names), use_threads=False), sizes

        table, sizes = _patiently(of_file)
        groups = np.repeat(np.arange(len(sizes)), sizes)
        rows = np.concatenate([np.arange(size) for size in [0, *sizes]])
        for name, values in zip(PLACE, (np.full(len(rows), number), groups, rows), strict=True):
            table = table.append_column(name, pyarrow.array(values, pyarrow.int64()))
        return table

    def read(self, number: int, group: int, rows: Sequence[int]) -> list[bytes]:
        """Return the encoded audio of rows of a row group.

        Raises:
            InputError: The file cannot be read, or holds a path where the audio should be.
        """
        import pyarrow

        def of_group() -> pa.Table:
            with self._open(number) as file:
                return file.read_row_group(group, columns=["audio.bytes"], use_threads=False)

        table = _patiently(of_group)
        chosen = table.column("audio").combine_chunks().take(pyarrow.array(rows, pyarrow.int64())).field("bytes")
        if chosen.null_count:
            raise InputError(
                f"{self.files[number]} names audio files instead of holding them; build the data set with hf-ser build"
            )
        encoded: list[bytes] = chosen.to_pylist()
        return encoded


def _patiently(read: Callable[[], Any]) -> Any:
    """Call until it works: a run of days outlives many an answer that did not come."""
    for pause in _PAUSES:
        try:
            return read()
        except InputError as error:
            if not passes(error) or not waits(error, pause):
                raise
    return read()


def open_stream(
    dataset: str | os.PathLike[str],
    protocol: str = "speaker_independent",
    *,
    allow_speaker_overlap: bool = False,
    **options: Any,
) -> StreamedSource:
    """Open a data set in Parquet by all of its columns but the audio, and split it by a protocol.

    Identical samples are not looked for, and the fingerprint is over the clips' identifiers, labels and durations:
    both would take reading the audio.

    Args:
        dataset: A folder or a Hub id, as `hf-ser build` or `push_to_hub` writes it: Parquet files that hold the audio
            and the columns `emotion` (or `label`), `speaker` and `duration` (seconds).
        protocol: One of `hf_ser.dataset.splits.PROTOCOLS`.
        allow_speaker_overlap: Accept parts that share speakers though the protocol is not `paper`.
        **options: Passed on to `datasets` (`revision`, `token`).

    Raises:
        InputError: There is no such data set in Parquet, it lacks a column, or its parts share a speaker.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol '{protocol}' is unknown; choose one of {', '.join(PROTOCOLS)}")
    name = str(dataset)
    found, of_protocol = _files_of(dataset, protocol, options)
    files = list(dict.fromkeys(file for part in found.values() for file in part))
    audio = ParquetAudio(files, options.get("token"))
    tables = {part: _metadata(audio, [files.index(file) for file in names], name) for part, names in found.items()}
    labels = labels_of(list(tables.values()), name)
    columns = {part: with_label_ids(rows, labels) for part, rows in tables.items()}
    parts = divided(columns, name, protocol)
    protocol = protocol if of_protocol or set(columns) == {"train"} else "given"
    left_out: Mapping[str, int] = {}
    if "flags" in parts["train"].column_names:
        parts["train"], left_out = without_unfit(parts["train"], labels)
    else:
        logger.info("%s has no column 'flags': silent and contradictory clips stay in training", name)
    proof = proved(parts, labels, name, protocol, allow_speaker_overlap=allow_speaker_overlap)
    fingerprint = fingerprint_of(parts, labels, content="duration")
    synthetic = (Path(name) / SYNTHETIC_MARK).is_file()
    return StreamedSource(name, protocol, labels, parts, proof, fingerprint, synthetic, left_out, audio=audio)


def _files_of(
    dataset: str | os.PathLike[str], protocol: str, options: Mapping[str, Any]
) -> tuple[dict[str, list[str]], bool]:
    """Return the Parquet files of each part, and whether the parts are those of the protocol."""
    from datasets import get_dataset_config_names, load_dataset_builder

    if not isinstance(dataset, str | os.PathLike):
        raise InputError("streaming reads a folder or a Hub id; a data set in memory is here already: leave it off")
    name = str(dataset)
    is_folder = Path(name).is_dir()
    looks_like_hub_id = name.count("/") == 1 and not name.startswith((".", "/", "~"))
    if not is_folder and not looks_like_hub_id:
        raise InputError(f"data set '{name}': there is no such folder; give a folder with Parquet files, or USER/NAME")
    if is_folder and not any(Path(name).rglob("*.parquet")):
        raise InputError(
            f"data set '{name}' holds no Parquet file to stream; leave streaming off (its files are on this disk), or "
            "build the data set with hf-ser build"
        )
    try:
        configurations = persistent(lambda: get_dataset_config_names(name, **options))
        chosen = next((wanted for wanted in (protocol, "all") if wanted in configurations), None)
        builder = persistent(lambda: load_dataset_builder(name, chosen, **options))
    except (OSError, ValueError, RuntimeError) as error:
        reason = hub_reason(error) if looks_like_hub_id and not is_folder else str(error).strip().splitlines()[0]
        raise InputError(f"data set '{name}': {reason}") from error
    given = dict(builder.config.data_files or {})
    files = {PART_NAMES[str(part)]: [str(file) for file in given[part]] for part in given if str(part) in PART_NAMES}
    if not files or not all(file.endswith(".parquet") for part in files.values() for file in part):
        raise InputError(
            f"data set '{name}' is not stored as Parquet files named after train, validation and test; leave streaming "
            "off, or build it with hf-ser build"
        )
    return files, chosen == protocol


def _metadata(audio: ParquetAudio, numbers: Sequence[int], name: str) -> Dataset:
    """Return a part's columns under the names used here, without its audio."""
    import pyarrow
    from datasets import Dataset, Features, Value
    from datasets.table import InMemoryTable

    schema = audio.schema(numbers[0])
    if "audio" not in schema.names:
        raise InputError(f"data set '{name}' has no column 'audio'; its columns are {', '.join(schema.names)}")
    label = next((column for column in LABEL_COLUMNS if column in schema.names), None)
    if label is None:
        raise InputError(f"data set '{name}' has no labels: no column 'emotion' or 'label'")
    for column, why in (
        ("speaker", "nothing shows that its parts differ in speakers"),
        ("duration", "streaming cannot plan its batches (in seconds)"),
    ):
        if column not in schema.names:
            raise InputError(f"data set '{name}' has no column '{column}', so {why}; add it, or leave streaming off")
    wanted = [label, *(column for column in _KEPT if column in schema.names)]
    if "clip_id" not in schema.names:
        wanted.append("audio.path")
    # From the Hub, each of many small reads is a request of its own to wait for.
    with ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(lambda number: audio.columns(number, wanted), numbers))
    table = pyarrow.concat_tables(tables, promote_options="default")
    columns: dict[str, Any] = {column: table.column(column) for column in table.column_names if column != "audio"}
    columns["emotion"] = columns.pop(label)
    rows = table.num_rows
    if "clip_id" not in columns:
        paths = table.column("audio").combine_chunks().field("path").to_pylist()
        places = zip(*(columns[part].to_pylist() for part in PLACE), strict=True)
        named = [path or f"{file}/{group}/{row}" for path, (file, group, row) in zip(paths, places, strict=True)]
        columns["clip_id"] = pyarrow.array(named, pyarrow.string())
    if "corpus" not in columns:
        columns["corpus"] = pyarrow.array([Path(name).name or "data"] * rows, pyarrow.string())
    columns["speaker"] = columns["speaker"].cast(pyarrow.string())
    plain = pyarrow.table(columns)
    features = Features.from_arrow_schema(plain.schema)
    described = Features.from_arrow_schema(schema)[label]
    if not isinstance(described, Value):
        features["emotion"] = described
    return Dataset(InMemoryTable(plain.cast(features.arrow_schema)))
