"""Inspect files in threads while the caller goes on: reading, hashing and decoding release Python's lock."""

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from hf_ser.corpora import Clip
from hf_ser.dataset.hygiene import Fault, Inspection, inspect_file
from hf_ser.dataset.originals import originals

__all__ = ["Inspections"]

# Submitting single files takes a third of the time that inspecting them takes.
_BATCH = 64


class Inspections:
    """A context manager whose `pool` of threads inspects `num_proc` files at a time (None: one per processor)."""

    def __init__(self, num_proc: int | None) -> None:
        originals()  # Loaded once, before several threads ask for it.
        self.pool = ThreadPoolExecutor(num_proc or os.cpu_count())
        self._running: list[Future[dict[Path, Inspection | Fault]]] = []

    def __enter__(self) -> "Inspections":
        return self

    def __exit__(self, *failure: object) -> None:
        self.pool.shutdown(cancel_futures=True)

    def begin(self, files: Sequence[tuple[Path, str, Clip]]) -> None:
        """Start to inspect files."""
        for begin in range(0, len(files), _BATCH):
            self._running.append(self.pool.submit(_inspect, files[begin : begin + _BATCH]))

    def finish(self) -> dict[Path, Inspection | Fault]:
        """Wait for all files and return what they contain."""
        found: dict[Path, Inspection | Fault] = {}
        for batch in tqdm(self._running, desc="Checking audio files", unit="batch", disable=None):
            found |= batch.result()
        return found


def _inspect(batch: Sequence[tuple[Path, str, Clip]]) -> dict[Path, Inspection | Fault]:
    return {path: inspect_file(path, clip) for path, _, clip in batch}
