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

_FORMAT = 2
"""Raised when the stored form changes, so that no older file is read."""


def digest_of(*facts: Any) -> str:
    """Return a fingerprint of JSON-ready facts, as `Dataset.map` takes it."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def compute_once(
    compute: Callable[[list[int]], Sequence[NDArray[np.float32]]],
    keys: Sequence[str],
    *,
    folder: str,
    fingerprint: str,
    batch_size: int,
    description: str = "",
) -> Dataset:
    """Return a data set with the float32 array of each key, read from the cache where a run computed it before.

    The file is moved into place when it is complete, so that two runs may compute it at once. Each row has a checksum;
    a damaged file is computed again. Other files of the same fingerprint give the arrays that they have: the parts of
    another split of the same clips are put together from them.

    Args:
        compute: Returns the arrays of some row numbers, in ascending order.
        keys: What a row's array depends on beside the fingerprint, a different key for each row.
        folder: Within the cache folder.
        fingerprint: Covers everything else that decides the arrays.
        batch_size: Rows that are computed together.
        description: For the progress bar.
    """
    import datasets
    import pyarrow as pa

    features = datasets.Features(
        {"values": datasets.List(datasets.Value("float32")), "checksum": datasets.Value("uint32"),
         "key": datasets.Value("string")}
    )  # fmt: skip
    kept = cache_folder()
    place = None if kept is None else kept / folder / digest_of(fingerprint, _FORMAT)
    whole = digest_of(fingerprint, list(keys))
    file = None if place is None else place / f"{whole}.arrow"
    made = None if file is None or not file.is_file() else _opened(file, keys)
    known: dict[str, tuple[Dataset, int]] = {}
    if made is None and place is not None:
        for other in filter(None, (_opened(it) for it in sorted(place.glob("*.arrow")) if it != file)):
            arrow = _as_arrow(other)
            known |= {key: (arrow, row) for row, key in enumerate(other["key"][:])}

    def arrays_of(numbers: list[int]) -> list[NDArray[np.float32]]:
        new = [row for row in numbers if keys[row] not in known]
        computed = dict(zip(new, compute(new) if new else (), strict=True))
        return [computed[row] if row in computed else row_values(*known[keys[row]]) for row in numbers]

    def table(numbers: list[int]) -> pa.Table:
        arrays = [np.ascontiguousarray(array, dtype=np.float32).ravel() for array in arrays_of(numbers)]
        ends = np.cumsum([0, *map(len, arrays)])
        values = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(np.concatenate(arrays)))
        checksums = pa.array([zlib.crc32(array.data) for array in arrays], pa.uint32())
        names = pa.array([keys[row] for row in numbers])
        return pa.Table.from_arrays([values, checksums, names], schema=features.arrow_schema)

    if made is None:
        target: dict[str, Any] = {"keep_in_memory": True} if file is None else {"cache_file_name": str(file)}
        try:
            if place is not None:
                place.mkdir(parents=True, exist_ok=True)
            made = datasets.Dataset.from_dict({"row": np.arange(len(keys))}).map(
                table,
                input_columns="row",
                batched=True,
                batch_size=batch_size,
                remove_columns="row",
                features=features,
                new_fingerprint=whole,
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
    return _as_arrow(made)


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


def _as_arrow(kept: Dataset) -> Dataset:
    return kept.select_columns(["values"]).with_format("arrow")


def _opened(file: Path, keys: Sequence[str] | None = None) -> Dataset | None:
    """Return what the file holds; None if it is damaged, or if there are keys and it has others."""
    import datasets
    import pyarrow as pa

    try:
        kept = datasets.Dataset.from_file(str(file))
        # Damaged offsets would be read outside the file.
        kept.data.validate(full=True)
        values, checksums = kept.data.column("values"), kept.data.column("checksum").to_pylist()
        arrays = (chunk.slice(row, 1).flatten().to_numpy() for chunk in values.chunks for row in range(len(chunk)))
        if (keys is None or kept["key"][:] == list(keys)) and all(
            zlib.crc32(array.data) == sum for array, sum in zip(arrays, checksums, strict=True)
        ):
            return kept
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        logger.debug("%s: %s", file, error)
    if keys is not None:
        logger.warning("%s is damaged and is computed again", file)
    return None
