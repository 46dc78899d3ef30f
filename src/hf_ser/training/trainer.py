"""The smallest Trainer that this job needs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hf_ser.models.checkpoint import load_weights, save_model
from hf_ser.models.head import head_logits, plain_model, pooled_inputs
from hf_ser.models.recipes import Recipe, learning_rate_groups
from hf_ser.training.input_share import InputShare
from hf_ser.training.items import LengthGroupedEpochs

__all__ = ["EmotionTrainer", "PooledHead"]


class PooledHead(nn.Module):
    """The head of a model whose encoder is frozen.

    It takes features that were pooled beforehand, or, where augmentation makes every epoch's audio new, the
    audio itself; the encoder then runs in evaluation mode, since freezing alone leaves dropout and SpecAugment on.

    Args:
        model: The adapted model; its head trains in place.
    """

    accepts_loss_kwargs = False

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def train(self, mode: bool = True) -> PooledHead:
        """Switch the head alone to training mode."""
        super().train(False)
        base = plain_model(self.model)
        for layer in (base.projector, base.classifier):
            layer.train(mode)
        self.training = mode
        return self

    def forward(
        self, features: torch.Tensor | None = None, labels: torch.Tensor | None = None, **audio: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return `logits` `(batch, labels)` and, given labels, the mean cross-entropy `loss`."""
        if features is None:
            with torch.no_grad(), pooled_inputs(self.model):
                features = self.model(**audio).logits
        logits = head_logits(self.model, features)
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


class _EpochToSampler(TrainerCallback):  # type: ignore[misc]
    """Tell the sampler its epoch, also after a resumed run skipped batches through wrappers of its own."""

    def __init__(self, trainer: EmotionTrainer) -> None:
        self._trainer = trainer

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._trainer.epochs_sampler is not None:
            self._trainer.epochs_sampler.set_epoch(math.floor((state.epoch or 0.0) + 1e-6))


class EmotionTrainer(Trainer):  # type: ignore[misc]
    """`transformers.Trainer` with a recipe's learning rates, our sampler and plain checkpoints.

    Args:
        recipe: Names the learning rate of each part.
        label_weights: `(labels,)` weights of the loss; None weighs every clip alike.
        **options: Those of `Trainer`.
    """

    optimizer: Any

    def __init__(self, *, recipe: Recipe, label_weights: torch.Tensor | None = None, **options: Any) -> None:
        self._recipe = recipe
        self._label_weights = label_weights
        self.epochs_sampler: LengthGroupedEpochs | None = None
        super().__init__(**options)
        self.add_callback(_EpochToSampler(self))
        self.input_share = InputShare()
        self.add_callback(self.input_share)

    @property
    def emotion_model(self) -> Any:
        """The (adapted) `transformers` model, without what Trainer wraps around it."""
        model = self.accelerator.unwrap_model(self.model)
        return model.model if isinstance(model, PooledHead) else model

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedEpochs:
        rows = self.train_dataset if train_dataset is None else train_dataset
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        self.epochs_sampler = LengthGroupedEpochs(rows.lengths, self.args.train_batch_size, seed)
        return self.epochs_sampler

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list[Any], Any]:
        """Return the batches of one step, measuring what they cost."""
        timed = self.input_share.timed(epoch_iterator)
        batches, items = super().get_batch_samples(timed, num_batches, device)
        self.input_share.count(batches)
        return batches, items

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **options: Any) -> Any:
        """Return the mean loss of the clips, each weighted by its label where weights were given."""
        if self._label_weights is None or "labels" not in inputs:
            return super().compute_loss(model, inputs, return_outputs=return_outputs, **options)
        labels = inputs["labels"]
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        losses = nn.functional.cross_entropy(
            outputs["logits"], labels, reduction="none", label_smoothing=self.args.label_smoothing_factor
        )
        # A plain mean: dividing by the batch's own weights would make the loss depend on how clips are batched.
        loss = (self._label_weights.to(losses)[labels] * losses).mean()
        return (loss, outputs) if return_outputs else loss

    def create_optimizer(self, model: Any = None) -> Any:
        """Give each part of the model its learning rate."""
        if self.optimizer is None:
            opened = self.model if model is None else model
            optimizer, options = self.get_optimizer_cls_and_kwargs(self.args, opened)
            # The names of a wrapped head begin with the wrapper's attribute.
            named = opened.model if isinstance(opened, PooledHead) else opened
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
