"""Chooses the circuit on which ``python -m sim`` runs a network: baked, or streamed from flash."""

from pathlib import Path
from typing import Any

from arch import network_file
from arch.flash.errors import ImageError
from arch.flash.image import MAX_IMAGE_BYTES, parse_image
from arch.network import Network
from boards import BOARDS
from boards.board import Board, BoardError
from gateware.engine.signature import circuit_of
from gateware.mapper.choice import first_limit
from gateware.mapper.streamed.choice import StreamedFitError, lay_out_for_board, streamed_config
from gateware.reports.folder import default_folder, overlay_folder
from gateware.reports.prebuilt import overlay_clock_hz
from gateware.streamed_top import flash_mode
from sim.chip.builds import engine_of_build
from sim.chip.engine import ChipEngine, Rung
from sim.report import Circuit, Weights
from sim.rtl import RtlEngine
from sim.streamed_rtl import StreamedRtlEngine
from sim.verilator import Trace
from support.errors import InputError, printable
from support.files import read_file

__all__ = ["choose_build", "choose_engine"]


def choose_engine(network: Network, *, board: str, weights: Weights | None = None, lanes: int | None = None,
                  width: int | None = None, image: str | None = None,
                  trace: Trace | None = None) -> tuple[RtlEngine | StreamedRtlEngine, Circuit]:
    """Start the simulation of the circuit that is asked for, or of the first that the network fits: baked, then flash.

    Parameters
    ----------
    network : the network
    board : name of a board
    weights : a :class:`sim.report.Weights`, or None: what the network fits
    lanes, width : geometry of the array, of a baked circuit only
    image : name of a file with models for the flash, of which one is the network's; only for weights in flash
    trace : format of the waveforms that the engine can write, or None

    Raises
    ------
    :exc:`InputError`
        If the network fits no circuit that may be used, the FPGA of the board cannot read its flash, or the image has
        no model of the network.
    :exc:`support.errors.ToolchainError`
        If a tool of the simulation is missing or fails.
    """
    if board not in BOARDS:
        raise InputError(f"--board must be one of {', '.join(sorted(BOARDS))}, not {board!r}")
    place, chosen = BOARDS[board], False
    if weights is None and (lanes is not None or width is not None):
        weights = Weights.BAKED
    if weights is None and image is not None:
        weights = Weights.FLASH
    if weights is None:
        weights, chosen = _fitting(network, place), True
    engine: RtlEngine | StreamedRtlEngine
    if weights is Weights.BAKED:
        engine = RtlEngine(network, board=board, lanes=lanes, width=width, trace=trace)
        clock_hz = place.default_clock_hz
    else:
        mode, clock_hz = flash_mode(place), overlay_clock_hz(place)
        found = {} if image is None else _model_of(network, image, place)
        try:
            lay_out_for_board(network, place)
        except StreamedFitError as error:
            raise InputError(f"network must fit the streamed circuit of the {place.title}, not exceed limits: "
                             f"{_limits(error)}") from None
        engine = StreamedRtlEngine(network, board=board, mode=mode, clock_hz=clock_hz, trace=trace, **found)
    config = engine.plan.config
    return engine, Circuit(weights=weights, chosen=chosen, board=board, board_title=place.title,
                           lanes=config.lanes, width=config.width, timesteps=config.timesteps, clock_hz=clock_hz)


def choose_build(network: Network, *, rung: str, board: str, file: str, weights: Weights | None = None,
                 folder: Path | None = None, image: str | None = None) -> tuple[ChipEngine, Circuit]:
    """Start the simulation of a build; the folder is that of the first circuit that the network fits if none is given.

    Parameters
    ----------
    rung : what is simulated of the build, a :class:`sim.chip.engine.Rung`
    file : where the network is
    folder : folder of the build
    network, board, weights, image : as of :func:`choose_engine`, and so are the errors
    """
    if board not in BOARDS:
        raise InputError(f"--board must be one of {', '.join(sorted(BOARDS))}, not {board!r}")
    place = BOARDS[board]
    if folder is None:
        if weights is None:
            weights = _fitting(network, place) if image is None else Weights.FLASH
        folder = (default_folder(place, printable(network_file.name_of(network, file))) if weights is Weights.BAKED
                  else overlay_folder(place))
    found = {} if image is None else _model_of(network, image, place)
    return engine_of_build(Rung(rung), network, folder, file=file, **found)


def _fitting(network: Network, board: Board) -> Weights:
    """Return the first circuit of a board that the network fits; raises :exc:`InputError` if there is none."""
    baked = first_limit(network, board)
    if baked is None:
        return Weights.BAKED
    try:
        flash_mode(board)
        lay_out_for_board(network, board)
    except StreamedFitError as error:
        streamed = _limits(error)
    except BoardError as error:
        streamed = str(error)
    else:
        return Weights.FLASH
    raise InputError(f"network must fit a circuit of the {board.title}, not exceed limits of each: with --weights "
                     f"baked, {baked}; with --weights flash, {streamed}")


def _limits(error: StreamedFitError) -> str:
    """Name every limit that is exceeded, and what helps."""
    return f"{'; '.join(dict.fromkeys(map(str, error.findings)))}: {error.remedy}"


def _model_of(network: Network, path: str, board: Board) -> dict[str, Any]:
    """Read an image of models and find that of the network: contents of the flash, and the number of the model."""
    circuit = circuit_of(streamed_config(board))
    content = read_file(path, limit=MAX_IMAGE_BYTES)
    try:
        models = parse_image(content, base=board.models_at, circuit=circuit)
    except ImageError as error:
        raise InputError(f"{printable(path)}: {error}") from None
    digest = bytes.fromhex(network_file.digest(network))
    for model in models:
        if model.header.digest == digest:
            return {"image": content, "model": model.number}
    names = ", ".join(repr(printable(model.header.name)) for model in models)
    raise InputError(f"{printable(path)}: image must have a model of this network (sha256 "
                     f"{digest.hex()[:16]}), not only {names}: make it with python -m export NETWORK --flash IMAGE")
