"""The subcommands `summary` and `quickstart`."""

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

from hf_ser.cli.command import add_command, add_options


def add_summary(commands: Any) -> None:
    """Add both subcommands to the subparsers of `hf-ser`."""
    described = "Print an encoder's layers, shapes and parameters (the paper's Table 1)."
    command = add_command(commands, "summary", _summary, described)
    command.add_argument("model", help="folder with a config.json, or a Hub id")
    add_options(
        command, {"--recipe NAME": "show what this recipe trains (default: all recipes)", "--json": "print JSON"}
    )
    add_options(command, {"--labels N": "number of labels (default 8)"}, default=8)
    described = "Run all three recipes on synthetic speech and a tiny encoder, offline."
    command = add_command(commands, "quickstart", _quickstart, described)
    add_options(command, {"--output-dir DIR": "folder to write (default quickstart)"}, default="quickstart")


def _summary(options: argparse.Namespace, more: Sequence[str]) -> Iterator[str]:
    from hf_ser.models.summary import summarize_recipes

    summary = summarize_recipes(options.model, labels=options.labels, recipe=options.recipe)
    yield json.dumps(summary.as_dict()) if options.json else summary.render()


def _quickstart(options: argparse.Namespace, more: Sequence[str]) -> Iterator[str]:
    from hf_ser.quickstart.run import run_quickstart

    yield run_quickstart(options.output_dir)
