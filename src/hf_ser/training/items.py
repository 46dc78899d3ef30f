"""Clips as the Trainer reads them: segments, in an order and with augmentation fixed by seed and epoch."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from hf_ser.audio.augment import Augmentation, augment
from hf_ser.audio.decode import decode
from hf_ser.audio.segment import segments
from hf_ser.audio.store import SampleStore
from hf_ser.cache import CacheFolder, Share

__all__ = ["ClipItems", "FeatureItems", "LengthGroupedEpochs", "store_samples"]


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
        self.clip_index = np.array([index for _, index, *_ in planned], dtype=np.int64)
        emotions = np.asarray(rows["emotion"])
        self.labels = emotions[self.clip_index] if len(planned) else np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._bounds)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Return a segment; `(epoch, item)` asks for that epoch's augmentation."""
        epoch, item = key if isinstance(key, tuple) else (None, key)
        index = int(self.clip_index[item])
        name = self._clip_ids[index]
        start, stop = self._bounds[item]
        samples = self._read(index, start, stop)
        if self._augmentation is not None and epoch is not None:
            samples = augment(
                samples,
                self._sampling_rate,
                self._augmentation,
                seed=self._seed,
                epoch=epoch,
                clip_id=f"{name}:{start}",
            )
        return {"samples": samples, "labels": int(self.labels[item]), "training": epoch is not None}

    def _read(self, index: int, start: int, stop: int) -> np.ndarray:
        sha256 = self._sha256[index]
        if self._store is not None and sha256 in self._store:
            whole = self._store.length(sha256) <= self._cut
            return self._store.read(sha256) if whole else self._store.read(sha256, start, stop)
        samples = decode(self._rows[index]["audio"], self._sampling_rate, name=self._clip_ids[index])
        return samples if len(samples) <= self._cut else samples[start:stop]

    def content_key(self) -> list[str]:
        """Return what the segments hold, in their order: the SHA-256 of each clip's bytes, and the cut."""
        bounds = zip(self.clip_index, self._bounds, strict=True)
        return [
            str(self._sampling_rate),
            *(f"{self._sha256[index]}:{start}:{stop}" for index, (start, stop) in bounds),
        ]

    @property
    def is_augmented(self) -> bool:
        """Whether training reads these items augmented."""
        return self._augmentation is not None


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


class FeatureItems(Dataset[dict[str, Any]]):
    """Pooled features in the place of clips, for a recipe whose encoder is frozen.

    Args:
        features: `(segments, hidden)`, in the order of `items`.
        items: The segments that they were extracted from.
    """

    def __init__(self, features: torch.Tensor, items: ClipItems) -> None:
        self.features = features
        self.lengths = [1] * len(features)
        self.clip_index = items.clip_index
        self.labels = items.labels

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Return the features and label of a segment."""
        item = key[1] if isinstance(key, tuple) else key
        return {"features": self.features[item], "labels": int(self.labels[item])}


def collate_features(items: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Stack `FeatureItems` to features `(batch, hidden)` and labels `(batch,)`."""
    return {
        "features": torch.stack([item["features"] for item in items]),
        "labels": torch.tensor([item["labels"] for item in items]),
    }


class LengthGroupedEpochs(Sampler[tuple[int, int]]):
    """Yield `(epoch, item)` in batches of like lengths, in an order that seed and epoch fix.

    The epoch travels with the item, so that a worker process needs no state of its own: the same item of the
    same epoch is the same whichever worker reads it.

    Args:
        lengths: Length of each item.
        batch_size: Items a batch.
        seed: Seed of the order.

    Example:
        >>> sampler = LengthGroupedEpochs([5, 9, 5, 9], batch_size=2, seed=0)
        >>> sampler.set_epoch(3)
        >>> sorted(sampler)
        [(3, 0), (3, 1), (3, 2), (3, 3)]
    """

    _POOL_BATCHES = 50

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = random.Random(f"{self._seed}:{self._epoch}")
        order = list(range(len(self._lengths)))
        generator.shuffle(order)
        size = self._batch_size * self._POOL_BATCHES
        batches, rest = [], []
        for begin in range(0, len(order), size):
            pool = sorted(order[begin : begin + size], key=lambda item: self._lengths[item])
            cut = [pool[k : k + self._batch_size] for k in range(0, len(pool), self._batch_size)]
            if cut and len(cut[-1]) < self._batch_size:
                rest.extend(cut.pop())
            batches.extend(cut)
        generator.shuffle(batches)
        # The one batch that is not full comes last, since the loader cuts batches by counting.
        for batch in [*batches, rest]:
            for item in batch:
                yield self._epoch, item
