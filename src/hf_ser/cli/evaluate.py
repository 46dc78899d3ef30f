"""The `evaluate` subcommand."""

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

from hf_ser.cli.command import DATASET_HELP, add_command, add_options, rank, require_dataset


def add_evaluate(commands: Any) -> None:
    """Add the subcommand to the subparsers of `hf-ser`."""
    command = add_command(commands, "evaluate", _evaluate, "Evaluate a model on one part of a data set.")
    command.add_argument("model", help="folder that finetune wrote, any audio-classification checkpoint, or a Hub id")
    add_options(command, {"--dataset DATASET": DATASET_HELP}, required=True)
    add_options(command, {"--part PART": "train, validation, test (default) or all"}, default="test")
    add_options(
        command,
        {
            "--protocol NAME": "default: the one that the model was trained with, else speaker_independent",
            "--output-dir DIR": "write metrics, predictions, report and plot here",
            "--base-model MODEL": "folder or Hub id of the base of an adapter",
            "--revision NAME": "branch, tag or commit of the model on the Hub",
            "--json": "print the metrics as JSON, in the form of metrics.json",
        },
    )


def _evaluate(options: argparse.Namespace, more: Sequence[str]) -> Iterator[str]:
    require_dataset(options.dataset)
    from hf_ser.evaluation.evaluate import evaluate

    settings = {name: getattr(options, name) for name in ("protocol", "part", "revision")}
    evaluation = evaluate(options.model, options.dataset, base=options.base_model, **settings)
    if options.output_dir and rank() == 0:
        evaluation.save(options.output_dir)
    if options.json:
        yield json.dumps(evaluation.results)
        return
    from hf_ser.evaluation.tables import render_table

    yield repr(evaluation)
    if left_out := evaluation.facts["clips_with_other_labels"]:
        yield f"left out: {left_out:,} clips whose labels the model does not know"
    yield render_table({evaluation.facts["model"]["name"]: {"test": evaluation.results[options.part]}})
    if options.output_dir:
        yield f"metrics, predictions, report and plot: {options.output_dir}"
