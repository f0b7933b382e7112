"""Memory of spike maps: one word per clock, written lane by lane."""

from typing import Any, Protocol

from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.configuration import EngineConfig
from gateware.engine.neuron_array import word_layout

__all__ = ["RamFactory", "SpikeMemory"]


class RamFactory(Protocol):
    """Makes a memory with one port out of what an FPGA has for large memories; families of FPGAs bring theirs."""

    def __call__(self, *, width: int, depth: int, grain: int) -> Any:
        """Make a memory of ``depth`` words of ``width`` bits, of which ``grain`` are written together.

        Returns a component with the members of :class:`SpikeMemory`: ``mask`` has a bit per ``grain`` bits, data are
        plain bits. Raises :exc:`support.errors.InputError` if the FPGA has no such memory.
        """


class SpikeMemory(wiring.Component):
    """Stores ``spike_words`` words of ``width`` lanes x ``timesteps`` bits behind one port.

    A clock reads one word, or writes the lanes selected by ``mask``, or does nothing. Data follow the address by one
    clock and stay until the next read, except that a write leaves them undefined. Contents are undefined after
    configuration. Cost: ``spike_words * width * timesteps`` bits of memory, and nothing else.

    Parameters
    ----------
    config : :class:`EngineConfig`
    large_ram : :class:`RamFactory`, optional
        Makes the memory; None lets the tools infer block RAM, as in every simulation.

    Members
    -------
    address : :py:`In(config.address_width)`
    enable : :py:`In(1)`
    write : :py:`In(1)`
        Write rather than read.
    mask : :py:`In(config.width)`
        Lanes to write.
    write_data : :py:`In(word_layout(config))`
    read_data : :py:`Out(word_layout(config))`
    """

    def __init__(self, config: EngineConfig, *, large_ram: RamFactory | None = None):
        self.config    = config
        self.large_ram = large_ram

        super().__init__({
            "address":    In(config.address_width),
            "enable":     In(1),
            "write":      In(1),
            "mask":       In(config.width),
            "write_data": In(word_layout(config)),
            "read_data":  Out(word_layout(config)),
        })

    def elaborate(self, platform):
        m = Module()

        config = self.config
        bits   = config.width * config.timesteps

        if self.large_ram is not None:
            m.submodules.ram = ram = self.large_ram(width=bits, depth=config.spike_words, grain=config.timesteps)
            m.d.comb += [
                ram.address.eq(self.address),
                ram.enable.eq(self.enable),
                ram.write.eq(self.write),
                ram.mask.eq(self.mask),
                ram.write_data.eq(self.write_data),
                self.read_data.eq(ram.read_data),
            ]
        else:
            m.submodules.words = words = memory.Memory(
                shape=unsigned(bits), depth=config.spike_words, init=[])
            write = words.write_port(granularity=config.timesteps)
            read  = words.read_port()
            m.d.comb += [
                write.addr.eq(self.address),
                write.data.eq(self.write_data),
                write.en.eq(self.mask & (self.enable & self.write).replicate(config.width)),
                read.addr.eq(self.address),
                read.en.eq(self.enable & ~self.write),
                self.read_data.eq(read.data),
            ]

        return m
