import pytest
import torch
from torch.nn import functional

from train.quantisers import Binary, codes_and_scale
from train.synapses import ProjectedConv2d, TernaryConv2d, TernaryLinear

SEED = 3


def made(*shape, share=0.3):
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(SEED)) < share).float()


def test_ternary_convolution_is_scale_times_convolution_of_codes():
    torch.manual_seed(SEED)
    layer = TernaryConv2d(2, 5, 3, stride=2, padding=1)
    x = made(4, 7, 6, 2)
    weight = layer.weight.detach()
    delta = 0.7 * weight.abs().mean((1, 2, 3), keepdim=True)
    kept = weight.abs() > delta
    alpha = (weight.abs() * kept).sum((1, 2, 3), keepdim=True) / kept.sum((1, 2, 3), keepdim=True)
    expected = functional.conv2d(x.movedim(-1, 1), alpha * weight.sign() * kept, stride=2, padding=1).movedim(1, -1)
    assert torch.allclose(layer(x), expected, atol=1e-6)


def test_bfloat16_spikes_give_the_same_current_while_sums_are_small():
    torch.manual_seed(SEED)
    layer = TernaryConv2d(16, 8, 3)
    x = made(4, 6, 6, 16)
    assert torch.equal(layer(x.bfloat16()), layer(x))


def test_ternary_linear_has_one_scale_per_output_or_one_for_the_layer():
    torch.manual_seed(SEED)
    x = made(4, 20)
    for per_channel, count in ((True, 6), (False, 1)):
        layer = TernaryLinear(20, 6, per_channel=per_channel)
        scaled = layer(torch.eye(20)).T
        magnitudes = [set(row[row != 0].abs().tolist()) for row in scaled]
        assert len(set.union(*magnitudes)) == count
        assert torch.allclose(layer(x), x @ scaled.T, atol=1e-6)


def projected(**options):
    torch.manual_seed(SEED)
    return ProjectedConv2d(3, 5, 3, beside=7, padding=1, **options)


def test_a_projected_filter_has_the_codes_and_the_scale_of_all_its_weights():
    layer = projected(stride=2)
    maps, beside = made(2, 4, 6, 5, 3), made(2, 4, 3, 3, 7, share=0.6)
    assert layer.weight.shape == (5, 3 * 9 + 7)
    assert (layer.in_channels, layer.kernel, layer.beside) == (3, 3, 7)
    codes, scale = codes_and_scale(layer.weight.detach())
    kernel = codes[:, :27].reshape(5, 3, 3, 3)
    expected = functional.conv2d(maps.flatten(0, 1).movedim(-1, 1), kernel, stride=2, padding=1)
    expected = expected.movedim(1, -1).unflatten(0, (2, 4)) + beside @ codes[:, 27:].T
    sums, found = layer.sums_of_both(maps, beside)
    assert torch.equal(sums, expected)
    assert torch.equal(found, scale)
    assert codes[:, 27:].abs().sum() > 5


def test_both_inputs_of_a_filter_learn():
    layer = projected()
    layer.quantiser = Binary()
    maps, beside = made(2, 4, 6, 5, 3).requires_grad_(), made(2, 4, 6, 5, 7).requires_grad_()
    sums, scale = layer.sums_of_both(maps, beside)
    (sums * scale).sum().backward()
    # The gradient of scale * codes goes to the latent weights: the number of spikes that each weight meets.
    assert torch.allclose(layer.weight.grad[:, 27:], beside.sum((0, 1, 2, 3)).expand(5, 7))
    assert layer.weight.grad[:, :27].abs().sum() > 0
    assert maps.grad.abs().sum() > 0
    assert beside.grad.abs().sum() > 0


def test_parts_of_filters_are_split_and_joined():
    layer = projected()
    kernel, beside = layer.split(layer.weight)
    assert (kernel.shape, beside.shape) == ((5, 3, 3, 3), (5, 7))
    assert torch.equal(layer.join(kernel, beside), layer.weight)
    assert torch.equal(layer.join(kernel, beside[..., None, None]), layer.weight)


def test_a_projected_convolution_of_one_map_is_refused():
    with pytest.raises(TypeError, match=r"^a projected convolution must be given two maps: call sums_of_both$"):
        projected()(made(4, 6, 5, 3))


def test_sums_of_both_maps_are_exact_in_bfloat16_while_they_are_small():
    layer = projected()
    maps, beside = made(2, 4, 6, 5, 3), made(2, 4, 6, 5, 7)
    half, _ = layer.sums_of_both(maps.bfloat16(), beside.bfloat16())
    assert half.dtype is torch.bfloat16
    assert torch.equal(half.float(), layer.sums_of_both(maps, beside)[0])
