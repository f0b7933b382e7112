import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from train.quantisers import (
    QUANTISERS,
    Binary,
    EdgeTernary,
    Levels,
    Ternary,
    codes_and_scale,
    make_quantiser,
    ternarise,
)

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


def test_binary_weights_by_hand():
    weight = torch.tensor([[0.5, -1.5, 0.0], [-2.0, -1.0, 3.0]])
    codes, scale = Binary().codes_and_scale(weight)
    assert codes.tolist() == [[1, -1, 1], [-1, -1, 1]]
    assert scale.tolist() == pytest.approx([2 / 3, 2.0])
    assert float(Binary().codes_and_scale(weight, per_channel=False)[1]) == pytest.approx(4 / 3)


def test_edge_ternary_weights_by_hand():
    weight = torch.tensor([[0.5, -1.5, 1.0], [0.0, 0.0, 0.0]])  # mean 1: a tie at 1.0 is zero
    codes, scale = EdgeTernary().codes_and_scale(weight)
    assert codes.tolist() == [[0, -1, 0], [0, 0, 0]]
    assert scale.tolist() == [2.0, 0.0]


def test_levels_by_hand():
    weight = torch.tensor([[0.3, -0.25, 0.25, -0.7, 0.0]])
    assert Levels(0.5, ternary=True).codes_and_scale(weight)[0].tolist() == [[1, 0, 0, -1, 0]]
    codes, scale = Levels(0.5, ternary=False).codes_and_scale(weight)
    assert codes.tolist() == [[1, -1, 1, -1, 1]]
    assert scale.tolist() == [0.5]
    with pytest.raises(ValueError, match=r"^scale of a layer's levels must be positive, not 0.0$"):
        Levels(0.0, ternary=True)


@given(st.lists(st.lists(st.floats(-4, 4, width=32), min_size=3, max_size=3), min_size=1, max_size=5),
       st.sampled_from([Ternary(), EdgeTernary(), Binary(), Levels(0.5, ternary=True), Levels(0.5, ternary=False)]),
       st.booleans())
def test_codes_are_codes_and_the_scale_is_not_negative(rows, quantiser, per_channel):
    weight = torch.tensor(rows)
    codes, scale = quantiser.codes_and_scale(weight, per_channel=per_channel)
    assert codes.shape == weight.shape
    assert set(codes.unique().tolist()) <= {-1.0, 0.0, 1.0}
    assert (scale >= 0).all()
    assert scale.shape == ((len(rows),) if per_channel else ())
    # No code turns a weight around.
    assert (codes * weight >= 0).all() or isinstance(quantiser, Binary)


@pytest.mark.parametrize("name", sorted(QUANTISERS))
def test_gradient_is_straight_through(name):
    weight = torch.tensor([[0.5, -1.5, 0.1], [2.0, -0.1, 0.3]], requires_grad=True)
    codes, scale = make_quantiser(name)(weight)
    wanted = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    # The gradient with respect to scale * codes is `wanted`.
    (codes * scale.detach()[:, None] * wanted).sum().backward()
    assert torch.allclose(weight.grad, wanted)


def test_unknown_weights_are_named():
    with pytest.raises(ValueError, match=r"^weights must be ternary, edge-ternary, binary, float, not 'two'$"):
        make_quantiser("two")
