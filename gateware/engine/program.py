"""The layer program: what the sequencer and the window writer read, entry by entry.

A layer is :data:`LAYER_ENTRIES` entries of the program memory: one entry per :class:`Step` and then the parameters
that the sequencer keeps in registers. Entries of different shapes share the memory; each starts at bit 0.

Counters are stored as :func:`countdown` numbers: two less than what is counted, signed, so that the sign bit alone says
"this is the last one".
"""

from amaranth import *
from amaranth.lib import data, enum

from gateware.engine.configuration import EngineConfig, bits_for
from gateware.engine.pif import mode_layout

__all__ = [
    "LAYER_ENTRIES",
    "PIXEL_ENTRIES",
    "PixelStep",
    "Step",
    "count_shape",
    "countdown",
    "layer_layouts",
    "pixel_layouts",
    "program_width",
]

#: Entries of one layer in the program memory.
LAYER_ENTRIES = 16
#: Entries of the window writer's memory.
PIXEL_ENTRIES = 16


class Step(enum.IntEnum, shape=unsigned(4)):
    """Loop that advances at the end of a kernel row, innermost first, and the number of its entry."""

    #: To the next row of the kernel.
    KERNEL  = 0
    #: To the next position of the pooling window, in its row.
    ACROSS  = 1
    #: To the next row of the pooling window.
    DOWN    = 2
    #: To the next group of output channels, same position.
    GROUP   = 3
    #: To the next position of the (pooled) map, in its row.
    COLUMN  = 4
    #: To the next row of the (pooled) map.
    ROW     = 5
    #: From zero to the first word of the layer.
    START   = 6


class PixelStep(enum.IntEnum, shape=unsigned(4)):
    """Loop of the window writer that advances, innermost first, and the number of its entry."""

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


def countdown(count: int) -> int:
    """Encode a number of turns, 1 or more, for a counter that ends when it is negative."""
    assert count >= 1, count
    return count - 2


def count_shape(width: int) -> Shape:
    """Shape of a counter for up to ``2 ** width`` turns."""
    return signed(width + 1)


def layer_layouts(config: EngineConfig) -> dict[str, data.StructLayout]:
    """Describe the entries of a layer: ``step`` and, by entry number, the parameters."""
    return {
        "step": data.StructLayout({
            "address": config.address_width,
            "x":       config.x_width,
            "y":       config.side_width,
            "row":     config.row_width,
        }),
        # Entry 8
        "loops": data.StructLayout({
            "run":     count_shape(config.run_width),    # words of a kernel row
            "kernel":  count_shape(3),                   # rows of the kernel
            "pool":    count_shape(3),                   # side of the pooling window
            "groups":  count_shape(config.group_width),  # groups of output channels
        }),
        # Entry 9
        "sizes": data.StructLayout({
            "columns": count_shape(config.side_width),   # columns of the (pooled) map
            "rows":    count_shape(config.side_width),   # rows of the (pooled) map
        }),
        # Entry 10
        "source": data.StructLayout({
            "words":   config.x_width,                   # words of a row of the source map
            "height":  config.side_width,                # rows of the source map
        }),
        # Entry 11
        "target": data.StructLayout({
            "address": config.address_width,             # first word of the result
            "group":   config.group_width,               # first group of constants
            "windows": count_shape(6),                   # positions of the pooling window
        }),
        # Entry 12
        "mode": data.StructLayout({
            "neurons": mode_layout(config),
            "input":   1,                                # reads the image buffer
            "final":   1,                                # readout: ends the program
            "classes": bits_for(config.classes),         # of the readout
        }),
    }


def program_width(config: EngineConfig) -> int:
    """Bits of an entry of the program memory."""
    return max(layout.size for layout in layer_layouts(config).values())


def pixel_layouts(config: EngineConfig) -> dict[str, data.StructLayout]:
    """Describe the entries of the window writer: ``step`` and, by entry number, the parameters."""
    lane_width = config.address_width + (config.slice_width - 1).bit_length()
    return {
        "step": data.StructLayout({
            "lane":     lane_width,                      # word address and lane of a slice
            "kernel_x": 4,
            "window_x": config.side_width,
            "kernel_y": 4,
            "window_y": config.side_width,
        }),
        # Entry 8
        "loops": data.StructLayout({
            "turns":    count_shape(3),                  # windows a side that share a pixel
            "channels": count_shape(6),
            "columns":  count_shape(config.side_width),
            "rows":     count_shape(config.side_width),
        }),
        # Entry 9
        "kernel": data.StructLayout({
            "side":     4,                               # of the kernel
            "stride":   3,                               # minus one
            "phase":    3,                               # padding modulo stride
            "zero":     8,                               # value of a padding pixel
        }),
        # Entry 10
        "windows": data.StructLayout({
            "columns":  config.side_width,
            "rows":     config.side_width,
        }),
        # Entry 11
        "sizes": data.StructLayout({
            "image_bytes": 16,
            "classes":     bits_for(config.classes),
        }),
    }
