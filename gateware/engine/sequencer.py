r"""Walks through the layers of a network and issues one word of the array per clock.

::

    program memory --> step table --> pointers --> spike address, weight row, padding flag
                   \-> registers  --> counters --> first, last
"""

from collections.abc import Sequence

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.configuration import EngineConfig
from gateware.engine.neuron_array import beat_layout
from gateware.engine.program import LAYER_ENTRIES, LayerEntry, layer_layouts, program_width

__all__ = ["LAYER_START_CYCLES", "Sequencer"]

#: Clocks from the start of a layer to the first word that it may issue: reading the entries, applying the start.
LAYER_START_CYCLES = 8


class _Walk:
    """Where the walk through a layer is: registers, without a reset where a layer loads them."""

    def __init__(self, layouts):
        loops, sizes = layouts[LayerEntry.LOOPS], layouts[LayerEntry.SIZES]
        #: Parameters of the layer.
        self.sizes   = Signal(sizes, reset_less=True)
        self.source  = Signal(layouts[LayerEntry.SOURCE], reset_less=True)
        #: The next word, and whether it begins a sum.
        self.pointer = Signal(layouts[LayerEntry.START], reset_less=True)
        self.first   = Signal()
        #: Countdowns of the loops, innermost first.
        self.run     = Signal(loops["run"].shape, reset_less=True)
        self.kernel  = Signal(loops["kernel"].shape, reset_less=True)
        self.across  = Signal(loops["pool"].shape, reset_less=True)
        self.down    = Signal(loops["pool"].shape, reset_less=True)
        self.group   = Signal(loops["groups"].shape, reset_less=True)
        self.column  = Signal(sizes["columns"].shape, reset_less=True)
        self.row     = Signal(sizes["rows"].shape, reset_less=True)


class Sequencer(wiring.Component):
    """Issues the words of every sum of every layer, in the order that the rest of the engine expects.

    The words of a kernel row are read one by one: for each row and column of the (pooled) map, each group of output
    channels, each position of the pooling window and each row of the kernel. A word outside the source map is issued
    with ``zero`` set. It costs a clock as any other, because the offset of the dot product counts every weight of -1
    (:class:`gateware.engine.dot_product.DotProduct`).

    Throughput: one word per clock while ``grant`` is set, except that a sum never ends within
    :attr:`EngineConfig.cooldown_cycles` clocks of the one before, and that every layer waits ``drain_cycles`` for its
    last spikes to be written and takes :data:`LAYER_START_CYCLES` to begin. ``done`` comes as a strobe
    ``drain_cycles`` after the last word of the readout. Reset stops the program.
    Cost on the iCE40 for the shipped network: 298 LUTs, 205 flip-flops, 3 block RAMs.

    Parameters
    ----------
    config : :class:`EngineConfig`
    drain_cycles : :class:`int`
        Clocks from the last word of a layer until its spikes are in memory.
    init : sequence of :class:`int`
        The program, :data:`LAYER_ENTRIES` entries per layer.

    Members
    -------
    start : :py:`In(1)`
        Strobe: run the program. Ignored while it runs.
    buffer : :py:`In(1)`
        Image buffer, the top bit of the addresses of the first layer. Must not change while the program runs.
    request : :py:`Out(1)`
        A word is to be read.
    grant : :py:`In(1)`
        It is read in this clock.
    address, row, zero, beat : :py:`Out(...)`
        Spike memory address; weight row; whether the word is padding; its role. ``address`` belongs to this clock, the
        others to the clock after.
    layer_start : :py:`Out(1)`
        Strobe: the parameters of a layer are complete; no word of it was issued.
    target : :py:`Out(layer_layouts(config)[LayerEntry.TARGET])`
    loops : :py:`Out(layer_layouts(config)[LayerEntry.LOOPS])`
    mode : :py:`Out(layer_layouts(config)[LayerEntry.MODE])`
        Parameters of the layer, valid from ``layer_start`` until its last spike is written.
    busy, done : :py:`Out(1)`
    """

    def __init__(self, config: EngineConfig, *, drain_cycles: int, init: Sequence[int] = ()):
        self.config       = config
        self.drain_cycles = drain_cycles
        self.init         = list(init)

        layouts = layer_layouts(config)
        super().__init__({
            "start":       In(1),
            "buffer":      In(1),
            "request":     Out(1),
            "grant":       In(1),
            "address":     Out(config.address_width),
            "row":         Out(config.row_width),
            "zero":        Out(1),
            "beat":        Out(beat_layout()),
            "layer_start": Out(1),
            "target":      Out(layouts[LayerEntry.TARGET]),
            "loops":       Out(layouts[LayerEntry.LOOPS]),
            "mode":        Out(layouts[LayerEntry.MODE]),
            "busy":        Out(1),
            "done":        Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        config  = self.config
        layouts = layer_layouts(config)

        layer    = Signal(config.layer_width)
        entry    = Signal(range(LAYER_ENTRIES))
        fetched  = Signal(range(LAYER_ENTRIES))
        mode     = self.mode
        walk     = _Walk(layouts)

        cooldown = Signal(signed(1 + max(1, (config.cooldown_cycles - 1).bit_length())), init=-1)
        drain    = Signal(range(self.drain_cycles))

        m.submodules.entries = program = memory.Memory(
            shape=unsigned(program_width(config)), depth=config.layers * LAYER_ENTRIES, init=self.init,
            attrs={"ram_style": "block"})
        port = program.read_port()
        m.d.comb += port.addr.eq(Cat(entry, layer))

        def view(entry):
            return data.View(layouts[entry], port.data[:layouts[entry].size])

        step    = view(LayerEntry.START)
        running = Signal()
        issue   = Signal()
        turn    = Signal()  # issue, and the word ends a kernel row
        ends    = Signal()  # the word ends a kernel row
        last    = Signal()  # ... and a sum
        # Which loops end with this kernel row: decided a clock ahead, since kernel rows are two clocks apart.
        loop_ends = Signal(6)
        turns     = Cat(walk.kernel < 0, walk.across < 0, walk.down < 0, walk.group < 0, walk.column < 0, walk.row < 0)
        m.d.sync += loop_ends.eq(Cat(turns[:count].all() for count in range(1, 7)))
        # Whether the array could take the end of a sum, a clock ahead as well: set by every end of a sum, which is too
        # much only for a row of the kernel that ends in the next clock, and there is none.
        cooling = Signal()
        m.d.sync += cooling.eq(turns[0] & (cooldown >= 0))
        m.d.comb += [
            ends.eq(walk.run < 0),
            last.eq(ends & loop_ends[0]),
            self.request.eq(running & ~(ends & cooling)),
            # The three below from registers, each in one LUT and not by way of another.
            issue.eq((running & self.grant) & ~(ends & cooling)),
            turn.eq((running & self.grant) & (ends & ~cooling)),
            self.address.eq(walk.pointer.address),
        ]

        advance = self._next_step(m, walk)
        m.d.sync += [
            self.row.eq(walk.pointer.row),
            # Before the map is beyond it: the coordinates are unsigned.
            self.zero.eq((walk.pointer.x >= walk.source.words) | (walk.pointer.y >= walk.source.height)),
            self.beat.valid.eq(issue),
            self.beat.first.eq(walk.first),
            self.beat.last.eq(last),
            self.layer_start.eq(0),
            self.done.eq(0),
        ]
        with m.If(cooldown >= 0):
            m.d.sync += cooldown.eq(cooldown - 1)

        self._advance(m, walk, step, issue=issue, turn=turn, ends=ends, last=last, loop_ends=loop_ends)
        with m.If(turn & loop_ends[0]):
            m.d.sync += cooldown.eq(config.cooldown_cycles - 3)
            m.d.sync += cooling.eq(1)

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += entry.eq(LayerEntry.LOOPS)
                m.d.sync += fetched.eq(LayerEntry.LOOPS)
                with m.If(self.start):
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.d.comb += self.busy.eq(1)
                m.d.comb += entry.eq(fetched + 1)
                m.d.sync += fetched.eq(fetched + 1)
                with m.Switch(fetched):
                    with m.Case(LayerEntry.LOOPS):
                        m.d.sync += self.loops.eq(view(LayerEntry.LOOPS))
                    with m.Case(LayerEntry.SIZES):
                        m.d.sync += walk.sizes.eq(view(LayerEntry.SIZES))
                    with m.Case(LayerEntry.SOURCE):
                        m.d.sync += walk.source.eq(view(LayerEntry.SOURCE))
                    with m.Case(LayerEntry.TARGET):
                        m.d.sync += self.target.eq(view(LayerEntry.TARGET))
                    with m.Case(LayerEntry.MODE):
                        m.d.comb += entry.eq(LayerEntry.START)
                        m.d.sync += mode.eq(view(LayerEntry.MODE))
                        m.d.sync += self.layer_start.eq(1)
                        m.next = "START"
            with m.State("START"):
                m.d.comb += self.busy.eq(1)
                m.d.comb += entry.eq(LayerEntry.START)
                self._begin(m, walk, step)
                m.next = "SETTLE"
            with m.State("SETTLE"):
                m.d.comb += self.busy.eq(1)
                m.d.comb += entry.eq(advance)
                m.d.sync += running.eq(1)
                m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += self.busy.eq(1)
                m.d.comb += entry.eq(advance)
                m.d.sync += drain.eq(self.drain_cycles - 1)
                with m.If(turn & loop_ends[5]):
                    m.d.sync += running.eq(0)
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.comb += self.busy.eq(1)
                m.d.comb += entry.eq(LayerEntry.LOOPS)
                m.d.sync += fetched.eq(LayerEntry.LOOPS)
                m.d.sync += drain.eq(drain - 1)
                with m.If(drain == 0):
                    with m.If(mode.final):
                        m.d.sync += self.done.eq(1)
                        m.d.sync += layer.eq(0)
                        m.next = "IDLE"
                    with m.Else():
                        m.d.sync += layer.eq(layer + 1)
                        m.next = "NEXT"
            with m.State("NEXT"):
                m.d.comb += self.busy.eq(1)
                m.d.comb += entry.eq(LayerEntry.LOOPS)
                m.next = "FETCH"

        return m

    @staticmethod
    def _next_step(m, walk):
        """Name the loop that goes on after this kernel row."""
        # The loop that will advance is known as soon as the counters are, one clock before the pointers can need it:
        # a row of one word is always a whole sum, and sums end at least two clocks apart.
        advance = Signal(LayerEntry)
        with m.If(walk.kernel >= 0):
            m.d.comb += advance.eq(LayerEntry.KERNEL)
        with m.Elif(walk.across >= 0):
            m.d.comb += advance.eq(LayerEntry.ACROSS)
        with m.Elif(walk.down >= 0):
            m.d.comb += advance.eq(LayerEntry.DOWN)
        with m.Elif(walk.group >= 0):
            m.d.comb += advance.eq(LayerEntry.GROUP)
        with m.Elif(walk.column >= 0):
            m.d.comb += advance.eq(LayerEntry.COLUMN)
        with m.Else():
            m.d.comb += advance.eq(LayerEntry.ROW)
        return advance

    def _advance(self, m, walk, step, *, issue, turn, ends, last, loop_ends):
        """Go to the next word when one is issued; each loop that ends starts again, and the one around it goes on."""
        with m.If(issue):
            m.d.sync += [
                walk.pointer.address.eq(walk.pointer.address + Mux(ends, step.address, 1)),
                walk.pointer.x.eq(walk.pointer.x + Mux(ends, step.x, 1)),
                walk.pointer.y.eq(walk.pointer.y + Mux(ends, step.y, 0)),
                walk.pointer.row.eq(walk.pointer.row + Mux(ends, step.row, 1)),
                walk.first.eq(last),
                walk.run.eq(Mux(ends, self.loops.run, walk.run - 1)),
            ]
        with m.If(turn):
            m.d.sync += walk.kernel.eq(Mux(loop_ends[0], self.loops.kernel, walk.kernel - 1))
        with m.If(turn & loop_ends[0]):
            m.d.sync += walk.across.eq(Mux(loop_ends[1], self.loops.pool, walk.across - 1))
        with m.If(turn & loop_ends[1]):
            m.d.sync += walk.down.eq(Mux(loop_ends[2], self.loops.pool, walk.down - 1))
        with m.If(turn & loop_ends[2]):
            m.d.sync += walk.group.eq(Mux(loop_ends[3], self.loops.groups, walk.group - 1))
        with m.If(turn & loop_ends[3]):
            m.d.sync += walk.column.eq(Mux(loop_ends[4], walk.sizes.columns, walk.column - 1))
        with m.If(turn & loop_ends[4]):
            m.d.sync += walk.row.eq(walk.row - 1)

    def _begin(self, m, walk, step):
        """Go to the first word of a layer."""
        m.d.sync += [
            walk.pointer.eq(step),
            walk.first.eq(1),
            walk.run.eq(self.loops.run),
            walk.kernel.eq(self.loops.kernel),
            walk.across.eq(self.loops.pool),
            walk.down.eq(self.loops.pool),
            walk.group.eq(self.loops.groups),
            walk.column.eq(walk.sizes.columns),
            walk.row.eq(walk.sizes.rows),
        ]
        with m.If(self.mode.input):
            m.d.sync += walk.pointer.address[-1].eq(step.address[-1] ^ self.buffer)
