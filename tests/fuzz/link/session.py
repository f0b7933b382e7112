# amaranth: UnusedElaboratable=no
"""Sends strings to simulated devices, each behind a question that must be answered, and lets the judge look."""

import collections
import dataclasses
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

from amaranth import *
from amaranth.back import verilog
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from arch.link import Command, Frame, Reply
from sim.verilated import CompiledDesign, Verilated, compile_design
from tests.fuzz.link.devices import Device
from tests.fuzz.link.judge import Judge
from tests.fuzz.link.line import Line
from tests.fuzz.link.requests import info_request, right_image
from tests.fuzz.link.strings import draw_string
from tests.link_board import CACHE

__all__ = ["BATCH", "Bench", "Tally", "compile_rig", "faults"]

#: Strings between two resets.
BATCH = 64
_RESET_CLOCKS = 4
#: Share of the questions that are an INFO; the others are images, whose results are shorter.
_ASKED = 0.25
#: Name of the memory that chooses among the devices of a rig.
_CHOICE = "choice.rows"


class Rig(wiring.Component):
    """Devices side by side, one of which has clock and line: row 0 of the memory ``choice.rows`` says which.

    To compile them takes hardly longer than to compile one, and Verilator computes nothing where no clock is.
    """

    def __init__(self, components: Sequence[wiring.Component]) -> None:
        self.components = components
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.choice = choice = Module()
        choice.submodules.rows = rows = memory.Memory(shape=8, depth=2, init=[])
        read = rows.read_port(domain="comb")
        for number, component in enumerate(self.components):
            domain = ClockDomain(f"device{number}")
            m.domains += domain
            m.submodules[f"device{number}"] = DomainRenamer(domain.name)(component)
            chosen = read.data == number
            # Whatever hangs on an input, or on a memory that can be loaded, Verilator computes in each half of a clock.
            reset = Signal(reset_less=True)
            m.d[domain.name] += reset.eq(ResetSignal())
            m.d.comb += [
                domain.clk.eq(ClockSignal() & chosen),
                domain.rst.eq(reset),
                component.rx.eq(self.rx),
            ]
            with m.If(chosen):
                m.d.comb += self.tx.eq(component.tx)
        return m


def compile_rig(components: Sequence[wiring.Component], *, memories: Sequence[str] = ()) -> CompiledDesign:
    """Compile devices side by side; ``memories`` are those that can be loaded beside that of the choice."""
    return compile_design(verilog.convert(Rig(components), name="rig", emit_src=False),
                          memories=[_CHOICE, *memories], cache=CACHE)


@dataclasses.dataclass(slots=True)
class Tally:
    """What was done."""

    #: Strings of each kind.
    kinds: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    #: Frames that came back, by their codes.
    answers: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)
    #: Headers whose verdict the judge left to the device.
    undecided: int = 0


class Bench:
    """A running simulation of one device of a rig, which strings are sent to.

    Parameters
    ----------
    design : :class:`sim.verilated.CompiledDesign`
        The rig.
    number : :class:`int`
        Which of its devices has the line.
    device : :class:`tests.fuzz.link.devices.Device`
        What is known of that device.
    first_rows : mapping of :class:`str` to :class:`int`
        What the first rows of memories of the design are to hold.
    """

    def __init__(self, design: CompiledDesign, number: int, device: Device,
                 first_rows: Mapping[str, int] | None = None) -> None:
        self.device = device
        #: What was done so far.
        self.tally = Tally()
        self.judge = Judge(device)
        self._simulation = Verilated(design, divisor=device.divisor)
        for name, row in {_CHOICE: number, **(first_rows or {})}.items():
            self._simulation.load(name, [row])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._simulation.close()

    def reset(self) -> str | None:
        """Reset the device and let it say what it is; return what is wrong with the answer, None if nothing."""
        self.judge = Judge(self.device)
        self._simulation.reset(_RESET_CLOCKS)
        self._simulation.settle(1, 1)
        line = Line(self.device.divisor)
        # A reset leaves the info block as it is: the one of the first model is written again.
        line.send(Frame(command=Command.SELECT, tag=0, payload=b"\0").to_bytes() if self.device.selectable else
                  Frame(command=Command.INFO, tag=0).to_bytes())
        return self.send(line)

    def send(self, line: Line) -> str | None:
        """Send a string; return what is wrong with what comes back, None if nothing."""
        simulation, judge = self._simulation, self.judge
        start, framing_errors = simulation.clocks, simulation.framing_errors
        simulation.wave(line.segments())
        limit = line.end + 1000 * 10 * self.device.divisor + 20 * judge.busy_clocks
        data, clocks = simulation.settle(judge.busy_clocks, limit)
        if simulation.clocks - start >= limit:
            return f"the device sends on and on: {data[-100:].hex()}"
        if simulation.framing_errors != framing_errors:
            return f"a character has no stop bit near {data[-20:].hex()}"
        fault = judge.judge(line.edges, start, data, clocks, sent=None if line.sent is None else bytes(line.sent))
        self.tally.answers.update(judge.codes)
        self.tally.undecided += judge.undecided
        return fault

    def probe(self, rng: random.Random) -> str | None:
        """Ask the device, which has nothing to do; return what is wrong with its answer, None if nothing."""
        line = Line(self.device.divisor)
        asks = rng.random() < _ASKED
        line.wait(rng.randrange(self.device.divisor))
        line.send(info_request(rng) if asks else right_image(rng, self.device, slow=0))
        fault = self.send(line)
        # Where a model may be missing, only the judge knows the answer.
        expected = [Reply.INFO if asks else Reply.RESULT]
        if fault is None and not self.device.selectable and self.judge.codes != expected:
            return f"the answers are {self.judge.codes}, not {expected}"
        return fault


def faults(bench: Bench, cases: range, seed: int) -> Iterator[str]:
    """Send a string for each number in ``cases``; yield what the device did wrong, with all that shows it again.

    The device is reset every :data:`BATCH` strings, and behind a fault. What a device does with a string may depend on
    those before it, so the first one should be a multiple of :data:`BATCH`.
    """
    since = None
    for case in cases:
        rng = random.Random(f"{seed} {bench.device.name} {case}")
        fault = None
        if since is None or case % BATCH == 0:
            since = case
            fault = bench.reset()
        kind, line = draw_string(rng, bench.device)
        bench.tally.kinds[kind] += 1
        fault = fault or bench.send(line)
        if fault is None and (wrong := bench.probe(rng)) is not None:
            fault = f"behind it, {wrong}"
        if fault is not None:
            yield f"{bench.device.name}, string {case} of seed {seed}, reset at {since} ({kind}): {fault}"
            since = None
