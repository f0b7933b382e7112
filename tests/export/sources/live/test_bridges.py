"""The bridges: what they ask for, what they refuse and in which words, and rules that random modules do not reach."""

import copy
import pathlib
import re
from fractions import Fraction

import numpy as np
import pytest
import snntorch.utils
import torch
import torch.nn.functional as F
from snntorch import surrogate
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based import surrogate as jelly_surrogate
from torch import nn

from arch import network_file
from export.sources.chain import SourceError
from export.sources.live.neurons import ANY_LEAK
from export.sources.snntorch import from_snntorch
from export.sources.spikingjelly import from_spikingjelly
from reference.network import Reference

T = 4
PIXELS = {"timesteps": T, "encoding": "pixels", "scale": "1/256"}
FLAT = torch.zeros(2, 6)
MAP = torch.zeros(2, 1, 6, 6)


def ternary(part, seed=0):
    """Give a layer ternary weights."""
    rng = np.random.default_rng(seed)
    shape = tuple(part.weight.shape)
    part.weight.data = torch.tensor(rng.choice([-0.5, 0, 0.5, 0.5], shape), dtype=torch.float32)
    if part.bias is not None:
        part.bias.data = torch.tensor(rng.integers(-1, 4, shape[0]) / 8, dtype=torch.float32)
    return part


def leaky(beta=1.0, **more):
    return snntorch.Leaky(beta=beta, **more)


class Two(nn.Module):
    """A convolution and a linear layer, each with neurons, over timesteps; ``between`` is what may be wrong."""

    def __init__(self, between=lambda net, spikes: spikes.flatten(1), timesteps=T, **more):
        super().__init__()
        self.conv, self.lif1 = ternary(nn.Conv2d(1, 2, 3)), leaky(**more)
        self.fc, self.lif2 = ternary(nn.Linear(32, 3)), leaky()
        self.between, self.timesteps = between, timesteps

    def forward(self, x):
        mem1, mem2, found = self.lif1.reset_mem(), self.lif2.reset_mem(), []
        for _ in range(self.timesteps):
            spikes, mem1 = self.lif1(self.conv(x), mem1)
            spikes, mem2 = self.lif2(self.fc(self.between(self, spikes)), mem2)
            found.append(spikes)
        return torch.stack(found)


def one(part=None, head=None):
    """A flat network of one layer of neurons, in the style of ``nn.Sequential``."""
    return nn.Sequential(ternary(nn.Linear(6, 3)) if head is None else head,
                         leaky(init_hidden=True) if part is None else part)


def differ(found):
    return found.network.metadata["training"]["own_forward"]["differ"]


# --- What comes out ---

def test_what_is_exported_is_a_network_with_its_report(tmp_path):
    found = from_snntorch(Two(), MAP, name="two", **PIXELS)
    assert found.exact is True
    assert str(found).splitlines()[5:8] == [
        (f"read by the rule of snnTorch {snntorch.__version__}: a membrane > its threshold spikes, reset minus the "
         f"threshold"), "scores: spikes of the last neurons, counted",
        "own forward, in float32: 0 of 4,480 spikes differ on 32 images"]
    assert "written: nothing yet" in str(found)
    path = tmp_path / "two.safetensors"
    found.save(path)
    assert f"written: {path}" in str(found)
    read = network_file.load(path)
    assert network_file.digest(read) == found.report["network_sha256"]
    assert read.metadata["name"] == "two"
    assert read.metadata["training"] == {
        "source": "snntorch", "module": "Two", "package_version": snntorch.__version__,
        "rule": f"of snnTorch {snntorch.__version__}: a membrane > its threshold spikes, reset minus the threshold",
        "stated": {"timesteps": 4, "encoding": "pixels", "zero_point": 0, "scale": "1/256"},
        "scores": "spikes of the last neurons, counted",
        "own_forward": {"images": 32, "spikes": 4480, "differ": 0, "floats": "float32"}}


def test_the_module_stays_as_it_is():
    module = one()
    module(torch.ones(2, 6))
    before = copy.deepcopy(module[1].mem.detach()), module[1].mem
    from_snntorch(module, FLAT, **PIXELS)
    assert module[1].mem is before[1]
    assert torch.equal(module[1].mem, before[0])
    assert not module[1]._forward_hooks
    jelly = nn.Sequential(ternary(layer.Linear(6, 3)), neuron.IFNode())
    jelly(torch.ones(2, 6))
    held = jelly[1].v.clone()
    from_spikingjelly(jelly, FLAT, **PIXELS)
    assert torch.equal(jelly[1].v, held)


class Counting(Two):
    """Changes a parameter, a buffer and a tensor of its own in place, and exchanges another parameter."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(2))
        self.own = torch.zeros(2)
        self.shift, self.last = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))

    def forward(self, x):
        self.seen += 1
        self.own += 1
        self.shift.data += 1
        self.last = nn.Parameter(self.last + 1)
        return super().forward(x)


def test_numbers_that_are_changed_in_place_come_back():
    module = Counting()
    module(MAP)
    before, last = copy.deepcopy(module.state_dict()), module.last
    from_snntorch(module, MAP, **PIXELS)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert module.own.tolist() == [1, 1]
    assert module.last is last


def test_tensors_that_nobody_can_write_to_are_left_alone():
    module = one()
    module.register_buffer("spread", torch.zeros(1).expand(3))
    with torch.inference_mode():
        module(torch.ones(2, 6))
    mem, spread = module[1].mem, module.spread
    from_snntorch(module, FLAT, **PIXELS)
    assert module[1].mem is mem
    assert module.spread is spread


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_a_call_without_gradients_is_told_to_the_caller(context):
    with context(), pytest.raises(SourceError, match=(
            r"^the path through the layers is read from gradients: do not call this within torch\.no_grad or "
            r"torch\.inference_mode$")):
        from_snntorch(Two(), MAP, **PIXELS)


def test_currents_are_scores_where_the_module_ends_in_weights():
    module = nn.Sequential(ternary(nn.Linear(6, 8)), leaky(init_hidden=True), ternary(nn.Linear(8, 3, bias=False), 1))
    images = np.random.default_rng(3).integers(0, 256, (5, 1, 1, 6), dtype=np.uint8)
    found = from_snntorch(module, FLAT, images=images, **PIXELS)
    snntorch.utils.reset(module)
    values = torch.tensor(images.reshape(5, 6) / 256, dtype=torch.float32)
    sums = sum(module(values) for _ in range(T)).detach().numpy()
    assert np.array_equal(Reference(found.network).run(images).scores, np.rint(sums * 2))
    assert found.network.metadata["training"]["own_forward"]["images"] == 5


def test_images_in_a_row_have_the_shape_that_is_given():
    found = from_snntorch(one(), FLAT, shape=(1, 2, 3), **PIXELS)
    assert found.network.input.shape == (1, 2, 3)
    assert differ(found) == 0


def test_a_zero_point_is_what_the_module_sees_as_zero():
    found = from_snntorch(Two(), MAP, zero_point=128, **PIXELS)
    assert found.network.input.zero_point == 128
    assert differ(found) == 0


def test_a_function_may_run_the_timesteps():
    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = ternary(nn.Linear(6, 3)), leaky()

        def forward(self, x, mem):
            return self.lif(self.fc(x), mem)

    module = Step()

    def run(x):
        mem = torch.zeros(2, 3)
        for _ in range(T):
            spikes, mem = module(x, mem)
        return spikes

    assert differ(from_snntorch(module, FLAT, forward=run, readout="spikes", **PIXELS)) == 0
    with pytest.raises(SourceError, match=r"^the module must run on an input like example, of \(2, 6\), but says: "):
        from_snntorch(module, FLAT, **PIXELS)


def test_roundings_of_floats_are_counted_and_no_error():
    """Two pixels of 1/5 make 2/5, a little less than the float 0.4; in floats they meet it."""
    module = nn.Sequential(layer.Linear(6, 3, bias=False), neuron.IFNode(v_threshold=0.4))
    module[0].weight.data = torch.ones(3, 6)
    images = np.zeros((1, 1, 1, 6), dtype=np.uint8)
    images[..., :2] = 51
    found = from_spikingjelly(module, FLAT, timesteps=T, encoding="pixels", scale="1/255", images=images)
    assert found.exact is True
    assert differ(found) > 0
    assert f"own forward, in float32: {differ(found)} of 12 spikes differ on 1 image" in str(found)


# --- Rules of the packages ---

def test_reset_at_once_by_subtraction_holds_for_small_currents():
    small = one(leaky(init_hidden=True, reset_delay=False, threshold=4.0))
    assert differ(from_snntorch(small, FLAT, **PIXELS)) == 0
    with pytest.raises(SourceError) as error:
        from_snntorch(one(leaky(init_hidden=True, reset_delay=False, threshold=0.5)), FLAT, **PIXELS)
    assert str(error.value) == (
        "node 1: no current may exceed the threshold with reset_delay=False, as what is left of the membrane would be "
        "reset in the next timestep, too, but currents of channel 0 reach 1.61914, more than the threshold of 0.5: use "
        "reset_delay=True, or larger thresholds")


def test_a_learnt_tau_is_a_power_of_two_within_its_roundings():
    module = nn.Sequential(ternary(layer.Linear(6, 3)), neuron.ParametricLIFNode(init_tau=4.0, decay_input=False))
    found = from_spikingjelly(module, FLAT, max_fraction=16, **PIXELS)
    assert found.network.layers[0].neurons.leak_shift == 2
    module[1].w.data += 0.01
    with pytest.raises(SourceError, match=r"^node 1: the share of the membrane lost in a timestep must be 0, or 2\^-k "
                                          r"with k from 1 to 31, not 0.25188: train with tau of 2, 4 or 8, or with "
                                          rf"IFNode{ANY_LEAK}$"):
        from_spikingjelly(module, FLAT, **PIXELS)


def test_membranes_begin_at_their_reset_value():
    module = nn.Sequential(ternary(layer.Linear(6, 3)), neuron.IFNode(v_reset=None))
    module[1].set_reset_value("v", 0.75)
    functional.reset_net(module)
    found = from_spikingjelly(module, FLAT, **PIXELS)
    assert differ(found) == 0
    assert found.network.layers[0].neurons.initial.all()


def test_a_parametrised_layer_is_the_layer():
    module = one()
    module[0].weight.data *= 2

    class Half(nn.Module):
        def forward(self, weight):
            return weight / 2

    nn.utils.parametrize.register_parametrization(module[0], "weight", Half())
    assert differ(from_snntorch(module, FLAT, **PIXELS)) == 0


def test_one_pooling_may_be_called_in_two_places():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = ternary(nn.Conv2d(1, 2, 3, padding=1)), ternary(nn.Conv2d(2, 2, 3, padding=1))
            self.pool, self.fc = nn.MaxPool2d(2), ternary(nn.Linear(8, 3))
            self.lif1, self.lif2, self.lif3 = leaky(), leaky(), leaky()

        def forward(self, x):
            mem1, mem2, mem3 = (part.reset_mem() for part in (self.lif1, self.lif2, self.lif3))
            for _ in range(T):
                spikes, mem1 = self.lif1(self.conv1(x), mem1)
                spikes, mem2 = self.lif2(self.conv2(self.pool(spikes)), mem2)
                spikes, mem3 = self.lif3(self.fc(self.pool(spikes).flatten(1)), mem3)
            return spikes

    found = from_snntorch(Shared(), torch.zeros(2, 1, 8, 8), readout="spikes", **PIXELS)
    assert [layer.kind for layer in found.network.layers] == [
        "convolution", "or-pool", "convolution", "or-pool", "fully-connected", "readout"]
    assert differ(found) == 0


def test_a_dropout_may_be_anywhere():
    """In evaluation mode it gives the very tensor that it saw, be that the input of the module."""
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc2, self.dropout = ternary(nn.Linear(6, 5)), ternary(nn.Linear(5, 3)), nn.Dropout(0.5)
            self.lif1, self.lif2 = leaky(), leaky()

        def forward(self, x):
            mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
            for _ in range(T):
                spikes, mem1 = self.lif1(self.fc1(self.dropout(x)), mem1)
                spikes, mem2 = self.lif2(self.fc2(self.dropout(spikes)), mem2)
            return spikes

    found = from_snntorch(Shared().eval(), FLAT, readout="spikes", **PIXELS)
    assert [layer.kind for layer in found.network.layers] == ["fully-connected", "fully-connected", "readout"]
    assert differ(found) == 0


class Returning(nn.Module):
    """Returns what ``result`` makes of the spikes and membranes of its last neurons, ``[T, images, 3]`` each."""

    def __init__(self, result):
        super().__init__()
        self.fc, self.lif, self.result = ternary(nn.Linear(6, 3)), leaky(), result

    def forward(self, x):
        mem, found = self.lif.reset_mem(), []
        for _ in range(T):
            found.append(self.lif(self.fc(x), mem))
            mem = found[-1][1]
        return self.result(*map(torch.stack, zip(*found, strict=True)))


@pytest.mark.parametrize("result", [
    lambda spikes, _: spikes, lambda spikes, mem: (spikes, mem), lambda spikes, mem: [mem, {"out": spikes}],
    lambda spikes, mem: (list(mem), list(spikes)), lambda spikes, _: spikes.swapaxes(0, 1),
    lambda spikes, _: spikes.mean(0), lambda spikes, _: -3 + spikes.sum(0) / 7,
    lambda spikes, _: spikes.sum(0).softmax(1), lambda spikes, _: spikes.sum(0).argmax(1), lambda *_: None])
def test_what_has_the_order_of_the_sums_may_be_returned(result):
    assert differ(from_snntorch(Returning(result), torch.zeros(8, 6), **PIXELS)) == 0


@pytest.mark.parametrize("result", [
    lambda _, mem: mem, lambda _, mem: mem[-1], lambda spikes, _: spikes[-1], lambda spikes, _: -spikes,
    lambda spikes, _: spikes[:, :, [1, 2, 0]], lambda spikes, _: spikes[:, :, :2], lambda spikes, _: spikes.amax(0),
    lambda spikes, _: spikes.sum(0).argmin(1), lambda spikes, _: spikes.sum(0).argmax(1) + 1,
    lambda spikes, _: spikes.sum(0) * np.nan, lambda spikes, _: spikes.sum()])
def test_a_module_with_other_classes_than_the_sums_is_refused(result):
    module = Returning(result)
    with pytest.raises(SourceError, match=r'^node lif: the forward must return what this layer gives, or its sum or '
                                          r'mean over the timesteps, by which the classes are decided, not what orders '
                                          r'them otherwise: let it return that, or give forward=, a function that '
                                          r'does; or say readout="spikes" or readout="currents", and the sums decide '
                                          r'whatever it returns$'):
        from_snntorch(module, torch.zeros(8, 6), **PIXELS)
    assert differ(from_snntorch(module, torch.zeros(8, 6), readout="spikes", **PIXELS)) == 0


def test_the_answers_of_single_timesteps_are_summed():
    class Negated(nn.Sequential):
        def forward(self, x):
            return -super().forward(x)

    parts = ternary(nn.Linear(6, 3)), leaky(init_hidden=True)
    assert differ(from_snntorch(nn.Sequential(*parts), torch.zeros(8, 6), **PIXELS)) == 0
    with pytest.raises(SourceError, match=r"^node 1: the forward must return what this layer gives"):
        from_snntorch(Negated(*parts), torch.zeros(8, 6), **PIXELS)


def test_a_threshold_is_the_float_that_the_module_compares_with():
    """0.7 as float32 is below 0.7: a weight of it reaches a threshold of it, as both are the same float."""
    head = ternary(layer.Linear(6, 3, bias=False))
    head.weight.data = head.weight.data.sign() * 0.7
    module = nn.Sequential(head, neuron.IFNode(v_threshold=0.7))
    found = from_spikingjelly(module, torch.zeros(8, 6), timesteps=1, encoding="events")
    assert differ(found) == 0
    module = module.double()
    head.weight.data = head.weight.data.sign() * 0.7
    assert differ(from_spikingjelly(module, torch.zeros(8, 6).double(), timesteps=1, encoding="events")) == 0


# --- What is refused ---

def noisy(x):
    return (x > 0).float()


def no_gradient(net, spikes):
    with torch.no_grad():
        return spikes.flatten(1) * 1


def swapped(net, spikes):
    return spikes.flatten(1).view(2, 4, 8).transpose(1, 2).reshape(2, 32)


class Hidden(Two):
    """Changes a threshold on the way, which no layer and no gradient shows."""

    def forward(self, x):
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        for timestep in range(T):
            with torch.no_grad():
                self.lif1.threshold.fill_(5.0 if timestep == 1 else 1.0)
            spikes, mem1 = self.lif1(self.conv(x), mem1)
            spikes, mem2 = self.lif2(self.fc(spikes.flatten(1)), mem2)
        return spikes


class Anew(Two):
    """Begins every timestep with new membranes."""

    def forward(self, x):
        for _ in range(T):
            spikes, _ = self.lif1(self.conv(x), torch.zeros(2, 2, 4, 4))
            spikes, _ = self.lif2(self.fc(spikes.flatten(1)), torch.zeros(2, 3))
        return spikes


class Branch(Two):
    """Two layers see the same spikes."""

    def forward(self, x):
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        for _ in range(T):
            spikes, mem1 = self.lif1(self.conv(x), mem1)
            self.fc(spikes.flatten(1))
            spikes, mem2 = self.lif2(self.fc(spikes.flatten(1)), mem2)
        return spikes


def changed(part, key, value):
    setattr(part, key, value)
    return part


def hooked(module):
    module.fc.register_forward_hook(lambda *_: None)
    return module


MEMBRANES = "the share of the membrane lost in a timestep must be 0, or 2^-k with k from 1 to 31, not 0.1"
REFUSED_SNNTORCH = {
    "a leak": (lambda: one(leaky(0.9, init_hidden=True, reset_mechanism="zero")), FLAT,
               f"node 1: {MEMBRANES}: train with beta of 0.5, 0.75 or 0.875, or with 1{ANY_LEAK}"),
    "a late subtraction": (lambda: one(leaky(0.5, init_hidden=True)), FLAT, (
        "node 1: neurons with leak must be reset to zero, as a subtraction comes a timestep late, after the leak: "
        f"train with reset_mechanism=\"zero\", or with beta=1{ANY_LEAK}")),
    "a subtraction at once": (lambda: one(leaky(0.5, init_hidden=True, reset_delay=False)), FLAT, (
        "node 1: neurons with leak must be reset to zero, as a subtraction of the threshold, above which they spike, "
        f"has no exact place with a leak: train with reset_mechanism=\"zero\", or with beta=1{ANY_LEAK}")),
    "no reset": (lambda: one(leaky(init_hidden=True, reset_mechanism="none")), FLAT, (
        "node 1: reset_mechanism must be subtract or zero, not none: end in weights, of which the currents are summed, "
        "or give it a reset")),
    "another reset than it was made with": (
        lambda: one(changed(leaky(init_hidden=True), "reset_mechanism", "zero")), FLAT, (
            "node 1: reset_mechanism must be the one that it was made with, as its state_function still is: make it "
            "anew with the other one")),
    "leaks that differ": (lambda: one(leaky(torch.tensor([1.0, 0.5, 0.5]), init_hidden=True,
                                            reset_mechanism="zero")), FLAT,
                          "node 1: all neurons must have one leak, not 2: train with one for the layer"),
    "a threshold of 0": (lambda: one(leaky(init_hidden=True, threshold=0.0)), FLAT,
                         "node 1: threshold must be positive, not 0"),
    "thresholds of another shape": (lambda: one(leaky(init_hidden=True, threshold=torch.ones(2, 3))), FLAT, (
        "node 1: threshold must have the shape of a map of (3,), not (2, 3): give one value a channel, of shape (3,)")),
    "thresholds that vary": (lambda: Two(threshold=torch.linspace(1, 2, 4)), MAP, (
        "node lif1: threshold must be the same at all positions of a channel, but differs in channel 0: train with one "
        "value a channel")),
    "graded spikes": (lambda: one(leaky(init_hidden=True, graded_spikes_factor=2.0)), FLAT,
                      "node 1: graded_spikes_factor must be 1: multiply the weights behind it instead"),
    "inhibition": (lambda: one(changed(leaky(init_hidden=True), "inhibition", True)), FLAT,
                   "node 1: inhibition must be False: train without it"),
    "a surrogate of its own": (lambda: one(leaky(init_hidden=True, spike_grad=noisy)), FLAT, (
        "node 1: spike_grad must be of snntorch.surrogate, without random numbers, not noisy: give it "
        "snntorch.surrogate.atan(), whose spikes are those of a comparison")),
    "a random surrogate": (lambda: one(leaky(init_hidden=True, spike_grad=surrogate.SSO())), FLAT, (
        "node 1: spike_grad must be of snntorch.surrogate, without random numbers, not SSO: give it "
        "snntorch.surrogate.atan(), whose spikes are those of a comparison")),
    "other neurons": (lambda: one(snntorch.Synaptic(alpha=0.5, beta=0.5, init_hidden=True)), FLAT, (
        "node 1: its type must be Conv2d, Linear, BatchNorm1d, BatchNorm2d, AvgPool2d, AdaptiveAvgPool2d, MaxPool2d, "
        "Flatten, Dropout, Identity or VotingLayer, or neurons of the package that have a place, not "
        "snntorch.Synaptic: replace it")),
    "float weights": (lambda: one(head=nn.Linear(6, 3)), FLAT, None),
    "training": (lambda: nn.Sequential(ternary(nn.Linear(6, 3)), nn.BatchNorm1d(3), leaky(init_hidden=True)), FLAT, (
        "node 1: BatchNorm1d must be in evaluation mode, not in training mode: call eval() of the module first")),
    "BatchNorm of spikes": (
        lambda: nn.Sequential(ternary(nn.Linear(6, 3)), leaky(init_hidden=True), nn.BatchNorm1d(3)).eval(), FLAT, (
            "node 2: BatchNorm must come right behind the weights of a layer, once: put it between them and the "
            "neurons")),
    "an activation": (lambda: Two(lambda net, spikes: torch.sigmoid(spikes).flatten(1)), MAP, (
        "node fc: what it sees must be what the layer before it gives, not go through sigmoid: write that as a layer "
        "that has a place here, or leave it out of the forward")),
    "a sum": (lambda: Two(lambda net, spikes: (spikes + spikes).flatten(1)), MAP, (
        "node fc: what it sees must be what the layer before it gives, not go through add: write that as a layer that "
        "has a place here, or leave it out of the forward")),
    "no gradients": (lambda: Two(no_gradient), MAP, (
        "node fc: what it sees must come from the input through the layers before it, and with gradients: leave "
        "torch.no_grad, detach and comparisons out of the forward")),
    "another order": (lambda: Two(swapped), MAP, (
        "node fc: what it sees must be what the layer before it gives, not go through transpose: write that as a layer "
        "that has a place here, or leave it out of the forward")),
    "a membrane": (lambda: Two(lambda net, spikes: net.lif1.mem.flatten(1)), MAP, (
        "node fc: it must see the spikes of node lif1, not another output of it")),
    "overlapping windows": (lambda: Two(lambda net, spikes: F.max_pool2d(spikes, 2, 1).repeat(1, 2, 1, 1)
                                        .flatten(1)[:, :32]), MAP, (
        "node fc: what it sees must be what the layer before it gives, not go through slice: write that as a layer "
        "that has a place here, or leave it out of the forward")),
    "a hidden change": (Hidden, MAP, None),
    "membranes anew": (Anew, MAP, (
        "node lif1: its membrane must go on from timestep to timestep, not begin anew: let the forward run all "
        "timesteps, or give forward=, a function that does")),
    "a branch": (Branch, MAP,
                 "a network must end in one layer, not in fc, lif2: branches have no place, use a plain chain"),
    "hooks": (lambda: hooked(Two()), MAP,
              "node fc: it must have no hooks, which may change what it computes: remove them"),
    "a forward of an instance": (lambda: one(head=changed(ternary(nn.Linear(6, 3)), "forward", noisy)), FLAT, (
        "node 0: its forward must be that of its class Linear, not another: take it out of the instance")),
    "other timesteps": (lambda: Two(timesteps=3), MAP, (
        "the forward must run 4 timesteps, as stated, or one, not 3: state the number that it runs")),
    "groups": (lambda: one(head=ternary(nn.Conv2d(2, 2, 3, groups=2))), torch.zeros(2, 2, 3, 3),
               "node 0: groups must be 1, not 2: train with a plain convolution"),
    "dilation": (lambda: one(head=ternary(nn.Conv2d(1, 2, 2, dilation=2))), torch.zeros(2, 1, 3, 3),
                 "node 0: dilation must be 1, not 2: train with a plain convolution"),
    "a stride of two numbers": (lambda: one(head=ternary(nn.Conv2d(1, 2, 2, stride=(1, 2)))), torch.zeros(2, 1, 4, 4),
                                "node 0: stride must be the same for rows and columns, not 1, 2: use one"),
    "padding on one side": (
        lambda: one(head=ternary(nn.Conv2d(1, 2, 2, padding="same"))), torch.zeros(2, 1, 3, 3), (
            "node 0: padding must be the same on all sides, not 'same' with a kernel of 2 and a stride of 1: give a "
            "number")),
    "windows that overlap": (lambda: Two(lambda net, spikes: F.avg_pool2d(spikes, 3, 1, 1).flatten(1)), MAP, (
        "node fc, pooling before it: windows must lie side by side, without padding, not be of 3 with stride 1 and "
        "padding 1: pool with a stride like the window")),
    "an OR that is too large": (
        lambda: one(nn.Sequential(leaky(init_hidden=True), nn.MaxPool2d(8)), ternary(nn.Conv2d(1, 2, 3))),
        torch.zeros(2, 1, 10, 10), "node 1.1: windows of an OR must be 2 to 7 pixels a side, not 8"),
    "windows with gaps": (lambda: Two(lambda net, spikes: F.max_pool2d(spikes, 2, 1, 1, 2).flatten(1)), MAP, (
        "node fc, pooling before it: windows must lie side by side, without padding, not be of 2 with stride 1, "
        "padding 1 and dilation 2: pool with a stride like the window")),
    "padding by reflection": (
        lambda: one(head=ternary(nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"))), torch.zeros(2, 1, 3, 3),
        "node 0: padding_mode must be zeros, not reflect: train with zeros"),
}


@pytest.mark.parametrize("what", REFUSED_SNNTORCH)
def test_snntorch_is_refused_with_node_and_remedy(what):
    make, example, line = REFUSED_SNNTORCH[what]
    with pytest.raises(SourceError) as error:
        from_snntorch(make(), example, **PIXELS)
    said = str(error.value)
    if what == "float weights":
        assert said.startswith("node 0: weights of output channel 0 must be -a, 0 and a with one a, not have 6 "
                               "magnitudes: ")
    elif what == "a hidden change":
        assert said.startswith("node lif1: the forward of the module must compute what its layers say, but in image ")
        assert said.endswith(": leave out of the forward what changes numbers or membranes besides them")
    else:
        assert said == line


def jelly(part, head=None):
    return nn.Sequential(ternary(layer.Linear(6, 3)) if head is None else head, part)


REFUSED_SPIKINGJELLY = {
    "tau": (lambda: jelly(neuron.LIFNode(tau=3.0)), (
        "node 1: the share of the membrane lost in a timestep must be 0, or 2^-k with k from 1 to 31, not 0.333333: "
        f"train with tau of 2, 4 or 8, or with IFNode{ANY_LEAK}")),
    "a threshold below the reset": (lambda: jelly(neuron.IFNode(v_threshold=1.0, v_reset=1.5)),
                                    "node 1: v_threshold must be above v_reset, or above 0 without one, not 1"),
    "a surrogate of counts": (
        lambda: jelly(neuron.IFNode(surrogate_function=jelly_surrogate.MultiLevelSpikeCount(2))), (
        "node 1: surrogate_function must be of spikingjelly.activation_based.surrogate, of one spike and without "
        "random numbers, not MultiLevelSpikeCount: give it surrogate.ATan(), whose spikes are those of a comparison")),
    "a surrogate without spikes": (
        lambda: jelly(neuron.IFNode(surrogate_function=jelly_surrogate.Sigmoid(spiking=False))), None),
    "other neurons": (lambda: jelly(neuron.QIFNode()), None),
    "multi-step neurons that see one timestep": (lambda: jelly(neuron.IFNode(step_mode="m")), (
        "node 1: neurons in multi-step mode must see all timesteps at once, the first axis: give a forward that does, "
        "or set_step_mode(module, 's')")),
    "a tensor to begin with": (
        lambda: jelly(changed(neuron.IFNode(), "_memories_rv", {"v": torch.zeros(2, 3)})),
        "node 1: the reset value of v must be a number: give it one with set_reset_value"),
}


@pytest.mark.parametrize("what", REFUSED_SPIKINGJELLY)
def test_spikingjelly_is_refused_with_node_and_remedy(what):
    make, line = REFUSED_SPIKINGJELLY[what]
    with pytest.raises(SourceError) as error:
        from_spikingjelly(make(), FLAT, **PIXELS)
    if what == "a surrogate without spikes":
        assert "node 1: its surrogate function must give [0, 0, 1, 1, 1] for -1, 0 minus a little" in str(error.value)
    elif what == "other neurons":
        assert str(error.value).endswith("not QIFNode: replace it")
    else:
        assert str(error.value) == line


@pytest.mark.parametrize(("stated", "line"), [
    ({"scale": None}, ("scale must be given for pixels: what a pixel p of 0 to 255 is multiplied with, as \"1/255\" if "
                       "images were 0 to 1")),
    ({"scale": 0.004},
     "scale must be a positive quotient in exact form, as \"1/255\" or Fraction(1, 255), not 0.004"),
    ({"scale": "1e999999999"}, ("scale must be a positive quotient in exact form, as \"1/255\" or Fraction(1, 255), "
                                "not '1e999999999'")),
    ({"scale": "fast"}, ("scale must be a positive quotient in exact form, as \"1/255\" or Fraction(1, 255), not "
                         "'fast'")),
    ({"encoding": "rate"}, "encoding must be pixels or events, not rate"),
    ({"encoding": "events"}, "scale and zero_point must be left out for events, which are 0 and 1"),
    ({"scale": "1e400"}, "scale must be between 1e-30 and 1e30, not '1e400'"),
    ({"scale": "1e-40"}, "scale must be between 1e-30 and 1e30, not '1e-40'"),
    ({"timesteps": 0}, "timesteps must be an integer from 1 to 64, not 0"),
    ({"timesteps": 4.0}, "timesteps must be an integer from 1 to 64, not 4.0"),
    ({"timesteps": True}, "timesteps must be an integer from 1 to 64, not True"),
    ({"timesteps": "4"}, "timesteps must be an integer from 1 to 64, not '4'"),
    ({"zero_point": 7}, "zero_point must be 0 or 128, not 7"),
    ({"readout": "membranes"}, "readout must be spikes, currents or None, not membranes"),
    ({"shape": (1, 2, 4)}, "shape must have the 6 values of an image of example, not 1 x 2 x 4"),
    ({"shape": (1, 6)}, "shape must be channels, height and width, such as (1, 28, 28), not (1, 6)"),
    ({"shape": (-1, -2, 3)}, "shape must be channels, height and width, such as (1, 28, 28), not (-1, -2, 3)"),
    ({"shape": 6}, "shape must be channels, height and width, such as (1, 28, 28), not 6"),
    ({"shape": (1, 2.0, 3)}, "shape must be channels, height and width, such as (1, 28, 28), not (1, 2.0, 3)"),
    ({"images": torch.zeros(3, 1, 1, 6, dtype=torch.uint8)},
     "images must be an array of NumPy, not Tensor: give images.numpy() of a tensor"),
    ({"readout": "spikes", "module": nn.Sequential(ternary(nn.Linear(6, 8)), leaky(init_hidden=True),
                                                   ternary(nn.Linear(8, 3, bias=False), 1))},
     ("node 2: neurons must follow whose spikes are counted: ask for no readout of spikes, and its currents are the "
      "scores")),
    ({"readout": "currents"}, ("node 0: the last weights must have no bias where their currents are the scores: keep "
                               "neurons behind it and take their spikes, counted, as the readout, or train without a "
                               "bias")),
    ({"example": torch.zeros(6)}, ("example must be images x channels x height x width, or images x inputs, or with "
                                   "the timesteps before, not of (6,)")),
    ({"example": torch.zeros(3, 2, 6)}, ("example must have the 4 timesteps as its first axis, not 3: an image without "
                                         "images and timesteps around it needs an axis for the images")),
    ({"example": FLAT.int()}, "example must be a tensor of floats, like those that the module is called with"),
    ({"example": torch.zeros(2, 7)}, None),
    ({"images": np.zeros((3, 1, 1, 6))}, "images must be uint8 of images x 1 x 1 x 6, not float64 of 3 x 1 x 1 x 6"),
    ({"name": ""}, "name must be one line of printable text, not ''"),
    ({"name": 7}, "name must be one line of printable text, not 7"),
    ({"max_fraction": 99}, "max_fraction must be an integer from 0 to 16, not 99"),
    ({"max_fraction": None}, "max_fraction must be an integer from 0 to 16, not None"),
])
def test_nothing_is_guessed(stated, line):
    given = {"module": one(), "example": FLAT} | PIXELS | stated
    with pytest.raises(SourceError) as error:
        from_snntorch(**given)
    if line is None:
        assert str(error.value).startswith(
            "node 0: the module must run on an input like example, of (2, 7), but says: ")
    else:
        assert str(error.value) == line


def test_events_need_frames_where_the_forward_runs_all_timesteps():
    with pytest.raises(SourceError, match=r"^example must have the timesteps as its first axis, as events differ in "
                                          r"each and the forward runs all of them$"):
        from_snntorch(Two(), MAP, timesteps=T, encoding="events")


def test_what_is_no_module_is_refused():
    with pytest.raises(SourceError, match=r"^module must be a module of PyTorch, not str$"):
        from_snntorch("net.pt", FLAT, **PIXELS)


def test_gains_and_scales_are_exact():
    """A scale that no float has is in the certificate as it was stated."""
    found = from_snntorch(one(), FLAT, timesteps=T, encoding="pixels", scale=Fraction(1, 255))
    assert found.network.metadata["training"]["stated"]["scale"] == "1/255"


def test_the_example_of_the_page_runs(tmp_path, monkeypatch, capsys):
    page = (pathlib.Path(__file__).parents[4] / "docs" / "modules.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "modules.md", "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    assert "exact: yes, every spike of every layer, for every input" in printed
    (line,) = re.findall(r"^own forward, .*$", page, re.MULTILINE)
    assert line in printed.splitlines()
    assert network_file.load("network.safetensors").metadata["exact"] is True
