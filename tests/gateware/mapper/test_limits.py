import dataclasses

import numpy as np
import pytest

from arch.network import Encoding, FullyConnected, Input, Network, OrPool, Projection, Readout
from boards import BOARDS
from gateware.engine.configuration import ConfigError
from gateware.mapper.choice import choose_config, map_network, plan_for_board
from gateware.mapper.cycles import MAX_CYCLES
from gateware.mapper.limits import circuit_findings, memory_findings, unsupported_layers
from gateware.mapper.placement import place
from gateware.mapper.stages import stages_of
from tests.gateware.mapper.networks import CONFIG, conv, make_neurons, network

FULL = FullyConnected(weights=np.ones((2, 16), np.int8), neurons=make_neurons(2))
SQUARE = FullyConnected(weights=np.eye(2, dtype=np.int8), neurons=make_neurons(2))


@pytest.mark.parametrize(("net", "message"), [
    (network(conv(2, 1), conv(2, 2), dataclasses.replace(conv(2, 2), shortcut=0)),
     ("layer 2 (convolution): adds the spikes of layer 0: summed spikes do not run on the array, only on the "
      "reference: train it without the shortcut")),
    (network(FULL, SQUARE, dataclasses.replace(SQUARE, shortcut=0)),
     ("layer 2 (fully-connected): adds the spikes of layer 0: summed spikes do not run on the array, only on the "
      "reference: train it without the shortcut")),
    (network(conv(2, 1), dataclasses.replace(conv(2, 2), projection=Projection.identity(0, 2))),
     ("layer 1 (convolution): sees the spikes of layer 0 through weights of their own: projections do not run on the "
      "array, only on the reference: train it without the projection")),
    (network(dataclasses.replace(conv(2, 1), pool=2)),
     ("layer 0 (convolution): sums the currents of 2 x 2 windows: pooled currents do not run on the array, only on the "
      "reference: train it with an or-pool instead")),
    (network(conv(2, 1), OrPool(size=2), OrPool(size=2)),
     ("layer 2 (or-pool): follows another or-pool, and the array runs one behind a layer: use one or-pool of 4, "
      "which gives the same spikes")),
    (network(conv(2, 1), OrPool(size=3), OrPool(size=3), shape=(1, 9, 9)),
     ("layer 2 (or-pool): follows another or-pool, and the array runs one behind a layer: put a layer with weights "
      "between them")),
    (network(), ("layer 0 (readout): reads pixels, and the array's readout sums spikes: put a layer with neurons "
                 "before it")),
])
def test_what_the_array_does_not_run_is_refused_everywhere(net, message):
    for refuse in (lambda: map_network(net, CONFIG), lambda: plan_for_board(net, BOARDS["icebreaker"]),
                   lambda: choose_config(net, lanes=2, width=4, timesteps=4, spike_words=256, weight_rows=64)):
        with pytest.raises(ConfigError) as caught:
            refuse()
        assert str(caught.value) == message


def test_a_readout_of_events_may_come_first():
    net = network(encoding=Encoding.EVENTS)
    assert list(unsupported_layers(net)) == []
    assert len(plan_for_board(net, BOARDS["icebreaker"]).stages) == 1


def test_every_limit_is_found_and_not_the_first_alone():
    net = Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=30, width=30), timesteps=5,
                  layers=(conv(8, 1, fraction=3, leak_shift=1), conv(8, 8),
                          Readout(weights=np.ones((5, 7200), np.int8))))
    config = dataclasses.replace(CONFIG, leak=False)
    stages = place(config, stages_of(net))
    found  = [*memory_findings(net, config, stages), *circuit_findings(net, config, stages)]
    assert [str(finding) for finding in found] == [
        "network: timesteps must be at most 4, not 5",
        "layer 0 (convolution): words of packed windows must be at most 128, not 4500",
        "network: weight rows of 2 x 4 must be at most 64, not 5492",
        "network: classes must be at most 4, not 5",
        "network: groups of 2 channels must be at most 8, not 11",
        "layer 0 (convolution): fractional bits must be at most 2, not 3",
        "layer 0 (convolution): words of a map row must be at most 64, not 150",
        "layer 0 (convolution): side of its maps must be at most 16, not 31",
        "layer 0 (convolution): this circuit has no leak",
        "layer 1 (convolution): side of its maps must be at most 16, not 31",
        "layer 2 (readout): words of a kernel row must be at most 16, not 1800",
        "layer 2 (readout): words of a map row must be at most 64, not 1800",
        "layer 2 (readout): side of its maps must be at most 16, not 30",
    ]
    assert found[2].excess == 5492 / 64
    assert (found[8].value, found[8].excess) == (None, float("inf"))


#: A circuit whose memories hold networks that take too long.
LARGE = dataclasses.replace(CONFIG, lanes=1, width=16, channel_groups=8192, weight_rows=1 << 22, spike_words=1 << 21,
                            max_side=128, max_run=1 << 20, max_row_words=1 << 20)


@pytest.mark.parametrize(("channels", "clocks"), [
    (456, None),
    # Per channel and position nine words and a write, for two classes 29 words of 16 channels per position, and 10,869
    # for the rest. The counter would hold it without the stalls. Exact, because the estimate is too near to tell.
    (457, 3600 * (457 * 10 + 2 * 29) + 10_869 + 115_200),
    # Estimated.
    (4000, 145_926_078),
])
def test_an_inference_that_its_counter_does_not_hold_is_found(channels, clocks):
    # Two stalls at most for each of 3,600 windows of two words with eight pixels each.
    net    = network(conv(1, 1), conv(channels, 1), shape=(1, 60, 60))
    stages = place(LARGE, stages_of(net))
    found  = list(memory_findings(net, LARGE, stages))
    message = f"network: clocks of an inference must be at most 16777215, not {clocks}"
    assert [str(finding) for finding in found] == ([] if clocks is None else [message])
    if clocks is not None:
        assert (found[0].value, found[0].limit) == (clocks, MAX_CYCLES)
        with pytest.raises(ConfigError) as caught:
            map_network(net, LARGE)
        assert str(caught.value) == f"{message}: use fewer channels or smaller images"
