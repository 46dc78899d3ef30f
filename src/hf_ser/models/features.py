"""What the frozen part of a model makes of clips, kept: one pass a clip, whatever the number of epochs and runs."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hf_ser.cache import ArrayCache, CacheFolder, Share, readable
from hf_ser.models.encoders import depends_on_padding
from hf_ser.models.parallel import batch_seconds, pass_workers, plan_batches, shared_threads
from hf_ser.models.prefix import FEATURES, Prefix
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
        self._sampling_rate = int(feature_extractor.sampling_rate)
        name = f"features/{prefix.stage}-{prefix.fingerprint(feature_extractor)[:32]}"
        self._cache: ArrayCache = folder.open(name, np.float32, "samples")

    def __getstate__(self) -> dict[str, Any]:
        # Worker processes only read; they need no model.
        return {**self.__dict__, "prefix": None, "_folder": None}

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
        wanted: Sequence[tuple[str, Any, int]],
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
            wanted: Key of each clip, its place in `items`, and its length in samples at most.
            items: A map-style data set whose items `collate` turns into a batch.
            collate: Makes a batch of items.
            batch_size: Clips a batch, at most.
            workers: Processes that read and augment.
            share: What the processes of a distributed run share; None for a single process.
            description: What the bar says.
            progress: Whether to show one.

        Raises:
            InputError: The cache cannot be written.
        """
        share = share or Share()
        unique = {entry[0]: entry for entry in wanted}

        def missing() -> Sequence[tuple[str, Any, int]]:
            self._cache.refresh()
            return [entry for key, entry in unique.items() if key not in self._cache]

        def make(part: list[tuple[str, Any, int]]) -> None:
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
        part: list[tuple[str, Any, int]],
        items: Any,
        collate: Callable[[list[Any]], dict[str, torch.Tensor]],
        batch_size: int,
        workers: int,
        description: str,
        progress: bool,
    ) -> None:
        from torch.utils.data import DataLoader
        from tqdm.auto import tqdm

        prefix = self.prefix
        device = next(prefix.model.parameters()).device
        longest = round(batch_seconds(device) * self._sampling_rate)
        planned = plan_batches([length for *_, length in part], samples=longest, clips=batch_size)
        places: Any = [[part[position][1] for position in batch] for batch in planned]
        keys = iter([part[position][0] for batch in planned for position in batch])
        loader: Any = DataLoader(items, batch_sampler=places, collate_fn=collate, num_workers=workers)
        front_end, threads = FrontEnd(prefix.model), pass_workers(device)
        # The convolutions alone are not told how long each clip is.
        heeds_lengths = front_end.applies and prefix.stage != FEATURES
        together = heeds_lengths or not depends_on_padding(prefix.model.config)

        def run(batch: dict[str, torch.Tensor]) -> list[tuple[NDArray[np.float32], int]]:
            batch.pop("labels", None)
            mask = batch.get("attention_mask")
            states = prefix.states({name: tensor.to(device) for name, tensor in batch.items()}, together=together)
            samples = [0] * len(states) if mask is None else mask.sum(dim=1).tolist()
            return [(state.float().cpu().numpy(), length) for state, length in zip(states, samples, strict=True)]

        size = 0
        bar = tqdm(total=len(part), desc=description, unit="clip", disable=not progress)
        with (
            bar,
            self._cache.writer() as add,
            _exact(),
            front_end.active(),
            prefix.ready(),
            shared_threads(threads),
            ThreadPoolExecutor(threads, thread_name_prefix="hf_ser-model") as pool,
        ):
            for made in _in_turn(pool, run, loader, ahead=threads + 1):
                for array, length in made:
                    add(next(keys), array, length)
                    size += array.nbytes
                bar.set_postfix_str(readable(size), refresh=False)
                bar.update(len(made))


def _in_turn(pool: Executor, run: Callable[[Any], Any], batches: Iterable[Any], ahead: int) -> Iterator[Any]:
    """Yield what the pool's threads make of the batches, in their order; the next ones are read meanwhile."""
    pending: deque[Future[Any]] = deque()
    for batch in batches:
        pending.append(pool.submit(run, batch))
        if len(pending) > ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


@contextmanager
def _exact() -> Iterator[None]:
    """Switch the shortened numbers off that NVIDIA's matrix units would compute with: this pass comes once."""
    before = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
