"""Many clips through a model: decoded ahead, in batches of like lengths, answered in their own order.

Clips come in windows, so that memory stays bounded however many there are. While the model is at one window,
the next is decoded.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from hf_ser.audio.segment import segments
from hf_ser.errors import InputError

__all__ = ["Limits", "answers", "plan_batches"]

Samples: TypeAlias = npt.NDArray[np.float32]

_WINDOW_CLIPS = 1024
_FIRST_WINDOW_CLIPS = 32
# A forward pass holds Python's lock between its operations, so more workers than this only wait for each other.
_MOST_WORKERS = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is taken at a time.

    Attributes:
        batch_samples: Most samples a batch, padding included.
        batch_clips: Segments a batch, in the place of `batch_samples`; None lets the samples decide.
        window_samples: Samples of a window, after which no further clip is added to it.
        equal_lengths: Whether a batch may hold segments of exactly one length only.
    """

    batch_samples: int
    window_samples: int
    batch_clips: int | None = None
    equal_lengths: bool = False

    @classmethod
    def of(cls, device: torch.device, sampling_rate: int, batch_clips: int | None, *, equal_lengths: bool) -> Limits:
        """Return what suits a device.

        A processor works fastest on batches that stay in its cache; an accelerator needs enough at a time.

        Example:
            >>> Limits.of(torch.device("cpu"), 16_000, None, equal_lengths=False).batch_samples
            192000
        """
        batch, window = (12, 400) if device.type == "cpu" else (160, 4000)
        return cls(batch * sampling_rate, window * sampling_rate, batch_clips, equal_lengths)


def plan_batches(lengths: Sequence[int], limits: Limits) -> list[list[int]]:
    """Return the batches, as positions in `lengths`: like lengths together, the longest first.

    Example:
        >>> plan_batches([30, 50, 30, 20], Limits(batch_samples=60, window_samples=0))
        [[1], [0, 2], [3]]
    """
    order = sorted(range(len(lengths)), key=lambda position: (-lengths[position], position))
    batches: list[list[int]] = []
    for position in order:
        batch = batches[-1] if batches else []
        longest = lengths[batch[0]] if batch else 0
        fits = (
            len(batch) < limits.batch_clips
            if limits.batch_clips is not None
            else (len(batch) + 1) * longest <= limits.batch_samples
        )
        if batch and fits and (not limits.equal_lengths or lengths[position] == longest):
            batch.append(position)
        else:
            batches.append([position])
    return batches


class _Threads:
    """Torch's own threads, shared out among workers for as long as any of them works."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = 1

    @contextmanager
    def shared(self, workers: int) -> Iterator[None]:
        """Give each worker its part: two workers of one thread each beat one of two, which waits at every layer."""
        with self._lock:
            if not self._users:
                self._before = torch.get_num_threads()
                torch.set_num_threads(max(1, self._before // workers))
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    torch.set_num_threads(self._before)


_threads = _Threads()


class _Reader:
    """Decodes a few clips ahead, by threads, and hands them out in their order."""

    def __init__(self, clips: Iterable[Any], read: Callable[[int, Any], Samples | InputError], threads: int) -> None:
        self._clips = enumerate(clips)
        self._read = read
        self._ahead: deque[Future[Samples | InputError]] = deque()
        self._most = 2 * threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="hf_ser-decode")

    def window(self, most_clips: int, samples: int) -> list[Samples | InputError]:
        found: list[Samples | InputError] = []
        held = 0
        while len(found) < most_clips and held < samples:
            while len(self._ahead) < self._most and (entry := next(self._clips, None)) is not None:
                self._ahead.append(self._pool.submit(self._read, *entry))
            if not self._ahead:
                break
            found.append(self._ahead.popleft().result())
            held += 0 if isinstance(found[-1], InputError) else len(found[-1])
        return found

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def answers(
    clips: Iterable[Any],
    read: Callable[[int, Any], Samples | InputError],
    score: Callable[[list[Samples]], npt.NDArray[np.float64]],
    *,
    longest: int,
    limits: Limits,
    device: torch.device,
) -> Iterator[npt.NDArray[np.float64] | InputError]:
    """Yield the mean score of each clip's segments `(labels,)`, or why it has none, in the order of the clips.

    Args:
        clips: Taken one by one, in this thread.
        read: Position and clip to samples; called by several threads.
        score: Segments to their scores `(segments, labels)`; called by several threads on a processor.
        longest: A segment's length in samples; longer clips are cut into segments.
        limits: Sizes of batches and windows.
        device: Where the model runs.
    """
    cores = torch.get_num_threads()
    workers = min(cores, _MOST_WORKERS) if device.type == "cpu" else 1
    reader = _Reader(clips, read, threads=max(2, min(8, cores)))
    pool = ThreadPoolExecutor(workers, thread_name_prefix="hf_ser-model")
    try:
        window = reader.window(_FIRST_WINDOW_CLIPS, limits.window_samples)
        while window:
            with _threads.shared(workers):
                running = _start(window, pool, score, longest, limits)
                following = reader.window(_WINDOW_CLIPS, limits.window_samples)
                totals = _finish(window, running)
            # No work is under way while the caller holds the answers: torch's threads are as they were.
            yield from totals
            window = following
    finally:
        pool.shutdown(cancel_futures=True)
        reader.close()


_Running: TypeAlias = list[tuple[list[int], "Future[npt.NDArray[np.float64]]"]]


def _start(
    window: Sequence[Samples | InputError],
    pool: ThreadPoolExecutor,
    score: Callable[[list[Samples]], npt.NDArray[np.float64]],
    longest: int,
    limits: Limits,
) -> _Running:
    pieces = [
        (owner, clip[start:stop])
        for owner, clip in enumerate(window)
        if not isinstance(clip, InputError)
        for start, stop in segments(len(clip), longest)
    ]
    batches = plan_batches([len(piece) for _, piece in pieces], limits)
    return [
        (
            [pieces[position][0] for position in batch],
            pool.submit(score, [pieces[position][1] for position in batch]),
        )
        for batch in batches
    ]


def _finish(window: Sequence[Samples | InputError], running: _Running) -> list[npt.NDArray[np.float64] | InputError]:
    gathered: dict[int, list[npt.NDArray[np.float64]]] = {}
    for owners, future in running:
        for owner, scores in zip(owners, future.result(), strict=True):
            gathered.setdefault(owner, []).append(scores)
    return [
        clip if isinstance(clip, InputError) else np.mean(gathered[owner], axis=0) for owner, clip in enumerate(window)
    ]
