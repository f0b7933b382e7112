# amaranth: UnusedElaboratable=no
"""The top level of the overlay: the pins of the flash are in what a board's tools are given, as the board has them."""

import dataclasses
import re

import pytest

from boards import BOARDS, BoardError
from boards.board import FlashWiring
from gateware.engine.configuration import EngineConfig
from gateware.flash.reader import FlashMode
from gateware.streamed_top import StreamedTop, flash_mode

#: Elaborated in a second.
SMALL = EngineConfig(streamed=True, lanes=2, width=4, timesteps=4, accumulator_width=5, partial_width=8,
                     membrane_width=10, fraction=2, leak=False, weight_rows=16, channel_groups=4, spike_words=64,
                     layers=4, max_run=15, max_side=15, max_row_words=15, classes=4, max_groups=8)

#: Pins of the flash, by the schematics that the files of the boards name.
PINS = {"cs": "16", "clk": "15", "dq": "14 17 12 13"}


def constraints(board, **options):
    """Pins of the ports that the tools are told of, by the port's name."""
    design = StreamedTop(board=board, clock_hz=board.default_clock_hz, config=SMALL,
                         baud=board.default_bauds(board.default_clock_hz)[0], **options)
    files = board.fpga.design_files(board.platform(), design)
    text = "\n".join(content.decode() for name, content in files.items() if not name.endswith(".il"))
    return dict(re.findall(r"^set_io (\S+) (\S+)$", text, re.MULTILINE)), files


@pytest.mark.parametrize("name", ["icebreaker", "icesugar"])
def test_four_lines_of_the_flash_are_constrained(name):
    board = BOARDS[name]
    pins, _ = constraints(board)
    flash = {port: pin for port, pin in pins.items() if port.startswith("spi_flash")}
    assert flash == {"spi_flash_4x_0__cs__io": PINS["cs"], "spi_flash_4x_0__clk__io": PINS["clk"],
                     **{f"spi_flash_4x_0__dq__io[{index}]": pin for index, pin in enumerate(PINS["dq"].split())}}
    assert {"uart_0__rx__io", "uart_0__tx__io", f"{board.led}_0__io"} < pins.keys()


def test_one_line_each_way_holds_the_others():
    board = dataclasses.replace(BOARDS["icebreaker"], flash_wiring=FlashWiring(resource="spi_flash_1x", lines=1))
    assert flash_mode(board) is FlashMode.SINGLE
    pins, files = constraints(board)
    flash = {port: pin for port, pin in pins.items() if port.startswith("spi_flash")}
    assert flash == {
        "spi_flash_1x_0__cs__io": "16", "spi_flash_1x_0__clk__io": "15", "spi_flash_1x_0__copi__io": "14",
        "spi_flash_1x_0__cipo__io": "17", "spi_flash_1x_0__wp__io": "12", "spi_flash_1x_0__hold__io": "13"}
    # Each has a pad, and not only a place.
    pads = re.findall(r"connect \\PACKAGE_PIN \\(\S+)", files["sterna.il"].decode())
    assert flash.keys() <= set(pads)


def test_double_rate_takes_data_at_both_edges():
    board = BOARDS["icebreaker"]
    assert flash_mode(board, double=True) is FlashMode.DOUBLE
    # The second data output of a pin has what it took at the falling edge.
    single, double = (len(re.findall(r"connect \\D_IN_1 ", files["sterna.il"].decode()))
                      for files in (constraints(board)[1], constraints(board, double=True)[1]))
    assert (single, double) == (0, 4)


def test_a_board_that_cannot_read_its_flash_is_refused():
    message = ("^board must let the FPGA read the flash for the overlay, and the UPduino v3 has its serial port on the "
               "pins of the flash: use another --board$")
    with pytest.raises(BoardError, match=message):
        StreamedTop(board=BOARDS["upduino-v3"], clock_hz=48e6, baud=3_000_000)


def test_double_rate_is_refused_where_no_document_promises_it():
    message = ("^flash of the iCESugar must move data at both edges of its clock for --flash-rate double: leave the "
               "option out$")
    with pytest.raises(BoardError, match=message):
        flash_mode(BOARDS["icesugar"], double=True)
