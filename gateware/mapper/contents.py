"""What the memories of a circuit hold for one network: program, pixel table, weight rows and constants.

Every entry is packed by the layout with which the circuit reads it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth.lib import data

from arch.network import Convolution, Network, Readout, Reset
from gateware.engine.configuration import PLANES, EngineConfig
from gateware.engine.contents import MemoryContents
from gateware.engine.dot_product import weights_layout
from gateware.engine.pif import Current, constants_layout
from gateware.engine.program import PIXEL_ENTRIES, PixelEntry, countdown, pixel_layouts
from gateware.mapper.layer_program import LayerLoops, LayerSource, LayerTarget, layer_program
from gateware.mapper.packing import pack_entries, pack_modular
from gateware.mapper.plan import PlacedStage
from gateware.mapper.stages import Stage

__all__ = ["memory_contents"]

#: State of all loops of a program, outermost first.
_Loops = tuple[int, ...]


def memory_contents(network: Network, config: EngineConfig, stages: Sequence[PlacedStage]) -> MemoryContents:
    """Make the contents of all memories for a network whose ``stages`` have their places and fit ``config``."""
    return MemoryContents(
        weights=_weight_rows(config, stages),
        constants=_constants(network, config, stages),
        program=[entry for number in range(len(stages)) for entry in _layer_program(network, config, stages, number)],
        pixels=_pixel_table(network, config, stages[0]),
    )


def _pack_arrays(layout: data.StructLayout, bits: Mapping[str, npt.NDArray[np.bool_]]) -> npt.NDArray[np.object_]:
    """Pack arrays of entries, each field given as ``bool[..., width]``, lowest bit first; returns ``object[...]``."""
    packed: Any = 0
    for name, values in bits.items():
        field = layout[name]
        assert values.shape[-1] == field.width, (name, values.shape, field)
        packed = packed + (values * (1 << field.offset + np.arange(field.width, dtype=object))).sum(-1)
    return packed


def _countdowns(**counts: int) -> dict[str, int]:
    return {name: countdown(count) for name, count in counts.items()}


def _step(point: Callable[..., dict[str, int]], before: _Loops, after: _Loops) -> dict[str, int]:
    """Differences of the pointers between two states of the loops."""
    start, end = point(*before), point(*after)
    return {name: end[name] - start[name] for name in end}


def _layer_program(network: Network, config: EngineConfig, stages: Sequence[PlacedStage], number: int) -> list[int]:
    """Entries of the layer program for stage ``number``, by :class:`gateware.engine.program.LayerEntry`."""
    stage = stages[number]
    at    = stage.placement
    _, rows, columns = stage.target
    loops = LayerLoops(
        rows=rows, columns=columns, down=stage.pool, across=stage.pool, groups=at.groups, weight_row=at.row,
        first=LayerSource(address=at.source * config.slots, words=at.words, row_words=at.row_words, stride=at.stride,
                          padding=at.padding, kernel=at.kernel, run=at.run))
    # Windows are positions of the result; only a convolution of a map can leave its source.
    height = stage.computed[1] if number == 0 else stage.source[1]
    return layer_program(
        config, loops, source_size=(at.row_words, height),
        target=LayerTarget(address=at.target * config.slots,
                           position_slots=-(-stage.target[0] // config.width) * config.slots),
        mode={"neurons": _neuron_mode(network, config, stage, planes=number == 0 and config.pixels),
              "input": number == 0, "final": isinstance(stage.layer, Readout), "classes": network.classes})


def _neuron_mode(network: Network, config: EngineConfig, stage: Stage, *, planes: bool) -> dict[str, Any]:
    """What the PIF unit does in a stage (:func:`gateware.engine.pif.mode_layout`)."""
    timesteps = network.timesteps - 1
    if isinstance(stage.layer, Readout):
        return {"current": Current.SCORE, "hard": 0, "leaky": 0, "leak": 0, "scale": 0, "timesteps": timesteps}
    neurons = stage.layer.neurons
    shift   = neurons.leak_shift
    return {
        "current": Current.PLANES if planes else Current.STEPS,
        "hard": neurons.reset is Reset.ZERO,
        "leaky": shift is not None,
        # The membrane has fewer bits than a longer shift would move: the result is the sign, either way.
        "leak": 0 if shift is None else min(shift, config.membrane_width - 1),
        "scale": config.fraction - neurons.fraction,
        "timesteps": timesteps,
    }


def _pixel_table(network: Network, config: EngineConfig, stage: Stage) -> list[int]:
    """Entries of the window writer, in the order of :class:`PixelEntry`."""
    layouts = pixel_layouts(config)
    channels, height, width = stage.source
    _, rows, columns = stage.computed
    field  = stage.field
    whole  = not isinstance(stage.layer, Convolution)
    stride = field.stride
    turns  = stage.turns
    length = stage.window_length(config) * config.slice_width

    def point(y: int, x: int, channel: int, down: int, across: int) -> dict[str, int]:
        """Pointers in one state of the loops."""
        if whole:
            return {"lane": (y * width + x) * channels + channel,
                    "kernel_x": 0, "window_x": 0, "kernel_y": 0, "window_y": 0}
        window_y, kernel_y = divmod(y + field.padding, stride)
        window_x, kernel_x = divmod(x + field.padding, stride)
        window_y, kernel_y = window_y - down, kernel_y + down * stride
        window_x, kernel_x = window_x - across, kernel_x + across * stride
        return {"lane": (window_y * columns + window_x) * length
                        + (kernel_y * field.columns + kernel_x) * channels + channel,
                "kernel_x": kernel_x, "window_x": window_x, "kernel_y": kernel_y, "window_y": window_y}

    last = turns - 1
    end  = (channels - 1, last, last)

    def at_phase(size: int, new: bool) -> int | None:
        """Coordinate whose successor begins a new window, or does not."""
        return next((place for place in range(size - 1)
                     if ((place + field.padding) % stride == stride - 1) == new), None)

    steps: dict[int, dict[str, int]] = {
        PixelEntry.ACROSS:  _step(point, (0, 0, 0, 0, 0), (0, 0, 0, 0, 1)),
        PixelEntry.DOWN:    _step(point, (0, 0, 0, 0, last), (0, 0, 0, 1, 0)),
        PixelEntry.CHANNEL: _step(point, (0, 0, 0, last, last), (0, 0, 1, 0, 0)),
        PixelEntry.START:   point(0, 0, 0, 0, 0),
    }
    for entry, new in ((PixelEntry.COLUMN, False), (PixelEntry.COLUMN_NEW, True)):
        if (x := at_phase(width, new)) is not None:
            steps[entry] = _step(point, (0, x, *end), (0, x + 1, 0, 0, 0))
    for entry, new in ((PixelEntry.ROW, False), (PixelEntry.ROW_NEW, True)):
        if (y := at_phase(height, new)) is not None:
            steps[entry] = _step(point, (y, width - 1, *end), (y + 1, 0, 0, 0, 0))
    parameters: dict[int, dict[str, Any]] = {
        PixelEntry.LOOPS:   _countdowns(turns=turns, channels=channels, columns=width, rows=height),
        PixelEntry.KERNEL:  {"side": 1 if whole else field.rows, "stride": stride - 1,
                             "phase": field.padding % stride, "zero": network.input.zero_point},
        PixelEntry.WINDOWS: {"columns": columns, "rows": rows},
        PixelEntry.SIZES:   {"image_bytes": channels * height * width, "classes": network.classes},
    }
    return pack_entries(PIXEL_ENTRIES, layouts, steps, parameters)


def _weight_rows(config: EngineConfig, stages: Sequence[PlacedStage]) -> list[list[int]]:
    """Weight rows by lane, in the form of :func:`gateware.engine.dot_product.weights_layout`."""
    layout = weights_layout(config.width)
    lanes: list[list[int]] = [[] for _ in range(config.lanes)]
    for number, stage in enumerate(stages):
        weights, at = stage.weights, stage.placement
        out = len(weights)
        unused = (0, at.groups * config.lanes - out)
        if number == 0:
            # One window: kernel row, column, channel; the slices of a word carry other planes of the same pixels.
            flat  = weights.reshape(out, -1)
            flat  = np.pad(flat, (unused, (0, at.run * config.slice_width - flat.shape[1])))
            words = flat.reshape(-1, at.run, 1, config.slice_width).repeat(config.slices, axis=2)
        else:
            words = np.pad(weights, (unused, (0, 0), (0, 0), (0, -weights.shape[3] % config.width)))
        words = words.reshape(at.groups, config.lanes, at.sum_words, config.width)
        codes = _pack_arrays(layout, {"nonzero": words != 0, "negative": words < 0})
        for lane in range(config.lanes):
            lanes[lane] += [int(code) for code in codes[:, lane].reshape(-1)]
    return lanes


def _constants(network: Network, config: EngineConfig, stages: Sequence[PlacedStage]) -> list[int]:
    """Constants of all neurons, unused lanes included, in the form of :func:`gateware.engine.pif.constants_layout`."""
    layout = constants_layout(config)
    packed = []
    for number, stage in enumerate(stages):
        layer  = stage.layer
        flat   = layer.weights.reshape(len(layer.weights), -1).astype(np.int64)
        planes = config.pixels and number == 0
        for channel in range(stage.placement.groups * config.lanes):
            first = bias = threshold = 0
            if channel < len(flat):
                # What the array counts beyond the current: every negative weight, in every plane; and the zero point.
                offset = int((flat[channel] < 0).sum())
                if planes:
                    offset = offset * ((1 << PLANES) - 1) + network.input.zero_point * int(flat[channel].sum())
                if isinstance(layer, Readout):
                    first = -(network.timesteps * offset) << config.fraction
                else:
                    neurons = layer.neurons
                    scale   = config.fraction - neurons.fraction
                    initial = int(neurons.initial[channel])
                    if neurons.leak_shift is not None:
                        initial -= initial >> neurons.leak_shift
                    bias      = (int(neurons.bias[channel]) << scale) - (offset << config.fraction)
                    first     = bias + (initial << scale)
                    threshold = int(neurons.threshold[channel]) << scale
            packed.append(pack_modular(layout, {"first": first, "bias": bias, "threshold": threshold}))
    return packed
