"""The `predict` subcommand: files and folders of speech, one line an answer."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from hf_ser import processes
from hf_ser.corpora.clip import AUDIO_EXTENSIONS
from hf_ser.corpora.walk import visible_files
from hf_ser.errors import InputError

__all__ = ["add_predict"]


def add_predict(commands: Any, add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the subcommand.

    Args:
        commands: The subparsers of `hf-ser`.
        add: What makes a subcommand of them.
    """
    command = add(
        commands,
        "predict",
        _predict,
        "Classify speech by a fine-tuned model or adapter.",
        epilog="A file that cannot be read costs its own line only; the exit code is then 2.",
    )
    command.add_argument("model", help="folder that finetune wrote, or a Hub id")
    command.add_argument("audio", nargs="+", help="audio files, and folders, in which all audio is taken")
    command.add_argument("--revision", help="branch, tag or commit of the model on the Hub")
    command.add_argument(
        "--batch-size", type=int, metavar="N", help="segments a batch (default: what suits the device)"
    )
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object a file")
    form.add_argument("--csv", action="store_true", help="print a table: file, label, a score for each label, error")


def _predict(options: argparse.Namespace, more: Sequence[str]) -> None:
    files = [file for given in options.audio for file in _audio_files(given)]
    from hf_ser.inference.classifier import load

    with processes.together(), processes.first_of_node_first():
        classifier = load(options.model, **({} if options.revision is None else {"revision": options.revision}))
    write = _json_line if options.json else _table(classifier.labels) if options.csv else _text_line
    failed = 0
    # A bar among the answers on one terminal would tear both.
    progress = sys.stderr.isatty() and not sys.stdout.isatty()
    answers: Iterable[dict[str, Any]]
    if processes.count() > 1:
        from hf_ser.inference.spread import spread

        answers = spread(lambda mine: list(classifier.stream(mine, batch_size=options.batch_size)), files)
        if not processes.is_first():
            return
    else:
        answers = classifier.stream(files, batch_size=options.batch_size, progress=progress)
    for file, answer in zip(files, answers, strict=True):
        if "error" in answer:
            failed += 1
            print(f"hf-ser predict: {answer['error']}", file=sys.stderr)
        write(file, answer)
    if failed:
        raise InputError(f"{failed} of {len(files)} files got no answer")


def _audio_files(given: str) -> list[str]:
    folder = Path(given)
    if not folder.is_dir():
        return [given]
    found = [str(path) for path in visible_files(folder) if path.suffix.lower() in AUDIO_EXTENSIONS]
    if not found:
        known = ", ".join(sorted(AUDIO_EXTENSIONS))
        raise InputError(f"folder {given} holds no audio ({known}); name the files themselves")
    return found


def _text_line(file: str, answer: dict[str, Any]) -> None:
    if "error" not in answer:
        print(f"{file}\t{answer['label']}\t{answer['scores'][answer['label']]:.3f}")


def _json_line(file: str, answer: dict[str, Any]) -> None:
    print(json.dumps({"file": file, **answer}))


def _table(labels: Sequence[str]) -> Callable[[str, dict[str, Any]], None]:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "label", *labels, "error"])

    def line(file: str, answer: dict[str, Any]) -> None:
        scores = answer.get("scores", {})
        values = [f"{scores[label]:.6f}" if scores else "" for label in labels]
        writer.writerow([file, answer.get("label", ""), *values, answer.get("error", "")])

    return line
