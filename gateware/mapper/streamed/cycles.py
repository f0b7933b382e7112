"""The cycle model of the streamed circuit: the clocks of one inference, those that wait for the flash included.

The time depends on the network's geometry alone, never on the data. Two things happen side by side: the flash fills the
rings as long as they have room (:class:`_Loader`), and the sequencer reads word by word what is in them
(:class:`_Engine`). Each waits for the other, so the model replays both, the flash row by row and the sequencer position
by position; only where weight rows are used for the first time or the last does it look at single words.

Clocks are counted from the strobe that starts the engine, which is clock 0.
"""

import dataclasses
import itertools
import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from arch.flash.circuit import SPARE_PLACES, SPARE_ROWS
from arch.flash.stream import CONSTANT_BYTES, CRC_BYTES, PROGRAM_BYTES
from arch.flash.trits import row_bytes
from gateware.engine.configuration import EngineConfig
from gateware.engine.feed import drain_cycles, load_cycles
from gateware.engine.readout import CLOCK_COUNTER_WIDTH
from gateware.engine.sequencer import layer_start_cycles
from gateware.engine.spike_collector import SpikeCollector
from gateware.flash.loader import StreamLoader
from gateware.flash.phy import FlashPins
from gateware.flash.reader import FlashMode, FlashReader
from gateware.mapper.streamed.passes import IMAGE, Pass

__all__ = ["MAX_CYCLES", "PassCycles", "StreamedCycles", "count_cycles", "exceeding_cycles", "least_cycles",
           "section_bytes"]

#: Most clocks of an inference: what the result's counter holds.
MAX_CYCLES = 2**CLOCK_COUNTER_WIDTH - 1

#: Clocks of a pass, at most, that belong neither to a word nor to a byte: registers between a byte and its use.
_PASS_MARGIN = 64

#: Before everything: the loader has filled the rings long before the engine starts.
_LONG_AGO = -(1 << 40)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PassCycles:
    """Clocks of one pass, or of several, and what they are spent on."""

    #: From the end of the pass before to the end of this one.
    clocks: int
    #: Clocks in which the array takes a word.
    words: int
    #: Clocks in which the sequencer waits for a program or for rows.
    flash_stalls: int
    #: Clocks that the flash takes to send the section of the pass, if it is never stopped.
    flash_clocks: int

    @property
    def bound_by_flash(self) -> bool:
        """Whether the engine waits for the flash, which takes longer for the section than the engine for its words.

        A section that the flash sends in advance, while a pass before it is computed, is not waited for.
        """
        return self.flash_stalls > 0 and self.flash_clocks > self.clocks - self.flash_stalls

    def __add__(self, other: "PassCycles") -> "PassCycles":
        return PassCycles(clocks=self.clocks + other.clocks, words=self.words + other.words,
                          flash_stalls=self.flash_stalls + other.flash_stalls,
                          flash_clocks=self.flash_clocks + other.flash_clocks)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StreamedCycles:
    """Clocks of one inference that starts when the rings are full, as they are soon after the one before."""

    #: One for each pass of the plan.
    passes: tuple[PassCycles, ...]
    #: Clocks that the loader takes to fill empty rings: an inference that starts earlier may wait longer.
    fill: int

    @property
    def total(self) -> int:
        """From the start of the engine to the class."""
        return sum(item.clocks for item in self.passes)

    @property
    def flash_stalls(self) -> int:
        """Clocks in which the engine waits for the flash."""
        return sum(item.flash_stalls for item in self.passes)


def count_cycles(config: EngineConfig, passes: Sequence[Pass], *, mode: Any = FlashMode.QUAD,
                 clock_hz: float = 48e6) -> StreamedCycles:
    """Predict the clocks of one inference, without stalls for pixels that are written meanwhile.

    Parameters
    ----------
    config : :class:`EngineConfig`
    passes : sequence of :class:`Pass`
    mode : :class:`gateware.flash.reader.FlashMode`
    clock_hz : :class:`float`
        Clock of the circuit, in Hz: makes the pause of the flash before the stream starts again.
    """
    loader = _Loader(config, passes, mode=mode, clock_hz=clock_hz)
    fill   = loader.fill()
    engine = _Engine(config, loader)
    return StreamedCycles(passes=tuple(engine.run(item, final=number + 1 == len(passes))
                                       for number, item in enumerate(passes)), fill=fill)


def least_cycles(config: EngineConfig, passes: Sequence[Pass], *, mode: Any = FlashMode.QUAD) -> list[PassCycles]:
    """Bound the clocks of every pass from below, for passes that may exceed the circuit's limits.

    Either every word takes a clock of the array, or the flash is slower.
    """
    found = []
    for item in passes:
        words, flash = _words(item), _flash_clocks(config, item, mode)
        found.append(PassCycles(clocks=max(words, flash), words=words, flash_stalls=max(0, flash - words),
                                flash_clocks=flash))
    return found


def exceeding_cycles(config: EngineConfig, passes: Sequence[Pass], *,
                     mode: Any = FlashMode.QUAD) -> int | None:
    """Count the clocks of an inference whose counter does not hold them, stalls for pixels included; None if it does.

    The replay is spared where bounds leave no doubt: an inference may have any number of positions.
    """
    image  = next(item.first.source for item in passes if item.first.source.layer == IMAGE)
    # Each plane of a pixel of the next image may take a clock away.
    stalls = math.prod(image.shape) * image.planes
    least  = sum(_words(item) for item in passes) + stalls
    most   = sum(_most_clocks(config, item) + _flash_clocks(config, item, mode) for item in passes) + stalls
    if least > MAX_CYCLES:
        return least
    if most <= MAX_CYCLES:
        return None
    clocks = count_cycles(config, passes, mode=mode).total + stalls
    return clocks if clocks > MAX_CYCLES else None


def _words(item: Pass) -> int:
    """Words that the array takes in a pass."""
    return item.groups * item.parts * item.row_uses * item.part_words


def _most_clocks(config: EngineConfig, item: Pass) -> int:
    """Clocks that a pass never exceeds, but for the flash: each end waits for the one before, and for a write."""
    segments = sum(-(-words // item.segment) for words in item.sum_runs)
    alone    = sum(walk.run == 1 for walk in item.walks())
    sums     = item.groups * item.parts * item.row_uses
    around   = layer_start_cycles(config) + drain_cycles(config) + _PASS_MARGIN
    return _words(item) + sums * (segments * (config.cooldown_cycles + 1) + alone) + around


def section_bytes(config: EngineConfig, item: Pass) -> int:
    """Bytes of the section of a pass: program, constants, weights and CRC."""
    row = row_bytes(config.lanes, config.width)
    return PROGRAM_BYTES + item.groups * (config.lanes * CONSTANT_BYTES + item.group_rows * row) + CRC_BYTES


def _flash_clocks(config: EngineConfig, item: Pass, mode: FlashMode) -> int:
    return section_bytes(config, item) * FlashReader.byte_clocks_of(mode)


class _Ring:
    """When the places of a ring are written and released, by the clocks of the strobes."""

    def __init__(self, places: int, spare: int):
        #: Places in use that stop the flash.
        self.full = places - spare
        self.written: list[int] = []
        self.released: list[int] = []


class _Loader:
    """Replays the reader of the flash and the loader: bytes come as long as no ring is full.

    A byte takes a number of clocks in each of which the flash has to run. The clocks in which it must not run are
    found a while ahead, since they follow the byte that fills a ring.
    """

    def __init__(self, config: EngineConfig, passes: Sequence[Pass], *, mode: FlashMode, clock_hz: float):
        self.programs  = _Ring(config.layers, SPARE_PLACES)
        self.constants = _Ring(config.channel_groups, SPARE_PLACES)
        self.rows      = _Ring(config.weight_rows, SPARE_ROWS)
        self._config = config
        self._passes = passes
        self._mode   = mode
        self._byte   = FlashReader.byte_clocks_of(mode)
        # From a clock in which the flash runs to the byte; from the last byte of a CRC to its verdict.
        self._latency = FlashReader.latency_of(FlashPins.latency)
        self._verdict = StreamLoader.verdict_cycles(double=mode is FlashMode.DOUBLE)
        # The verdict tells the selector, two clocks later the reader.
        self._restart = self._verdict + 2 + FlashReader.start_cycles_of(mode, clock_hz)
        #: The next clock in which the flash may run.
        self._clock = _LONG_AGO
        #: Clocks from which on a ring is full, until its place of this number is released.
        self._stops: deque[tuple[int, _Ring, int]] = deque()
        #: Clocks of the flash until the next event.
        self._left   = 0
        self._events = self._stream()

    def fill(self) -> int:
        """Fill the rings before the engine starts; return the clocks that it takes."""
        while self._run():
            pass
        return self._clock - _LONG_AGO

    def section_clocks(self, item: Pass) -> int:
        """Clocks of the section of a pass, if nothing stops the flash."""
        return _flash_clocks(self._config, item, self._mode)

    def written(self, ring: _Ring, number: int) -> int:
        """Clock of the strobe with which a place of a ring, counted from the first one ever, is written."""
        while len(ring.written) <= number:
            going = self._run()
            assert going, "the engine waits for what has no room"
        return ring.written[number]

    def has_written(self, ring: _Ring, number: int, clock: int) -> bool:
        """Whether the strobe for a place of a ring comes by ``clock``, before which all releases are known."""
        while len(ring.written) <= number:
            if not self._run():
                return False
        return ring.written[number] <= clock

    def _run(self) -> bool:
        """Run the flash to the next event; return whether it got there, for it may be stopped until a release."""
        while self._left:
            span = self._left
            if self._stops:
                begin, ring, number = self._stops[0]
                if begin <= self._clock:
                    if len(ring.released) <= number:
                        return False
                    # The count of the ring, and the register of `run`.
                    self._clock = max(self._clock, ring.released[number] + 2)
                    self._stops.popleft()
                    continue
                span = min(span, begin - self._clock)
            self._clock += span
            self._left  -= span
        self._left = next(self._events)
        return True

    def _stream(self) -> Iterator[int]:
        """Yield the clocks of the flash up to what happens next, inference after inference."""
        config = self._config
        row    = row_bytes(config.lanes, config.width) * self._byte
        for item in itertools.cycle(self._passes):
            yield PROGRAM_BYTES * self._byte
            self._write(self.programs, 1)
            for group in range(item.groups):
                yield config.lanes * CONSTANT_BYTES * self._byte
                self._write(self.constants, 1)
                for _ in range(item.group_rows - 1):
                    yield row
                    self._write(self.rows, 1)
                yield row
                if group + 1 < item.groups:
                    self._write(self.rows, 1)
            yield CRC_BYTES * self._byte
            # The last row counts when the CRC was right.
            self._write(self.rows, self._verdict + 1)
            if item is self._passes[-1]:
                self._clock += self._latency - 1 + self._restart

    def _write(self, ring: _Ring, delay: int) -> None:
        """Write a place of a ring; ``delay`` clocks are between the last byte of it and the strobe."""
        strobe = self._clock - 1 + self._latency + delay
        ring.written.append(strobe)
        excess = len(ring.written) - ring.full
        if excess >= 0:
            self._stops.append((strobe + 2, ring, excess))


class _Engine:
    """Replays the sequencer: a word per clock, but for writes, ends of segments too close, and rows to come."""

    def __init__(self, config: EngineConfig, loader: _Loader):
        self._config   = config
        self._loader   = loader
        self._drain    = drain_cycles(config)
        self._cooldown = config.cooldown_cycles
        # From the last word of a group to the release of its constants.
        self._constants = 2 + load_cycles(config) + SpikeCollector.release_cycles(config)
        self._programs  = 0  # passes before
        self._rows      = 0  # rows used for the first time
        self._clock     = 1  # the first clock after the strobe; then that of the next word
        self._ended     = -self._cooldown
        self._stalls    = 0
        self._writes: deque[int] = deque()
        #: Which words of a position are rows of their own, whose steps are read in the clock after the word before; and
        #: the clock of that word, unless there is none in the pass.
        self._alone: Sequence[bool] = ()
        self._issued: int | None = None
        #: From what is still to be written, and how far a window is, to what one position does.
        self._known: dict[tuple[int, ...], tuple[int, int, tuple[int, ...]]] = {}

    def run(self, item: Pass, *, final: bool) -> PassCycles:
        """Replay a pass."""
        begin  = self._clock if self._programs else 0
        stalls = self._stalls
        loader = self._loader

        ready = loader.written(loader.programs, self._programs) + 1
        self._stalls += max(0, ready - self._clock)
        self._clock = max(self._clock, ready) + layer_start_cycles(self._config)
        self._programs += 1

        ends, self._alone = _ends(item), _alone(item)
        self._issued = None
        if not (ends[0] or self._alone[0]):
            self._miss_row()
        self._known.clear()
        for _ in range(item.groups):
            for part in range(item.parts):
                writes = not final and part + 1 == item.parts
                self._run_part(item, ends, item.pool**2 if writes else 0)
            loader.constants.released.append(self._ended + self._constants)
        # The strobe comes in the clock of the last write, which is the last one of the pass.
        loader.programs.released.append(self._ended + self._drain)
        self._clock = self._ended + self._drain + 1
        self._writes.clear()
        return PassCycles(clocks=self._clock - begin, words=_words(item), flash_stalls=self._stalls - stalls,
                          flash_clocks=loader.section_clocks(item))

    def _miss_row(self) -> None:
        """Wait a clock for the first row of a pass if it is the only one that is there.

        The sequencer takes the clock before the first word for one that may use a row, unless the word is an end or a
        row of its own.
        """
        rows = self._loader.rows
        if (self._loader.has_written(rows, self._rows, self._clock - 3)
                and not self._loader.has_written(rows, self._rows + 1, self._clock - 2)):
            self._stalls += 1
            self._clock  += 1

    def _run_part(self, item: Pass, ends: Sequence[bool], window: int) -> None:
        """Replay a part of a group; spikes are written once in ``window`` positions, or never."""
        fresh = range(self._rows, self._rows + item.part_rows)
        self._rows += item.part_rows
        last = item.row_uses - 1
        for position in range(item.row_uses):
            closes = window and position % window == window - 1
            if position == 0 or position == last:
                clocks = self._run_words(ends, fresh if position == 0 else range(0))
                if position == last:
                    # Rows that two walks read are released by the second.
                    self._loader.rows.released += [clock + 1 for clock in clocks[-item.part_rows:]]
            else:
                self._run_position(ends)
            if closes:
                self._writes.append(self._ended + self._drain)

    def _run_position(self, ends: Sequence[bool]) -> None:
        """Replay a position whose rows are all there, from memory if the like has happened before."""
        clock = self._clock
        state = (clock - self._ended, *(write - clock for write in self._writes))
        if state not in self._known:
            self._run_words(ends, range(0))
            self._known[state] = (self._clock - clock, self._ended - clock,
                                  tuple(write - clock for write in self._writes))
            return
        duration, ended, writes = self._known[state]
        self._clock  = clock + duration
        self._ended  = clock + ended
        self._writes = deque(clock + write for write in writes)
        self._issued = self._clock - 1

    def _run_words(self, ends: Sequence[bool], fresh: range) -> list[int]:
        """Replay a position word by word; its first words are the first to use the ``fresh`` rows. Return its clocks.

        ``ends`` says of each word whether it ends a segment.
        """
        clocks, writes, clock = [], self._writes, self._clock
        for word, end in enumerate(ends):
            if word < len(fresh):
                # The count of the ring, and the register of what is missing.
                ready = self._loader.written(self._loader.rows, fresh[word]) + 2
                if ready > clock:
                    self._stalls += ready - clock
                    clock = ready
            if self._alone[word] and self._issued is not None:
                clock = max(clock, self._issued + 2)
            if end:
                clock = max(clock, self._ended + self._cooldown)
            while writes and writes[0] <= clock:
                clock += writes[0] == clock
                writes.popleft()
            if end:
                self._ended = clock
            self._issued = clock
            clocks.append(clock)
            clock += 1
        self._clock = clock
        return clocks


def _ends(item: Pass) -> list[bool]:
    """Say of each word of a position whether it ends a segment: the last one of each run does."""
    return [(word + 1) % item.segment == 0 or word + 1 == words
            for words in item.sum_runs for word in range(words)]


def _alone(item: Pass) -> list[bool]:
    """Say of each word of a position whether it is a row of the kernel of its own."""
    return [walk.run == 1 for walk in item.walks() for _ in range(walk.sum_words)]
