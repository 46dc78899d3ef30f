"""Clips as the Trainer reads them: segments, in an order and with augmentation fixed by seed and epoch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from hf_ser.audio.augment import Augmentation, augment, stretched_length
from hf_ser.audio.decode import decode
from hf_ser.audio.segment import segments
from hf_ser.audio.store import SampleStore
from hf_ser.cache import CacheFolder, Share
from hf_ser.errors import InputError
from hf_ser.models.features import FeatureCache

__all__ = ["ClipItems", "PooledItems", "StateItems", "collate_states", "store_samples"]


class ClipItems(Dataset[dict[str, Any]]):
    """The segments of a part's clips, longest first, decoded when they are read.

    Args:
        rows: A part of a `hf_ser.dataset.source.Source`.
        segment_seconds: Clips longer than this are cut into segments of exactly this length.
        sampling_rate: In hertz, the encoder's.
        augmentation: Applied to training items only; None leaves the audio as it is.
        seed: Seed of the augmentation.
        store: Decoded clips; what it lacks is decoded when it is read.

    Attributes:
        clip_index: `(segments,)` row of `rows` that each segment belongs to.
        lengths: `(segments,)` in samples, before augmentation.
        longest_lengths: `(segments,)` the most that augmentation can make of them.
        units_per_second: Of the lengths.
        labels: `(segments,)` label identifiers.
    """

    def __init__(
        self,
        rows: Any,
        *,
        segment_seconds: float,
        sampling_rate: int,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        store: SampleStore | None = None,
    ) -> None:
        self._rows = rows
        self._store = store
        self._sha256: list[str] = list(rows["audio_sha256"])
        self._clip_ids: list[str] = list(rows["clip_id"])
        self._sampling_rate = sampling_rate
        self._augmentation = augmentation
        self._seed = seed
        maximum = round(segment_seconds * sampling_rate)
        planned = [
            (stop - start, index, start, stop)
            for index, seconds in enumerate(rows["duration"])
            for start, stop in segments(max(1, round(seconds * sampling_rate)), maximum)
        ]
        # Longest first: batches of like lengths, and a batch that does not fit fails at once.
        planned.sort(key=lambda entry: (-entry[0], entry[1], entry[2]))
        self._bounds = [(start, stop) for _, _, start, stop in planned]
        self._cut = maximum
        self.lengths = [length for length, *_ in planned]
        slowest = 1.0 if augmentation is None else min(1.0, augmentation.time_stretch_rates[0])
        self.longest_lengths = np.ceil(np.array(self.lengths) / slowest).astype(np.int64)
        self.units_per_second = sampling_rate
        self.clip_index = np.array([index for _, index, *_ in planned], dtype=np.int64)
        self._segments = np.bincount(self.clip_index)[self.clip_index] if planned else self.clip_index
        self._augmentation_key = _augmentation_key(augmentation, seed)
        emotions = np.asarray(rows["emotion"])
        self.labels = emotions[self.clip_index] if len(planned) else np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._bounds)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Return a segment; `(epoch, item)` asks for that epoch's augmentation."""
        epoch, item = key if isinstance(key, tuple) else (None, key)
        index = int(self.clip_index[item])
        start, stop = self._bounds[item]
        samples = self._read(index, start, stop)
        if self._augmentation is not None and epoch is not None:
            samples = augment(
                samples, self._sampling_rate, self._augmentation, self._seed, epoch, clip_id=self._segment_id(item)
            )
        return {"samples": samples, "labels": int(self.labels[item]), "training": epoch is not None}

    def epoch_lengths(self, epoch: int) -> np.ndarray:
        """Return `(segments,)` the lengths that an epoch's augmentation makes, in samples."""
        augmentation = self._augmentation
        if augmentation is None or augmentation.time_stretch_probability == 0:
            return np.asarray(self.lengths)
        stretched = (
            stretched_length(length, augmentation, self._seed, epoch, self._segment_id(item))
            for item, length in enumerate(self.lengths)
        )
        return np.fromiter(stretched, dtype=np.int64, count=len(self.lengths))

    def _segment_id(self, item: int) -> str:
        return f"{self._clip_ids[int(self.clip_index[item])]}:{self._bounds[item][0]}"

    def _read(self, index: int, start: int, stop: int) -> np.ndarray:
        sha256 = self._sha256[index]
        if self._store is not None and sha256 in self._store:
            whole = self._store.length(sha256) <= self._cut
            return self._store.read(sha256) if whole else self._store.read(sha256, start, stop)
        samples = decode(self._rows[index]["audio"], self._sampling_rate, name=self._clip_ids[index])
        return samples if len(samples) <= self._cut else samples[start:stop]

    def key(self, item: int, epoch: int | None = None, minimum: int = 0) -> str:
        """Return what a segment holds, whatever data set it belongs to: file, cut, and augmentation in an epoch.

        Args:
            item: The segment.
            epoch: Pass over the training clips; None for the audio as it is.
            minimum: Shorter segments are extended to this many samples.
        """
        start, stop = self._bounds[item]
        key = self._sha256[int(self.clip_index[item])]
        if self._segments[item] > 1:
            key += f":{start}:{stop}"
        if (view := self.view(epoch)) is not None:
            key += f":{self._augmentation_key}:{view}:{self._segment_id(item)}"
        # Augmentation at most halves a length.
        return f"{key}:{minimum}" if self.lengths[item] < 2 * minimum else key

    def view(self, epoch: int | None) -> int | None:
        """Return which copy of the audio an epoch hears; None for the audio as it is."""
        return None if epoch is None or self._augmentation is None else self._augmentation.view(epoch)

    @property
    def views(self) -> list[int | None]:
        """The epochs whose audio differs: `[None]` without augmentation, empty where every epoch's is new."""
        if self._augmentation is None:
            return [None]
        return [] if self._augmentation.views is None else list(range(self._augmentation.views))


def store_samples(
    parts: Iterable[Any], sampling_rate: int, folder: CacheFolder, *, share: Share, progress: bool = True
) -> SampleStore | None:
    """Decode the clips of all parts into the store, each once.

    Args:
        parts: Those of a `hf_ser.dataset.source.Source`.
        sampling_rate: In hertz, the encoder's.
        folder: The caches' folder.
        share: What the processes of a distributed run share.
        progress: Whether to show a bar.

    Returns:
        The store, or None where the clips do not fit into the folder's limit.

    Raises:
        InputError: A clip cannot be decoded, or the cache cannot be written.
    """
    clips, seconds = {}, 0.0
    for rows in parts:
        columns = (rows["audio_sha256"], rows["clip_id"], rows["duration"])
        for index, (sha256, name, duration) in enumerate(zip(*columns, strict=True)):
            if sha256 not in clips:
                clips[sha256] = (name, partial(_encoded, rows, index))
                seconds += duration
    if not folder.reserve(int(seconds * sampling_rate * 2), "the decoded clips"):
        return None
    store = SampleStore(folder, sampling_rate)
    store.fill(clips, share=share, progress=progress)
    return store


def _encoded(rows: Any, index: int) -> Any:
    return rows[index]["audio"]


def _augmentation_key(augmentation: Augmentation | None, seed: int) -> str:
    if augmentation is None:
        return ""
    from importlib.metadata import version

    # How many copies there are does not change any of them.
    facts = {**dataclasses.asdict(augmentation), "views": None, "seed": seed, "by": version("audiomentations")}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


_Keys: TypeAlias = list[int] | list[tuple[int, int]]


def _places(keys: _Keys | list[int | tuple[int, int]]) -> list[int]:
    """Return the segments that keys ask for, whatever epoch they ask for."""
    return [key[1] if isinstance(key, tuple) else key for key in keys]


class StateItems(Dataset[dict[str, Any]]):
    """What the frozen part of a model made of the segments, in the segments' place.

    Args:
        items: The segments.
        cache: Holds the states of all of them.
        minimum: Shorter segments were extended to this many samples.
    """

    def __init__(self, items: ClipItems, cache: FeatureCache, minimum: int) -> None:
        self._items = items
        self._cache = cache
        self._minimum = minimum
        self._is_pooled = cache.prefix.is_pooled
        self._matrices: dict[int | None, NDArray[np.float32]] = {}
        self.clip_index = items.clip_index
        self.labels = items.labels
        ones = np.ones(len(items), dtype=np.int64)
        self.longest_lengths = ones if self._is_pooled else items.longest_lengths
        self.units_per_second = None if self._is_pooled else items.units_per_second

    def __len__(self) -> int:
        return len(self._items)

    def epoch_lengths(self, epoch: int) -> np.ndarray:
        """Return `(segments,)` lengths in samples; ones where the states are pooled and nothing is padded."""
        return self.longest_lengths if self._is_pooled else self._items.epoch_lengths(epoch)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Return the states, length in samples and label of a segment; `(epoch, item)` asks for an epoch's."""
        epoch, item = key if isinstance(key, tuple) else (None, key)
        try:
            states, samples = self._cache.read(self._items.key(item, epoch, self._minimum))
        except KeyError:
            raise InputError(
                "the cache has lost what the frozen part made of a clip: another run needed its room; raise "
                "cache_gigabytes (--cache-gigabytes) and resume"
            ) from None
        return {"states": states, "samples": 0 if self._is_pooled else samples, "labels": int(self.labels[item])}

    def __getitems__(self, keys: _Keys) -> Any:
        """Return the segments of a batch; pooled states come as `states` `(batch, ...)` and `labels` `(batch,)`.

        A step on pooled states takes a millisecond or two, so that gathering them one by one would be felt.
        """
        if not self._is_pooled:
            return [self[key] for key in keys]
        epoch = keys[0][0] if isinstance(keys[0], tuple) else None
        places = _places(keys)
        return {"states": self.matrix(epoch)[places], "labels": self.labels[places]}

    def matrix(self, epoch: int | None = None) -> NDArray[np.float32]:
        """Return the states of all segments, `(segments, ...)`, as they are or in an epoch; for pooled states."""
        view = self._items.view(epoch)
        if view not in self._matrices:
            self._matrices[view] = np.stack([self[self._place(item, view)]["states"] for item in range(len(self))])
        return self._matrices[view]

    @staticmethod
    def _place(item: int, view: int | None) -> int | tuple[int, int]:
        return item if view is None else (view, item)


class PooledItems(Dataset[dict[str, Any]]):
    """Pooled features in memory in the segments' place: what a frozen encoder made of clips that streamed by.

    Args:
        features: `(segments, hidden)`, in the order of `items`.
        items: The segments.
    """

    units_per_second = None

    def __init__(self, features: torch.Tensor, items: Any) -> None:
        self._features = features.numpy()
        self.clip_index = items.clip_index
        self.labels = items.labels
        self.longest_lengths = np.ones(len(features), dtype=np.int64)

    def __len__(self) -> int:
        return len(self._features)

    def epoch_lengths(self, epoch: int) -> np.ndarray:
        """Return `(segments,)` ones: nothing is padded."""
        return self.longest_lengths

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Return the features and label of a segment, the same in every epoch."""
        (item,) = _places([key])
        return {"states": self._features[item], "samples": 0, "labels": int(self.labels[item])}

    def __getitems__(self, keys: _Keys) -> dict[str, NDArray[Any]]:
        """Return the segments of a batch: `states` `(batch, hidden)` and `labels` `(batch,)`."""
        places = _places(keys)
        return {"states": self._features[places], "labels": self.labels[places]}


def collate_states(items: Sequence[dict[str, Any]] | Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    """Return `states` `(batch, ...)`, padded with zeros, `labels` `(batch,)` and the mask of the clips' samples.

    Args:
        items: Of `StateItems`, one by one or side by side.

    Example:
        >>> frames = [np.ones((2, 3), np.float32), np.ones((1, 3), np.float32)]
        >>> batch = collate_states([{"states": each, "samples": 640, "labels": 1} for each in frames])
        >>> batch["states"].shape, batch["attention_mask"].shape
        (torch.Size([2, 2, 3]), torch.Size([2, 640]))
    """
    if isinstance(items, Mapping):
        return {name: torch.from_numpy(values) for name, values in items.items()}
    states = [item["states"] for item in items]
    if states[0].ndim == 2 and len({len(state) for state in states}) > 1:
        padded = np.zeros((len(states), max(map(len, states)), states[0].shape[1]), dtype=np.float32)
        for row, state in zip(padded, states, strict=True):
            row[: len(state)] = state
    else:
        padded = np.stack(states)
    batch = {"states": torch.from_numpy(padded), "labels": torch.tensor([item["labels"] for item in items])}
    samples = np.array([item["samples"] for item in items])
    if states[0].ndim == 2 and samples.any():
        mask = np.arange(samples.max()) < samples[:, np.newaxis]
        batch["attention_mask"] = torch.from_numpy(mask.astype(np.int32))
    return batch
