"""The processes of one run, as `torchrun` starts them: who is first, who does what, and how all end together.

Everything works in a single process too, where it costs nothing. Control goes through the key-value store of the
process group, not through its collectives: a wait there has no time limit of its own (the first process may read a
corpus for an hour) and ends as soon as another process fails or dies. Rows of numbers go through gloo. Values are
JSON or tensors; nothing is pickled.

All processes call these functions in the same order.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from hf_ser.errors import InputError

if TYPE_CHECKING:
    import torch

__all__ = [
    "FailedElsewhere",
    "count",
    "first_of_node_first",
    "from_first",
    "gather",
    "gather_rows",
    "is_first",
    "join",
    "merge_rows",
    "rank",
    "share",
    "shows",
    "together",
    "wait_for_all",
]

HEARTBEAT_SECONDS = 3.0
SILENCE_SECONDS = 60.0
"""A process that is waited for and has not been heard of for so long counts as dead."""
LAST_WORD_SECONDS = 10.0
"""How long the others wait to be ended by the launcher, while one says what went wrong."""


class FailedElsewhere(InputError):
    """Another process of the run failed and says why; this one ends without a word of its own."""


def count() -> int:
    """Return the number of processes of this run.

    Example:
        >>> count()
        1
    """
    group = _group()
    return group.get_world_size() if group else _from_environment("WORLD_SIZE", 1)


def rank() -> int:
    """Return this process's number, from 0.

    Example:
        >>> rank()
        0
    """
    group = _group()
    return group.get_rank() if group else _from_environment("RANK", 0)


def is_first() -> bool:
    """Return whether this process is the one that writes, logs and shows bars.

    Example:
        >>> is_first()
        True
    """
    return rank() == 0


def share(items: int) -> range:
    """Return the items that are this process's: every `count()`-th, so that sorted items spread evenly.

    Example:
        >>> list(share(3))
        [0, 1, 2]
    """
    return range(rank(), items, count())


def join() -> None:
    """Meet the other processes, where a launcher started several; later calls do nothing.

    A process group that `TrainingArguments` or the caller made is used as it is. All but the first process
    become quiet: their log keeps errors only.
    """
    if count() == 1:
        return
    import torch

    if not _group():
        if torch.cuda.is_available():
            torch.cuda.set_device(_from_environment("LOCAL_RANK", 0) % torch.cuda.device_count())
        torch.distributed.init_process_group(timeout=timedelta(minutes=30))
        atexit.register(_leave)
    _Control.get()
    if not is_first():
        logging.getLogger("hf_ser").setLevel(logging.ERROR)
        import datasets

        datasets.disable_progress_bars()


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Leave the block in all processes at the same time, or, where one fails in it, with an error in all.

    The process that failed first raises its own error; the others raise `FailedElsewhere` with the same message,
    which prints nothing: one error, one report. Blocks may be nested.

    Raises:
        FailedElsewhere: Another process failed, or died.

    Example:
        >>> with together():
        ...     rows = [index**2 for index in share(3)]
        >>> rows
        [0, 1, 4]
    """
    if count() == 1:
        yield
        return
    join()
    control = _Control.get()
    with control.section():
        try:
            yield
            control.meet()
        except FailedElsewhere:
            raise
        except BaseException as error:
            control.report(error)
            raise


def wait_for_all() -> None:
    """Return when every process has called it, however long that takes; an error in one ends all.

    Example:
        >>> wait_for_all()
    """
    with together():
        pass


def shows(error: BaseException | None = None) -> bool:
    """Return whether this process is the one to show an error; where another is, give it the time to.

    Example:
        >>> shows(InputError("no such folder"))
        True
    """
    # Without a group the processes have not met: what is wrong then is wrong in all of them.
    if not isinstance(error, FailedElsewhere) and (is_first() or _group()):
        return True
    # The launcher ends all as soon as one has ended, be it in the middle of a line.
    time.sleep(LAST_WORD_SECONDS)
    return False


@contextlib.contextmanager
def first_of_node_first() -> Iterator[None]:
    """Let the first process of each machine go through the block before the machine's others do.

    What it downloads or computes lies in the machine's cache when they look for it.

    Example:
        >>> with first_of_node_first():
        ...     found = "computed, or read from the cache"
    """
    if count() == 1:
        yield
        return
    join()
    control = _Control.get()
    leader = rank() - _from_environment("LOCAL_RANK", rank())
    key = f"node/{control.next_number()}/{leader}"
    if rank() != leader:
        control.wait_for([key], [leader])
    yield
    if rank() == leader:
        control.store.set(key, "done")


def gather(value: Any) -> list[Any]:
    """Return the values of all processes, in their order.

    Args:
        value: Anything that JSON holds.

    Example:
        >>> gather({"clips": 3})
        [{'clips': 3}]
    """
    if count() == 1:
        return [value]
    join()
    control = _Control.get()
    number = control.next_number()
    control.store.set(f"value/{number}/{rank()}", json.dumps(value))
    control.meet()
    return [json.loads(control.store.get(f"value/{number}/{process}")) for process in range(count())]


def gather_rows(rows: torch.Tensor, items: int) -> torch.Tensor:
    """Put together what each process computed of its `share`, in the items' order, in every process.

    Args:
        rows: `(len(share(items)), ...)`, on the CPU; of one type and shape of row in all processes.
        items: Number of all items.

    Returns:
        `(items, ...)`.

    Example:
        >>> import torch
        >>> gather_rows(torch.tensor([[1.0], [2.0]]), items=2).tolist()
        [[1.0], [2.0]]
    """
    if len(rows) != len(share(items)):
        raise ValueError(f"process {rank()} has {len(rows)} rows of {items} items, its share is {len(share(items))}")
    if count() == 1 or items == 0:
        return rows
    import torch

    places = torch.tensor(list(share(items)), dtype=torch.int64)
    return merge_rows(places, rows, items)


def merge_rows(places: torch.Tensor, rows: torch.Tensor, items: int) -> torch.Tensor:
    """Put together the rows that each process has of some items, in every process.

    Args:
        places: `(rows,)` the items, int64; every item in exactly one process.
        rows: `(rows, ...)`, on the CPU; of one shape of row in all processes that have any.
        items: Number of all items.

    Returns:
        `(items, ...)`.

    Example:
        >>> import torch
        >>> merge_rows(torch.tensor([1, 0]), torch.tensor([[1.0], [2.0]]), items=2).tolist()
        [[2.0], [1.0]]
    """
    import torch
    import torch.distributed

    if count() == 1:
        whole = rows.new_empty((items, *rows.shape[1:]))
        whole[places] = rows
        return whole
    shapes = gather([len(rows), *rows.shape[1:]])
    row = next((tuple(shape[1:]) for shape in shapes if shape[0]), ())
    longest = max(shape[0] for shape in shapes)
    if not longest:
        return rows.new_empty((0, *row))
    group = _Control.get().cpu_group()
    found = []
    for values, width in ((places, ()), (rows, row)):
        padded = values.new_zeros((longest, *width))
        if len(values):
            padded[: len(values)] = values
        # As bytes: gloo has no 16-bit integers, and no operation is done on the values.
        flat = padded.contiguous().view(torch.uint8).flatten()
        parts = [torch.empty_like(flat) for _ in range(count())]
        torch.distributed.all_gather(parts, flat, group=group)
        found.append([part.view(values.dtype).view(padded.shape) for part in parts])
    whole = rows.new_empty((items, *row))
    for shape, numbers, values in zip(shapes, *found, strict=True):
        whole[numbers[: shape[0]]] = values[: shape[0]]
    return whole


def from_first(tensors: Iterable[torch.Tensor]) -> None:
    """Overwrite tensors by the first process's, in place; as many and of the same shapes in every process.

    Example:
        >>> import torch
        >>> from_first([torch.zeros(2)])
    """
    if count() == 1:
        return
    join()
    import torch
    import torch.distributed

    control = _Control.get()
    control.meet()
    with torch.no_grad():
        for tensor in tensors:
            group = control.cpu_group() if tensor.device.type == "cpu" else None
            # A view of the same memory, where there is one: most are contiguous.
            sent = tensor.detach().contiguous()
            torch.distributed.broadcast(sent, src=0, group=group)
            if sent.data_ptr() != tensor.data_ptr():
                tensor.copy_(sent)


class _Control:
    """Counts, keys and heartbeats in the process group's store."""

    _only: _Control | None = None

    def __init__(self) -> None:
        from torch.distributed.distributed_c10d import _get_default_store

        self._base: Any = _get_default_store()
        self.store = _connection(self._base)
        self._number = 0
        self._sections = 0
        self._depth = 0
        self._cpu_group: Any = None
        self._heard: dict[int, tuple[bytes, float]] = {}
        self._stopped = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()
        previous = sys.excepthook

        def silent_elsewhere(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
            if not issubclass(kind, FailedElsewhere) or shows(error):
                previous(kind, error, traceback)

        sys.excepthook = silent_elsewhere

    @classmethod
    def get(cls) -> _Control:
        from torch.distributed import distributed_c10d

        if cls._only is None or cls._only._base is not distributed_c10d._get_default_store():
            if cls._only is not None:
                cls._only._stopped.set()
            cls._only = cls()
        return cls._only

    def _beat(self) -> None:
        beats = 0
        # At the end of a run the store may be gone first.
        with contextlib.suppress(Exception):
            store = _connection(self._base)
            while not self._stopped.is_set():
                beats += 1
                store.set(f"alive/{rank()}", str(beats))
                self._stopped.wait(HEARTBEAT_SECONDS)

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def cpu_group(self) -> Any:
        """Return a group that carries tensors on the CPU: the default one, or one of gloo beside it."""
        import torch.distributed as distributed

        if self._cpu_group is None:
            backend = str(distributed.get_backend_config())
            self._cpu_group = distributed.group.WORLD if "gloo" in backend else distributed.new_group(backend="gloo")
        return self._cpu_group

    @contextlib.contextmanager
    def section(self) -> Iterator[None]:
        """Count the outermost blocks: a failure belongs to one of them and does not outlive it."""
        outermost = self._depth == 0
        self._sections += outermost
        self._depth += 1
        try:
            with _ends_by_exception() if outermost else contextlib.nullcontext():
                yield
        finally:
            self._depth -= 1

    @property
    def _failure(self) -> str:
        return f"failed/{self._sections}"

    def report(self, error: BaseException) -> None:
        """Say that this process failed; where another was first, raise `FailedElsewhere` instead."""
        message = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        mine = json.dumps({"process": rank(), "message": message})
        try:
            kept = self.store.compare_set(self._failure, "", mine).decode()
        except Exception:
            # The store died with the process that held it; the launcher reports that one.
            kept = json.dumps({"process": -1, "message": "the first process died"})
        if isinstance(error, Exception) and json.loads(kept)["process"] != rank():
            raise FailedElsewhere(json.loads(kept)["message"]) from error

    def meet(self) -> None:
        """Wait until all processes are here."""
        number = self.next_number()
        self.store.set(f"here/{number}/{rank()}", "1")
        others = [process for process in range(count()) if process != rank()]
        self.wait_for([f"here/{number}/{process}" for process in others], others)
        # The first process may hold the store, so it leaves last.
        if is_first():
            self.wait_for([f"gone/{number}/{process}" for process in others], others)
        else:
            self.store.set(f"gone/{number}/{rank()}", "1")

    def wait_for(self, keys: Sequence[str], processes: Sequence[int]) -> None:
        """Wait until the keys are set by the processes, as long as they live.

        Raises:
            FailedElsewhere: One of the run's processes failed or died.
        """
        pause, begin = 0.001, time.monotonic()
        while not self.store.check(list(keys)):
            if self._depth and self.store.check([self._failure]):
                raise FailedElsewhere(json.loads(self.store.get(self._failure))["message"])
            missing = [process for key, process in zip(keys, processes, strict=True) if not self.store.check([key])]
            for process in missing:
                if self._silence(process, begin) > SILENCE_SECONDS:
                    self._give_up(process)
            time.sleep(pause)
            pause = min(2 * pause, 0.1)

    def _silence(self, process: int, begin: float) -> float:
        """Return for how many seconds a process has not been heard of."""
        key, now = f"alive/{process}", time.monotonic()
        beat = self.store.get(key) if self.store.check([key]) else b""
        if self._heard.get(process, (b"", 0.0))[0] != beat:
            self._heard[process] = (beat, now)
        return now - max(begin, self._heard.get(process, (b"", begin))[1])

    def _give_up(self, process: int) -> NoReturn:
        raise InputError(
            f"process {process} of {count()} has not been heard of for {SILENCE_SECONDS:g} s: it died or hangs; "
            "look at what it wrote last and start the run again"
        )


def _connection(store: Any) -> Any:
    """Return a connection of its own to the process group's store, for one thread."""
    from torch.distributed.distributed_c10d import PrefixStore

    return PrefixStore("hf_ser", store.clone())


@contextlib.contextmanager
def _ends_by_exception() -> Iterator[None]:
    """Turn the launcher's SIGTERM into an exception, so that what the block holds open is put in order."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def leave(number: int, frame: Any) -> NoReturn:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _group() -> Any:
    """Return `torch.distributed` where a process group is up, without importing torch for the question."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed
    return None


def _from_environment(name: str, otherwise: int) -> int:
    # As accelerate does: RANK alone is set by many a scheduler for reasons of its own.
    if int(os.environ.get("LOCAL_RANK", "-1")) < 0:
        return otherwise
    return int(os.environ.get(name, str(otherwise)))


def _leave() -> None:
    group = _group()
    if group:
        group.destroy_process_group()
