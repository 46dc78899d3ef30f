"""The `push-metric` subcommand: a metric of this library as a Space."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["add_push_metric"]


def add_push_metric(commands: Any, add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the subcommand.

    Args:
        commands: The subparsers of `hf-ser`.
        add: What makes a subcommand of them.
    """
    command = add(
        commands, "push-metric", _push_metric, "Put a metric on the Hub as a Space that evaluate.load(REPO) loads."
    )
    command.add_argument("name", help="accuracy, uar, f1, eer, paper_eer or confusion")
    command.add_argument("repo", metavar="USER/NAME", help="the Space; made where it does not exist")
    command.add_argument("--public", action="store_true", help="make a new Space public")
    command.add_argument("--revision", metavar="BRANCH", help="commit to this branch (default main)")
    command.add_argument("--create-pr", action="store_true", help="open a pull request instead")
    command.add_argument("--json", action="store_true", help="print what was done as JSON")


def _push_metric(options: argparse.Namespace, more: Sequence[str]) -> None:
    from hf_ser.hub.metric_space import push_metric

    pushed = push_metric(
        options.name,
        options.repo,
        private=not options.public,
        revision=options.revision,
        create_pr=options.create_pr,
    )
    if options.json:
        print(json.dumps(dataclasses.asdict(pushed)))
        return
    done = "unchanged, no commit" if pushed.commit is None else f"commit {pushed.commit}"
    print(f"{pushed.url}: {done}")
    print(f'evaluate.load("{options.repo}")')
