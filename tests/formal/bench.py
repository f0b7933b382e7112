"""A block among free signals: what is assumed of them, and what is claimed of what the block does.

A bench is proven as a whole: all claims and lemmas in all clocks. A *claim* is what a property says, in terms of the
ports; a *lemma* is about registers inside the block, and is there because induction needs it. A *situation* is what
must occur in some trace, so that a claim is not true for want of anything that could break it.
"""

import re
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from amaranth import *
from amaranth.asserts import AnyConst, AnySeq, Initial
from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume, Fragment
from amaranth.lib import wiring

__all__ = ["Bench", "Inside", "lookup"]

#: Attribute of a register that keeps what it has at reset: the solver starts it with any value.
KEPT = "kept_at_reset"

#: What fills a memory with zeros, in RTLIL.
_ZEROS = re.compile(r"  cell \$meminit_v2 [^\n]*\n(?:    [^\n]*\n)*    connect \\DATA \d+'0+\n(?:    [^\n]*\n)*  end\n")


class Inside:
    """The registers and memories of a block, by the names that they have there; ``"uart.phase"`` for an inner one.

    The block is elaborated here, once, and taken as it is when it is converted.

    Parameters
    ----------
    block
        A component, not elaborated before.
    memories
        Names of memories that get a further port to read, which the bench drives: ``memories[name].addr``, ``data``.
    """

    def __init__(self, block: Any, *, memories: tuple[str, ...] = ()):
        module = block.elaborate(None)
        #: The further port of each memory.
        self.memories = {name: module.submodules[name].read_port(domain="comb") for name in memories}
        self._fragment = Fragment.get(module, None)
        block.elaborate = types.MethodType(lambda _, platform: self._fragment, block)

    def __getitem__(self, path: str) -> Signal:
        (found,) = self.named(path)
        return found

    def named(self, path: str) -> list[Signal]:
        """All registers of a name that several have, ports included."""
        *folders, name = path.split(".")
        fragment = self._fragment
        for folder in folders:
            fragment = fragment.find_subfragment(folder)
        return list({id(signal): signal for signal in _driven(fragment) if signal.name == name}.values())

    def state(self, name: str, fsm: str = "fsm") -> Value:
        """Whether a state machine of the block is in the state ``name``."""
        machine = self._fragment.find_generated(fsm)
        return machine.state == machine.encoding[name]


def _driven(fragment: Fragment) -> list[Signal]:
    """Signals that a fragment drives, those of its submodules not included."""
    return [signal for statements in fragment.statements.values() for statement in statements
            for signal in statement._lhs_signals()]


def _all_driven(fragment: Fragment) -> list[tuple[str, Signal]]:
    found = [(domain, signal) for domain, statements in fragment.statements.items() for statement in statements
             for signal in statement._lhs_signals()]
    for inner, _, _ in fragment.subfragments:
        found += _all_driven(inner)
    return found


class Bench:
    """Collects blocks, assumptions, claims, lemmas and situations; :meth:`convert` makes a design of some of them.

    The design begins in the clock after reset. Registers without a reset, and memories without contents, begin with
    anything.
    """

    def __init__(self) -> None:
        self.m = Module()
        self._assumptions: list[Value] = []
        self._lemmas: list[Value] = []
        self._claims: dict[str, list[Value]] = {}
        self._situations: dict[str, Value] = {}
        self._traces: dict[str, Value] = {}
        #: This is the clock after reset.
        self.first = Signal()
        self.m.d.comb += self.first.eq(Initial())

    def free(self, shape: Any, name: str) -> Signal:
        """Make a signal that may take any value in each clock."""
        signal = Signal(shape, name=name)
        self.m.d.comb += signal.eq(AnySeq(signal.shape()))
        return signal

    def constant(self, shape: Any, name: str) -> Signal:
        """Make a signal that may have any value, the same one in all clocks."""
        signal = Signal(shape, name=name)
        self.m.d.comb += signal.eq(AnyConst(signal.shape()))
        return signal

    def add(self, name: str, block: Any, **driven: Any) -> Any:
        """Add a block. Inputs that are not ``driven`` are free; a stream's are ``i_valid``, ``i_payload``."""
        self.m.submodules[name] = block
        for path, member, value in block.signature.flatten(block):
            if member.flow is wiring.In:
                joined = "_".join(map(str, path))
                raw = Value.cast(value)
                source = driven.pop(joined) if joined in driven else self.free(len(raw), f"{name}_{joined}")
                self.m.d.comb += raw.eq(source)
        assert not driven, f"{name} has no inputs {', '.join(driven)}"
        return block

    def past(self, value: Any, init: int = 0) -> Signal:
        """Make a register that follows a value by one clock."""
        value = Value.cast(value)
        signal = Signal(value.shape(), name=f"past{len(self.m._statements.get('sync', ()))}", init=init)
        self.m.d.sync += signal.eq(value)
        return signal

    def assume(self, condition: Any) -> None:
        """Look only at traces in which a condition holds in every clock."""
        self._assumptions.append(Value.cast(condition).bool())

    def lemma(self, condition: Any) -> None:
        """State what holds inside of the block in every clock."""
        self._lemmas.append(Value.cast(condition).bool())

    def claim(self, name: str, condition: Any) -> None:
        """State that a condition of a property holds in every clock."""
        self._claims.setdefault(name, []).append(Value.cast(condition).bool())

    def situation(self, name: str, condition: Any, *, among: Any = 1) -> None:
        """Name what has to occur in a trace for the property to say anything.

        It is looked for, and so is what the fault does, ``among`` the traces in which this holds in every clock. The
        proof itself is about all traces; but one of hundreds of clocks is only found where most inputs are given.
        """
        assert name not in self._situations
        self._situations[name] = Value.cast(condition).bool()
        self._traces[name] = Value.cast(among).bool()

    @property
    def properties(self) -> list[str]:
        """Names of the properties."""
        assert list(self._claims) == list(self._situations)
        return list(self._claims)

    def everything(self) -> str:
        """Convert the bench with all claims and lemmas as assertions."""
        return self._convert([*(one for claims in self._claims.values() for one in claims), *self._lemmas])

    def only(self, name: str) -> str:
        """Convert the bench with one property as the only assertion: without lemmas."""
        return self._convert(self._claims[name], self._traces[name])

    def never(self, name: str) -> str:
        """Convert the bench with the assertion that the situation of a property never occurs."""
        return self._convert([~self._situations[name]], self._traces[name])

    def _convert(self, assertions: list[Value], *assumptions: Value) -> str:
        m = self.m
        m.d.comb += [Assume(condition) for condition in [*self._assumptions, *assumptions]]
        # Named, for whoever looks at a trace.
        for number, condition in enumerate(assertions):
            asserted = Signal(name=f"assertion{number}")
            m.d.comb += [asserted.eq(condition), Assert(asserted)]
        fragment = Fragment.get(m, None)
        for domain, signal in _all_driven(fragment):
            if domain != "comb" and signal.reset_less:
                signal.attrs[KEPT] = 1
        design = rtlil.convert(fragment, name="bench", ports=(), emit_src=False,
                               missing_domain=lambda name: ClockDomain(name, reset_less=True))
        return _ZEROS.sub("", design)


def lookup(m: Module, index: Any, values: Mapping[int, int] | Sequence[int], name: str) -> Signal:
    """Make a signal with the value at an index; 0 where there is none."""
    places = dict(values) if isinstance(values, Mapping) else dict(enumerate(values))
    signal = Signal(range(min(0, *places.values()), max(0, *places.values()) + 1), name=name)
    with m.Switch(index):
        for place, value in places.items():
            with m.Case(place):
                m.d.comb += signal.eq(int(value))
    return signal


#: Makes a bench around a block, which may be one with a fault in it.
BenchMaker = Callable[[type], Bench]
