"""The command line: one subcommand, one public function."""

from hf_ser.cli.main import main

__all__ = ["main"]
