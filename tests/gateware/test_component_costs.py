# amaranth: UnusedElaboratable=no
"""The data sheets of components, and two pages, say what a component takes of the iCE40 after a build's synthesis.

Figures are those of the two circuits that ship for the iCEBreaker: that of the shipped network, and the overlay.
"""

import dataclasses
import functools
import importlib
import pathlib
import pkgutil
import re
from collections.abc import Callable
from typing import Any

import pytest

import gateware
from arch import network_file
from arch.link import INFO_BYTES
from boards import BOARDS
from gateware.embedded.axi_lite import AxiLite
from gateware.embedded.image_gate import ImageGate
from gateware.embedded.result_gate import ResultGate
from gateware.embedded.wishbone import Wishbone
from gateware.engine.dot_product import DotProduct
from gateware.engine.feed import drain_cycles
from gateware.engine.image_writer import ImageWriter
from gateware.engine.membrane_store import MembraneStore
from gateware.engine.neuron_array import NeuronArray
from gateware.engine.partial_sums import PartialSums
from gateware.engine.pif import PifUnit
from gateware.engine.pixel_fifo import PixelFifo
from gateware.engine.readout import Readout
from gateware.engine.sequencer import Sequencer
from gateware.engine.signature import circuit_of
from gateware.engine.spike_collector import SpikeCollector
from gateware.engine.window_writer import WindowWriter
from gateware.flash.crc32 import Crc32Check
from gateware.flash.loader import StreamLoader
from gateware.flash.phy import FlashPins
from gateware.flash.reader import FlashMode, FlashReader
from gateware.flash.selector import ModelSelector
from gateware.flash.trits import TritDecoder
from gateware.link.counters import FaultCounters
from gateware.link.crc import SerialCrc
from gateware.link.host_link import HostLink
from gateware.link.receiver import FrameReceiver, PayloadCounter
from gateware.link.transmitter import FrameTransmitter
from gateware.link.uart import UartReceiver, UartTransmitter
from gateware.mapper.choice import plan_for_board
from gateware.mapper.streamed.choice import streamed_config
from models import DEFAULT_NETWORK
from tests.gateware.costs import pack, synthesise

DOCS = pathlib.Path(__file__).parents[2] / "docs"
BOARD = BOARDS["icebreaker"]
CLOCK_HZ, DIVISOR = 48e6, 16
OVERLAY = streamed_config(BOARD)
MASKED_RAM, ADDER_PAIR = BOARD.fpga.masked_ram, BOARD.fpga.adder_pair


@functools.cache
def shipped():
    return plan_for_board(network_file.load(DEFAULT_NETWORK), BOARD)


def baked():
    return shipped().config


def sheet_of(component):
    return " ".join(component.__doc__.split())


def reader(mode):
    return FlashReader(mode=mode, clock_hz=CLOCK_HZ, latency=FlashPins.latency)


def selector():
    return ModelSelector(OVERLAY, circuit_of(OVERLAY), base=BOARD.models_at)


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """A component, and where its cost is stated."""

    component: type
    make: Callable[[], Any]
    #: What the data sheet says, with the figures named.
    sheet: str
    #: The page that says it too, and the row of its table there.
    page: str | None = None
    row: str | None = None


NETWORK = "in the circuit of the shipped network {luts} LUTs, {flipflops} flip-flops"
STREAMED = "in the overlay {luts} LUTs, {flipflops} flip-flops"
PLAIN = "Cost on the iCE40: {luts} LUTs, {flipflops} flip-flops"
TEN_CLASSES = "Cost on the iCE40 for ten classes: {luts} LUTs, {flipflops} flip-flops"
LINE = "Cost on the iCE40 at 16 clocks per bit: {luts} LUTs, {flipflops} flip-flops"

#: What the default run checks.
SHORT = {
    "dot-product": Case(DotProduct, lambda: DotProduct(baked()), f"{NETWORK};", "architecture.md",
                        "dot product: 16 gates in the first level, popcounts of 4, adders | {luts} | {flipflops} |"),
    "dot-product-streamed": Case(DotProduct, lambda: DotProduct(OVERLAY), f"{STREAMED}."),
    "pif": Case(PifUnit, lambda: PifUnit(baked()), f"{NETWORK}, {{cells}} logic cells;"),
    "pif-streamed": Case(PifUnit, lambda: PifUnit(OVERLAY, adder_pair=ADDER_PAIR),
                         f"{STREAMED}, {{cells}} logic cells, {{multipliers}} multipliers;"),
    "partial-sums": Case(PartialSums, lambda: PartialSums(OVERLAY, masked_ram=MASKED_RAM, adder_pair=ADDER_PAIR),
                         f"{STREAMED}, {{cells}} logic cells, {{block_rams}} block RAMs, {{multipliers}} multipliers;"),
    "collector": Case(SpikeCollector, lambda: SpikeCollector(OVERLAY), f"{STREAMED}, {{cells}} logic cells."),
    "sequencer": Case(Sequencer, lambda: Sequencer(OVERLAY, drain_cycles=drain_cycles(OVERLAY)),
                      f"{STREAMED}, {{cells}} logic cells."),
    "readout": Case(Readout, lambda: Readout(OVERLAY), f"{STREAMED}."),
    "image-writer": Case(ImageWriter, lambda: ImageWriter(OVERLAY), f"{STREAMED}, {{cells}} logic cells."),
    "membrane-store": Case(MembraneStore, lambda: MembraneStore(OVERLAY, masked_ram=MASKED_RAM),
                           f"{STREAMED}, {{block_rams}} block RAMs."),
    "trits": Case(TritDecoder, TritDecoder, "Cost on the iCE40: {luts} LUTs, ", "overlay.md",
                  "decoder of five weights to a byte | {luts} | {flipflops} | {cells} |"),
    "crc32": Case(Crc32Check, Crc32Check, f"{PLAIN};", "overlay.md",
                  "CRC-32, half a byte per clock | {luts} | {flipflops} | {cells} |"),
    "loader": Case(StreamLoader, lambda: StreamLoader(OVERLAY),
                   f"decoder and CRC included, {STREAMED}, {{cells}} logic cells;", "overlay.md",
                   "loader, with decoder and CRC | {luts} | {flipflops} | {cells} |"),
    "reader": Case(FlashReader, lambda: reader(FlashMode.QUAD), f"{STREAMED}, {{cells}} logic cells;"),
    "selector": Case(ModelSelector, selector, f"{STREAMED}, {{cells}} logic cells,", "overlay.md",
                     "selector of models | {luts} | {flipflops} | {cells} |"),
    "crc": Case(SerialCrc, SerialCrc, f"{PLAIN}."),
    "fault-counters": Case(FaultCounters, FaultCounters, f"{PLAIN}."),
    "payload-counter": Case(PayloadCounter, PayloadCounter, f"{PLAIN}."),
    "receiver-selectable": Case(FrameReceiver, lambda: FrameReceiver(divisor=DIVISOR, selectable=True),
                                "with ``selectable`` {luts} LUTs, {flipflops} flip-flops."),
    "transmitter": Case(FrameTransmitter, lambda: FrameTransmitter(divisor=DIVISOR), f"{LINE}."),
    "host-link-selectable": Case(
        HostLink, lambda: HostLink(divisor=DIVISOR, info=bytes(INFO_BYTES), selectable=True),
        "with ``selectable`` {luts} LUTs, {flipflops} flip-flops, {block_rams} block RAM;"),
    "uart-receiver": Case(UartReceiver, lambda: UartReceiver(DIVISOR), f"{LINE}."),
    "image-gate": Case(ImageGate, lambda: ImageGate(image_bytes=784),
                       "Cost on the iCE40 for images of 784 bytes: {luts} LUTs, {flipflops} flip-flops."),
    "result-gate": Case(ResultGate, ResultGate, f"{PLAIN}."),
    "axi-lite": Case(AxiLite, lambda: AxiLite(10), f"{TEN_CLASSES}."),
    "wishbone": Case(Wishbone, lambda: Wishbone(10), f"{TEN_CLASSES}."),
    "uart-transmitter": Case(UartTransmitter, lambda: UartTransmitter(DIVISOR), f"{LINE}."),
}

#: The rest: what takes longest to synthesise, and variants.
LONG = {
    "array": Case(NeuronArray, lambda: NeuronArray(baked()), f"{NETWORK}, {{cells}} logic cells;", "architecture.md",
                  "array, 8 x 4 of them, with the shift registers that hand neurons out | {luts} | {flipflops} | "
                  "the same, and {cells} logic cells packed:"),
    "array-streamed": Case(NeuronArray, lambda: NeuronArray(OVERLAY), f"{STREAMED}, {{cells}} logic cells."),
    "pif-without-multipliers": Case(PifUnit, lambda: PifUnit(OVERLAY),
                                    "without multipliers {luts} LUTs, {flipflops} flip-flops, {cells} logic cells."),
    "partial-sums-without-multipliers": Case(
        PartialSums, lambda: PartialSums(OVERLAY, masked_ram=MASKED_RAM),
        "without multipliers {luts} LUTs, {flipflops} flip-flops, {cells} logic cells."),
    "collector-baked": Case(SpikeCollector, lambda: SpikeCollector(baked()), f"{NETWORK};"),
    "sequencer-baked": Case(
        Sequencer, lambda: Sequencer(baked(), drain_cycles=drain_cycles(baked()), init=shipped().contents.program),
        f"{NETWORK}, {{block_rams}} block RAMs;"),
    "readout-baked": Case(Readout, lambda: Readout(baked()), f"{NETWORK}, {{block_rams}} block RAM;"),
    "window-writer": Case(WindowWriter, lambda: WindowWriter(baked(), init=shipped().contents.pixels),
                          f"{NETWORK}, {{block_rams}} block RAMs."),
    "pixel-fifo": Case(PixelFifo, lambda: PixelFifo(depth=512),
                       "Cost on the iCE40 for 512 bytes: {luts} LUTs, {flipflops} flip-flops, {block_rams} block RAM."),
    "crc32-double": Case(Crc32Check, lambda: Crc32Check(double=True),
                         "with ``double`` {luts} LUTs, {flipflops} flip-flops."),
    "loader-double": Case(StreamLoader, lambda: StreamLoader(OVERLAY, double=True),
                          "with ``double`` {luts} LUTs, {flipflops} flip-flops."),
    "reader-single": Case(FlashReader, lambda: reader(FlashMode.SINGLE),
                          "single {luts} LUTs, {flipflops} flip-flops,"),
    "reader-double": Case(FlashReader, lambda: reader(FlashMode.DOUBLE),
                          "double {luts} LUTs, {flipflops} flip-flops."),
    "receiver": Case(FrameReceiver, lambda: FrameReceiver(divisor=DIVISOR), f"{LINE};"),
    "host-link": Case(HostLink, lambda: HostLink(divisor=DIVISOR, info=bytes(INFO_BYTES)),
                      f"{LINE}, {{block_rams}} block RAM;"),
}
CASES = [*SHORT.values(), *LONG.values()]


@pytest.mark.synth
@pytest.mark.parametrize("name", [*SHORT, *(pytest.param(name, marks=pytest.mark.long) for name in LONG)])
def test_cost_is_as_documented(name, tmp_path):
    case = (SHORT | LONG)[name]
    figures = dataclasses.asdict(synthesise(case.make(), tmp_path))
    if "{cells}" in case.sheet + (case.row or ""):
        figures["cells"] = pack(tmp_path)
    said = {figure: f"{count:,}" for figure, count in figures.items()}
    sheet = case.sheet.format(**said)
    assert sheet in sheet_of(case.component), sheet
    if case.row is not None:
        row = f"| {case.row.format(**said)}"
        assert row in (DOCS / case.page).read_text(encoding="utf-8"), row


def components():
    """Classes of the gateware that have a data sheet."""
    for module in pkgutil.walk_packages(gateware.__path__, "gateware."):
        if module.name.rpartition(".")[2] == "__main__":
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and value.__module__ == module.name and value.__doc__:
                yield value


def test_every_figure_of_a_data_sheet_is_checked():
    stated = {component: len(found) for component in components()
              if (found := re.findall(r"\d (?:LUTs|logic cells)", sheet_of(component)))}
    checked = {}
    for case in CASES:
        checked[case.component] = checked.get(case.component, 0) + case.sheet.count("} LUTs") \
            + case.sheet.count("} logic cells")
    assert stated == checked


def test_every_row_of_the_overlay_page_is_checked():
    table = (DOCS / "overlay.md").read_text(encoding="utf-8").split("| block | LUTs | flip-flops | logic cells |\n")[1]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in table.split("\n\n")[0].splitlines()[1:]]
    assert rows == [case.row.split(" | ")[0] for case in CASES if case.page == "overlay.md"]
