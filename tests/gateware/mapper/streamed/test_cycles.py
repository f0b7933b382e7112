import math

import numpy as np
import pytest

from arch.network import Encoding, FullyConnected, Input, Network, Readout
from gateware.engine.configuration import ConfigError
from gateware.flash.reader import FlashMode
from gateware.mapper.streamed import cycles
from gateware.mapper.streamed.choice import lay_out
from gateware.mapper.streamed.cycles import count_cycles, exceeding_cycles
from sim.generate import random_neurons, random_weights
from tests.streamed_networks import CIRCUITS, OVERLAY, deep_network, draw


def test_a_deep_network_takes_what_was_measured():
    """An inference of the simulated circuit took 7,373,076 clocks, of which it waited 2,601,630 for the flash."""
    plan = lay_out(deep_network(np.random.default_rng(1)), OVERLAY)
    assert plan.network.weight_count == 11_241_152
    counted = count_cycles(OVERLAY, plan.passes)
    assert (counted.total, counted.flash_stalls) == (7_373_076, 2_601_630)
    assert sum(item.words for item in counted.passes) < counted.total - counted.flash_stalls
    assert {item.bound_by_flash for item in counted.passes} == {True, False}


@pytest.mark.parametrize("name", ["P2-W4-T4", "P8-W16-T4"])
@pytest.mark.parametrize("mode", list(FlashMode))
def test_bounds_agree_with_the_replay(monkeypatch, name, mode):
    config = CIRCUITS[name]
    for seed in range(6):
        plan, _ = draw(config, (0xC1, seed), max_side=7, max_channels=12, leak=config.leak)
        image  = plan.image
        clocks = count_cycles(config, plan.passes, mode=mode).total + math.prod(image.shape) * image.planes
        for limit, expected in ((clocks, True), (4 * clocks, True), (16 * clocks, True), (clocks - 1, False),
                                (clocks // 4, False)):
            with monkeypatch.context() as patch:
                patch.setattr(cycles, "MAX_CYCLES", limit)
                found = exceeding_cycles(config, plan.passes, mode=mode)
            assert (found is None) == expected
            assert found is None or limit < found <= clocks


def test_more_clocks_than_are_counted_are_refused():
    rng     = np.random.default_rng(2)
    weights = np.tile(random_weights(rng, 64, 64), (64, 64))
    network = Network(
        input=Input(encoding=Encoding.EVENTS, channels=64, height=8, width=8), timesteps=4,
        layers=(FullyConnected(weights=weights, neurons=random_neurons(rng, 4096, 60)),
                Readout(weights=weights[:2])))
    assert lay_out(network, OVERLAY).weight_rows == 131_328
    with pytest.raises(ConfigError, match=r"^network: clocks of an inference must be at most 16777215, not \d+$"):
        lay_out(network, OVERLAY, mode=FlashMode.SINGLE)
