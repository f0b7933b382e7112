"""Fits an integer network to a circuit: chooses the parameters, lays out the memories, writes the program.

The mapper is where a network that cannot run is told so; below it, everything fits.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from amaranth.hdl import Shape as Shape_
from amaranth.lib import data

from arch.network import Convolution, Encoding, FullyConnected, Network, OrPool, Readout, Reset, Shape, shortcut_of
from arch.widths import layer_widths
from boards.board import Board
from gateware.engine.configuration import PLANES, ConfigError, EngineConfig, bits_for
from gateware.engine.contents import MemoryContents
from gateware.engine.pif import Current, constants_layout
from gateware.engine.program import (
    LAYER_ENTRIES,
    PIXEL_ENTRIES,
    PixelStep,
    Step,
    countdown,
    layer_layouts,
    pixel_layouts,
)

__all__ = [
    "Plan", "Schedule", "Stage", "choose_config", "map_network", "plan_for_board", "stages_of", "synaptic_operations",
]

#: Largest image that a frame of the host link holds (:mod:`arch.link`), in bytes.
MAX_IMAGE_BYTES = 65535


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One pass of the engine: a layer with weights and the OR-pool behind it, if any."""

    #: Index of the layer with the weights, in ``network.layers``.
    index: int
    #: The layer with the weights.
    layer: Convolution | FullyConnected | Readout
    #: Side of the OR-pool behind it; 1 without.
    pool: int
    #: Shape of the source map.
    source: Shape
    #: Shape before the pool; positions that the pool drops are not computed.
    computed: Shape
    #: Shape of the result.
    target: Shape

    @property
    def last_index(self) -> int:
        """Index of the layer whose output this stage writes."""
        return self.index + (self.pool > 1)

    @property
    def name(self) -> str:
        """Name for messages."""
        return f"layer {self.index} ({self.layer.kind})"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """Where a stage's operands are, in the units of the engine."""

    #: First word of the source map, or of image buffer 0.
    source: int
    #: First word of the result.
    target: int
    #: Rows of a kernel; 1 if the whole receptive field is contiguous.
    kernel: int
    #: Words of a kernel row.
    run: int
    #: Words of a row of the source map.
    row_words: int
    #: Words of a position.
    words: int
    #: Step between receptive fields, in positions.
    stride: int
    #: Padding that is read as zero words.
    padding: int
    #: Groups of output channels.
    groups: int
    #: First weight row.
    row: int
    #: First group of constants.
    group: int

    @property
    def sum_words(self) -> int:
        """Words of one sum."""
        return self.kernel * self.run


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Plan:
    """A network laid out for one circuit."""

    network: Network
    config: EngineConfig
    stages: tuple[Stage, ...]
    schedules: tuple[Schedule, ...]
    contents: MemoryContents

    @property
    def weight_rows(self) -> int:
        """Weight rows in use."""
        last = self.schedules[-1]
        return last.row + last.groups * last.sum_words

    @property
    def maps_are_apart(self) -> bool:
        """Whether every map has a place of its own, so that all can be read after an inference."""
        places = sorted((schedule.target, schedule.target + _map_words(self.config, stage.target))
                        for stage, schedule in zip(self.stages[:-1], self.schedules[:-1], strict=True))
        return all(before[1] <= after[0] for before, after in itertools.pairwise(places))

    @property
    def spike_words(self) -> int:
        """Highest spike memory word in use, plus one."""
        ends = [self.config.spike_words // 2 + _window_words(self.config, self.stages[0])]
        for stage, schedule in zip(self.stages[:-1], self.schedules[:-1], strict=True):
            ends.append(schedule.target + _map_words(self.config, stage.target))
        return max(ends)


def stages_of(network: Network) -> tuple[Stage, ...]:
    """Join every layer with the OR-pool behind it.

    Raises
    ------
    :exc:`ConfigError`
        If an OR-pool does not follow a layer with weights, the readout comes first, or a layer sums what the array
        does not: spikes of two maps, or currents of windows.
    """
    stages: list[Stage] = []
    for index, (layer, source, target) in enumerate(network.shapes()):
        name = f"layer {index} ({layer.kind})"
        if shortcut_of(layer) is not None:
            raise ConfigError(f"{name}: adds the spikes of layer {shortcut_of(layer)}: summed spikes do not run on the "
                              f"array, only on the reference: train it without the shortcut")
        if isinstance(layer, Convolution) and layer.pool > 1:
            raise ConfigError(f"{name}: sums the currents of {layer.pool} x {layer.pool} windows: pooled currents do "
                              f"not run on the array, only on the reference: train it with an or-pool instead")
        if isinstance(layer, OrPool):
            before = stages[-1]
            if before.pool > 1:
                raise ConfigError(f"layer {index} (or-pool) must follow a layer with weights, not another or-pool")
            channels, rows, columns = target
            stages[-1] = dataclasses.replace(
                before, pool=layer.size, target=target, computed=(channels, rows * layer.size, columns * layer.size))
        else:
            stages.append(Stage(index=index, layer=layer, pool=1, source=source, computed=target, target=target))
    if isinstance(stages[0].layer, Readout) and network.input.encoding is Encoding.PIXELS:
        raise ConfigError("layer 0 (readout) must follow a layer with neurons: it cannot read pixels")
    return tuple(stages)


def _field(stage: Stage) -> tuple[int, int, int, int]:
    """Kernel rows and columns, stride and padding of a stage; a fully connected one sees the map at once."""
    if isinstance(stage.layer, Convolution):
        return stage.layer.kernel, stage.layer.kernel, stage.layer.stride, stage.layer.padding
    return stage.source[1], stage.source[2], 1, 0


def _weights(stage: Stage) -> np.ndarray:
    """Weights as ``[out, kernel row, kernel column, in]``."""
    weights = stage.layer.weights
    return weights.reshape(len(weights), stage.source[0], *_field(stage)[:2]).transpose(0, 2, 3, 1)


def _map_words(config: EngineConfig, shape: Shape) -> int:
    return -(-shape[0] // config.width) * shape[1] * shape[2]


def _window_length(config: EngineConfig, stage: Stage) -> int:
    """Words of one packed window."""
    rows, columns, _, _ = _field(stage)
    return -(-rows * columns * stage.source[0] // config.slice_width)


def _window_counts(stage: Stage) -> tuple[int, int]:
    """Rows and columns of windows: those of the positions computed."""
    return stage.computed[1], stage.computed[2]


def _window_words(config: EngineConfig, stage: Stage) -> int:
    rows, columns = _window_counts(stage)
    return rows * columns * _window_length(config, stage)


def _check(name: str, what: str, value: int, limit: int, remedy: str) -> None:
    if value > limit:
        raise ConfigError(f"{name}: {what} must be at most {limit}, not {value}: {remedy}")


def _schedule(config: EngineConfig, stages: tuple[Stage, ...]) -> tuple[Schedule, ...]:
    """Place weights, constants and maps; raises :exc:`ConfigError` when memory runs out."""
    half = config.spike_words // 2
    buffer_words = _window_words(config, stages[0])
    _check(stages[0].name, "words of packed windows", buffer_words, half,
           "use a smaller image, a larger stride or a smaller kernel")

    # Every map in a place of its own if they fit (then a simulation can read all of them back), else the maps take
    # turns at both ends of what the image buffers leave.
    sizes  = [_map_words(config, stage.target) for stage in stages[:-1]]
    places = _place_apart(sizes, [(buffer_words, half), (half + buffer_words, config.spike_words)])
    if places is None:
        low, high = half + buffer_words, config.spike_words
        places = [low if number % 2 == 0 else high - size for number, size in enumerate(sizes)]
        for number, (place, size) in enumerate(zip(places, sizes, strict=True)):
            fits = low <= place and place + size <= high
            if number and fits:
                before = (places[number - 1], places[number - 1] + sizes[number - 1])
                fits = place >= before[1] or place + size <= before[0]
            if not fits:
                raise ConfigError(f"{stages[number].name}: its spikes take {size} words of spike memory and those of "
                                  f"the layer before must stay: {high - low} words are not enough")

    schedules, row, group = [], 0, 0
    for number, stage in enumerate(stages):
        groups = -(-stage.target[0] // config.lanes)
        rows, columns, stride, padding = _field(stage)
        if number == 0:
            length = _window_length(config, stage)
            place = {"kernel": 1, "run": length, "row_words": length * _window_counts(stage)[1], "words": length,
                     "stride": 1, "padding": 0}
        else:
            words = -(-stage.source[0] // config.width)
            if isinstance(stage.layer, Convolution):
                place = {"kernel": rows, "run": columns * words, "row_words": stage.source[2] * words, "words": words,
                         "stride": stride, "padding": padding}
            else:
                length = rows * columns * words
                place = {"kernel": 1, "run": length, "row_words": length, "words": length, "stride": 1, "padding": 0}
        schedules.append(Schedule(
            source=0 if number == 0 else places[number - 1],
            target=places[number] if number < len(places) else 0,
            groups=groups, row=row, group=group, **place))
        row   += groups * schedules[-1].sum_words
        group += groups
    return tuple(schedules)


def _place_apart(sizes: list[int], spaces: list[tuple[int, int]]) -> list[int] | None:
    free = [list(space) for space in spaces]
    places = []
    for size in sizes:
        for space in free:
            if space[1] - space[0] >= size:
                places.append(space[0])
                space[0] += size
                break
        else:
            return None
    return places


def _membrane_bits(network: Network, stages: tuple[Stage, ...], fraction: int) -> list[int]:
    """Bits that the PIF unit needs for each stage: membranes and what they lack to the threshold; last, the scores."""
    widths = list(layer_widths(network))
    bits = []
    for stage in stages:
        if isinstance(stage.layer, Readout):
            continue
        layer = widths[stage.index]
        assert layer is not None
        assert layer.membrane is not None
        assert layer.difference is not None
        shift = fraction - stage.layer.neurons.fraction
        low  = min(layer.membrane.low, layer.difference.low, -int(stage.layer.neurons.threshold.max()))
        high = max(layer.membrane.high, layer.difference.high, int(stage.layer.neurons.threshold.max()))
        bits.append(_signed_bits(low << shift, high << shift))
    # Scores leave through the adder of the first timestep.
    scores = network.timesteps * int(np.count_nonzero(stages[-1].layer.weights, axis=1).max())
    return [*bits, fraction + _signed_bits(-scores, scores)]


def _signed_bits(least: int, most: int) -> int:
    return max((~least if least < 0 else least).bit_length(), (~most if most < 0 else most).bit_length()) + 1


def choose_config(network: Network, *, lanes: int, width: int, timesteps: int, spike_words: int,
                  weight_rows: int) -> EngineConfig:
    """Choose the smallest widths and depths with which a circuit of this geometry runs the network.

    Parameters
    ----------
    network : :class:`Network`
    lanes, width, timesteps : :class:`int`
        P, W and T of the array.
    spike_words, weight_rows : :class:`int`
        Depth of the memories, from the board.

    Raises
    ------
    :exc:`ConfigError`
        If no circuit of this geometry runs the network.
    """
    stages = stages_of(network)
    pixels = network.input.encoding is Encoding.PIXELS
    base   = EngineConfig(lanes=lanes, width=width, timesteps=timesteps, pixels=pixels, spike_words=spike_words,
                          weight_rows=weight_rows)
    schedules = _schedule(base, stages)
    neurons   = [stage.layer.neurons for stage in stages if not isinstance(stage.layer, Readout)]
    fraction  = max((item.fraction for item in neurons), default=0)
    return dataclasses.replace(
        base,
        accumulator_width=max(2, base.sum_width if pixels else 0, _accumulator_bits(base, stages)),
        membrane_width=max(fraction + 2, *_membrane_bits(network, stages, fraction)),
        fraction=fraction,
        hard_reset=any(item.reset is Reset.ZERO for item in neurons),
        leak=any(item.leak_shift is not None for item in neurons),
        channel_groups=max(2, schedules[-1].group + schedules[-1].groups),
        layers=max(2, len(stages)),
        max_run=max(schedule.run for schedule in schedules),
        max_side=max(_side(stage) for stage in stages),
        max_row_words=max(_row_words(schedule) for schedule in schedules),
        classes=network.classes,
    )


def _accumulator_bits(config: EngineConfig, stages: tuple[Stage, ...]) -> int:
    """Bits of the largest count: every synapse that is not zero counts one, in each slice of a word of pixels."""
    counts = []
    for number, stage in enumerate(stages):
        nonzero = int(np.count_nonzero(stage.layer.weights.reshape(len(stage.layer.weights), -1), axis=1).max())
        planes  = config.pixels and number == 0
        counts.append(nonzero * sum(1 << (part * config.timesteps) for part in range(config.slices)) if planes
                      else nonzero)
    return bits_for(max(counts))


def _side(stage: Stage) -> int:
    """Largest coordinate of a stage's maps; those of the source begin and end in the padding."""
    padding = _field(stage)[3]
    return max(*(side + padding for side in stage.source[1:]), *stage.computed[1:], *stage.target[1:])


def _row_words(schedule: Schedule) -> int:
    """Largest coordinate within a row of the source map, in words; a row ends in the padding."""
    return schedule.row_words + schedule.padding * schedule.words


def _check_limits(network: Network, config: EngineConfig, stages: tuple[Stage, ...],
                  schedules: tuple[Schedule, ...]) -> None:
    pixels = network.input.encoding is Encoding.PIXELS
    if pixels != config.pixels:
        raise ConfigError(f"network: its input must be {'pixels' if config.pixels else 'events'} for this circuit, "
                          f"not {network.input.encoding.value}")
    _check("network", "timesteps", network.timesteps, config.timesteps, "choose a circuit with more timesteps")
    _check("network", "layers with weights", len(stages), config.layers, "choose a circuit with a longer program")
    _check("input", "bytes of an image", math.prod(network.input.shape), MAX_IMAGE_BYTES, "use a smaller image")
    _check("network", "classes", network.classes, config.classes, "choose a circuit with more classes")
    rows   = schedules[-1].row + schedules[-1].groups * schedules[-1].sum_words
    groups = schedules[-1].group + schedules[-1].groups
    _check("network", f"weight rows of {config.lanes} x {config.width}", rows, config.weight_rows,
           "use fewer or smaller layers")
    _check("network", f"groups of {config.lanes} channels", groups, config.channel_groups,
           "use fewer channels in all layers together")
    _check("network", "accumulator bits", _accumulator_bits(config, stages), config.accumulator_width,
           "choose a circuit with wider accumulators")
    for stage in stages:
        if not isinstance(stage.layer, Readout):
            _check(stage.name, "fractional bits", stage.layer.neurons.fraction, config.fraction, "export it with fewer")
    membranes = iter(_membrane_bits(network, stages, config.fraction))
    for stage, schedule in zip(stages, schedules, strict=True):
        _check(stage.name, "words of a kernel row", schedule.run, config.max_run, "use a smaller map or fewer channels")
        _check(stage.name, "words of a map row", _row_words(schedule), config.max_row_words,
               "use a narrower map or fewer channels")
        _check(stage.name, "side of its maps", _side(stage), config.max_side, "use a smaller map")
        _check(stage.name, "membrane bits", next(membranes), config.membrane_width,
               "choose a circuit with a wider membrane")
        if isinstance(stage.layer, Readout):
            continue
        neurons = stage.layer.neurons
        if neurons.reset is Reset.ZERO and not config.hard_reset:
            raise ConfigError(f"{stage.name}: this circuit has no hard reset")
        if neurons.leak_shift is not None and not config.leak:
            raise ConfigError(f"{stage.name}: this circuit has no leak")


def _countdowns(**counts: int) -> dict[str, int]:
    return {name: countdown(count) for name, count in counts.items()}


def _modular(layout: data.StructLayout, values: dict[str, int]) -> int:
    """Pack numbers that are meant modulo their width: pointers, their differences, biases."""
    return layout.const({name: value % (1 << layout[name].width) for name, value in values.items()}).as_value().value


def _const(layout: data.StructLayout, values: dict[str, Any]) -> int:
    """Pack an entry whose numbers fit: the limits of the circuit were checked before."""
    for name, value in values.items():
        if isinstance(value, int):
            shape = Shape_.cast(layout[name].shape)
            low, high = (-(1 << shape.width - 1), 1 << shape.width - 1) if shape.signed else (0, 1 << shape.width)
            assert low <= value < high, (name, value, shape)
    return layout.const(values).as_value().value


def _steps(point: Callable[..., dict[str, int]], pairs: dict[int, tuple[tuple, tuple] | None]) -> dict[int, dict]:
    """Turn pairs of loop states into pointer differences."""
    steps = {}
    for number, pair in pairs.items():
        if pair is None:
            continue
        before, after = point(*pair[0]), point(*pair[1])
        steps[number] = {name: after[name] - before[name] for name in after}
    return steps


def _program(config: EngineConfig, network: Network, stages: tuple[Stage, ...],
             schedules: tuple[Schedule, ...]) -> list[int]:
    layouts = layer_layouts(config)
    program = []
    for number, (stage, at) in enumerate(zip(stages, schedules, strict=True)):
        _, rows, columns = stage.target
        pool = stage.pool

        def point(row: int, column: int, group: int, down: int, across: int, kernel: int, run: int,
                  at: Schedule = at, pool: int = pool) -> dict[str, int]:
            """Pointers in one state of the loops."""
            y = (row * pool + down) * at.stride - at.padding + kernel
            x = ((column * pool + across) * at.stride - at.padding) * at.words + run
            return {"address": at.source + y * at.row_words + x, "x": x, "y": y,
                    "row": at.row + (group * at.kernel + kernel) * at.run + run}

        end, last = at.run - 1, pool - 1
        final = (at.kernel - 1, end)
        steps = _steps(point, {
            Step.KERNEL: ((0, 0, 0, 0, 0, 0, end), (0, 0, 0, 0, 0, 1, 0)),
            Step.ACROSS: ((0, 0, 0, 0, 0, *final), (0, 0, 0, 0, 1, 0, 0)),
            Step.DOWN:   ((0, 0, 0, 0, last, *final), (0, 0, 0, 1, 0, 0, 0)),
            Step.GROUP:  ((0, 0, 0, last, last, *final), (0, 0, 1, 0, 0, 0, 0)),
            Step.COLUMN: ((0, 0, at.groups - 1, last, last, *final), (0, 1, 0, 0, 0, 0, 0)),
            Step.ROW:    ((0, columns - 1, at.groups - 1, last, last, *final), (1, 0, 0, 0, 0, 0, 0)),
        })
        steps[Step.START] = point(0, 0, 0, 0, 0, 0, 0)

        readout = isinstance(stage.layer, Readout)
        planes  = number == 0 and config.pixels
        mode    = {"current": Current.SCORE if readout else Current.PLANES if planes else Current.STEPS,
                   "hard": 0, "leaky": 0, "leak": 0, "scale": 0, "timesteps": network.timesteps - 1}
        if not readout:
            neurons = stage.layer.neurons
            scale   = config.fraction - neurons.fraction
            leak    = neurons.leak_shift
            # The membrane has fewer bits than a longer shift would move: the result is the sign, either way.
            mode |= {"hard": neurons.reset is Reset.ZERO, "leaky": leak is not None, "scale": scale,
                     "leak": 0 if leak is None else min(leak, config.membrane_width - 1)}
        entries = [0] * LAYER_ENTRIES
        for entry, fields in steps.items():
            entries[entry] = _modular(layouts["step"], fields)
        # Windows are positions of the result; only a convolution of a map can leave its source.
        height = stage.computed[1] if number == 0 else stage.source[1]
        entries[8]  = _const(layouts["loops"], _countdowns(run=at.run, kernel=at.kernel, pool=pool, groups=at.groups))
        entries[9]  = _const(layouts["sizes"], _countdowns(columns=columns, rows=rows))
        entries[10] = _const(layouts["source"], {"words": at.row_words, "height": height})
        entries[11] = _const(layouts["target"], {"address": at.target, "group": at.group,
                                                 "windows": countdown(pool * pool)})
        entries[12] = _const(layouts["mode"], {"neurons": mode, "input": number == 0, "final": readout,
                                               "classes": network.classes})
        program += entries
    return program


def _pixel_table(config: EngineConfig, network: Network, stage: Stage) -> list[int]:
    layouts = pixel_layouts(config)
    channels, height, width = stage.source
    rows, columns = _window_counts(stage)
    kernel_rows, kernel_columns, stride, padding = _field(stage)
    whole  = not isinstance(stage.layer, Convolution)
    turns  = 1 if whole else -(-kernel_columns // stride)
    length = _window_length(config, stage) * config.slice_width

    def point(y: int, x: int, channel: int, down: int, across: int) -> dict[str, int]:
        """Pointers in one state of the loops."""
        if whole:
            return {"lane": (y * width + x) * channels + channel,
                    "kernel_x": 0, "window_x": 0, "kernel_y": 0, "window_y": 0}
        window_y, kernel_y = divmod(y + padding, stride)
        window_x, kernel_x = divmod(x + padding, stride)
        window_y, kernel_y = window_y - down, kernel_y + down * stride
        window_x, kernel_x = window_x - across, kernel_x + across * stride
        return {"lane": (window_y * columns + window_x) * length
                        + (kernel_y * kernel_columns + kernel_x) * channels + channel,
                "kernel_x": kernel_x, "window_x": window_x, "kernel_y": kernel_y, "window_y": window_y}

    last = turns - 1
    end  = (channels - 1, last, last)

    def at_phase(size: int, new: bool) -> int | None:
        """Coordinate whose successor begins a new window, or does not."""
        for place in range(size - 1):
            if ((place + padding) % stride == stride - 1) == new:
                return place
        return None

    pairs: dict[int, tuple[tuple, tuple] | None] = {
        PixelStep.ACROSS:  ((0, 0, 0, 0, 0), (0, 0, 0, 0, 1)),
        PixelStep.DOWN:    ((0, 0, 0, 0, last), (0, 0, 0, 1, 0)),
        PixelStep.CHANNEL: ((0, 0, 0, last, last), (0, 0, 1, 0, 0)),
    }
    for step, new in ((PixelStep.COLUMN, False), (PixelStep.COLUMN_NEW, True)):
        place = at_phase(width, new)
        pairs[step] = None if place is None else ((0, place, *end), (0, place + 1, 0, 0, 0))
    for step, new in ((PixelStep.ROW, False), (PixelStep.ROW_NEW, True)):
        place = at_phase(height, new)
        pairs[step] = None if place is None else ((place, width - 1, *end), (place + 1, 0, 0, 0, 0))
    steps = _steps(point, pairs)
    steps[PixelStep.START] = point(0, 0, 0, 0, 0)

    entries = [0] * PIXEL_ENTRIES
    for entry, fields in steps.items():
        entries[entry] = _modular(layouts["step"], fields)
    entries[8]  = _const(layouts["loops"], _countdowns(turns=turns, channels=channels, columns=width, rows=height))
    entries[9]  = _const(layouts["kernel"], {"side": 1 if whole else kernel_rows, "stride": stride - 1,
                                             "phase": padding % stride, "zero": network.input.zero_point})
    entries[10] = _const(layouts["windows"], {"columns": columns, "rows": rows})
    entries[11] = _const(layouts["sizes"], {"image_bytes": channels * height * width, "classes": network.classes})
    return entries


def _weight_rows(config: EngineConfig, stages: tuple[Stage, ...], schedules: tuple[Schedule, ...]) -> list[list[int]]:
    lanes = [[] for _ in range(config.lanes)]  # type: list[list[int]]
    for number, (stage, at) in enumerate(zip(stages, schedules, strict=True)):
        weights = _weights(stage)
        out = len(weights)
        if number == 0:
            # One window: kernel row, column, channel; the slices of a word carry other planes of the same pixels.
            flat = weights.reshape(out, -1)
            flat = np.pad(flat, ((0, at.groups * config.lanes - out), (0, at.run * config.slice_width - flat.shape[1])))
            words = flat.reshape(-1, at.run, 1, config.slice_width).repeat(config.slices, axis=2)
        else:
            channels = weights.shape[3]
            words = np.pad(weights, ((0, at.groups * config.lanes - out), (0, 0), (0, 0),
                                     (0, -channels % config.width)))
        words = words.reshape(at.groups, config.lanes, at.sum_words, config.width)
        bits  = 1 << np.arange(config.width, dtype=object)
        nonzero  = ((words != 0) * bits).sum(-1)
        negative = ((words < 0) * bits).sum(-1)
        codes = nonzero + negative * (1 << config.width)
        for lane in range(config.lanes):
            lanes[lane] += [int(code) for code in codes[:, lane].reshape(-1)]
    return lanes


def _constants(config: EngineConfig, network: Network, stages: tuple[Stage, ...],
               schedules: tuple[Schedule, ...]) -> list[int]:
    layout = constants_layout(config)
    packed = []
    for number, (stage, at) in enumerate(zip(stages, schedules, strict=True)):
        flat   = stage.layer.weights.reshape(len(stage.layer.weights), -1).astype(np.int64)
        planes = config.pixels and number == 0
        for channel in range(at.groups * config.lanes):
            first = bias = threshold = 0
            if channel < len(flat):
                # What the array counts beyond the current: every negative weight, in every plane; and the zero point.
                offset = int((flat[channel] < 0).sum())
                if planes:
                    offset = offset * ((1 << PLANES) - 1) + network.input.zero_point * int(flat[channel].sum())
                if isinstance(stage.layer, Readout):
                    first = -(network.timesteps * offset) << config.fraction
                else:
                    neurons   = stage.layer.neurons
                    scale     = config.fraction - neurons.fraction
                    initial   = int(neurons.initial[channel])
                    if neurons.leak_shift is not None:
                        initial -= initial >> neurons.leak_shift
                    bias      = (int(neurons.bias[channel]) << scale) - (offset << config.fraction)
                    first     = bias + (initial << scale)
                    threshold = int(neurons.threshold[channel]) << scale
            packed.append(_modular(layout, {"first": first, "bias": bias, "threshold": threshold}))
    return packed


def map_network(network: Network, config: EngineConfig) -> Plan:
    """Lay a network out for a circuit.

    Raises
    ------
    :exc:`ConfigError`
        If the network does not fit; the message names the layer and the limit.
    """
    stages = stages_of(network)
    _check_limits(network, config, stages, schedules := _schedule(config, stages))
    contents = MemoryContents(
        weights=_weight_rows(config, stages, schedules),
        constants=_constants(config, network, stages, schedules),
        program=_program(config, network, stages, schedules),
        pixels=_pixel_table(config, network, stages[0]),
    )
    return Plan(network=network, config=config, stages=stages, schedules=schedules, contents=contents)


def plan_for_board(network: Network, board: Board, *, lanes: int | None = None, width: int | None = None) -> Plan:
    """Choose the largest array of a board that runs the network, and lay the network out for it.

    Parameters
    ----------
    network : :class:`Network`
    board : :class:`boards.Board`
    lanes, width : :class:`int`, optional
        Ask for this geometry instead; both or neither, or ``lanes`` with the board's largest width.

    Raises
    ------
    :exc:`ConfigError`
        If no geometry of the board runs the network; the message is that of the largest one.
    """
    if lanes is not None or width is not None:
        geometries = ((lanes or board.geometries[0][0], width or board.geometries[0][1]),)
    else:
        geometries = board.geometries
    refusal = None
    for geometry in geometries:
        try:
            config = choose_config(network, lanes=geometry[0], width=geometry[1], timesteps=board.timesteps,
                                   spike_words=board.spike_words, weight_rows=board.weight_rows)
            return map_network(network, config)
        except ConfigError as error:
            refusal = refusal or error
    assert refusal is not None
    raise refusal


def synaptic_operations(plan: Plan, number: int) -> int:
    """Synapses x timesteps of a stage, padding excluded. A pixel synapse counts once per timestep of the network."""
    stage = plan.stages[number]
    rows, columns, stride, padding = _field(stage)
    channels, height, width = stage.source
    _, out_rows, out_columns = stage.computed

    def taps(size: int, kernel: int, positions: int) -> int:
        return sum(0 <= place * stride - padding + tap < size for place in range(positions) for tap in range(kernel))

    pairs = taps(height, rows, out_rows) * taps(width, columns, out_columns)
    return pairs * channels * stage.target[0] * plan.network.timesteps
