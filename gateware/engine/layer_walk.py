"""The loops of a layer: counters, pointers, and what they say of the word that comes next."""

from collections.abc import Mapping
from typing import Any

from amaranth import *

from gateware.engine.configuration import EngineConfig
from gateware.engine.program import LayerEntry

__all__ = ["LayerWalk"]

#: All loops of any circuit around the words of a kernel row, innermost first.
_ORDER = ("kernel", "source", "across", "down", "block", "column", "row", "part", "group")


class _Loop:
    """A loop of a layer: a counter that is -1 in its last turn."""

    def __init__(self, entry: LayerEntry, turns: Value):
        #: Step of the pointers when it advances.
        self.entry = entry
        #: With how many turns it begins again, minus one.
        self.turns: Value = turns
        #: Turns to come after the next one.
        self.count = Signal(signed(len(turns) + 1), name=entry.name.lower(), reset_less=True)


class LayerWalk:
    """Where the walk through a layer is, and how it goes on.

    All loops begin by a step from zero in which they all end, so that nothing else loads the counters: :meth:`prepare`
    makes them end, and what is issued first takes the step. The step of each word is read a clock ahead. Pointers have
    no reset, as every layer clears them.

    Parameters
    ----------
    config : :class:`EngineConfig`
    layouts : mapping
        Those of :func:`gateware.engine.program.layer_layouts`.
    mode : :py:`data.View`
        The layer's :attr:`LayerEntry.MODE`.
    """

    def __init__(self, config: EngineConfig, layouts: Mapping[int, Any], mode: Any):
        self._config = config
        self._mode   = mode
        #: Parameters of the layer.
        self.loops  = Signal(layouts[LayerEntry.LOOPS], reset_less=True)
        self.sizes  = Signal(layouts[LayerEntry.SIZES], reset_less=True)
        self.source = Signal(layouts[LayerEntry.SOURCE], reset_less=True)
        #: The next word, and the turns of the innermost loop: the words of the kernel row to come after the next one.
        #: The rows of a ring follow each other from reset on.
        self.pointer = {name: Signal(field.shape, name=name, reset_less=not (config.streamed and name == "row"))
                        for name, field in layouts[LayerEntry.START]}
        #: The word ends a kernel row.
        self.ends = self.pointer["run"][-1]
        #: The word after it does, which is one of the same row.
        self.ends_next: Value = self.pointer["run"] == 0
        #: The step from zero to the first word, which is issued as a word is.
        self.starting = Signal()

        self._counters = {
            "kernel": _Loop(LayerEntry.KERNEL, self.loops.kernel),
            "across": _Loop(LayerEntry.ACROSS, self.loops.across),
            "down":   _Loop(LayerEntry.DOWN, self.loops.down),
            **({"block": _Loop(LayerEntry.BLOCK, self.loops.block)} if config.blocks > 1 else {}),
            "column": _Loop(LayerEntry.COLUMN, self.sizes.columns),
            "row":    _Loop(LayerEntry.ROW, self.sizes.rows),
            **({"part": _Loop(LayerEntry.PART, self.loops.part)} if config.streamed else {}),
        }
        #: The groups of channels that are left behind this one, negative: what a register is after reset ends them.
        self._groups = Signal(signed(len(self.loops.groups)), name="group")
        #: Whether each loop is in its last turn.
        self.ended = {name: loop.count[-1] for name, loop in self._counters.items()} | {"group": ~self._groups[-1]}
        #: The word is never padding: a source with weight rows of its own is not wider than its map.
        self.is_unbounded: Value = Const(0)
        if config.streamed:
            self.ends_next = Signal(name="ends_next")
            #: The word is a row of its own, and its step is not read yet, for the clock before has ended a row.
            self.unread      = Signal()
            self.unread_next = Signal()
            #: The walk is in the second source of the sum.
            self.in_second = Signal()
            self.ended["source"] = self.in_second | ~mode.second
            self.is_unbounded = self.in_second & ~mode.reuse
            #: The walk is at the first position of a part.
            self.position_first = Signal()
            #: The word is the first use of its row of weights, and in the next clock that word is.
            self.first_use      = Signal()
            self.first_use_next = Signal()
            #: Address at which the walk goes on in the other source.
            self._other = Signal.like(self.pointer["address"], name="other", reset_less=True)
            self._counters["kernel"].turns = Mux(mode.second & ~self.in_second, self.loops.second, self.loops.kernel)
        self._order = [name for name in _ORDER if name in self.ended]
        #: Whether each loop ends with this kernel row, and all inner ones: a clock late, which is early enough, since
        #: kernel rows are two clocks apart.
        self._ends = Signal(len(self._order))

    def ends_with(self, loop: str) -> Value:
        """Whether a loop and all inner ones end with the kernel row; of a loop that is not there, the next inner one.

        The word must end a kernel row.
        """
        return self._ends[max(index for index, name in enumerate(self._order)
                              if _ORDER.index(name) <= _ORDER.index(loop))]

    def next_step(self, m: Module, issue: Value) -> tuple[Value, Value]:
        """Name the step that the word of the next clock takes: that of the loop that goes on, if it ends a row.

        Returns
        -------
        The step, and whether it has to be read, because what was read last is that of another word.
        """
        # The loop that will advance is known as soon as the counters are, one clock before the pointers can need it: a
        # row of one word is always the whole kernel, and its ends are at least two clocks apart.
        advance = Signal(LayerEntry)
        m.d.comb += advance.eq(LayerEntry.GROUP)
        for name, loop in reversed(self._counters.items()):
            with m.If(~self.ended[name]):
                m.d.comb += advance.eq(loop.entry)
        # Where rows have one word, the clock after a row issues none, and its step does not matter.
        if not self._config.streamed:
            return Mux(Mux(issue, self.ends_next, self.ends), advance, LayerEntry.WORD), Const(1)
        # Whether a word is issued comes late: only the read enable waits for that. What is read in a turn, after which
        # the counters change, is the step of a word that ends no row; that of one which does is read a clock later.
        turn_next = self.unread | (self.ends_next & ~self.starting)
        return (Mux(turn_next, Cat(advance[:4], self.in_second), LayerEntry.WORD),
                issue | self.unread | self.starting)

    def prepare(self, m: Module) -> None:
        """Make all loops end, and clear the pointers, but not the row of a ring."""
        for name, pointer in self.pointer.items():
            if name != "row" or not self._config.streamed:
                m.d.sync += pointer.eq(-1 if name == "run" else 0)
        for loop in self._counters.values():
            m.d.sync += loop.count.eq(-1)
        if self._config.streamed:
            m.d.sync += self.in_second.eq(1)
            m.d.sync += self.position_first.eq(0)
            m.d.sync += self.first_use.eq(0)

    def advance(self, m: Module, step: Any, *, issue: Value, turn: Value, groups: Value,
                second: Value) -> None:
        """Go to the next word when one is issued; each loop that ends starts again, and the one around it goes on.

        Parameters
        ----------
        step : what was read of the program memory
        issue : a word is issued, or the step from zero is taken
        turn : the same, and it ends a kernel row
        groups : those of the layer, when the layer before has ended; else zero
        second : ``step`` leads from zero to the first word of the second source
        """
        m.d.sync += self._ends.eq(Cat(
            Cat(self.ended[name] for name in self._order[:count]).all() for count in range(1, len(self._order) + 1)))
        address   = self.pointer["address"]
        following = Signal.like(address, name="following")
        m.d.comb += following.eq(address + step.address)
        if self._config.streamed:
            # The end of a row is seen a word ahead, of a row of two words in the step that leads to it. Behind the last
            # word of a layer there is none.
            over = self._ends[-1] & ~self.starting
            with m.If(issue):
                m.d.sync += self.ends_next.eq(Mux(self.ends, (step.run == 1) & ~over, self.pointer["run"] == 1))
            m.d.comb += self.unread_next.eq(turn & (step.run == 0))
            m.d.sync += self.unread.eq(self.unread_next)
            # At the end of a source its way to the next position is kept, and the other one goes on.
            changes = Signal()
            m.d.sync += changes.eq(self.ended["kernel"] & self._mode.second)
            with m.If((turn & changes & ~self.starting) | second):
                m.d.sync += self._other.eq(following)
            following = Mux(self.ends & changes & ~self.starting, self._other, following)
            in_second      = Mux(self._ends[0], ~self.ended["source"], self.in_second)
            position_first = Mux(self.ends_with("source"), self.ends_with("row"), self.position_first)
            m.d.comb += self.first_use_next.eq(Mux(
                turn, position_first & ~(in_second & self._mode.reuse), self.first_use))
            m.d.sync += self.first_use.eq(self.first_use_next)
            with m.If(turn):
                m.d.sync += self.in_second.eq(in_second)
                m.d.sync += self.position_first.eq(position_first)
        with m.If(issue):
            for name, pointer in self.pointer.items():
                m.d.sync += pointer.eq(following if name == "address" else pointer + step[name])
        # All is added, with zero where there is nothing to add: then a bit of a counter takes two cells of the iCE40.
        for name, loop in self._counters.items():
            inner = self._order.index(name) - 1
            moves = turn & self._ends[inner] if inner >= 0 else turn
            # A counter that has ended is -1.
            m.d.sync += loop.count.eq(loop.count + Mux(moves, Mux(self._ends[inner + 1], loop.turns, -1), 0))
        moves = turn & self._ends[-2] & ~self._ends[-1] & ~self.starting
        if self._config.cooldown_cycles > 2:
            # Nobody asks for the groups until two clocks before the next sum ends: off the critical path.
            moved = Signal()
            m.d.sync += moved.eq(moves)
            moves = moved
        m.d.sync += self._groups.eq(self._groups + (groups | moves))
