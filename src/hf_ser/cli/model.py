"""The subcommands on models: `evaluate`, `compare`, `predict`, `summary`, `push`; `push-metric` and `quickstart`."""

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

from hf_ser.cli.command import (
    DATA_OPTIONS,
    DATASET_HELP,
    add_command,
    add_options,
    data_options,
    numbers,
    rank,
    report_error,
)
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
            "--suite NAME,NAME": "full, or sections: correctness, baselines, calibration, fairness, robustness, "
            "shortcuts, latency",
            "--fail-under FIGURE=VALUE,FIGURE=VALUE": "exit with code 1 where a figure is worse: uar=0.6,ece=0.1,"
            "tess.uar=0.5,unchanged.white_20db=0.9",
            "--uncalibrated": "leave out the calibration that the model records",
            "--output-dir DIR": "write metrics, predictions, report and plots here",
            "--base-model MODEL": "folder or Hub id of the base of an adapter",
            "--revision NAME": "branch, tag or commit of the model on the Hub",
            "--json": "print the metrics as JSON, in the form of metrics.json, and the suite under `suite`",
        },
    )
    add_options(command, DATA_OPTIONS)
    described = "Print results side by side, the differences between them, and which are more than chance."
    command = add_command(commands, "compare", _compare, described)
    command.add_argument("results", nargs="+", help="folders of finetune or evaluate, JSON files of matrices, or paper")
    add_options(command, {"--json": "print JSON"})
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
    add_options(
        command,
        {
            "--batch-size N": "segments per batch (default: by device)",
            "--risk SHARE": "answer unknown where confidence lies below that of this share of errors in validation",
            "--coverage SHARE": "with --json, add the labels among which the true one was for this share of the clips",
            "--uncalibrated": "leave out the calibration that the model records",
        },
    )
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
    add_options(push, {"--evaluation DIR": "put the suite that evaluate --output-dir DIR wrote on the card"})
    add_options(push, {"--eval-results": "also write .eval_results, which the Hub shows on the data set's page"})
    add_options(push, {"--base-model USER/NAME": "the base model on the Hub, if it was a folder"})


def _evaluate(options: argparse.Namespace, more: Sequence[str]) -> Iterator[str]:
    settings = data_options(options) | {name: getattr(options, name) for name in ("protocol", "part", "suite")}
    limits = numbers("--fail-under", options.fail_under)
    from hf_ser.evaluation.evaluate import evaluate
    from hf_ser.inference.classifier import load

    opened = {"revision": options.revision, "base": options.base_model, "calibrated": not options.uncalibrated}
    evaluation = evaluate(load(options.model, **opened), options.dataset, **settings)
    if options.output_dir and rank() == 0:
        evaluation.save(options.output_dir)
    yield from _shown(evaluation, options)
    for failure in (failed := evaluation.failures(limits)):
        report_error(options.parser.prog, failure)
    options.exit_code = 1 if failed else 0


def _shown(evaluation: Any, options: argparse.Namespace) -> Iterator[str]:
    if options.json:
        suite = {} if evaluation.suite is None else {"suite": evaluation.suite}
        yield json.dumps({**evaluation.results, **suite})
        return
    from hf_ser.evaluation.report import render_suite, render_table

    yield repr(evaluation)
    if left_out := evaluation.facts["clips_with_other_labels"]:
        yield f"left out: {left_out:,} clips whose labels the model does not know"
    yield render_table({evaluation.facts["model"]["name"]: {"test": evaluation.results[options.part]}})
    if evaluation.suite is not None:
        yield render_suite(evaluation.suite)
    if options.output_dir:
        yield f"metrics, predictions, report and plots: {options.output_dir}"


def _compare(options: argparse.Namespace, more: Sequence[str]) -> Iterator[str]:
    from hf_ser.evaluation.compare import compare

    comparison = compare(*options.results)
    yield json.dumps(comparison.as_dict()) if options.json else comparison.render()


def _predict(options: argparse.Namespace, more: Sequence[str]) -> Iterator[str]:
    files = [file for given in options.audio for file in _audio_files(given)]
    from hf_ser.inference.classifier import load

    settings = {name: getattr(options, name) for name in ("revision", "risk", "coverage")}
    settings = {name: value for name, value in settings.items() if value is not None}
    classifier = load(options.model, calibrated=not options.uncalibrated, **settings)
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
            yield f"{printable(file)}\t{answer['label']}\t{max(answer['scores'].values()):.3f}"
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

    further = {name: getattr(options, name) for name in ("merged", "base_model", "evaluation", "eval_results")}
    pushed = push_to_hub(options.folder, options.repository, **_settings(options), **further)
    yield json.dumps(dataclasses.asdict(pushed)) if options.json else str(pushed)


def _push_metric(options: argparse.Namespace, more: Sequence[str]) -> Iterator[str]:
    from hf_ser.hub.metric_space import push_metric

    pushed = push_metric(options.metric, options.repository, **_settings(options))
    yield json.dumps(dataclasses.asdict(pushed)) if options.json else str(pushed)
    if not options.json:
        yield f'evaluate.load("{options.repository}")'
