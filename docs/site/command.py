"""``python -m docs.site``: make the documentation as a site; a warning of Sphinx is an error."""

import argparse
import os
import pathlib
import sys
import tempfile
from collections.abc import Sequence

from docs.site.sources import PACKAGES, ROOT, gather
from support.command_line import path_argument, print_line, run
from support.errors import InputError, ToolchainError
from support.files import check_output_folder

__all__ = ["create_parser", "main"]

#: What is in a folder that an earlier run has made.
_MARK = ".buildinfo"


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.site",
        description="Make the documentation as a site: guides, reference and search; the tutorial is run.")
    parser.add_argument("-o", "--output", metavar="DIR", type=path_argument, default=pathlib.Path("build/site"),
                        help="write the site into DIR, in the place of an earlier one (default: %(default)s)")
    parser.add_argument("--no-run", action="store_true", help="show the tutorial without what it prints")
    parser.add_argument("--packages", metavar="PACKAGE", nargs="*", choices=list(PACKAGES), default=list(PACKAGES),
                        help="make the reference of these packages only (default: all)")
    return parser


def _check(output: pathlib.Path) -> None:
    """Refuse to write over what is not a site."""
    check_output_folder(output)
    if output.is_dir() and any(output.iterdir()) and not (output / _MARK).is_file():
        raise InputError(f"{output}: folder must be empty or have an earlier site: name another one with -o")


def _replace(output: pathlib.Path, made: pathlib.Path, before: pathlib.Path) -> None:
    """Put the folder ``made`` in the place of ``output``, which comes back from ``before`` if that fails."""
    if output.is_dir():
        output.replace(before)
    try:
        made.replace(output)
    except BaseException:
        if before.is_dir():
            before.replace(output)
        raise


def _make(arguments: argparse.Namespace) -> None:
    output = arguments.output
    _check(output)
    try:
        from sphinx.cmd.build import main as build
    except ImportError:
        raise ToolchainError("Sphinx is not installed: it comes with Sterna's extra docs, as in pip install '.[docs]', "
                             "and with make test") from None
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as name:
        folder = pathlib.Path(name)
        sources, made = folder / "sources", folder / "made"
        sources.mkdir()
        gather(sources, arguments.packages)
        sys.path.insert(0, str(ROOT))
        # For the tutorial's process, and those that it starts.
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        options = ["-W", "--keep-going", "-q", "-c", str(ROOT / "docs/site"), "-d", str(folder / "trees")]
        if arguments.no_run:
            options += ["-D", "nb_execution_mode=off"]
        status = build([*options, str(sources), str(made)])
        if status:
            raise InputError("pages must be without a warning of Sphinx: it has named them above")
        _replace(output, made, folder / "before")
    print_line(f"{output}/index.html: {sum(1 for _ in output.rglob('*.html'))} pages")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, as :func:`support.command_line.run`."""
    return run(create_parser(), _make, argv, interrupted="interrupted: an earlier site is as it was")
