"""What the subcommands share: options, forms of text, the process that prints."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from hf_ser.errors import InputError
from hf_ser.text import printable

DATASET_HELP = "folder of recordings, table of them, or Hub id; several are joined, NAME=DATA names one"
PROTOCOL_HELP = (
    "speaker_independent (default), fold_0 … fold_4, leave_out_DATASET, leave_speaker_out_SPEAKER, stratified (for a "
    "part of a known corpus), or paper (shares speakers)"
)

DATA_OPTIONS = {
    "--columns ROLE=NAME,ROLE=NAME": "columns of a table by role, such as label=Emotion,speaker=spk",
    "--labels MAP": "rename or drop labels: anger=angry,boredom= or a YAML file of old: new",
    "--speaker-pattern REGEX": "find the speaker in the path, such as 'spk(\\d+)'",
    "--speakers unknown": "split without speakers, by folders and near-identical files; figures may be inflated",
    "--strict": "refuse data of which any row or recording would be left out",
    "--allow-speaker-overlap": "accept parts that share speakers",
    "--dataset-name NAME": "name of the data set in reports and cards",
    "--language CODE": "language of the speech for the card, such as en or de",
    "--licence ID": "licence of the data set for the card, such as cc-by-4.0",
    "--acted YES|NO": "whether the speech is acted, for the card",
}

Run = Callable[[argparse.Namespace, Sequence[str]], Iterable[str]]
"""A subcommand: takes the options and the words that no option took, yields the lines of standard output."""


class Parser(argparse.ArgumentParser):
    """A parser whose error is one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with code 2."""
        report_error(self.prog, message)
        self.exit(2)


def add_command(commands: Any, name: str, run: Run, description: str, **options: Any) -> argparse.ArgumentParser:
    """Add a subcommand to the subparsers of `hf-ser`; `options` are those of `argparse.ArgumentParser`."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=description, description=description, allow_abbrev=False, **options
    )
    # SUPPRESS: without it, the subcommand's default would undo `hf-ser --debug COMMAND`.
    command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show an error's traceback")
    command.set_defaults(run=run, parser=command)
    return command


def add_options(command: argparse.ArgumentParser, described: Mapping[str, str], **settings: Any) -> None:
    """Add options by name and help: `--name` is a switch, `--name VALUE` takes a value."""
    for option, text in described.items():
        name, _, value = option.partition(" ")
        if value:
            command.add_argument(name, metavar=value, type=_TYPES.get(value, str), help=text, **settings)
        else:
            command.add_argument(name, action="store_true", help=text)


def data_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `open_dataset` that the options stand for, those that were given.

    What is neither a file or folder nor a Hub id is refused here, before the imports that take seconds.
    """
    for one in options.dataset or ():
        name = one if Path(one).exists() else one.partition("=")[2] or one
        if not Path(name).exists() and (name.count("/") != 1 or name.startswith((".", "/", "~"))):
            ways = "give a folder of recordings, a table, or a Hub id USER/NAME"
            raise InputError(f"data set '{name}': there is no such folder or file; {ways}")
    same = ("speaker_pattern", "speakers", "strict", "allow_speaker_overlap", "language", "licence")
    given = {name: getattr(options, name) for name in same} | {"name": options.dataset_name}
    if options.columns is not None:
        given["columns"] = _pairs("--columns", options.columns)
    if options.labels is not None:
        given["labels"] = _label_map(options.labels)
    if options.acted is not None:
        if options.acted.lower() not in ("yes", "no"):
            raise InputError(f"--acted is '{options.acted}'; give yes or no")
        given["acted"] = options.acted.lower() == "yes"
    return {name: value for name, value in given.items() if value not in (None, False) or name == "acted"}


def _pairs(option: str, text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if bad := next((name for name, equals, _ in pairs if not equals or not name.strip()), None):
        raise InputError(f"{option}: '{bad}' is not NAME=VALUE; separate several by commas")
    return {name.strip(): value.strip() for name, _, value in pairs}


def numbers(option: str, text: str | None) -> dict[str, float]:
    """Return the numbers that an option of NAME=NUMBER,NAME=NUMBER gives by name."""
    try:
        return {name: float(value) for name, value in _pairs(option, text or "").items()}
    except ValueError:
        raise InputError(f"{option}: '{text}' is not NAME=NUMBER; separate several by commas") from None


def _label_map(text: str) -> dict[str, str]:
    file = Path(text)
    if file.suffix.lower() not in (".yaml", ".yml", ".json"):
        return _pairs("--labels", text)
    import yaml

    try:
        # As text, so that `no` and 0 stay what they are.
        values = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
        raise InputError(f"--labels: '{text}' cannot be read ({reason}); give a YAML file of lines OLD: NEW") from error
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise InputError(f"--labels: '{text}' is not a mapping of old to new labels; give lines OLD: NEW")
    return {old: "" if new in ("~", "null") else new for old, new in values.items()}


_TYPES: dict[str, Callable[[str], Any]] = {
    "N": int,
    "SECONDS": float,
    "SHARE": float,
    "NAME,NAME": lambda text: text.strip(",").split(","),
}


def rank() -> int:
    """Return the number of this process under `torchrun`; 0 is the main process."""
    # Some schedulers set RANK alone, for reasons of their own.
    return int(os.environ.get("RANK", "0")) if "LOCAL_RANK" in os.environ else 0


def report_error(program: str, message: str) -> None:
    """Print an error on one line; under `torchrun`, a process other than the main one names its rank."""
    print(f"{program}{f' [rank {rank()}]' if rank() else ''}: {printable(message)}", file=sys.stderr)


def unknown_option(word: str, parser: argparse.ArgumentParser, fields: Iterable[str] = ()) -> str:
    """Return the message for a word that no option took; it names the nearest option, or field, that exists."""
    option = word.partition("=")[0]
    if not option.startswith("-"):
        return f"unexpected argument '{word}'; see {parser.prog} --help"
    known = [*re.findall(r"--[a-z][\w-]+", parser.format_help()), *(f"--{field}" for field in fields)]
    spelled = {name.replace("-", "_"): name for name in known}
    near = get_close_matches(option.replace("-", "_"), spelled, n=1, cutoff=0.7)
    suggestion = f"did you mean {spelled[near[0]]}?" if near else f"see {parser.prog} --help"
    return f"unknown option '{option}'; {suggestion}"
