"""Scatters the pixels of an image into the windows of the first layer as they arrive."""

from collections.abc import Sequence

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.configuration import EngineConfig
from gateware.engine.neuron_array import word_layout
from gateware.engine.program import PIXEL_ENTRIES, PixelEntry, pixel_layouts, pixel_width

__all__ = ["WindowWriter"]


class WindowWriter(wiring.Component):
    """Writes each pixel to all windows that see it, packed, so that a window is a few consecutive words.

    The word of a window holds ``slice_width`` consecutive values of its kernel, in row, column, channel order. For
    pixels, slice s of the word holds bit-planes ``s * timesteps`` on; for events, a lane holds a value's timesteps.
    After reset, the whole memory is filled with the padding value once: what lies outside the image is never
    written again.

    One transfer of ``i_pixels`` is one value, in row, column, channel order. A value takes two clocks, two more for
    each of ``turns * turns`` windows that could share it, ``turns = ceil(kernel / stride)``, and a clock more for each
    write that is not granted at once. ``begin`` forgets the image under way. Reset fills the memory again, in
    ``spike_words`` clocks, during which no pixel is accepted.
    Cost: about 170 LUTs; the table is too small for block RAM.

    Parameters
    ----------
    config : :class:`EngineConfig`
    init : sequence of :class:`int`
        Steps and parameters, :data:`PIXEL_ENTRIES` entries (:mod:`gateware.engine.program`).

    Members
    -------
    begin : :py:`In(1)`
        Strobe: the next pixel is the first of an image.
    buffer : :py:`In(1)`
        Image buffer to write, the top bit of the address. Sampled in the clock after ``begin``.
    i_pixels : :py:`In(stream.Signature(8))`
    idle : :py:`Out(1)`
        No pixel is under way.
    ready : :py:`Out(1)`
        The fill after reset is over; ``sizes`` is valid from then on.
    sizes : :py:`Out(pixel_layouts(config)[PixelEntry.SIZES])`
        Bytes of an image and number of classes, for the host link.
    write : :py:`Out(1)`
    grant : :py:`In(1)`
        The write is done in this clock.
    address, mask, write_data : :py:`Out(...)`
    """

    def __init__(self, config: EngineConfig, *, init: Sequence[int] = ()):
        self.config = config
        self.init   = list(init)

        super().__init__({
            "begin":      In(1),
            "buffer":     In(1),
            "i_pixels":   In(stream.Signature(8)),
            "idle":       Out(1),
            "ready":      Out(1),
            "sizes":      Out(pixel_layouts(config)[PixelEntry.SIZES]),
            "write":      Out(1),
            "grant":      In(1),
            "address":    Out(config.address_width),
            "mask":       Out(config.width),
            "write_data": Out(word_layout(config)),
        })

    def elaborate(self, platform):
        m = Module()

        config  = self.config
        layouts = pixel_layouts(config)
        lane_bits = (config.slice_width - 1).bit_length()

        m.submodules.steps = steps = memory.Memory(
            shape=unsigned(pixel_width(config)), depth=PIXEL_ENTRIES, init=self.init,
            attrs={"ram_style": "block"})
        port  = steps.read_port()
        setup = Signal(range(PIXEL_ENTRIES))  # entry wanted after reset
        entry = Signal(range(PIXEL_ENTRIES))  # ... and from then on
        m.d.comb += port.addr.eq(Mux(self.ready, entry, setup))

        def view(entry):
            return data.View(layouts[entry], port.data[:layouts[entry].size])

        step    = view(PixelEntry.START)
        loops   = Signal(layouts[PixelEntry.LOOPS], reset_less=True)
        kernel  = Signal(layouts[PixelEntry.KERNEL], reset_less=True)
        windows = Signal(layouts[PixelEntry.WINDOWS], reset_less=True)
        fetched = Signal(range(PIXEL_ENTRIES))

        pointer  = Signal(layouts[PixelEntry.START], reset_less=True)
        across   = Signal.like(loops.turns, reset_less=True)
        down     = Signal.like(loops.turns, reset_less=True)
        channel  = Signal.like(loops.channels, reset_less=True)
        column   = Signal.like(loops.columns, reset_less=True)
        row      = Signal.like(loops.rows, reset_less=True)
        phase_x  = Signal.like(kernel.phase, reset_less=True)
        phase_y  = Signal.like(kernel.phase, reset_less=True)

        # A write waits in a register of its own while the next window is worked out, and its pixel is held until then:
        # the memory's grant ends in one flip-flop.
        value   = Signal(8, reset_less=True)
        held    = Signal()
        m.d.sync += self.i_pixels.ready.eq(self.ready & ~held & ~self.write & ~self.i_pixels.ready)
        with m.If(self.i_pixels.ready):
            m.d.sync += value.eq(self.i_pixels.payload)
            m.d.sync += held.eq(self.i_pixels.valid)

        # What follows the last window of a pixel is decided ahead: it changes with the pixel only, and the next one
        # takes a clock to arrive.
        advance    = Signal(PixelEntry)
        next_pixel = Signal(PixelEntry)
        new_x      = Signal()
        new_y      = Signal()
        m.d.comb += new_x.eq(phase_x == kernel.stride)
        m.d.comb += new_y.eq(phase_y == kernel.stride)
        with m.If(channel >= 0):
            m.d.sync += next_pixel.eq(PixelEntry.CHANNEL)
        with m.Elif(column >= 0):
            m.d.sync += next_pixel.eq(Mux(new_x, PixelEntry.COLUMN_NEW, PixelEntry.COLUMN))
        with m.Else():
            m.d.sync += next_pixel.eq(Mux(new_y, PixelEntry.ROW_NEW, PixelEntry.ROW))
        with m.If(across >= 0):
            m.d.comb += advance.eq(PixelEntry.ACROSS)
        with m.Elif(down >= 0):
            m.d.comb += advance.eq(PixelEntry.DOWN)
        with m.Else():
            m.d.comb += advance.eq(next_pixel)

        # Which loops end with this window: decided in CHECK, used in ADVANCE.
        loop_ends = Signal(5)
        turns     = Cat(across < 0, down < 0, channel < 0, column < 0, row < 0)
        m.d.sync += loop_ends.eq(Cat(turns[:count].all() for count in range(1, 6)))

        def word_of(value):
            """Spread the bits of a value over the slices; every lane of a slice gets the same."""
            planes = Cat(value, C(0, config.slices * config.timesteps))
            return Cat(planes.word_select(index, config.timesteps).replicate(config.slice_width)
                       for index in range(config.slices))

        target  = Signal.like(pointer.lane, reset_less=True)
        filling = Signal(init=1)
        filled  = Signal()
        inside  = Signal()
        visible = Signal()
        m.d.comb += [
            inside.eq((pointer.kernel_x < kernel.side) & (pointer.kernel_y < kernel.side)
                      & (pointer.window_x < windows.columns) & (pointer.window_y < windows.rows)),
            self.address.eq(target[lane_bits:]),
            self.mask.eq(Cat(filling | (target[:lane_bits] == index) for index in range(config.slice_width))
                         .replicate(config.slices)),
            self.write_data.eq(word_of(value)),
        ]

        with m.If(self.grant):
            m.d.sync += self.write.eq(0)

        def begin():
            """Start over, in whatever state: the image before may have failed half-way."""
            with m.If(self.begin):
                m.d.comb += entry.eq(PixelEntry.START)
                m.d.sync += held.eq(0)
                m.next = "START"

        def move():
            """Go to the next window that could share the pixel, or to the next pixel."""
            m.d.sync += [
                pointer.lane.eq(pointer.lane + step.lane),
                pointer.kernel_x.eq(pointer.kernel_x + step.kernel_x),
                pointer.window_x.eq(pointer.window_x + step.window_x),
                pointer.kernel_y.eq(pointer.kernel_y + step.kernel_y),
                pointer.window_y.eq(pointer.window_y + step.window_y),
                across.eq(Mux(across < 0, loops.turns, across - 1)),
            ]
            m.next = "CHECK"
            with m.If(loop_ends[0]):
                m.d.sync += down.eq(Mux(down < 0, loops.turns, down - 1))
            with m.If(loop_ends[1]):
                m.d.sync += held.eq(0)
                m.d.sync += channel.eq(Mux(channel < 0, loops.channels, channel - 1))
            with m.If(loop_ends[2]):
                m.d.sync += column.eq(Mux(column < 0, loops.columns, column - 1))
                m.d.sync += phase_x.eq(Mux(column < 0, kernel.phase, Mux(new_x, 0, phase_x + 1)))
            with m.If(loop_ends[3]):
                m.d.sync += row.eq(row - 1)
                m.d.sync += phase_y.eq(Mux(new_y, 0, phase_y + 1))
            with m.If(loop_ends[4]):
                m.next = "WAIT"

        with m.FSM(name="preparation"):
            with m.State("RESET"):
                m.d.comb += setup.eq(PixelEntry.LOOPS)
                m.d.sync += fetched.eq(PixelEntry.LOOPS)
                m.next = "FETCH"
            with m.State("FETCH"):
                m.d.comb += setup.eq(fetched + 1)
                m.d.sync += fetched.eq(fetched + 1)
                with m.Switch(fetched):
                    with m.Case(PixelEntry.LOOPS):
                        m.d.sync += loops.eq(view(PixelEntry.LOOPS))
                    with m.Case(PixelEntry.KERNEL):
                        m.d.sync += kernel.eq(view(PixelEntry.KERNEL))
                    with m.Case(PixelEntry.WINDOWS):
                        m.d.sync += windows.eq(view(PixelEntry.WINDOWS))
                    with m.Case(PixelEntry.SIZES):
                        m.d.sync += self.sizes.eq(view(PixelEntry.SIZES))
                        m.d.sync += target.eq(0)
                        m.next = "FILL"
            with m.State("FILL"):
                m.d.sync += value.eq(kernel.zero)
                m.d.sync += self.write.eq(1)
                # Nothing else uses the memory yet: every write is granted at once.
                with m.If(self.write):
                    m.d.sync += target.eq(target + config.slice_width)
                m.d.sync += filled.eq(target[lane_bits:] == config.spike_words - 2)
                with m.If(filled):
                    m.d.sync += self.write.eq(0)
                    m.d.sync += filling.eq(0)
                    m.d.sync += self.ready.eq(1)
                    m.next = "DONE"
            with m.State("DONE"):
                pass

        with m.FSM(name="image"):
            with m.State("WAIT"):
                m.d.comb += self.idle.eq(~self.write)
                begin()
            with m.State("START"):
                m.d.sync += [
                    pointer.eq(step),
                    pointer.lane[-1].eq(step.lane[-1] ^ self.buffer),
                    across.eq(loops.turns),
                    down.eq(loops.turns),
                    channel.eq(loops.channels),
                    column.eq(loops.columns),
                    row.eq(loops.rows),
                    phase_x.eq(kernel.phase),
                    phase_y.eq(kernel.phase),
                ]
                m.next = "SETTLE"
            with m.State("SETTLE"):
                m.next = "CHECK"
                begin()
            with m.State("CHECK"):
                m.d.comb += entry.eq(advance)
                m.d.comb += self.idle.eq(~held & ~self.write & ~self.i_pixels.valid)
                m.d.sync += visible.eq(inside)
                with m.If(held):
                    m.next = "ADVANCE"
                begin()
            with m.State("ADVANCE"):
                m.d.comb += entry.eq(advance)
                with m.If(~self.write):
                    m.d.sync += self.write.eq(visible)
                    m.d.sync += target.eq(pointer.lane)
                    move()
                begin()

        return m
