"""How images get from the host link to an accelerator."""

from amaranth import *

__all__ = ["hand_over_images"]


def hand_over_images(m: Module, *, link, accelerator):
    """Hand images on, with a register each for strobes and pixels.

    Strobes and pixels are as far apart as characters on the line. So the registers cost no throughput, and they cut the
    paths through both blocks: the room for pixels, for one, does not reach into the link.

    Parameters
    ----------
    m : :class:`Module`
    link : :class:`gateware.link.host_link.HostLink`
    accelerator
        A component with the members ``begin``, ``commit``, ``abort``, ``accept`` and ``i_pixels`` of
        :class:`gateware.engine.accelerator.Accelerator`.
    """
    m.d.comb += link.accept.eq(accelerator.accept)
    m.d.sync += [
        accelerator.begin.eq(link.begin),
        accelerator.commit.eq(link.commit),
        accelerator.abort.eq(link.abort),
    ]
    pixel = accelerator.i_pixels
    m.d.comb += link.o_pixels.ready.eq(~pixel.valid)
    with m.If(pixel.ready | ~pixel.valid):
        m.d.sync += pixel.valid.eq(link.o_pixels.valid & ~pixel.valid)
    with m.If(~pixel.valid):
        m.d.sync += pixel.payload.eq(link.o_pixels.payload)
