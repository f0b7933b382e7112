"""Drawings of the page, as SVG whose colours are those of the page, light or dark.

matplotlib is imported here and nowhere else. It draws in colours that stand for the variables of the style sheet
(:data:`_VARIABLES`); they are put in afterwards, so that one drawing serves both schemes. Texts stay texts, in the font
of the page.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

__all__ = ["block_colour", "draw_floorplan", "draw_membranes", "draw_rates", "draw_seeds", "draw_thresholds"]

#: Colours that are drawn, and the variables that they stand for.
_INK, _QUIET, _LINE, _FIRST, _SECOND, _REST = "#010203", "#010204", "#010205", "#010206", "#010207", "#010208"
_VARIABLES = {_INK: "ink", _QUIET: "quiet", _LINE: "line", _FIRST: "first", _SECOND: "second", _REST: "rest"}

#: Colours of blocks, the largest block first, told apart by people with any colour vision on light and dark ground
#: (after Okabe and Ito, Color Universal Design, 2008, with two more); what comes later shares the last.
_BLOCKS = ("#3987c8", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#7ccbf2", "#b8ab2e", "#8a63c9", "#a0694b")
_OTHER = "#8c979e"

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "sterna", "text.parse_math": False, "font.family": "sans-serif",
    "font.size": 8.5, "text.color": _INK, "axes.labelcolor": _QUIET, "axes.edgecolor": _LINE, "xtick.color": _LINE,
    "ytick.color": _LINE, "xtick.labelcolor": _QUIET, "ytick.labelcolor": _QUIET, "axes.spines.top": False,
    "axes.spines.right": False, "axes.linewidth": 0.8, "path.simplify": True,
}

#: Width of a drawing in inches: that of a telephone, so that texts there are as large as those around them.
_WIDTH = 4.6


def block_colour(position: int, *, other: bool = False) -> str:
    """Return the colour of the block that is the largest but ``position``; ``other`` is what belongs to none."""
    return _OTHER if other or position >= len(_BLOCKS) else _BLOCKS[position]


def _svg(figure: Figure, name: str) -> str:
    """Return a figure as an element of a page; ``name`` keeps its identifiers apart from those of others."""
    FigureCanvasSVG(figure)
    written = io.StringIO()
    figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None,
                                                                       "Type": None})
    text = written.getvalue()
    text = text[text.index("<svg"):]
    # In a page, an SVG needs no namespaces, and the style sheet of the page has the rule that it would bring.
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<defs>\s*<style.*?</style>\s*</defs>", "", text,
                  flags=re.DOTALL)
    text = re.sub(r' (?:xmlns(?::xlink)?|version)="[^"]*"', "", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    # A path without a line and without a filling is not seen.
    text = re.sub(r'<path d="[^"]*" style="fill: none"/>', "", text)
    # Identifiers that nothing refers to only take room, and one page has those of all drawings.
    used = {identifier: f"{name}-{number}" for number, identifier in enumerate(
        dict.fromkeys(re.findall(r'(?:href="#|url\(#)([^")]+)', text)))}
    text = re.sub(r' id="([^"]+)"', lambda found: f' id="{used[found[1]]}"' if found[1] in used else "", text)
    text = re.sub(r'(href="#|url\(#)([^")]+)', lambda found: found[1] + used[found[2]], text)
    # Texts have the font of the page, and no turn by nothing.
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    text = re.sub(r' transform="rotate\(-?0 [^"]*"', "", text)
    # A tenth of a point is finer than any screen.
    text = re.sub(r"-?\d+\.\d{2,}(?![\w%])", lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), text)
    text = re.sub(r'(?<= d=")[^"]*', lambda found: re.sub(r"\s*([A-Za-z])\s*", r"\1", found[0]).strip(), text)
    # Ticks have the style of what they refer to.
    text = re.sub(r'(<use [^>]*?) style="[^"]*stroke: var\(--line\)[^"]*"', r"\1", text)
    # The width is that of the page.
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)
    text = text.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
    return re.sub(r">\s+<", "><", text).strip()


def _figure(height: float, **options: Any) -> tuple[Figure, Any]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.subplots(**options)


def _finish(axes: Axes, *, x: str = "", y: str = "", grid: Literal["x", "y"] | None = None) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_axisbelow(True)
    axes.tick_params(length=2.5)
    if grid:
        axes.grid(axis=grid, color=_LINE, linewidth=0.6)


def draw_seeds(fmax: Sequence[tuple[str, Sequence[float]]], clocks: Sequence[float], *, name: str = "seeds") -> str:
    """Draw the maximal clocks of seeds, one dot each.

    Parameters
    ----------
    fmax : sequence of pairs
        Name of a build and its maximal clocks, in MHz; one or two builds, one above the other.
    clocks : sequence of :class:`float`
        The clock of each build, in MHz.
    """
    with mpl.rc_context(_SETTINGS):
        step = 0.25
        every = [round(value / step) for _, values in fmax for value in values]
        tallest = max(every.count(value) for value in set(every))
        figure, axes = _figure(1.0 + len(fmax) * max(0.9, min(2.0, 0.06 * tallest + 0.5)), nrows=len(fmax), ncols=1,
                               squeeze=False, sharex=True)
        for row, ((title, values), clock, colour) in enumerate(zip(fmax, clocks, (_FIRST, _SECOND), strict=False)):
            at: Axes = axes[row][0]
            bins: dict[int, int] = {}
            dots = []
            for value in sorted(values):
                place = round(value / step)
                bins[place] = bins.get(place, 0) + 1
                dots.append((place * step, bins[place]))
            at.plot(*zip(*dots, strict=True), "o", color=colour, markersize=4.5, markeredgewidth=0)
            at.axvline(clock, color=_INK, linewidth=1, linestyle=(0, (4, 2)))
            at.annotate(f"clock {clock:g}", (clock, 1), xytext=(3, -2), xycoords=("data", "axes fraction"),
                        textcoords="offset points", va="top", color=_INK)
            at.set_ylim(0, max(bins.values()) + 1.5)
            at.set_xlim(min(*clocks, *(min(values) for _, values in fmax)) - 0.6,
                        max(*clocks, *(max(values) for _, values in fmax)) + 0.6)
            at.yaxis.set_major_locator(MaxNLocator(5, integer=True))
            if len(fmax) > 1:
                at.set_title(title, loc="left", fontsize=8.5, color=_INK)
            _finish(at, x="Fmax, MHz" if row == len(fmax) - 1 else "", y="seeds", grid="x")
        return _svg(figure, name)


def draw_rates(rates: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Draw the firing rates of layers over the timesteps; ``rates`` are names, and rates from 0 to 1."""
    with mpl.rc_context(_SETTINGS):
        figure, axes = _figure(0.45 + 0.42 * len(rates))
        steps = max(len(values) for _, values in rates)
        for row, (_, values) in enumerate(rates):
            axes.barh([row + (step - (steps - 1) / 2) * 0.8 / steps for step in range(len(values))],
                      [100 * value for value in values], height=0.66 / steps, color=_FIRST)
        axes.set_yticks(range(len(rates)), [title for title, _ in rates])
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        _finish(axes, x="neurons that spike in a timestep, %", grid="x")
        axes.tick_params(axis="y", length=0)
        return _svg(figure, "rates")


def draw_membranes(layers: Sequence[tuple[str, Sequence[float]]], edges: npt.NDArray[np.float64]) -> str:
    """Draw how membranes are distributed when they are compared with the threshold.

    Parameters
    ----------
    layers : sequence of pairs
        Name and share of the membranes in each bin.
    edges : ``float64[bins + 1]``
        Edges of the bins, in thresholds.
    """
    with mpl.rc_context(_SETTINGS):
        figure, axes = _figure(0.5 + 0.72 * len(layers), nrows=len(layers), ncols=1, squeeze=False, sharex=True)
        for row, (title, shares) in enumerate(layers):
            at: Axes = axes[row][0]
            spikes = np.where(edges[:-1] >= 1 - 1e-9, shares, np.nan)
            at.stairs(shares, edges, fill=True, color=_REST, linewidth=0)
            at.stairs(np.nan_to_num(spikes), edges, fill=True, color=_FIRST, linewidth=0)
            at.axvline(1, color=_INK, linewidth=1)
            at.set_yticks([])
            at.spines["left"].set_visible(False)
            at.set_title(title, loc="left", fontsize=8.5, color=_INK, pad=2)
            _finish(at, x="membrane, in thresholds" if row == len(layers) - 1 else "")
        return _svg(figure, "membranes")


def draw_thresholds(layers: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Draw the thresholds of the channels of layers, one mark each, in units of the current."""
    with mpl.rc_context(_SETTINGS):
        figure, axes = _figure(0.45 + 0.36 * len(layers))
        for row, (_, values) in enumerate(layers):
            # One path with gaps is a tenth of as many marks.
            marks = [coordinate for value in values for coordinate in (value, value, np.nan)]
            axes.plot(marks, [row - 0.3, row + 0.3, np.nan] * len(values), color=_FIRST, linewidth=1.1, alpha=0.75)
        axes.set_xscale("log")
        low, high = min(min(values) for _, values in layers), max(max(values) for _, values in layers)
        axes.set_xlim(low / 1.3, high * 1.3)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.set_yticks(range(len(layers)), [title for title, _ in layers])
        axes.set_ylim(len(layers) - 0.5, -0.5)
        _finish(axes, x="threshold, in spikes through a weight of 1", grid="x")
        axes.tick_params(axis="y", length=0)
        return _svg(figure, "thresholds")


def _lines(cells: Sequence[tuple[int, int, int]], unit: int) -> str:
    """Return the path of logic cells as lines, those above one another joined: column, row, number in the tile."""
    columns: dict[int, list[int]] = {}
    for column, row, index in cells:
        columns.setdefault(column, []).append(row * unit + index)
    commands = []
    for column, heights in sorted(columns.items()):
        runs: list[list[int]] = []
        for height in sorted(heights):
            if runs and runs[-1][1] == height:
                runs[-1][1] += 1
            else:
                runs.append([height, height + 1])
        commands += [f"M{column * unit} {low}v{high - low}" for low, high in runs]
    return "".join(commands)


def draw_floorplan(size: tuple[int, int, int], logic: Mapping[str, Sequence[tuple[int, int, int]]],
                   block_rams: Mapping[str, Sequence[tuple[int, int]]], colours: Mapping[str, str]) -> str:
    """Draw a chip from above, its logic cells and block RAMs in the colours of their blocks.

    Thousands of cells are one path for each block: matplotlib would write ten times as much.

    Parameters
    ----------
    size : triple
        Columns and rows of tiles, and logic cells of a tile.
    logic, block_rams : mappings
        Places of the cells of each block: column, row from below, and number in the tile; of a block RAM, the lower of
        two tiles.
    colours : mapping
        Colour of each block.
    """
    columns, rows, unit = size
    shapes = [f'<path fill="none" stroke="var(--line)" d="M0 0h{columns * unit}v{rows * unit}H0z"/>']
    for block, cells in logic.items():
        # Lines as wide as a cell take a third of what rectangles take.
        shapes.append(f'<path transform="translate({(unit - 1) / 2})" stroke="{colours[block]}" '
                      f'stroke-width="{unit - 1}" d="{_lines(cells, unit)}"/>')
    for block, places in block_rams.items():
        path = "".join(f"M{column * unit} {row * unit}h{unit - 1}v{2 * unit - 1}h{1 - unit}z" for column, row in places)
        shapes.append(f'<path fill="{colours[block]}" stroke="var(--ink)" stroke-width=".9" d="{path}"/>')
    # Rows count from below.
    return (f'<svg aria-hidden="true" focusable="false" viewBox="-1 -1 '
            f'{columns * unit + 2} {rows * unit + 2}"><g transform="matrix(1 0 0 -1 0 {rows * unit})">'
            f"{''.join(shapes)}</g></svg>")
