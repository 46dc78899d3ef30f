"""The `build` subcommand: the eight-emotions data set as a folder, and on the Hub."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_ser.cli_hub import tell
from hf_ser.corpora import CORPORA
from hf_ser.errors import InputError

__all__ = ["add_build"]


def _comma_separated(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def add_build(commands: Any, add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the subcommand.

    Args:
        commands: The subparsers of `hf-ser`.
        add: What makes a subcommand of them.
    """
    command = add(commands, "build", _build, "Build the eight-emotions data set from the corpora, and publish it.")
    for name, corpus in CORPORA.items():
        described = f"folder or zip file of {corpus.short_title}, in any layout"
        command.add_argument(f"--{name.replace('_', '-')}", metavar="DIR|ZIP", help=described)
    command.add_argument(
        "--download",
        metavar="CORPORA",
        type=_comma_separated,
        default=[],
        help="fetch these corpora: ravdess, tess, crema_d, separated by commas",
    )
    command.add_argument("--download-dir", metavar="DIR", help="where downloads are kept (default: the user's cache)")
    command.add_argument("--out", required=True, help="absent or empty folder to write")
    command.add_argument(
        "--label-scheme",
        default="intended",
        help="CREMA-D's labels: intended (default), voice_vote or multimodal_vote; tied votes are rejected and listed",
    )
    command.add_argument(
        "--votes", metavar="DIR", help="CREMA-D's processedResults, if it does not lie beside the audio"
    )
    command.add_argument("--strict", action="store_true", help="make any rejected or flagged file an error")
    command.add_argument("--overwrite", action="store_true", help="replace an earlier build in the output folder")
    command.add_argument("--num-proc", type=int, help="files read at a time (default: number of processors)")
    command.add_argument("--push-to", metavar="USER/NAME", help="publish on the Hub, private unless --public")
    command.add_argument("--public", action="store_true", help="make a new repository public")
    command.add_argument(
        "--acknowledge-licences",
        metavar="CORPORA",
        type=_comma_separated,
        default=[],
        help="for a public repository: the corpora whose terms forbid it and that you may publish, such as savee,tess",
    )
    command.add_argument("--json", action="store_true", help="print the build report as JSON")


def _build(options: argparse.Namespace, more: Sequence[str]) -> None:
    from hf_ser.dataset.build import build_dataset

    given = {name: getattr(options, name) for name in CORPORA}
    if (options.public or options.acknowledge_licences) and not options.push_to:
        raise InputError("--public and --acknowledge-licences go with --push-to USER/NAME; add it, or leave them out")
    for name in options.download:
        if given.get(name):
            raise InputError(f"{name} is given by a path and by --download; leave one of them out")
        from hf_ser.dataset.download import download_corpus

        given[name] = download_corpus(name, options.download_dir)
    result = build_dataset(
        out=options.out,
        **given,
        label_scheme=options.label_scheme,
        votes=options.votes,
        strict=options.strict,
        overwrite=options.overwrite,
        num_proc=options.num_proc,
    )
    if options.json:
        print(json.dumps(result.report))
    else:
        _print_summary(result.report, result.folder)
    if options.push_to:
        from hf_ser.hub.publish import publish_dataset

        pushed = publish_dataset(
            result.folder,
            options.push_to,
            private=not options.public,
            acknowledge_licences=options.acknowledge_licences,
        )
        if not options.json:
            tell(pushed, as_json=False)


def _print_summary(report: Mapping[str, Any], folder: Path) -> None:
    for corpus, counts in report["counts"].items():
        found, published = sum(counts.values()), sum(report["table_2"][corpus].values())
        origins = ", ".join(f"{number:,} {origin}" for origin, number in report["provenance"][corpus].items() if number)
        print(f"{corpus:8} {found:6,} of {published:,} clips ({origins or 'none'})")
    print(f"rejected {len(report['rejected']):,}, flagged {len(report['flagged']):,}: see {folder / 'build_report.md'}")
    if report["protocols_left_out"]:
        print(f"no configuration for {', '.join(report['protocols_left_out'])}: the clips do not allow them")
