"""What the layers of a streamed network take: sums over their passes, and synapses counted one by one."""

import dataclasses
import itertools

import numpy as np
import pytest

from arch.network import (
    Convolution,
    Encoding,
    FullyConnected,
    Input,
    Network,
    OrPool,
    Readout,
    projection_of,
    shortcut_of,
)
from gateware.flash.reader import FlashMode
from gateware.mapper.streamed.choice import lay_out
from gateware.mapper.streamed.cycles import PassCycles, count_cycles
from gateware.mapper.streamed.fit import fit_of
from reference.generate import random_neurons, random_weights
from tests.gateware.mapper.streamed.test_contents import SEED, or_pools_alone
from tests.streamed_networks import CIRCUITS, draw

CONFIG = CIRCUITS["P8-W8-T4-short"]


def synapses(network, index, source, pool):
    """Count what each neuron of a layer sees, position by position."""
    layer = network.layers[index]
    if not isinstance(layer, Convolution):
        return layer.weights.size * (1 if shortcut_of(layer) is None else 2)
    channels, height, width = source
    _, rows, columns = layer.output_shape(source)
    rows, columns = (rows * layer.pool, columns * layer.pool) if pool is None else pool
    seen = 0
    for row, column in itertools.product(range(rows), range(columns)):
        for down, right in itertools.product(range(layer.kernel), range(layer.kernel)):
            y, x = row * layer.stride - layer.padding + down, column * layer.stride - layer.padding + right
            seen += 0 <= y < height and 0 <= x < width
    seen *= channels * (1 if shortcut_of(layer) is None else 2)
    if (projection := projection_of(layer)) is not None:
        seen += rows * columns * (1 if projection.diagonal else projection.weights.shape[1])
    return seen * len(layer.weights)


@pytest.mark.parametrize("seed", [*range(8), 57])
def test_a_layer_is_all_of_its_passes(seed):
    plan, _ = draw(CONFIG, (SEED, seed), max_side=7, max_channels=12)
    fit     = fit_of(plan, clock_hz=48e6)
    counted = count_cycles(CONFIG, plan.passes, clock_hz=48e6)
    assert [layer.index for layer in fit.layers] == sorted({item.layer for item in plan.passes})
    assert sum(layer.passes for layer in fit.layers) == len(plan.passes)
    assert sum(layer.weight_rows for layer in fit.layers) == plan.weight_rows
    assert (fit.cycles.clocks, fit.cycles.flash_stalls) == (counted.total, counted.flash_stalls)
    assert sum(layer.cycles.clocks for layer in fit.layers) == counted.total
    work = CONFIG.sop_per_cycle
    shapes = list(plan.network.shapes())
    for layer in fit.layers:
        passes  = [item for item in plan.passes if item.layer == layer.index]
        target  = passes[0].target
        assert layer.spike_words == (0 if target is None else target.total_words)
        pool = None if target is None else tuple(side * passes[0].pool for side in target.shape[1:])
        expected = 0 if isinstance(plan.network.layers[layer.index], OrPool) else (
            synapses(plan.network, layer.index, shapes[layer.index][1], pool) * plan.network.timesteps)
        assert layer.operations == expected
        assert layer.utilisation == expected / (layer.cycles.clocks * work)
    assert fit.utilisation == sum(layer.operations for layer in fit.layers) / (counted.total * work)


def test_or_pools_compute_nothing():
    plan = lay_out(or_pools_alone(), CIRCUITS["P2-W4-T4"])
    fit  = fit_of(plan, clock_hz=48e6)
    assert [(layer.kind, layer.operations > 0) for layer in fit.layers] == [
        ("convolution", True), ("or-pool", False), ("convolution", True), ("or-pool", False), ("convolution", True),
        ("readout", True)]


def test_what_the_flash_sends_in_advance_is_not_waited_for():
    assert PassCycles(clocks=100, words=60, flash_stalls=40, flash_clocks=61).bound_by_flash
    assert not PassCycles(clocks=100, words=60, flash_stalls=40, flash_clocks=60).bound_by_flash
    assert not PassCycles(clocks=100, words=60, flash_stalls=0, flash_clocks=200).bound_by_flash


def test_images_come_as_fast_as_line_engine_and_flash():
    plan, _ = draw(CONFIG, (SEED, 2), max_side=7, max_channels=12)
    quad, single = (fit_of(plan, mode=mode, clock_hz=48e6) for mode in (FlashMode.QUAD, FlashMode.SINGLE))
    size, planes = int(np.prod(plan.network.input.shape)), plan.image.planes
    assert plan.allocation.buffers == 2
    assert quad.frame_bytes == size + 7
    assert quad.image_clocks(1000) == (size + 7) * 10_000
    assert quad.image_clocks(1) == max(quad.cycles.clocks + size * planes, quad.cycles.flash_clocks)
    assert single.cycles.flash_clocks == 4 * quad.cycles.flash_clocks
    assert single.image_clocks(1) == max(single.cycles.clocks + size * planes, single.cycles.flash_clocks)


def test_with_one_buffer_an_image_waits_for_the_result_before_it():
    network = Network(
        input=Input(encoding=Encoding.EVENTS, channels=8, height=3, width=3), timesteps=4,
        layers=(FullyConnected(weights=random_weights(np.random.default_rng(3), 8, 72),
                               neurons=random_neurons(np.random.default_rng(4), 8, 8.0)),
                Readout(weights=random_weights(np.random.default_rng(5), 2, 8))))
    fits = [fit_of(lay_out(network, dataclasses.replace(CONFIG, spike_words=words)), clock_hz=48e6)
            for words in (16, 32)]
    assert [fit.buffers for fit in fits] == [1, 2]
    line = (72 + 7) * 10 * 4
    assert [fit.image_clocks(4) for fit in fits] == [line + fits[0].cycles.clocks, line]
