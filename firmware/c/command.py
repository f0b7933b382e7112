"""Write the constants of the protocol as a header of the C driver: ``python -m firmware.c``."""

import argparse
import pathlib
from collections.abc import Sequence

from firmware.c.header import header
from support import command_line, files
from support.command_line import print_line

__all__ = ["HEADER", "create_parser", "main"]

#: The header that the driver includes.
HEADER = pathlib.Path(__file__).parent / "sterna_link.h"


def create_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(prog="python -m firmware.c",
                                     description="Write the constants of the host link as a header of the C driver.")
    parser.add_argument("-o", "--output", metavar="FILE", type=command_line.path_argument, default=HEADER,
                        help="write the header to FILE (default: sterna_link.h beside the driver)")
    return parser


def _write(arguments: argparse.Namespace) -> None:
    files.write_atomically(arguments.output, header().encode("ascii"))
    print_line(f"wrote {arguments.output}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return command_line.run(create_parser(), _write, argv)
