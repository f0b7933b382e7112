import numpy as np
import pytest

from arch.network import NetworkError
from arch.ttfs.code import TimeCode
from arch.ttfs.network import Convolution, EarliestPool, FullyConnected, Input, Network, Readout
from tests.arch.ttfs.test_code import SMALL


def make_input(**overrides):
    return Input(**({"channels": 1, "height": 5, "width": 4, "threshold": np.array([200, 100, 100])} | overrides))


def falling(channels, steps=3):
    return np.arange(channels, dtype=np.int64)[:, None] - np.arange(steps, dtype=np.int64)


def make_network(**overrides):
    codes = (np.arange(18) % 7 - 3).astype(np.int8)
    return Network(**({
        "input": make_input(), "code": TimeCode(**SMALL),
        "layers": (Convolution(weights=codes.reshape(2, 1, 3, 3), threshold=falling(2), padding=1),
                   EarliestPool(size=2),
                   FullyConnected(weights=np.ones((3, 8), dtype=np.int8), threshold=falling(3)),
                   Readout(weights=-np.eye(3, dtype=np.int8)))} | overrides))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: make_input(channels=65), "input channels must be an integer from 1 to 64, not 65"),
    (lambda: make_input(threshold=np.array([257, 3, 1])), "input threshold of time 0 must be from 1 to 256, not 257"),
    (lambda: make_input(threshold=np.array([9, 3, 0])), "input threshold of time 2 must be from 1 to 256, not 0"),
    (lambda: make_input(threshold=np.array([9, 10, 1])),
     "input threshold of channel 0 must never rise, not go from 9 to 10 at time 1"),
    (lambda: make_input(threshold=[9]), "input threshold must be an array of int64, not list"),
    (lambda: make_network(input=make_input(threshold=np.array([9]))), "input threshold must have 3 timesteps, not 1"),
    (lambda: Convolution(weights=np.ones((1, 1, 2, 3), np.int8), threshold=falling(1)),
     "kernel must be square, 1 x 1 to 7 x 7, not 2 x 3"),
    (lambda: Convolution(weights=np.ones((1, 1, 2, 2), np.int8), threshold=falling(1), padding=2),
     "padding must be an integer from 0 to 1, not 2"),
    (lambda: Convolution(weights=np.ones((1, 1, 2, 2), np.int8), threshold=falling(1), stride=0),
     "stride must be an integer from 1 to 7, not 0"),
    (lambda: Convolution(weights=np.ones((2, 1, 2, 2), np.int8), threshold=falling(1)),
     "threshold must have 2 channels like the weights, not 1"),
    (lambda: FullyConnected(weights=np.ones((2, 3)), threshold=falling(2)),
     "weights must be an array of int8, not float64"),
    (lambda: FullyConnected(weights=np.ones((2, 3), np.int8), threshold=-falling(2)),
     "threshold of channel 0 must never rise, not go from 0 to 1 at time 1"),
    (lambda: FullyConnected(weights=np.ones((1, 3), np.int8), threshold=np.array([[2**53 + 1, 0]])),
     "threshold of channel 0 must be within +-2^53, not 9007199254740993"),
    (lambda: EarliestPool(size=1), "pool size must be an integer from 2 to 7, not 1"),
    (lambda: Readout(weights=np.ones((1, 3), np.int8)), "classes must be 2 to 1024, not 1"),
    (lambda: make_network(layers=()), "layers must end in a readout, not be empty"),
    (lambda: make_network(layers=("x",)), "layer 0 must be a layer, not str"),
    (lambda: make_network(layers=make_network().layers[:-1]),
     "layer 2 must be a readout: a network has one, at its end"),
    (lambda: make_network(layers=(Readout(weights=np.ones((2, 20), np.int8)),) * 2),
     "layer 0 must not be a readout: a network has one, at its end"),
    (lambda: make_network(layers=make_network().layers[1:]), "layer 0 must have weights, not be an earliest-pool"),
    (lambda: make_network(code=TimeCode(**(SMALL | {"bits": 2}))),
     "layer 0 (convolution): weights must be codes from -1 to 1, not -3 at (0, 0, 0, 0)"),
    (lambda: make_network(layers=(FullyConnected(weights=np.ones((3, 20), np.int8), threshold=falling(3, 2)),
                                  make_network().layers[-1])),
     "layer 0 (fully-connected): threshold must have 3 timesteps, not 2"),
    (lambda: make_network(input=make_input(channels=2)),
     "layer 0 (convolution): weights must have 2 input channels, not 1"),
    (lambda: make_network(input=make_input(height=2, width=1)),
     "layer 1 (earliest-pool): pool size 2 must fit in the map of 2 x 1"),
    (lambda: make_network(input=make_input(height=6)),
     "layer 2 (fully-connected): weights must have 12 inputs for a map of (2, 3, 2), not 8"),
    (lambda: make_network(layers=(Convolution(weights=np.ones((1, 1, 7, 7), np.int8), threshold=falling(1)),
                                  make_network().layers[-1])),
     "layer 0 (convolution): kernel 7 must fit in the padded map of 5 x 4"),
])
def test_wrong_parts_are_refused(make, message):
    with pytest.raises(NetworkError) as caught:
        make()
    assert str(caught.value) == message


def test_a_network_knows_its_shapes():
    network = make_network()
    assert [output for _, _, output in network.shapes()] == [(2, 5, 4), (2, 2, 2), (3, 1, 1), (3, 1, 1)]
    assert (network.classes, network.weight_count) == (3, 18 + 24 + 9)
    assert not network.layers[0].weights.flags.writeable
    assert not network.layers[0].threshold.flags.writeable
