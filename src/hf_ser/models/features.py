"""What the frozen part of a model makes of clips, kept: one pass a clip, whatever the number of epochs and runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hf_ser.cache import ArrayCache, CacheFolder, Share, readable
from hf_ser.models.prefix import Prefix
from hf_ser.models.rewrites import FrontEnd

__all__ = ["FeatureCache"]

logger = logging.getLogger(__name__)


class FeatureCache:
    """States of one frozen part by the keys of clips, on disk, memory-mapped, float32.

    A key says what the clip holds, not which data set it belongs to, so that a data set with one clip more reads
    all others from here.

    Args:
        folder: The caches' folder.
        prefix: The frozen part.
        feature_extractor: Its preprocessor.

    Attributes:
        prefix: The frozen part.
        added: Number of clips that this run, all its processes together, has passed through it.
    """

    def __init__(self, folder: CacheFolder, prefix: Prefix, feature_extractor: Any) -> None:
        self.prefix = prefix
        self.added = 0
        self._folder = folder
        name = f"features/{prefix.stage}-{prefix.fingerprint(feature_extractor)[:32]}"
        self._cache: ArrayCache = folder.open(name, np.float32, "samples")

    def __getstate__(self) -> dict[str, Any]:
        # Worker processes only read; they need no model.
        return {**self.__dict__, "prefix": None, "_folder": None}

    def reserve(self, samples: Sequence[int], what: str) -> bool:
        """Return whether the states of segments of these lengths keep within the folder's limit."""
        return self._folder.reserve(sum(4 * prod(self.prefix.shape(length)) for length in samples), what)

    def read(self, key: str) -> tuple[NDArray[np.float32], int]:
        """Return the states of a clip and its length in samples.

        Raises:
            KeyError: It is not here.
        """
        states, samples = self._cache.read(key)
        return states, int(samples)

    def size(self) -> int:
        """Return the size on disk, in bytes, other data sets' clips included."""
        return self._cache.size()

    def fill(
        self,
        wanted: Sequence[tuple[str, Any]],
        items: Any,
        collate: Callable[[list[Any]], dict[str, torch.Tensor]],
        *,
        batch_size: int,
        workers: int = 0,
        share: Share | None = None,
        description: str = "frozen part, once",
        progress: bool = True,
    ) -> None:
        """Pass the clips that are not here yet through the frozen part.

        Args:
            wanted: Key of each clip and its place in `items`, clips of like lengths side by side.
            items: A map-style data set whose items `collate` turns into a batch.
            collate: Makes a batch of items.
            batch_size: Clips a batch.
            workers: Processes that read and augment.
            share: What the processes of a distributed run share; None for a single process.
            description: What the bar says.
            progress: Whether to show one.

        Raises:
            InputError: The cache cannot be written.
        """
        share = share or Share()
        unique = dict(wanted)

        def missing() -> Sequence[tuple[str, Any]]:
            self._cache.refresh()
            return [entry for entry in unique.items() if entry[0] not in self._cache]

        def make(part: list[tuple[str, Any]]) -> None:
            if part:
                self._pass(part, items, collate, batch_size, workers, description, progress)

        # Counted before any process makes some: `Share.fill` begins when all have come.
        self.added += len(missing())
        share.fill(missing, make)
        if share.local_index == 0:
            self._folder.make_room()
        logger.info("%s: %d clips, %s in the cache", description, len(unique), readable(self.size()))

    def _pass(
        self,
        part: list[tuple[str, Any]],
        items: Any,
        collate: Callable[[list[Any]], dict[str, torch.Tensor]],
        batch_size: int,
        workers: int,
        description: str,
        progress: bool,
    ) -> None:
        from torch.utils.data import DataLoader
        from tqdm.auto import tqdm

        device = next(self.prefix.model.parameters()).device
        places: Any = [place for _, place in part]
        loader: Any = DataLoader(items, batch_size=batch_size, sampler=places, collate_fn=collate, num_workers=workers)
        keys = iter(key for key, _ in part)
        size = 0
        bar = tqdm(total=len(part), desc=description, unit="clip", disable=not progress)
        with bar, self._cache.writer() as add, _exact(), FrontEnd(self.prefix.model).active():
            for batch in loader:
                batch.pop("labels", None)
                mask = batch.get("attention_mask")
                states = self.prefix.run({name: tensor.to(device) for name, tensor in batch.items()})
                samples = [0] * len(states) if mask is None else mask.sum(dim=1).tolist()
                for state, length in zip(states, samples, strict=True):
                    array = state.float().cpu().numpy()
                    add(next(keys), array, length)
                    size += array.nbytes
                bar.set_postfix_str(readable(size), refresh=False)
                bar.update(len(states))


@contextmanager
def _exact() -> Iterator[None]:
    """Switch the shortened numbers off that NVIDIA's matrix units would compute with: this pass comes once."""
    before = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
