"""What a line does, as the clocks in which its level changes: characters at any rate, and what disturbs them."""

import functools
import itertools
from bisect import bisect_left, bisect_right

__all__ = ["Line"]


@functools.cache
def _changes(byte: int) -> tuple[int, ...]:
    """Bits of a character, counted from its start bit, before which the line changes; high before and behind it."""
    levels = (1, 0, *((byte >> bit & 1) for bit in range(8)), 1)
    return tuple(bit for bit in range(10) if levels[bit] != levels[bit + 1])


class Line:
    """A line that is high at first and at last.

    Times are clocks from the begin of the line. A sender whose bit is no whole number of clocks is seen as the
    synchroniser of the receiver sees it: a change counts from the clock in which it falls.
    """

    def __init__(self, divisor: int) -> None:
        #: Clocks per bit of the receiver.
        self.divisor = divisor
        #: Clocks in which the level changes, in order.
        self.edges: list[int] = []
        #: Where the next thing begins.
        self.clock = 2.0
        #: What a right receiver makes of the line, as far as the sender knows; None if the line was disturbed.
        self.sent: bytearray | None = bytearray()

    @property
    def end(self) -> int:
        """Where the line is high for good."""
        return max(int(self.clock) + 1, self.edges[-1] + 1 if self.edges else 0)

    def send(self, data: bytes, *, rate: float | None = None) -> None:
        """Send characters without gaps, in ``rate`` clocks per bit."""
        rate = self.divisor if rate is None else rate
        for byte in data:
            clock = self.clock
            self.edges += [int(clock + bit * rate) for bit in _changes(byte)]
            self.clock = clock + 10 * rate
        if self.sent is not None:
            self.sent += data

    def send_without_stop_bit(self, byte: int, low_bits: float) -> None:
        """Send a character whose stop bit is low for ``low_bits`` bits, then high until the end of the bit."""
        begin = int(self.clock)
        self.send(bytes((byte,)))
        self.hold(0, begin + 9 * self.divisor, begin + int((9 + low_bits) * self.divisor))
        self.clock = begin + max(10.0, 9 + low_bits) * self.divisor + 1

    def wait(self, clocks: float) -> None:
        """Be silent; not at all if ``clocks`` is negative."""
        self.clock += max(0, clocks)

    def pulse(self, begin: int, clocks: int) -> None:
        """Turn the level over for some clocks."""
        changed = set(self.edges) ^ {begin} ^ {begin + clocks}
        self.edges = sorted(changed)
        self.sent = None

    def hold(self, level: int, begin: int, end: int) -> None:
        """Hold the line at a level from one clock to another, whatever is sent."""
        first, last = bisect_left(self.edges, begin), bisect_right(self.edges, end)
        # Behind an even number of changes the line is high.
        before, after = 1 - first % 2, 1 - last % 2
        self.edges[first:last] = [begin] * (before != level) + [end] * (after != level)
        self.sent = None

    def shake(self, moves: list[int], smallest: int) -> None:
        """Move every change by its number of ``moves``, but leave at least ``smallest`` clocks between two."""
        clock = -smallest
        shaken = []
        for edge, move in zip(self.edges, moves, strict=True):
            clock = max(clock + smallest, edge + move)
            shaken.append(clock)
        self.edges = shaken

    def segments(self) -> list[tuple[int, int]]:
        """Return levels and numbers of clocks, as :meth:`sim.verilated.Verilated.wave` takes them."""
        ends = [*self.edges, self.end]
        return [(1 - number % 2, stop - start)
                for number, (start, stop) in enumerate(itertools.pairwise([0, *ends])) if stop > start]
