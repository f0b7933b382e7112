import numpy as np
import pytest

from arch.network import (
    Convolution,
    Encoding,
    FullyConnected,
    Input,
    Network,
    NetworkError,
    Neurons,
    OrPool,
    Projection,
    Readout,
    filters_of,
    projection_of,
    shortcut_of,
)


def ones(*shape):
    return np.ones(shape, dtype=np.int8)


def make_neurons(channels=2, **overrides):
    values = {"threshold": np.ones(channels, dtype=np.int64), "bias": np.zeros(channels, dtype=np.int64),
              "initial": np.zeros(channels, dtype=np.int64)}
    return Neurons(**(values | overrides))


def make_input(**overrides):
    return Input(**({"encoding": Encoding.PIXELS, "channels": 1, "height": 6, "width": 5} | overrides))


def make_convolution(**overrides):
    return Convolution(**({"weights": ones(2, 1, 3, 3), "neurons": make_neurons()} | overrides))


def make_network(**overrides):
    return Network(**({"input": make_input(), "timesteps": 4,
                       "layers": (make_convolution(), OrPool(size=2), Readout(weights=ones(3, 4)))} | overrides))


def test_shapes_follow_the_layers():
    network = make_network()
    assert [output for _, _, output in network.shapes()] == [(2, 4, 3), (2, 2, 1), (3, 1, 1)]
    assert (network.classes, network.weight_count) == (3, 30)


def graph_layers(**last):
    """Three layers of maps 2 x 4 x 3 and one of another shape, then a layer with the options ``last``."""
    same = {"weights": ones(2, 2, 3, 3), "padding": 1}
    return (make_convolution(), make_convolution(**same), make_convolution(**same), OrPool(size=2),
            make_convolution(**({"weights": ones(2, 2, 1, 1)} | last)), Readout(weights=ones(3, 4)))


def test_a_current_pool_shrinks_the_map_and_drops_the_rest():
    network = make_network(layers=(make_convolution(weights=ones(2, 1, 2, 2), pool=2), Readout(weights=ones(3, 8))))
    # Currents of 5 x 4: two rows of windows, and a row that fills none.
    assert [output for _, _, output in network.shapes()] == [(2, 2, 2), (3, 1, 1)]


def test_shortcuts_leave_shapes_as_they_are():
    chain = graph_layers()
    summed = make_convolution(weights=ones(2, 2, 3, 3), padding=1, shortcut=0)
    network = make_network(layers=(*chain[:2], summed, *chain[3:]))
    assert [output for _, _, output in network.shapes()] == [(2, 4, 3)] * 3 + [(2, 2, 1)] * 2 + [(3, 1, 1)]
    assert [shortcut_of(layer) for layer in network.layers] == [None, None, 0, None, None, None]
    inner = FullyConnected(weights=ones(2, 2), neurons=make_neurons())
    behind = FullyConnected(weights=ones(4, 2), neurons=make_neurons(4), shortcut=0)
    make_network(layers=(FullyConnected(weights=ones(2, 30), neurons=make_neurons()), inner, behind,
                         Readout(weights=ones(3, 4))))


def beside(source, *shape, stride=1):
    return Projection(source=source, weights=ones(*shape, 1, 1), stride=stride)


def test_projections_leave_shapes_as_they_are():
    """Of the layer before, of one before that, of an or-pool, and of a larger map with a stride and before a pool."""
    first = make_convolution(weights=ones(2, 1, 3, 3), padding=1)
    same = {"weights": ones(2, 2, 3, 3), "padding": 1}
    layers = (first, make_convolution(**same, projection=Projection.identity(0, 2)),
              make_convolution(**same, projection=beside(0, 2, 2)), OrPool(size=2),
              make_convolution(**same, projection=Projection.identity(3, 2)),
              make_convolution(**same, projection=beside(1, 2, 2, stride=2), pool=2), Readout(weights=ones(3, 2)))
    network = make_network(layers=(*layers[:5], Readout(weights=ones(3, 12))))
    assert [output for _, _, output in network.shapes()] == [(2, 6, 5)] * 3 + [(2, 3, 2)] * 2 + [(3, 1, 1)]
    assert [projection and projection.source for projection in map(projection_of, network.layers)] == [
        None, 0, 0, None, 3, None]
    # 6 x 5 has 3 x 3 positions with stride 2, and the or-pool's map 3 x 2: so the map is 6 x 4.
    even = make_input(width=4)
    assert [output for _, _, output in make_network(input=even, layers=layers).shapes()] == [
        (2, 6, 4)] * 3 + [(2, 3, 2)] * 2 + [(2, 1, 1), (3, 1, 1)]


def test_identities_count_no_weights():
    first = make_convolution(weights=ones(2, 1, 3, 3), padding=1)
    chain = (first, make_convolution(weights=ones(2, 2, 1, 1)), Readout(weights=ones(3, 60)))
    count = make_network(layers=chain).weight_count
    for projection, more in ((Projection.identity(0, 2), 0), (beside(0, 2, 2), 4)):
        changed = make_convolution(weights=ones(2, 2, 1, 1), projection=projection)
        assert make_network(layers=(first, changed, chain[2])).weight_count == count + more


def test_filters_are_the_weights_of_both_inputs():
    weights = np.arange(-1, 2, dtype=np.int8)
    convolution = make_convolution(weights=np.tile(weights, 6).reshape(2, 1, 3, 3),
                                   projection=Projection(source=0, weights=weights[[[0, 1], [2, 2]]][..., None, None]))
    assert filters_of(convolution).tolist() == [[-1, 0, 1] * 3 + [-1, 0], [-1, 0, 1] * 3 + [1, 1]]
    assert filters_of(make_convolution()).tolist() == [[1] * 9] * 2
    readout = Readout(weights=ones(3, 4))
    assert filters_of(readout).tolist() == readout.weights.tolist()


def test_arrays_are_frozen_copies():
    weights = ones(3, 4)
    readout = Readout(weights=weights)
    weights[0, 0] = 0
    assert readout.weights[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        readout.weights[0, 0] = 0


INT64 = np.int64


@pytest.mark.parametrize(("make", "message"), [
    (lambda: make_input(encoding="pixels"), "input encoding must be an Encoding, not 'pixels'"),
    (lambda: make_input(channels=65), "input channels must be an integer from 1 to 64, not 65"),
    (lambda: make_input(height=0), "input height must be an integer from 1 to 1024, not 0"),
    (lambda: make_input(width=True), "input width must be an integer from 1 to 1024, not True"),
    (lambda: make_input(zero_point=128.0), "input zero point must be 0 or 128 for pixels, not 128.0"),
    (lambda: make_input(zero_point=False), "input zero point must be 0 or 128 for pixels, not False"),
    (lambda: make_input(zero_point=127), "input zero point must be 0 or 128 for pixels, not 127"),
    (lambda: make_input(encoding=Encoding.EVENTS, zero_point=128), "input zero point must be 0 for events, not 128"),
    (lambda: make_neurons(threshold=[1, 1]), "threshold must be an array of int64, not list"),
    (lambda: make_neurons(bias=np.zeros(2)), "bias must be an array of int64, not float64"),
    (lambda: make_neurons(threshold=np.ones((2, 1), dtype=INT64)),
     "threshold must have 1 dimensions and no empty one, not shape (2, 1)"),
    (lambda: make_neurons(initial=np.zeros(3, dtype=INT64)), "initial must have 2 channels like threshold, not 3"),
    (lambda: make_neurons(threshold=np.array([1, 0])), "threshold of channel 1 must be positive, not 0"),
    (lambda: make_neurons(bias=np.array([2**47 + 1, 0])),
     "bias of channel 0 must be within +-2^47, not 140737488355329"),
    (lambda: make_neurons(fraction=17), "fraction must be an integer from 0 to 16, not 17"),
    (lambda: make_neurons(reset="zero"), "reset must be a Reset, not 'zero'"),
    (lambda: make_neurons(leak_shift=0), "leak shift must be an integer from 1 to 31, not 0"),
    (lambda: make_convolution(weights=ones(2, 1, 3, 2)), "kernel must be square, 1 x 1 to 7 x 7, not 3 x 2"),
    (lambda: make_convolution(weights=ones(2, 1, 8, 8)), "kernel must be square, 1 x 1 to 7 x 7, not 8 x 8"),
    (lambda: make_convolution(weights=-2 * ones(2, 1, 3, 3)), "weights must be -1, 0 or +1, not -2 at (0, 0, 0, 0)"),
    (lambda: make_convolution(weights=ones(2, 1, 3, 3).astype(float)), "weights must be an array of int8, not float64"),
    (lambda: make_convolution(stride=8), "stride must be an integer from 1 to 7, not 8"),
    (lambda: make_convolution(padding=3), "padding must be an integer from 0 to 2, not 3"),
    (lambda: make_convolution(pool=0), "pool must be an integer from 1 to 7, not 0"),
    (lambda: make_convolution(pool=8), "pool must be an integer from 1 to 7, not 8"),
    (lambda: make_convolution(shortcut=-1), "shortcut must be the index of an earlier layer, not -1"),
    (lambda: make_convolution(shortcut="conv1"), "shortcut must be the index of an earlier layer, not 'conv1'"),
    (lambda: FullyConnected(weights=ones(2, 4), neurons=make_neurons(), shortcut=True),
     "shortcut must be the index of an earlier layer, not True"),
    (lambda: make_convolution(neurons=make_neurons(3)), "neurons must have 2 channels like the weights, not 3"),
    (lambda: FullyConnected(weights=ones(3, 4), neurons=make_neurons()),
     "neurons must have 3 channels like the weights, not 2"),
    (lambda: OrPool(size=1), "pool size must be an integer from 2 to 7, not 1"),
    (lambda: Readout(weights=ones(1, 4)), "classes must be 2 to 1024, not 1"),
    (lambda: make_network(timesteps=65), "timesteps must be an integer from 1 to 64, not 65"),
    (lambda: make_network(layers=()), "layers must end in a readout, not be empty"),
    (lambda: make_network(layers=(3,)), "layer 0 must be a layer, not int"),
    (lambda: make_network(layers=(make_convolution(),)), "layer 0 must be a readout: a network has one, at its end"),
    (lambda: make_network(layers=(Readout(weights=ones(2, 30)), Readout(weights=ones(2, 2)))),
     "layer 0 must not be a readout: a network has one, at its end"),
    (lambda: make_network(layers=(OrPool(size=2), Readout(weights=ones(2, 6)))),
     "layer 0 must have weights, not be an or-pool"),
    (lambda: make_network(layers=(make_convolution(weights=ones(2, 3, 3, 3)), Readout(weights=ones(2, 24)))),
     "layer 0 (convolution): weights must have 1 input channels, not 3"),
    (lambda: make_network(layers=(make_convolution(weights=ones(2, 1, 6, 6)), Readout(weights=ones(2, 24)))),
     "layer 0 (convolution): kernel 6 must fit in the padded map of 6 x 5"),
    (lambda: make_network(layers=(make_convolution(), OrPool(size=4), Readout(weights=ones(2, 24)))),
     "layer 1 (or-pool): pool size 4 must fit in the map of 4 x 3"),
    (lambda: make_network(layers=(make_convolution(pool=4), Readout(weights=ones(2, 24)))),
     "layer 0 (convolution): pool 4 must fit in the currents of 4 x 3"),
    (lambda: make_network(layers=(make_convolution(shortcut=0), Readout(weights=ones(2, 24)))),
     "layer 0 (convolution): shortcut must add to spikes, not be 0: this layer sees the input"),
    (lambda: make_network(layers=graph_layers(shortcut=4)),
     "layer 4 (convolution): shortcut must be the index of an earlier layer, not 4"),
    (lambda: make_network(layers=graph_layers(shortcut=9)),
     "layer 4 (convolution): shortcut must be the index of an earlier layer, not 9"),
    (lambda: make_network(layers=graph_layers(shortcut=3)),
     "layer 4 (convolution): shortcut must be a layer before the previous one, not 3: that map is the input"),
    (lambda: make_network(layers=graph_layers(shortcut=2)),
     "layer 4 (convolution): shortcut must have a map of (2, 2, 1) like the input, not that of layer 2, (2, 4, 3)"),
    (lambda: make_convolution(projection=0), "projection must be a Projection, not int"),
    (lambda: make_convolution(shortcut=1, projection=beside(0, 2, 2)),
     "shortcut must be None beside a projection, not 1: a filter sees at most two maps"),
    (lambda: make_convolution(projection=beside(0, 3, 2)), "projection must have 2 channels like the weights, not 3"),
    (lambda: make_network(layers=(make_convolution(projection=beside(0, 2, 2)), Readout(weights=ones(2, 24)))),
     "layer 0 (convolution): projection must read spikes, not be of layer 0: this layer sees the input"),
    (lambda: make_network(layers=graph_layers(projection=beside(4, 2, 2))),
     "layer 4 (convolution): projection must be of an earlier layer, not of layer 4"),
    (lambda: make_network(layers=graph_layers(projection=beside(2, 2, 3, stride=3))),
     "layer 4 (convolution): projection of layer 2: weights must have 2 input channels, not 3"),
    (lambda: make_network(layers=graph_layers(projection=beside(2, 2, 2, stride=2))),
     ("layer 4 (convolution): projection must have currents of (2, 2, 1) like the kernel, not those of layer 2 with "
      "stride 2, (2, 2, 2)")),
    (lambda: make_network(layers=graph_layers(weights=ones(2, 2, 7, 7), projection=beside(2, 2, 2))),
     "layer 4 (convolution): kernel 7 must fit in the padded map of 2 x 1"),
    (lambda: make_network(layers=(make_convolution(), Readout(weights=ones(2, 23)))),
     "layer 1 (readout): weights must have 24 inputs for a map of (2, 4, 3), not 23"),
])
def test_errors_are_one_line(make, message):
    with pytest.raises(NetworkError) as caught:
        make()
    assert str(caught.value) == message
