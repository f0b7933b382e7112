import numpy as np
import pytest
import torch

from arch.checkpoint import Checkpoint, CheckpointError
from arch.network import Encoding, Input, Reset
from train.layers import Convolution, FullyConnected, Identity, OrPool, Projection, Readout
from train.network import SpikingNetwork, build, from_checkpoint
from train.neurons import Mode
from train.quantisers import codes_and_scale

SOURCE = Input(encoding=Encoding.PIXELS, channels=1, height=8, width=8)


def chain():
    return [Convolution(1, 4, 3, stride=2, padding=1), Convolution(4, 6, 3, reset=Reset.ZERO), OrPool(2),
            FullyConnected(6, 5, leak_shift=3), Readout(5, 3)]


def test_architecture_describes_the_layers_and_builds_the_same_network():
    network = SpikingNetwork(SOURCE, chain(), scale=0.5)
    behaviour = {"reset": "subtract", "leak_shift": None, "epsilon": 1e-5}
    assert network.architecture == {
        "input": {"encoding": "pixels", "channels": 1, "height": 8, "width": 8, "zero_point": 0, "scale": 0.5},
        "timesteps": 4,
        "layers": [
            {"kind": "convolution", "name": "conv1", "channels": 4, "kernel": 3, "stride": 2, "padding": 1,
             **behaviour},
            {"kind": "convolution", "name": "conv2", "channels": 6, "kernel": 3, "stride": 1, "padding": 0,
             **behaviour, "reset": "zero"},
            {"kind": "or-pool", "size": 2},
            {"kind": "fully-connected", "name": "fc1", "neurons": 5, **behaviour, "leak_shift": 3},
            {"kind": "readout", "name": "readout", "classes": 3}]}
    rebuilt = build(network.architecture)
    assert rebuilt.architecture == network.architecture
    assert [tuple(value.shape) for value in rebuilt.parameters()] == [tuple(value.shape)
                                                                      for value in network.parameters()]


def graph():
    return [Convolution(1, 4, 3, padding=1, pool=2), OrPool(2), Convolution(4, 4, 3, padding=1),
            Convolution(4, 4, 1, shortcut=1), FullyConnected(16, 5), FullyConnected(5, 5),
            FullyConnected(5, 5, shortcut=4), Readout(5, 3)]


def test_architecture_names_pools_and_shortcuts_and_builds_the_same_network():
    network = SpikingNetwork(SOURCE, graph())
    described = network.architecture["layers"]
    assert [layer.get("name") for layer in described] == ["conv1", "pool1", "conv2", "conv3", "fc1", "fc2", "fc3",
                                                          "readout"]
    assert {layer["name"]: layer["shortcut"] for layer in described if "shortcut" in layer} == {
        "conv3": "pool1", "fc3": "fc1"}
    assert {layer["name"]: layer["pool"] for layer in described if "pool" in layer} == {"conv1": 2}
    rebuilt = build(network.architecture)
    assert rebuilt.architecture == network.architecture
    assert [layer.shortcut for layer in rebuilt.chain if hasattr(layer, "shortcut")] == [None, None, 1, None, None, 4]


def test_a_shortcut_adds_maps_and_a_pool_averages_currents():
    network = SpikingNetwork(SOURCE, graph()).eval()
    images = torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8)
    seen, spikes = {}, []
    for index in (3, 6):
        network.chain[index].register_forward_pre_hook(lambda _, inputs, index=index: seen.update({index: inputs[0]}))
    network.chain[0].norm.register_forward_pre_hook(lambda _, inputs: seen.update(norm=inputs[0]))
    with torch.no_grad():
        network(images, spikes)
        currents = network.chain[0].synapses((images.float() / 256).movedim(1, -1))
    assert torch.equal(seen[3], spikes[1] + spikes[2])
    assert torch.equal(seen[6], spikes[4] + spikes[5])
    assert seen[3].max() == 2
    means = currents.reshape(6, 4, 2, 4, 2, 4).mean((2, 4))
    assert torch.allclose(seen["norm"], means.reshape(-1, 4), atol=1e-5)


def test_summed_spikes_are_exact_in_bfloat16():
    network = SpikingNetwork(SOURCE, graph()).eval()
    seen = []
    network.chain[3].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.randint(0, 256, (16, 1, 8, 8), dtype=torch.uint8)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        network(images)
    assert seen[0].dtype is torch.bfloat16
    assert set(seen[0].unique().tolist()) == {0.0, 1.0, 2.0}


def test_gradients_pass_a_shortcut_both_ways():
    torch.manual_seed(5)
    network = SpikingNetwork(SOURCE, graph())
    # Silent weights in the layer between: the first layers learn through the shortcut alone.
    torch.nn.init.zeros_(network.chain[2].synapses.weight)
    network(torch.randint(0, 256, (8, 1, 8, 8), dtype=torch.uint8)).square().sum().backward()
    assert network.chain[0].synapses.weight.grad.abs().sum() > 0
    assert network.chain[2].norm.bias.grad.abs().sum() > 0


def residual():
    return [Convolution(1, 4, 3, padding=1), Convolution(4, 4, 3, padding=1, projection=Identity(source=0)), OrPool(2),
            Convolution(4, 6, 3, padding=1, projection=Projection(source=1, channels=4, stride=2)),
            Convolution(6, 6, 3, padding=1, projection=Projection(source=2, channels=4)),
            Convolution(6, 5, 3, padding=1, input_pool=2), FullyConnected(5, 5, input_pool=2), Readout(5, 3)]


def test_architecture_states_projections_and_means_and_builds_the_same_network():
    network = SpikingNetwork(SOURCE, residual())
    described = network.architecture["layers"]
    assert {layer["name"]: layer["projection"] for layer in described if "projection" in layer} == {
        "conv2": {"source": "conv1", "stride": 1, "weights": "identity"},
        "conv3": {"source": "conv2", "stride": 2, "weights": "trained"},
        "conv4": {"source": "pool1", "stride": 1, "weights": "trained"}}
    assert {layer["name"]: layer["input_pool"] for layer in described if "input_pool" in layer} == {
        "conv5": 2, "fc1": 2}
    rebuilt = build(network.architecture)
    assert rebuilt.architecture == network.architecture
    assert [tuple(value.shape) for value in rebuilt.parameters()] == [tuple(value.shape)
                                                                      for value in network.parameters()]
    pooled = SpikingNetwork(SOURCE, [Convolution(1, 4, 3, padding=1), Readout(4, 3, input_pool=8)])
    assert pooled.architecture["layers"][-1] == {"kind": "readout", "name": "readout", "classes": 3, "input_pool": 8}
    assert build(pooled.architecture).architecture == pooled.architecture


def test_a_projection_adds_currents_of_an_earlier_map_at_the_scale_of_the_filter():
    torch.manual_seed(6)
    network = SpikingNetwork(SOURCE, residual()).eval()
    images = torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8)
    seen, spikes = {}, []
    for index in (1, 3, 5):
        network.chain[index].norm.register_forward_pre_hook(
            lambda _, inputs, index=index: seen.update({index: inputs[0]}))
    with torch.no_grad():
        network(images, spikes)
    for index, own, beside in ((1, spikes[0], spikes[0]), (3, spikes[2], spikes[1][:, :, ::2, ::2])):
        layer = network.chain[index]
        codes, scale = codes_and_scale(layer.synapses.weight.detach())
        if index == 1:
            kernel, more = codes, torch.eye(4)
        else:
            kernel, more = codes[:, :36].reshape(6, 4, 3, 3), codes[:, 36:]
            assert more.abs().sum() > 3
        sums = torch.nn.functional.conv2d(own.flatten(0, 1).movedim(-1, 1), kernel, padding=1).movedim(1, -1)
        currents = (sums + beside.flatten(0, 1) @ more.T) * scale
        assert torch.allclose(seen[index], currents.reshape(-1, len(codes)), atol=1e-5)
    means = spikes[4].unflatten(3, (2, 2)).unflatten(2, (2, 2)).mean((3, 5))
    with torch.no_grad():
        currents = network.chain[5].synapses(means.flatten(0, 1))
    assert torch.allclose(seen[5], currents.reshape(-1, 5), atol=1e-5)


def test_a_readout_of_means_has_the_scores_of_the_mean_spike():
    torch.manual_seed(6)
    network = SpikingNetwork(SOURCE, [Convolution(1, 4, 3, padding=1), Readout(16, 3, input_pool=4)]).eval()
    images, spikes = torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8), []
    with torch.no_grad():
        scores, by_step = network(images, spikes), network(images, by_step=True)
        means = spikes[0].unflatten(3, (2, 4)).unflatten(2, (2, 4)).mean((3, 5))
        expected = network.chain[1].synapses(means.movedim(-1, 2).flatten(2))
    assert torch.allclose(by_step, expected, atol=1e-6)
    assert torch.allclose(scores, expected.mean(0), atol=1e-6)


@pytest.mark.parametrize("mode", list(Mode))
def test_gradients_pass_a_projection_both_ways_in_every_mode(mode):
    torch.manual_seed(5)
    network = SpikingNetwork(SOURCE, residual())
    network.use_mode(mode)
    # Silent kernels: what is learnt before conv2 and conv3 is learnt through their projections.
    torch.nn.init.zeros_(network.chain[1].synapses.weight)
    network.chain[1].synapses.weight.data[:, 0, 0, 0] = 1
    network(torch.randint(0, 256, (8, 1, 8, 8), dtype=torch.uint8)).square().sum().backward()
    assert network.chain[0].synapses.weight.grad.abs().sum() > 0
    for index in (3, 4):
        kernel, beside = network.chain[index].synapses.split(network.chain[index].synapses.weight.grad)
        assert kernel.abs().sum() > 0
        assert beside.abs().sum() > 0


def test_a_checkpoint_of_projections_has_the_same_network(tmp_path):
    torch.manual_seed(4)
    network = SpikingNetwork(SOURCE, residual())
    images = torch.randint(0, 256, (8, 1, 8, 8), dtype=torch.uint8)
    network(images)
    made = network.checkpoint()
    made.save(tmp_path / "network.safetensors")
    loaded = Checkpoint.load(tmp_path / "network.safetensors")
    assert {name for name in made.tensors if "projection" in name} == {
        f"{layer}.projection_{part}" for layer in ("conv3", "conv4") for part in ("weight", "ternary")}
    for frozen in (False, True):
        again = from_checkpoint(loaded, frozen=frozen).checkpoint()
        assert again.digest() == made.digest()
    # Frozen codes and scales hold whatever the latent weights are.
    other = Checkpoint(architecture=made.architecture, tensors={
        **made.tensors, "conv3.projection_weight": -made.tensors["conv3.projection_weight"]})
    assert np.array_equal(from_checkpoint(other, frozen=True).checkpoint().tensors["conv3.projection_ternary"],
                          made.tensors["conv3.projection_ternary"])
    assert not np.array_equal(from_checkpoint(other).checkpoint().tensors["conv3.projection_ternary"],
                              made.tensors["conv3.projection_ternary"])


def test_checkpoint_survives_a_file(tmp_path):
    network = SpikingNetwork(SOURCE, chain())
    made = network.checkpoint({"seed": 1})
    made.save(tmp_path / "network.safetensors")
    loaded = Checkpoint.load(tmp_path / "network.safetensors")
    assert loaded.architecture == network.architecture
    assert loaded.provenance == {"seed": 1}
    assert set(loaded.tensors) == set(made.tensors)
    for name, array in made.tensors.items():
        assert np.array_equal(loaded.tensors[name], array)
        assert loaded.tensors[name].dtype == array.dtype
    assert float(loaded.tensors["conv1.initial"]) == 0.5
    assert "conv1.bias" not in loaded.tensors


def test_network_of_a_checkpoint_has_the_same_checkpoint():
    torch.manual_seed(4)
    network = SpikingNetwork(SOURCE, chain())
    network(torch.randint(0, 256, (8, 1, 8, 8), dtype=torch.uint8))
    network.chain[0].neurons.theta.data = torch.tensor(0.7)
    network.chain[1].neurons.initial = 0.25
    made = network.checkpoint()
    again = from_checkpoint(made).checkpoint()
    assert again.architecture == made.architecture
    for name, array in made.tensors.items():
        assert np.array_equal(array, again.tensors[name]), name
    biased = Checkpoint(architecture=made.architecture,
                        tensors={**made.tensors, "fc1.bias": np.zeros(5, np.float32)})
    with pytest.raises(CheckpointError, match=r"^fc1 must have no bias and one threshold to be trained$"):
        from_checkpoint(biased)


def test_one_batch_is_learnt_by_heart():
    torch.manual_seed(2)
    images = torch.randint(0, 256, (12, 1, 8, 8), dtype=torch.uint8)
    labels = torch.arange(12) % 3
    network = SpikingNetwork(SOURCE, [Convolution(1, 8, 3, padding=1), OrPool(2), Convolution(8, 8, 3), Readout(32, 3)])
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    thetas = [layer.neurons.theta.item() for layer in network.chain if isinstance(layer, Convolution)]
    for _ in range(80):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimiser.step()
        network.clamp()
    assert loss.item() < 0.1
    assert (network(images).argmax(1) == labels).all()
    assert all(layer.neurons.theta.item() != theta for layer, theta
               in zip((network.chain[0], network.chain[2]), thetas, strict=True)), "thresholds must learn"


def test_spikes_of_every_layer_are_collected():
    spikes = []
    SpikingNetwork(SOURCE, chain())(torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8), spikes)
    shapes = [tuple(maps.shape) for maps in spikes]
    assert shapes == [(4, 2, 4, 4, 4), (4, 2, 2, 2, 6), (4, 2, 1, 1, 6), (4, 2, 1, 1, 5)]


def test_events_are_one_frame_per_timestep():
    source = Input(encoding=Encoding.EVENTS, channels=2, height=8, width=8)
    network = SpikingNetwork(source, [Convolution(2, 4, 3), Readout(144, 3)])
    assert network.architecture["input"]["scale"] == 1
    assert network(torch.randint(0, 2, (5, 4, 2, 8, 8), dtype=torch.uint8)).shape == (5, 3)


def test_layers_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"^conv2 must have 4 inputs for a map of \(4, 6, 6\), not 5$"):
        SpikingNetwork(SOURCE, [Convolution(1, 4, 3), Convolution(5, 4, 3), Readout(64, 3)])
    with pytest.raises(ValueError, match=r"^layer 0 must be a readout: a network has one, at its end$"):
        SpikingNetwork(SOURCE, [Convolution(1, 4, 3)])
    with pytest.raises(ValueError, match=r"^conv1 timesteps must be 2 like the network's, not 4: give them to the "
                                         r"network alone$"):
        SpikingNetwork(SOURCE, [Convolution(1, 4, 3, timesteps=4), Readout(144, 3)], timesteps=2)
    with pytest.raises(ValueError, match=r"^fc3 shortcut must be the index of an earlier layer, not 6$"):
        SpikingNetwork(SOURCE, [*graph()[:6], FullyConnected(5, 5, shortcut=6), Readout(5, 3)])
    with pytest.raises(ValueError, match=r"^layer 6 shortcut must be a layer before the previous one, not 'fc2': that "
                                         r"map is the input$"):
        SpikingNetwork(SOURCE, [*graph()[:6], FullyConnected(5, 5, shortcut=5), Readout(5, 3)])
    with pytest.raises(ValueError, match=r"^layer 3 shortcut must have a map of \(4, 2, 2\) like the input, not that "
                                         r"of conv1, \(4, 4, 4\)$"):
        SpikingNetwork(SOURCE, [*graph()[:3], Convolution(4, 4, 1, shortcut=0), Readout(16, 3)])
    with pytest.raises(ValueError, match=r"^layer 0 pool must fit in the currents of 6 x 6, not be 7$"):
        SpikingNetwork(SOURCE, [Convolution(1, 4, 3, pool=7), Readout(64, 3)])
    with pytest.raises(ValueError, match=r"^pool must be at least 1, not 0$"):
        Convolution(1, 4, 3, pool=0)
    with pytest.raises(ValueError, match=r"^input_pool must be at least 1, not 0$"):
        Readout(4, 3, input_pool=0)
    with pytest.raises(ValueError, match=r"^conv2 projection must be of the index of an earlier layer, not 1$"):
        SpikingNetwork(SOURCE, [Convolution(1, 4, 3), Convolution(4, 4, 1, projection=Identity(source=1)),
                                Readout(144, 3)])
    with pytest.raises(ValueError, match=r"^conv2 projection must have the 4 channels of its source, not 5$"):
        SpikingNetwork(SOURCE, [Convolution(1, 4, 3), Convolution(4, 4, 1, projection=Projection(source=0, channels=5)),
                                Readout(144, 3)])
    with pytest.raises(ValueError, match=r"^layer 1 projection must have currents of 6 x 6 like the kernel, not those "
                                         r"of conv1 with stride 2, 3 x 3$"):
        SpikingNetwork(SOURCE, [Convolution(1, 4, 3), Convolution(4, 4, 1, projection=Identity(source=0, stride=2)),
                                Readout(144, 3)])
    with pytest.raises(TypeError, match=r"^a convolution with a projection must be given the map that the projection "
                                        r"sees$"):
        residual()[1](torch.zeros(4, 1, 8, 8, 4))
    with pytest.raises(TypeError, match=r"^layers must be of train\.layers, not ReLU$"):
        SpikingNetwork(SOURCE, [torch.nn.ReLU(), Readout(64, 3)])
