"""The `predict` subcommand: files and folders of speech, one line for each file."""

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hf_ser.cli.command import add_command, add_options, printable, report_error
from hf_ser.corpora.clip import AUDIO_EXTENSIONS
from hf_ser.corpora.walk import OTHER_RECORDINGS, visible_files
from hf_ser.errors import InputError
from hf_ser.text import csv_cell


def add_predict(commands: Any) -> None:
    """Add the subcommand to the subparsers of `hf-ser`."""
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
            report_error("predict", answer["error"])
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
