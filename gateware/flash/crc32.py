"""The CRC of the flash's sections, half a byte or a byte at a time."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Crc32Check"]

#: CRC-32 of IEEE 802.3, in the order of bits that begins with the least significant one.
_POLYNOMIAL, _WIDTH = 0xEDB88320, 32


def _shifted(state, feedback, filler):
    """Shift a state by one bit for each bit of feedback. A bit is a set of symbols, their sum modulo 2."""
    for taken in feedback:
        state = [(state[place + 1] if place + 1 < _WIDTH else filler)
                 ^ (taken if _POLYNOMIAL >> place & 1 else frozenset()) for place in range(_WIDTH)]
    return state


def _step(bits):
    """Take ``bits`` bits at once: the next state and the next feedback, of what is kept and of the bits.

    What is kept is the state of one step ago, ``("state", place)``, the feedback that it has not seen yet,
    ``("feedback", place)``, and ``("filler",)``. So a bit of either needs few inputs.
    """
    kept  = [frozenset([("state", place)]) for place in range(_WIDTH)]
    state = _shifted(kept, [frozenset([("feedback", place)]) for place in range(bits)], frozenset([("filler",)]))
    feedback, ahead = [], state
    for place in range(bits):
        feedback.append(ahead[0] ^ frozenset([("bit", place)]))
        ahead = _shifted(ahead, feedback[-1:], frozenset())
    return state, feedback


class Crc32Check(wiring.Component):
    """Checks data that are followed by their CRC-32 (:func:`zlib.crc32`, least significant byte first).

    Each clock with ``valid`` takes ``byte``: a byte of the data, or with ``checking`` one of the CRC. Each of the four
    bytes of the CRC is compared with the lowest byte of the state, which it shifts out; ones are shifted in, so that
    the state is ready for the next data. ``wrong`` stays high from a byte on that is not the right one.

    Throughput: a byte in two clocks, and with ``double`` a byte per clock. Latency: ``wrong`` follows the second half
    of a byte by one clock, so a byte by two clocks, and with ``double`` by one. Without ``double`` the upper half of
    ``byte`` must stay in the clock after ``valid``, in which there is no other one. No back-pressure. Reset: ready for
    data, nothing is wrong. Cost on the iCE40: 38 LUTs, 35 flip-flops; with ``double`` 53 LUTs, 34 flip-flops.

    Parameters
    ----------
    double : :class:`bool`
        Take a byte per clock.

    Members
    -------
    byte : :py:`In(8)`
    valid : :py:`In(1)`
    checking : :py:`In(1)`
        With ``valid``: the byte belongs to the CRC.
    wrong : :py:`Out(1)`
        A byte of a CRC was not right.
    """

    def __init__(self, *, double=False):
        self.double = bool(double)

        super().__init__({
            "byte":     In(8),
            "valid":    In(1),
            "checking": In(1),
            "wrong":    Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        bits     = 8 if self.double else 4
        state    = Signal(_WIDTH, init=(1 << _WIDTH) - 1)
        feedback = Signal(bits)
        # What is shifted into the state. Also, whether `feedback` is what a byte of the CRC differs by: of a right one,
        # which was inverted before it was stored, it is 0, and changes nothing.
        filler   = Signal(init=1)
        taken    = Signal(bits)
        enable   = Signal()
        checking = Signal()
        differs  = Signal()
        seen     = Signal()

        if self.double:
            m.d.comb += [taken.eq(self.byte), enable.eq(self.valid), checking.eq(self.checking)]
        else:
            second = Signal()
            m.d.sync += second.eq(self.valid)
            m.d.comb += [
                taken.eq(Mux(second, self.byte[4:], self.byte[:4])),
                enable.eq(self.valid | second),
                checking.eq(Mux(second, filler, self.checking)),
            ]

        def value(symbols):
            """Turn a sum of symbols into the sum of their signals."""
            total = Const(0)
            for kind, *place in sorted(symbols):
                total ^= {"state": state, "feedback": feedback, "bit": taken ^ checking.replicate(bits),
                          "filler": filler}[kind][place[0] if place else 0]
            return total

        next_state, next_feedback = _step(bits)
        with m.If(enable):
            m.d.sync += [
                state.eq(Cat(map(value, next_state))),
                feedback.eq(Cat(map(value, next_feedback))),
                filler.eq(checking),
            ]
        m.d.comb += differs.eq(filler & feedback.any())
        m.d.comb += self.wrong.eq(seen | differs)
        with m.If(differs):
            m.d.sync += seen.eq(1)

        return m
