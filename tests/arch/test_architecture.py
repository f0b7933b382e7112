import copy

import pytest

from arch.architecture import (
    CheckpointError,
    layer_shapes,
    mean_size,
    projection_shapes,
    projection_sources,
    shortcut_sources,
    weighted_layers,
)

NEURONS = {"reset": "subtract", "leak_shift": None, "epsilon": 1e-5}
ARCHITECTURE = {
    "input": {"encoding": "pixels", "channels": 1, "height": 7, "width": 6, "zero_point": 0, "scale": 0.5},
    "timesteps": 4,
    "layers": [{"kind": "convolution", "name": "conv1", "channels": 2, "kernel": 3, "stride": 1, "padding": 0,
                **NEURONS},
               {"kind": "or-pool", "size": 2},
               {"kind": "fully-connected", "name": "fc1", "neurons": 3, **NEURONS},
               {"kind": "readout", "name": "readout", "classes": 4}]}
REMOVE = object()


def changed(path, value):
    """Return the architecture with the entry at ``path`` replaced or removed."""
    architecture = copy.deepcopy(ARCHITECTURE)
    at = architecture
    for key in path[:-1]:
        at = at[key]
    if value is REMOVE:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return architecture


def test_shapes_follow_the_layers():
    assert [(before, after) for _, before, after in layer_shapes(ARCHITECTURE)] == [
        ((1, 7, 6), (2, 5, 4)), ((2, 5, 4), (2, 2, 2)), ((2, 2, 2), (3, 1, 1)), ((3, 1, 1), (4, 1, 1))]
    assert {name: shape for name, (_, shape) in weighted_layers(ARCHITECTURE).items()} == {
        "conv1": (2, 1, 3, 3), "fc1": (3, 8), "readout": (4, 3)}


def graph():
    """A pool behind a convolution, and a layer that adds the spikes of an or-pool with a name."""
    same = {"kind": "convolution", "channels": 2, "kernel": 1, "stride": 1, "padding": 0, **NEURONS}
    first, _, inner, readout = copy.deepcopy(ARCHITECTURE["layers"])
    first |= {"padding": 1, "pool": 3}
    layers = [first, {"kind": "or-pool", "size": 2, "name": "pool1"}, same | {"name": "conv2"},
              same | {"name": "conv3", "shortcut": "pool1"}, inner, readout]
    return ARCHITECTURE | {"layers": layers}


def test_graphs_have_shapes_and_sources():
    architecture = graph()
    assert [after for _, _, after in layer_shapes(architecture)] == [
        (2, 2, 2), (2, 1, 1), (2, 1, 1), (2, 1, 1), (3, 1, 1), (4, 1, 1)]
    assert shortcut_sources(architecture) == {3: 1}
    assert shortcut_sources(ARCHITECTURE) == {}
    assert list(weighted_layers(architecture)) == ["conv1", "conv2", "conv3", "fc1", "readout"]


def test_the_previous_layer_is_no_shortcut():
    architecture = graph()
    architecture["layers"][3]["shortcut"] = "conv2"
    with pytest.raises(CheckpointError, match=r"^layer 3 shortcut must be a layer before the previous one, not "
                                              r"'conv2': that map is the input$"):
        list(layer_shapes(architecture))


@pytest.mark.parametrize(("path", "value", "text"), [
    (("timesteps",), 0, "timesteps must be an integer from 1 to 64, not 0"),
    (("layers",), [], "layers must be a list that ends in a readout"),
    (("layers",), REMOVE, "architecture must have the keys input, timesteps, layers, not input, timesteps"),
    (("input",), 5, "input must be an object, not int"),
    (("input", "encoding"), "sound", "input encoding must be pixels or events, not 'sound'"),
    (("input", "zero_point"), 128.0, "input zero point must be 0 or 128 for pixels, not 128.0"),
    (("input", "zero_point"), False, "input zero point must be 0 or 128 for pixels, not False"),
    (("input", "scale"), 10**400,
     "input scale must be a positive number, not 1000000000000000000000000000000000000..."),
    (("layers", 0, "epsilon"), 10**400,
     "layer 0 epsilon must be a positive number, not 1000000000000000000000000000000000000..."),
    (("layers", 0, "epsilon"), True, "layer 0 epsilon must be a positive number, not True"),
    (("layers", 0, "channels"), 2.0, "layer 0 channels must be an integer from 1 to 65536, not 2.0"),
    (("input", "zero_point"), 7, "input zero point must be 0 or 128 for pixels, not 7"),
    (("input", "scale"), 0, "input scale must be a positive number, not 0"),
    (("input", "channels"), 65, "input channels must be an integer from 1 to 64, not 65"),
    (("layers", 0, "kind"), "pool",
     "layer 0 must be of kind convolution, or-pool, fully-connected, readout, not 'pool'"),
    (("layers", 0, "kind"), [], "layer 0 must be of kind convolution, or-pool, fully-connected, readout, not []"),
    (("layers", 1, "stride"), 2, "layer 1 must have the keys kind, size and may have name, not kind, size, stride"),
    (("layers", 1, "name"), "conv1",
     "layer 1 name must be a word of letters, digits, - and _ that no other layer has, not 'conv1'"),
    (("layers", 3, "shortcut"), "conv1",
     "layer 3 must have the keys kind, name, classes and may have input_pool, not kind, name, classes, shortcut"),
    (("layers", 0, "pool"), 0, "layer 0 pool must be an integer from 1 to 7, not 0"),
    (("layers", 0, "pool"), 5, "layer 0 pool must fit in the currents of 5 x 4, not be 5"),
    (("layers", 0, "shortcut"), "x", "layer 0 shortcut must add to spikes, not be 'x': this layer sees the input"),
    (("layers", 2, "shortcut"), 0, "layer 2 shortcut must be the name of an earlier layer (conv1), not 0"),
    (("layers", 2, "shortcut"), "fc1", "layer 2 shortcut must be the name of an earlier layer (conv1), not 'fc1'"),
    (("layers", 2, "shortcut"), None, "layer 2 shortcut must be the name of an earlier layer (conv1), not None"),
    (("layers", 2, "shortcut"), "conv1",
     "layer 2 shortcut must have a map of (2, 2, 2) like the input, not that of conv1, (2, 5, 4)"),
    (("layers", 0), {"kind": "or-pool", "size": 2}, "layer 0 must have weights, not be an or-pool"),
    (("layers", 3), REMOVE, "layer 2 must be a readout: a network has one, at its end"),
    (("layers", 1), {"kind": "readout", "name": "r", "classes": 2},
     "layer 1 must not be a readout: a network has one, at its end"),
    (("layers", 0, "name"), "fc1",
     "layer 2 name must be a word of letters, digits, - and _ that no other layer has, not 'fc1'"),
    (("layers", 0, "name"), "a.b",
     "layer 0 name must be a word of letters, digits, - and _ that no other layer has, not 'a.b'"),
    (("layers", 0, "reset"), "hard", "layer 0 reset must be subtract or zero, not 'hard'"),
    (("layers", 0, "leak_shift"), 0, "layer 0 leak shift must be an integer from 1 to 31, not 0"),
    (("layers", 0, "epsilon"), -1.0, "layer 0 epsilon must be a positive number, not -1.0"),
    (("layers", 0, "padding"), 3, "layer 0 padding must be an integer from 0 to 2, not 3"),
    (("layers", 0, "kernel"), 7, "layer 0 kernel must fit in the padded map of 7 x 6, not be 7"),
    (("layers", 1, "size"), 5, "layer 1 size must fit in the map of 5 x 4, not be 5"),
    (("layers", 3, "classes"), 1, "layer 3 classes must be an integer from 2 to 1024, not 1"),
])
def test_wrong_architectures_are_named(path, value, text):
    with pytest.raises(CheckpointError) as caught:
        list(layer_shapes(changed(path, value)))
    assert str(caught.value) == text


def residual():
    """Projections of the layer before, of a larger map and before a pool; a mean of windows of the input."""
    same = {"kind": "convolution", "channels": 2, "kernel": 3, "stride": 1, "padding": 1, **NEURONS}
    layers = [
        same | {"name": "conv1"},
        same | {"name": "conv2", "projection": {"source": "conv1", "stride": 1, "weights": "identity"}},
        same | {"name": "conv3", "channels": 5, "stride": 2, "pool": 2,
                "projection": {"source": "conv1", "stride": 2, "weights": "trained"}},
        same | {"name": "conv4", "kernel": 1, "padding": 0, "input_pool": 2},
        {"kind": "fully-connected", "name": "fc1", "neurons": 3, **NEURONS, "input_pool": 1},
        {"kind": "readout", "name": "readout", "classes": 4}]
    source = ARCHITECTURE["input"] | {"height": 8, "width": 8}
    return copy.deepcopy(ARCHITECTURE | {"input": source, "layers": layers})


def test_projections_have_shapes_and_sources():
    architecture = residual()
    assert [after for _, _, after in layer_shapes(architecture)] == [
        (2, 8, 8), (2, 8, 8), (5, 2, 2), (2, 1, 1), (3, 1, 1), (4, 1, 1)]
    assert projection_sources(architecture) == {1: 0, 2: 0}
    assert projection_shapes(architecture) == {"conv2": (2, 2, 1, 1), "conv3": (5, 2, 1, 1)}
    assert projection_sources(ARCHITECTURE) == projection_shapes(ARCHITECTURE) == {}
    assert {name: shape for name, (_, shape) in weighted_layers(architecture).items()} == {
        "conv1": (2, 1, 3, 3), "conv2": (2, 2, 3, 3), "conv3": (5, 2, 3, 3), "conv4": (2, 5, 1, 1), "fc1": (3, 2),
        "readout": (4, 3)}


def test_means_are_of_windows_of_the_input_and_of_the_currents():
    assert [mean_size(layer) for layer in residual()["layers"]] == [1, 1, 4, 4, 1, 1]
    assert mean_size({"pool": 2, "input_pool": 3}) == 36


def test_weights_behind_an_average_pooling_see_one_place_per_window():
    architecture = residual()
    del architecture["layers"][3:5]
    architecture["layers"][3]["input_pool"] = 2
    assert weighted_layers(architecture)["readout"][1] == (4, 5)


PROJECTION = ("layers", 2, "projection")


@pytest.mark.parametrize(("path", "value", "text"), [
    (PROJECTION, None, "layer 2 projection must be an object, not NoneType"),
    ((*PROJECTION, "kernel"), 1,
     "layer 2 projection must have the keys source, stride, weights, not source, stride, weights, kernel"),
    ((*PROJECTION, "source"), "conv3",
     "layer 2 projection source must be the name of an earlier layer (conv1, conv2), not 'conv3'"),
    ((*PROJECTION, "source"), 0,
     "layer 2 projection source must be the name of an earlier layer (conv1, conv2), not 0"),
    ((*PROJECTION, "stride"), 8, "layer 2 projection stride must be an integer from 1 to 7, not 8"),
    ((*PROJECTION, "stride"), 1,
     "layer 2 projection must have currents of 4 x 4 like the kernel, not those of conv1 with stride 1, 8 x 8"),
    ((*PROJECTION, "weights"), "unit", "layer 2 projection weights must be trained or identity, not 'unit'"),
    ((*PROJECTION, "weights"), "identity",
     "layer 2 projection must have trained weights or 5 channels like the layer, not the 2 of conv1"),
    (("layers", 2, "shortcut"), "conv1",
     "layer 2 must have a shortcut or a projection, not both: its filters see at most two maps"),
    (("layers", 0, "projection"), {"source": "conv1", "stride": 1, "weights": "trained"},
     "layer 0 projection must read spikes, not be of 'conv1': this layer sees the input"),
    (("layers", 2, "input_pool"), 2,
     "layer 2 input_pool must be 1 beside a projection, not 2: both maps have one scale"),
    (("layers", 3, "input_pool"), 0, "layer 3 input_pool must be an integer from 1 to 1024, not 0"),
    (("layers", 3, "input_pool"), 3, "layer 3 input_pool must divide both sides of the map of 2 x 2, not be 3"),
    (("layers", 0, "input_pool"), 4,
     "layer 0 input_pool times kernel must be at most 7, not 12: the export makes one convolution of both"),
    (("layers", 3, "stride"), 4,
     "layer 3 input_pool times stride must be at most 7, not 8: the export makes one convolution of both"),
    (("layers", 3, "kernel"), 2, "layer 3 kernel must fit in the padded map of 1 x 1, not be 2"),
    (("layers", 5, "input_pool"), 2, "layer 5 input_pool must divide both sides of the map of 1 x 1, not be 2"),
])
def test_wrong_projections_and_means_are_named(path, value, text):
    architecture = residual()
    at = architecture
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    with pytest.raises(CheckpointError) as caught:
        list(layer_shapes(architecture))
    assert str(caught.value) == text
