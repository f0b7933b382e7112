"""Where the blocks of the circuit are on the chip."""

from collections.abc import Iterable, Mapping

from gateware.build.page.figures import block_colour, draw_floorplan
from gateware.build.page.floorplan import Floorplan
from gateware.build.page.levels import Level
from gateware.build.page.naming import OTHER
from gateware.build.page.parts import Better, Column, Figure, Missing, Section, Table, count, share
from gateware.build.page.rebuilding import build_command
from gateware.build.page.subject import Subject
from gateware.reports.build import BuildReport

__all__ = ["section"]

#: Cells of which only the number is known.
_UNSEEN = "cells that drive no net"


def _blocks(plan: Floorplan, colours: dict[str, str], report: BuildReport) -> Table:
    """Count the cells of each block."""
    known = sum(map(len, plan.logic.values()))
    cells = {block: len(found) for block, found in plan.logic.items()}
    names = list(plan.blocks)
    if report.lc is not None and report.lc > known:
        names.append(_UNSEEN)
        cells[_UNSEEN] = report.lc - known
    return Table(
        caption="Cells by block", swatches=[colours.get(block, "transparent") for block in names], columns=[
            Column(title="block", hint=f"{OTHER}: cells that the tools have put between two blocks"),
            Column(title="logic cells", level=Level.ROUTED, better=Better.LESS),
            Column(title="share of the chip", level=Level.ROUTED),
            Column(title="block RAMs", level=Level.ROUTED, better=Better.LESS,
                   hint="by the block that reads them, or their own name")],
        rows=[[block, count(cells[block]) if block in cells else None,
               share(cells[block] / report.lc_total, bar=True) if block in cells else None,
               count(len(plan.block_rams[block])) if block in plan.block_rams else None] for block in names])


def colours_of(blocks: Iterable[str]) -> dict[str, str]:
    """Give each block a colour, the first the first; a block may come several times."""
    return {block: block_colour(position, other=block == OTHER)
            for position, block in enumerate(dict.fromkeys(blocks))}


def floorplan_figure(plan: Floorplan, colours: Mapping[str, str], *, name: str, title: str) -> Figure:
    """Draw a chip from above."""
    placement = plan.placement
    return Figure(
        name=name, title=title, level=Level.ROUTED,
        description=f"{placement.columns} by {placement.rows} tiles with {placement.cells_per_tile} logic cells each. "
                    f"A cell has the colour of its block; framed rectangles are block RAMs. Cells that drive no net, "
                    f"single-port RAMs and pads are not drawn.",
        svg=draw_floorplan(
            (placement.columns, placement.rows, placement.cells_per_tile),
            {block: [(cell.column, cell.row, cell.index) for cell in cells] for block, cells in plan.logic.items()},
            {block: [(cell.column, cell.row) for cell in cells] for block, cells in plan.block_rams.items()}, colours))


def section(subject: Subject) -> Section | None:
    """Draw the chip; nothing for a build that was not placed."""
    plan, report = subject.floorplan, subject.report
    lead = "Where place and route has put the blocks of the circuit, and how much each takes."
    if report.lc is None:
        return None
    if plan is None:
        return Section(name="floorplan", title="Floorplan", lead=lead, parts=[Missing(
            what="The folder of the build does not have its layout, or no known one.",
            command=f"{build_command(subject.report, subject.network_word)} --from place")])
    colours = colours_of(plan.blocks)
    figure = floorplan_figure(plan, colours, name="floorplan", title="The chip from above")
    return Section(name="floorplan", title="Floorplan", lead=lead, parts=[figure, _blocks(plan, colours, report)])
