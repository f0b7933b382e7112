import shutil

import pytest
import torch

from arch.network import Reset
from train import fused, layers, neurons

pytestmark = [pytest.mark.filterwarnings("ignore"),  # torch.compile's own
              pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")]


def drawn(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


SCALE = torch.tensor([0.5, 0.25, 0.0])


def sums_of(copies):
    return (drawn(copies, 6, 5, 4, 3) * 4).round()


def pair(choices=None, **options):
    """One layer of neurons and its BatchNorm twice: in passes, and one after the other."""
    made = []
    for compiled in (True, False):
        norm = torch.nn.BatchNorm1d(3)
        with torch.no_grad():
            norm.weight.copy_(torch.tensor([1.0, 0.5, -0.8]))
            norm.bias.copy_(torch.tensor([0.5, 0.2, 0.4]))
            norm.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
        layer = neurons.PIF(4, **options)
        for name, value in {**(choices or {}), "compiled": compiled}.items():
            setattr(layer, name, value)
        made.append((norm, layer))
    return made


CASES = [({"mode": neurons.Mode.RATES}, 1), ({"mode": neurons.Mode.RELU}, 1), ({}, 1), ({}, 4),
         ({"surrogate": "arctangent"}, 4), ({"norm_over_mean": True}, 4), ({"norm_over_mean": True}, 1)]


@pytest.mark.parametrize(("choices", "copies"), CASES)
def test_passes_give_what_the_parts_give(choices, copies):
    sums, results = sums_of(copies), []
    for norm, layer in pair(choices):
        x = sums.clone().requires_grad_()
        assert fused.applies(norm, layer, copies) == layer.compiled
        if layer.compiled:
            spikes = fused.normalised_spikes(x, SCALE, norm, layer, torch.float32)
        else:
            spikes = layer(layers.normalise(x * SCALE, norm, over_mean=layer.norm_over_mean))
        (spikes * drawn(*spikes.shape, seed=2)).sum().backward()
        results.append((spikes, x.grad, norm.weight.grad, norm.bias.grad, layer.theta.grad, norm.running_mean,
                        norm.running_var, norm.num_batches_tracked))
    found, expected = results
    if choices.get("mode") is not neurons.Mode.RELU:
        assert torch.equal(found[0], expected[0])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("choices", "copies"), CASES)
def test_passes_in_evaluation_mode_use_the_running_statistics(choices, copies):
    sums, results = sums_of(copies), []
    for norm, layer in pair(choices):
        norm.running_var.copy_(torch.tensor([4.0, 0.5, 2.0]))
        norm.eval()
        assert not fused.applies(norm, layer, copies)
        with torch.no_grad():
            assert fused.applies(norm, layer, copies) == layer.compiled
            results.append(fused.normalised_spikes(sums, SCALE, norm, layer, torch.float32) if layer.compiled
                           else layer(layers.normalise(sums * SCALE, norm)))
        assert norm.running_mean.tolist() == [1.0, 2.0, 3.0]
    assert results[0].unique().numel() > 1
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("options", [{"reset": Reset.ZERO}, {"leak_shift": 2}, {"channels": 3, "initial": 0.0}])
def test_all_kinds_of_neurons(options):
    sums, results = sums_of(4), []
    for norm, layer in pair(**options):
        x = sums.clone().requires_grad_()
        if layer.compiled:
            spikes = fused.normalised_spikes(x, torch.ones(3), norm, layer, torch.float32)
        else:
            spikes = layer(norm(x.flatten(0, -2)).reshape(x.shape))
        (spikes * drawn(*spikes.shape, seed=2)).sum().backward()
        results.append((spikes, x.grad, norm.weight.grad, layer.theta.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("absent", [("weight",), ("bias",), ("weight", "bias")])
@pytest.mark.parametrize("training", [True, False])
def test_norms_may_lack_scale_or_shift(absent, training):
    sums, results = sums_of(4), []
    for norm, layer in pair():
        for name in absent:
            setattr(norm, name, None)
        norm.train(training)
        x = sums.clone().requires_grad_(training)
        with torch.set_grad_enabled(training):
            assert fused.applies(norm, layer, 4) == layer.compiled
            spikes = (fused.normalised_spikes(x, torch.ones(3), norm, layer, torch.float32) if layer.compiled
                      else layer(layers.normalise(x, norm)))
        if training:
            (spikes * drawn(*spikes.shape, seed=2)).sum().backward()
        results.append((spikes.detach(), x.grad, norm.running_mean, norm.running_var))
    assert results[0][0].unique().numel() == 2
    for one, other in zip(*results, strict=True):
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_norms_that_keep_no_statistics_are_left_to_torch():
    _, layer = pair()[0]
    assert not fused.applies(torch.nn.BatchNorm1d(3, track_running_stats=False), layer, 4)


def test_statistics_bear_a_mean_far_from_zero():
    sums = drawn(1, 64, 32, 32, 2) + torch.tensor([1000.0, -3000.0])
    mean, variance = fused._statistics(sums, torch.tensor([999.0, -3001.0]), False)
    torch.testing.assert_close(mean, sums.double().mean((0, 1, 2, 3)).float())
    torch.testing.assert_close(variance, sums.double().var((0, 1, 2, 3), correction=0).float(), rtol=1e-3, atol=0)


def test_layers_use_the_passes_in_training_or_without_gradients(monkeypatch):
    calls = []
    monkeypatch.setattr(fused, "normalised_spikes", lambda sums, *_: calls.append(len(sums)) or sums)
    convolution = layers.Convolution(3, 4, 3, padding=1, pool=2, timesteps=4)
    full = layers.FullyConnected(48, 5, timesteps=4)
    for layer in (convolution, full):
        layer.neurons.compiled = True
    maps = (drawn(4, 2, 4, 4, 3) > 0).float()
    convolution(maps), full(maps)
    assert calls == [4, 4]
    convolution.eval(), full.eval()
    convolution(maps), full(maps)
    assert calls == [4, 4]
    with torch.no_grad():
        convolution(maps), full(maps)
    assert calls == [4, 4] * 2
    convolution.train().neurons.mode = neurons.Mode.RELU
    convolution(maps)
    assert calls == [4, 4] * 2
    convolution(maps[:1])
    assert calls == [4, 4] * 2 + [1]
