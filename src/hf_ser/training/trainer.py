"""The smallest Trainer that this job needs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hf_ser.models.checkpoint import load_weights, save_model
from hf_ser.models.prefix import PrefixedModel
from hf_ser.models.recipes import Recipe, learning_rate_groups
from hf_ser.training.batches import LengthBatches
from hf_ser.training.input_share import InputShare

__all__ = ["EmotionTrainer"]


class _EpochToSampler(TrainerCallback):  # type: ignore[misc]
    """Tell the sampler its epoch, also after a resumed run skipped batches through wrappers of its own."""

    def __init__(self, trainer: EmotionTrainer) -> None:
        self._trainer = trainer

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._trainer.batches is not None:
            self._trainer.batches.set_epoch(math.floor((state.epoch or 0.0) + 1e-6))


class EmotionTrainer(Trainer):  # type: ignore[misc]
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
        model = self.accelerator.unwrap_model(self.model)
        return model.model if isinstance(model, PrefixedModel) else model

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of this process's batches, which are of like lengths."""
        arguments, items = self.args, self.train_dataset
        batch_size, budget = self._train_batch_size, None
        if self._seconds_per_batch is not None and items.units_per_second is not None:
            # A batch that did not fit into memory is retried smaller; the budget follows.
            budget = self._seconds_per_batch * items.units_per_second * batch_size / arguments.train_batch_size
            batch_size = len(items)
        self.batches = LengthBatches(
            items.epoch_lengths,
            batch_size,
            arguments.seed if arguments.data_seed is None else arguments.data_seed,
            budget=budget,
            longest=items.longest_lengths,
            process=arguments.process_index,
            processes=arguments.world_size,
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
        clips = torch.tensor(sum(len(batch["labels"]) for batch in batches), device=device)
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
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        losses = nn.functional.cross_entropy(
            outputs["logits"], labels, reduction="none", label_smoothing=self.args.label_smoothing_factor
        )
        if self._label_weights is not None:
            # Divided by the number of clips, not by their weights: the loss must not depend on how clips are batched.
            losses = self._label_weights.to(losses)[labels] * losses
        if num_items_in_batch is None:
            loss = losses.mean()
        else:
            # Trainer divides by the accumulated batches, and gradients are averaged over the processes.
            shares = self.args.world_size * self.current_gradient_accumulation_steps
            loss = losses.sum() * shares / num_items_in_batch
        return (loss, outputs) if return_outputs else loss

    def create_optimizer(self, model: Any = None) -> Any:
        """Give each part of the model its learning rate."""
        if self.optimizer is None:
            opened = self.model if model is None else model
            optimizer, options = self.get_optimizer_cls_and_kwargs(self.args, opened)
            # The names of a wrapped model begin with the wrapper's attribute.
            named = opened.model if isinstance(opened, PrefixedModel) else opened
            groups = learning_rate_groups(
                named,
                self._recipe,
                self.emotion_model.config,
                self.args.learning_rate,
                self.args.weight_decay,
                set(self.get_decay_parameter_names(named)),
            )
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
        load_weights(self.emotion_model, Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        load_weights(self.emotion_model, Path(str(self.state.best_model_checkpoint)))
