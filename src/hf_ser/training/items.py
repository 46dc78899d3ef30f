"""Clips as the Trainer reads them: segments, in an order and with augmentation fixed by seed and epoch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from hf_ser.audio.augment import Augmentation, augment, stretched_length
from hf_ser.audio.decode import decode
from hf_ser.audio.segment import segments
from hf_ser.audio.store import SampleStore
from hf_ser.cache import CacheFolder, Share

__all__ = ["ClipItems", "FeatureItems", "store_samples"]


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
        self.longest_lengths = np.ones(len(features), dtype=np.int64)
        self.units_per_second = None
        self.clip_index = items.clip_index
        self.labels = items.labels

    def __len__(self) -> int:
        return len(self.features)

    def epoch_lengths(self, epoch: int) -> np.ndarray:
        """Return `(segments,)` ones: nothing is padded."""
        return self.longest_lengths

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
