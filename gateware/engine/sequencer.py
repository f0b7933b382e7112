r"""Walks through the layers of a network and issues one word of the array per clock.

::

    program memory --> steps ------> pointers --> spike address, weight row, padding flag
                   \-> registers --> counters --> first, last, flags of the ending
"""

from collections.abc import Sequence

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.configuration import EngineConfig
from gateware.engine.neuron_array import beat_layout, ending_layout
from gateware.engine.program import LAYER_ENTRIES, LayerEntry, layer_layouts, program_width

__all__ = ["LAYER_START_CYCLES", "Sequencer"]

#: Clocks from the start of a layer to the first word that it may issue: reading the entries, applying the start.
LAYER_START_CYCLES = 8


class _Loop:
    """One loop around the words of a kernel row: a counter that is -1 in its last turn."""

    def __init__(self, entry, turns, count=None):
        #: Step of the pointers when it advances.
        self.entry = entry
        #: With how many turns it begins again, minus one; None: it does not.
        self.turns = turns
        #: Turns to come after the next one.
        self.count = Signal(signed(len(turns) + 1), name=entry.name.lower(), init=-1) if count is None else count
        #: In its last turn.
        self.ended = self.count[-1]


class _Walk:
    """Where the walk through a layer is: registers, without a reset where a layer loads them."""

    def __init__(self, layouts):
        self.layouts = layouts
        #: Parameters of the layer.
        self.loops   = Signal(layouts[LayerEntry.LOOPS], reset_less=True)
        self.sizes   = Signal(layouts[LayerEntry.SIZES], reset_less=True)
        self.source  = Signal(layouts[LayerEntry.SOURCE], reset_less=True)
        #: The next word, and the turns of the innermost loop: the words of the kernel row to come after the next one.
        self.pointer = Signal(layouts[LayerEntry.START], reset_less=True)
        #: Whether the next word begins a sum, and the next sum a pooling window.
        self.first        = Signal(reset_less=True)
        self.window_first = Signal(reset_less=True)
        #: The outermost loop.
        self.groups = _Loop(LayerEntry.GROUP, None, Signal(signed(len(self.loops.groups) + 1), reset_less=True))
        #: All other loops, innermost first.
        self.inner = [
            _Loop(LayerEntry.KERNEL, self.loops.kernel),
            _Loop(LayerEntry.ACROSS, self.loops.pool),
            _Loop(LayerEntry.DOWN, self.loops.pool),
            _Loop(LayerEntry.COLUMN, self.sizes.columns),
            _Loop(LayerEntry.ROW, self.sizes.rows),
        ]


class Sequencer(wiring.Component):
    """Issues the words of every sum of every layer, in the order that the rest of the engine expects.

    The words of a kernel row are read one by one: for each group of output channels, each row and column of the
    (pooled) map, each position of the pooling window and each row of the kernel. A word outside the source map is
    issued with ``zero`` set. It costs a clock as any other, because the offset of the dot product counts every weight
    of -1 (:class:`gateware.engine.dot_product.DotProduct`). A kernel with rows of a single word has one row.

    Throughput: one word per clock while ``grant`` is set, except that a sum never ends within
    :attr:`EngineConfig.cooldown_cycles` clocks of the one before, and that every layer waits ``drain_cycles`` for its
    last spikes to be written and takes :data:`LAYER_START_CYCLES` to begin. In one of these, ``request`` waits for
    ``grant`` as well, and what is read means nothing. ``done`` comes as a strobe ``drain_cycles`` after the last word
    of the readout. Reset stops the program.
    Cost on the iCE40 for the shipped network: 251 LUTs, 170 flip-flops, 3 block RAMs.

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
    ending : :py:`Out(ending_layout(config))`
        What the end of a sum means; comes with the ``last`` beat and stays until the next one.
    target : :py:`Out(layer_layouts(config)[LayerEntry.TARGET])`
    target_valid : :py:`Out(1)`
        Strobe: ``target`` is that of the layer that begins, in this clock only.
    layer_start : :py:`Out(1)`
        Strobe: a layer begins; no word of it was issued.
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
            "start":        In(1),
            "buffer":       In(1),
            "request":      Out(1),
            "grant":        In(1),
            "address":      Out(config.address_width),
            "row":          Out(config.row_width),
            "zero":         Out(1),
            "beat":         Out(beat_layout()),
            "ending":       Out(ending_layout(config)),
            "target":       Out(layouts[LayerEntry.TARGET]),
            "target_valid": Out(1),
            "layer_start":  Out(1),
            "mode":         Out(layouts[LayerEntry.MODE]),
            "busy":         Out(1),
            "done":         Out(1),
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

        running  = Signal()
        starting = Signal()  # the step from zero to the first word, which is issued as a word but has no beat
        issue    = Signal()
        turn     = Signal()  # issue, and the word ends a kernel row
        ends     = Signal()  # the word ends a kernel row
        last     = Signal()  # ... and a sum
        # Which loops end with this kernel row: decided a clock ahead, since kernel rows are two clocks apart.
        loops     = [*walk.inner, walk.groups]
        loop_ends = Signal(len(loops))
        ended     = Cat(loop.ended for loop in loops)
        m.d.sync += loop_ends.eq(Cat(ended[:count].all() for count in range(1, len(loops) + 1)))
        ends_of = {loop.entry: loop_ends[number] for number, loop in enumerate(loops)}
        # Whether the array could take the end of a sum, a clock ahead as well: set by every end of a sum, which is too
        # much only for a row of the kernel that ends in the next clock, and there is none.
        cooling = Signal()
        m.d.sync += cooling.eq(ended[0] & (cooldown >= 0))
        m.d.comb += [
            ends.eq(walk.pointer.run[-1]),
            last.eq(ends & loop_ends[0]),
            self.request.eq(running & ~(ends & cooling)),
            # The two below from registers, each in one LUT and not by way of another.
            issue.eq((running & self.grant) & ~(ends & cooling)),
            turn.eq((running & self.grant) & (ends & ~cooling)),
            self.address.eq(walk.pointer.address >> (config.slots - 1).bit_length()),
        ]
        m.d.sync += [
            self.row.eq(walk.pointer.row),
            # Before the map is beyond it: the coordinates are unsigned.
            self.zero.eq((walk.pointer.x >= walk.source.words) | (walk.pointer.y >= walk.source.height)),
            self.beat.valid.eq(issue & ~starting),
            self.beat.first.eq(walk.first),
            self.beat.last.eq(last),
            self.layer_start.eq(0),
            self.done.eq(0),
        ]
        with m.If(cooldown >= 0):
            m.d.sync += cooldown.eq(cooldown - 1)
        with m.If(turn & loop_ends[0]):
            m.d.sync += cooling.eq(1)
            with m.If(~starting):
                m.d.sync += cooldown.eq(config.cooldown_cycles - 3)
            m.d.sync += [
                self.ending.window_first.eq(walk.window_first),
                self.ending.window_last.eq(ends_of[LayerEntry.DOWN]),
                self.ending.group_last.eq(ends_of[LayerEntry.ROW]),
                walk.window_first.eq(ends_of[LayerEntry.DOWN]),
            ]
        self._advance(m, walk, view(LayerEntry.START), issue=issue, turn=turn, last=last, loop_ends=loop_ends,
                      flip=starting & mode.input & self.buffer)
        step = self._next_step(m, walk, issue=issue, ends=ends)

        m.d.comb += self.target.eq(view(LayerEntry.TARGET))
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
                # All loops in their last turn: the step from zero ends them all, so that they begin.
                m.d.sync += [
                    walk.pointer.eq(0),
                    walk.pointer.run.eq(-1),
                    *(loop.count.eq(-1) for loop in walk.inner),
                ]
                with m.Switch(fetched):
                    with m.Case(LayerEntry.LOOPS):
                        m.d.sync += walk.loops.eq(view(LayerEntry.LOOPS))
                        m.d.sync += walk.groups.count.eq(view(LayerEntry.LOOPS).groups)
                    with m.Case(LayerEntry.SIZES):
                        m.d.sync += walk.sizes.eq(view(LayerEntry.SIZES))
                    with m.Case(LayerEntry.SOURCE):
                        m.d.sync += walk.source.eq(view(LayerEntry.SOURCE))
                    with m.Case(LayerEntry.TARGET):
                        m.d.comb += self.target_valid.eq(1)
                    with m.Case(LayerEntry.MODE):
                        m.d.comb += entry.eq(LayerEntry.START)
                        m.d.sync += mode.eq(view(LayerEntry.MODE))
                        m.d.sync += self.layer_start.eq(1)
                        m.d.sync += running.eq(1)
                        m.next = "START"
            with m.State("START"):
                m.d.comb += self.busy.eq(1)
                m.d.comb += starting.eq(1)
                m.d.comb += entry.eq(LayerEntry.START)
                with m.If(issue):
                    m.d.sync += running.eq(0)
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                m.d.comb += self.busy.eq(1)
                m.d.comb += entry.eq(step)
                m.d.sync += running.eq(1)
                m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += self.busy.eq(1)
                m.d.comb += entry.eq(step)
                m.d.sync += drain.eq(self.drain_cycles - 1)
                with m.If(turn & loop_ends[-1]):
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
    def _next_step(m, walk, *, issue, ends):
        """Name the step that the word of the next clock takes: that of the loop that goes on, if it ends a row."""
        # The loop that will advance is known as soon as the counters are, one clock before the pointers can need it:
        # a row of one word is always a whole sum, and sums end at least two clocks apart.
        advance = Signal(LayerEntry)
        m.d.comb += advance.eq(LayerEntry.GROUP)
        for loop in reversed(walk.inner):
            with m.If(~loop.ended):
                m.d.comb += advance.eq(loop.entry)
        # Where rows have one word, the clock after a row issues none, and its step does not matter.
        return Mux(Mux(issue, walk.pointer.run == 0, ends), advance, LayerEntry.WORD)

    @staticmethod
    def _advance(m, walk, step, *, issue, turn, last, loop_ends, flip):
        """Go to the next word when one is issued; each loop that ends starts again, and the one around it goes on."""
        pointer, field = walk.pointer, dict(step.shape())
        with m.If(issue):
            for name in field:
                m.d.sync += pointer[name].eq(pointer[name] + step[name])
            m.d.sync += pointer.address.eq(pointer.address + (step.address ^ Cat(C(0, len(step.address) - 1), flip)))
            m.d.sync += walk.first.eq(last)
        for number, loop in enumerate([*walk.inner, walk.groups]):
            with m.If(turn & loop_ends[number - 1] if number else turn):
                # A counter that has ended is -1.
                m.d.sync += loop.count.eq(loop.count + (-1 if loop.turns is None else
                                                        Mux(loop_ends[number], loop.turns, -1)))
