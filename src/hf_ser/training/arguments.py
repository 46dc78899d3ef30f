"""A recipe's defaults as a real `TrainingArguments`, and what this job needs of any other."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_ser.errors import InputError
from hf_ser.models.recipes import Recipe
from hf_ser.models.recipes import recipe as find_recipe

if TYPE_CHECKING:
    from transformers import TrainingArguments

__all__ = ["PAPER_ARGUMENTS", "for_this_job", "planned_epochs", "training_arguments"]

PAPER_ARGUMENTS: dict[str, Any] = {
    "learning_rate": 1e-5,
    "num_train_epochs": 50,
    "optim": "adamw_torch",
    "weight_decay": 0.0,
    "warmup_steps": 0,
    "lr_scheduler_type": "constant",
    "per_device_train_batch_size": 16,
}
"""The paper's training: Adam (AdamW without decay is Adam), 1e-5, 50 epochs; the batch size is not stated there."""


def training_arguments(recipe: str | Recipe, output_dir: str | Path, **overrides: Any) -> TrainingArguments:
    """Return a recipe's default `TrainingArguments`, some of them overridden.

    Args:
        recipe: `full`, `lora_qkv`, `lora_classifier`, or a `Recipe`.
        output_dir: The run's folder.
        **overrides: Fields of `transformers.TrainingArguments`.

    Raises:
        InputError: A field is unknown or its value refused.

    Example:
        >>> arguments = training_arguments("lora_qkv", "out", num_train_epochs=3, use_cpu=True)
        >>> arguments.num_train_epochs, arguments.learning_rate
        (3, 0.0005)
    """
    import torch
    from transformers import TrainingArguments

    chosen = find_recipe(recipe)
    bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported() and not overrides.get("use_cpu")
    defaults: dict[str, Any] = {
        "learning_rate": chosen.learning_rate,
        "num_train_epochs": chosen.epochs,
        "per_device_train_batch_size": chosen.batch_size,
        "per_device_eval_batch_size": chosen.batch_size,
        "warmup_steps": chosen.warmup,
        "weight_decay": chosen.weight_decay,
        "lr_scheduler_type": "linear",
        "bf16": bf16,
        "dataloader_num_workers": 4 if torch.cuda.is_available() else 0,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "logging_steps": 10,
        "save_total_limit": 2,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "report_to": "none",
        "seed": 42,
    }
    try:
        return TrainingArguments(output_dir=str(output_dir), **{**defaults, **overrides})
    except (TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].replace("TrainingArguments.__init__() ", "")
        raise InputError(f"training arguments: {reason}; see the fields of transformers.TrainingArguments") from error


def planned_epochs(arguments: TrainingArguments, clips: int) -> float:
    """Return how many passes over the training clips the arguments ask for.

    Example:
        >>> planned_epochs(training_arguments("full", "out", max_steps=10, use_cpu=True), clips=80)
        2.0
    """
    if arguments.max_steps > 0:
        batch = arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
        return float(arguments.max_steps * batch / clips)
    return float(arguments.num_train_epochs)


def for_this_job(arguments: TrainingArguments, checkpoints: Path, seed: int | None = None) -> TrainingArguments:
    """Return a copy of anybody's arguments with what this job depends on.

    The best checkpoint is chosen by UAR on the validation part, so evaluation and saving happen together, once
    an epoch where the arguments say never.

    Args:
        arguments: As the user gave them; not changed.
        checkpoints: Where the Trainer saves.
        seed: Replaces the arguments' seed.

    Raises:
        InputError: The arguments ask for a choice of checkpoint by something else than validation UAR, or for
            an upload by the Trainer, which would erase a human's card.
    """
    ours = copy.copy(arguments)
    if ours.push_to_hub:
        raise InputError(
            "args.push_to_hub makes the Trainer write over the card and upload pickled files; "
            "leave it off and push the finished folder"
        )
    if ours.metric_for_best_model not in (None, "loss", "uar", "eval_uar"):
        raise InputError(f"args.metric_for_best_model is '{ours.metric_for_best_model}'; models are chosen by 'uar'")
    ours.output_dir = str(checkpoints)
    if seed is not None:
        ours.seed = seed
    if ours.eval_strategy.value == "no":
        ours.eval_strategy = type(ours.eval_strategy)("epoch")
    ours.save_strategy = type(ours.save_strategy)(ours.eval_strategy.value)
    if ours.eval_strategy.value == "steps":
        ours.eval_steps = ours.eval_steps or ours.logging_steps
        ours.save_steps = ours.eval_steps
    ours.load_best_model_at_end = True
    ours.metric_for_best_model = "uar"
    ours.greater_is_better = True
    ours.remove_unused_columns = False
    ours.restore_callback_states_from_checkpoint = True
    if ours.save_total_limit is not None:
        ours.save_total_limit = max(2, ours.save_total_limit)
    return ours
