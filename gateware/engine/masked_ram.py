"""Small memories with a port to read and one to write: what a streamed circuit keeps of its model, and its sums."""

from typing import Any, Protocol

from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["EntryRing", "MaskedRam", "MaskedRamFactory"]


class MaskedRamFactory(Protocol):
    """Makes a :class:`MaskedRam`, or what an FPGA has that does the same."""

    def __call__(self, *, width: int, depth: int) -> Any:
        """Make a memory of ``depth`` words of ``width`` bits.

        Returns a component with the members of :class:`MaskedRam`. Raises :exc:`support.errors.InputError` if the FPGA
        has no such memory.
        """


class MaskedRam(wiring.Component):
    """Stores ``depth`` words of ``width`` bits, of which a write takes any.

    Throughput: a read and a write per clock. Data follow ``read_address`` by one clock and stay while ``read`` is low;
    what is read in the clock of a write to the same word is undefined. Contents are zero after configuration.
    Cost: ``width / 16`` block RAMs on the iCE40, as its family makes it; this one is for simulations and for the tools
    to make of it what they can.

    Parameters
    ----------
    width, depth : :class:`int`
        Bits of a word, and words.

    Members
    -------
    read : :py:`In(1)`
        Read in this clock; if it is not connected, in each.
    read_address : :py:`In(ceil_log2(depth))`
    read_data : :py:`Out(width)`
    write : :py:`In(1)`
    write_address : :py:`In(ceil_log2(depth))`
    mask : :py:`In(width)`
        Bits to write.
    write_data : :py:`In(width)`
    """

    def __init__(self, *, width: int, depth: int):
        self.width = width
        self.depth = depth

        super().__init__({
            "read":          In(1, init=1),
            "read_address":  In(ceil_log2(depth)),
            "read_data":     Out(width),
            "write":         In(1),
            "write_address": In(ceil_log2(depth)),
            "mask":          In(width),
            "write_data":    In(width),
        })

    def elaborate(self, platform):
        m = Module()

        m.submodules.words = words = memory.Memory(shape=unsigned(self.width), depth=self.depth, init=[])
        read  = words.read_port()
        write = words.write_port(granularity=1)
        m.d.comb += [
            read.en.eq(self.read),
            read.addr.eq(self.read_address),
            self.read_data.eq(read.data),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            write.en.eq(self.mask & self.write.replicate(self.width)),
        ]

        return m


class EntryRing(wiring.Component):
    """Stores ``depth`` entries of up to 64 bits, written byte by byte, as they come from a stream.

    Throughput: an entry read and a byte written per clock. The entry follows ``read_address`` by one clock and stays
    while ``read`` is low; what is read in the clock of a write to the same entry is undefined. Bytes beyond ``width``
    are not kept.
    Cost: ``width / 16`` block RAMs on the iCE40, rounded up, and the inverters of ``write_mask``.

    Parameters
    ----------
    width, depth : :class:`int`
        Bits of an entry that are kept, and entries.
    masked_ram : :class:`MaskedRamFactory`
        Makes the memory.

    Members
    -------
    read : :py:`In(1)`
        Read in this clock; if it is not connected, in each.
    read_address : :py:`In(ceil_log2(depth))`
    read_data : :py:`Out(width)`
    write : :py:`In(1)`
    write_address : :py:`In(ceil_log2(depth))`
    write_mask : :py:`In(8)`
        Bytes of the entry to write; byte 0 is bits 0 to 7.
    write_data : :py:`In(8)`

    Raises
    ------
    :exc:`ValueError`
        If an entry has more than 64 bits.
    """

    #: Bytes of an entry in the stream, and bits of the memories that it is kept in.
    BYTES, BANK = 8, 16

    def __init__(self, *, width: int, depth: int, masked_ram: MaskedRamFactory = MaskedRam):
        if width > 8 * self.BYTES:
            raise ValueError(f"width of an entry must be at most {8 * self.BYTES} bits, not {width}")
        self.width      = width
        self.depth      = depth
        self.masked_ram = masked_ram

        super().__init__({
            "read":          In(1, init=1),
            "read_address":  In(ceil_log2(depth)),
            "read_data":     Out(width),
            "write":         In(1),
            "write_address": In(ceil_log2(depth)),
            "write_mask":    In(self.BYTES),
            "write_data":    In(8),
        })

    def elaborate(self, platform):
        m = Module()

        read = []
        for index in range(-(-self.width // self.BANK)):
            m.submodules[f"bank{index}"] = bank = self.masked_ram(width=self.BANK, depth=self.depth)
            m.d.comb += [
                bank.read.eq(self.read),
                bank.read_address.eq(self.read_address),
                bank.write.eq(self.write),
                bank.write_address.eq(self.write_address),
                bank.mask.eq(Cat(byte.replicate(8) for byte in self.write_mask[2 * index:][:2])),
                bank.write_data.eq(self.write_data.replicate(2)),
            ]
            read.append(bank.read_data)
        m.d.comb += self.read_data.eq(Cat(read))

        return m
