"""What a float network becomes: its architecture, and the values that the training begins with."""

import numpy as np
import pytest
import torch

from arch.network import Encoding
from export.sources.chain import SourceError
from export.sources.nir.graph import chain_of
from export.sources.nir.importing import Source
from export.sources.translation import Frame
from tests.export.sources.nir.graphs import FLATTEN, chained, convolution, layers, node, pool, spiking
from tests.export.sources.nir.test_graph import FRAME, RULE, lif
from train import network as networks
from train.sources.float_network import FloatNetwork
from train.sources.student import architecture_of, begin_with

NEURONS = {"reset": "zero", "leak_shift": None, "epsilon": 1e-5}
CONV = {"kind": "convolution", "name": "conv1", "channels": 4, "kernel": 3, "stride": 1, "padding": 1, **NEURONS}
RNG = np.random.default_rng(5)
FLOATS = RNG.normal(0, 0.7, (4, 1, 3, 3))


def source(nodes, frame=FRAME, shape=(1, 4, 4)):
    return Source(chain=chain_of(chained(nodes, shape), RULE), rule=RULE, frame=frame, provenance={})


def described(nodes, timesteps=4, **more):
    return architecture_of(source(nodes, **more), timesteps)["layers"]


def test_layers_of_a_float_network():
    nodes = layers(conv=convolution(FLOATS), if1=lif(tau=3e-4))
    # Leaks are left out, means become ORs, and the currents of the last weights are the scores.
    assert described(nodes) == [CONV, {"kind": "or-pool", "size": 2}, {"kind": "readout", "name": "readout",
                                                                      "classes": 3}]
    assert architecture_of(source(nodes), 2) | {"layers": []} == {
        "input": {"encoding": "pixels", "channels": 1, "height": 4, "width": 4, "zero_point": 0, "scale": 1 / 255},
        "timesteps": 2, "layers": []}


def test_pools_of_a_float_network():
    # Of currents, before the neurons.
    between = {"conv": convolution(FLOATS), "pool": pool(), "if1": spiking((4, 2, 2)),
               "flat": node("Flatten", **FLATTEN), "fc": node("Linear", weight=RNG.normal(size=(3, 16)))}
    assert [layer["kind"] for layer in described(between)] == ["convolution", "or-pool", "readout"]
    # Before the first weights nothing spikes; behind large windows an OR says little.
    first = {"pool0": pool(), "conv": convolution(FLOATS), "if1": spiking((4, 4, 4)), "pool": pool(size=4, stride=4),
             "flat": node("Flatten", **FLATTEN), "fc": node("Linear", weight=RNG.normal(size=(3, 4)))}
    found = described(first, shape=(1, 8, 8))
    assert found == [CONV | {"input_pool": 2}, {"kind": "readout", "name": "readout", "classes": 3, "input_pool": 4}]


def test_an_or_and_a_mean_become_one_or():
    nodes = {"conv": convolution(FLOATS), "if1": spiking((4, 8, 8)), "sum": pool("SumPool2d"),
             "or": node("Threshold", threshold=np.full((4, 4, 4), 0.5)), "pool": pool(),
             "flat": node("Flatten", **FLATTEN), "fc": node("Linear", weight=RNG.normal(size=(3, 16)))}
    # The array runs one behind a layer, and windows of windows are windows.
    assert described(nodes, shape=(1, 8, 8))[1:-1] == [{"kind": "or-pool", "size": 4}]


def test_two_fully_connected_layers_have_their_names():
    nodes = {"fc": node("Linear", weight=RNG.normal(size=(5, 16))), "if": spiking((5,)),
             "fc2": node("Linear", weight=RNG.normal(size=(6, 5))), "if2": spiking((6,)),
             "out": node("Linear", weight=RNG.normal(size=(3, 6)))}
    found = described({"flat": node("Flatten", **FLATTEN), **nodes})
    assert [layer["name"] for layer in found] == ["fc1", "fc2", "readout"]
    networks.build(architecture_of(source({"flat": node("Flatten", **FLATTEN), **nodes}), 4))


def test_the_last_weights_must_be_fully_connected():
    nodes = layers(flat=None, fc=convolution(RNG.normal(size=(3, 4, 2, 2)), padding=[0, 0]), if2=spiking((3, 1, 1)))
    with pytest.raises(SourceError, match=r"^node fc: the last weights must be of a fully connected layer: end the "
                                          r"network in one$"):
        described(nodes)


def begun(nodes, timesteps=4, **more):
    """The ternary network at the beginning, the float one, and images."""
    float_source = source(nodes, **more)
    teacher = FloatNetwork(float_source)
    network = networks.build(architecture_of(float_source, timesteps))
    images = torch.from_numpy(RNG.integers(0, 256, (200, 1, 4, 4), dtype=np.uint8))
    begin_with(network, teacher, images)
    return network, teacher, images


@pytest.mark.parametrize(("neurons", "share"), [
    (spiking((4, 4, 4), threshold=1.0), 1.0),
    # In units of the threshold.
    (spiking((4, 4, 4), threshold=0.5), 2.0),
    # A leak of 1/3 leaves (1 + 2/3 + 4/9 + 8/27) / 4 of a constant current after 4 timesteps; its gain is 1/3.
    (lif(tau=3e-4), (1 + 2 / 3 + 4 / 9 + 8 / 27) / 4),
])
def test_currents_begin_with_mean_and_spread_of_the_float_ones(neurons, share):
    network, teacher, images = begun(layers(conv=convolution(FLOATS, bias=np.arange(4.0)), if1=neurons))
    currents = []
    teacher(images, currents)
    wanted = currents[0][0] * share
    seen = []
    network.chain[0].norm.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    network.eval()(images)
    ours = seen[0].unflatten(0, (200, 16))
    theirs = wanted.movedim(1, -1).flatten(1, 2)
    assert torch.allclose(ours.mean((0, 1)), theirs.mean((0, 1)), atol=1e-3)
    assert torch.allclose(ours.std((0, 1)), theirs.std((0, 1)), rtol=1e-2)
    # Not only the moments: the ternary weights are those of the float ones, so the currents are alike.
    correlation = torch.corrcoef(torch.stack([ours[..., 1].flatten(), theirs[..., 1].flatten()]))[0, 1]
    assert correlation > 0.8
    assert network.chain[0].neurons.theta == 1
    assert network.chain[0].norm.momentum == 0.1


def test_latent_weights_have_the_spread_of_random_ones():
    weight = FLOATS.copy()
    weight[2] = 0
    network, _, _ = begun(layers(conv=convolution(weight)))
    latent = network.chain[0].synapses.weight.detach()
    spread = latent.flatten(1).square().mean(1).sqrt()
    assert torch.allclose(spread[[0, 1, 3]], torch.tensor((2 / 9)**0.5))
    assert not latent[2].any()
    assert torch.equal(latent.sign(), torch.from_numpy(np.sign(weight)).float())
    # The readout has one scale, and keeps what its classes are to each other.
    readout = network.chain[-1].synapses.weight.detach()
    dense = torch.from_numpy(layers()["fc"].values["weight"]).float()
    assert torch.allclose(readout / readout.abs().max(), dense / dense.abs().max())


def test_weights_must_be_those_of_the_architecture():
    network, _, images = begun(layers(conv=convolution(FLOATS)))
    other = FloatNetwork(source(layers(conv=convolution(RNG.normal(size=(4, 1, 1, 1)), padding=[0, 0]))))
    with pytest.raises(SourceError, match=r"^weights must have the shapes of the recipe's layers, \[\(4, 1, 3, 3\), "
                                          r"\(3, 16\)\], not \[\(4, 1, 1, 1\), \(3, 16\)\]: begin again with --from$"):
        begin_with(network, other, images)


def test_frames_of_events_are_seen_as_they_are():
    frame = Frame(timesteps=4, encoding=Encoding.EVENTS)
    made = architecture_of(source(layers(conv=convolution(FLOATS)), frame=frame), 4)
    assert made["input"]["scale"] == 1
    assert made["input"]["encoding"] == "events"
