"""The results as a picture: time against logic cells, the front joined, as SVG."""

import os
import pathlib
from collections.abc import Iterable, Sequence

from gateware.build.explore.front import front_of
from gateware.build.explore.result import Result
from gateware.build.explore.text import Named, label
from support.errors import InputError
from support.files import check_output, write_with

__all__ = ["check_picture", "draw"]

#: Bytes at the beginning of an SVG that hold its outermost element, behind the XML declaration and a comment.
_HEAD_BYTES = 4096


def check_picture(path: str | os.PathLike[str], *, inputs: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Check that a picture can be written to ``path``, and replaces nothing but an SVG.

    Raises
    ------
    :exc:`support.errors.InputError`
        As of :func:`support.files.check_output`, or if a file of another kind is there.
    :exc:`OSError`
        If the file that is there must not be read.
    """
    check_output(path, inputs=inputs)
    target = pathlib.Path(path)
    if not target.exists():
        return
    with target.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head and b"<svg" not in head:
        raise InputError(f"{os.fspath(path)}: picture must be a new file or replace an SVG, not a file of another "
                         f"kind: give another name")


def draw(results: Sequence[Named], path: str | os.PathLike[str]) -> None:
    """Draw the results that fit into an SVG.

    Raises
    ------
    :exc:`support.errors.InputError`, :exc:`OSError`
        If the file cannot be written.
    """
    # Here, because only the picture needs the package, which comes with the extra `explore`.
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasSVG(figure)
    axes   = figure.add_subplot()
    front  = [entry for entry in front_of(results) if entry[1].logic_cells is not None]
    others = [entry for entry in results if entry[1].fits and entry[1].logic_cells is not None and entry not in front]
    for evidence, marker in (("estimated", "o"), ("routed", "s")):
        for chosen, colour, name in ((others, "0.6", "others"), (front, "C0", "front")):
            points = [_place(result) for _, result in chosen if result.cells_evidence == evidence]
            if points:
                axes.scatter([time for time, _ in points], [cells for _, cells in points],
                             marker=marker, color=colour, label=f"{name}, logic cells {evidence}")
    for configuration, result in front:
        known = "" if result.accuracy is None else f", {result.accuracy:.2%}"
        axes.annotate(f"{label(configuration)}{known}", _place(result), fontsize=7,
                      xytext=(4, 4), textcoords="offset points")
    axes.set_xlabel("time of an inference, ms")
    axes.set_ylabel("logic cells")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    if front:
        axes.legend()
    # Without a date, and with a salt of ours in the names of its parts, the same results give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "sterna", "svg.fonttype": "none"}):
        write_with(path, lambda temporary: figure.savefig(temporary, format="svg", metadata={"Date": None}))


def _place(result: Result) -> tuple[float, int]:
    """Coordinates of a result that fits."""
    assert result.inference_ms is not None
    assert result.logic_cells is not None
    return result.inference_ms, result.logic_cells
