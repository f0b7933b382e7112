"""Counters of the clocks of an inference, and of those in which it waits."""

from amaranth import *

from gateware.engine.configuration import EngineConfig
from gateware.engine.readout import CLOCK_COUNTER_WIDTH

__all__ = ["count_clocks"]


def count_clocks(m: Module, config: EngineConfig, *, sequencer, readout, computing: Value,
                 stall: Value) -> Value:
    """Count the clocks of the inference, those in which ``stall`` holds, and those that wait for the stream, if any.

    They are counted modulo their width: the mapper refuses networks that take longer.

    Parameters
    ----------
    m : :class:`Module`
    config : :class:`EngineConfig`
    sequencer, readout
        The components; the readout gets the counts.
    computing : :class:`Value`
        The inference goes on: the sequencer is busy, or its result waits for the check of the stream.
    stall : :class:`Value`
        The sequencer is denied the spike memory.

    Returns
    -------
    :class:`Value`
        The counter of clocks.
    """
    cycles  = Signal(CLOCK_COUNTER_WIDTH)
    stalls  = Signal(CLOCK_COUNTER_WIDTH)
    stalled = Signal()
    m.d.sync += stalled.eq(stall)
    m.d.comb += [
        readout.cycles.eq(cycles),
        readout.stalls.eq(stalls),
    ]
    counted = [(stalls, stalled)]
    if config.streamed:
        waits = Signal(CLOCK_COUNTER_WIDTH)
        counted.append((waits, sequencer.waiting))
        m.d.comb += readout.flash_stalls.eq(waits)
    with m.If(sequencer.start):
        m.d.sync += cycles.eq(1)
        for counter, _ in counted:
            m.d.sync += counter.eq(0)
    with m.Elif(computing):
        m.d.sync += cycles.eq(cycles + 1)
        for counter, condition in counted:
            with m.If(condition):
                m.d.sync += counter.eq(counter + 1)
    return cycles
