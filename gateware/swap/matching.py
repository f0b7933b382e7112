"""Whether a network can be put into a placed design, and its layout there."""

from arch.network import Network
from boards import Board
from gateware.mapper.choice import check_fit, first_limit, limit_of_circuit, map_network, plan_for_board
from gateware.mapper.line import keeps_up
from gateware.mapper.plan import Plan
from gateware.swap.base import Base, BaseError

__all__ = ["difference_of_sizes", "map_into"]


def difference_of_sizes(network: Network, *, image_bytes: int, classes: int) -> str | None:
    """Say which size of the network is not that of a design, which is placed for one; None if both are."""
    sizes = network.input
    for what, there, asked in (("bytes of an image", image_bytes, sizes.channels * sizes.height * sizes.width),
                               ("classes", classes, network.classes)):
        if there != asked:
            return f"{what} must be {there}, not {asked}"
    return None


def _difference(network: Network, base: Base) -> str | None:
    """Say what of the network the design has no room for; None if it fits."""
    finding = limit_of_circuit(network, base.config)
    if finding is not None:
        return str(finding)
    return difference_of_sizes(network, image_bytes=base.image_bytes, classes=base.classes)


def _check_circuit_exists(network: Network, board: Board, *, folder: str, file: str) -> None:
    """Refuse a network for which ``gateware.build`` builds no circuit either, with what it would say."""
    neither = f"{file} fits neither the circuit of {folder} nor any other of {board.title}"
    # What helps is looked for only where something is in the way: it takes long.
    if first_limit(network, board) is not None:
        raise BaseError(f"{neither}: {check_fit(network, board).message}")
    plan, clock_hz = plan_for_board(network, board), board.default_clock_hz
    if not any(keeps_up(plan, board.divisor(clock_hz, baud)) for baud in board.default_bauds(clock_hz)):
        raise BaseError(f"{neither}: pixels come faster at every rate of its link than the first layer takes them: use "
                        "a larger stride in the first layer")


def map_into(network: Network, base: Base, *, folder: str, file: str) -> Plan:
    """Lay a network out for the circuit of a placed design.

    Parameters
    ----------
    network : :class:`Network`
    base : :class:`Base`
    folder, file : :class:`str`
        Where base and network are, for messages.

    Raises
    ------
    :exc:`BaseError`
        If the network does not fit; the message names what differs, and what builds a circuit that runs it, or, where
        the board can have no such circuit, what to change in the network.
    """
    board = base.board
    said = _difference(network, base)
    plan = None if said is not None else map_network(network, base.config)
    if plan is not None and keeps_up(plan, board.divisor(base.clock_hz, base.baud)):
        return plan
    if said is None:
        said = f"{base.baud} baud bring pixels faster than its first layer takes them"
    _check_circuit_exists(network, board, folder=folder, file=file)
    raise BaseError(f"{file} does not fit the circuit of {folder}: {said}: build a circuit for it with "
                    f"python -m gateware.build --board {board.name} --network {file}")
