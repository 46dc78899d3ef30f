"""Arrays on disk by key: Arrow files that runs and processes share, read through memory maps."""

from __future__ import annotations

import errno
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_ser import processes
from hf_ser.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["ArrayCache", "CacheFolder", "Share"]

logger = logging.getLogger(__name__)

_BATCH_BYTES = 4 << 20
_SHARD_BYTES = 64 << 20
_SHARD_SECONDS = 60.0
"""A file is finished after this time, however small it is: what a kill can cost."""
_ABANDONED_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of a piece of work is this process's.

    Attributes:
        index: Number of this process.
        count: Processes of the run.
        local_index: Number of this process on its machine.
        local_count: Processes of the run on this machine.
        wait: Returns when every process has called it.

    Example:
        >>> Share(index=1, count=3, wait=lambda: None).of([0, 1, 2, 3, 4])
        [1, 4]
    """

    index: int = 0
    count: int = 1
    local_index: int = 0
    local_count: int = 1
    wait: Callable[[], object] = field(default=lambda: None)

    @classmethod
    def of_this_run(cls) -> Share:
        """Return this process's share in a run, whether it is one of several or alone."""
        if processes.count() == 1:
            return cls()
        return cls(
            index=processes.rank(),
            count=processes.count(),
            local_index=int(os.environ.get("LOCAL_RANK", processes.rank())),
            local_count=int(os.environ.get("LOCAL_WORLD_SIZE", processes.count())),
            wait=processes.wait_for_all,
        )

    def of(self, work: Sequence[Any]) -> list[Any]:
        """Return this process's part of some work."""
        return list(work[self.index :: self.count])

    def fill(self, missing: Callable[[], Sequence[Any]], make: Callable[[list[Any]], object]) -> None:
        """Make what is missing, each process its part, and return when all of it is there.

        Args:
            missing: Returns what is not in the cache now, in the same order in every process.
            make: Puts some of it into the cache.
        """
        # All look before any writes, so that all share out the same work.
        self.wait()
        work = missing()
        self.wait()
        make(self.of(work))
        self.wait()
        # Machines without a common disk lack what the others have made.
        make(list(missing()[self.local_index :: self.local_count]))
        self.wait()


class CacheFolder:
    """The folder that holds all of this library's caches, and how large it may grow.

    Args:
        root: The folder.
        gigabytes: Most that it may hold, in 10^9 bytes; what was used longest ago goes first.

    Raises:
        InputError: The size is not above 0.
    """

    def __init__(self, root: Path, gigabytes: float) -> None:
        if not gigabytes > 0:
            raise InputError(f"cache_gigabytes is {gigabytes}; give a size above 0, or switch the caches off")
        self.root = root
        self.limit = int(gigabytes * 1e9)
        self._promised = 0
        self._open: list[ArrayCache] = []

    @classmethod
    def default(cls, gigabytes: float) -> CacheFolder:
        """Return the folder in the Hugging Face cache (`HF_HOME`)."""
        from huggingface_hub.constants import HF_HOME

        return cls(Path(HF_HOME) / "hf_ser", gigabytes)

    def reserve(self, size: int, what: str) -> bool:
        """Return whether `size` more bytes fit beside what this run has reserved; say so where they do not.

        The answer depends on nothing on the disk, so that all processes of a run get the same.
        """
        if self._promised + size > self.limit:
            logger.warning(
                "%s need %s, more than the cache's limit of %s leaves: they are not kept; raise cache_gigabytes "
                "(--cache-gigabytes) to keep them",
                what,
                readable(size),
                readable(self.limit),
            )
            return False
        self._promised += size
        return True

    def open(self, name: str, dtype: Any, fact: str) -> ArrayCache:
        """Open the cache of a name, such as `samples/16000hz`; see `ArrayCache`."""
        cache = ArrayCache(self.root / name, dtype, fact)
        self._open.append(cache)
        return cache

    def make_room(self) -> None:
        """Remove the files that were used longest ago until the rest keep within the limit.

        Files of the caches that this run has opened stay. A process that still reads a removed file keeps it.
        """
        ours = {file for cache in self._open for file in cache.files()}
        found = []
        for file in self.root.rglob("*.arrow"):
            with suppress(FileNotFoundError):
                state = file.stat()
                found.append((state.st_mtime, state.st_size, file))
        excess = sum(size for _, size, _ in found) - self.limit
        for _, size, file in sorted(found):
            if excess <= 0:
                break
            if file not in ours:
                with suppress(FileNotFoundError):
                    file.unlink()
                    excess -= size
        for file in self.root.rglob("*.partial"):
            with suppress(FileNotFoundError):
                if time.time() - file.stat().st_mtime > _ABANDONED_SECONDS:
                    file.unlink()


class ArrayCache:
    """Arrays of one kind by key, in Arrow files that `datasets.Dataset.from_file` opens, too.

    A row holds `key`, the array's `values`, its `shape`, and one more number about it. Writers only ever add
    whole files, so that several processes may write at once and a killed one loses its last file at most.

    Args:
        folder: Where the files lie; made when something is written.
        dtype: Of the values.
        fact: Name of the number that belongs to each array.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> cache = ArrayCache(Path(tempfile.mkdtemp()), np.int16, "scale")
        >>> with cache.writer() as add:
        ...     add("a", np.array([[1, 2], [3, 4]]), 0.5)
        >>> array, scale = cache.read("a")
        >>> array.tolist(), scale, "b" in cache
        ([[1, 2], [3, 4]], 0.5, False)
    """

    def __init__(self, folder: Path, dtype: Any, fact: str) -> None:
        import numpy as np

        self.folder = folder
        self.dtype = np.dtype(dtype)
        self.fact = fact
        self._rows: dict[str, tuple[int, int, int, tuple[int, ...], float]] | None = None
        self._values: list[NDArray[Any]] = []
        self._files: set[Path] = set()

    def __getstate__(self) -> dict[str, Any]:
        # Memory maps do not travel to worker processes; they open the files themselves.
        return {**self.__dict__, "_rows": None, "_values": [], "_files": set()}

    def __contains__(self, key: str) -> bool:
        return key in self._index()

    def __len__(self) -> int:
        return len(self._index())

    def files(self) -> set[Path]:
        """Return the files that are open."""
        self._index()
        return self._files

    def size(self) -> int:
        """Return what the open files hold, in bytes."""
        return sum(file.stat().st_size for file in self.files() if file.exists())

    def shape(self, key: str) -> tuple[int, ...]:
        """Return the shape of an array without reading it."""
        return self._index()[key][3]

    def read(self, key: str) -> tuple[NDArray[Any], float]:
        """Return an array, which must not be written to, and its number.

        Raises:
            KeyError: It is not here.
        """
        view, start, stop, shape, number = self._index()[key]
        return self._values[view][start:stop].reshape(shape), number

    def refresh(self) -> None:
        """Open the files that have come since."""
        rows = self._index()
        for file in sorted(self.folder.glob("*.arrow")):
            if file not in self._files:
                self._open(file, rows)

    def _index(self) -> dict[str, tuple[int, int, int, tuple[int, ...], float]]:
        if self._rows is None:
            self._rows = {}
            self.refresh()
        return self._rows

    def _open(self, file: Path, rows: dict[str, tuple[int, int, int, tuple[int, ...], float]]) -> None:
        import pyarrow as pa

        try:
            table = pa.ipc.open_stream(pa.memory_map(str(file))).read_all()
            if table.schema != self._schema():
                raise pa.ArrowInvalid("it has other columns")
            # What is read now is what was used last.
            os.utime(file)
        except FileNotFoundError:
            return
        except (pa.ArrowInvalid, OSError) as error:
            logger.warning("%s is damaged (%s): what it held is made again", file, error)
            with suppress(FileNotFoundError):
                file.unlink()
            return
        for batch in table.to_batches():
            values = batch.column("values")
            offsets = values.offsets.to_numpy().tolist()
            columns = (batch.column(name).to_pylist() for name in ("key", "shape", self.fact))
            for place, (key, shape, number) in enumerate(zip(*columns, strict=True)):
                rows[key] = (len(self._values), offsets[place], offsets[place + 1], tuple(shape), number)
            self._values.append(values.values.to_numpy(zero_copy_only=True))
        self._files.add(file)

    def _schema(self) -> pa.Schema:
        import pyarrow as pa

        values = pa.list_(pa.from_numpy_dtype(self.dtype))
        return pa.schema({"key": pa.string(), "values": values, "shape": pa.list_(pa.int32()), self.fact: pa.float64()})

    @contextmanager
    def writer(self) -> Iterator[Callable[[str, NDArray[Any], float], None]]:
        """Yield a function that adds `(key, array, number)`; afterwards the arrays can be read.

        Raises:
            InputError: The folder cannot be written, or its disk is full.
        """
        shards = _ShardWriter(self.folder, self._schema(), self.dtype)
        try:
            try:
                yield shards.add
            finally:
                # Also after an interruption: what was made stays.
                shards.finish()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
                raise
            raise InputError(
                f"cache folder '{self.folder}' cannot be written ({os.strerror(error.errno)}); make room there, "
                "set HF_HOME to another disk, or switch the cache off"
            ) from error
        finally:
            shards.abandon()
            self.refresh()


class _ShardWriter:
    """Writes Arrow files of bounded size, each of which appears whole."""

    def __init__(self, folder: Path, schema: pa.Schema, dtype: np.dtype[Any]) -> None:
        self._folder = folder
        self._schema = schema
        self._dtype = dtype
        self._waiting: list[tuple[str, NDArray[Any], float]] = []
        self._waiting_bytes = 0
        self._shard_bytes = 0
        self._begun = time.monotonic()
        self._partial: Path | None = None
        self._writer: Any = None

    def add(self, key: str, array: NDArray[Any], number: float) -> None:
        import numpy as np

        array = np.ascontiguousarray(array, dtype=self._dtype)
        self._waiting.append((key, array, number))
        self._waiting_bytes += array.nbytes
        if self._waiting_bytes >= _BATCH_BYTES:
            self._write()
        if self._shard_bytes >= _SHARD_BYTES or time.monotonic() - self._begun > _SHARD_SECONDS:
            self.finish()

    def _write(self) -> None:
        import numpy as np
        import pyarrow as pa

        if self._writer is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._partial = self._folder / f"{uuid.uuid4().hex}.partial"
            self._writer = pa.ipc.new_stream(str(self._partial), self._schema)
        keys, arrays, numbers = zip(*self._waiting, strict=True)
        offsets = np.cumsum([0, *(array.size for array in arrays)], dtype=np.int32)
        values = pa.ListArray.from_arrays(offsets, np.concatenate([array.reshape(-1) for array in arrays]))
        columns = [keys, values, [array.shape for array in arrays], numbers]
        filled = [
            column if isinstance(column, pa.Array) else pa.array(column, type=field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_batch(pa.record_batch(filled, schema=self._schema))
        self._shard_bytes += self._waiting_bytes
        self._waiting, self._waiting_bytes = [], 0

    def finish(self) -> None:
        if self._waiting:
            self._write()
        if self._writer is not None and self._partial is not None:
            self._writer.close()
            self._partial.replace(self._partial.with_suffix(".arrow"))
        self._writer, self._partial, self._shard_bytes = None, None, 0
        self._begun = time.monotonic()

    def abandon(self) -> None:
        if self._writer is not None and self._partial is not None:
            self._writer.close()
            self._partial.unlink(missing_ok=True)


def readable(size: float) -> str:
    """Return a size in bytes as people read it.

    Example:
        >>> readable(950_000_000), readable(12)
        ('950 MB', '12 B')
    """
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
