import shutil

import pytest
import torch

from train.layers import Convolution, FullyConnected, OrPool, Readout, normalise, or_pool
from train.neurons import Mode

SEED = 3


def made(*shape, share=0.3):
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(SEED)) < share).float()


def test_or_pool_is_or_with_the_gradient_of_amax():
    x = made(2, 3, 7, 5, 4).requires_grad_()
    out = or_pool(x, 2)
    window = x[..., :6, :4, :].unflatten(-2, (2, 2)).unflatten(-4, (3, 2))
    expected = window.amax((-4, -2))
    assert torch.equal(out, expected)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(SEED))
    gradients = [torch.autograd.grad((result * weight).sum(), x)[0] for result in (out, expected)]
    assert torch.allclose(*gradients)


@pytest.mark.filterwarnings("ignore")  # torch.compile's own
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.skipif(
    shutil.which("g++") is None, reason="needs g++"))])
def test_pool_of_real_numbers_is_their_maximum_with_the_gradient_of_amax(compiled):
    generator = torch.Generator().manual_seed(3)
    x = (torch.randint(0, 5, (2, 3, 5, 7, 2), generator=generator) / 4).requires_grad_()
    y = x.detach().clone().requires_grad_()
    weights = torch.randn(2, 3, 2, 3, 2, generator=generator)
    pooled = or_pool(x, 2, compiled=compiled)
    expected = y[:, :, :4, :6].reshape(2, 3, 2, 2, 3, 2, 2).amax((3, 5))
    assert torch.equal(pooled, expected)
    (pooled * weights).sum().backward()
    (expected * weights).sum().backward()
    assert torch.allclose(x.grad, y.grad)


@pytest.mark.filterwarnings("ignore")  # torch.compile's own
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.skipif(
    shutil.which("g++") is None, reason="needs g++"))])
@pytest.mark.parametrize("size", [2, 3])
def test_pool_of_rates_expects_independent_spikes(compiled, size):
    generator = torch.Generator().manual_seed(3)
    x = (torch.randint(0, 5, (1, 3, 7, 10, 2), generator=generator) / 4).requires_grad_()
    y = x.detach().clone().requires_grad_()
    rows, columns = 7 // size, 10 // size
    weights = torch.randn(1, 3, rows, columns, 2, generator=generator)
    pooled = or_pool(x, size, rates=True, compiled=compiled)
    expected = 1 - (1 - y[:, :, :rows * size, :columns * size].reshape(1, 3, rows, size, columns, size, 2)).prod(
        5).prod(3)
    torch.testing.assert_close(pooled, expected)
    (pooled * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)


def test_pool_of_rates_by_hand():
    # Spikes in a half, a quarter, none and none of the timesteps: silent in 1/2 * 3/4 of them.
    x = torch.tensor([0.5, 0.25, 0.0, 0.0]).reshape(1, 1, 2, 2, 1).requires_grad_()
    pooled = or_pool(x, 2, rates=True)
    assert pooled.item() == 1 - 0.375
    pooled.backward()
    assert x.grad.flatten().tolist() == [0.75, 0.5, 0.375, 0.375]
    spikes = made(4, 3, 6, 6, 2)
    assert torch.equal(or_pool(spikes, 2, rates=True), or_pool(spikes, 2))


def test_pool_follows_the_mode_of_the_network():
    pool = OrPool(2)
    maps = torch.full((1, 1, 2, 2, 1), 0.5)
    assert pool(maps).item() == 0.5
    pool.mode = Mode.RATES
    assert pool(maps).item() == 1 - 0.5**4
    pool.mode = Mode.RELU
    assert pool(maps).item() == 0.5


def test_statistics_over_the_mean_are_those_of_folded_time():
    layer = Convolution(3, 4, 3)
    maps = made(4, 5, 6, 6, 3)
    current = layer.synapses(maps.flatten(0, 1)).unflatten(0, (4, 5)).detach().requires_grad_()
    norm = torch.nn.BatchNorm1d(4)
    found = normalise(current, norm, over_mean=True)
    mean, variance = current.mean(0).flatten(0, -2).mean(0), current.mean(0).flatten(0, -2).var(0, correction=0)
    expected = (current - mean) / (variance + norm.eps).sqrt()
    torch.testing.assert_close(found, expected)
    count = 5 * 4 * 4
    torch.testing.assert_close(norm.running_mean, 0.1 * mean)
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * variance * count / (count - 1))
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(SEED))
    gradients = [torch.autograd.grad((result * weight).sum(), current)[0] for result in (found, expected)]
    torch.testing.assert_close(*gradients)
    norm.eval()
    assert torch.equal(normalise(current, norm, over_mean=True), normalise(current, norm))


def test_maps_keep_their_form_through_every_layer():
    spikes = made(4, 2, 8, 8, 3)
    spikes = Convolution(3, 6, 3, padding=1, timesteps=4)(spikes)
    assert spikes.shape == (4, 2, 8, 8, 6)
    spikes = OrPool(3)(spikes)
    assert spikes.shape == (4, 2, 2, 2, 6)
    spikes = FullyConnected(24, 7, timesteps=4)(spikes)
    assert spikes.shape == (4, 2, 1, 1, 7)
    assert set(spikes.unique().tolist()) <= {0.0, 1.0}
    assert Readout(7, 10)(spikes).shape == (2, 10)


def test_constant_input_is_convolved_once_and_spikes_for_all_timesteps():
    layer = Convolution(1, 4, 3, timesteps=4).eval()
    image = torch.rand(1, 2, 6, 6, 1, generator=torch.Generator().manual_seed(SEED))
    assert torch.equal(layer(image), layer(image.expand(4, -1, -1, -1, -1)))


def test_flattening_is_channel_row_column():
    layer = Readout(2 * 3 * 4, 2)
    x = made(1, 1, 3, 4, 2)
    flat = x[0, 0].movedim(-1, 0).reshape(1, -1)
    assert torch.equal(layer(x), layer.synapses(flat))


def test_pool_of_one_is_refused():
    with pytest.raises(ValueError, match=r"^pool size must be at least 2, not 1$"):
        OrPool(1)
