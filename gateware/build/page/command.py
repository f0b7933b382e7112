"""Make the page of a build again, or compare two builds: ``python -m gateware.build.page BUILD``."""

import argparse
import os
import pathlib
from collections.abc import Sequence

from gateware.build.page.rendering import is_page, render, render_comparison
from gateware.build.page.subject import Evidence, PageError, load_subject
from gateware.reports.folder import PAGE, REPORT
from support.command_line import path_argument, print_line, run
from support.errors import printable
from support.files import check_output, write_atomically

__all__ = ["create_parser", "main", "make_page"]


def create_parser() -> argparse.ArgumentParser:
    """Create the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m gateware.build.page",
        description="Make the page of a build, one file of HTML, of what the build has left in its folder and of "
                    "further evidence. Nothing is built or simulated.")
    parser.add_argument("build", metavar="BUILD", type=path_argument,
                        help="read the report.json in the folder BUILD, which python -m gateware.build has written")
    parser.add_argument("--compare", metavar="OTHER", type=path_argument,
                        help="compare BUILD with the build in the folder OTHER (default: show BUILD alone)")
    parser.add_argument("--network", metavar="FILE", type=path_argument,
                        help="compute firing rates with the network of FILE, which is that of BUILD (default: found "
                             "among the networks that ship)")
    parser.add_argument("--answers", metavar="FILE", type=path_argument,
                        help="show the answers in FILE, which python -m sim NETWORK --labels LABELS --json has printed "
                             "(default: those to the samples that ship)")
    parser.add_argument("--images", metavar="FILE", type=path_argument,
                        help="with --answers, show wrongly classified images of FILE, the images of that run (default: "
                             "show their numbers)")
    parser.add_argument("--export", metavar="FILE", type=path_argument,
                        help="show what the export found of every layer, in FILE, which python -m export --json has "
                             "printed (default: what the network says of itself)")
    parser.add_argument("--waveform", metavar="FILE", type=path_argument,
                        help="estimate the energy of an inference by what toggles in FILE, the waveform of an image "
                             "that python -m sim --vcd has written (default: no estimate)")
    parser.add_argument("--margins", metavar="FILE", type=path_argument,
                        help="show the seeds of FILE, the report.json of a build of the same netlist with more seeds "
                             "(default: those of BUILD)")
    parser.add_argument("-o", "--output", metavar="FILE", type=path_argument,
                        help=f"write to FILE (default: BUILD/{PAGE}; with --compare, BUILD/comparison.html)")
    return parser


def _check_options(arguments: argparse.Namespace) -> None:
    """Refuse options that would have no effect."""
    if arguments.images is not None and arguments.answers is None:
        raise PageError("--images must be given with --answers, which says how they were classified")
    if arguments.compare is not None:
        for option in ("network", "answers", "export", "waveform", "margins"):
            if getattr(arguments, option) is not None:
                raise PageError(f"--{option} has no effect with --compare: leave one of the two out")


def _inputs(arguments: argparse.Namespace) -> list[pathlib.Path]:
    """Files that are read: none of them may be the page."""
    folders = [folder for folder in (arguments.build, arguments.compare) if folder is not None]
    given = [getattr(arguments, name) for name in ("network", "answers", "images", "export", "waveform", "margins")]
    return [*(path for path in given if path is not None), *(folder / REPORT for folder in folders)]


def _check_output(output: pathlib.Path, inputs: Sequence[pathlib.Path]) -> None:
    """Check that a page can be written, and that nothing but an earlier page is lost."""
    check_output(output, inputs=inputs)
    # A page is made of more files than the command names: the results of builds, and the networks that ship.
    if output.exists() and not is_page(output):
        raise PageError(f"{printable(os.fspath(output))}: output must be a new file or an earlier page, and this file "
                        f"is no page: give another name with -o")


def make_page(arguments: argparse.Namespace) -> None:
    """Write the page that the command line asks for; raises what becomes the error line."""
    _check_options(arguments)
    name = PAGE if arguments.compare is None else "comparison.html"
    output: pathlib.Path = arguments.output or arguments.build / name
    evidence = Evidence(network=arguments.network, answers=arguments.answers, images=arguments.images,
                        export=arguments.export, waveform=arguments.waveform, margins=arguments.margins)
    subject = load_subject(arguments.build, evidence)
    _check_output(output, _inputs(arguments))
    if arguments.compare is None:
        text = render(subject)
    else:
        text = render_comparison(subject, load_subject(arguments.compare, Evidence()))
    content = text.encode("utf-8", "backslashreplace")
    write_atomically(output, content)
    print_line(f"wrote {printable(os.fspath(output))}, {len(content) / 1024:.0f} KiB")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run(create_parser(), make_page, argv)
