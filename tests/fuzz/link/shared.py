"""The devices of every run, and the one simulation that has them all."""

import functools

from arch.link import ErrorCode
from sim.verilated import CompiledDesign
from tests.fuzz.link.devices import SummingDevice, SystemDevice
from tests.fuzz.link.mutants import MutableBoard
from tests.fuzz.link.session import compile_rig
from tests.link_board import make_info

__all__ = ["DEVICES", "LONG_DEVICES", "MUTABLE", "MUTANT_ROWS", "shared_rig"]

_MODELS = (make_info(height=2, width=4, name="eight pixels"), ErrorCode.WRONG_MODEL,
           make_info(height=1, width=1, name="one pixel"), ErrorCode.DAMAGED)
_SELECTABLE = SummingDevice(name="4 clocks a bit, with models", divisor=4, timeout_bits=32, others=_MODELS)
#: Devices, and how many of 100 strings each gets: strings of slow lines take many clocks.
DEVICES = {
    SummingDevice(name="4 clocks a bit", divisor=4, timeout_bits=32): 55,
    SummingDevice(name="8 clocks a bit", divisor=8, timeout_bits=64): 11,
    SummingDevice(name="16 clocks a bit", divisor=16, timeout_bits=32): 4,
    _SELECTABLE: 30,
}
#: Devices of the long run: one string more in twenty for the whole system, which takes long to compile.
LONG_DEVICES = {**DEVICES, SystemDevice(name="system, 4 clocks a bit", divisor=4, timeout_bits=32): 4,
                SystemDevice(name="system, 8 clocks a bit", divisor=8, timeout_bits=32): 1}
#: The device that gets faults.
MUTABLE = _SELECTABLE
#: Memory that chooses its fault.
MUTANT_ROWS = f"device{len(DEVICES)}.mutant.rows"


@functools.cache
def shared_rig() -> CompiledDesign:
    """Compile the devices of the default run, in their order, and behind them the one with faults."""
    return compile_rig([*(device.component() for device in DEVICES), MutableBoard(MUTABLE)], memories=[MUTANT_ROWS])
