"""Write the clips of a data set into its Parquet files, with the unchanged bytes of their audio."""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pandas
import pyarrow
import pyarrow.parquet
from tqdm import tqdm

from hf_ser.dataset.layout import EIGHT_EMOTIONS, Form, Layout

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
    form: Form = EIGHT_EMOTIONS,
    read: Callable[[dict[str, Any]], bytes] | None = None,
) -> dict[str, tuple[int, int]]:
    """Write the Parquet files; return the bytes of the columns in memory, and of the file, by path.

    `read` returns the bytes of a clip; by default those of the file in column `path`.
    """
    (folder / "data").mkdir(parents=True)
    progress = tqdm(total=len(clips), desc="Writing Parquet", unit="clip", disable=None)

    def write(path: str) -> tuple[int, int]:
        size = 0
        with _writer(folder / path, form.schema()) as writer:
            for table in tables(clips.iloc[list(layout.files[path])], form, read):
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
    clips: pandas.DataFrame, form: Form = EIGHT_EMOTIONS, read: Callable[[dict[str, Any]], bytes] | None = None
) -> Iterator[pyarrow.Table]:
    """Yield clips as tables of at most 100 rows and about 64 MiB, with the unchanged bytes of their files."""
    batch: list[dict[str, Any]] = []
    size = 0
    for clip in clips.astype(object).where(clips.notna(), None).to_dict("records"):
        row = _row(clip, (read or _unchanged)(clip), form)
        size += len(row["audio"]["bytes"])
        if batch and (len(batch) == _ROWS_OF_A_TABLE or size > _BYTES_OF_A_TABLE):
            yield pyarrow.Table.from_pylist(batch, schema=form.schema())
            batch, size = [], len(row["audio"]["bytes"])
        batch.append(row)
    if batch:
        yield pyarrow.Table.from_pylist(batch, schema=form.schema())


def _unchanged(clip: Mapping[str, Any]) -> bytes:
    content: bytes = clip["path"].read_bytes()
    if len(content) != clip["size"]:
        raise OSError(f"{clip['path']} changed while it was read")
    return content


def _row(clip: dict[str, Any], content: bytes, form: Form) -> dict[str, Any]:
    # Named after the clip: in the published folders of SAVEE, every speaker has a file a01.wav.
    suffix = clip["path"].suffix.lower()
    name = clip["clip_id"] if suffix and clip["clip_id"].lower().endswith(suffix) else f"{clip['clip_id']}{suffix}"
    audio = {"bytes": content, "path": name}
    return clip | {"audio": audio, "emotion": form.labels.index(clip["emotion"]), "flags": list(clip["flags"])}
