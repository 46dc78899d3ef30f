"""Passes through a model on all cores: batches of like lengths, and torch's threads shared out among them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

__all__ = ["batch_seconds", "pass_workers", "plan_batches", "shared_threads"]

# A forward pass holds Python's lock between its operations, so more workers than this only wait for each other.
_MOST_WORKERS = 8


def batch_seconds(device: torch.device) -> float:
    """Return the seconds of audio a batch, padding included, that suit a device.

    A processor works fastest on batches that stay in its cache; an accelerator needs enough at a time.

    Example:
        >>> batch_seconds(torch.device("cpu"))
        12.0
    """
    return 12.0 if device.type == "cpu" else 160.0


def plan_batches(
    lengths: Sequence[int], *, samples: int | None = None, clips: int | None = None, equal_lengths: bool = False
) -> list[list[int]]:
    """Return the batches, as positions in `lengths`: like lengths together, the longest first.

    Args:
        lengths: Of the clips, in samples.
        samples: Most samples a batch, padding included; a clip above that is a batch of its own.
        clips: Most clips a batch.
        equal_lengths: Whether a batch may hold clips of exactly one length only.

    Example:
        >>> plan_batches([30, 50, 30, 20], samples=60)
        [[1], [0, 2], [3]]
    """
    order = sorted(range(len(lengths)), key=lambda position: (-lengths[position], position))
    batches: list[list[int]] = []
    for position in order:
        batch = batches[-1] if batches else []
        longest = lengths[batch[0]] if batch else 0
        fits = (samples is None or (len(batch) + 1) * longest <= samples) and (clips is None or len(batch) < clips)
        if batch and fits and (not equal_lengths or lengths[position] == longest):
            batch.append(position)
        else:
            batches.append([position])
    return batches


def pass_workers(device: torch.device) -> int:
    """Return how many threads should pass batches through a model side by side."""
    return min(torch.get_num_threads(), _MOST_WORKERS) if device.type == "cpu" else 1


class _Threads:
    """Torch's own threads, shared out among workers for as long as any of them works."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = 1

    @contextmanager
    def shared(self, workers: int) -> Iterator[None]:
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


@contextmanager
def shared_threads(workers: int) -> Iterator[None]:
    """Give each worker its part of torch's threads within the block.

    Two workers of one thread each beat one of two, which waits at every layer.
    """
    with _threads.shared(workers):
        yield
