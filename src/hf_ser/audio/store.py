"""Decoded audio on disk: every clip is decoded and resampled once, whatever the number of epochs and runs."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from hf_ser.audio.decode import AudioSource, decode
from hf_ser.cache import ArrayCache, CacheFolder, Share, readable

__all__ = ["SampleStore", "from_16_bit", "to_16_bit"]

logger = logging.getLogger(__name__)

_FORMAT = 1
"""Counted up when `decode` or the stored form changes, so that nothing old is read."""


def to_16_bit(samples: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int16], float]:
    """Return samples as 16-bit integers and the scale that turns them back.

    Samples that are 16-bit integers over 32768, as those of any 16-bit file at its own rate, come back bit for
    bit. Others are scaled by the clip's own peak, so that a quiet clip keeps as many bits as a loud one: no
    sample is further off than 1/65000 of that peak, 96 dB below it.

    Args:
        samples: float32, shape `(samples,)`, finite.

    Example:
        >>> to_16_bit(np.array([0.5, -1.0], np.float32))
        (array([ 16384, -32768], dtype=int16), 3.0517578125e-05)
    """
    whole = samples * np.float32(32768)
    if (np.rint(whole) == whole).all() and whole.min() >= -32768 and whole.max() <= 32767:
        return whole.astype(np.int16), 1 / 32768
    scale = np.float32(np.abs(samples).max() / 32767)
    # A peak so small that its scale is no longer a normal number would be rounded away.
    scale = max(scale, np.finfo(np.float32).tiny)
    return np.clip(np.rint(samples / scale), -32768, 32767).astype(np.int16), float(scale)


def from_16_bit(stored: npt.NDArray[np.int16], scale: float) -> npt.NDArray[np.float32]:
    """Return the samples that `to_16_bit` stored.

    Example:
        >>> from_16_bit(*to_16_bit(np.array([0.5, -1.0], np.float32))).tolist()
        [0.5, -1.0]
    """
    samples: npt.NDArray[np.float32] = stored * np.float32(scale)
    return samples


class SampleStore:
    """Samples of clips by the SHA-256 of their files, at one sampling rate, memory-mapped as 16-bit integers.

    Args:
        folder: The caches' folder.
        sampling_rate: In hz.
    """

    def __init__(self, folder: CacheFolder, sampling_rate: int) -> None:
        self.sampling_rate = sampling_rate
        self._folder = folder
        self._cache: ArrayCache = folder.open(f"samples/{sampling_rate}hz-{_FORMAT}", np.int16, "scale")

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._cache

    def length(self, sha256: str) -> int:
        """Return a clip's length in samples."""
        return self._cache.shape(sha256)[0]

    def read(self, sha256: str, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float32]:
        """Return a clip's samples, or some of them, float32, shape `(samples,)`.

        Raises:
            KeyError: The clip is not here.
        """
        stored, scale = self._cache.read(sha256)
        return from_16_bit(stored[start:stop], scale)

    def size(self) -> int:
        """Return the size on disk, in bytes, other data sets' clips included."""
        return self._cache.size()

    def fill(
        self,
        clips: Mapping[str, tuple[str, Callable[[], AudioSource]]],
        *,
        share: Share | None = None,
        progress: bool = True,
    ) -> int:
        """Decode the clips that are not here yet, on all processors.

        Args:
            clips: SHA-256 of a clip's file to its name and a function that returns its encoded audio.
            share: What the processes of a distributed run share; None for a single process.
            progress: Whether to show a bar.

        Returns:
            The number of clips that no run had decoded before.

        Raises:
            InputError: A clip cannot be decoded, or the cache cannot be written.
        """
        share = share or Share()

        def missing() -> Sequence[str]:
            self._cache.refresh()
            return [sha256 for sha256 in clips if sha256 not in self._cache]

        new = len(missing())
        share.fill(missing, lambda part: self._decode(part, clips, share, progress))
        if share.local_index == 0:
            self._folder.make_room()
        logger.info("decoded audio of %d clips (%d of them new): %s", len(clips), new, readable(self.size()))
        return new

    def _decode(
        self,
        part: list[str],
        clips: Mapping[str, tuple[str, Callable[[], AudioSource]]],
        share: Share,
        progress: bool,
    ) -> None:
        from tqdm.auto import tqdm

        def read(sha256: str) -> tuple[str, npt.NDArray[np.int16], float]:
            name, source = clips[sha256]
            return (sha256, *to_16_bit(decode(source(), self.sampling_rate, name=name)))

        if not part:
            return
        # libsndfile and soxr let go of the interpreter's lock, so threads are enough.
        workers = max(1, (os.cpu_count() or 1) // share.local_count)
        bar = tqdm(total=len(part), desc="decoding audio, once", unit="clip", disable=not progress)
        size = 0
        with bar, self._cache.writer() as add, ThreadPoolExecutor(workers) as pool:
            for sha256, stored, scale in _in_order(pool, read, part, 4 * workers):
                add(sha256, stored, scale)
                size += stored.nbytes
                bar.set_postfix_str(readable(size), refresh=False)
                bar.update()


def _in_order(
    pool: ThreadPoolExecutor,
    read: Callable[[str], tuple[str, npt.NDArray[np.int16], float]],
    work: Sequence[str],
    ahead: int,
) -> Iterator[tuple[str, npt.NDArray[np.int16], float]]:
    """Map over the work with at most `ahead` results waiting, however long the work is."""
    waiting: deque[Future[tuple[str, npt.NDArray[np.int16], float]]] = deque()
    try:
        for entry in work:
            waiting.append(pool.submit(read, entry))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
