"""Predict any number of clips in bounded memory: in windows, and the next window is decoded while the model works."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hf_ser.errors import InputError

Decoded: TypeAlias = tuple[str, "npt.NDArray[np.float32] | InputError"]
"""What messages call a clip, and its samples or why it has none."""

FIRST_WINDOW_CLIPS = 32
"""A small first window: the model starts early."""
WINDOW_CLIPS = 1024
WINDOW_SECONDS = 640.0


class _Reader:
    """Decodes a few clips ahead in threads and returns them in order; the clips are taken in the caller's thread."""

    def __init__(self, clips: Iterable[Any], decode: Callable[[int, Any], Decoded], samples: int) -> None:
        threads = max(2, min(8, os.cpu_count() or 1))
        self._clips = enumerate(clips)
        self._decode = decode
        self._window_samples = samples
        self._most_ahead = 2 * threads
        self._ahead: deque[Future[Decoded]] = deque()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="hf_ser-decode")

    def window(self, clips: int) -> list[Decoded]:
        """Return the next clips: so many, or fewer where they are long; none at the end."""
        found: list[Decoded] = []
        held = 0
        while len(found) < clips and held < self._window_samples:
            while len(self._ahead) < self._most_ahead and (entry := next(self._clips, None)) is not None:
                self._ahead.append(self._pool.submit(self._decode, *entry))
            if not self._ahead:
                break
            found.append(self._ahead.popleft().result())
            held += 0 if isinstance(found[-1][1], InputError) else len(found[-1][1])
        return found

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def windows(
    clips: Iterable[Any],
    decode: Callable[[int, Any], Decoded],
    score: Callable[[list[npt.NDArray[np.float32]]], npt.NDArray[np.float64]],
    sampling_rate: int,
) -> Iterator[tuple[str, npt.NDArray[np.float64] | InputError]]:
    """Yield the name and the scores of each clip, or why it has none, in order.

    `decode` converts a position and a clip to samples, in several threads; `score` returns the scores of some clips
    `(clips, labels)`, in one other thread.
    """
    reader = _Reader(clips, decode, round(WINDOW_SECONDS * sampling_rate))
    model = ThreadPoolExecutor(1, thread_name_prefix="hf_ser-model")
    try:
        window = reader.window(FIRST_WINDOW_CLIPS)
        while window:
            scoring = model.submit(score, [clip for _, clip in window if not isinstance(clip, InputError)])
            following = reader.window(WINDOW_CLIPS)
            scores = iter(scoring.result())
            for name, clip in window:
                yield name, clip if isinstance(clip, InputError) else next(scores)
            window = following
    finally:
        model.shutdown(cancel_futures=True)
        reader.close()
