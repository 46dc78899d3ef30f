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

DATASET_HELP = "folder with the audio of the corpora, a built data set, or a Hub id"
PROTOCOL_HELP = "speaker_independent (default), fold_0 … fold_4, leave_out_CORPUS, or paper (shares speakers)"

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


def require_dataset(name: str) -> None:
    """Refuse what is neither a folder nor a Hub id, before the imports that take seconds."""
    is_hub_id = name.count("/") == 1 and not name.startswith((".", "/", "~"))
    if not Path(name).exists() and not is_hub_id:
        raise InputError(
            f"data set '{name}': there is no such folder; give a folder that holds the corpora, or a Hub id USER/NAME"
        )


_TYPES: dict[str, Callable[[str], Any]] = {
    "N": int,
    "SECONDS": float,
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
