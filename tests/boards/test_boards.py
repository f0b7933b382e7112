"""Boards: clocks and rates that they promise, and what they say about those that they cannot have."""

import dataclasses
import subprocess
import sys

import pytest

from boards import BOARDS, BoardError

ICEBREAKER = BOARDS["icebreaker"]


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_default_clock_can_be_made_and_divided(board):
    board.check_clock(board.default_clock_hz)
    baud = board.default_bauds(board.default_clock_hz)[0]
    assert baud <= board.fastest_baud
    assert board.divisor(board.default_clock_hz, baud) >= 8


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_platform_has_the_pins(board):
    platform = board.platform()
    assert {field.name for field in platform.lookup("uart", 0).ios} >= {"rx", "tx"}
    assert platform.lookup(board.oscillator, 0).clock.frequency == board.oscillator_hz
    for name in (board.led, *board.inactive):
        (pins,) = platform.lookup(name, 0).ios
        assert (len(pins.names), pins.dir) == (1, "o")
    assert f"{platform.device}-{platform.package}" == board.fpga.device


def test_models_have_room_behind_the_bitstream():
    assert {name: board.flash_bytes >> 20 for name, board in BOARDS.items()} == {
        "icebreaker": 16, "icesugar": 8, "upduino-v3": 4}
    for board in BOARDS.values():
        # A bitstream of the iCE40UP5K has 104,090 bytes.
        assert 104_090 <= board.models_at < board.flash_bytes


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_the_flash_is_read_over_the_lines_that_the_platform_has(board):
    wiring = board.flash_wiring
    if wiring is None:
        # The serial port of these boards shares a pin with the flash, so that both cannot be used.
        platform = board.platform()
        serial, flash = ({name for field in platform.lookup(*resource).ios if hasattr(field, "ios")
                          for name in field.ios[0].names} for resource in (("uart", 0), ("spi_flash_1x", 0)))
        assert serial & flash
        return
    fields = {field.name: field.ios[0].names for field in board.platform().lookup(wiring.resource, 0).ios
              if hasattr(field, "name")}
    assert len(fields["dq"]) == wiring.lines == 4
    assert board.overlay_wiring() is wiring


def test_the_list_is_there_without_amaranth():
    """The host program needs it, and need not be installed with what makes circuits."""
    program = "import sys; sys.modules['amaranth'] = None; import boards; print(*sorted(boards.BOARDS))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout.split()) == (0, "", sorted(BOARDS))


def test_names_are_those_of_the_list():
    assert all(board.name == name for name, board in BOARDS.items())


@pytest.mark.parametrize(("clock_hz", "message"), [
    (float("nan"), r"^clock must be a positive number of MHz, not nan$"),
    (float("inf"), r"^clock must be a positive number of MHz, not inf$"),
    (-12e6, r"^clock must be a positive number of MHz, not -12$"),
    (0.0, r"^clock must be a positive number of MHz, not 0$"),
    (48.1e6, r"^clock must be one that the PLL makes of 12 MHz, not 48.1 MHz$"),
])
def test_a_clock_that_cannot_be_made_is_refused(clock_hz, message):
    with pytest.raises(BoardError, match=message):
        ICEBREAKER.check_clock(clock_hz)


def test_a_rate_above_that_of_the_usb_side_is_refused():
    board = dataclasses.replace(ICEBREAKER, fastest_baud=1_000_000)
    assert board.default_bauds(48e6)[0] == 1_000_000
    with pytest.raises(BoardError, match=r"^baud must be at most 1000000 on the iCEBreaker, not 3000000$"):
        board.divisor(48e6, 3_000_000)


@pytest.mark.parametrize(("limit_mhz", "found_mhz"), [
    (48, 48), (47.99, 45), (50.86, 48), (51, 51), (24.5, 24), (12, 12), (11.9, None)])
def test_clock_below_can_be_made_and_divided(limit_mhz, found_mhz):
    found = ICEBREAKER.clock_below(limit_mhz * 1e6)
    assert found == (None if found_mhz is None else found_mhz * 1e6)
    if found is not None:
        ICEBREAKER.check_clock(found)
        assert ICEBREAKER.default_bauds(found)[0]


@pytest.mark.parametrize(("clock_mhz", "baud", "divisor"), [
    (48, 12_000_000, 4), (48, 3_000_000, 16), (16, 1_000_000, 16)])
def test_divisor_is_the_clocks_of_a_bit(clock_mhz, baud, divisor):
    assert ICEBREAKER.divisor(clock_mhz * 1e6, baud) == divisor


@pytest.mark.parametrize("board", ["icebreaker", "upduino-v3"])
def test_four_clocks_a_bit_need_one_oscillator_for_both_ends(board):
    shared = BOARDS[board]
    assert shared.divisor(48e6, 12_000_000) == 4
    assert shared.clock_below(50e6, baud=12_000_000) == 48e6
    assert shared.default_bauds(48e6)[0] == 3_000_000
    alone = dataclasses.replace(shared, shares_oscillator=False)
    with pytest.raises(BoardError, match=f"^baud 12000000 must have at least 8 clocks a bit on the {alone.title}, "
                                         "whose USB side has another oscillator, not 4: use a smaller --baud, or a "
                                         "faster --clock$"):
        alone.divisor(48e6, 12_000_000)
    assert alone.clock_below(50e6, baud=12_000_000) is None
    assert alone.clock_below(96e6, baud=12_000_000) == 96e6
    assert alone.divisor(96e6, 12_000_000) == 8


@pytest.mark.parametrize(("clock_mhz", "baud", "message"), [
    # Three clocks of a bit, and twenty thirds.
    (36, 12_000_000, r"^baud 12000000 must divide the clock of 36 MHz at least four times$"),
    (20, 3_000_000, r"^baud 3000000 must divide the clock of 20 MHz at least four times$"),
    (48, 115_200, r"^baud must be one of 1000000, 3000000, 12000000, not 115200$"),
])
def test_a_rate_that_the_clock_does_not_divide_into_is_refused(clock_mhz, baud, message):
    with pytest.raises(BoardError, match=message):
        ICEBREAKER.divisor(clock_mhz * 1e6, baud)


@pytest.mark.parametrize(("clock_mhz", "baud"), [(96, 12_000_000), (48, 3_000_000), (24, 3_000_000), (16, 1_000_000)])
def test_default_rate_is_the_fastest_with_eight_clocks_a_bit(clock_mhz, baud):
    assert ICEBREAKER.default_bauds(clock_mhz * 1e6)[0] == baud


@pytest.mark.parametrize("clock_mhz", [12.5, 7])
def test_a_clock_without_a_rate_is_refused(clock_mhz):
    message = (f"^clock must be a multiple of one of 1000000, 3000000, 12000000 Hz with eight clocks a bit, not "
               f"{clock_mhz:g} MHz: use --clock with another, or --baud$")
    with pytest.raises(BoardError, match=message):
        ICEBREAKER.default_bauds(clock_mhz * 1e6)
