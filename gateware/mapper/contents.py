"""What the memories of a circuit hold for one network: program, pixel table, weight rows and constants.

Every entry is packed by the layout with which the circuit reads it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth.hdl import Shape as AmaranthShape
from amaranth.lib import data

from arch.network import Convolution, Network, Readout, Reset
from gateware.engine.configuration import PLANES, EngineConfig
from gateware.engine.contents import MemoryContents
from gateware.engine.dot_product import weights_layout
from gateware.engine.pif import Current, constants_layout
from gateware.engine.program import (
    LAYER_ENTRIES,
    PIXEL_ENTRIES,
    LayerEntry,
    PixelEntry,
    countdown,
    layer_layouts,
    pixel_layouts,
)
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


def _pack(layout: data.StructLayout, values: Mapping[str, Any]) -> int:
    """Pack an entry whose numbers fit: the limits of the circuit were checked before."""
    _check_fit(layout, values)
    return int(layout.const(values).as_value().value)


def _check_fit(layout: data.StructLayout, values: Mapping[str, Any]) -> None:
    """Amaranth truncates what does not fit a field."""
    assert values.keys() == set(dict(layout)), (list(values), layout)
    for name, value in values.items():
        if isinstance(value, Mapping):
            _check_fit(layout[name].shape, value)
            continue
        shape = AmaranthShape.cast(layout[name].shape)
        low, high = (-(1 << shape.width - 1), 1 << shape.width - 1) if shape.signed else (0, 1 << shape.width)
        assert low <= int(getattr(value, "value", value)) < high, (name, value, shape)


def _pack_modular(layout: data.StructLayout, values: Mapping[str, int]) -> int:
    """Pack numbers that are meant modulo their width: pointers, their differences, biases."""
    return _pack(layout, {name: value % (1 << layout[name].width) for name, value in values.items()})


def _pack_entries(count: int, layouts: Mapping[int, data.StructLayout], steps: Mapping[int, Mapping[str, int]],
                  parameters: Mapping[int, Mapping[str, Any]]) -> list[int]:
    """Pack a program of ``count`` entries: steps of pointers, which wrap, and parameters, which must fit."""
    entries = [0] * count
    for entry, pointers in steps.items():
        entries[entry] = _pack_modular(layouts[entry], pointers)
    for entry, values in parameters.items():
        entries[entry] = _pack(layouts[entry], values)
    return entries


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
    """Entries of the layer program for stage ``number``, in the order of :class:`LayerEntry`."""
    layouts, stage = layer_layouts(config), stages[number]
    _, rows, columns = stage.target
    pool, at = stage.pool, stage.placement

    def point(group: int, row: int, column: int, down: int, across: int, kernel: int, word: int) -> dict[str, int]:
        """Pointers in one state of the loops."""
        y = (row * pool + down) * at.stride - at.padding + kernel
        x = ((column * pool + across) * at.stride - at.padding) * at.words + word
        return {"address": (at.source + y * at.row_words + x) * config.slots, "x": x, "y": y,
                "row": at.row + (group * at.kernel + kernel) * at.run + word, "run": at.run - 2 - word}

    end, last = at.run - 1, pool - 1
    final = (at.kernel - 1, end)
    start = point(0, 0, 0, 0, 0, 0, 0)
    steps: dict[int, dict[str, int]] = {
        LayerEntry.KERNEL: _step(point, (0, 0, 0, 0, 0, 0, end), (0, 0, 0, 0, 0, 1, 0)),
        LayerEntry.ACROSS: _step(point, (0, 0, 0, 0, 0, *final), (0, 0, 0, 0, 1, 0, 0)),
        LayerEntry.DOWN:   _step(point, (0, 0, 0, 0, last, *final), (0, 0, 0, 1, 0, 0, 0)),
        LayerEntry.COLUMN: _step(point, (0, 0, 0, last, last, *final), (0, 0, 1, 0, 0, 0, 0)),
        LayerEntry.ROW:    _step(point, (0, 0, columns - 1, last, last, *final), (0, 1, 0, 0, 0, 0, 0)),
        LayerEntry.GROUP:  _step(point, (0, rows - 1, columns - 1, last, last, *final), (1, 0, 0, 0, 0, 0, 0)),
        # The pointers begin at zero, and the turns of a loop with the -1 that ends it.
        LayerEntry.START:  {**start, "run": start["run"] + 1},
        LayerEntry.WORD:   _step(point, (0, 0, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0, 1)),
    }
    # Windows are positions of the result; only a convolution of a map can leave its source.
    height = stage.computed[1] if number == 0 else stage.source[1]
    words  = -(-stage.target[0] // config.width)
    parameters: dict[int, dict[str, Any]] = {
        LayerEntry.LOOPS:  {"kernel": at.kernel - 1, "pool": pool - 1, "groups": at.groups - 1},
        LayerEntry.SIZES:  {"columns": columns - 1, "rows": rows - 1},
        LayerEntry.SOURCE: {"words": at.row_words, "height": height},
        LayerEntry.TARGET: {"address": (at.target * config.slots - 1) % (1 << config.slot_address_width),
                            "advance": words * config.slots},
        LayerEntry.MODE:   {"neurons": _neuron_mode(network, config, stage, planes=number == 0 and config.pixels),
                            "input": number == 0, "final": isinstance(stage.layer, Readout),
                            "classes": network.classes},
    }
    return _pack_entries(LAYER_ENTRIES, layouts, steps, parameters)


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
    return _pack_entries(PIXEL_ENTRIES, layouts, steps, parameters)


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
            packed.append(_pack_modular(layout, {"first": first, "bias": bias, "threshold": threshold}))
    return packed
