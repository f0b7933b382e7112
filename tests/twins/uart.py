"""The receiving half of the UART in plain Python, exact to the clock: what it makes of any line."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["SYNCHRONISER_CLOCKS", "Character", "receive"]

#: Clocks from a change of ``rx`` to the one in which the receiver sees it.
SYNCHRONISER_CLOCKS = 2


class Character(NamedTuple):
    """What :class:`gateware.link.uart.UartReceiver` has received, and when."""

    byte: int
    #: Whether the stop bit was high.
    stop_bit: bool
    #: Clock in which the first data bit was sampled.
    first: int
    #: Clock in which the stop bit was sampled.
    last: int


def receive(edges: Sequence[int], divisor: int) -> list[Character]:
    """Receive the characters of a line as :class:`gateware.link.uart.UartReceiver` does.

    Parameters
    ----------
    edges : sequence of :class:`int`
        The clocks in which ``rx`` has another level than in the clock before, in their order. The line is high before
        the first and behind the last.
    divisor : :class:`int`
        Clocks per bit.
    """
    found: list[Character] = []
    to_middle = (divisor - 1) // 2
    clock = edges[0] if edges else 0
    while True:
        # The line is low behind every second edge, from the first one on.
        passed = bisect_right(edges, clock)
        if not passed & 1:
            if passed == len(edges):
                return found
            clock = edges[passed]
        middle = clock + to_middle
        if not bisect_right(edges, middle) & 1:
            clock = middle + 1
            continue
        begun = True
        while begun:
            byte = 0
            for bit in range(8):
                middle += divisor
                if not bisect_right(edges, middle) & 1:
                    byte |= 1 << bit
            first, middle = middle - 7 * divisor + SYNCHRONISER_CLOCKS, middle + divisor
            passed = bisect_right(edges, middle)
            stop_bit = not passed & 1
            found.append(Character(byte, stop_bit, first, middle + SYNCHRONISER_CLOCKS))
            # A stop bit that is low ends with the line, or is followed by a start bit.
            rise = middle if stop_bit else edges[passed]
            begun = rise > middle + divisor
            clock = rise + 1
            middle += divisor
