"""Write another network to the flash of the board that is plugged in, and see that the board then runs it.

What is written is an image of models, for a board with the overlay, or the bitstream of a network. Before anything is
written, all of it is checked, and an image against the circuit that the board says it has. Afterwards the board starts
anew; when it answers again, what it says of its networks must be what was sent.
"""

import argparse
import contextlib
import pathlib
import shutil
import tempfile
import time

from arch import strict_json
from arch.flash.image import MAX_IMAGE_BYTES
from arch.foreign import kind_of
from arch.link import Info
from boards import Board, board_named
from boards.programming import REPORT, LoadedBitstream, LoadedImage, Programming, load_bitstream, load_flash_image
from firmware.host.accelerator import Accelerator
from firmware.host.commands.info import print_model
from firmware.host.errors import DeviceError, NoAnswerError, PortError, RefusedError
from firmware.host.ports import OVERLAY_PORT, board_at, is_simulated, open_port
from support.command_line import print_line, print_note
from support.errors import InputError, printable
from support.files import read_file
from support.tools import ToolError

__all__ = ["swap"]

#: Seconds in which a board must answer after it was written: it loads its bitstream in less than one, and a USB bridge
#: that programs over the pins of the serial port comes back in two.
_START_SECONDS = 15.0
#: Seconds between two attempts to reach it.
_PAUSE_SECONDS = 0.2


def _board(arguments: argparse.Namespace) -> Board:
    """Return the board that is to be written; raises :exc:`PortError` if nothing tells which it is."""
    if is_simulated(arguments.port) and (arguments.board or arguments.programmer):
        option = "--board" if arguments.board else "--programmer"
        raise PortError(f"{option} must be left out for a simulated board, which is an iCEBreaker without a programmer")
    named: str | None = arguments.board
    if named is not None and arguments.port != "auto":
        return board_named(named)
    found = board_at(arguments.port)
    if found is None:
        raise PortError(f"board at {printable(arguments.port)} must be known, and USB does not tell it: give --board")
    if named not in (None, found):
        raise PortError(f"--board must be {found}, the board that is plugged in, not {named}")
    return board_named(found)


def _load(path: pathlib.Path, board: Board) -> LoadedImage | LoadedBitstream:
    """Read what is to be written, and check all of it."""
    if kind_of(read_file(path, limit=MAX_IMAGE_BYTES)) is not None:
        return load_flash_image(path, board)
    name = printable(str(path))
    if not path.with_name(REPORT).exists():
        raise InputError(f"{name}: must be an image of models, or the bitstream of a build beside its {REPORT}: make "
                         "one with python -m export NETWORK --flash IMAGE, or --into BUILD")
    loaded = load_bitstream(path)
    if loaded.board != board.name:
        raise InputError(f"{name}: must be for the board {board.name}, not {strict_json.name(loaded.board)}: put "
                         f"the network into a build for the {board.title} with python -m export NETWORK --into BUILD")
    if loaded.network_sha256 is None:
        raise InputError(f"{name}: must be the bitstream of a network, not that of the overlay, which has none: write "
                         f"it with python -m gateware.build --board {board.name} --weights flash --program built")
    return loaded


def _open(arguments: argparse.Namespace, *, baud: int | None = None, image: pathlib.Path | None = None) -> Accelerator:
    rate = baud if arguments.baud is None else arguments.baud
    return Accelerator(open_port(arguments.port, rate, image=image), timeout=arguments.timeout)


def _check_circuit(chip: Accelerator, image: LoadedImage, board: Board) -> None:
    """Check that the board has the overlay, and that the models are for its circuit and its clock."""
    if not chip.selectable():
        raise DeviceError(
            f"board must have the overlay for an image of models, and its network is part of its bitstream: swap the "
            f"sterna.bin of a build, or write the overlay too, with python -m gateware.build --board {board.name} "
            f"--weights flash --program both --image {image.file}")
    try:
        info = chip.info
    except RefusedError:
        # It has no model that could say what the circuit is. The board itself refuses models for another one.
        return
    for number, model in enumerate(image.models):
        for what, wanted, found in (
            ("P", info.lanes, model.lanes), ("W", info.width, model.width),
            ("T", info.circuit_timesteps, model.circuit_timesteps), ("clock in kHz", info.clock_khz, model.clock_khz),
        ):
            if wanted != found:
                raise DeviceError(
                    f"{image.file}: model {number} {printable(model.name)!r}: {what} must be {wanted}, that of the "
                    f"circuit on the board, not {found}: export the image again for this bitstream")


def _start(arguments: argparse.Namespace, *, baud: int | None = None) -> Accelerator:
    """Return the board when it answers again, whatever it answers; raises :exc:`DeviceError` if it does not."""
    limit = time.monotonic() + _START_SECONDS
    while True:
        try:
            with contextlib.ExitStack() as opened:
                chip = opened.enter_context(_open(arguments, baud=baud))
                with contextlib.suppress(RefusedError):
                    chip.ask_counters()
                opened.pop_all()
                return chip
        except (PortError, NoAnswerError) as error:
            if time.monotonic() > limit:
                raise DeviceError(f"board must answer within {_START_SECONDS:g} s after it was written: "
                                  f"{error}") from None
            time.sleep(_PAUSE_SECONDS)


def _check_model(number: int | None, found: Info, digest: bytes, name: str) -> None:
    if found.digest != digest:
        place = "network" if number is None else f"model {number}"
        raise DeviceError(f"board must run {printable(name)!r} as its {place}, sha256 {digest.hex()}, which was "
                          f"written, not {printable(found.name)!r}, sha256 {found.digest.hex()}: see that the board at "
                          "--port is the one that was written")


def _show_models(chip: Accelerator, image: LoadedImage, *, as_json: bool) -> None:
    """Check and print every model; the first one stays selected, as after the board was switched on."""
    found = [chip.select(number) for number in range(len(image.models))]
    chip.select(0)
    for number, (info, sent) in enumerate(zip(found, image.models, strict=True)):
        _check_model(number, info, sent.digest, sent.name)
        print_model(number, info, selected=number == 0, as_json=as_json)


def _show_network(chip: Accelerator, bitstream: LoadedBitstream, *, as_json: bool) -> None:
    assert bitstream.network_sha256 is not None
    # The overlay may run the same network, from its flash: then nothing was written.
    if chip.selectable():
        raise DeviceError(f"board must run {printable(bitstream.network or '')!r} from its bitstream, which was "
                          "written, not the overlay with models in its flash: see that the board at --port is the one "
                          "that was written")
    digest = bytes.fromhex(bitstream.network_sha256)[:len(chip.info.digest)]
    _check_model(None, chip.info, digest, bitstream.network or "")
    print_model(None, chip.info, selected=True, as_json=as_json)


def _simulate(arguments: argparse.Namespace, loaded: LoadedImage | LoadedBitstream, board: Board) -> None:
    """Start the simulated board a second time, with the image as the contents of its flash."""
    if isinstance(loaded, LoadedBitstream):
        raise PortError("--port must be that of a board for a bitstream, which cannot be simulated: python -m "
                        "sim.board NETWORK simulates the circuit with a network")
    if arguments.port != OVERLAY_PORT:
        raise PortError(f"--port must be {OVERLAY_PORT} for an image of models, not {arguments.port}, whose network is "
                        "part of its circuit")
    with _open(arguments) as chip:
        _check_circuit(chip, loaded, board)
    with _open(arguments, image=arguments.image) as chip:
        _show_models(chip, loaded, as_json=arguments.json)
    print_note(f"the simulated board has ended: python -m sim.board --weights flash --image {loaded.file} simulates "
               "one that stays")


def swap(arguments: argparse.Namespace) -> None:
    """Do what the command line asks for.

    Raises
    ------
    :exc:`support.errors.InputError`, :exc:`OSError`
        If the file is not for this board, or the board does not answer, or not as it should.
    :exc:`support.errors.ToolchainError`
        If the programmer is missing or fails.
    """
    board = _board(arguments)
    loaded = _load(arguments.image, board)
    if is_simulated(arguments.port):
        _simulate(arguments, loaded, board)
        return
    if isinstance(loaded, LoadedImage):
        programming = Programming(board, programmer=arguments.programmer, image=loaded)
        with _open(arguments) as chip:
            _check_circuit(chip, loaded, board)
    else:
        programming = Programming(board, programmer=arguments.programmer)
        # What the board has now does not matter, but nothing is written to one that cannot be asked afterwards.
        _open(arguments, baud=loaded.baud).close()
    # The port is closed: on some boards the programmer needs the pins of the serial port.
    work = pathlib.Path(tempfile.mkdtemp(prefix="sterna-"))
    try:
        programming.write(work, bitstream=loaded.content if isinstance(loaded, LoadedBitstream) else None,
                          say=print_note if arguments.json else print_line)
    except ToolError:
        # What a programmer that fails has printed stays: its error names the log.
        raise
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    shutil.rmtree(work)
    with _start(arguments, baud=None if isinstance(loaded, LoadedImage) else loaded.baud) as chip:
        if isinstance(loaded, LoadedImage):
            _show_models(chip, loaded, as_json=arguments.json)
        else:
            _show_network(chip, loaded, as_json=arguments.json)
