"""What the Trainer reads: clips or frozen states, batches of them, and their order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import Dataset, Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from hf_ser.errors import InputError
from hf_ser.inference.states import IGNORED_LABEL
from hf_ser.labels import vote_counts


class TrainingClips(Dataset[dict[str, Any]]):
    """The `Segments` of the training part under the keys of `LengthGroupedOrder`."""

    def __init__(self, segments: Any, targets: NDArray[np.float32] | None = None) -> None:
        self._segments, self._targets = segments, targets

    def __len__(self) -> int:
        return len(self._segments)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        """Return a segment as it sounds in an epoch."""
        epoch, index = key
        item: dict[str, Any] = dict(self._segments[epoch, max(index, ~index)])
        if self._targets is not None:
            item["targets"] = self._targets[max(index, ~index)] * (index >= 0)
        if index < 0:
            item["labels"] = IGNORED_LABEL
        return item


@dataclass(frozen=True, slots=True)
class Collators:
    """One collator of two: the items say whether they are for training or for evaluation."""

    training: Any
    evaluation: Any

    def __call__(self, items: Any) -> dict[str, Any]:
        """Return the tensors of a batch; a batch of frozen states is ready as it is."""
        if isinstance(items, Mapping):
            return dict(items)
        batch: dict[str, Any] = (self.training if items[0]["training"] else self.evaluation)(items)
        return batch


class LengthGroupedOrder(Sampler[tuple[int, int]]):
    """Yield `(epoch, index)` in an order that seed and epoch fix, items of a step being of similar length.

    The grouping is that of `transformers`; the steps are then shuffled, except that the one with the longest item
    comes first, so that a lack of memory shows at once. Where several processes share the steps, the last step is
    filled up by keys with a negative index, which `TrainingClips` turns into items without weight in the loss.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        *,
        processes: int = 1,
        accumulation: int = 1,
        seed: int,
        epoch: Callable[[], float],
    ) -> None:
        self._lengths, self._seed, self._epoch = list(lengths), seed, epoch
        self._processes, self._together = processes, batch_size * processes
        self._step = self._together * accumulation

    def __len__(self) -> int:
        if self._processes == 1:
            return len(self._lengths)
        return math.ceil(len(self._lengths) / self._together) * self._together

    def __iter__(self) -> Iterator[tuple[int, int]]:
        # The epoch of a run that was resumed within it is a fraction.
        epoch = math.floor(self._epoch() + 1e-6)
        generator = torch.Generator().manual_seed((self._seed + 0x9E3779B97F4A7C15 * (epoch + 1)) % 2**63)
        grouped = get_length_grouped_indices(self._lengths, self._step, generator=generator)
        # Without its shuffle, the length would fall from step to step, and the labels with it.
        first, whole = grouped[: self._step], len(grouped) // self._step
        places = [1 + place for place in torch.randperm(max(0, whole - 1), generator=generator).tolist()]
        steps = [grouped[place * self._step : (place + 1) * self._step] for place in places]
        order = [*first, *(index for step in steps for index in step), *grouped[max(1, whole) * self._step :]]
        order += [~order[0]] * (len(self) - len(order))
        return iter([(epoch, index) for index in order])


def label_shares(labels: ArrayLike, count: int) -> NDArray[np.float64]:
    """Return the share of each label `(count,)` among some clips."""
    clips = np.bincount(np.asarray(labels), minlength=count)
    shares: NDArray[np.float64] = clips / clips.sum()
    return shares


def balanced_weights(shares: NDArray[np.float64]) -> torch.Tensor:
    """Return a weight for each label, inverse to its share; the mean over the clips is 1."""
    present = shares > 0
    weights = np.zeros(len(shares), dtype=np.float32)
    weights[present] = 1 / (present.sum() * shares[present])
    return torch.from_numpy(weights)


def soft_targets(rows: Any, labels: Sequence[str]) -> NDArray[np.float32]:
    """Return targets `(clips, labels)`: the shares of the listeners' votes where there are any, else the label itself.

    Raises:
        InputError: No clip has votes.
    """
    targets: NDArray[np.float32] = np.eye(len(labels), dtype=np.float32)[rows["emotion"]]
    votes = vote_counts(rows, labels)
    if not votes.any():
        raise InputError(
            "label_scheme 'soft' needs votes of listeners; build the data set with hf-ser build --votes FILE"
        )
    heard = votes.sum(axis=1) > 0
    targets[heard] = votes[heard] / votes[heard].sum(axis=1, keepdims=True)
    return targets
