r"""Where each byte of a model's stream goes.

::

    byte -+-> TritDecoder -> row_weights --> ring of weights    \
          +------------------------ byte --> ring of constants   } with masks and addresses from `place` and counters
          |                              \-> ring of programs   /
          \-> Crc32Check -> damaged
"""

from amaranth import *
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from arch.flash.circuit import SPARE_PLACES, SPARE_ROWS
from arch.flash.header import CRC_OFFSET
from arch.flash.stream import CONSTANT_BYTES, CRC_BYTES, ENTRY_BYTES, PROGRAM_BYTES, PROGRAM_ENTRIES
from arch.flash.trits import BANK_WEIGHTS, SET_BANKS, row_bytes
from gateware.engine.configuration import EngineConfig
from gateware.flash.crc32 import Crc32Check
from gateware.flash.trits import TritDecoder

__all__ = ["StreamLoader"]

class _Phase(enum.Enum, shape=unsigned(2)):
    """What a byte is part of."""

    #: The program of a layer; or all of a header but its CRC.
    PROGRAM   = 0
    #: The constants of a group.
    CONSTANTS = 1
    #: A row of weights.
    ROW       = 3
    #: A CRC.
    CHECK     = 2


class _Usage(wiring.Component):
    """Counts the places of a ring that are in use. ``full`` while at most ``spare`` are free, one clock later.

    ``written`` and ``released`` are strobes. The free places take what is written until ``full`` stops it.
    """

    written:  In(1)
    released: In(1)
    full:     Out(1)

    def __init__(self, depth, spare):
        self.depth = depth
        self.spare = spare
        super().__init__()

    def elaborate(self, platform):
        m = Module()

        # The second operand is 0, 1 or -1: a LUT with a carry has no input left for an enable.
        count = Signal(exact_log2(self.depth))
        one   = Signal()
        down  = Signal()
        m.d.comb += one.eq(self.written ^ self.released)
        m.d.comb += down.eq(self.released & ~self.written)
        m.d.sync += count.eq(count + Cat(one, down.replicate(len(count) - 1)))
        m.d.comb += self.full.eq(count[exact_log2(self.spare):].all())

        return m


class StreamLoader(wiring.Component):
    """Writes the stream of a model (:mod:`arch.flash.stream`) into the rings of the engine, byte by byte.

    ``start`` begins a stream, or with ``header`` a header: the same strobe tells the reader of the flash to read anew,
    and from the next clock on only bytes of the new read may be valid. Bytes before ``start`` and behind the end of a
    header or stream are ignored. The CRC of a header is elsewhere: it begins with a ``start`` of its own. ``complete``
    is strobed when all bytes have been checked.

    The entries of programs and constants are written a byte at a time, the weights of a row five at a time or four. The
    places of the rings follow each other modulo their sizes, from 0 after reset. ``layer_written`` follows a whole
    program and ``row_written`` a whole row, behind the constants of its group. The last row of a section is strobed
    only when the CRC of the section was right. So nothing that depends on every row of a damaged section can finish,
    and no result is made of one.

    ``run`` stops the flash while a ring has no room for what could be under way: 4 rows, 2 groups, 2 layers.
    ``release_row``, ``release_group`` and ``release_layer`` give the oldest place of a ring back.

    Throughput: a byte in two clocks, and with ``double`` a byte per clock. Latency: a byte is written in its clock;
    strobes follow one clock behind it, ``complete`` and the last row of a section two and three; ``run`` falls two
    clocks behind the byte that fills a ring, and rises two clocks behind a release. Back-pressure: none but ``run``,
    after whose fall up to 4 more bytes may come. Without ``double``, the upper half of ``byte`` must stay in the clock
    after ``valid``, in which there is no other one.
    Reset: all rings are empty, nothing is damaged, and bytes are ignored until ``start``.
    Cost on the iCE40, decoder and CRC included, in the overlay 155 LUTs, 90 flip-flops, 164 logic cells; with
    ``double`` 163 LUTs, 83 flip-flops.

    Parameters
    ----------
    config : :class:`EngineConfig`
    double : :class:`bool`
        A byte may come in each clock.

    Members
    -------
    start : :py:`In(1)`
        Strobe: the next byte is the first of a stream or header, or of a header's CRC.
    header : :py:`In(1)`
        A header is read: nothing is written. Must not change from ``start`` to ``complete``.
    byte : :py:`In(8)`
    valid : :py:`In(1)`
    run : :py:`Out(1)`
        The flash may send.
    header_write : :py:`Out(1)`
        ``byte`` is one of a header, but not of its CRC.
    place : :py:`Out(8)`
        The number of the byte in the header, program, constants, row or CRC.
    complete : :py:`Out(1)`
        Strobe: the header, or the last section of the stream, was checked.
    damaged : :py:`Out(1)`
        A CRC was wrong, up to and including what ``complete`` tells of; until reset.
    layer_written, row_written : :py:`Out(1)`
        Strobes.
    release_layer, release_group, release_row : :py:`In(1)`
        Strobes.
    program_write, constants_write : :py:`Out(1)`
        ``byte`` is written, into the one memory or the other.
    entry_mask : :py:`Out(8)`
        Which of the eight bytes of the entry it is, one bit each.
    program_address : :py:`Out(config.layer_width + 5)`
        Place of the layer, and entry.
    constants_group : :py:`Out(config.group_width)`
    constants_lane : :py:`Out(range(config.lanes))`
    row : :py:`Out(config.row_width)`
    row_banks : :py:`Out(banks)`
        Banks of eight weights that are written, one bit each.
    row_mask : :py:`Out(data.ArrayLayout(8, banks))`
        Weights of each bank that are written, one bit each.
    row_weights : :py:`Out(data.ArrayLayout(data.ArrayLayout(2, 8), banks))`
        Weights in the 2-bit code of :mod:`arch.ternary`: weight p of bank b is weight ``8 b + p`` of the row.

    Raises
    ------
    :exc:`ValueError`
        If a ring is too small for what is under way, or a row for a bank.
    """

    def __init__(self, config: EngineConfig, *, double=False):
        for name, least in (("layers", 2 * SPARE_PLACES), ("channel_groups", 2 * SPARE_PLACES),
                            ("weight_rows", 2 * SPARE_ROWS)):
            depth = getattr(config, name)
            if depth < least or depth & (depth - 1):
                raise ValueError(f"{name} must be a power of two and at least {least} for a stream, not {depth!r}")
        if config.lanes * config.width < BANK_WEIGHTS:
            raise ValueError(f"lanes x width must be at least {BANK_WEIGHTS} for a stream, "
                             f"not {config.lanes} x {config.width}")
        self.config = config
        self.double = bool(double)
        self.banks  = config.lanes * config.width // BANK_WEIGHTS

        super().__init__({
            "start":           In(1),
            "header":          In(1),
            "byte":            In(8),
            "valid":           In(1),
            "run":             Out(1, init=1),
            "header_write":    Out(1),
            "place":           Out(8),
            "complete":        Out(1),
            "damaged":         Out(1),
            "layer_written":   Out(1),
            "row_written":     Out(1),
            "release_layer":   In(1),
            "release_group":   In(1),
            "release_row":     In(1),
            "program_write":   Out(1),
            "constants_write": Out(1),
            "entry_mask":      Out(ENTRY_BYTES),
            "program_address": Out(config.layer_width + exact_log2(PROGRAM_ENTRIES)),
            "constants_group": Out(config.group_width),
            "constants_lane":  Out(range(config.lanes)),
            "row":             Out(config.row_width),
            "row_banks":       Out(self.banks),
            "row_mask":        Out(data.ArrayLayout(BANK_WEIGHTS, self.banks)),
            "row_weights":     Out(data.ArrayLayout(data.ArrayLayout(2, BANK_WEIGHTS), self.banks)),
        })

    @staticmethod
    def verdict_cycles(*, double: bool) -> int:
        """Clocks from the last byte of a CRC to ``complete``; the last row of a section is strobed a clock later."""
        return 1 if double else 2

    def elaborate(self, platform):
        m = Module()

        config  = self.config
        phase   = Signal(_Phase)
        reading = Signal()
        taken   = Signal()
        layer   = Signal(config.layer_width)
        group   = Signal(config.group_width)
        final   = Signal()  # the section is the last one
        # The byte is the last one of its phase; and it is taken, and which.
        last           = Signal()
        program_done   = Signal()
        constants_done = Signal()
        row_done       = Signal()
        check_done     = Signal()
        # The verdict of the CRC follows behind its last byte.
        checked        = Signal(self.verdict_cycles(double=self.double))

        m.submodules.trits  = trits  = TritDecoder()
        m.submodules.crc    = crc    = Crc32Check(double=self.double)
        m.submodules.layers = layers = _Usage(config.layers, SPARE_PLACES)
        m.submodules.groups = groups = _Usage(config.channel_groups, SPARE_PLACES)
        m.submodules.rows   = rows   = _Usage(config.weight_rows, SPARE_ROWS)
        tail = Signal(data.StructLayout({"nonzero": 1, "negative": 1}))

        m.d.comb += [
            trits.byte.eq(self.byte),
            tail.eq(trits.trits[-1]),
            crc.byte.eq(self.byte),
            crc.valid.eq(taken),
            crc.checking.eq(phase == _Phase.CHECK),
            layers.written.eq(self.layer_written),
            layers.released.eq(self.release_layer),
            groups.released.eq(self.release_group),
            rows.written.eq(self.row_written),
            rows.released.eq(self.release_row),
        ]
        m.d.sync += self.run.eq(~(layers.full | groups.full | rows.full))

        m.d.comb += taken.eq(self.valid & reading)
        m.d.sync += self.place.eq(self.place + taken)
        with m.If(taken & last):
            m.d.sync += self.place.eq(0)

        # Off the critical path: two clocks lie between bytes, if not `double`.
        domain = m.d.comb if self.double else m.d.sync

        def reached(place):
            # A place does not pass the last one, so the bits that are set in that one tell it.
            return Cat(self.place[bit] for bit in range(8) if place >> bit & 1).all()

        with m.Switch(phase):
            with m.Case(_Phase.PROGRAM):
                domain += last.eq(reached(PROGRAM_BYTES - 1 & CRC_OFFSET - 1) & (self.place[2] | self.header))
                m.d.comb += program_done.eq(taken & last)
                with m.If(program_done):
                    m.d.sync += phase.eq(Mux(self.header, _Phase.CHECK, _Phase.CONSTANTS))
            with m.Case(_Phase.CONSTANTS):
                domain += last.eq(reached(config.lanes * CONSTANT_BYTES - 1))
                m.d.comb += constants_done.eq(taken & last)
                with m.If(constants_done):
                    m.d.sync += phase.eq(_Phase.ROW)
            with m.Case(_Phase.ROW):
                domain += last.eq(reached(row_bytes(config.lanes, config.width) - 1))
                m.d.comb += row_done.eq(taken & last)
                with m.If(row_done & tail.nonzero):
                    m.d.sync += phase.eq(Mux(tail.negative, _Phase.CHECK, _Phase.CONSTANTS))
                # What stays is the fifth digit of the last byte but one.
                with m.If(taken & ~last):
                    m.d.sync += final.eq(tail.nonzero)
            with m.Case(_Phase.CHECK):
                domain += last.eq(reached(CRC_BYTES - 1))
                m.d.comb += check_done.eq(taken & last)
                with m.If(check_done):
                    m.d.sync += phase.eq(_Phase.PROGRAM)

        with m.If(self.start):
            m.d.sync += reading.eq(1)
        with m.Elif((program_done & self.header) | (check_done & (self.header | final))):
            m.d.sync += reading.eq(0)

        m.d.sync += [
            checked.eq(Cat(check_done, checked)),
            self.layer_written.eq(program_done & ~self.header),
            groups.written.eq(constants_done),
            self.row_written.eq((row_done & ~tail.negative) | (checked[-1] & ~crc.wrong & ~self.header)),
        ]
        m.d.comb += self.complete.eq(checked[-1] & ~reading)
        m.d.comb += self.damaged.eq(crc.wrong)

        m.d.sync += [
            layer.eq(layer + self.layer_written),
            group.eq(group + groups.written),
            self.row.eq(self.row + row_done),
        ]

        m.d.comb += [
            self.header_write.eq(taken & (phase == _Phase.PROGRAM) & self.header),
            self.program_write.eq(taken & (phase == _Phase.PROGRAM) & ~self.header),
            self.constants_write.eq(taken & (phase == _Phase.CONSTANTS)),
            self.entry_mask.eq(1 << self.place[:exact_log2(ENTRY_BYTES)]),
            self.program_address.eq(Cat(self.place[3:], layer)),
            self.constants_group.eq(group),
            self.constants_lane.eq(self.place[3:]),
        ]
        self._write_weights(m, trits.trits, reading & (phase == _Phase.ROW))

        return m

    def _write_weights(self, m, trits, weights):
        """Write a weight into each bank of a set, or half of the weights of one of the banks that are left.

        A byte has ``weights`` in a row.
        """
        sets, rest = divmod(self.banks, SET_BANKS)
        part = self.place[3:][:sets.bit_length()]
        turn = self.place[1:][:ceil_log2(rest)]
        # Block RAMs are far away. What a byte is written to is known a clock before it, if two lie between bytes.
        chosen = Signal(self.banks)
        domain = m.d.comb if self.double else m.d.sync
        domain += chosen.eq(Cat(
            *(part == bank // SET_BANKS for bank in range(sets * SET_BANKS)),
            *((part == sets) & (turn == index) for index in range(rest))) & weights.replicate(self.banks))
        m.d.comb += self.row_banks.eq(chosen & self.valid.replicate(self.banks))
        for bank in range(sets * SET_BANKS):
            m.d.comb += [
                self.row_mask[bank].eq(self.entry_mask),
                *(weight.eq(trits[bank % SET_BANKS]) for weight in self.row_weights[bank]),
            ]
        half = self.place[0]
        for index in range(rest):
            bank = sets * SET_BANKS + index
            m.d.comb += [
                self.row_mask[bank].eq(Cat((~half).replicate(SET_BANKS - 1), half.replicate(SET_BANKS - 1))),
                *(weight.eq(trits[place % (SET_BANKS - 1)]) for place, weight in enumerate(self.row_weights[bank])),
            ]
