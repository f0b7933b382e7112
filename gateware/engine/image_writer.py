"""Writes the bytes of an image into the spike memory as a map of spikes, where the first layer finds them."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.configuration import EngineConfig
from gateware.engine.neuron_array import word_layout

__all__ = ["CHANNEL_BITS", "ImageWriter"]

#: Bits of the number of channels of an image, minus one.
CHANNEL_BITS = 6


class ImageWriter(wiring.Component):
    """Writes an image as one map or two: T bits of each byte into a lane, its other bits into a map further on.

    Bytes come in row, column, channel order. Channel c of a position is lane ``c mod W`` of its word ``c // W``, and
    the words of a position follow those of the one before. Slice 0 of a byte, bits 0 to T - 1, is a spike of T
    timesteps in that lane; slice 1, the bits after them, is one in the same lane ``plane_words`` words further. For
    pixels, slices are bit-planes; for events, bit t of a byte is timestep t, and slice 1 is the second block. Lanes
    beyond the channels are not written: the weights of such a lane must be 0.

    One transfer of ``i_pixels`` is one byte. It takes a write per slice, each one clock if it is granted at once, and a
    clock between two bytes. The byte is taken with its last write, so the source keeps it until then: a byte that is
    withdrawn may be written all the same. ``begin`` forgets the image under way; ``i_pixels`` must not be valid then.
    Reset begins an image, too.
    Cost on the iCE40: in the overlay 66 LUTs, 24 flip-flops, 69 logic cells.

    Parameters
    ----------
    config : :class:`EngineConfig`

    Members
    -------
    begin : :py:`In(1)`
        Strobe: the next byte is the first of an image.
    buffer : :py:`In(1)`
        Image buffer to write, the top bit of the address, with ``begin``.
    channels : :py:`In(CHANNEL_BITS)`
        Channels of the image, minus one. This and the next two must not change from ``begin`` to the end of an image.
    slices : :py:`In(1)`
        Slices of a byte, minus one.
    plane_words : :py:`In(config.address_width)`
        Words of a slice of the image.
    i_pixels : :py:`In(stream.Signature(8))`
    write : :py:`Out(1)`
    write_next : :py:`Out(1)`
        There will be a ``write`` in the next clock.
    grant : :py:`In(1)`
        The write is done in this clock.
    address, mask, write_data : :py:`Out(...)`
        To the spike memory.
    """

    def __init__(self, config: EngineConfig):
        self.config = config

        super().__init__({
            "begin":       In(1),
            "buffer":      In(1),
            "channels":    In(CHANNEL_BITS),
            "slices":      In(1),
            "plane_words": In(config.address_width),
            "i_pixels":    In(stream.Signature(8)),
            "write":       Out(1),
            "write_next":  Out(1),
            "grant":       In(1),
            "address":     Out(config.address_width),
            "mask":        Out(config.width),
            "write_data":  Out(word_layout(config)),
        })

    def elaborate(self, platform):
        m = Module()

        config  = self.config
        lanes   = (config.width - 1).bit_length()
        word    = Signal(config.address_width)
        channel = Signal(max(CHANNEL_BITS, lanes))
        upper   = Signal()  # the write is that of slice 1
        granted = Signal()
        taken   = Signal()

        planes = Cat(self.i_pixels.payload, C(0, 2 * config.timesteps))
        m.d.comb += [
            granted.eq(self.write & self.grant),
            taken.eq(granted & (upper == self.slices)),
            self.i_pixels.ready.eq(taken),
            self.write_next.eq(self.i_pixels.valid & ~taken),
            # A multiplexer, not a gate before the adder: it shares the adder's LUTs.
            self.address.eq(Mux(upper, word + self.plane_words, word)),
            self.mask.eq(1 << channel[:lanes]),
            self.write_data.eq(Mux(upper, planes[config.timesteps:][:config.timesteps], planes[:config.timesteps])
                               .replicate(config.width)),
        ]
        m.d.sync += self.write.eq(self.write_next)
        with m.If(granted):
            m.d.sync += upper.eq(~upper & self.slices)

        # Registers: a clock is between two bytes.
        position_end = Signal()
        word_end     = Signal()
        m.d.sync += [
            position_end.eq(channel == self.channels),
            word_end.eq((channel == self.channels) | channel[:lanes].all()),
        ]
        with m.If(taken):
            m.d.sync += channel.eq(Mux(position_end, 0, channel + 1))
            m.d.sync += word.eq(word + word_end)
        with m.If(self.begin):
            m.d.sync += upper.eq(0)
            m.d.sync += channel.eq(0)
            m.d.sync += word.eq(self.buffer << config.address_width - 1)

        return m
