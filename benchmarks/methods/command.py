"""``python -m benchmarks.methods``: measure finished trainings, and make ``docs/benchmarks.md`` of the measurements."""

import argparse
import pathlib
from collections.abc import Sequence

from support.command_line import path_argument, print_line, run
from support.errors import InputError, printable
from support.files import check_output, read_file, write_atomically

__all__ = ["create_parser", "main"]

#: Longest older page that is read, in bytes.
_MAX_BYTES = 2**24
PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods",
                                     description="Measure trainings in integers, and make docs/benchmarks.md of them.")
    commands = parser.add_subparsers(dest="task", required=True)
    measuring = commands.add_parser("measure", help="export and measure finished trainings")
    measuring.add_argument("runs", metavar="RUN", type=path_argument, nargs="+",
                           help="measure the training in the folder RUN (build/train/RECIPE)")
    measuring.add_argument("--data", metavar="DIR", type=path_argument, required=True,
                           help="read the data set from DIR")
    measuring.add_argument("--unverified", action="store_true", help="accept data files that are not the official ones")
    measuring.add_argument("--rtl", metavar="N", type=int,
                           help="run N test images on the simulated RTL, if the network fits (default: none)")
    tabling = commands.add_parser("table", help="write docs/benchmarks.md")
    tabling.add_argument("runs", metavar="RUNS", type=path_argument,
                         help="take the measured trainings in the folder RUNS (build/train)")
    tabling.add_argument("-o", "--output", metavar="FILE", type=path_argument, default=PAGE,
                         help="write the page to FILE, and keep what it has of other trainings (default: "
                              "docs/benchmarks.md)")
    return parser


def _measure(arguments: argparse.Namespace) -> None:
    if arguments.rtl is not None and arguments.rtl < 1:
        raise InputError(f"--rtl must be 1 or more, not {arguments.rtl}")
    # Here, because it imports PyTorch, which takes seconds: wrong arguments are answered at once.
    from benchmarks.methods.measure import measure
    from benchmarks.methods.page import rtl_cell

    for folder in arguments.runs:
        row = measure(folder, arguments.data, verify=not arguments.unverified, rtl_images=arguments.rtl or 0)
        of, accuracy = (("", row["accuracy"]) if row["accuracy"] is not None else
                        ("float, ", row["float_test_accuracy"]))
        simulated = f"; RTL {rtl_cell(row)}" if arguments.rtl else ""
        print_line(f"{row['name']}: {of}{accuracy:.2%} of {row['test_images']} test images{simulated}")


def _table(arguments: argparse.Namespace) -> None:
    # Here for the same reason: the page reads recipes.
    from benchmarks.methods.kept import KeptRowsError
    from benchmarks.methods.measurement import BenchmarkError, read_measurement
    from benchmarks.methods.page import table

    found = sorted(arguments.runs.glob("*/benchmark.json"))
    if not found:
        raise BenchmarkError(f"{arguments.runs}: must hold folders with a benchmark.json: measure trainings first, and "
                             f"give the folder that holds them")
    check_output(arguments.output)
    try:
        before = read_file(arguments.output, limit=_MAX_BYTES).decode()
    except FileNotFoundError:
        before = ""
    except UnicodeDecodeError as error:
        raise BenchmarkError(f"{printable(str(arguments.output))}: an older page must be text in UTF-8, and byte "
                             f"{error.start} is not: give another file with --output") from None
    try:
        page = table([read_measurement(path) for path in found], before)
    except KeptRowsError as error:
        raise BenchmarkError(f"{printable(str(arguments.output))}: {error}") from None
    write_atomically(arguments.output, page.encode())
    print_line(f"{arguments.output}: {len(found)} measurements")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, as :func:`support.command_line.run`."""
    return run(create_parser(), lambda arguments: (_measure if arguments.task == "measure" else _table)(arguments),
               argv)
