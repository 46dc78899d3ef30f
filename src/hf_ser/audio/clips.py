"""The segments of a data set's clips, as a PyTorch data set: decoded once, cut and augmented when they are read."""

from __future__ import annotations

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hf_ser.audio.augment import Augmentation, augment
from hf_ser.audio.decode import decode
from hf_ser.audio.kept import compute_once, digest_of, row_lengths, row_values
from hf_ser.audio.segment import segments
from hf_ser.files import cache_folder

_CLIPS_AT_ONCE = 16


class Segments(torch.utils.data.Dataset[dict[str, Any]]):
    """The segments of clips, in the order of the rows.

    Decoded clips are kept as float32 in the folder of `hf_ser.files.cache_folder`, memory-mapped and shared by runs;
    where nothing is kept, a clip is decoded whenever it is read.

    Args:
        rows: A part of a `hf_ser.dataset.source.Source`.
        sampling_rate: The encoder's, in hertz.
        segment_seconds: Longer clips are cut into segments of exactly this length.
        augmentation: Applied to items that are read for an epoch; None leaves the audio as it is.
        seed: Seed of the augmentation.

    Attributes:
        clip_index: `(segments,)` row that each segment belongs to.
        lengths: Length of each segment in samples, before augmentation.
        labels: `(segments,)` label identifiers.
        keys: Identifies the audio of each segment: SHA-256 of the file, and bounds in samples.
    """

    def __init__(
        self,
        rows: Any,
        *,
        sampling_rate: int,
        segment_seconds: float,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        self._rows, self._sampling_rate = rows, sampling_rate
        self._augmentation, self._seed = augmentation, seed
        self._clip_ids = list(rows["clip_id"])
        self._kept: Any = None
        sha256 = list(rows["audio_sha256"])
        if cache_folder() is None or not sha256:
            clip_lengths = [len(self._decoded(row)) for row in range(len(sha256))]
        else:
            self._kept = compute_once(
                self._decode_all,
                sha256,
                folder="audio",
                fingerprint=digest_of(sampling_rate, [version(name) for name in ("soundfile", "soxr")]),
                batch_size=_CLIPS_AT_ONCE,
                description="Decoding audio",
            )
            clip_lengths = row_lengths(self._kept)
        maximum = max(1, round(segment_seconds * sampling_rate))
        planned = [
            (row, start, stop) for row, length in enumerate(clip_lengths) for start, stop in segments(length, maximum)
        ]
        self._bounds = [(start, stop) for _, start, stop in planned]
        self.lengths = [stop - start for start, stop in self._bounds]
        self.clip_index: NDArray[np.int64] = np.array([row for row, *_ in planned], dtype=np.int64)
        self.labels: NDArray[np.int64] = np.asarray(rows["emotion"], dtype=np.int64)[self.clip_index]
        self.keys = [f"{sha256[row]}:{start}:{stop}" for row, start, stop in planned]

    def _decoded(self, row: int) -> NDArray[np.float32]:
        return decode(self._rows[row]["audio"], self._sampling_rate, name=self._clip_ids[row])

    def _decode_all(self, rows: list[int]) -> list[NDArray[np.float32]]:
        # libsndfile and soxr release the interpreter's lock, so threads are enough.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(self._decoded, rows))

    def __len__(self) -> int:
        return len(self._bounds)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Return `samples` `(samples,)`, `labels` (an integer), and `training`: whether the key is `(epoch, index)`.

        Such a key asks for the segment with that epoch's augmentation.
        """
        epoch, index = key if isinstance(key, tuple) else (None, key)
        row, (start, stop) = int(self.clip_index[index]), self._bounds[index]
        samples = (self._decoded(row) if self._kept is None else row_values(self._kept, row))[start:stop]
        if self._augmentation is not None and epoch is not None:
            name = f"{self._clip_ids[row]}:{start}"
            samples = augment(samples, self._sampling_rate, self._augmentation, self._seed, epoch, clip_id=name)
        return {"samples": samples, "labels": int(self.labels[index]), "training": epoch is not None}

    def epoch_key(self, epoch: int | None) -> str:
        """Return what an epoch's augmentation depends on beside `keys`; epochs that hear the same audio agree."""
        if epoch is None or self._augmentation is None:
            return ""
        facts = {**dataclasses.asdict(self._augmentation), "views": None}
        return digest_of(facts, self._seed, self._augmentation.view(epoch), self._clip_ids, version("audiomentations"))
