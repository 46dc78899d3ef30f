"""The subcommands that put something on the Hub."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hf_ser.hub.commits import Pushed

__all__ = ["add_push", "add_push_metric", "tell"]


def add_push(commands: Any, add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the subcommand `push`.

    Args:
        commands: The subparsers of `hf-ser`.
        add: What makes a subcommand of them.
    """
    command = add(commands, "push", _push, "Put a fine-tuned model or adapter on the Hub, proved and with its card.")
    command.add_argument("folder", help="folder that finetune wrote")
    command.add_argument("repository", metavar="USER/NAME", help="where to; made, private, where it does not exist")
    command.add_argument("--merged", action="store_true", help="merge the adapter into its base: a plain checkpoint")
    command.add_argument("--revision", help="branch to commit to, made where it does not exist")
    command.add_argument("--create-pr", action="store_true", help="propose the commit as a pull request")
    command.add_argument("--public", action="store_true", help="make a new repository public")
    command.add_argument(
        "--base-model", metavar="USER/NAME", help="where the base model lies on the Hub, if it was a folder"
    )
    command.add_argument("--json", action="store_true", help="print what was done as JSON")


def _push(options: argparse.Namespace, more: Sequence[str]) -> None:
    from hf_ser.hub.push import push_to_hub

    pushed = push_to_hub(
        options.folder,
        options.repository,
        merged=options.merged,
        private=not options.public,
        revision=options.revision,
        create_pr=options.create_pr,
        base_model=options.base_model,
    )
    tell(pushed, as_json=options.json)


def add_push_metric(commands: Any, add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the subcommand `push-metric`.

    Args:
        commands: The subparsers of `hf-ser`.
        add: What makes a subcommand of them.
    """
    described = "Put a metric on the Hub as a Space that evaluate.load(USER/NAME) loads and that shows its own page."
    command = add(commands, "push-metric", _push_metric, described)
    command.add_argument("metric", help="accuracy, uar, f1, eer, paper_eer or confusion")
    command.add_argument("repository", metavar="USER/NAME", help="where to; made, private, where it does not exist")
    command.add_argument("--revision", help="branch to commit to, made where it does not exist")
    command.add_argument("--create-pr", action="store_true", help="propose the commit as a pull request")
    command.add_argument("--public", action="store_true", help="make a new Space public")
    command.add_argument("--json", action="store_true", help="print what was done as JSON")


def _push_metric(options: argparse.Namespace, more: Sequence[str]) -> None:
    from hf_ser.hub.metric_space import push_metric

    pushed = push_metric(
        options.metric,
        options.repository,
        private=not options.public,
        revision=options.revision,
        create_pr=options.create_pr,
    )
    tell(pushed, as_json=options.json)
    if not options.json:
        print(f'evaluate.load("{options.repository}")')


def tell(pushed: Pushed, *, as_json: bool) -> None:
    """Print what a push did: the address first."""
    if as_json:
        print(json.dumps(dataclasses.asdict(pushed)))
    else:
        print(f"{pushed.url}: {'unchanged, no commit' if pushed.commit is None else f'commit {pushed.commit}'}")
