import copy
import math
import re
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from arch.architecture import CheckpointError
from arch.ttfs.code import TimeCode
from export.ttfs import evaluation
from train.ttfs.exact import accuracy, forward, mismatches, predict
from train.ttfs.network import TtfsLayer, build_ttfs_network
from train.ttfs.neurons import LogQuantiser, decode_time

SEED = 41
NEURONS = {"reset": "subtract", "leak_shift": None, "epsilon": 1e-5}
ARCHITECTURE = {
    "input": {"encoding": "pixels", "channels": 2, "height": 9, "width": 7, "zero_point": 0, "scale": 1 / 255},
    "timesteps": 4,
    "layers": [
        {"kind": "convolution", "name": "conv1", "channels": 5, "kernel": 3, "stride": 2, "padding": 1, **NEURONS},
        {"kind": "or-pool", "size": 2},
        {"kind": "convolution", "name": "conv2", "channels": 6, "kernel": 2, "stride": 1, "padding": 1, **NEURONS},
        {"kind": "fully-connected", "name": "fc", "neurons": 7, **NEURONS},
        {"kind": "readout", "name": "readout", "classes": 4}]}
PLAIN = ("layer conv1 must be a convolution or fully connected without leak, pool, input_pool, shortcut and projection "
         "for time-to-first-spike coding")
#: The windows of the sweep, weights, theta0.
VARIANTS = [(24, 4, "log5", 1.0), (12, 2, "ternary", 0.7), (48, 8, "log5", 1.5)]
variants = pytest.mark.parametrize("variant", VARIANTS, ids=str)


def edited(**changes):
    """The architecture with parts of its first layer and input replaced."""
    architecture = copy.deepcopy(ARCHITECTURE)
    for key, value in changes.items():
        part = architecture["input"] if key in architecture["input"] else architecture["layers"][0]
        part[key] = value
    return architecture


def make_data(count=120):
    """Images whose class is the brightest of four places, with noise."""
    generator = torch.Generator().manual_seed(SEED)
    labels = torch.randint(0, 4, (count,), generator=generator)
    images = torch.randint(0, 120, (count, 2, 9, 7), generator=generator)
    for index, label in enumerate(labels.tolist()):
        images[index, :, 4 * (label // 2):4 * (label // 2) + 4, 3 * (label % 2):3 * (label % 2) + 3] += 130
    return images.to(torch.uint8), labels


def make_network(variant=VARIANTS[0], *, steps=15):
    """A network trained for some steps with the three activations, one after the other."""
    T, tau, weights, theta0 = variant
    torch.manual_seed(SEED)
    network = build_ttfs_network(ARCHITECTURE, T=T, tau=tau, theta0=theta0, weights=weights)
    images, labels = make_data()
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    for step in range(steps):
        network.set_activation(("relu", "clip", "ttfs")[3 * step // steps])
        optimiser.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        optimiser.step()
    return network.eval()


def slow_sums(code, weights, values, stride, padding):
    """Sums of one layer in exact rationals: ``weights`` codes ``[out, in, k, k]``, ``values`` times ``[in, H, W]``."""
    products = code.products()
    padded = np.pad(values, ((0, 0), (padding, padding), (padding, padding)), constant_values=code.timesteps)
    side = weights.shape[2:]
    rows, columns = ((padded.shape[axis + 1] - side[axis]) // stride + 1 for axis in (0, 1))
    sums = np.empty((len(weights), rows, columns), dtype=object)
    for place in np.ndindex(sums.shape):
        channel, y, x = place
        window = padded[:, y * stride:y * stride + side[0], x * stride:x * stride + side[1]]
        terms = np.sign(weights[channel]) * products[np.abs(weights[channel]), window]
        sums[place] = Fraction(sum(terms.reshape(-1).tolist()), 2**code.unit_bits)
    return sums


@variants
def test_the_exact_forward_equals_one_in_rationals(variant):
    network = make_network(variant, steps=6)
    code = network.code
    images = make_data()[0][:2]
    scores, times = forward(network, images)
    for index, image in enumerate(images.numpy()):
        table = [Fraction(network.theta0) * Fraction(value) for value in code.values()[:-1].tolist()]
        maps = np.array([sum(int(p) * Fraction(network.scale) < entry for entry in table) for p in image.reshape(-1)])
        maps = maps.reshape(image.shape)
        assert (times[0][index].numpy() == maps).all()
        for position, layer in enumerate(network.chain, start=1):
            if not isinstance(layer, TtfsLayer):
                cut = maps[:, :maps.shape[1] // 2 * 2, :maps.shape[2] // 2 * 2]
                maps = cut.reshape(len(maps), cut.shape[1] // 2, 2, cut.shape[2] // 2, 2).min(axis=(2, 4))
            else:
                codes = layer.integer_codes()[0].numpy().astype(np.int64)
                if codes.ndim == 2:
                    codes = codes.reshape(len(codes), *maps.shape)
                sums = slow_sums(code, codes, maps, layer.stride, layer.padding)
                if layer.norm is None:
                    assert [Fraction(score) for score in scores[index].tolist()] == sums.reshape(-1).tolist()
                    break
                # Gain and offset are float64's; what is done with them is exact here.
                gain, offset = layer.gain_and_offset(network.theta0)
                maps = np.empty(sums.shape, dtype=int)
                for place in np.ndindex(sums.shape):
                    value = Fraction(gain[place[0]].item()) * sums[place] + Fraction(offset[place[0]].item())
                    maps[place] = sum(value < entry for entry in table)
            assert (times[position][index].numpy() == maps).all(), position
    assert len(times) == len(network.chain)


def test_gain_and_offset_are_those_of_batchnorm():
    network = make_network()
    layer = network.chain[0]
    layer.norm.running_mean += 0.3
    with torch.no_grad():
        layer.norm.bias += 0.2
    gain, offset = layer.gain_and_offset(network.theta0)
    sums = torch.randn(5)
    _, scale = layer.integer_codes()
    normed = layer.norm((network.theta0 * scale * sums)[None, :, None, None])
    assert torch.allclose(normed.flatten().double(), gain * sums + offset, rtol=1e-5)


@variants
def test_float32_computes_nearly_the_same(variant):
    network = make_network(variant)
    images, labels = make_data()
    wrong, compared = mismatches(network, images)
    assert compared == len(images) * sum(map(math.prod, [(2, 9, 7), (5, 5, 4), (5, 2, 2), (6, 3, 3), (7, 1, 1)]))
    assert wrong <= compared / 1000
    network.set_activation("ttfs")
    # Logits are theta0 and the scale of the readout times the exact scores.
    scores = forward(network, images)[0] * network.theta0 * network.chain[-1].integer_codes()[1]
    assert torch.allclose(network(images).double(), scores, rtol=1e-2, atol=0.05)
    assert accuracy(network, images, labels) > 0.5
    assert torch.equal(predict(network, images), torch.from_numpy(scores.numpy().argmax(1)))


def test_mismatches_are_seen_and_leave_the_network_as_it_was():
    network = make_network().train()
    network.set_activation("clip")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    # Products of a coarser table, which the float32 forward does not know of.
    network.code = TimeCode(timesteps=24, tau=4, fraction=6)
    wrong, _ = mismatches(network, make_data()[0])
    assert wrong
    assert network.training
    assert network.chain[0].activation.mode == "clip"
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_image_is_coded_in_every_mode():
    network = make_network(steps=3)
    images = make_data()[0][:3]
    maps = []
    for mode in ("relu", "clip", "ttfs"):
        network.set_activation(mode)
        found = []
        network(images, found)
        maps.append(found)
    assert torch.equal(maps[0][0], maps[2][0])
    assert torch.equal(maps[0][0], decode_time(forward(network, images)[1][0].long(), 24, 4, 1.0))
    assert (maps[0][1] > 1).any()
    assert maps[1][1].amax() <= 1
    assert torch.equal(maps[2][1], network.encoder(maps[2][1]))
    assert not torch.equal(maps[1][1], network.encoder(maps[1][1]))


def test_training_goes_on_with_every_weight():
    for weights in ("float", "log5", "ternary"):
        torch.manual_seed(SEED)
        network = build_ttfs_network(ARCHITECTURE, T=24, tau=4, weights=weights)
        images, labels = make_data()
        before = functional.cross_entropy(network(images), labels)
        optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
        for _ in range(10):
            optimiser.zero_grad()
            functional.cross_entropy(network(images), labels).backward()
            assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())
            optimiser.step()
        assert functional.cross_entropy(network(images), labels) < before


def test_float_weights_have_no_forward():
    network = build_ttfs_network(ARCHITECTURE, T=24, tau=4, weights="float")
    images = make_data()[0]
    assert network(images).shape == (120, 4)
    with pytest.raises(ValueError, match=r"^weights must be log5 or ternary to be exact, not float$"):
        forward(network, images)
    with pytest.raises(ValueError, match=r"^weights must be log5 or ternary to have codes, not float$"):
        network.chain[0].integer_codes()


def test_sums_that_float64_may_round_are_refused():
    architecture = {**ARCHITECTURE, "layers": ARCHITECTURE["layers"][-1:]}
    network = build_ttfs_network(architecture, T=36, tau=1, weights="ternary", fraction=17)
    with pytest.raises(ValueError, match=r"^membrane must stay below 2\^53, and may reach \d+: .*fraction$"):
        forward(network, make_data()[0])


def test_values_set_after_construction_are_in_the_checkpoint():
    """As training scripts do; what the file holds is what the forwards compute."""
    network = make_network()
    network.scale, network.chain[0].norm.eps, network.chain[2].padding = 1 / 128, 0.5, 0
    network.chain[1] = nn.MaxPool2d(3, 3)
    network.chain[3] = TtfsLayer((7, 6 * 1 * 1), network.chain[3].quantiser, network.chain[3].activation)
    network.chain[2] = TtfsLayer((6, 5, 1, 1), network.chain[2].quantiser, network.chain[2].activation)
    network.eval()
    images = make_data()[0][:20]
    checkpoint = network.checkpoint()
    assert (checkpoint.input.scale, checkpoint.layers[0].norm.epsilon, checkpoint.layers[1].size) == (1 / 128, 0.5, 3)
    scores, times = evaluation.exact_forward(checkpoint, images.numpy())
    ours, our_times = forward(network, images)
    assert np.array_equal(scores, ours.numpy())
    assert all(np.array_equal(one, other.numpy()) for one, other in zip(times, our_times, strict=True))
    assert mismatches(network, images)[0] <= 2


def without_statistics(network):
    network.chain[0].norm = nn.BatchNorm2d(5, track_running_stats=False)


NO_PLACE = ": a checkpoint has no place for what that computes"
WINDOWS = "or-pool must have windows side by side, without padding, dilation and ceil_mode, not "


@pytest.mark.parametrize(("change", "message"), [
    (lambda network: network.set_activation("clip"),
     "conv1.activation must pass on the values of spike times, not clip: call network.set_activation('ttfs')"),
    (lambda network: setattr(network.encoder, "tau", 2), "encoder tau must be 4 like the network's, not 2"),
    (lambda network: setattr(network.encoder, "theta0", 2.0),
     "conv1.activation theta0 must be 2.0 like the network's, not 1.0"),
    (lambda network: setattr(network.chain[2].activation, "T", 12),
     "conv2.activation T must be 24 like the network's, not 12"),
    (lambda network: setattr(network.chain[2].activation, "fraction", 15),
     "conv2.activation fraction must be 16 like the network's, not 15"),
    (lambda network: setattr(network.chain[2], "activation", nn.ReLU()),
     "conv2.activation must be TtfsActivation, not ReLU" + NO_PLACE),
    (lambda network: setattr(network.chain[2], "norm", None),
     "conv2 must have both BatchNorm and an activation, or neither as a readout"),
    (lambda network: setattr(network.chain[2], "norm", nn.InstanceNorm2d(6)),
     "conv2.norm must be BatchNorm2d, not InstanceNorm2d" + NO_PLACE),
    (without_statistics, ("conv1.norm must have gain, offset and running statistics: set affine and "
                          "track_running_stats when it is built")),
    (lambda network: setattr(network.chain[0], "quantiser", LogQuantiser(5, 4)),
     "conv1 weights must have 5 bits and p = 2 like the network's, not 5 and 4"),
    (lambda network: network.chain.__setitem__(1, nn.AvgPool2d(2)),
     "or-pool must be MaxPool2d, not AvgPool2d" + NO_PLACE),
    (lambda network: network.chain.__setitem__(1, nn.MaxPool2d(2, stride=1)),
     WINDOWS + "kernel_size=2, stride=1, padding=0, dilation=1, ceil_mode=False"),
    (lambda network: setattr(network, "forward", lambda images: images),
     "network must have the forward of TtfsNetwork, not one that was set on it" + NO_PLACE),
    (lambda network: setattr(network, "scale", 0.0), "input scale must be a positive number, not 0.0"),
])
def test_what_a_checkpoint_has_no_place_for_is_named(change, message):
    network = make_network(steps=0)
    change(network)
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        network.checkpoint()


@pytest.mark.parametrize(("images", "message"), [
    (torch.zeros(1, 2, 9, 7), "images must be uint8 of shape (N, 2, 9, 7), not float32 of (1, 2, 9, 7)"),
    (torch.zeros(1, 2, 7, 9, dtype=torch.uint8),
     "images must be uint8 of shape (N, 2, 9, 7), not uint8 of (1, 2, 7, 9)"),
])
def test_wrong_images_are_refused(images, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        forward(build_ttfs_network(ARCHITECTURE, T=24, tau=4), images)


@pytest.mark.parametrize(("architecture", "options", "error", "message"), [
    (ARCHITECTURE, {"weights": "int8"}, ValueError, "weights must be float, log5, ternary, not 'int8'"),
    (ARCHITECTURE, {"T": 0}, ValueError, "timesteps must be an integer from 1 to 255, not 0"),
    (ARCHITECTURE, {"theta0": -1.0}, ValueError, "theta0 must be positive and finite, not -1.0"),
    (edited(zero_point=128), {}, CheckpointError,
     "input must be pixels with zero point 0 for time-to-first-spike coding"),
    (edited(encoding="events", scale=1), {}, CheckpointError,
     "input must be pixels with zero point 0 for time-to-first-spike coding"),
    (edited(leak_shift=3), {}, CheckpointError, PLAIN),
    (edited(pool=2), {}, CheckpointError, PLAIN),
    (edited(input_pool=1), {}, CheckpointError, PLAIN),
    ({**ARCHITECTURE, "layers": [*ARCHITECTURE["layers"][:-1], {**ARCHITECTURE["layers"][-1], "input_pool": 1}]}, {},
     CheckpointError, "layer readout must be a readout without input_pool for time-to-first-spike coding"),
    ({**ARCHITECTURE, "layers": [*ARCHITECTURE["layers"][:2], {
        **ARCHITECTURE["layers"][2], "kernel": 1, "padding": 0,
        "projection": {"source": "conv1", "stride": 3, "weights": "trained"}}, *ARCHITECTURE["layers"][3:]]}, {},
     CheckpointError, PLAIN.replace("conv1", "conv2")),
    (edited(epsilon=None), {}, CheckpointError,
     "layer conv1 must have BatchNorm, and so an epsilon, for time-to-first-spike coding, not null"),
    (edited(kernel=9), {}, CheckpointError, "layer 0 kernel must be an integer from 1 to 7, not 9"),
])
def test_wrong_parameters_are_refused(architecture, options, error, message):
    with pytest.raises(error) as caught:
        build_ttfs_network(architecture, **({"T": 24, "tau": 4} | options))
    assert str(caught.value) == message
