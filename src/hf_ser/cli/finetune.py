"""The subcommands that train: `finetune` and `benchmark`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from hf_ser.cli.command import (
    DATA_OPTIONS,
    DATASET_HELP,
    PROTOCOL_HELP,
    add_command,
    add_options,
    data_options,
    unknown_option,
)
from hf_ser.errors import InputError

if TYPE_CHECKING:
    from hf_ser.models.recipes import Recipe

_EPILOG = """Any field of transformers.TrainingArguments is an option too; what is not given comes from the recipe:
  length and rate   --num_train_epochs 3, --max_steps 500, --learning_rate 1e-4, --seed 1
  batch             --per_device_train_batch_size 8, --gradient_accumulation_steps 2, --gradient_checkpointing true
  precision         --bf16 true, --fp16 true, --tf32 true (bf16 is the default where the GPU has it)
  device            --use_cpu true; CUDA_VISIBLE_DEVICES=1 chooses a GPU; torchrun uses several
  logging           --logging_steps 50, --report_to tensorboard, --disable_tqdm true
"""

_NAMED_OTHERWISE = {
    "--lr": "--learning_rate", "--epochs": "--num_train_epochs", "--steps": "--max_steps",
    "--batch-size": "--per_device_train_batch_size", "--workers": "--dataloader_num_workers",
    "--wandb": "--report_to wandb",
    "--device": "--use_cpu true for the processor, or CUDA_VISIBLE_DEVICES=N before the command to choose a GPU",
}  # fmt: skip
"""What other tools call options that have another name here."""

DROPPED = {
    "--streaming": "the data set is read from the disk; HF_HOME=FOLDER moves the cache to a larger one",
    "--seconds-per-batch": "give --per_device_train_batch_size N",
    "--cache-gigabytes": "set HF_SER_CACHE to a folder, which may be deleted at any time, or to 'off'",
    "--no-feature-cache": "set HF_SER_CACHE=off",
    "--no-audio-cache": "set HF_SER_CACHE=off",
    "--keep-checkpoints": "a finished run keeps the selected model alone; --push-to USER/NAME keeps every save",
    "--fsdp": "lower --per_device_train_batch_size, or give --gradient_checkpointing true",
}

_REQUIRED = {
    "--model MODEL": "folder or Hub id of a HuBERT, wav2vec2, WavLM, data2vec or Whisper encoder",
    "--output-dir DIR": "absent or empty folder for the model, report and card",
}

_OPTIONS = {
    "--protocol NAME": PROTOCOL_HELP,
    "--paper": "the paper's setting: its random split, stock head, Adam 1e-5, 50 epochs",
    "--augment": "pitch shift, time stretch and noise in training",
    "--augment-views N": "with --augment: N augmented copies of each clip, made once",
    "--segment-seconds SECONDS": "cut longer clips (default 10)",
    "--patience N": "evaluations without gain before stopping (default 5)",
    "--no-early-stopping": "train all epochs",
    "--revision NAME": "branch, tag or commit of the model on the Hub",
    "--resume": "continue the unfinished run in the output folder",
    "--overwrite": "replace the run that the output folder holds",
    "--push-to USER/NAME": "upload every save, and at the end the model, to this (private) repository",
    "--json": "print the test metrics as JSON",
}


def add_finetune(commands: Any) -> None:
    """Add the subcommand to the subparsers of `hf-ser`."""
    described = "Fine-tune an encoder, evaluate it on unseen speakers, and write a report and a model card."
    command = add_command(commands, "finetune", _finetune, described, epilog=_EPILOG,
                          formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    add_options(command, _REQUIRED, required=True)
    add_options(command, {"--dataset DATASET": DATASET_HELP}, required=True, action="append")
    described = "full, lora_qkv (default), lora_classifier, head, layers, last_layers, lora_all, or a YAML file"
    add_options(command, {"--recipe NAME": described}, default="lora_qkv")
    field = """set a field of the recipe, such as head_dropout=0.1 or 'lora={"r": 8}'; may be repeated"""
    add_options(command, {"--recipe-option FIELD=VALUE": field}, action="append", default=[])
    add_options(command, _OPTIONS)
    add_options(command, DATA_OPTIONS)
    command.set_defaults(takes_more=True)
    described = "Fine-tune several recipes over all splits of a protocol, and sum the results up; repeat it to resume."
    command = add_command(commands, "benchmark", _benchmark, described, epilog=_EPILOG,
                          formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    add_options(command, _REQUIRED, required=True)
    add_options(command, {"--dataset DATASET": DATASET_HELP}, required=True, action="append")
    add_options(
        command, {"--protocol NAME": "folds (default), leave_one_out, paper or speaker_independent"}, default="folds"
    )
    add_options(command, {"--recipes NAME,NAME": "default: full,lora_qkv,lora_classifier"},
                default=["full", "lora_qkv", "lora_classifier"])  # fmt: skip
    add_options(command, {"--seeds NAME,NAME": "of the training, such as 1,2,3 (default 42)"}, default=["42"])
    add_options(command, {"--json": "print JSON"})
    add_options(command, DATA_OPTIONS)
    command.set_defaults(takes_more=True)


def _benchmark(options: argparse.Namespace, more: Sequence[str]) -> Iterator[str]:
    _refuse(more)
    if wrong := [seed for seed in options.seeds if not seed.isdigit()]:
        raise InputError(f"--seeds: '{wrong[0]}' is no whole number")
    data = data_options(options)
    from hf_ser.training.protocols import benchmark

    settings = {name: getattr(options, name) for name in ("output_dir", "protocol", "recipes")}
    settings |= {"seeds": [int(seed) for seed in options.seeds], "arguments": training_fields(more, options.parser)}
    found = benchmark(options.model, options.dataset, **settings, **data)
    yield json.dumps({"rows": list(found.rows), "matrix": list(found.matrix)}) if options.json else found.render()
    if not options.json:
        yield f"runs and tables: {found.folder}"


def _finetune(options: argparse.Namespace, more: Sequence[str]) -> Iterator[str]:
    _refuse(more)
    chosen = chosen_recipe(options)
    if options.augment_views is not None and not options.augment:
        raise InputError("--augment-views says how many copies --augment makes; give --augment, too")
    if options.paper and more:
        raise InputError(f"--paper sets the training arguments; leave out {more[0]}")
    data = data_options(options)
    from hf_ser.audio.augment import Augmentation
    from hf_ser.training.arguments import training_arguments
    from hf_ser.training.finetune import finetune

    arguments = None
    if not options.paper:
        arguments = training_arguments(chosen, options.output_dir, **training_fields(more, options.parser))
    augmentation = Augmentation(views=options.augment_views) if options.augment else None
    same = ("output_dir", "protocol", "paper", "resume", "overwrite", "revision", "push_to")
    settings = {name: getattr(options, name) for name in same}
    result = finetune(
        options.model, options.dataset, recipe=chosen, args=arguments, augmentation=augmentation, **settings, **data
    )
    if options.json:
        yield json.dumps(result.metrics["test"])
        return
    from hf_ser.evaluation.report import render_table

    yield render_table({chosen.name: result.metrics})
    yield f"model, report and card: {result.output_dir}"
    if result.pushed is not None:
        yield str(result.pushed)


def chosen_recipe(options: argparse.Namespace) -> Recipe:
    """Return the recipe that the options ask for."""
    from hf_ser.models.recipes import recipe

    fields = {name: getattr(options, name) for name in ("segment_seconds", "patience")}
    fields = {name: value for name, value in fields.items() if value is not None}
    if options.no_early_stopping:
        fields["patience"] = None
    return recipe(options.recipe, **{**dict(map(_recipe_option, options.recipe_option)), **fields})


def _recipe_option(text: str) -> tuple[str, Any]:
    field, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--recipe-option '{text}' is not FIELD=VALUE, such as head_dropout=0.1")
    try:
        return field, json.loads(value)
    except json.JSONDecodeError:
        return field, value


def _refuse(more: Sequence[str]) -> None:
    """Answer at once what has another name here or is gone; the other words need an import of seconds."""
    for word in more:
        name = word.partition("=")[0]
        option = "--fsdp" if name.startswith("--fsdp") else name.replace("_", "-")
        if option in DROPPED:
            raise InputError(f"{name} is no longer an option: {DROPPED[option]}")
        if option in _NAMED_OTHERWISE:
            raise InputError(f"unknown option '{name}'; use {_NAMED_OTHERWISE[option]}")


def training_fields(more: Sequence[str], parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Read options that are fields of `transformers.TrainingArguments`; only those given replace the recipe's."""
    if not more:
        return {}
    import dataclasses

    from transformers import HfArgumentParser, TrainingArguments

    class FieldParser(HfArgumentParser):  # type: ignore[misc]
        def error(self, message: str) -> NoReturn:
            raise InputError(f"training arguments: {message}")

    fields = [field.name for field in dataclasses.fields(TrainingArguments) if field.init]
    reader, unset = FieldParser(TrainingArguments, allow_abbrev=False), object()
    reader.set_defaults(**dict.fromkeys(fields, unset))
    values, rest = reader.parse_known_args(list(more))
    if rest:
        raise InputError(unknown_option(rest[0], parser, fields))
    return {name: value for name, value in vars(values).items() if value is not unset}
