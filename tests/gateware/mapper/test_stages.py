import dataclasses

import numpy as np
import pytest

from arch.network import Encoding, FullyConnected, Input, Network, OrPool, Readout
from boards import BOARDS
from gateware.engine.configuration import ConfigError
from gateware.mapper.choice import map_network, plan_for_board
from gateware.mapper.stages import stages_of
from tests.gateware.mapper.networks import CONFIG, conv, make_neurons, network


def test_a_stage_is_a_layer_and_its_pool():
    stages = stages_of(network(conv(3, 1), OrPool(size=2), conv(2, 3, 1, padding=0), shape=(1, 5, 7)))
    assert [(stage.index, stage.last_index, stage.pool, stage.computed, stage.target) for stage in stages] == [
        (0, 1, 2, (3, 4, 6), (3, 2, 3)), (2, 2, 1, (2, 2, 3), (2, 2, 3)), (3, 3, 1, (2, 1, 1), (2, 1, 1))]
    assert stages[0].name == "layer 0 (convolution)"


def test_or_pool_follows_weights():
    pooled = Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=8, width=8), timesteps=1,
                     layers=(conv(2, 1), OrPool(size=2), OrPool(size=2),
                             Readout(weights=np.ones((2, 8), np.int8))))
    with pytest.raises(ConfigError,
                       match=r"^layer 2 \(or-pool\) must follow a layer with weights, not another or-pool$"):
        stages_of(pooled)


def summed():
    return network(conv(2, 1), conv(2, 2), dataclasses.replace(conv(2, 2), shortcut=0))


def pooled():
    return network(dataclasses.replace(conv(2, 1), pool=2))


@pytest.mark.parametrize(("net", "message"), [
    (summed(),
     ("layer 2 (convolution): adds the spikes of layer 0: summed spikes do not run on the array, only on the "
      "reference: train it without the shortcut")),
    (pooled(),
     ("layer 0 (convolution): sums the currents of 2 x 2 windows: pooled currents do not run on the array, only on the "
      "reference: train it with an or-pool instead")),
])
def test_what_only_the_reference_sums_is_refused(net, message):
    for refuse in (lambda: map_network(net, CONFIG), lambda: stages_of(net),
                   lambda: plan_for_board(net, BOARDS["icebreaker"])):
        with pytest.raises(ConfigError) as caught:
            refuse()
        assert str(caught.value) == message


def test_a_full_connection_that_adds_spikes_is_refused():
    square = FullyConnected(weights=np.eye(2, dtype=np.int8), neurons=make_neurons(2))
    net = network(FullyConnected(weights=np.ones((2, 16), np.int8), neurons=make_neurons(2)), square,
                  dataclasses.replace(square, shortcut=0))
    with pytest.raises(ConfigError, match=r"^layer 2 \(fully-connected\): adds the spikes of layer 0: "):
        stages_of(net)


def test_readout_cannot_read_pixels():
    with pytest.raises(ConfigError, match=r"^layer 0 \(readout\) must follow a layer with neurons: "
                                          r"it cannot read pixels$"):
        stages_of(network())
