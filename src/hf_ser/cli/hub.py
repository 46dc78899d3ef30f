"""The subcommands that upload to the Hub: `push` and `push-metric`."""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from hf_ser.cli.command import add_command, add_options, pushed_line

_TARGET = {
    "--revision BRANCH": "branch to commit to, created if it does not exist",
    "--create-pr": "propose the commit as a pull request",
    "--public": "make a new repository public",
    "--json": "print what was done as JSON",
}


def add_hub(commands: Any) -> None:
    """Add both subcommands to the subparsers of `hf-ser`."""
    push = add_command(commands, "push", _push, "Verify and upload a fine-tuned model or adapter, with a model card.")
    push.add_argument("folder", help="folder that finetune wrote")
    described = "Upload a metric as a Space that evaluate.load(USER/NAME) loads and that has a page to try it."
    metric = add_command(commands, "push-metric", _push_metric, described)
    metric.add_argument("metric", help="accuracy, uar, f1, eer, paper_eer or confusion")
    for command in (push, metric):
        command.add_argument("repository", metavar="USER/NAME", help="created, private, if it does not exist")
        add_options(command, _TARGET)
    add_options(push, {"--merged": "merge the adapter into its base: a plain checkpoint"})
    add_options(push, {"--base-model USER/NAME": "the base model on the Hub, if it was a folder"})


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {"private": not options.public, "revision": options.revision, "create_pr": options.create_pr}


def _push(options: argparse.Namespace, more: Sequence[str]) -> Iterator[str]:
    from hf_ser.hub.push import push_to_hub

    further = {"merged": options.merged, "base_model": options.base_model}
    pushed = push_to_hub(options.folder, options.repository, **_settings(options), **further)
    yield pushed_line(pushed, as_json=options.json)


def _push_metric(options: argparse.Namespace, more: Sequence[str]) -> Iterator[str]:
    from hf_ser.hub.metric_space import push_metric

    pushed = push_metric(options.metric, options.repository, **_settings(options))
    yield pushed_line(pushed, as_json=options.json)
    if not options.json:
        yield f'evaluate.load("{options.repository}")'
