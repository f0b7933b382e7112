# amaranth: UnusedElaboratable=no
"""A link with faults that can be switched on, one at a time: what the judge of strings has to find.

Each fault replaces an expression in the sources of ``gateware/link/``. All are in one circuit, where the expression
becomes a choice between its right and its wrong form: so one compilation serves for all.
"""

import contextlib
import dataclasses
import importlib
import inspect
import sys
import types
from collections.abc import Iterator
from unittest import mock

from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from tests import link_board
from tests.fuzz.link.devices import Device

__all__ = ["MUTANTS", "MutableBoard", "Mutant"]


def _source(module: str) -> str:
    return inspect.getsource(importlib.import_module(f"gateware.link.{module}"))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Mutant:
    """A fault in the sources."""

    name: str
    #: Module in ``gateware.link``.
    module: str
    #: Where the expression stands, as braces.
    place: str
    right: str
    wrong: str

    def times_found(self) -> int:
        """Count how often its place is in the source: once, unless that was changed."""
        return _source(self.module).count(self.place.replace("{}", self.right))


def _in(module: str, *faults: tuple[str, str, str, str]) -> tuple[Mutant, ...]:
    return tuple(Mutant(name=name, module=module, place=place, right=right, wrong=wrong)
                 for name, place, right, wrong in faults)


MUTANTS = (
    *_in("uart", (
        "a low stop bit begins a character",
        "m.If({}):\n                m.d.sync += phase.eq(1)", "(phase == 6) & line", "0",
    ), (
        "a glitch begins a character",
        "m.Elif({}):\n                m.d.sync += phase.eq(1)", "line", "line & (phase != 7)",
    ), (
        "a break is one character",
        "phase.eq({})", "Mux(phase[2], 8, 6)", "Mux(phase == 7, 8, 6)",
    )),
    *_in("counters", (
        "a counter begins again",
        "count + ({})", "strobe & ~count.all()", "strobe",
    )),
    *_in("receiver", (
        "the CRC is not checked",
        "frame.intact.eq({})", "check.good & ~spoilt", "~spoilt",
    ), (
        "a missing stop bit is overlooked",
        "frame.intact.eq({})", "check.good & ~spoilt", "check.good",
    ), (
        "a tag overwrites that of a reply that waits",
        "| ({})),\n            self.tag_slot", "again & ~waiting", "again",
    ), (
        "a request is answered though a reply waits",
        "tagged.eq({})", "~waiting", "1",
    ), (
        "a frame ends in the clock of its timeout",
        "m.If({}):\n            m.d.sync += field.eq(", "timeout", "timeout & ~byte_stb",
    ), (
        "busy is answered as INFO",
        "m.Elif({} | (", "(frame.classify & ~self.accept)", "0",
    ), (
        "an image is answered twice",
        "m.If({}):\n            m.d.sync += waiting.eq(1)", "ended & tagged & ~self.commit", "ended & tagged",
    ), (
        "the slot of images is off by one",
        "head.eq(head + {})", "1", "2",
    ), (
        "an overrun is not told",
        "m.If({}):\n                m.d.sync += code.eq(ErrorCode.OVERRUN)", "overrun", "0",
    ), (
        "an image may be 256 bytes longer",
        "is_image.eq({})", "payload.missing == ~self.image_bytes",
        "payload.missing[:8] == (~self.image_bytes)[:8]",
    ), (
        "silence counts between frames too",
        "m.If({} | byte_stb)", "(field == Field.SYNC)", "0",
    ), (
        "the timeout is a bit short",
        "timeout.eq({})", "silence[-1]", "silence >= self.timeout_bits - 1",
    ), (
        "a model is chosen while an image waits",
        "| ({})):\n", "frame.choice & in_flight", "0",
    ), (
        "a frame is answered while a model is chosen",
        "m.If({}):\n            m.d.sync += tagged.eq(0)", "received & ~settled", "0",
    ), (
        "a lost frame is not counted",
        "faults.aborted.eq({})", "timeout & (field != Field.SYNC)", "0",
    )),
    *_in("transmitter", (
        "a result goes before a reply",
        "control.eq({})", "self.i_reply.valid", "self.i_reply.valid & ~self.i_words.valid",
    ), (
        "a reply takes the slot of a result",
        "m.If({}):\n                m.d.sync += self.result_slot", "(field == Field.CRC1) & ~control",
        "field == Field.CRC1",
    ), (
        "the choice of the next frame is made late",
        "m.If({}):\n                m.d.sync += control", "uart.i.ready & (uart.position == 0)",
        "uart.i.ready & (uart.position == 7)",
    )),
)

#: In the order of their imports.
_MODULES = ("uart", "counters", "receiver", "transmitter", "host_link")


def _mutable(name: str, mutant: Signal) -> types.ModuleType:
    """Make a module of ``gateware.link`` with its mutants, chosen by the number ``mutant``.

    A mutant whose place is not found is left out: a change of the source shows in the test of that mutant alone.
    """
    full = f"gateware.link.{name}"
    source = _source(name)
    choices: dict[tuple[str, str], str] = {}
    for number, fault in enumerate(MUTANTS, 1):
        if fault.module == name:
            place = fault.place, fault.right
            choices[place] = f"Mux(MUTANT == {number}, {fault.wrong}, {choices.get(place, fault.right)})"
    for (place, right), choice in choices.items():
        source = source.replace(place.replace("{}", right), place.replace("{}", choice))
    module = types.ModuleType(full)
    vars(module)["MUTANT"] = mutant
    exec(compile(source, f"<mutable {full}>", "exec"), vars(module))
    return module


@contextlib.contextmanager
def _links_are_mutable(mutant: Signal) -> Iterator[None]:
    """Let boards get links with mutants."""
    with mock.patch.dict(sys.modules):
        for name in _MODULES:
            sys.modules[f"gateware.link.{name}"] = _mutable(name, mutant)
        with mock.patch.object(link_board, "HostLink", sys.modules["gateware.link.host_link"].HostLink):
            yield


class MutableBoard(wiring.Component):
    """The circuit of a device, with a fault: row 0 of the memory ``mutant.rows`` is the number of a mutant, or 0.

    The first mutant is number 1.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        number = Signal(8)
        m.submodules.mutant = chosen = Module()
        chosen.submodules.rows = rows = memory.Memory(shape=8, depth=2, init=[])
        # A register: see :class:`tests.fuzz.link.session.Rig`.
        m.d.sync += number.eq(rows.read_port(domain="comb").data)
        with _links_are_mutable(number):
            board = self.device.component()
            link = board.elaborate(platform)
        m.submodules.board = link
        m.d.comb += [board.rx.eq(self.rx), self.tx.eq(board.tx)]
        return m
