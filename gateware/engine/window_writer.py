"""Scatters the pixels of an image into the windows of the first layer as they arrive."""

from collections.abc import Sequence

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from gateware.engine.configuration import EngineConfig
from gateware.engine.neuron_array import word_layout
from gateware.engine.program import PIXEL_ENTRIES, PixelEntry, pixel_layouts, pixel_width

__all__ = ["WindowWriter"]


class _Walk:
    """Where the walk over pixels and windows is: registers, without a reset, as the first image loads them."""

    def __init__(self, layouts):
        loops, kernel = layouts[PixelEntry.LOOPS], layouts[PixelEntry.KERNEL]
        #: Parameters of the first layer.
        self.loops   = Signal(loops, reset_less=True)
        self.kernel  = Signal(kernel, reset_less=True)
        self.windows = Signal(layouts[PixelEntry.WINDOWS], reset_less=True)
        #: The window, and the pixel's place in its kernel.
        self.pointer = Signal(layouts[PixelEntry.START], reset_less=True)
        #: Countdowns of the loops, innermost first.
        self.across  = Signal(loops["turns"].shape, reset_less=True)
        self.down    = Signal(loops["turns"].shape, reset_less=True)
        self.channel = Signal(loops["channels"].shape, reset_less=True)
        self.column  = Signal(loops["columns"].shape, reset_less=True)
        self.row     = Signal(loops["rows"].shape, reset_less=True)
        #: Places of the pixel modulo the stride, and whether the next one begins a new window.
        self.phase_x = Signal(kernel["phase"].shape, reset_less=True)
        self.phase_y = Signal(kernel["phase"].shape, reset_less=True)
        self.new_x   = Signal()
        self.new_y   = Signal()


class WindowWriter(wiring.Component):
    """Writes each pixel into all windows that see it, packed, so that a window is a few consecutive words.

    A window is what the kernel of the first layer sees of an image at one position. A word of a window holds
    ``slice_width`` consecutive values of it, in row, column, channel order. Of pixels, slice s of the word holds the
    bit-planes from ``s * timesteps`` on; of events, a lane holds the timesteps of one value. After reset, the writer
    fills the whole memory with the padding value once; what lies outside the image is never written again.

    One transfer of ``i_pixels`` is one value, in row, column, channel order. A value takes two clocks, two more for
    each of ``turns * turns`` windows that could share it, ``turns = ceil(kernel / stride)`` (:meth:`value_cycles_of`),
    and a clock more for each in which a write is not granted at once. After the last value of an image the writer is
    ``finished`` and takes one more value, with which the next image starts as soon as ``proceed`` is strobed. ``begin``
    starts an image whatever was under way, and forgets a value that was taken. Reset fills the memory again, in
    ``spike_words`` clocks, during which no value is accepted.
    Cost on the iCE40: in the circuit of the shipped network 309 LUTs, 196 flip-flops, 3 block RAMs.

    Parameters
    ----------
    config : :class:`EngineConfig`
    init : sequence of :class:`int`
        Steps and parameters, :data:`PIXEL_ENTRIES` entries (:mod:`gateware.engine.program`).

    Members
    -------
    begin : :py:`In(1)`
        Strobe: the next value that is taken is the first of an image. Not before the writer is ``ready``, and not in
        the clock after a ``begin`` or a ``proceed``.
    proceed : :py:`In(1)`
        Strobe while ``finished`` is high: the value that was taken or, without one, the next is the first of an image.
    buffer : :py:`In(1)`
        Image buffer to write, the top bit of the address. Sampled in the clock after ``begin`` or ``proceed``.
    i_pixels : :py:`In(stream.Signature(8))`
    finished : :py:`Out(1)`
        Every value of the image is in memory; high after reset.
    ready : :py:`Out(1)`
        The fill after reset is over; ``sizes`` is valid from then on.
    sizes : :py:`Out(pixel_layouts(config)[PixelEntry.SIZES])`
        Bytes of an image and number of classes, for the host link.
    write : :py:`Out(1)`
    write_next : :py:`Out(1)`
        ``write`` rises with the next clock, for a pixel.
    grant : :py:`In(1)`
        The write is done in this clock.
    address, mask, write_data : :py:`Out(...)`
    """

    def __init__(self, config: EngineConfig, *, init: Sequence[int] = ()):
        self.config = config
        self.init   = list(init)

        super().__init__({
            "begin":      In(1),
            "proceed":    In(1),
            "buffer":     In(1),
            "i_pixels":   In(stream.Signature(8)),
            "finished":   Out(1),
            "ready":      Out(1),
            "sizes":      Out(pixel_layouts(config)[PixelEntry.SIZES]),
            "write":      Out(1),
            "write_next": Out(1),
            "grant":      In(1),
            "address":    Out(config.address_width),
            "mask":       Out(config.width),
            "write_data": Out(word_layout(config)),
        })

    @staticmethod
    def value_cycles_of(turns: int) -> int:
        """Clocks of one value of an image, of which ``turns * turns`` windows could see."""
        return 2 + 2 * turns**2

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
        walk    = _Walk(layouts)
        fetched = Signal(range(PIXEL_ENTRIES))

        # A write waits in a register of its own while the next window is worked out, and its pixel is held until then:
        # the memory's grant ends in one flip-flop.
        value   = Signal(8, reset_less=True)
        held    = Signal()
        m.d.sync += self.i_pixels.ready.eq(self.ready & ~held & ~self.write & ~self.i_pixels.ready)
        with m.If(self.i_pixels.ready):
            m.d.sync += value.eq(self.i_pixels.payload)
            m.d.sync += held.eq(self.i_pixels.valid)

        advance = self._next_entry(m, walk)
        # Which loops end with this window: decided in CHECK, used in ADVANCE.
        loop_ends = Signal(5)
        turns     = Cat(walk.across < 0, walk.down < 0, walk.channel < 0, walk.column < 0, walk.row < 0)
        m.d.sync += loop_ends.eq(Cat(turns[:count].all() for count in range(1, 6)))

        def word_of(value):
            """Spread the bits of a value over the slices; every lane of a slice gets the same."""
            planes = Cat(value, C(0, config.slices * config.timesteps))
            return Cat(planes.word_select(index, config.timesteps).replicate(config.slice_width)
                       for index in range(config.slices))

        target  = Signal.like(walk.pointer.lane, reset_less=True)
        filling = Signal(init=1)
        filled  = Signal()
        inside  = Signal()
        visible = Signal()
        m.d.comb += [
            inside.eq((walk.pointer.kernel_x < walk.kernel.side) & (walk.pointer.kernel_y < walk.kernel.side)
                      & (walk.pointer.window_x < walk.windows.columns) & (walk.pointer.window_y < walk.windows.rows)),
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
                        m.d.sync += walk.loops.eq(view(PixelEntry.LOOPS))
                    with m.Case(PixelEntry.KERNEL):
                        m.d.sync += walk.kernel.eq(view(PixelEntry.KERNEL))
                    with m.Case(PixelEntry.WINDOWS):
                        m.d.sync += walk.windows.eq(view(PixelEntry.WINDOWS))
                    with m.Case(PixelEntry.SIZES):
                        m.d.sync += self.sizes.eq(view(PixelEntry.SIZES))
                        m.d.sync += target.eq(0)
                        m.next = "FILL"
            with m.State("FILL"):
                m.d.sync += value.eq(walk.kernel.zero)
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
                m.d.comb += self.finished.eq(~self.write)
                with m.If(self.proceed):
                    m.d.comb += entry.eq(PixelEntry.START)
                    m.next = "START"
                begin()
            with m.State("START"):
                self._start(m, walk, step)
                m.next = "SETTLE"
            with m.State("SETTLE"):
                m.next = "CHECK"
                begin()
            with m.State("CHECK"):
                m.d.comb += entry.eq(advance)
                m.d.sync += visible.eq(inside)
                with m.If(held):
                    m.next = "ADVANCE"
                begin()
            with m.State("ADVANCE"):
                m.d.comb += entry.eq(advance)
                with m.If(~self.write):
                    m.d.comb += self.write_next.eq(visible)
                    m.d.sync += self.write.eq(visible)
                    m.d.sync += target.eq(walk.pointer.lane)
                    self._move(m, walk, step, loop_ends)
                    m.next = "CHECK"
                    with m.If(loop_ends[1]):
                        m.d.sync += held.eq(0)
                    with m.If(loop_ends[4]):
                        m.next = "WAIT"
                begin()

        return m

    @staticmethod
    def _next_entry(m, walk):
        """Name the step to the next window that could share the pixel, or to the next pixel."""
        # What follows the last window of a pixel is decided ahead: it changes with the pixel only, and the next one
        # takes a clock to arrive.
        advance    = Signal(PixelEntry)
        next_pixel = Signal(PixelEntry)
        m.d.comb += walk.new_x.eq(walk.phase_x == walk.kernel.stride)
        m.d.comb += walk.new_y.eq(walk.phase_y == walk.kernel.stride)
        with m.If(walk.channel >= 0):
            m.d.sync += next_pixel.eq(PixelEntry.CHANNEL)
        with m.Elif(walk.column >= 0):
            m.d.sync += next_pixel.eq(Mux(walk.new_x, PixelEntry.COLUMN_NEW, PixelEntry.COLUMN))
        with m.Else():
            m.d.sync += next_pixel.eq(Mux(walk.new_y, PixelEntry.ROW_NEW, PixelEntry.ROW))
        with m.If(walk.across >= 0):
            m.d.comb += advance.eq(PixelEntry.ACROSS)
        with m.Elif(walk.down >= 0):
            m.d.comb += advance.eq(PixelEntry.DOWN)
        with m.Else():
            m.d.comb += advance.eq(next_pixel)
        return advance

    @staticmethod
    def _move(m, walk, step, loop_ends):
        """Take the step; each loop that ends starts again, and the one around it goes on."""
        m.d.sync += [
            walk.pointer.lane.eq(walk.pointer.lane + step.lane),
            walk.pointer.kernel_x.eq(walk.pointer.kernel_x + step.kernel_x),
            walk.pointer.window_x.eq(walk.pointer.window_x + step.window_x),
            walk.pointer.kernel_y.eq(walk.pointer.kernel_y + step.kernel_y),
            walk.pointer.window_y.eq(walk.pointer.window_y + step.window_y),
            walk.across.eq(Mux(walk.across < 0, walk.loops.turns, walk.across - 1)),
        ]
        with m.If(loop_ends[0]):
            m.d.sync += walk.down.eq(Mux(walk.down < 0, walk.loops.turns, walk.down - 1))
        with m.If(loop_ends[1]):
            m.d.sync += walk.channel.eq(Mux(walk.channel < 0, walk.loops.channels, walk.channel - 1))
        with m.If(loop_ends[2]):
            m.d.sync += walk.column.eq(Mux(walk.column < 0, walk.loops.columns, walk.column - 1))
            m.d.sync += walk.phase_x.eq(Mux(walk.column < 0, walk.kernel.phase, Mux(walk.new_x, 0, walk.phase_x + 1)))
        with m.If(loop_ends[3]):
            m.d.sync += walk.row.eq(walk.row - 1)
            m.d.sync += walk.phase_y.eq(Mux(walk.new_y, 0, walk.phase_y + 1))

    def _start(self, m, walk, step):
        """Go to the first window of an image's first pixel."""
        m.d.sync += [
            walk.pointer.eq(step),
            walk.pointer.lane[-1].eq(step.lane[-1] ^ self.buffer),
            walk.across.eq(walk.loops.turns),
            walk.down.eq(walk.loops.turns),
            walk.channel.eq(walk.loops.channels),
            walk.column.eq(walk.loops.columns),
            walk.row.eq(walk.loops.rows),
            walk.phase_x.eq(walk.kernel.phase),
            walk.phase_y.eq(walk.kernel.phase),
        ]
