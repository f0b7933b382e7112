"""Layers without BatchNorm, and norms without scale or shift: exported as they are."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import torch

from arch import network_file
from arch.checkpoint import Checkpoint
from export import steps
from export.evaluation import layer_spikes
from export.folding import fold, real_neurons
from reference.network import Reference
from train import exact

SINGLE = np.float32


def plain_checkpoint(*, epsilon=None, bias=None, theta=2.0, pool=1, reset="subtract", **norm):
    """Integrate-and-fire neurons on events of 8 x 8: whole currents, which often are exactly at the threshold."""
    rng = np.random.default_rng(31)
    layers = [{"kind": "convolution", "name": "c", "channels": 8, "kernel": 3, "stride": 1, "padding": 0, "pool": pool,
               "reset": reset, "leak_shift": None, "epsilon": epsilon},
              {"kind": "readout", "name": "r", "classes": 3}]
    source = {"encoding": "events", "channels": 2, "height": 8, "width": 8, "zero_point": 0, "scale": 1}
    codes, last = rng.integers(-1, 2, (8, 2, 3, 3)), rng.integers(-1, 2, (3, 8 * (6 // pool)**2))
    tensors = {"c.weight": codes.astype(SINGLE), "c.ternary": codes.astype(np.int8), "c.alpha": np.ones(8, SINGLE),
               "c.theta": np.array(theta, SINGLE), "c.initial": np.array(0, SINGLE),
               "r.weight": last.astype(SINGLE), "r.ternary": last.astype(np.int8), "r.alpha": np.array(1, SINGLE),
               **({"c.bias": np.full(8, bias, SINGLE)} if bias is not None else {}),
               **{f"c.{part}": np.full(8, value, SINGLE) for part, value in norm.items()}}
    return Checkpoint(architecture={"input": source, "timesteps": 4, "layers": layers}, tensors=tensors)


def events(count=20):
    return np.random.default_rng(32).random((count, 4, 2, 8, 8)) < 0.3


def integrate_and_fire(checkpoint, frames, bias):
    """The neurons as a user of any framework states them, in integers and halves, which floats hold exactly."""
    codes = checkpoint.tensors["c.ternary"].astype(int)
    windows = np.lib.stride_tricks.sliding_window_view(frames.astype(int), (3, 3), (3, 4))
    currents = np.einsum("ntcyxij,ocij->ntoyx", windows, codes)
    membrane, spikes = np.zeros(currents[:, 0].shape), []
    for timestep in range(4):
        membrane += currents[:, timestep] + bias
        spikes.append(membrane >= 2)
        membrane -= 2 * spikes[-1]
    return np.stack(spikes, 1)


def exported(checkpoint):
    certified = steps.certify(checkpoint, fold(checkpoint), max_fraction=8)
    return network_file.loads(steps.pack(steps.assemble(checkpoint, certified, {})))


@pytest.mark.parametrize("bias", [None, 0.5, -0.5])
def test_layers_without_batchnorm_are_exported_with_no_spike_that_differs(bias):
    checkpoint = plain_checkpoint(bias=bias)
    network = exported(checkpoint)
    assert network.metadata["exact"] is True
    frames = events()
    meant = integrate_and_fire(checkpoint, frames, bias or 0)
    assert 0.1 < meant.mean() < 0.9
    assert (Reference(network).run(frames, spikes=True).spikes[0] == meant).all()
    assert (layer_spikes(checkpoint, 0, frames) == meant).all()
    ours = exact.forward(checkpoint, torch.from_numpy(frames.astype(np.uint8)))[1][0]
    assert (ours.movedim(0, 1).numpy() == meant).all()
    assert sum(steps.verify(checkpoint, steps.pack(network), frames).mismatches) == 0


def test_an_epsilon_is_no_way_to_leave_batchnorm_out():
    """What was done before layers could lack BatchNorm: another network, as many spikes stand at the threshold."""
    frames = events()
    meant = integrate_and_fire(plain_checkpoint(), frames, 0)
    trick = plain_checkpoint(epsilon=1e-5, gamma=1, beta=0, mean=0, variance=1)
    assert np.count_nonzero(layer_spikes(trick, 0, frames) != meant) > 1000
    # It is exported as what it says, a network with BatchNorm: nothing can tell that another one was meant.
    network = exported(trick)
    assert network.metadata["exact"] is True
    assert (Reference(network).run(frames, spikes=True).spikes[0] == layer_spikes(trick, 0, frames)).all()
    assert sum(steps.verify(trick, steps.pack(network), frames).mismatches) == 0


@pytest.mark.parametrize("norm", [
    {"mean": 0.3, "variance": 2}, {"mean": 0.3, "variance": 2, "beta": 0.4}, {"mean": 0.3, "variance": 2, "gamma": 3},
    {"mean": 0.3, "variance": 2, "gamma": -1}], ids=str)
@pytest.mark.parametrize("form", [{}, {"pool": 2}, {"reset": "zero"}], ids=str)
def test_absent_scale_and_shift_are_one_and_zero(norm, form):
    made = plain_checkpoint(epsilon=1e-5, theta=1.0, **norm, **form)
    full = plain_checkpoint(epsilon=1e-5, theta=1.0, **{"gamma": 1, "beta": 0} | norm, **form)
    layer = made.architecture["layers"][0]
    assert real_neurons(made, layer, first=True) == real_neurons(full, layer, first=True)
    frames = events()
    network = exported(made)
    assert network.metadata["exact"] is True
    assert network_file.digest(network) == network_file.digest(exported(full))
    found = Reference(network).run(frames, spikes=True).spikes[0]
    assert 0.01 < found.mean() < 0.99
    for checkpoint in (made, full):
        assert (layer_spikes(checkpoint, 0, frames) == found).all()
        ours = exact.forward(checkpoint, torch.from_numpy(frames.astype(np.uint8)))[1][0]
        assert (ours.movedim(0, 1).numpy() == found).all()


def test_without_batchnorm_the_parameters_are_rational():
    checkpoint = plain_checkpoint(bias=0.5, theta=0.75)
    neuron = real_neurons(checkpoint, checkpoint.architecture["layers"][0], first=True)[0]
    assert (neuron.scale, neuron.gamma, neuron.beta, neuron.centre) == (1, 1, 0, Fraction(1, 2))
    assert (neuron.variance_epsilon, neuron.theta, neuron.initial) == (1, Fraction(3, 4), 0)


def test_recalibration_leaves_layers_without_batchnorm_alone():
    checkpoint = plain_checkpoint(bias=0.5)
    again = exact.recalibrate(checkpoint, torch.from_numpy(events().astype(np.uint8)))
    assert again.digest() == checkpoint.digest()
    shifted = plain_checkpoint(epsilon=1e-5, mean=0, variance=1)
    assert exact.recalibrate(shifted, torch.from_numpy(events().astype(np.uint8))).digest() != shifted.digest()


def test_a_layer_whose_weights_never_count_is_refused():
    checkpoint = plain_checkpoint()
    hidden = ("layer c must have a channel whose scale and gain are not zero: its spikes would not depend on the "
              "image")
    for name, value, line in (
            ("r.alpha", np.zeros((), SINGLE), "layer r must have a scale that is not zero: every score would be 0"),
            ("c.alpha", np.zeros(8, SINGLE), hidden),
            ("c.ternary", np.zeros((8, 2, 3, 3), np.int8), "layer c must have a weight that is not zero")):
        wrong = dataclasses.replace(checkpoint, tensors={**checkpoint.tensors, name: value})
        with pytest.raises(steps.ExportError) as caught:
            steps.ternarise(wrong)
        assert str(caught.value) == line
    silent = plain_checkpoint(epsilon=1e-5, mean=0, variance=1, gamma=0)
    with pytest.raises(steps.ExportError, match=f"^{hidden}$"):
        steps.ternarise(silent)


def residual_checkpoint(*, weights, kernel, beside=None):
    """A layer that sees the first layer's map through a kernel of 1 x 1 codes and beside it through a projection."""
    behaviour = {"kind": "convolution", "kernel": 1, "stride": 1, "padding": 0, "reset": "subtract", "leak_shift": None,
                 "epsilon": None}
    layers = [{**behaviour, "name": "a", "channels": 2},
              {**behaviour, "name": "b", "channels": 2,
               "projection": {"source": "a", "stride": 1, "weights": weights}},
              {"kind": "readout", "name": "r", "classes": 2, "input_pool": 2}]
    source = {"encoding": "events", "channels": 2, "height": 2, "width": 4, "zero_point": 0, "scale": 1}
    tensors = {f"{name}.{part}": value for name, codes in (("a", np.eye(2)), ("b", np.array(kernel)))
               for part, value in (("weight", codes[..., None, None].astype(SINGLE)),
                                   ("ternary", codes[..., None, None].astype(np.int8)),
                                   ("alpha", np.ones(2, SINGLE)), ("theta", np.array(1, SINGLE)),
                                   ("initial", np.array(0, SINGLE)))}
    tensors |= {"r.weight": np.ones((2, 4), SINGLE), "r.ternary": np.array([[1, 0, -1, 1], [1, 1, 0, -1]], np.int8),
                "r.alpha": np.array(1, SINGLE)}
    if beside is not None:
        codes = np.array(beside)[..., None, None]
        tensors |= {"b.projection_weight": codes.astype(SINGLE), "b.projection_ternary": codes.astype(np.int8)}
    return Checkpoint(architecture={"input": source, "timesteps": 2, "layers": layers}, tensors=tensors)


def test_weights_are_repeated_over_the_windows_of_an_average_pooling():
    *_, readout = fold(residual_checkpoint(weights="identity", kernel=[[1, 1], [0, 1]]))
    # Two channels of 1 x 2 windows, which are 2 x 4 places each.
    assert readout.weights.reshape(2, 2, 2, 4).tolist() == [
        [[[1, 1, 0, 0]] * 2, [[-1, -1, 1, 1]] * 2], [[[1, 1, 1, 1]] * 2, [[0, 0, -1, -1]] * 2]]
    assert readout.trained == 8


def test_an_identity_and_a_projection_make_up_for_a_silent_kernel():
    silent = [[0, 0], [0, 0]]
    assert steps.ternarise(residual_checkpoint(weights="identity", kernel=silent))["b"] == 1
    assert steps.ternarise(residual_checkpoint(weights="trained", kernel=silent, beside=[[1, 0], [0, 0]]))["b"] == 7 / 8
    with pytest.raises(steps.ExportError, match=r"^layer b must have a weight that is not zero$"):
        steps.ternarise(residual_checkpoint(weights="trained", kernel=silent, beside=silent))


def test_a_channel_whose_gain_is_zero_sees_neither_input():
    checkpoint = residual_checkpoint(weights="identity", kernel=[[1, 1], [0, 1]])
    checkpoint = dataclasses.replace(checkpoint, tensors={**checkpoint.tensors, "b.alpha": np.array([1, 0], SINGLE)})
    _, layer, _ = fold(checkpoint)
    assert layer.weights[:, :, 0, 0].tolist() == [[1, 1], [0, 0]]
    assert layer.projection[:, :, 0, 0].tolist() == [[1, 0], [0, 0]]
    assert (layer.zeroed, layer.trained) == (1, 4)
    network = exported(checkpoint)
    assert network.metadata["exact"] is True
    assert (network.layers[1].projection.weights == layer.projection).all()
