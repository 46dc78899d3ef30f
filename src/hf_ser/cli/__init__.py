"""The command line, one subcommand per public function: the parser, and how a subcommand runs, prints and fails."""

import argparse
import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence

from hf_ser import __version__
from hf_ser.cli.command import Parser, rank, report_error, unknown_option
from hf_ser.cli.data import add_data
from hf_ser.cli.finetune import add_finetune
from hf_ser.cli.model import add_model
from hf_ser.errors import InputError, without_tokens

_SIGPIPE_EXIT = 141


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = Parser(prog="hf-ser", description="Fine-tune speech encoders to recognise emotion.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"hf-ser {__version__}")
    parser.add_argument("--debug", action="store_true", help="show an error's traceback")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for add in (add_finetune, add_model, add_data):
        add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; `arguments` are the words after `hf-ser`, by default those of the process.

    Returns:
        The exit code: 0, 2 for input that cannot be used, 1 for a defect of the program or data that `check` finds
        unusable, 130 when interrupted, 141 when the reader of standard output went away.
    """
    options, more = build_parser().parse_known_args(arguments)
    try:
        if more and not getattr(options, "takes_more", False):
            raise InputError(unknown_option(more[0], options.parser))
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        logging.getLogger("hf_ser").setLevel(logging.ERROR if rank() else logging.INFO)
        # What a library prints goes to standard error, which leaves standard output to the subcommand.
        output = sys.stdout
        with contextlib.redirect_stdout(sys.stderr):
            for line in options.run(options, more):
                if rank() == 0:
                    print(line, file=output)
        output.flush()
    except KeyboardInterrupt:
        report_error(options.parser.prog, "interrupted")
        return 130
    except BrokenPipeError:
        # What is still buffered is written when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _SIGPIPE_EXIT
    except InputError as error:
        if options.debug:
            print(without_tokens(traceback.format_exc()), file=sys.stderr)
        report_error(options.parser.prog, without_tokens(str(error)))
        return 2
    except Exception:
        print(without_tokens(traceback.format_exc()), file=sys.stderr)
        return 1
    return int(getattr(options, "exit_code", 0))
