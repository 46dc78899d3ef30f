"""`transformers.Trainer` with what this job adds: learning rates by part, the loss, the order of the clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hf_ser.audio.segment import average_by_clip
from hf_ser.evaluation.metrics.counts import confusion_counts
from hf_ser.evaluation.scores import figures
from hf_ser.models.adapting import learning_rate_groups
from hf_ser.models.recipes import Recipe
from hf_ser.training.batches import LengthGroupedOrder, balanced_weights


class EmotionTrainer(Trainer):  # type: ignore[misc]
    """Train by a recipe; saving, resuming and choosing the best checkpoint are Trainer's own.

    `lengths` are those of the training segments, `shares` `(labels,)` those of the labels among them, `clip_index` has
    the clip of each validation segment, and `references` the label of each such clip. `diverged_at` is the step at
    which the loss or a validation score was not finite.
    """

    optimizer: Any

    def __init__(
        self,
        *,
        recipe: Recipe,
        config: Any,
        lengths: Sequence[int],
        shares: NDArray[np.float64],
        clip_index: NDArray[np.int64],
        references: Sequence[int],
        **options: Any,
    ) -> None:
        self._recipe, self._config, self._lengths = recipe, config, lengths
        self._clip_index, self._references = clip_index, np.asarray(references)
        self._label_weights = balanced_weights(shares) if recipe.balance_labels else None
        # A label without clips is as rare as half a clip.
        priors = np.log(np.maximum(shares, 0.5 / max(1, len(lengths))))
        self._adjustment = torch.from_numpy(recipe.logit_adjustment * priors).float()
        self._targets: torch.Tensor | None = None
        self.diverged_at: int | None = None
        super().__init__(
            compute_loss_func=self.mean_loss,
            compute_metrics=self.clip_metrics,
            # An encoder with a weighted layer sum returns the states of every layer beside its logits.
            preprocess_logits_for_metrics=lambda logits, labels: logits[0] if isinstance(logits, tuple) else logits,
            **options,
        )
        self.add_callback(_EndOfDivergence(self))

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        # Private, as no public hook sets the sampler alone. Trainer's own grouping draws from the global generator,
        # so that a run resumed within an epoch would see other batches.
        arguments = self.args
        return LengthGroupedOrder(
            self._lengths,
            arguments.train_batch_size,
            processes=arguments.world_size,
            accumulation=arguments.gradient_accumulation_steps,
            seed=arguments.seed if arguments.data_seed is None else arguments.data_seed,
            epoch=lambda: self.state.epoch or 0.0,
        )

    def mean_loss(self, outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        """Return a batch's share of the mean loss over the clips of a step."""
        weights, logits = self._label_weights, outputs["logits"].float()
        total = nn.functional.cross_entropy(
            logits + self._adjustment.to(logits.device),
            labels if self._targets is None else self._targets.to(labels.device),
            weight=None if weights is None else weights.to(labels.device),
            reduction="sum",
            label_smoothing=self.args.label_smoothing_factor,
        )
        # The mean is over clips, not over their weights: it must not depend on which labels share a batch.
        return total / (labels.ne(-100).sum() if num_items_in_batch is None else num_items_in_batch)

    def clip_metrics(self, prediction: Any) -> dict[str, float]:
        """Return UAR, accuracy and macro F1 of the validation clips from the logits of their segments."""
        logits = np.asarray(prediction.predictions, dtype=np.float64)
        if not np.isfinite(logits).all():
            self.diverged_at = self.state.global_step
            return {"uar": 0.0, "accuracy": 0.0, "f1_macro": 0.0}
        scores = torch.from_numpy(logits).softmax(dim=1).numpy()
        clips = average_by_clip(scores, self._clip_index, len(self._references))
        counts = confusion_counts(clips.argmax(axis=1), self._references, clips.shape[1])
        return {name: float(figure) for name, figure in figures(counts).items()}

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Run one batch forwards and backwards; a loss that is not finite leaves the weights as they are."""
        self._targets = inputs.pop("targets", None)
        if self._recipe.mixup:
            self.mix(inputs)
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        self._targets = None
        if not bool(torch.isfinite(loss)):
            self.accelerator.set_trigger()
        # All processes have to stop at the same step; a single one needs no communication for it.
        if self.accelerator.check_trigger():
            self.diverged_at = self.state.global_step + 1
            self.control.should_training_stop = True
        if self.diverged_at is not None:
            model.zero_grad(set_to_none=False)
            loss = torch.zeros_like(loss)
        return loss

    def mix(self, inputs: dict[str, Any]) -> None:
        """Mix each clip of a batch, and its target, with the one before it, by a share that seed and step fix."""
        labels = inputs["labels"]
        if bool((labels < 0).any()):
            return
        drawn = np.random.default_rng((self.args.seed, self.state.global_step)).beta(
            self._recipe.mixup, self._recipe.mixup
        )
        share = max(drawn, 1 - drawn)
        classes = len(self._adjustment)
        targets = nn.functional.one_hot(labels, classes).float() if self._targets is None else self._targets
        self._targets = share * targets + (1 - share) * targets.roll(1, 0)
        for name, values in inputs.items():
            if name == "attention_mask":
                inputs[name] = torch.maximum(values, values.roll(1, 0))
            elif name != "labels":
                inputs[name] = share * values + (1 - share) * values.roll(1, 0)

    def create_optimizer(self, model: Any = None) -> Any:
        """Give each part of the model its learning rate."""
        if self.optimizer is None:
            opened = self.model if model is None else model
            optimizer, options = self.get_optimizer_cls_and_kwargs(self.args, opened)
            rates = (self.args.learning_rate, self.args.weight_decay, set(self.get_decay_parameter_names(opened)))
            groups = learning_rate_groups(opened, self._recipe, self._config, *rates)
            self.optimizer = optimizer(groups, **options)
        return self.optimizer


class _EndOfDivergence(TrainerCallback):  # type: ignore[misc]
    """Keep weights that diverged out of the evaluations and checkpoints."""

    def __init__(self, trainer: EmotionTrainer) -> None:
        self._trainer = trainer

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._trainer.diverged_at is not None:
            control.should_training_stop = True
            control.should_evaluate = control.should_save = control.should_log = False

    on_epoch_end = on_evaluate = on_step_end
