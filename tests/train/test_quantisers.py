import pytest
import torch

from train.quantisers import codes_and_scale, ternarise

SEED = 5


@pytest.mark.parametrize("per_channel", [True, False])
def test_scaled_codes_are_minus_a_zero_or_a(per_channel):
    weight = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(SEED))
    codes, scale = codes_and_scale(weight, per_channel=per_channel)
    assert set(codes.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert scale.shape == ((6,) if per_channel else ())
    assert (scale > 0).all()
    assert ((codes == 0) | (codes == weight.sign())).all()
    groups = zip(weight, codes, scale, strict=True) if per_channel else [(weight, codes, scale)]
    for filter_, code, value in groups:
        kept = filter_.abs() > 0.7 * filter_.abs().mean()
        assert torch.equal(code != 0, kept)
        assert torch.allclose(value, filter_.abs()[kept].mean())


def test_weight_exactly_at_the_threshold_becomes_zero():
    # mean |w| = 1, so Delta is 0.7 in float32: exactly the first weight.
    weight = torch.tensor([[0.7, -1.3], [-0.7, 1.3]])
    assert weight.abs().mean(1).tolist() == [1.0, 1.0]
    codes, scale = codes_and_scale(weight)
    assert codes.tolist() == [[0, -1], [0, 1]]
    assert scale.tolist() == pytest.approx([1.3, 1.3])


def test_filter_of_zeros_has_no_codes_no_scale_and_no_gradient():
    weight = torch.tensor([[0.0, 0.0], [1.0, -1.0]], requires_grad=True)
    codes, scale = ternarise(weight)
    assert codes.tolist() == [[0, 0], [1, -1]]
    assert scale.tolist() == [0, 1]
    (codes * scale[:, None]).sum().backward()
    assert weight.grad.tolist() == [[0, 0], [1, 1]]


def test_gradient_of_the_scaled_codes_goes_straight_through():
    weight = torch.randn(3, 5, generator=torch.Generator().manual_seed(SEED)).requires_grad_()
    wanted = torch.randn(3, 5, generator=torch.Generator().manual_seed(SEED + 1))
    for per_channel in (True, False):
        codes, scale = ternarise(weight, per_channel=per_channel)
        (gradient,) = torch.autograd.grad((codes * scale.reshape(-1, 1) * wanted).sum(), weight)
        assert torch.allclose(gradient, wanted)


def test_codes_are_frozen_by_ternarising_twice():
    weight = torch.randn(4, 9, generator=torch.Generator().manual_seed(SEED))
    codes, _ = codes_and_scale(weight)
    # Codes alone lose information: of -1, 0, +1 with a mean magnitude below 1 every nonzero code stays.
    assert torch.equal(codes_and_scale(codes)[0], codes)


def test_half_precision_weights_are_refused():
    with pytest.raises(TypeError, match=r"^weights must be float32, not bfloat16$"):
        codes_and_scale(torch.zeros(2, 2, dtype=torch.bfloat16))
