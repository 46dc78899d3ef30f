"""Arrays that `Dataset.map` computes once and keeps between runs: decoded audio and frozen states."""

from __future__ import annotations

import hashlib
import json
import logging
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_ser.errors import InputError
from hf_ser.files import cache_folder

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

_FORMAT = 1
"""Raised when the stored form changes, so that no older file is read."""


def digest_of(*facts: Any) -> str:
    """Return a fingerprint of JSON-ready facts, as `Dataset.map` takes it."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def compute_once(
    compute: Callable[[list[int]], Sequence[NDArray[np.float32]]],
    rows: int,
    *,
    folder: str,
    fingerprint: str,
    batch_size: int,
    description: str = "",
) -> Dataset:
    """Return a data set with the float32 array of each row, read from the cache where a run computed it before.

    The file is moved into place when it is complete, so that two runs may compute it at once. Each row has a checksum;
    a damaged file is computed again. `compute` returns the arrays of some row numbers, in ascending order; `folder` is
    within the cache folder, and `fingerprint` covers everything that decides the arrays.
    """
    import datasets
    import pyarrow as pa

    features = datasets.Features(
        {"values": datasets.List(datasets.Value("float32")), "checksum": datasets.Value("uint32")}
    )

    def table(numbers: list[int]) -> pa.Table:
        arrays = [np.ascontiguousarray(array, dtype=np.float32).ravel() for array in compute(numbers)]
        ends = np.cumsum([0, *map(len, arrays)])
        values = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(np.concatenate(arrays)))
        checksums = pa.array([zlib.crc32(array.data) for array in arrays], pa.uint32())
        return pa.Table.from_arrays([values, checksums], schema=features.arrow_schema)

    kept = cache_folder()
    file = None if kept is None else kept / folder / f"{digest_of(fingerprint, _FORMAT)}.arrow"
    made = None if file is None else _opened(file, rows)
    if made is None:
        target: dict[str, Any] = {"keep_in_memory": True} if file is None else {"cache_file_name": str(file)}
        try:
            made = datasets.Dataset.from_dict({"row": np.arange(rows)}).map(
                table,
                input_columns="row",
                batched=True,
                batch_size=batch_size,
                remove_columns="row",
                features=features,
                new_fingerprint=fingerprint,
                load_from_cache_file=False,
                desc=description,
                **target,
            )
        except OSError as error:
            if file is None or error.errno is None:
                raise
            raise InputError(
                f"the cache folder '{kept}' cannot be written ({error.strerror}); free the disk, or set "
                "HF_SER_CACHE to another folder, or to off"
            ) from error
    return made.with_format("arrow")


def row_values(kept: Dataset, row: int) -> NDArray[np.float32]:
    """Return the array of one row of what `compute_once` returned, without copying it."""
    values: NDArray[np.float32] = kept[row]["values"].chunk(0).flatten().to_numpy()
    return values


def row_lengths(kept: Dataset) -> list[int]:
    """Return the length of each row's array."""
    return [length for chunk in kept.data.column("values").chunks for length in chunk.value_lengths().to_pylist()]


def all_values(kept: Dataset) -> NDArray[np.float32]:
    """Return the arrays of all rows, one after another."""
    return np.concatenate([chunk.flatten().to_numpy() for chunk in kept.data.column("values").chunks])


def _opened(file: Path, rows: int) -> Dataset | None:
    """Return what the file holds; None where there is no file or it is damaged."""
    import datasets
    import pyarrow as pa

    if not file.is_file():
        return None
    try:
        kept = datasets.Dataset.from_file(str(file))
        # Damaged offsets would be read outside the file.
        kept.data.validate(full=True)
        values, checksums = kept.data.column("values"), kept.data.column("checksum").to_pylist()
        arrays = (chunk.slice(row, 1).flatten().to_numpy() for chunk in values.chunks for row in range(len(chunk)))
        if len(kept) == rows and all(
            zlib.crc32(array.data) == sum for array, sum in zip(arrays, checksums, strict=True)
        ):
            return kept
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        logger.debug("%s: %s", file, error)
    logger.warning("%s is damaged and is computed again", file)
    return None
