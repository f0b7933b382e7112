"""Makes the board that is to be simulated: its circuit, compiled, with its networks."""

from collections.abc import Sequence

from arch import network_file
from arch.flash.image import build_image
from arch.link import cut_name
from arch.network import Network
from boards import Board, board_named
from boards.programming import load_flash_image
from gateware.engine.signature import circuit_of
from gateware.mapper.choice import map_network, plan_for_board
from gateware.mapper.streamed.choice import lay_out, streamed_config
from gateware.mapper.streamed.model import model_of
from sim import rtl, streamed_rtl
from sim.board.request import BoardRequest
from sim.circuits import CLOCK_HZ, shared_circuit
from sim.power_on import PowerOn
from sim.verilator import Report
from sim.weights import Weights
from support.errors import printable

__all__ = ["make_board"]


def make_board(request: BoardRequest, report: Report) -> PowerOn:
    """Make a board, and tell of every step of its compilation.

    Raises
    ------
    :exc:`support.errors.InputError`, :exc:`OSError`
        If a file cannot be read, a network does not fit the board, or the image is not for its circuit.
    :exc:`support.errors.ToolchainError`
        If a tool is missing or fails.
    """
    rtl.check_tools()
    board = board_named(request.board)
    networks = [(cut_name(printable(network_file.name_of(network, path))), network)
                for path in request.networks for network in [network_file.load(path)]]
    if request.weights is Weights.BAKED:
        (_, network), = networks
        plan = map_network(network, shared_circuit(plan_for_board(network, board).config))
        # The rate of the shipped bitstream.
        return rtl.power_on(plan, divisor=rtl.SLOW_DIVISOR, report=report)
    board.overlay_wiring()
    return streamed_rtl.power_on(streamed_config(board), _image(request, board, networks), base=board.models_at,
                                 report=report)


def _image(request: BoardRequest, board: Board, networks: Sequence[tuple[str, Network]]) -> bytes:
    """Return what is in the flash behind the bitstream."""
    config = streamed_config(board)
    if request.image is not None:
        return load_flash_image(request.image, board, circuit=circuit_of(config), clock_hz=CLOCK_HZ).content
    return build_image([model_of(lay_out(network, config), name=name, clock_hz=CLOCK_HZ)
                        for name, network in networks], base=board.models_at, flash_bytes=board.flash_bytes)
