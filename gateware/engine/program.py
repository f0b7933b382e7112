"""The programs of the engine's two memories of control: what the sequencer and the window writer read, entry by entry.

A layer is :func:`layer_entries` entries of the program memory, named by :class:`LayerEntry`; the window writer has one
set of :data:`PIXEL_ENTRIES` entries, named by :class:`PixelEntry`. In both, the first entries are steps: what is added
to the pointers when a loop advances. The others are parameters, which are read once into registers. Entries of
different shapes share a memory; each starts at bit 0.

Counters count down to minus one, so that the sign bit alone says "this is the last turn". In the layer program, their
turns are stored as one less than they are, which is what such a counter lacks when it begins again, and those of the
outermost loop, which never does, as the negative of that; in the table of the window writer, as :func:`countdown`
numbers, with which a counter begins.
"""

from amaranth import *
from amaranth.lib import data, enum

from gateware.engine.configuration import EngineConfig, bits_for
from gateware.engine.pif import mode_layout

__all__ = [
    "PIXEL_ENTRIES",
    "SECOND",
    "LayerEntry",
    "PixelEntry",
    "count_shape",
    "countdown",
    "layer_entries",
    "layer_layouts",
    "pixel_layouts",
    "pixel_width",
    "program_width",
]

#: Distance from a step of the first source of a layer to that of the second.
SECOND = 16
#: Entries of the window writer's memory.
PIXEL_ENTRIES = 16


class LayerEntry(enum.IntEnum, shape=unsigned(5)):
    """Entries of a layer in the program memory, by their place.

    Steps are what is added to the pointers. Eight are named for the loop that advances at the end of a kernel row,
    innermost first; with :data:`SECOND`, they are those of the second source. The entries from :attr:`SECOND_START`, or
    :attr:`LOOPS`, to :attr:`START` are read in this order when a layer begins. A streamed circuit has all entries, with
    time blocks, parts of a filter and a second source; the others have those below :data:`SECOND` without blocks, parts
    and the start of a second source.
    """

    #: To the next row of the kernel.
    KERNEL        = 0
    #: To the next position of the pooling window, in its row.
    ACROSS        = 1
    #: To the next row of the pooling window.
    DOWN          = 2
    #: To the next block of timesteps, at the first position of the pooling window again.
    BLOCK         = 3
    #: To the next position of the (pooled) map, in its row.
    COLUMN        = 4
    #: To the next row of the (pooled) map.
    ROW           = 5
    #: To the next part of the filters, at the first position again.
    PART          = 6
    #: To the next group of output channels, at the first position again.
    GROUP         = 7
    #: To the next word of a kernel row.
    WORD          = 8
    #: First word of the second source: its address only.
    SECOND_START  = 9
    #: Turns of the inner loops, and groups of output channels.
    LOOPS         = 10
    #: Turns of the outer loops: the (pooled) map.
    SIZES         = 11
    #: Extent of the source map, beyond which is padding.
    SOURCE        = 12
    #: Where the result goes.
    TARGET        = 13
    #: What the neurons do.
    MODE          = 14
    #: From zero to the first word of the layer.
    START         = 15
    #: The steps of the second source. Those that end its turn lead to the first source, at its next position.
    SECOND_KERNEL = 16
    SECOND_ACROSS = 17
    SECOND_DOWN   = 18
    SECOND_BLOCK  = 19
    SECOND_COLUMN = 20
    SECOND_ROW    = 21
    SECOND_PART   = 22
    SECOND_GROUP  = 23

    @property
    def is_step(self) -> bool:
        """Whether the entry is what is added to the pointers, not a parameter."""
        return self <= LayerEntry.SECOND_START or self >= LayerEntry.START

    def exists(self, config: EngineConfig) -> bool:
        """Whether a circuit reads the entry."""
        if self % SECOND == LayerEntry.BLOCK:
            return config.blocks > 1
        return config.streamed or (self < SECOND and self not in (LayerEntry.PART, LayerEntry.SECOND_START))


class PixelEntry(enum.IntEnum, shape=unsigned(4)):
    """Entries of the window writer's memory, by their place.

    The first eight are steps, named for the loop that advances, innermost first; those after the last are not used.
    """

    #: To the next window to the left that shares the pixel.
    ACROSS     = 0
    #: To the next row of windows above.
    DOWN       = 1
    #: To the next channel of the pixel.
    CHANNEL    = 2
    #: To the next pixel, same windows.
    COLUMN     = 3
    #: To the next pixel, which begins a new window.
    COLUMN_NEW = 4
    #: To the first pixel of the next row, same row of windows.
    ROW        = 5
    #: To the first pixel of the next row, which begins a new row of windows.
    ROW_NEW    = 6
    #: From zero to the first window of the first pixel.
    START      = 7
    #: Turns of the loops.
    LOOPS      = 8
    #: The kernel of the first layer, and the value of padding.
    KERNEL     = 9
    #: Number of windows.
    WINDOWS    = 10
    #: Lengths of an image and of a result.
    SIZES      = 11

    @property
    def is_step(self) -> bool:
        """Whether the entry is what is added to the pointers, not a parameter."""
        return self <= PixelEntry.START


def countdown(count: int) -> int:
    """Encode a number of turns, 1 or more, for a counter that ends when it is negative."""
    assert count >= 1, count
    return count - 2


def count_shape(width: int) -> Shape:
    """Shape of a counter for up to ``2 ** width`` turns."""
    return signed(width + 1)


def layer_entries(config: EngineConfig) -> int:
    """Places of a layer in the program memory."""
    return 2 * SECOND if config.streamed else SECOND


def layer_layouts(config: EngineConfig) -> dict[int, data.StructLayout]:
    """Describe the entries of a layer, by :class:`LayerEntry`; all steps have one layout.

    Addresses count slots, of which a word has :attr:`EngineConfig.slots`. Turns are stored minus one.
    """
    step = data.StructLayout({
        "address": config.slot_address_width,
        "x":       config.x_width,
        "y":       config.side_width,
        "row":     config.row_width,
        "run":     config.run_width + 1,                 # words that are left of the kernel row, modulo
    })
    layouts = {
        **{entry: step for entry in LayerEntry if entry.is_step},
        LayerEntry.LOOPS: data.StructLayout({
            "kernel":  3,                                # rows of the kernel
            "across":  3,                                # columns of the pooling window
            "down":    3,                                # rows of the pooling window
            **({
                "second": 3,                             # rows of the kernel of the second source
                "block":  bits_for(config.blocks - 1),   # blocks of timesteps
                "part":   4,                             # parts of the filters
            } if config.streamed else {}),
            "groups":  signed(config.groups_width + 1),  # groups of output channels, minus one, negative
        }),
        LayerEntry.SIZES: data.StructLayout({
            "columns": config.side_width,                # columns of the (pooled) map
            "rows":    config.side_width,                # rows of the (pooled) map
            # Words of a segment, a countdown: it is cut short by the end of a source.
            **({"segment": count_shape(bits_for(config.max_segment))} if config.streamed else {}),
        }),
        LayerEntry.SOURCE: data.StructLayout({
            "words":   config.x_width,                   # words of a row of the source map
            "height":  config.side_width,                # rows of the source map
        }),
        LayerEntry.TARGET: data.StructLayout({
            "address": config.slot_address_width,        # one before the first slot of the result
            "advance": config.advance_width,             # slots from the (last block of) a position to the next one
            **({"block": config.slot_address_width} if config.blocks > 1 else {}),  # ... from block to block
        }),
        LayerEntry.MODE: data.StructLayout({
            "neurons": mode_layout(config),
            "input":   1,                                # reads the image buffer
            "final":   1,                                # readout: ends the program
            "classes": bits_for(config.classes),         # of the readout
            **({
                "second": 1,                             # each sum has a second source
                "reuse":  1,                             # ... which runs through the rows of the first
                "summed": 1,                             # a sum spans the pooling window
                "padded": 1,                             # padding reads as 1 in the last timestep of the last slice
            } if config.streamed else {}),
        }),
    }
    return {entry: layouts[entry] for entry in LayerEntry if entry.exists(config)}


def program_width(config: EngineConfig) -> int:
    """Bits of an entry of the program memory."""
    return max(layout.size for layout in layer_layouts(config).values())


def pixel_layouts(config: EngineConfig) -> dict[int, data.StructLayout]:
    """Describe the entries of the window writer's memory, by :class:`PixelEntry`; all steps have one layout."""
    lane_width = config.address_width + (config.slice_width - 1).bit_length()
    step = data.StructLayout({
        "lane":     lane_width,                          # word address and lane of a slice
        "kernel_x": 4,
        "window_x": config.side_width,
        "kernel_y": 4,
        "window_y": config.side_width,
    })
    return {
        **{entry: step for entry in PixelEntry if entry.is_step},
        PixelEntry.LOOPS: data.StructLayout({
            "turns":    count_shape(3),                  # windows a side that share a pixel
            "channels": count_shape(6),
            "columns":  count_shape(config.side_width),
            "rows":     count_shape(config.side_width),
        }),
        PixelEntry.KERNEL: data.StructLayout({
            "side":     4,                               # of the kernel
            "stride":   3,                               # minus one
            "phase":    3,                               # padding modulo stride
            "zero":     8,                               # value of a padding pixel
        }),
        PixelEntry.WINDOWS: data.StructLayout({
            "columns":  config.side_width,
            "rows":     config.side_width,
        }),
        PixelEntry.SIZES: data.StructLayout({
            "image_bytes": 16,
            "classes":     bits_for(config.classes),
        }),
    }


def pixel_width(config: EngineConfig) -> int:
    """Bits of an entry of the window writer's memory."""
    return max(layout.size for layout in pixel_layouts(config).values())
