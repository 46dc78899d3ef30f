"""The command line: one subcommand, one public function; nothing heavy is imported before it is needed."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from hf_ser import processes
from hf_ser._version import __version__
from hf_ser.cli_build import add_build
from hf_ser.cli_hub import add_push, add_push_metric, tell
from hf_ser.cli_predict import add_predict
from hf_ser.errors import InputError

__all__ = ["main"]

_PROTOCOL_HELP = "speaker_independent (default), fold_0 … fold_4, leave_out_CORPUS, or paper (shares speakers)"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n" if processes.shows() else None)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="hf-ser", description="Fine-tune speech encoders to recognise emotion.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"hf-ser {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    _add_finetune(commands)
    add_predict(commands, _add)
    _add_summary(commands)
    _add_splits(commands)
    add_build(commands, _add)
    add_push(commands, _add)
    add_push_metric(commands, _add)
    _add_quickstart(commands)
    return parser


def _add(commands: Any, name: str, run: Any, description: str, **options: Any) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=description, description=description, allow_abbrev=False, **options
    )
    # SUPPRESS: without it, the subcommand's default would undo `hf-ser --debug COMMAND`.
    command.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )
    command.set_defaults(run=run)
    return command


def _add_finetune(commands: Any) -> None:
    command = _add(
        commands,
        "finetune",
        _finetune,
        "Fine-tune an encoder, evaluate it on speakers it never heard, and document it.",
        epilog="Any field of transformers.TrainingArguments is an option too, such as --num_train_epochs 3, "
        "--learning_rate 1e-4, --per_device_train_batch_size 8 or --seed 1; the recipe sets the others.",
    )
    command.add_argument(
        "--model", required=True, help="folder or Hub id of a HuBERT, wav2vec2, WavLM or Whisper encoder"
    )
    command.add_argument("--dataset", required=True, help="folder that holds the corpora, or a Hub id")
    command.add_argument("--recipe", default="lora_qkv", help="full, lora_qkv (default) or lora_classifier")
    command.add_argument("--output-dir", required=True, help="absent or empty folder for the model, report and card")
    command.add_argument("--protocol", help=_PROTOCOL_HELP)
    command.add_argument(
        "--paper", action="store_true", help="the paper's setting: its random split, Adam 1e-5, 50 epochs"
    )
    command.add_argument("--augment", action="store_true", help="pitch shift, time stretch and noise in training")
    command.add_argument(
        "--augment-views",
        type=int,
        metavar="N",
        help="make N augmented copies of each clip, which can be kept, instead of a new one in every epoch",
    )
    command.add_argument("--segment-seconds", type=float, default=10.0, help="cut longer clips (default 10)")
    command.add_argument(
        "--seconds-per-batch", type=float, help="fill training batches up to these seconds of audio, not to a count"
    )
    command.add_argument("--patience", type=int, default=5, help="evaluations without gain before stopping (default 5)")
    command.add_argument("--no-early-stopping", action="store_true", help="train all epochs")
    command.add_argument(
        "--recipe-option",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="set a field of the recipe, such as freeze_feature_encoder=true or head_dropout=0.1",
    )
    command.add_argument("--revision", help="branch, tag or commit of the model on the Hub")
    command.add_argument(
        "--resume", action="store_true", help="go on with the unfinished run in the output folder, or in --push-to"
    )
    command.add_argument("--overwrite", action="store_true", help="remove the run that the output folder holds")
    command.add_argument("--allow-speaker-overlap", action="store_true", help="accept parts that share speakers")
    command.add_argument("--keep-checkpoints", action="store_true", help="keep the checkpoints of a finished run")
    command.add_argument("--no-feature-cache", action="store_true", help="keep nothing that frozen parts make of clips")
    command.add_argument("--no-audio-cache", action="store_true", help="decode each clip whenever it is read")
    command.add_argument(
        "--cache-gigabytes", type=float, default=20.0, help="most that the caches may hold together (default 20)"
    )
    command.add_argument(
        "--streaming", action="store_true", help="read a data set in Parquet while training, and keep none of it"
    )
    command.add_argument(
        "--push-to", metavar="USER/NAME", help="push every save, and in the end the model, to this (private) repository"
    )
    command.add_argument("--json", action="store_true", help="print the test metrics as JSON")
    command.set_defaults(takes_more=True)


def _add_summary(commands: Any) -> None:
    command = _add(
        commands,
        "summary",
        _summary,
        "Print an encoder's layers, shapes and parameters (the paper's Table 1).",
    )
    command.add_argument("model", help="folder with a config.json, or a Hub id")
    command.add_argument("--recipe", help="show what this recipe trains; all three without it")
    command.add_argument("--labels", type=int, default=8, help="number of labels (default 8)")
    command.add_argument("--json", action="store_true", help="print JSON")


def _add_splits(commands: Any) -> None:
    command = _add(commands, "splits", _splits, "Print what the parts of a data set share, by protocol.")
    command.add_argument("dataset", help="folder that holds the corpora, or a Hub id")
    command.add_argument("--protocol", default="speaker_independent", help=_PROTOCOL_HELP)
    command.add_argument("--json", action="store_true", help="print JSON")


def _add_quickstart(commands: Any) -> None:
    command = _add(
        commands,
        "quickstart",
        _quickstart,
        "Run all three recipes on synthetic speech and a tiny encoder, offline.",
    )
    command.add_argument("--output-dir", default="quickstart", help="folder to fill (default quickstart)")


def _finetune(options: argparse.Namespace, more: Sequence[str]) -> None:
    from hf_ser.models.recipes import recipe

    chosen = recipe(options.recipe)
    chosen = recipe(chosen, **dict(_recipe_option(text) for text in options.recipe_option))
    from hf_ser.audio.augment import Augmentation
    from hf_ser.training.arguments import training_arguments
    from hf_ser.training.finetune import finetune

    if options.augment_views is not None and not options.augment:
        raise InputError("--augment-views says how many copies --augment makes; give --augment, too")
    if options.paper and more:
        raise InputError(f"--paper sets the training arguments; leave out {more[0]}")
    arguments = None if options.paper else training_arguments(chosen, options.output_dir, **_training_fields(more))
    result = finetune(
        options.model,
        options.dataset,
        output_dir=options.output_dir,
        recipe=chosen,
        protocol=options.protocol,
        args=arguments,
        paper=options.paper,
        augmentation=Augmentation(views=options.augment_views) if options.augment else None,
        segment_seconds=options.segment_seconds,
        seconds_per_batch=options.seconds_per_batch,
        patience=None if options.no_early_stopping else options.patience,
        resume=options.resume,
        overwrite=options.overwrite,
        allow_speaker_overlap=options.allow_speaker_overlap,
        keep_checkpoints=options.keep_checkpoints,
        cache_features=not options.no_feature_cache,
        streaming=options.streaming,
        cache_audio=not options.no_audio_cache,
        cache_gigabytes=options.cache_gigabytes,
        revision=options.revision,
        push_to=options.push_to,
    )
    if not processes.is_first():
        return
    if options.json:
        print(json.dumps(result.metrics["test"]))
        return
    from hf_ser.evaluation.tables import render_table

    print(render_table({chosen.name: result.metrics}))
    print(f"report, model card and plot: {result.output_dir}")
    if result.pushed is not None:
        tell(result.pushed, as_json=False)


def _recipe_option(text: str) -> tuple[str, Any]:
    field, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--recipe-option '{text}' is not FIELD=VALUE, such as head_dropout=0.1")
    try:
        return field, json.loads(value)
    except json.JSONDecodeError:
        return field, value


def _training_fields(more: Sequence[str]) -> dict[str, Any]:
    """Read the options that are fields of `TrainingArguments`; only those given replace the recipe's."""
    if not more:
        return {}
    import dataclasses

    from transformers import HfArgumentParser, TrainingArguments

    fields = {field.name for field in dataclasses.fields(TrainingArguments) if field.init}
    for word in more:
        name = word.removeprefix("--").partition("=")[0].replace("-", "_")
        if word.startswith("--") and name.removeprefix("no_") not in fields and name not in fields:
            raise InputError(f"option '{word}' is unknown; see hf-ser finetune --help")
    parser: Any = HfArgumentParser(TrainingArguments, allow_abbrev=False)

    def refuse(message: str) -> NoReturn:
        raise InputError(f"training arguments: {message}")

    parser.error = refuse
    for action in parser._actions:
        action.required, action.default = False, argparse.SUPPRESS
    given, rest = parser.parse_known_args(list(more))
    if rest:
        raise InputError(f"option '{rest[0]}' is unknown; see hf-ser finetune --help")
    return dict(vars(given))


def _summary(options: argparse.Namespace, more: Sequence[str]) -> None:
    from hf_ser.models.summary import summarize_recipes

    summary = summarize_recipes(options.model, labels=options.labels, recipe=options.recipe)
    print(json.dumps(summary.as_dict()) if options.json else summary.render())


def _splits(options: argparse.Namespace, more: Sequence[str]) -> None:
    from hf_ser.dataset.source import open_dataset

    source = open_dataset(options.dataset, options.protocol, allow_speaker_overlap=True)
    print(json.dumps(source.proof.as_dict()) if options.json else source.proof.render())


def _quickstart(options: argparse.Namespace, more: Sequence[str]) -> None:
    from hf_ser.quickstart.run import run_quickstart

    print(run_quickstart(options.output_dir))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The words after `hf-ser`; None takes those of the process.

    Returns:
        The exit code: 0, 2 for input that cannot be used, 130 when interrupted.

    Example:
        >>> main(["finetune", "--model", "m", "--dataset", "d", "--output-dir", "o", "--recipe", "lora_kqv"])
        2
    """
    options, more = _parser().parse_known_args(arguments)
    if more and not getattr(options, "takes_more", False):
        print(f"hf-ser {options.command}: error: unrecognized arguments: {' '.join(more)}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("hf_ser").setLevel(logging.INFO)
    try:
        options.run(options, more)
    except InputError as error:
        if options.debug:
            raise
        if processes.shows(error):
            print(f"hf-ser {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"hf-ser {options.command}: interrupted", file=sys.stderr)
        return 130
    return 0
