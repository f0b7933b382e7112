import copy

import pytest

from arch.architecture import CheckpointError, layer_shapes, shortcut_sources, weighted_layers

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
     "layer 3 must have the keys kind, name, classes, not kind, name, classes, shortcut"),
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
