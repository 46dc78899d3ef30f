"""The smallest Trainer that this job needs."""

from __future__ import annotations

import contextlib
import functools
import math
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from torch import nn
from torch.utils.data import DataLoader
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hf_ser import processes
from hf_ser.models.checkpoint import load_weights, save_model, trained_tensors
from hf_ser.models.prefix import unwrapped
from hf_ser.models.recipes import Recipe, learning_rate_groups
from hf_ser.models.rewrites import FrontEnd
from hf_ser.training.batches import LengthBatches
from hf_ser.training.input_share import InputShare
from hf_ser.training.memory import PartwiseTrainer
from hf_ser.training.state import (
    load_random_state,
    load_training_state,
    require_writable_optimizer,
    save_random_state,
    save_training_state,
)

__all__ = ["EmotionTrainer"]

_BESIDE_THE_MODEL = ("labels", "counts", "items")
"""What a batch holds beside the model's inputs: labels, which clips count in the loss, and where they come from."""


class _EpochToSampler(TrainerCallback):  # type: ignore[misc]
    """Tell the sampler its epoch, also after a resumed run skipped batches through wrappers of its own."""

    def __init__(self, trainer: EmotionTrainer) -> None:
        self._trainer = trainer

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._trainer.batches is not None:
            self._trainer.batches.set_epoch(math.floor((state.epoch or 0.0) + 1e-6))


class EmotionTrainer(PartwiseTrainer):
    """`transformers.Trainer` with a recipe's learning rates, our sampler and plain checkpoints.

    Args:
        recipe: Names the learning rate of each part.
        label_weights: `(labels,)` weights of the loss; None weighs every clip alike.
        seconds_per_batch: The most seconds of audio, padding included, that a training batch may hold; None makes
            batches of a number of clips.
        **options: Those of `Trainer`.
    """

    optimizer: Any

    def __init__(
        self,
        *,
        recipe: Recipe,
        label_weights: torch.Tensor | None = None,
        seconds_per_batch: float | None = None,
        **options: Any,
    ) -> None:
        self._recipe = recipe
        self._label_weights = label_weights
        self._seconds_per_batch = seconds_per_batch
        self.batches: LengthBatches | None = None
        super().__init__(**options)
        self.add_callback(_EpochToSampler(self))
        self.input_share = InputShare()
        self.add_callback(self.input_share)

    @property
    def emotion_model(self) -> Any:
        """The (adapted) `transformers` model, without what Trainer wraps around it."""
        return unwrapped(self.accelerator.unwrap_model(self.model))

    def whole_model(self) -> Any:
        """Return the model to save, where this process may have to."""
        return self.emotion_model

    @property
    def saved_model(self) -> Any:
        """The model as the last save left it, in the first process."""
        return self.emotion_model

    @functools.cached_property
    def front_end(self) -> FrontEnd:
        """The model's front end in its faster form, kept from step to step."""
        return FrontEnd(self.emotion_model)

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Pass one batch; a frozen front end passes without gradients, which `transformers` would take through it."""
        with self._front_end_in_training():
            return super().training_step(model, inputs, num_items_in_batch)

    def _front_end_in_training(self) -> contextlib.AbstractContextManager[None]:
        arguments, recompute = self.args, self.args.gradient_checkpointing
        # Reentrant checkpoints need an input with a gradient, and a compiler cannot look into ours.
        if arguments.torch_compile or (arguments.gradient_checkpointing_kwargs or {}).get("use_reentrant"):
            return contextlib.nullcontext()
        if self.front_end.is_frozen:
            return self.front_end.active()
        # On an accelerator the stock convolutions have kernels of their own; memory is another matter.
        if arguments.device.type == "cpu" or recompute:
            return self.front_end.trained(recompute=recompute)
        return contextlib.nullcontext()

    def step_record(self) -> dict[str, Any]:
        """Return how steps were taken, for the record of the run."""
        arguments = self.args
        return {
            "attention": self.emotion_model.config._attn_implementation,
            "precision": "bf16" if arguments.bf16 else "fp16" if arguments.fp16 else "fp32",
            "optimizer": str(getattr(arguments.optim, "value", arguments.optim)),
            "gradient_checkpointing": arguments.gradient_checkpointing,
            "compiled": arguments.torch_compile,
            "batch_parts": self.batch_parts,
            "batch_parts_since_step": self.parts_since_step,
        }

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of this process's batches, which are of like lengths."""
        arguments, items = self.args, self.train_dataset
        batch_size, budget = self._train_batch_size, None
        if self._seconds_per_batch is not None and items.units_per_second is not None:
            budget = self._seconds_per_batch * items.units_per_second
            batch_size = len(items)
        self.batches = LengthBatches(
            items.epoch_lengths,
            batch_size,
            arguments.seed if arguments.data_seed is None else arguments.data_seed,
            budget=budget,
            longest=items.longest_lengths,
            process=arguments.process_index,
            processes=arguments.world_size,
            accumulation=arguments.gradient_accumulation_steps,
        )
        loader: DataLoader[Any] = DataLoader(
            items,
            batch_sampler=self.batches,
            collate_fn=self.data_collator,
            num_workers=arguments.dataloader_num_workers,
            pin_memory=arguments.dataloader_pin_memory,
            persistent_workers=arguments.dataloader_persistent_workers,
            prefetch_factor=arguments.dataloader_prefetch_factor,
        )
        # The batches are this process's already; accelerate would deal them out a second time.
        prepared: DataLoader[Any] = prepare_data_loader(
            loader, self.accelerator.device, num_processes=1, process_index=0, put_on_device=True
        )
        return prepared

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list[Any], Any]:
        """Return the batches of one step and the number of clips in them, over all processes."""
        batches, _ = super().get_batch_samples(self.input_share.timed(epoch_iterator), num_batches, device)
        self.input_share.count(batches)
        counted = [float(batch["counts"].sum()) if "counts" in batch else len(batch["labels"]) for batch in batches]
        clips = torch.tensor(float(sum(counted)), device=device)
        return batches, self.accelerator.gather(clips).sum()

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> Any:
        """Return the mean loss of the clips, each weighted by its label where weights were given.

        The mean is over all clips of a step, however they are dealt out to batches, accumulation and processes:
        each clip of a step counts the same, also where batches hold different numbers of them.
        """
        labels = inputs["labels"]
        outputs = model(**{name: value for name, value in inputs.items() if name not in _BESIDE_THE_MODEL})
        losses = nn.functional.cross_entropy(
            outputs["logits"], labels, reduction="none", label_smoothing=self.args.label_smoothing_factor
        )
        if self._label_weights is not None:
            # Divided by the number of clips, not by their weights: the loss must not depend on how clips are batched.
            losses = self._label_weights.to(losses)[labels] * losses
        if "counts" in inputs:
            losses = losses * inputs["counts"]
        if num_items_in_batch is None:
            loss = losses.mean()
        else:
            # Trainer divides by the accumulated batches, and gradients are averaged over the processes.
            shares = self.args.world_size * self.current_gradient_accumulation_steps
            loss = losses.sum() * shares / num_items_in_batch
        return (loss, outputs) if return_outputs else loss

    def evaluation_loop(self, *arguments: Any, **options: Any) -> Any:
        """Evaluate by the front end that is faster and whose answers do not depend on a clip's neighbours."""
        with self.front_end.active():
            return super().evaluation_loop(*arguments, **options)

    def create_optimizer(self, model: Any = None) -> Any:
        """Give each part of the model its learning rate."""
        if self.optimizer is None:
            opened = self.model if model is None else model
            optimizer, options = self.get_optimizer_cls_and_kwargs(self.args, opened)
            # The names of a wrapped model begin with the wrapper's attribute.
            named = unwrapped(opened)
            groups = learning_rate_groups(
                named,
                self._recipe,
                self.emotion_model.config,
                self.args.learning_rate,
                self.args.weight_decay,
                set(self.get_decay_parameter_names(named)),
            )
            require_writable_optimizer(optimizer, options, groups[0]["params"][0])
            self.optimizer = optimizer(groups, **options)
        return self.optimizer

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        # Not Trainer's: it pickles its arguments and would save a head that only this library can read.
        if self.args.should_save:
            save_model(
                self.emotion_model,
                output_dir or str(self.args.output_dir),
                self.processing_class,
                resumable=True,
            )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self._load(Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        self._load(Path(str(self.state.best_model_checkpoint)))

    def _load(self, checkpoint: Path) -> None:
        # Only the first process need see the disk; the others get its weights.
        with processes.together():
            if processes.is_first():
                load_weights(self.emotion_model, checkpoint)
        processes.from_first(trained_tensors(self.emotion_model))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.args.should_save:
            save_training_state(Path(output_dir), **self._shared_state())

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            load_training_state(Path(checkpoint), **self._shared_state())

    def _shared_state(self) -> dict[str, Any]:
        return {
            "optimizer": self.optimizer,
            "scheduler": self.lr_scheduler,
            "scaler": getattr(self.accelerator, "scaler", None),
            "devices": self.args.world_size * max(1, self.args.n_gpu),
        }

    def _save_scaler(self, output_dir: str) -> None:
        """Saved with the optimizer."""

    def _load_scaler(self, checkpoint: str | None) -> None:
        """Loaded with the optimizer."""

    def _save_rng_state(self, output_dir: str) -> None:
        save_random_state(Path(output_dir), self.args.process_index, self._cuda_devices)
        # What Trainer writes next says that the checkpoint is whole; it must not come before another's state.
        self.accelerator.wait_for_everyone()

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            load_random_state(Path(checkpoint), self.args.process_index, self._cuda_devices)

    @property
    def _cuda_devices(self) -> int:
        return int(self.args.n_gpu) if self.args.device.type == "cuda" else 0
