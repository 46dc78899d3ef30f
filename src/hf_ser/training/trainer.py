"""The smallest Trainer that this job needs."""

from __future__ import annotations

import contextlib
import functools
import math
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hf_ser.models.checkpoint import load_weights, save_model
from hf_ser.models.head import head_logits, plain_model, pooled_inputs
from hf_ser.models.recipes import Recipe, learning_rate_groups
from hf_ser.models.rewrites import FrontEnd
from hf_ser.training.items import LengthGroupedEpochs
from hf_ser.training.memory import PartwiseTrainer

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


class EmotionTrainer(PartwiseTrainer):
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

    @property
    def emotion_model(self) -> Any:
        """The (adapted) `transformers` model, without what Trainer wraps around it."""
        model = self.accelerator.unwrap_model(self.model)
        return model.model if isinstance(model, PooledHead) else model

    @functools.cached_property
    def front_end(self) -> FrontEnd:
        """The model's front end in its faster form, kept from step to step."""
        return FrontEnd(self.emotion_model)

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedEpochs:
        rows = self.train_dataset if train_dataset is None else train_dataset
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        self.epochs_sampler = LengthGroupedEpochs(rows.lengths, self.args.train_batch_size, seed)
        return self.epochs_sampler

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

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list[Any], Any]:
        """Return the batches of one step and the number of clips in them, over all processes."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
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

    def evaluation_loop(self, *arguments: Any, **options: Any) -> Any:
        """Evaluate by the front end that is faster and whose answers do not depend on a clip's neighbours."""
        with self.front_end.active():
            return super().evaluation_loop(*arguments, **options)

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
