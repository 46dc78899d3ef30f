"""The subcommands on data sets: `check`, `splits` and `build`."""

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

from hf_ser.cli.command import DATA_OPTIONS, DATASET_HELP, PROTOCOL_HELP, add_command, add_options, data_options
from hf_ser.corpora import CORPORA, EIGHT_EMOTIONS_CORPORA
from hf_ser.errors import InputError
from hf_ser.text import render

_BUILD = {
    "--download NAME,NAME": "fetch these corpora: ravdess, tess, crema_d, separated by commas",
    "--download-dir DIR": "where downloads are kept (default: the user's cache)",
    "--label-scheme SCHEME": "CREMA-D's labels: intended (default), voice_vote or multimodal_vote (ties are rejected)",
    "--votes DIR": "CREMA-D's processedResults, if not beside the audio",
    "--overwrite": "replace an earlier build in the output folder",
    "--num-proc N": "files read at a time (default: number of processors)",
    "--push-to USER/NAME": "publish on the Hub, private unless --public",
    "--public": "make a new repository public",
    "--gated TERMS": "with --push-to: whoever wants the files has to agree to these terms first",
    "--acknowledge-licences NAME,NAME": "with --public: corpora whose terms forbid it and that you may publish",
    "--json": "print the build report as JSON",
}


def add_data(commands: Any) -> None:
    """Add the subcommands to the subparsers of `hf-ser`."""
    described = "Check data before training: what is there, what is wrong with it, and how it splits."
    check = add_command(
        commands, "check", _check, described, epilog="The exit code is 1 where finetune would refuse the data."
    )
    splits = add_command(commands, "splits", _splits, "Show the parts that a protocol makes, and what they share.")
    for command in (check, splits):
        command.add_argument("dataset", nargs="+", help=DATASET_HELP)
        command.add_argument("--protocol", default="speaker_independent", help=PROTOCOL_HELP)
        add_options(command, DATA_OPTIONS)
        add_options(command, {"--json": "print JSON"})
    add_options(check, {"--output-dir DIR": "write check.json and a page of plots here"})
    described = "Build one data set from the four corpora, or from recordings of your own, and publish it."
    command = add_command(commands, "build", _build, described)
    sources = {
        f"--{name.replace('_', '-')} DIR|ZIP": f"{CORPORA[name].short_title}, in any layout"
        for name in EIGHT_EMOTIONS_CORPORA
    }
    add_options(command, sources)
    add_options(command, {"--dataset DATASET": f"recordings of your own: {DATASET_HELP}"}, action="append")
    add_options(command, {"--out DIR": "absent or empty folder to write"}, required=True)
    add_options(command, _BUILD)
    add_options(command, DATA_OPTIONS)
    command.set_defaults(download=[], acknowledge_licences=[], label_scheme="intended")


def _check(options: argparse.Namespace, more: Sequence[str]) -> Iterator[str]:
    settings = data_options(options)
    from hf_ser.dataset.check import check_dataset

    found = check_dataset(options.dataset, options.protocol, **settings)
    if options.output_dir:
        found.save(options.output_dir)
    yield json.dumps(found.facts) if options.json else found.render()
    options.exit_code = 1 if found.refused else 0


def _splits(options: argparse.Namespace, more: Sequence[str]) -> Iterator[str]:
    settings = data_options(options) | {"allow_speaker_overlap": True}
    from hf_ser.dataset.source import open_dataset

    source = open_dataset(options.dataset, options.protocol, **settings)
    yield json.dumps(source.proof.as_dict()) if options.json else source.proof.render()


def _build(options: argparse.Namespace, more: Sequence[str]) -> Iterator[str]:
    from hf_ser.dataset.build import build_dataset

    given = {name: getattr(options, name) for name in EIGHT_EMOTIONS_CORPORA}
    if (options.public or options.acknowledge_licences or options.gated) and not options.push_to:
        raise InputError("--public, --gated and --acknowledge-licences go with --push-to USER/NAME; add it")
    own = data_options(options)
    for name in options.download:
        if given.get(name):
            raise InputError(f"{name} is given by a path and by --download; leave one of them out")
        from hf_ser.dataset.download import download_corpus

        given[name] = download_corpus(name, options.download_dir)
    settings = {name: getattr(options, name) for name in ("label_scheme", "votes", "overwrite", "num_proc")}
    result = build_dataset(out=options.out, dataset=options.dataset, **given, **settings, **own)
    text = render("build.txt", **result.report, path=result.folder / "build_report.md")
    yield json.dumps(result.report) if options.json else text.rstrip()
    if options.push_to:
        from hf_ser.hub.publish import publish_dataset

        pushed = publish_dataset(
            result.folder,
            options.push_to,
            private=not options.public,
            acknowledge_licences=options.acknowledge_licences,
            gated=options.gated,
        )
        if not options.json:
            yield str(pushed)
