"""A recipe's defaults as a real `TrainingArguments`, and what this job needs of any other."""

from __future__ import annotations

import copy
import dataclasses
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hf_ser.errors import InputError
from hf_ser.models.recipe import RECIPE_ARGUMENTS, Recipe
from hf_ser.models.recipes import recipe as find_recipe

if TYPE_CHECKING:
    from transformers import TrainingArguments

logger = logging.getLogger(__name__)

PAPER_ARGUMENTS: Final[dict[str, Any]] = {"optim": "adamw_torch", "max_grad_norm": 0.0, "lr_scheduler_type": "constant"}
"""What the paper trains by beside `paper_recipe`: Adam (AdamW without decay is Adam) at a constant rate."""

_UNSAID: Final = ("ddp_timeout", "save_strategy")
_RECIPE_MARK: Final = "hf_ser_recipe"
"""Attribute of the arguments that `training_arguments` made; the recipe's values are in them already."""


def training_arguments(recipe: str | Recipe, output_dir: str | Path, **overrides: Any) -> TrainingArguments:
    """Return a recipe's default `TrainingArguments`, some of them overridden.

    Args:
        recipe: The name of one of `RECIPES`, a YAML file, or a `Recipe`.
        output_dir: The run's folder.
        **overrides: Fields of `transformers.TrainingArguments`.

    Raises:
        InputError: A field is unknown or its value is refused.

    Example:
        >>> arguments = training_arguments("lora_qkv", "out", num_train_epochs=3, use_cpu=True)
        >>> arguments.num_train_epochs, arguments.learning_rate
        (3, 0.0005)
    """
    from transformers import TrainingArguments

    chosen = find_recipe(recipe)
    defaults = _defaults(chosen, use_cpu=bool(overrides.get("use_cpu")))
    if overrides.get("fp16"):
        del defaults["bf16"]
    try:
        made = TrainingArguments(output_dir=str(output_dir), **{**defaults, **overrides})
    except (TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].replace("TrainingArguments.__init__() ", "")
        raise InputError(f"training arguments: {reason}; see the fields of transformers.TrainingArguments") from error
    setattr(made, _RECIPE_MARK, chosen.name)
    return made


def _defaults(chosen: Recipe, *, use_cpu: bool) -> dict[str, Any]:
    import torch

    cuda = torch.cuda.is_available() and not use_cpu
    return {
        **{argument: getattr(chosen, name) for name, argument in RECIPE_ARGUMENTS.items()},
        "per_device_eval_batch_size": chosen.batch_size,
        "bf16": cuda and torch.cuda.is_bf16_supported(),
        "dataloader_num_workers": 4 if cuda else 0,
        "dataloader_pin_memory": cuda,
        "logging_steps": 10,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        # The other processes wait while the main process decodes the clips and runs a frozen encoder.
        "ddp_timeout": 24 * 3600,
    }


def stock_arguments(arguments: TrainingArguments) -> TrainingArguments:
    """Return arguments at the defaults of `transformers`, of the same device.

    Those of another device would turn the whole process, which has one `PartialState`, over to it.
    """
    from transformers import TrainingArguments

    return TrainingArguments(output_dir=str(arguments.output_dir), use_cpu=arguments.use_cpu)


def _filled(arguments: TrainingArguments, chosen: Recipe) -> TrainingArguments:
    """Return foreign arguments in which a field left at the default of `transformers` has the recipe's value."""
    stock = stock_arguments(arguments)
    ours = _defaults(chosen, use_cpu=arguments.use_cpu)
    if arguments.fp16 or arguments.bf16:
        del ours["bf16"]
    taken = {key: value for key, value in ours.items() if getattr(arguments, key) == getattr(stock, key) != value}
    if taken:
        shown = ", ".join(f"{key} {value}" for key, value in taken.items() if key not in _UNSAID)
        logger.info("arguments left at their defaults take the values of recipe '%s': %s", chosen.name, shown)
    return dataclasses.replace(arguments, **taken)


def for_this_job(arguments: TrainingArguments, chosen: Recipe, checkpoints: Path) -> TrainingArguments:
    """Return a copy of anybody's arguments with what this job depends on, and refuse what it does not do.

    The best checkpoint is chosen by UAR on the validation part. Evaluation and saving therefore happen together,
    once per epoch where the arguments say never.
    """
    ours = copy.copy(arguments) if hasattr(arguments, _RECIPE_MARK) else _filled(arguments, chosen)
    _refuse(ours)
    ours.output_dir = str(checkpoints)
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
    # `EmotionTrainer` looks at each loss itself.
    ours.logging_nan_inf_filter = False
    ours.save_only_model = False
    ours.save_total_limit = max(2, ours.save_total_limit or 2)
    if chosen.encoder_is_frozen:
        # Batches come from one matrix in memory, which worker processes would only copy.
        ours.dataloader_num_workers = 0
        ours.dataloader_prefetch_factor = None
        ours.dataloader_persistent_workers = False
        # There are no activations to save: the encoder is not part of a step.
        ours.activation_checkpointing = ours.gradient_checkpointing = False
    return ours


def _refuse(ours: TrainingArguments) -> None:
    if ours.push_to_hub:
        raise InputError(
            "args.push_to_hub lets the Trainer overwrite the card and upload pickled files; leave it off and use "
            "push_to (--push-to), or push the finished folder"
        )
    for name in ("fsdp", "deepspeed"):
        environment = os.environ.get(f"ACCELERATE_USE_{name.upper()}", "false").lower() in ("1", "true")
        if getattr(ours, name, None) or environment:
            raise InputError(f"{name} is not supported: every encoder here fits one GPU; start with torchrun alone")
    if ours.n_gpu > 1:
        raise InputError(
            f"one process sees {ours.n_gpu} GPUs; start with torchrun --nproc_per_node {ours.n_gpu}, or name one in "
            "CUDA_VISIBLE_DEVICES"
        )
    if ours.num_train_epochs <= 0 and ours.max_steps <= 0:
        raise InputError(f"num_train_epochs is {ours.num_train_epochs:g}; give a number above 0")
    if ours.metric_for_best_model not in (None, "loss", "uar", "eval_uar"):
        raise InputError(f"args.metric_for_best_model is '{ours.metric_for_best_model}'; models are chosen by 'uar'")
    from transformers.integrations import get_available_reporting_integrations

    # The last two are missing from that list, or appear in it under another name.
    if absent := sorted({*ours.report_to} - {*get_available_reporting_integrations(), "azure_ml", "flyte"}):
        raise InputError(f"args.report_to names {', '.join(absent)}, not installed here; install it, or leave it out")
