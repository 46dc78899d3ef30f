"""Files inspected by threads while the caller goes on: reading, hashing and measuring release Python's lock."""

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tqdm import tqdm

from hf_ser.corpora import Clip
from hf_ser.dataset.hygiene import Fault, Inspection, inspect_file
from hf_ser.dataset.originals import originals

__all__ = ["Inspections"]

_BATCH: Final = 64


class Inspections:
    """Files that are being inspected by threads; a context.

    Args:
        num_proc: Files that are read at a time; None takes the number of processors.

    Attributes:
        pool: The threads.
    """

    def __init__(self, num_proc: int | None) -> None:
        originals()  # Unpacked before the threads want it all at once.
        self.pool = ThreadPoolExecutor(num_proc or os.cpu_count())
        self._progress = tqdm(total=0, desc="Checking audio files", unit="file", disable=None)
        self._running: list[Future[dict[Path, Inspection | Fault]]] = []

    def __enter__(self) -> "Inspections":
        return self

    def __exit__(self, *failure: object) -> None:
        self._progress.close()
        self.pool.shutdown(cancel_futures=True)

    def begin(self, files: Sequence[tuple[Path, str, Clip]]) -> None:
        """Have files inspected beside what the caller does next."""
        self._progress.total += len(files)
        self._progress.refresh()
        # Handing over single files takes a third as long as inspecting them.
        for begin in range(0, len(files), _BATCH):
            batch = [(path, clip) for path, _, clip in files[begin : begin + _BATCH]]
            self._running.append(self.pool.submit(_inspect, batch))

    def finish(self) -> dict[Path, Inspection | Fault]:
        """Return what the files hold."""
        found: dict[Path, Inspection | Fault] = {}
        for batch in self._running:
            found |= (done := batch.result())
            self._progress.update(len(done))
        return found


def _inspect(batch: Sequence[tuple[Path, Clip]]) -> dict[Path, Inspection | Fault]:
    return {path: inspect_file(path, clip) for path, clip in batch}
