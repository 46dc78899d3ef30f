"""Clips that arrive while training goes on: planned from their metadata, read by row groups, never on the disk.

Threads of each process read ahead; the workers of the loader decode and augment. What a batch holds depends on
seed, epoch and the number of processes, not on the number of workers. Every clip comes once an epoch.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from hf_ser import processes
from hf_ser.audio.augment import Augmentation, augment
from hf_ser.audio.decode import decode
from hf_ser.audio.segment import segments
from hf_ser.dataset.stream import ParquetAudio

__all__ = ["Reading", "StreamedBatches", "StreamedClips", "stream_loader"]

WINDOW_SECONDS = 3000.0
"""Audio that is shuffled, and grouped by length, at a time; a process holds two such windows, encoded: some 200 MB
at 16 kHz and 16 bits, or two row groups where those are larger."""

HEAD_START_SEGMENTS = 50_000
"""The most segments that a streamed run's head starts from, unless the encoder is frozen and meets all of them anyway:
more would say little else, and their pooled features (4 kB each at 1,024 channels) are held in memory."""

NO_ITEM: Final = -1
"""Stands for a segment in a batch of a process that has none left."""
_READERS = 4


class Reading(NamedTuple):
    """One segment on its way to a worker.

    Attributes:
        epoch: For augmentation; None in evaluation.
        item: The segment; -1 stands for none, so that every process takes every step.
        encoded: The clip's file.
    """

    epoch: int | None
    item: int
    encoded: bytes


class StreamedClips(Dataset[dict[str, Any]]):
    """The segments of a part's clips, in the order of the files that hold them.

    Args:
        rows: A part of a `hf_ser.dataset.stream.StreamedSource`.
        audio: Reads its clips.
        segment_seconds: Clips longer than this are cut into segments of exactly this length.
        sampling_rate: In hertz, the encoder's.
        augmentation: Applied to training items only; None leaves the audio as it is.
        seed: Seed of the augmentation.

    Attributes:
        clip_index: `(segments,)` row of `rows` that each segment belongs to.
        lengths: `(segments,)` in samples, before augmentation.
        labels: `(segments,)` label identifiers.
        groups: The segments of each row group.
    """

    def __init__(
        self,
        rows: Any,
        audio: ParquetAudio,
        *,
        segment_seconds: float,
        sampling_rate: int,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        self._audio = audio
        self._rows = rows
        self._clip_ids: list[str] = list(rows["clip_id"])
        self._sampling_rate = sampling_rate
        self._augmentation = augmentation
        self._seed = seed
        self._cut = round(segment_seconds * sampling_rate)
        self._places = list(zip(rows["file"], rows["row_group"], rows["row"], strict=True))
        durations = list(rows["duration"])
        planned = [
            (index, start, stop)
            for index in sorted(range(len(durations)), key=self._places.__getitem__)
            for start, stop in segments(max(1, round(durations[index] * sampling_rate)), self._cut)
        ]
        self._bounds = [(start, stop) for _, start, stop in planned]
        self.lengths = [stop - start for _, start, stop in planned]
        self.clip_index = np.array([index for index, *_ in planned], dtype=np.int64)
        emotions = np.asarray(rows["emotion"])
        self.labels = emotions[self.clip_index] if planned else np.empty(0, dtype=np.int64)
        found: dict[tuple[int, int], list[int]] = {}
        for item, (index, *_) in enumerate(planned):
            found.setdefault(self._places[index][:2], []).append(item)
        self.groups = list(found.values())

    def __len__(self) -> int:
        return len(self._bounds)

    @property
    def is_augmented(self) -> bool:
        """Whether training reads these items augmented."""
        return self._augmentation is not None

    @property
    def sampling_rate(self) -> int:
        """In hertz, the encoder's."""
        return self._sampling_rate

    def sample(self, limit: int) -> StreamedClips:
        """Return the segments of row groups drawn at random, about as many as the limit, or all where there are fewer.

        Args:
            limit: Of the segments.
        """
        order = list(range(len(self.groups)))
        random.Random(f"sample:{self._seed}").shuffle(order)
        clips: list[int] = []
        count = 0
        for group in order:
            if count >= limit:
                break
            clips += sorted({int(self.clip_index[item]) for item in self.groups[group]})
            count += len(self.groups[group])
        if count == len(self):
            return self
        return StreamedClips(
            self._rows.select(clips),
            self._audio,
            segment_seconds=self._cut / self._sampling_rate,
            sampling_rate=self._sampling_rate,
            seed=self._seed,
        )

    def read(self, items: Sequence[int]) -> dict[int, bytes]:
        """Return the encoded clips, by `clip_index`, of segments of one row group."""
        clips = list(dict.fromkeys(int(self.clip_index[item]) for item in items))
        file, group, _ = self._places[clips[0]]
        encoded = self._audio.read(file, group, [self._places[clip][2] for clip in clips])
        return dict(zip(clips, encoded, strict=True))

    def __getitem__(self, key: int | Reading) -> dict[str, Any]:
        """Return a segment; by its number alone it is read now, which suits a few segments."""
        if not isinstance(key, Reading):
            key = Reading(None, key, self.read([key])[int(self.clip_index[key])])
        if key.item == NO_ITEM:
            silence = np.zeros(self._sampling_rate, dtype=np.float32)
            return {"samples": silence, "labels": 0, "training": key.epoch is not None, "reading": key}
        name = self._clip_ids[int(self.clip_index[key.item])]
        samples = decode(key.encoded, self._sampling_rate, name=name)
        start, stop = self._bounds[key.item]
        if len(samples) > self._cut:
            samples = samples[start:stop]
        if self._augmentation is not None and key.epoch is not None:
            samples = augment(
                samples,
                self._sampling_rate,
                self._augmentation,
                seed=self._seed,
                epoch=key.epoch,
                clip_id=f"{name}:{start}",
            )
        label = int(self.labels[key.item])
        # Without the bytes, which the batch no longer needs.
        key = key._replace(encoded=b"")
        return {"samples": samples, "labels": label, "training": key.epoch is not None, "reading": key}


class StreamedBatches(Sampler[list[Reading]]):
    """The batches of one process, as many in every process, read one window ahead.

    Args:
        items: The segments.
        batch_size: Segments a batch.
        seed: Of the order; None keeps the files' order, for evaluation.
        process: Number of this process.
        count: Number of processes.
    """

    def __init__(
        self, items: StreamedClips, batch_size: int, *, seed: int | None, process: int = 0, count: int = 1
    ) -> None:
        self._items = items
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0
        self._shares = self._deal(count)
        self._process = process
        self._sizes = [sum(len(items.groups[group]) for group in share) for share in self._shares]
        self.unread = 0

    def _deal(self, count: int) -> list[list[int]]:
        """Return the row groups of each process: about as many segments for each, the same in every epoch."""
        shares: list[list[int]] = [[] for _ in range(count)]
        sizes = [0] * count
        groups = self._items.groups
        for group in sorted(range(len(groups)), key=lambda group: (-len(groups[group]), group)):
            least = sizes.index(min(sizes))
            shares[least].append(group)
            sizes[least] += len(groups[group])
        return [sorted(share) for share in shares]

    def __len__(self) -> int:
        return -(-max(self._sizes, default=0) // self._batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self._epoch = epoch

    def plan(self) -> list[tuple[list[int], list[list[int]]]]:
        """Return, for each window of this process, its row groups and the batches of segments made of it."""
        generator = random.Random(f"{self._seed}:{self._epoch}")
        groups = list(self._shares[self._process])
        if self._seed is not None:
            generator.shuffle(groups)
        lengths, size = self._items.lengths, self._batch_size
        windows, waiting = list(self._windows(groups)), list[int]()
        planned = []
        for number, window in enumerate(windows):
            ready = waiting + [item for group in window for item in self._items.groups[group]]
            if self._seed is not None:
                generator.shuffle(ready)
            # What is over waits for the next window, so that one batch an epoch is not full: the last.
            over = len(ready) % size
            waiting = ready[:over]
            ready = sorted(ready[over:], key=lengths.__getitem__)
            batches = [ready[begin : begin + size] for begin in range(0, len(ready), size)]
            if self._seed is not None:
                generator.shuffle(batches)
            if number == len(windows) - 1 and waiting:
                batches.append(waiting)
            planned.append((window, batches))
        return planned

    def _windows(self, groups: Sequence[int]) -> Iterator[list[int]]:
        window, seconds = list[int](), 0.0
        for group in groups:
            window.append(group)
            seconds += sum(self._items.lengths[item] for item in self._items.groups[group]) / self._items.sampling_rate
            if seconds >= WINDOW_SECONDS:
                yield window
                window, seconds = [], 0.0
        if window:
            yield window

    def __iter__(self) -> Iterator[list[Reading]]:
        """Yield the batches; the first `unread` of them, which a resumed run passes over, are not read."""
        epoch = None if self._seed is None else self._epoch
        unread, self.unread = self.unread, 0
        planned = self.plan()
        batches = [batch for _, window in planned for batch in window]
        # The segments of a clip share its bytes, which go with the last of them.
        uses = Counter(int(self._items.clip_index[item]) for batch in batches[unread:] for item in batch)
        held: dict[int, bytes] = {}
        step = 0
        with ThreadPoolExecutor(_READERS) as pool:
            coming = self._read_ahead(pool, planned[0][0] if planned else [], uses)
            try:
                for number, (_, window) in enumerate(planned):
                    for future in coming:
                        held |= future.result()
                    coming = self._read_ahead(pool, planned[number + 1][0] if number + 1 < len(planned) else [], uses)
                    for batch in window:
                        if step < unread:
                            yield []
                        else:
                            yield list(self._take(batch, held, uses, epoch))
                        step += 1
            finally:
                for future in coming:
                    future.cancel()
        for _ in range(step, len(self)):
            yield [Reading(epoch, NO_ITEM, b"")]

    def _read_ahead(
        self, pool: ThreadPoolExecutor, groups: Sequence[int], uses: Counter[int]
    ) -> list[Future[dict[int, bytes]]]:
        wanted = [
            [item for item in self._items.groups[group] if uses[int(self._items.clip_index[item])]] for group in groups
        ]
        return [pool.submit(self._items.read, items) for items in wanted if items]

    def _take(
        self, batch: Sequence[int], held: dict[int, bytes], uses: Counter[int], epoch: int | None
    ) -> Iterator[Reading]:
        for item in batch:
            clip = int(self._items.clip_index[item])
            uses[clip] -= 1
            yield Reading(epoch, item, held[clip] if uses[clip] else held.pop(clip))


class _CollateReadings:
    """Collates, and tells what the batch holds and counts.

    Args:
        collate: Makes a batch of items.
    """

    def __init__(self, collate: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> None:
        self._collate = collate

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        readings = [item.pop("reading") for item in items]
        batch = self._collate(items)
        batch["items"] = torch.tensor([reading.item for reading in readings])
        batch["counts"] = (batch["items"] != NO_ITEM).float()
        return batch


class StreamLoader(DataLoader[Any]):
    """A loader that tells its batches their epoch."""

    batch_sampler: Any

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that comes next."""
        self.batch_sampler.set_epoch(epoch)


def stream_loader(
    items: StreamedClips,
    collate: Callable[[list[dict[str, Any]]], dict[str, Any]],
    batch_size: int,
    *,
    seed: int | None,
    **options: Any,
) -> StreamLoader:
    """Return the loader of this process's batches; each also holds its `items` and which of them `counts`.

    Args:
        items: The segments.
        collate: Makes a batch of items.
        batch_size: Segments a batch.
        seed: Of the order; None keeps the files' order, for evaluation.
        **options: Those of `DataLoader`, such as `num_workers`.
    """
    batches = StreamedBatches(items, batch_size, seed=seed, process=processes.rank(), count=processes.count())
    return StreamLoader(items, batch_sampler=batches, collate_fn=_CollateReadings(collate), **options)
