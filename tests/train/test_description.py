"""The network that is exported is the network that was trained: values set after construction are in the checkpoint."""

import dataclasses
import re

import numpy as np
import pytest
import torch
from torch import nn

from arch.checkpoint import CheckpointError
from arch.network import Encoding, Input, Reset
from export import steps
from export.folding import fold
from reference.network import Reference
from support.errors import InputError
from train import distributed, exact
from train.description import training_only
from train.layers import Convolution, FullyConnected, Identity, OrPool, Projection, Readout
from train.network import SpikingNetwork, build, from_checkpoint
from train.neurons import Mode
from train.quantisers import Quantiser
from train.synapses import ProjectedConv2d, TernaryConv2d

SOURCE = Input(encoding=Encoding.PIXELS, channels=2, height=9, width=8)


def made_network(*, timesteps=3, **options):
    """An untrained network with made BatchNorm statistics, in evaluation mode."""
    torch.manual_seed(41)
    network = SpikingNetwork(SOURCE, [Convolution(2, 5, 3, stride=2, padding=1, **options),
                                      Convolution(5, 6, 2, padding=1, **options), OrPool(2),
                                      FullyConnected(36, 7, **options), Readout(7, 4)],
                             timesteps=timesteps)
    for layer in network.chain:
        norm = getattr(layer, "norm", None)
        if norm is not None:
            norm.running_mean = 0.1 * torch.randn(norm.num_features)
            norm.running_var = 0.5 + torch.rand(norm.num_features)
            if norm.bias is not None:
                norm.bias.data = 0.3 * torch.randn(norm.num_features) + 0.3
            if norm.weight is not None:
                norm.weight.data = torch.randn(norm.num_features) + 0.2
    return network.eval()


def made_images(count=150):
    return torch.from_numpy(np.random.default_rng(42).integers(0, 256, (count, 2, 9, 8), dtype=np.uint8))


def shifted(network):
    """The convolution's window moves: the map behind it keeps its size."""
    network.chain[0].synapses.stride, network.chain[0].synapses.padding = 1, 0
    network.chain[1].synapses.padding = 0


SET_AFTERWARDS = {
    "epsilon": lambda network: setattr(network.chain[1].norm, "eps", 3.0),
    "scale": lambda network: setattr(network, "scale", 1 / 64),
    "zero point": lambda network: setattr(network, "source", dataclasses.replace(SOURCE, zero_point=128)),
    "reset": lambda network: setattr(network.chain[0].neurons, "reset", Reset.ZERO),
    "leak": lambda network: setattr(network.chain[1].neurons, "leak_shift", 1),
    "stride and padding": shifted,
    "pool of currents": lambda network: (setattr(network.chain[0], "pool", 2),
                                         setattr(network.chain[0].synapses, "stride", 1),
                                         network.chain.__setitem__(3, FullyConnected(24, 7, timesteps=3).eval())),
    "size of a pool": lambda network: (setattr(network.chain[2], "size", 3),
                                       network.chain.__setitem__(3, FullyConnected(12, 7, timesteps=3).eval())),
    "shortcut": lambda network: (network.chain.insert(2, Convolution(6, 6, 1, timesteps=3).eval()),
                                 network.chain.insert(3, Convolution(6, 6, 1, timesteps=3, shortcut=1).eval())),
    "identity": lambda network: network.chain.insert(
        2, Convolution(6, 6, 1, timesteps=3, projection=Identity(source=1)).eval()),
    "projection": lambda network: (network.chain.__setitem__(
        1, Convolution(5, 6, 3, timesteps=3, padding=1, projection=Projection(source=0, channels=5)).eval()),
        network.chain.__setitem__(3, FullyConnected(24, 7, timesteps=3).eval())),
    "mean of windows": lambda network: (
        network.chain.__setitem__(1, Convolution(5, 6, 3, timesteps=3, padding=1).eval()),
        network.chain.__setitem__(3, FullyConnected(6, 7, timesteps=3).eval()),
        setattr(network.chain[3], "input_pool", 2)),
    "initial membrane": lambda network: setattr(network.chain[0].neurons, "initial", 0.0),
    "timesteps": lambda network: (setattr(network, "timesteps", 5), [
        setattr(layer.neurons, "timesteps", 5) for layer in network.chain if hasattr(layer, "neurons")]),
    "threshold": lambda network: network.chain[0].neurons.theta.data.fill_(0.3),
    "threshold of channels": lambda network: (
        network.use_initial(0), setattr(network.chain[0].neurons, "theta", nn.Parameter(torch.arange(1, 6) / 4))),
    "no norm": lambda network: setattr(network.chain[1], "norm", None),
    "norm without scale and shift": lambda network: setattr(network.chain[1], "norm",
                                                            nn.BatchNorm1d(6, affine=False).eval()),
    "norm without scale": lambda network: setattr(network.chain[1].norm, "weight", None),
    "norm without shift": lambda network: setattr(network.chain[1].norm, "bias", None),
    "norm of several processes": lambda network: (network.chain[1].norm.running_mean.add_(1),
                                                  distributed.use_global_norm(network), network.eval()),
    "one scale for all channels": lambda network: setattr(network.chain[3].synapses, "per_channel", False),
}


@pytest.mark.parametrize("name", SET_AFTERWARDS)
def test_values_set_after_construction_are_in_the_checkpoint(name):
    network, images = made_network(), made_images()
    before = network.checkpoint()
    SET_AFTERWARDS[name](network)
    checkpoint = network.checkpoint()
    maps = []
    with torch.no_grad():
        network(images, maps)
    assert 0.01 < float(maps[0].mean()) < 0.99
    _, spikes = exact.forward(checkpoint, images)
    wrong = sum(int((ours != theirs.movedim(-1, 2)).sum()) for ours, theirs in zip(spikes, maps, strict=True))
    compared = sum(ours.numel() for ours in spikes)
    assert wrong < 1e-3 * compared
    assert exact.mismatches(network, images) == (wrong, compared)
    assert checkpoint.digest() != before.digest()
    # What was exported before: the network that the constructors were told.
    old = exact.forward(before, images)[1]
    assert [maps.shape for maps in old] != [maps.shape for maps in spikes] or any(
        not torch.equal(one, other) for one, other in zip(old, spikes, strict=True))


def test_mismatches_see_another_network_and_leave_the_module_as_it_was():
    network, images = made_network(), made_images()
    other = network.checkpoint()
    network.chain[1].norm.eps = 3.0
    network.train()
    network.chain[0].norm.eval()
    wrong, compared = exact.mismatches(network, images, other)
    assert wrong > 0.01 * compared
    assert network.training
    assert not network.chain[0].norm.training
    assert network.chain[1].norm.training


def test_a_frozen_network_has_the_codes_of_the_checkpoint():
    checkpoint = made_network().checkpoint()
    codes = {**checkpoint.tensors, "conv2.ternary": -checkpoint.tensors["conv2.ternary"]}
    changed = dataclasses.replace(checkpoint, tensors=codes)
    images = made_images()
    wrong, compared = exact.mismatches(from_checkpoint(changed, frozen=True), images, changed)
    assert wrong < 1e-3 * compared
    assert from_checkpoint(changed, frozen=True).checkpoint().digest() == changed.digest()
    wrong, _ = exact.mismatches(from_checkpoint(changed), images, changed)
    assert wrong > 0.01 * compared


@pytest.mark.parametrize("kind", ["no norm", "norm without scale and shift", "norm without scale",
                                  "norm without shift"])
def test_incomplete_norms_survive_checkpoint_build_and_export(kind):
    network, images = made_network(), made_images()
    SET_AFTERWARDS[kind](network)
    checkpoint = network.checkpoint()
    again = from_checkpoint(checkpoint)
    assert again.checkpoint().digest() == checkpoint.digest()
    assert build(checkpoint.architecture).architecture == checkpoint.architecture
    certified = steps.certify(checkpoint, fold(checkpoint), max_fraction=8)
    integer = steps.assemble(checkpoint, certified, {})
    assert integer.metadata["exact"] is True
    assert sum(steps.verify(checkpoint, steps.pack(integer), images.numpy()).mismatches) == 0
    scores, spikes = exact.forward(checkpoint, images)
    result = Reference(integer).run(images.numpy(), spikes=True)
    assert np.array_equal(scores.numpy(), result.scores)
    for ours, theirs in zip(spikes, result.spikes, strict=True):
        assert np.array_equal(ours.movedim(0, 1).numpy(), theirs)


def test_layers_without_norm_train_and_export():
    network, images = made_network(norm=False), made_images(64)
    assert all(layer.norm is None for layer in network.chain if hasattr(layer, "norm"))
    labels = (images[:, 0].float().mean((1, 2)) > 127).long()
    network.train()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    for _ in range(25):
        loss = nn.functional.cross_entropy(network(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        network.clamp()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    checkpoint = network.checkpoint()
    assert not any(name.endswith((".gamma", ".beta", ".mean", ".variance")) for name in checkpoint.tensors)
    assert [layer["epsilon"] for layer in checkpoint.architecture["layers"] if "epsilon" in layer] == [None] * 3
    wrong, compared = exact.mismatches(network, images)
    assert wrong < 1e-3 * compared


class Louder(Convolution):
    """A user's layer."""


class Doubling(TernaryConv2d):
    """A user's synapses."""

    def sums_and_scale(self, maps):
        """Twice the sums."""
        sums, scale = super().sums_and_scale(maps)
        return 2 * sums, scale


class Halves(Quantiser):
    """Codes between those that the hardware has."""

    def codes_and_scale(self, weight, *, per_channel=True):
        """As of Quantiser."""
        return weight.sign() / 2, weight.new_ones(len(weight))


def no_place(name, kind, found):
    return f"{name} must be {kind}, not {found}: a checkpoint has no place for what that computes"


HOOKS = ("{} must have no forward hooks (weight_norm and prune leave some): remove them, or mark with "
         "train.description.training_only those that change nothing in evaluation mode")
OWN_FORWARD = ("network must have the forward of SpikingNetwork and no forward hooks: a checkpoint has no place for "
               "what others compute")


UNLIKE = ("conv2 synapses must be a ProjectedConv2d exactly if the projection has weights: build the layer with its "
          "projection")


@pytest.mark.parametrize(("change", "line"), [
    (lambda network: network.chain.__setitem__(0, Louder(2, 5, 3, stride=2, padding=1, timesteps=3)),
     no_place("conv1", "Convolution", "Louder")),
    (lambda network: setattr(network.chain[1], "synapses", Doubling(5, 6, 2, padding=1)),
     no_place("conv2.synapses", "TernaryConv2d", "Doubling")),
    (lambda network: setattr(network.chain[1], "norm", nn.Identity()),
     no_place("conv2.norm", "BatchNorm1d", "Identity")),
    (lambda network: setattr(network.chain[1], "norm", nn.SyncBatchNorm(6)),
     no_place("conv2.norm", "BatchNorm1d", "SyncBatchNorm")),
    (lambda network: setattr(network.chain[1], "norm", nn.BatchNorm1d(6, track_running_stats=False)),
     "conv2 norm must keep running statistics, not those of each batch: set track_running_stats when it is built"),
    (lambda network: setattr(network.chain[3].synapses, "forward", lambda x: x),
     ("fc1.synapses must have the forward of TernaryLinear, not one that was set on it: a checkpoint has no place for "
      "what that computes")),
    (lambda network: network.chain[1].register_forward_hook(lambda module, inputs, output: 1 - output),
     HOOKS.format("conv2")),
    (lambda network: network.chain[3].neurons.register_forward_pre_hook(lambda module, inputs: None),
     HOOKS.format("fc1.neurons")),
    (lambda network: network.register_forward_hook(lambda module, inputs, output: -output), OWN_FORWARD),
    (lambda network: setattr(network, "forward", lambda images: images), OWN_FORWARD),
    (lambda network: nn.utils.parametrize.register_parametrization(network.chain[1].synapses, "weight", nn.Identity()),
     no_place("conv2.synapses", "TernaryConv2d", "ParametrizedTernaryConv2d")),
    (lambda network: network.use_mode(Mode.RATES),
     "conv1 must pass on spikes, not rates: call network.use_mode(Mode.SPIKES)"),
    (lambda network: setattr(network.chain[2], "mode", Mode.RELU),
     "pool1 must pass on spikes, not relu: call network.use_mode(Mode.SPIKES)"),
    (lambda network: network.double(), "chain.0.synapses.weight must be float32, not float64: call network.float()"),
    (lambda network: network.bfloat16(), "chain.0.synapses.weight must be float32, not bfloat16: call network.float()"),
    (lambda network: setattr(network.chain[4].synapses, "per_channel", True),
     "readout must have one scale for all classes, not one per class: set synapses.per_channel to False"),
    (lambda network: setattr(network.chain[3].synapses, "quantiser", Halves()),
     "fc1 codes must be -1, 0 and +1, as those of the quantisers of train.quantisers"),
    (lambda network: setattr(network.chain[0].neurons, "reset", "zero"), "conv1 reset must be a Reset, not 'zero'"),
    (lambda network: setattr(network.chain[0].neurons, "leak_shift", 0.5),
     "layer 0 leak shift must be an integer from 1 to 31, not 0.5"),
    (lambda network: setattr(network.chain[0].neurons, "timesteps", 4),
     "conv1 timesteps must be 3 like the network's, not 4: give them to the network alone"),
    (lambda network: setattr(network, "timesteps", 4),
     "conv1 timesteps must be 4 like the network's, not 3: give them to the network alone"),
    (lambda network: setattr(network.chain[0].synapses, "stride", (2, 2)),
     "layer 0 stride must be an integer from 1 to 7, not (2, 2)"),
    (lambda network: setattr(network.chain[0].synapses, "padding", "same"),
     "layer 0 padding must be an integer from 0 to 2, not 'same'"),
    (lambda network: setattr(network.chain[0].norm, "eps", 0), "layer 0 epsilon must be a positive number, not 0"),
    (lambda network: setattr(network, "scale", torch.tensor(0.5)),
     "input scale must be a positive number, not tensor(0.5000)"),
    (lambda network: setattr(network, "scale", float("nan")), "input scale must be a positive number, not nan"),
    (lambda network: setattr(network.chain[0].neurons, "initial", float("nan")),
     "tensor conv1.initial must be finite, not nan"),
    (lambda network: network.chain.__delitem__(1), "fc1 must have 20 inputs for a map of (5, 2, 2), not 36"),
    (lambda network: setattr(network.chain[1], "projection", Identity(source=True)),
     "conv2 projection must be of the index of an earlier layer, not True"),
    (lambda network: (setattr(network.chain[1], "synapses", TernaryConv2d(5, 6, 1)),
                      setattr(network.chain[1], "projection", Projection(source=0, channels=5))), UNLIKE),
    (lambda network: setattr(network.chain[1], "synapses", ProjectedConv2d(5, 6, 2, padding=1, beside=5)), UNLIKE),
    (lambda network: setattr(network.chain[3], "input_pool", 2.0),
     "layer 3 input_pool must be an integer from 1 to 1024, not 2.0"),
    (lambda network: setattr(network.chain[1], "shortcut", True),
     "conv2 shortcut must be the index of an earlier layer, not True"),
])
def test_what_a_checkpoint_cannot_hold_is_refused_by_name(change, line):
    network = made_network()
    change(network)
    with pytest.raises(CheckpointError, match=f"^{re.escape(line)}$"):
        network.checkpoint()


def test_a_subclass_with_a_forward_of_its_own_is_refused():
    class Negated(SpikingNetwork):
        def forward(self, images, *arguments, **options):
            return -super().forward(images, *arguments, **options)

    network = Negated(SOURCE, [Convolution(2, 5, 3), Readout(210, 4)])
    with pytest.raises(CheckpointError, match=f"^{re.escape(OWN_FORWARD)}$"):
        network.checkpoint()


def test_hooks_that_are_marked_do_not_hinder():
    network = made_network()
    before = network.checkpoint()
    network.chain[1].register_forward_pre_hook(training_only(lambda module, inputs: None))
    assert network.checkpoint().digest() == before.digest()


def test_layers_get_the_timesteps_of_their_network():
    network = made_network(timesteps=6)
    assert {layer.neurons.timesteps for layer in network.chain if hasattr(layer, "neurons")} == {6}
    assert network.architecture["timesteps"] == 6
    layer = Convolution(2, 5, 3)
    with pytest.raises(ValueError, match=r"^timesteps must be given to a layer that is part of no network$"):
        layer(torch.zeros(1, 1, 9, 8, 2))
    SpikingNetwork(SOURCE, [layer, Readout(210, 4)], timesteps=6)
    with pytest.raises(ValueError, match=r"^conv1 timesteps must be 4 like the network's, not 6: give them to the "
                                         r"network alone$"):
        SpikingNetwork(SOURCE, [layer, Readout(210, 4)], timesteps=4)


@pytest.mark.parametrize(("images", "line"), [
    (made_images(3).float() / 255,
     (r"pixels must be whole numbers from 0 to 255, as the exported network gets them, not 0\.\d+: multiply images of "
      r"0 to 1 by 255, and put other scales into SpikingNetwork\(scale=\.\.\.\)")),
    (made_images(3).double() - 0.5, r"pixels must be whole numbers from 0 to 255, .*, not -0\.5: multiply .*"),
    (made_images(3).float() * 2, r"pixels must be whole numbers from 0 to 255, .*, not \d+: multiply .*"),
    (made_images(3).float() * float("nan"), r"pixels must be whole numbers from 0 to 255, .*, not nan: multiply .*"),
    (made_images(3).long() - 300, r"pixels must be whole numbers from 0 to 255, .*, not -300: multiply .*"),
    (made_images(3) > 127, (r"pixels must be whole numbers from 0 to 255, as the exported network gets them, not bool: "
                            r"multiply them by 255")),
    (made_images(3)[:, :1], r"images must be of shape \(N, 2, 9, 8\), not \(3, 1, 9, 8\)"),
    (made_images(3)[:, None].expand(3, 4, 2, 9, 8), r"images must be of shape \(N, 2, 9, 8\), not \(3, 4, 2, 9, 8\)"),
])
def test_pixels_that_the_exported_network_never_sees_are_refused(images, line):
    network = made_network()
    network(made_images(3).float())
    with pytest.raises(InputError, match=f"^{line}$"):
        network(images)


@pytest.mark.parametrize(("frames", "line"), [
    (torch.full((2, 3, 2, 9, 8), 2, dtype=torch.uint8),
     r"events must be 0 and 1, as the exported network gets them, not 2"),
    (torch.full((2, 3, 2, 9, 8), 1 + 2**-20),
     r"events must be 0 and 1, as the exported network gets them, not 1\.00000095367"),
    (torch.full((2, 3, 2, 9, 8), 0.5), r"events must be 0 and 1, as the exported network gets them, not 0\.5"),
    (torch.zeros(2, 1, 2, 9, 8), r"images must be of shape \(N, 3, 2, 9, 8\), not \(2, 1, 2, 9, 8\)"),
])
def test_events_that_the_exported_network_never_sees_are_refused(frames, line):
    source = dataclasses.replace(SOURCE, encoding=Encoding.EVENTS)
    network = SpikingNetwork(source, [Convolution(2, 5, 3), Readout(210, 4)], timesteps=3)
    network(torch.ones(2, 3, 2, 9, 8, dtype=torch.bool))
    with pytest.raises(InputError, match=f"^{line}$"):
        network(frames)
    network.scale = 0.5
    with pytest.raises(CheckpointError, match=r"^input scale must be 1 for events, not 0\.5$"):
        network.checkpoint()
