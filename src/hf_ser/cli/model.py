"""The subcommands on a model: `evaluate`, `predict`, `summary`, `push`; and `push-metric` and `quickstart`."""

import argparse
import csv
import dataclasses
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hf_ser.cli.command import DATA_OPTIONS, DATASET_HELP, add_command, add_options, data_options, rank, report_error
from hf_ser.corpora.clip import AUDIO_EXTENSIONS
from hf_ser.corpora.walk import OTHER_RECORDINGS, visible_files
from hf_ser.errors import InputError
from hf_ser.text import csv_cell, printable

_TARGET = {
    "--revision BRANCH": "branch to commit to, created if it does not exist",
    "--create-pr": "propose the commit as a pull request",
    "--public": "make a new repository public",
    "--json": "print what was done as JSON",
}


def add_model(commands: Any) -> None:
    """Add the subcommands to the subparsers of `hf-ser`."""
    command = add_command(commands, "evaluate", _evaluate, "Evaluate a model on one part of a data set.")
    command.add_argument("model", help="folder that finetune wrote, any audio-classification checkpoint, or a Hub id")
    add_options(command, {"--dataset DATASET": DATASET_HELP}, required=True, action="append")
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
    add_options(command, DATA_OPTIONS)
    command = add_command(
        commands,
        "predict",
        _predict,
        "Classify speech with a fine-tuned model or adapter.",
        epilog="An unreadable file is reported, the rest continue, and the exit code is 2.",
    )
    command.add_argument("model", help="folder that finetune wrote, or a Hub id")
    command.add_argument("audio", nargs="+", help="audio files, and folders whose audio files are all classified")
    add_options(command, {"--revision NAME": "branch, tag or commit of the model on the Hub"})
    add_options(command, {"--batch-size N": "segments per batch (default: by device)"})
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object per file")
    form.add_argument("--csv", action="store_true", help="print a table: file, label, a score for each label, error")
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


def _evaluate(options: argparse.Namespace, more: Sequence[str]) -> Iterator[str]:
    settings = {name: getattr(options, name) for name in ("protocol", "part", "revision")} | data_options(options)
    from hf_ser.evaluation.evaluate import evaluate

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


def _predict(options: argparse.Namespace, more: Sequence[str]) -> Iterator[str]:
    files = [file for given in options.audio for file in _audio_files(given)]
    from hf_ser.inference.classifier import load

    classifier = load(options.model, **({} if options.revision is None else {"revision": options.revision}))
    if options.csv:
        yield _csv_line(["file", "label", *classifier.labels, "error"])
    # A bar among the answers on one terminal would tear both.
    progress = sys.stderr.isatty() and not os.isatty(1)
    failed = 0
    answers = classifier.stream(files, batch_size=options.batch_size, progress=progress)
    for file, answer in zip(files, answers, strict=True):
        if "error" in answer:
            failed += 1
            report_error(options.parser.prog, answer["error"])
        if options.json:
            yield json.dumps({"file": file, **answer})
        elif options.csv:
            scores = answer.get("scores", {})
            values = [f"{scores[label]:.6f}" if scores else "" for label in classifier.labels]
            yield _csv_line([file, answer.get("label", ""), *values, answer.get("error", "")])
        elif "error" not in answer:
            yield f"{printable(file)}\t{answer['label']}\t{answer['scores'][answer['label']]:.3f}"
    if failed:
        raise InputError(f"{failed} of {len(files)} files could not be classified")


def _audio_files(given: str) -> list[str]:
    folder = Path(given)
    if not folder.is_dir():
        return [given]
    # A recording in a format that cannot be read is reported, not passed over.
    extensions = AUDIO_EXTENSIONS | OTHER_RECORDINGS
    found = [str(path) for path in visible_files(folder) if path.suffix.lower() in extensions]
    if not found:
        known = ", ".join(sorted(AUDIO_EXTENSIONS))
        raise InputError(f"folder '{given}' holds no audio ({known}); name the files themselves")
    return found


def _csv_line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([printable(str(csv_cell(cell))) for cell in cells])
    return text.getvalue()


def _summary(options: argparse.Namespace, more: Sequence[str]) -> Iterator[str]:
    from hf_ser.models.summary import summarize_recipes

    summary = summarize_recipes(options.model, labels=options.labels, recipe=options.recipe)
    yield json.dumps(summary.as_dict()) if options.json else summary.render()


def _quickstart(options: argparse.Namespace, more: Sequence[str]) -> Iterator[str]:
    from hf_ser.quickstart.run import run_quickstart

    yield run_quickstart(options.output_dir)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {"private": not options.public, "revision": options.revision, "create_pr": options.create_pr}


def _push(options: argparse.Namespace, more: Sequence[str]) -> Iterator[str]:
    from hf_ser.hub.push import push_to_hub

    further = {"merged": options.merged, "base_model": options.base_model}
    pushed = push_to_hub(options.folder, options.repository, **_settings(options), **further)
    yield json.dumps(dataclasses.asdict(pushed)) if options.json else str(pushed)


def _push_metric(options: argparse.Namespace, more: Sequence[str]) -> Iterator[str]:
    from hf_ser.hub.metric_space import push_metric

    pushed = push_metric(options.metric, options.repository, **_settings(options))
    yield json.dumps(dataclasses.asdict(pushed)) if options.json else str(pushed)
    if not options.json:
        yield f'evaluate.load("{options.repository}")'
