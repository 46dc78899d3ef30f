"""Batches that do not fit into memory at once: passed in parts, which leaves the learning as it is."""

from __future__ import annotations

import gc
import logging
from collections.abc import Mapping
from typing import Any

import torch
from accelerate.utils.memory import should_reduce_batch_size
from transformers import Trainer

from hf_ser.errors import InputError

__all__ = ["PartwiseTrainer"]

logger = logging.getLogger(__name__)


class PartwiseTrainer(Trainer):  # type: ignore[misc]
    """A Trainer that halves what it passes through the model at a time whenever that does not fit into memory.

    The batches, their order, the optimiser's steps and the learning rates stay the same, for a step's gradient is
    the sum over its clips: `compute_loss` has to return a share of the whole step's mean, as `EmotionTrainer`'s
    does. A step that failed half-way is done again from its beginning.

    Attributes:
        batch_parts: In how many parts a training batch passes the model.
        parts_since_step: The step in which it came to that; None while batches pass whole.
    """

    batch_parts: int = 1
    parts_since_step: int | None = None
    _passed: tuple[Any, ...] = ()

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Pass one batch forwards and backwards and return its share of the loss.

        Raises:
            InputError: Not even a single clip fits, or several processes train, which have to stay in step.
        """
        self._passed = (*self._passed, inputs)
        pending = self._passed[-1:]
        while True:
            try:
                loss = [self._in_parts(model, batch, num_items_in_batch) for batch in pending][-1]
                break
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
            # Outside of `except`, where the error no longer holds on to the tensors that filled the memory.
            self._halve(inputs)
            # A backward pass that failed has left part of its gradient: the whole step starts over.
            model.zero_grad(set_to_none=True)
            pending = self._passed
            _release()
        if self.accelerator.sync_gradients:
            self._passed = ()
        return loss

    def _in_parts(self, model: torch.nn.Module, inputs: Mapping[str, Any], num_items_in_batch: Any) -> torch.Tensor:
        losses = [
            super(PartwiseTrainer, self).training_step(model, part, num_items_in_batch)
            for part in _parts(inputs, self.batch_parts)
        ]
        return torch.stack(losses).sum()

    def _halve(self, inputs: Mapping[str, Any]) -> None:
        clips, step = len(inputs["labels"]), self.state.global_step + 1
        if self.args.world_size > 1:
            raise InputError(
                f"step {step}: a batch of {clips} clips does not fit into memory; give half the "
                "per_device_train_batch_size and twice the gradient_accumulation_steps, which learns the same, or "
                "set gradient_checkpointing"
            )
        if self.batch_parts >= clips:
            raise InputError(
                f"step {step}: not even one clip fits into memory; set gradient_checkpointing, give a smaller "
                "segment_seconds, or choose a smaller encoder or a recipe that trains less"
            )
        self.batch_parts *= 2
        self.parts_since_step = step
        logger.warning(
            "step %d: a batch of %d clips does not fit into memory; from now on each passes in %d parts, which learns "
            "the same",
            step,
            clips,
            self.batch_parts,
        )

    def prediction_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Any, Any, Any]:
        """Evaluate one batch; in halves where it does not fit."""
        clips = len(inputs["labels"])
        try:
            found: tuple[Any, Any, Any] = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
            return found
        except RuntimeError as error:
            if not _is_out_of_memory(error) or clips == 1:
                raise
        _release()
        halves = [self.prediction_step(model, part, prediction_loss_only, ignore_keys) for part in _parts(inputs, 2)]
        shares = [len(part["labels"]) / clips for part in _parts(inputs, 2)]
        loss = sum(share * half[0] for share, half in zip(shares, halves, strict=True))
        if prediction_loss_only:
            return loss, None, None
        return loss, torch.cat([half[1] for half in halves]), torch.cat([half[2] for half in halves])


def _parts(inputs: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Return the batch cut into parts of like numbers of clips, at most one clip a part."""
    cut = {name: torch.tensor_split(tensor, min(count, len(tensor))) for name, tensor in inputs.items()}
    return [dict(zip(cut, values, strict=True)) for values in zip(*cut.values(), strict=True)]


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or bool(should_reduce_batch_size(error))


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
