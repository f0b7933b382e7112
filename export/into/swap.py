"""Puts a network into the placed design of a build: another bitstream of the same layout, in seconds.

The steps are those that end a build (:mod:`gateware.swap`): the network is laid out for the circuit, takes the place of
what is in the memories of the layout, and the layout is packed.
"""

import dataclasses
import hashlib
import pathlib
import tempfile
import time

from arch import network_file
from gateware.reports.folder import BASE, BITSTREAM, NETLIST, REPORT, BuildFolder, check_folder, default_folder
from gateware.reports.netlist import read_netlist
from gateware.reports.network import Report, Swap
from gateware.reports.planned import planned_network
from gateware.swap.base import BaseError, load_base
from gateware.swap.filling import Filling, pack_files
from gateware.swap.matching import map_into
from support.errors import printable
from support.files import read_file
from support.tools import find_tool

__all__ = ["SwapResult", "format_swap", "swap"]

#: Largest report that is read.
_REPORT_BYTES = 1 << 24

#: Of a report, what the layout decides and not the network in it.
_OF_LAYOUT = ("tool_versions", "fmax_mhz", "fmax_median_mhz", "seeds", "seeds_out_of_time", "seeds_unplaced", "lc",
              "ebr", "spram", "dsp", "seed", "base_sha256", "netlist_sha256", "also")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SwapResult:
    """A network in the layout of a build."""

    report: Report
    #: The folder that has it.
    folder: pathlib.Path
    #: Whether it was written: not in a dry run.
    written: bool


def _built(folder: pathlib.Path, base: bytes) -> Report:
    """Read the report of a build, and check that it is of the base beside it, whose content is ``base``."""
    path = folder / REPORT
    try:
        report = Report.from_json(read_file(path, limit=_REPORT_BYTES), name=str(path))
    except FileNotFoundError:
        raise BaseError(f"{folder}: must have the {REPORT} of its {BASE}, which is missing: build the folder "
                        f"again") from None
    digest = hashlib.sha256(base).hexdigest()
    if report.base_sha256 != digest:
        raise BaseError(f"{path}: must be of the {BASE} beside it, whose sha256 is {digest}, not of "
                        f"{report.base_sha256}: build the folder again")
    return report


def swap(file: str, into: pathlib.Path, output: pathlib.Path | None, *, write: bool = True) -> SwapResult:
    """Put a network into the placed design of a build.

    Parameters
    ----------
    file : :class:`str`
        File of the exported network.
    into : :class:`pathlib.Path`
        Folder of the build.
    output : :class:`pathlib.Path`, optional
        Folder of the result, which can be ``into``; the default is that of a build of the network.
    write : :class:`bool`
        False does everything but write.

    Raises
    ------
    :exc:`support.errors.InputError`
        If a file or folder cannot be used, or the network does not fit the circuit of the build.
    :exc:`support.errors.ToolchainError`
        If the packing tool is missing or fails.
    :exc:`OSError`
        If a file cannot be read or written.
    """
    begun = time.monotonic()
    base, content = load_base(into)
    before = _built(into, content)
    netlist = {} if before.netlist_sha256 is None else {
        NETLIST: read_netlist(into, sha256=before.netlist_sha256)}
    board, fpga = base.board, base.board.fpga
    find_tool(fpga.pack().tool)
    network = network_file.load(file)
    name = printable(network_file.name_of(network, file))
    folder = default_folder(board, name) if output is None else output
    check_folder(folder)

    plan = map_into(network, base, folder=printable(str(into)), file=printable(file))
    files = Filling(plan=plan, clock_hz=base.clock_hz).apply(fpga, base.routed)
    with tempfile.TemporaryDirectory(prefix="sterna-") as work:
        bitstream = (pathlib.Path(work) / pack_files(fpga, files, pathlib.Path(work))).read_bytes()
    assert before.bitstream_sha256 is not None
    planned = planned_network(plan, name=name, board=board, clock_hz=base.clock_hz, baud=base.baud)
    report = dataclasses.replace(
        planned, **{field: getattr(before, field) for field in _OF_LAYOUT},
        bitstream_sha256=hashlib.sha256(bitstream).hexdigest(),
        swap=Swap(into=str(into), network=before.network, network_sha256=before.network_sha256,
                  bitstream_sha256=before.bitstream_sha256),
        build_seconds=round(time.monotonic() - begun, 2))
    if write:
        with BuildFolder.opened(folder) as there:
            there.publish({BITSTREAM: bitstream, REPORT: report.to_json(), BASE: content, **netlist})
    return SwapResult(report=report, folder=folder, written=write)


def format_swap(result: SwapResult) -> str:
    """Lay out what was put into what as text."""
    report = result.report
    assert report.swap is not None
    place = printable(str(result.folder))
    there = f"{BITSTREAM}, {REPORT} and {BASE}" if report.netlist_sha256 is None else (
        f"{BITSTREAM}, {REPORT}, {BASE} and {NETLIST}")
    return "\n".join([
        f"{report.network} on {report.board}, {report.clock_mhz:g} MHz, host link {report.baud} baud",
        (f"layout: that of {printable(report.swap.into)}, seed {report.seed}, with {report.lc} of {report.lc_total} "
        f"logic cells and {report.ebr} of {report.ebr_total} block RAMs; its bitstream held "
        f"{printable(report.swap.network)}"),
        f"cycles per image: {report.cycles_per_inference}, exact, by the cycle model; not simulated here",
        f"latency: {report.latency_ms:g} ms; images per second: {report.images_per_second_link:g} with the host link",
        f"exact in every channel: {report.certificate}",
        f"bitstream: sha256 {report.bitstream_sha256}",
        (f"written: {f'{place}/{there}' if result.written else 'nothing (dry run)'}, in "
        f"{report.build_seconds:g} s")])
