"""Many clips through a model: decoded ahead, in batches of like lengths, answered in their own order.

Clips come in windows, so that memory stays bounded however many there are. While the model is at one window,
the next is decoded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from hf_ser.audio.segment import segments
from hf_ser.errors import InputError
from hf_ser.models.parallel import batch_seconds, pass_workers, plan_batches, shared_threads

__all__ = ["Limits", "answers"]

Samples: TypeAlias = npt.NDArray[np.float32]

_WINDOW_CLIPS = 1024
_FIRST_WINDOW_CLIPS = 32
_WINDOW_BATCHES = 32


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

        Example:
            >>> Limits.of(torch.device("cpu"), 16_000, None, equal_lengths=False).batch_samples
            192000
        """
        batch = round(batch_seconds(device) * sampling_rate)
        return cls(batch, _WINDOW_BATCHES * batch, batch_clips, equal_lengths)

    def plan(self, lengths: Sequence[int]) -> list[list[int]]:
        """Return the batches of a window, as positions in `lengths`."""
        samples = self.batch_samples if self.batch_clips is None else None
        return plan_batches(lengths, samples=samples, clips=self.batch_clips, equal_lengths=self.equal_lengths)


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
    workers = pass_workers(device)
    reader = _Reader(clips, read, threads=max(2, min(8, torch.get_num_threads())))
    pool = ThreadPoolExecutor(workers, thread_name_prefix="hf_ser-model")
    try:
        window = reader.window(_FIRST_WINDOW_CLIPS, limits.window_samples)
        while window:
            with shared_threads(workers):
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
    batches = limits.plan([len(piece) for _, piece in pieces])
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
