"""``python -m benchmarks.models``: write ``models/README.md``, and the table of networks in ``README.md``."""

import argparse
import pathlib
import re
from collections.abc import Sequence

import models
from benchmarks.models.page import block, page
from benchmarks.models.shipped import read_shipped
from support.command_line import print_line, run
from support.errors import InputError
from support.files import write_atomically

__all__ = ["PAGE", "README", "create_parser", "main", "refreshed"]

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
PAGE = models.FOLDER / "README.md"
BLOCK = re.compile(r"(<!-- networks: all.*? -->\n\n).*?(\n\n<!-- networks: end -->)", re.DOTALL)


def refreshed(text: str, table: str) -> str:
    """Return the README's text with another table of networks.

    Raises
    ------
    :exc:`InputError`
        If the text has not one pair of marks.
    """
    text, count = BLOCK.subn(lambda match: match[1] + table + match[2], text)
    if count != 1:
        raise InputError(f"{README}: must have one pair of networks marks, not {count}")
    return text


def create_parser() -> argparse.ArgumentParser:
    """Create the parser of the command line."""
    return argparse.ArgumentParser(
        prog="python -m benchmarks.models",
        description="Write models/README.md and the table of networks in README.md, from the files of the networks.")


def _write(_arguments: argparse.Namespace) -> None:
    networks = [read_shipped(path) for path in models.networks()]
    text = refreshed(README.read_text(encoding="utf-8"), block(networks))
    write_atomically(PAGE, page(networks).encode())
    write_atomically(README, text.encode())
    print_line(f"{PAGE}: {len(networks)} networks")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run(create_parser(), _write, argv)
