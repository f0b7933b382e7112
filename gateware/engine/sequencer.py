r"""Walks through the layers of a network and issues one word of the array per clock.

::

    program memory --> steps ------> pointers --> spike address, weight row, padding flag
                   \-> registers --> counters --> first, last, flags of the ending

The pointers and counters are those of :mod:`gateware.engine.layer_walk`.
"""

from collections.abc import Sequence

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.configuration import EngineConfig
from gateware.engine.layer_walk import LayerWalk
from gateware.engine.neuron_array import beat_layout, ending_layout
from gateware.engine.pif import Current
from gateware.engine.program import LayerEntry, layer_entries, layer_layouts, program_width

__all__ = ["Sequencer", "layer_start_cycles"]


def layer_start_cycles(config: EngineConfig) -> int:
    """Clocks from the start of a layer to its first word: reading the entries, applying the start.

    When streamed, the first layer takes one clock more, that of the strobe.
    """
    return 9 if config.streamed else 8


class _Stock:
    """Counts what a ring has and the engine has not yet used. ``empty`` is a register.

    ``ready`` says that there is something in the next clock, and does not wait for ``used``, which comes late: the last
    one is missed in the clock after one that may have used it.
    """

    def __init__(self, m, depth, *, added, used, name, may_use=0):
        # Negative, so that the sign bit says whether there is any, and none after reset: flip-flops of the iCE40 that
        # are 1 after reset take a LUT for it.
        count  = Signal(range(-depth, 1), name=name)
        change = added ^ used
        m.d.sync += count.eq(count + Cat(change, (change & added).replicate(len(count) - 1)))
        self.empty = ~count[-1]
        self.ready = count[-1] & ~(count.all() & may_use)


class Sequencer(wiring.Component):
    """Issues the words of every sum of every layer, in the order that the rest of the engine expects.

    The words of a kernel row are read one by one: for each group of output channels, each row and column of the
    (pooled) map, each position of the pooling window and each row of the kernel. A word outside the source map is
    issued with ``zero`` set. It costs a clock as any other, because the offset of the dot product counts every weight
    of -1 (:class:`gateware.engine.dot_product.DotProduct`). A kernel with rows of a single word has one row.

    A streamed circuit has three loops more. A sum may go on in a *second source*, an array of words with addresses and
    a kernel of its own: another map, the high slice of the pixels, a shortcut. Around the pooling window are the
    *blocks* of timesteps, and around the positions the *parts* of filters that are longer than the ring of weights. A
    sum is cut into segments, which span two sources unless the second is worth more: pixels. The weight rows follow
    each other modulo the ring, and so do the layers; the walk waits for a row before its first use, and for the program
    of a layer. A word that is a kernel row of its own waits a clock for its step, behind any other word.

    Throughput: one word per clock while ``grant`` is set, except that a segment never ends within
    :attr:`EngineConfig.cooldown_cycles` clocks of the one before, and that every layer waits ``drain_cycles`` for its
    last spikes to be written and takes :func:`layer_start_cycles` to begin. In one of these, ``request`` waits for
    ``grant`` as well, and what is read means nothing. ``done`` comes as a strobe ``drain_cycles`` after the last word
    of the readout. Reset stops the program; a streamed circuit then begins at the first places of the rings.
    Cost on the iCE40: in the circuit of the shipped network 219 LUTs, 180 flip-flops, 3 block RAMs; in the overlay 344
    LUTs, 287 flip-flops, 471 logic cells.

    Parameters
    ----------
    config : :class:`EngineConfig`
    drain_cycles : :class:`int`
        Clocks from the last word of a layer until its spikes are in memory.
    init : sequence of :class:`int`
        The program, :func:`gateware.engine.program.layer_entries` entries per layer; nothing if it is streamed.

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
        What the end of a segment is for; comes with the ``last`` beat and stays until the next one, or until the next
        layer begins, by which time no spikes are under way.
    target : :py:`Out(layer_layouts(config)[LayerEntry.TARGET])`
    target_valid : :py:`Out(1)`
        Strobe: ``target`` is that of the layer that begins, in this clock only.
    layer_start : :py:`Out(1)`
        Strobe: a layer begins; no word of it was issued.
    mode : :py:`Out(layer_layouts(config)[LayerEntry.MODE])`
        Parameters of the layer, valid from ``layer_start`` until its last spike is written.
    busy, done : :py:`Out(1)`

    Members of a streamed circuit
    -----------------------------
    entry_address : :py:`Out(config.layer_width + 5)`
        Place of a layer and of an entry in the ring of programs.
    entry_read : :py:`Out(1)`
        The entry is read in this clock.
    entry : :py:`In(program_width(config))`
        What was read last, from the clock after on.
    layer_written, row_written : :py:`In(1)`
        Strobe: the next program of the ring is complete; the next row of weights can be read.
    release_layer, release_row : :py:`Out(1)`
        Strobe: the oldest program has ended; the oldest row has had its last use, and is read in this clock.
    marked : :py:`Out(1)`
        With ``zero``: the padding is 1 in the last timestep, the top bit-plane of a pixel of 128.
    waiting : :py:`Out(1)`
        In the clock before, the walk waited for the program or for a row of weights.
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
            **({
                "entry_address": Out(config.layer_width + (layer_entries(config) - 1).bit_length()),
                "entry_read":    Out(1),
                "entry":         In(program_width(config)),
                "layer_written": In(1),
                "row_written":   In(1),
                "release_layer": Out(1),
                "release_row":   Out(1),
                "marked":        Out(1),
                "waiting":       Out(1),
            } if config.streamed else {}),
        })

    def elaborate(self, platform):
        m = Module()

        config  = self.config
        layouts = layer_layouts(config)
        mode    = Signal(layouts[LayerEntry.MODE], reset_less=True)
        walk    = LayerWalk(config, layouts, mode)
        m.d.comb += self.mode.eq(mode)

        layer = Signal(config.layer_width)
        entry = Signal(range(layer_entries(config)))
        if config.streamed:
            read = self.entry
            m.d.comb += self.entry_address.eq(Cat(entry, layer))
        else:
            m.submodules.entries = program = memory.Memory(
                shape=unsigned(program_width(config)), depth=config.layers * layer_entries(config), init=self.init,
                attrs={"ram_style": "block"})
            port = program.read_port()
            read = port.data
            m.d.comb += port.addr.eq(Cat(entry, layer))

        def view(entry):
            return data.View(layouts[entry], read[:layouts[entry].size])

        running  = Signal()
        issue    = Signal()  # a word is issued, or the step from zero is taken
        turn     = Signal()  # ... and it ends a kernel row
        last     = Signal()  # the word ends a segment
        first    = Signal()  # it begins one
        blocked  = Signal()  # it has to wait
        cooling  = Signal()  # the array cannot take the end of a sum; streamed: in the next clock, whose word is one
        cooldown = Signal(range(min(2 - config.cooldown_cycles, -1), 1))  # clocks, negative
        # ~cooling, once more: a request and the walk that share it put a LUT between it and the counters. Streamed, a
        # word waits for more than that.
        cooled = Signal()
        free   = ~blocked if config.streamed else ~walk.ends | cooled
        m.d.comb += [
            self.request.eq(running & ~blocked),
            # From registers, and not by way of another.
            issue.eq((running & self.grant) & free),
            turn.eq((running & self.grant) & (walk.ends & free)),
            self.address.eq(walk.pointer["address"] >> (config.slots - 1).bit_length()),
            self.address[-1].eq(walk.pointer["address"][-1] ^ (mode.input & self.buffer)),
        ]
        m.d.sync += [
            self.row.eq(walk.pointer["row"]),
            # Before the map is beyond it: the coordinates are unsigned.
            self.zero.eq(((walk.pointer["x"] >= walk.source.words) | (walk.pointer["y"] >= walk.source.height))
                         & ~walk.is_unbounded),
            self.beat.valid.eq(issue & ~walk.starting),
            self.beat.first.eq(first),
            self.beat.last.eq(last),
        ]
        m.d.sync += cooldown.eq(cooldown + cooldown[-1])
        with m.If(issue):
            m.d.sync += first.eq(last)
        ending = issue & last if config.streamed else turn & walk.ends_with("kernel")
        if not config.streamed:
            # Set by every end, which is too much only for a kernel row that ends in the next clock, and there is none.
            cools = (walk.ended["kernel"] & cooldown[-1]) | ending
            m.d.sync += cooling.eq(cools)
            m.d.sync += cooled.eq(~cools)
        with m.If(ending & ~walk.starting):
            m.d.sync += cooldown.eq(2 - config.cooldown_cycles)

        self._follow_windows(m, walk, ending=ending, turn=turn)
        if config.streamed:
            programs = _Stock(m, config.layers, added=self.layer_written, used=self.layer_start, name="programs")
            left, stops = self._follow_segments(m, walk, ending=ending, issue=issue, turn=turn, last=last)
            self._wait(m, walk, left=left, stops=stops, issue=issue, last=last, blocked=blocked, running=running,
                       cooling=cooling, cooled=~cooldown[-1])
        else:
            m.d.comb += last.eq(walk.ends & walk.ends_with("kernel"))
            m.d.comb += blocked.eq(walk.ends & cooling)
        self._control(m, walk, view, mode=mode, layer=layer, entry=entry, running=running, issue=issue, turn=turn,
                      no_program=programs.empty if config.streamed else C(0, 1))

        return m

    def _follow_windows(self, m, walk, *, ending, turn):
        """Tell the sums of a pooling window apart, and the last of a group."""
        window_first = Signal(reset_less=True)
        summed = self.mode.summed if self.config.streamed else 0
        with m.If(ending):
            m.d.sync += [
                self.ending.window_first.eq(window_first | summed),
                self.ending.window_last.eq(walk.ends_with("down")),
                self.ending.group_last.eq(walk.ends_with("part")),
            ]
        with m.If(turn & walk.ends_with("source")):
            m.d.sync += window_first.eq(walk.ends_with("down"))

    def _follow_segments(self, m, walk, *, ending, issue, turn, last):
        """Cut sums into segments and say what their ends are for.

        Returns
        -------
        The words left of the segment, but for the next one; and whether the kernel row ends it, if the word ends that.
        """
        mode = self.mode

        # Words of the segment to come after the next one; it ends with its sum at the latest, or with the first source
        # if the second one is worth more.
        left    = Signal.like(walk.sizes.segment, name="segment_left", reset_less=True)
        sum_end = Signal()
        apart   = Signal()
        stops   = walk.ended["kernel"] & (walk.ended["source"] | apart)
        m.d.sync += apart.eq(mode.neurons.current == Current.PLANES)
        m.d.comb += last.eq(left[-1] | (walk.ends & stops))
        m.d.comb += sum_end.eq(walk.ends & Mux(mode.summed, walk.ends_with("down"), walk.ends_with("source")))
        with m.If(issue):
            m.d.sync += left.eq(Mux(last, walk.sizes.segment, left - 1))

        # What the next sum or segment is the first of. All are set by the step from zero, which ends all loops.
        opening     = Signal(reset_less=True)  # segment of a sum
        part_first  = Signal(reset_less=True)  # part of a group
        block_first = Signal(reset_less=True)  # block of a position
        with m.If(ending):
            m.d.sync += [
                opening.eq(sum_end),
                self.ending.opens.eq(opening & part_first),
                self.ending.closes.eq(sum_end & walk.ended["part"]),
                self.ending.sum_end.eq(sum_end),
                self.ending.part_end.eq(walk.ends & walk.ends_with("row")),
                self.ending.scaled.eq(walk.in_second & (mode.neurons.current == Current.PLANES)),
                self.ending.block_first.eq(block_first),
                self.ending.block_last.eq(walk.ended.get("block", 1)),
            ]
        with m.If(turn & walk.ends_with("down")):
            m.d.sync += block_first.eq(walk.ends_with("block"))
        with m.If(turn & walk.ends_with("row")):
            m.d.sync += part_first.eq(walk.ends_with("part"))

        m.d.sync += self.marked.eq(mode.padded & (walk.in_second if self.config.slices > 1 else 1))
        return left, stops

    def _wait(self, m, walk, *, left, stops, issue, last, blocked, running, cooling, cooled):
        """Wait for the array and for weights, by flip-flops as far as possible: what follows from it is long."""
        mode = self.mode

        # Rows of weights: their first use is at the first position of a part, their last one at the last. The step from
        # zero, which is no use, finds the flags as the end of the layer before has left them: cleared by `prepare`.
        last_use = Signal()
        m.d.sync += last_use.eq(Cat(walk.ended[name] for name in ("across", "down", "block", "column", "row")
                                    if name in walk.ended).all() & (walk.ended["source"] | ~mode.reuse))
        m.d.comb += self.release_row.eq(self.beat.valid & last_use)
        starving = Signal()  # the row of the word of the next clock is not there
        starved  = Signal()  # ... of this one
        rows = _Stock(m, self.config.weight_rows, name="rows", added=self.row_written, used=issue & walk.first_use,
                      may_use=self.grant & ~blocked & walk.first_use)
        m.d.comb += starving.eq(walk.first_use_next & ~rows.ready)
        m.d.sync += starved.eq(starving)
        m.d.sync += self.waiting.eq(running & starved)

        # Whether the word after this one ends a segment too early. What is not foreseen is a word that is a row of its
        # own behind the end of another row: it waits a clock for its step anyway.
        stops_next = walk.ends_next & stops
        m.d.comb += cooling.eq(Mux(issue, Mux(last, walk.sizes.segment[-1] | stops_next,
                                              ~cooled & ((left == 0) | stops_next)), ~cooled & last))
        m.d.sync += blocked.eq(cooling | starving | walk.unread_next)

    def _control(self, m, walk, view, *, mode, layer, entry, running, issue, turn, no_program):
        """Read the entries of each layer, run it, and wait for its last spikes."""
        config = self.config
        # The entry that is read in this clock while the walk stands; the one before it comes out of the memory.
        begin   = int(LayerEntry.SECOND_START if config.streamed else LayerEntry.LOOPS)
        fetched = Signal(range(16), init=begin)
        drain   = Signal(range(-1, self.drain_cycles))  # clocks to come after the next one
        walking = Signal()  # the step of the next word is read
        groups  = Signal()  # the loops come out of the memory
        second  = Signal()  # the start of the second source does

        walk.advance(m, view(LayerEntry.START), issue=issue, turn=turn, second=second,
                     groups=Mux(groups, view(LayerEntry.LOOPS).groups, 0))
        step, read = walk.next_step(m, issue)
        if config.streamed:
            m.d.comb += self.entry_read.eq(read | ~walking)
        m.d.comb += [
            entry.eq(Mux(walking, step, fetched)),
            self.target.eq(view(LayerEntry.TARGET)),
        ]
        m.d.sync += [
            groups.eq(0),
            second.eq(0),
            self.target_valid.eq(0),
            self.layer_start.eq(0),
            self.done.eq(0),
        ]
        # The states follow a clock later: what decides on a word is late enough.
        with m.If(turn & (walk.starting | walk.ends_with("group"))):
            m.d.sync += running.eq(0)

        def fetch():
            m.d.sync += fetched.eq(begin + 1)
            m.d.sync += (second if config.streamed else groups).eq(1)
            m.next = "FETCH"

        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.start):
                    if config.streamed:
                        m.next = "NEXT"
                    else:
                        fetch()
            with m.State("NEXT"):
                m.d.comb += self.busy.eq(1)
                walk.prepare(m)
                with m.If(~no_program):
                    fetch()
                if config.streamed:
                    with m.Else():
                        m.d.sync += self.waiting.eq(1)
            with m.State("FETCH"):
                m.d.comb += self.busy.eq(1)
                walk.prepare(m)
                with m.If(fetched != LayerEntry.START):
                    m.d.sync += fetched.eq(fetched + 1)
                # In the clock in which an entry is read, the one before it comes out of the memory; what goes through
                # logic from there has its strobe a clock ahead.
                with m.Switch(fetched):
                    with m.Case(LayerEntry.LOOPS):
                        m.d.sync += groups.eq(1)
                    with m.Case(LayerEntry.SIZES):
                        m.d.sync += walk.loops.eq(view(LayerEntry.LOOPS))
                    with m.Case(LayerEntry.SOURCE):
                        m.d.sync += walk.sizes.eq(view(LayerEntry.SIZES))
                    with m.Case(LayerEntry.TARGET):
                        m.d.sync += walk.source.eq(view(LayerEntry.SOURCE))
                        m.d.sync += self.target_valid.eq(1)
                    with m.Case(LayerEntry.START):
                        m.d.sync += mode.eq(view(LayerEntry.MODE))
                        m.d.sync += self.layer_start.eq(1)
                        m.d.sync += running.eq(1)
                        m.d.sync += walk.starting.eq(1)
                        m.next = "START"
            with m.State("START"):
                m.d.comb += self.busy.eq(1)
                # When the step from zero is taken, the step of the first word is read in the clock after.
                with m.If(issue):
                    m.d.sync += walking.eq(1)
                with m.If(~running):
                    m.d.sync += running.eq(1)
                    m.d.sync += walk.starting.eq(0)
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += self.busy.eq(1)
                m.d.sync += drain.eq(self.drain_cycles - 3)
                with m.If(~running):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.comb += self.busy.eq(1)
                m.d.sync += walking.eq(0)
                m.d.sync += fetched.eq(begin)
                m.d.sync += drain.eq(drain - 1)
                with m.If(drain[-1]):
                    m.d.sync += layer.eq(layer + 1)
                    if config.streamed:
                        m.d.comb += self.release_layer.eq(1)
                    with m.If(self.mode.final):
                        m.d.sync += self.done.eq(1)
                        if not config.streamed:
                            m.d.sync += layer.eq(0)
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "NEXT"
