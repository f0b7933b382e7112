"""What the stream of a model holds: for every pass its program, and for every group its constants and weight rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.network import Neurons, Reset
from gateware.engine.configuration import PLANES
from gateware.engine.pif import Current, constants_layout
from gateware.mapper.layer_program import LayerLoops, LayerSource, LayerTarget, layer_program
from gateware.mapper.packing import pack_columns
from gateware.mapper.streamed.passes import IMAGE, Pass, Walk
from gateware.mapper.streamed.plan import StreamedPlan

__all__ = ["pass_constants", "pass_loops", "pass_program"]


def _source(plan: StreamedPlan, walk: Walk) -> LayerSource:
    """Place a walk."""
    slots = plan.config.slots
    first = plan.address(walk.source) + walk.plane * walk.source.plane_words
    return LayerSource(
        address=first * slots, words=walk.words, row_words=walk.row_words, stride=walk.stride, padding=walk.padding,
        kernel=walk.kernel, run=walk.run, part_rows=walk.part_rows, part_words=walk.part_words,
        block_slots=walk.source.plane_words * slots if walk.blocks else 0, group_slots=walk.group_slots)


def pass_loops(plan: StreamedPlan, item: Pass) -> LayerLoops:
    """The loops of a pass, and what it reads in them."""
    readout = item.neurons is None
    return LayerLoops(
        rows=item.tile.rows, columns=item.tile.columns, down=item.pool, across=item.blocks if readout else item.pool,
        blocks=1 if readout else item.blocks, parts=item.parts, groups=item.groups, across_blocks=readout,
        first_row=item.tile.row * item.pool, first_column=item.tile.column * item.pool,
        first=_source(plan, item.first),
        second=None if item.second is None else _source(plan, item.second), reuse=item.reuse)


def pass_program(plan: StreamedPlan, item: Pass) -> list[int]:
    """Entries of the program of a pass."""
    slots  = plan.config.slots
    target = LayerTarget(address=0, position_slots=0)
    if item.target is not None:
        words  = item.target.words
        first  = plan.address(item.target) + (item.tile.row * item.target.shape[2] + item.tile.column) * words
        target = LayerTarget(address=first * slots, position_slots=words * slots,
                             block_slots=item.target.plane_words * slots)
    mode: Mapping[str, Any] = {
        "neurons": _neuron_mode(plan, item), "input": item.first.source.layer == IMAGE, "final": item.neurons is None,
        "classes": plan.network.classes, "summed": item.summed or item.neurons is None,
        "padded": item.pixels and plan.network.input.zero_point != 0}
    return layer_program(plan.config, pass_loops(plan, item), source_size=item.source_size, target=target, mode=mode,
                         segment=item.segment)


def _neuron_mode(plan: StreamedPlan, item: Pass) -> dict[str, Any]:
    """What the PIF unit does in a pass (:func:`gateware.engine.pif.mode_layout`)."""
    config = plan.config
    timesteps = (plan.network.timesteps - 1) % config.timesteps
    if item.neurons is None:
        return {"current": Current.SCORE, "hard": 0, "leaky": 0, "leak": 0, "scale": 0, "timesteps": timesteps}
    shift = item.neurons.leak_shift
    return {
        "current": Current.PLANES if item.pixels else Current.STEPS,
        "hard": item.neurons.reset is Reset.ZERO,
        "leaky": shift is not None,
        "leak": 0 if shift is None else min(shift, config.membrane_width - 1),
        "scale": config.fraction - item.neurons.fraction,
        "timesteps": timesteps,
    }


def pass_constants(plan: StreamedPlan, item: Pass) -> list[int]:
    """Constants of the neurons of all groups, unused lanes included, in the form of ``constants_layout``."""
    config, layout = plan.config, constants_layout(plan.config)
    # Weights of -1 of a channel, each as often as a sum reads its row; rows of one walk alone are read by it alone.
    flat     = item.weights.transpose(0, 2, 1, 3).reshape(item.groups * config.lanes, -1)
    negative = np.count_nonzero(flat < 0, axis=1)
    windows  = item.pool**2 if item.summed else 1
    if item.pixels:
        reads = (1 << PLANES) - 1
        offsets = (negative * reads + plan.network.input.zero_point * flat.sum(axis=1, dtype=np.int64)) * windows
    else:
        offsets = negative * windows * (2 if item.reuse else 1)
    columns = {name: np.zeros(len(offsets), np.int64) for name in ("first", "bias", "threshold")}
    used = slice(item.channels)
    if item.neurons is None:
        # Scores sum over all timesteps of the circuit, in all blocks.
        columns["first"][used] = -(config.timesteps * item.blocks * offsets[used]) << config.fraction
    else:
        for name, values in _neuron_constants(plan, item.neurons, offsets[used]).items():
            columns[name][used] = values
    return pack_columns(layout, columns)


def _neuron_constants(plan: StreamedPlan, neurons: Neurons,
                      offsets: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.int64]]:
    """First bias, bias and threshold of neurons whose sums are ``offsets`` too large."""
    fraction = plan.config.fraction
    scale   = fraction - neurons.fraction
    initial = neurons.initial
    if neurons.leak_shift is not None:
        # numpy knows no shift by all bits of a number.
        initial = initial - (initial >> min(neurons.leak_shift, 63))
    bias = (neurons.bias << scale) - (offsets << fraction)
    return {"first": bias + (initial << scale), "bias": bias, "threshold": neurons.threshold << scale}
