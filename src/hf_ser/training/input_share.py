"""What the input costs a run: how long steps wait for it, and how much of it is padding."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

__all__ = ["InputShare"]


class InputShare(TrainerCallback):  # type: ignore[misc]
    """Measures, at the cost of two clock readings a step.

    A step begins when its batches are asked for and ends with the optimiser's step; evaluation and saving are in
    none. On a GPU, which works on while its next batch is awaited, the share is an upper bound of its idle time.
    """

    def __init__(self) -> None:
        self._begun: float | None = None
        self._waited = 0.0
        self._stepped = 0.0
        self._real: Any = 0
        self._padded = 0

    def timed(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Yield the batches of one step, timing how long each is waited for."""
        self._begun = time.perf_counter()
        while True:
            asked = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            finally:
                self._waited += time.perf_counter() - asked
            yield batch

    def count(self, batches: Sequence[Any]) -> None:
        """Count real and padded samples (or frames) by the batches' masks."""
        for batch in batches:
            mask = batch.get("attention_mask")
            if mask is not None:
                # Left on the device: asking for the number here would wait for it.
                self._real = self._real + mask.sum(dtype=torch.int64)
                self._padded += mask.numel()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Note how long the step took."""
        if self._begun is not None:
            self._stepped += time.perf_counter() - self._begun
            self._begun = None

    def as_dict(self) -> dict[str, float]:
        """Return `input_wait_share` of the steps' time, and `padding_share` of the batches where they have masks."""
        found = {}
        if self._stepped:
            found["input_wait_share"] = round(self._waited / self._stepped, 5)
        if self._padded:
            found["padding_share"] = round(1 - float(self._real) / self._padded, 5)
        return found
