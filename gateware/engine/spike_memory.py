"""Memory of spike maps: one word per clock, written lane by lane."""

from amaranth import *
from amaranth.lib import enum, memory, wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.configuration import ConfigError, EngineConfig
from gateware.engine.neuron_array import word_layout

__all__ = ["MemoryKind", "SpikeMemory"]

SPRAM_WORDS = 16384
SPRAM_WIDTH = 16
SPRAM_GRAIN = 4  # bits that one bit of the write mask covers


class MemoryKind(enum.Enum):
    """What a spike memory is made of."""

    #: Block RAM, in whatever form the toolchain infers. Also what every simulation uses.
    BLOCK = "block"
    #: Single-port RAM of the iCE40 UltraPlus (FPGA-TN-02022), 16,384 x 16 bits each.
    SPRAM = "spram"


class SpikeMemory(wiring.Component):
    """Stores ``spike_words`` words of ``width`` lanes x ``timesteps`` bits behind one port.

    A clock reads one word, or writes the lanes selected by ``mask``, or does nothing. Data follow the address by one
    clock and stay until the next read, except that a write leaves them undefined. Contents are undefined after
    configuration. Cost on the UP5K: ``width * timesteps / 16`` SPRAMs per 16,384 words.

    Parameters
    ----------
    config : :class:`EngineConfig`
    kind : :class:`MemoryKind`

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

    Raises
    ------
    :exc:`ConfigError`
        If ``kind`` is SPRAM and a lane is no multiple of 4 bits, or there are more words than a bank has.
    """

    def __init__(self, config: EngineConfig, *, kind: MemoryKind = MemoryKind.BLOCK):
        if kind is MemoryKind.SPRAM:
            if config.timesteps % SPRAM_GRAIN:
                raise ConfigError(f"timesteps must be a multiple of {SPRAM_GRAIN} for SPRAM, not {config.timesteps}")
            if config.spike_words > SPRAM_WORDS:
                raise ConfigError(f"spike words must be at most {SPRAM_WORDS} for SPRAM, not {config.spike_words}")
        self.config = config
        self.kind   = kind

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

        if self.kind is MemoryKind.SPRAM:
            lanes = Cat(lane.replicate(config.timesteps // SPRAM_GRAIN) for lane in self.mask)
            data  = Cat(self.write_data.as_value(), C(0, -bits % SPRAM_WIDTH))
            read  = []
            for bank in range(-(-bits // SPRAM_WIDTH)):
                out = Signal(SPRAM_WIDTH, name=f"bank{bank}_out")
                m.submodules[f"bank{bank}"] = Instance("SB_SPRAM256KA",
                    i_CLOCK=ClockSignal(),
                    i_ADDRESS=Cat(self.address, C(0, 14 - config.address_width)),
                    i_DATAIN=data.word_select(bank, SPRAM_WIDTH),
                    i_MASKWREN=lanes.word_select(bank, SPRAM_WIDTH // SPRAM_GRAIN),
                    i_WREN=self.write,
                    i_CHIPSELECT=self.enable,
                    i_STANDBY=0, i_SLEEP=0, i_POWEROFF=1,
                    o_DATAOUT=out)
                read.append(out)
            m.d.comb += self.read_data.eq(Cat(read)[:bits])
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
