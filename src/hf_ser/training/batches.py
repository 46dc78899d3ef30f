"""Batches of like lengths in an order that stays random: next to no padding, and neighbours that change."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from hf_ser.errors import InputError

__all__ = ["LengthBatches", "padding_share"]

_PADDING = 0.02
"""What shuffling may cost: the order is made as random as this share of padding allows."""

_LEAST_NOISE = 0.02
"""A few clips of very unlike lengths cost more padding, for companions that change."""

_MOST_NOISE = 0.5
_MOST_NOISE_IN_A_BUDGET = 0.03


def padding_share(lengths: Sequence[int] | NDArray[np.int64], batches: Sequence[Sequence[int]]) -> float:
    """Return the share of the batches that is padding when each is padded to its longest item.

    Example:
        >>> padding_share([4, 2, 6], [[0, 1], [2]])
        0.1428571428571429
    """
    lengths = np.asarray(lengths)
    padded = sum(int(lengths[list(batch)].max()) * len(batch) for batch in batches)
    real = sum(int(lengths[list(batch)].sum()) for batch in batches)
    return 1 - real / padded


class LengthBatches(Sampler[list[tuple[int, int]]]):
    """Yield batches of `(epoch, item)`, of like lengths, in an order that seed and epoch alone fix.

    Items are sorted by length after every length was multiplied by a random factor, cut into batches, and the
    batches are shuffled. The factors are as far apart as 2 % of padding allow, so an item meets others of about its
    length, other ones in every epoch. Every item comes once an epoch. The epoch travels with the item, so that a
    worker process needs no state of its own.

    Without a budget, batches hold `batch_size` items or one less, and fewer only where the items do not fill the
    batches they need. In a distributed run each process yields its own batches: those of one step are neighbours
    in length, so that no process waits long for another, and their numbers of items differ by one at most. Where
    that leaves a process without an item, it gets one of the step's items again. Without a budget, the batches that a
    process accumulates for one step of the optimiser are dealt out in the same way, so that neither processes nor
    accumulation change which items make up a step; an epoch of fewer batches than that is one step of what there are.

    Args:
        lengths: `(items,)` length of each item, or a function from the epoch to them.
        batch_size: The most items a batch.
        seed: Seed of the order.
        budget: The most that a batch may hold, padding included, in the unit of the lengths; None counts items
            alone. A longer item has a batch to itself.
        longest: `(items,)` the most that each length may be in any epoch; those of epoch 0 if left out.
        process: Number of this process.
        processes: Processes of the run.
        accumulation: Batches that each process accumulates for a step; with a budget, each is drawn on its own.

    Raises:
        InputError: `batch_size` or `budget` is below 1, or there are no items.

    Example:
        >>> batches = LengthBatches([5, 9, 5, 9], batch_size=2, seed=0)
        >>> batches.set_epoch(3)
        >>> sorted(sorted(batch) for batch in batches)
        [[(3, 0), (3, 2)], [(3, 1), (3, 3)]]
        >>> [len(batch) for batch in LengthBatches([4] * 6, batch_size=9, seed=0, budget=8)]
        [2, 2, 2]
    """

    def __init__(
        self,
        lengths: Sequence[int] | NDArray[np.int64] | Callable[[int], NDArray[np.int64]],
        batch_size: int,
        seed: int,
        *,
        budget: float | None = None,
        longest: Sequence[int] | NDArray[np.int64] | None = None,
        process: int = 0,
        processes: int = 1,
        accumulation: int = 1,
    ) -> None:
        if batch_size < 1 or (budget is not None and budget < 1):
            raise InputError(f"a batch of {batch_size} clips or {budget} samples holds nothing; give more")
        self._lengths = lengths if callable(lengths) else _always(np.asarray(lengths))
        self._seed = seed
        accumulation = min(accumulation, -(-len(self._lengths(0)) // (batch_size * processes)))
        if budget is not None or accumulation < 1:
            accumulation = 1
        # The parts of a step that are this process's.
        self._parts = range(process, processes * accumulation, processes)
        self._epoch = 0
        first = self._lengths(0)
        if not len(first):
            raise InputError("there are no clips to make batches of")
        bound = np.sort(first if longest is None else np.asarray(longest))[::-1]
        limit = _MOST_NOISE if budget is None else _MOST_NOISE_IN_A_BUDGET
        self._noise = limit
        parts = processes * accumulation
        self._steps = _steps(bound, batch_size, budget, parts, limit)
        if self._padding(first) > _PADDING:
            # Bisection: padding grows with the noise, and a dozen halvings are closer than it matters.
            low, high = 0.0, limit
            for _ in range(12):
                self._noise = (low + high) / 2
                low, high = (low, self._noise) if self._padding(first) > _PADDING else (self._noise, high)
            self._noise = max(low, _LEAST_NOISE)
        if budget is not None:
            self._steps = _steps(bound, batch_size, budget, parts, self._noise)

    def _padding(self, lengths: NDArray[np.int64]) -> float:
        ordered = lengths[self._order(lengths, np.random.default_rng(0))]
        ends = np.cumsum([sum(step) for step in self._steps])
        padded = sum(int(part.max()) * len(part) for part in np.split(ordered, ends[:-1]) if len(part))
        return 1 - int(ordered.sum()) / padded

    def _order(self, lengths: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
        factors = generator.uniform(1 - self._noise, 1 + self._noise, len(lengths))
        order: NDArray[np.int64] = np.argsort(-lengths * factors, kind="stable")
        return order

    def __len__(self) -> int:
        return len(self._steps) * len(self._parts)

    @property
    def items(self) -> list[int]:
        """Items of a step, over all processes and accumulated batches, for each step, the longest items first."""
        return [sum(step) for step in self._steps]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self._epoch = epoch

    def plan(self, epoch: int) -> list[list[list[int]]]:
        """Return the items of each step's batches: one for each process, then the next that each accumulates."""
        seed = int.from_bytes(random.Random(f"{self._seed}:{epoch}").randbytes(8), "little")
        generator = np.random.default_rng(seed)
        order = self._order(self._lengths(epoch), generator)
        steps, begin = [], 0
        for sizes in self._steps:
            items = order[begin : begin + sum(sizes)]
            begin += sum(sizes)
            generator.shuffle(items)
            parts = np.split(items, np.cumsum(sizes)[:-1])
            steps.append([(part if len(part) else items[:1]).tolist() for part in parts])
        return [steps[position] for position in generator.permutation(len(steps))]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch = self._epoch
        for step in self.plan(epoch):
            for part in self._parts:
                yield [(epoch, item) for item in step[part]]


def _always(lengths: NDArray[np.int64]) -> Callable[[int], NDArray[np.int64]]:
    return lambda epoch: lengths


def _steps(
    bound: NDArray[np.int64], batch_size: int, budget: float | None, processes: int, noise: float
) -> list[list[int]]:
    """Return how many items each process gets in each step, longest first, the same in every epoch.

    Args:
        bound: `(items,)` the most that the lengths may be, longest first.
        batch_size: The most items a batch.
        budget: The most that a batch may hold, padding included.
        processes: Processes of the run.
        noise: The order is by length times a factor within `1 - noise` to `1 + noise`.
    """
    total = len(bound)
    if budget is None:
        # As even as it goes, so that no few clips make up a step, which would weigh each of them more.
        batches = -(-total // (batch_size * processes)) * processes
        ends = [total * number // batches for number in range(batches + 1)]
        sizes = [end - begin for begin, end in pairwise(ends)]
        return [sizes[first : first + processes] for first in range(0, batches, processes)]
    # No item that the noise can bring to a place or behind it is longer than this: the r-th of the noisy lengths
    # is at most (1 + noise) times the r-th of the true ones.
    most = np.minimum(bound[0], bound * (1 + noise) / (1 - noise))
    totals, end = [], total
    # From the shortest, so that what is left are a few of the longest, whose batches are small anyway.
    while end:
        count = 1
        while (
            count < min(batch_size, end / processes)
            and most[max(0, end - (count + 1) * processes)] * (count + 1) <= budget
        ):
            count += 1
        totals.append(min(count * processes, end))
        end -= totals[-1]
    lacking = processes - totals[-1]
    if lacking > 0 and len(totals) > 1 and totals[-2] - lacking >= processes:
        totals[-2:] = [totals[-2] - lacking, processes]
    return [
        [items // processes + (process < items % processes) for process in range(processes)] for items in totals[::-1]
    ]
