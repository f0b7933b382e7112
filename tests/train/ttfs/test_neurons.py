import math
import shutil

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import torch

from arch.network import NetworkError
from arch.ttfs.code import TimeCode
from train.ttfs.neurons import (
    LogQuantiser,
    TtfsActivation,
    decode_time,
    encode_time,
    phi_clip,
    phi_ttfs,
    thresholds,
)

SEED = 31
TYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", TYPES)
def test_times_by_hand(dtype):
    # theta(t) is 2, 1.41..., 1, 0.707..., 0.5, 0.353...
    x = torch.tensor([5, 2, 1.99, 1.5, 1.41, 1, 0.99, 0.5, 0.36, 0.35, 0, -1], dtype=dtype)
    assert encode_time(x, 6, 2, 2.0).tolist() == [0, 0, 1, 1, 2, 2, 3, 4, 5, 6, 6, 6]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("T", "tau"), [(24, 4), (12, 2), (48, 8), (3, 1), (10, 7)])
def test_a_value_on_a_threshold_spikes_there_and_one_below_it_later(dtype, T, tau):
    on = thresholds(T, tau, 0.5).to(dtype)
    assert encode_time(on, T, tau, 0.5).tolist() == list(range(T))
    below = torch.nextafter(on, torch.zeros_like(on))
    assert encode_time(below, T, tau, 0.5).tolist() == list(range(1, T + 1))
    # Where the power is a power of two, it is itself and nothing near it.
    assert (on[::tau] == 0.5 * 2.0 ** -torch.arange(len(on[::tau]))).all()


@hypothesis.given(st.floats(1e-6, 20), st.sampled_from([(24, 4), (12, 2), (48, 8)]), st.sampled_from([0.3, 1.0, 1.5]))
def test_the_time_is_the_rounded_up_logarithm(x, window, theta0):
    T, tau = window
    real = -tau * math.log2(x / theta0)
    # The table is 2^-16 off the powers: there, the time is the table's.
    hypothesis.assume(abs(real - round(real)) > tau * 2**-14)
    wanted = min(max(math.ceil(real), 0), T)
    assert encode_time(torch.tensor([x], dtype=torch.float64), T, tau, theta0).tolist() == [wanted]


def test_times_agree_with_the_integers():
    """A comparison of rationals, of the same tables, on values around every threshold."""
    code = TimeCode(timesteps=24, tau=4)
    table = code.products()[1][:-1]
    membranes = np.sort(np.concatenate([table - 1, table, table + 1]))[::-1].copy()
    times = encode_time(torch.from_numpy(membranes * 2.0**-code.unit_bits), 24, 4, 1.0)
    assert times.tolist() == [sum(int(entry) > int(v) for entry in table) for v in membranes]


def test_values_decode_to_what_they_were():
    values = decode_time(torch.arange(7), 6, 2, 2.0)
    assert values.dtype == torch.float32
    assert values.tolist()[::2] == [2, 1, 0.5, 0]
    assert values.tolist()[1:6:2] == pytest.approx([2**0.5, 2**-0.5, 2**-1.5], rel=2**-16)
    assert torch.equal(encode_time(values, 6, 2, 2.0), torch.arange(7))


def test_phi_ttfs_is_the_largest_threshold_up_to_the_value():
    x = torch.linspace(-1, 3, 997)
    table = [*thresholds(6, 2, 2.0).float().tolist(), 0.0]
    wanted = [max(entry for entry in table if entry <= max(value, 0.0)) for value in x.tolist()]
    assert phi_ttfs(x, 6, 2, 2.0).tolist() == wanted
    assert torch.equal(phi_ttfs(phi_ttfs(x, 6, 2, 2.0), 6, 2, 2.0), phi_ttfs(x, 6, 2, 2.0))


def test_phi_clip_clips():
    assert phi_clip(torch.tensor([-1, 0, 0.3, 2, 2.5]), 2.0).tolist() == pytest.approx([0, 0, 0.3, 2, 2])


@pytest.mark.parametrize("activation", [lambda x: phi_clip(x, 2.0), lambda x: phi_ttfs(x, 6, 2, 2.0)])
def test_the_gradient_is_one_strictly_inside(activation):
    x = torch.tensor([-1, 0, 1e-6, 0.3, 1.0, 1.9999, 2, 3], dtype=torch.float64, requires_grad=True)
    weights = torch.arange(1, 9, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((activation(x) * weights).sum(), x)
    assert gradient.tolist() == [0, 0, 3, 4, 5, 6, 0, 0]


def test_the_gradient_is_the_difference_quotient_of_phi_clip_where_there_is_one():
    x = torch.tensor([-1.3, -0.2, 0.1, 0.9, 1.7, 2.2], dtype=torch.float64, requires_grad=True)
    step = 1e-3
    (gradient,) = torch.autograd.grad(phi_clip(x, 2.0).sum(), x)
    difference = (phi_clip(x.detach() + step, 2.0) - phi_clip(x.detach() - step, 2.0)) / (2 * step)
    assert torch.allclose(gradient, difference)


def test_the_gradient_of_phi_ttfs_is_its_mean_slope_between_thresholds():
    """The steps hide the slope, but from one threshold to another the function gains what the argument gains."""
    table = thresholds(12, 2, 2.0)
    low, high = table[1:], table[:-1]
    slope = (phi_ttfs(high, 12, 2, 2.0) - phi_ttfs(low, 12, 2, 2.0)) / (high - low)
    middle = ((low + high) / 2).requires_grad_()
    (gradient,) = torch.autograd.grad(phi_ttfs(middle, 12, 2, 2.0).sum(), middle)
    assert torch.equal(slope, gradient)


def test_the_activation_has_three_forms():
    x = torch.tensor([-1, 0.3, 0.8, 5])
    activation = TtfsActivation(6, 2, 2.0, mode="relu")
    assert torch.equal(activation(x), x.relu())
    activation.set_mode("clip")
    assert torch.equal(activation(x), x.clamp(0, 2))
    activation.set_mode("ttfs")
    assert torch.equal(activation(x), phi_ttfs(x, 6, 2, 2.0))
    assert repr(activation) == "TtfsActivation(T=6, tau=2, theta0=2.0, mode=ttfs)"


def test_half_precision_is_compared_in_single():
    x = torch.tensor([0.4238, 0.4199, 1.0], dtype=torch.bfloat16)
    out = TtfsActivation(24, 4)(x)
    assert out.dtype == torch.bfloat16
    # 0.42045 is a threshold between the two first; bfloat16 has it not.
    assert encode_time(x.float(), 24, 4, 1.0).tolist() == [5, 6, 0]
    assert torch.equal(out, decode_time(torch.tensor([5, 6, 0]), 24, 4, 1.0, dtype=torch.bfloat16))


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: TtfsActivation(6, 2, mode="step"), ValueError, "mode must be relu, clip, ttfs, not 'step'"),
    (lambda: TtfsActivation(6, 2, 0.0), ValueError, "theta0 must be positive and finite, not 0.0"),
    (lambda: TtfsActivation(6, 2, math.nan), ValueError, "theta0 must be positive and finite, not nan"),
    (lambda: TtfsActivation(0, 2), NetworkError, "timesteps must be an integer from 1 to 255, not 0"),
    (lambda: TtfsActivation(6, 0), NetworkError, "tau must be an integer from 1 to 64, not 0"),
    (lambda: LogQuantiser(1), NetworkError, "bits must be an integer from 2 to 8, not 1"),
    (lambda: LogQuantiser(p=0), NetworkError, "p must be an integer from 1 to 64, not 0"),
    (lambda: LogQuantiser().codes_and_scale(torch.zeros(2, 2).double()), TypeError,
     "weights must be float32, not float64"),
])
def test_wrong_parameters_are_refused(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == message


def test_codes_by_hand():
    # With p = 1 and 3 bits the codes are 1, 1/2, 1/4; their bounds 0.707, 0.354, 0.177 of the largest, 2.
    weight = torch.tensor([[2, -1.5, 1.4, -0.72, 0.70, 0.36, -0.35, 0]])
    codes, scale = LogQuantiser(bits=3, p=1).codes_and_scale(weight)
    assert scale.tolist() == [2]
    assert codes.tolist() == [[1, -1, 0.5, -0.5, 0.25, 0.25, 0, 0]]
    integers, _ = LogQuantiser(bits=3, p=1).integer_codes(weight)
    assert integers.dtype == torch.int8
    assert integers.tolist() == [[1, -1, 2, -2, 3, 3, 0, 0]]


def test_scales_are_of_channels_or_of_the_layer():
    weight = torch.tensor([[1.0, 0.5], [-4.0, 0.25], [0, 0]])
    codes, scale = LogQuantiser().codes_and_scale(weight)
    assert scale.tolist() == [1, 4, 0]
    assert codes.tolist() == [[1, 0.5], [-1, 2**-4], [0, 0]]
    codes, scale = LogQuantiser().codes_and_scale(weight, per_channel=False)
    assert scale.shape == ()
    assert scale == 4
    assert codes.tolist() == [[0.25, 0.125], [-1, 2**-4], [0, 0]]


FINITE = st.floats(-100, 100, width=32, allow_subnormal=False)


@hypothesis.given(st.lists(FINITE, min_size=1, max_size=30), st.sampled_from([(5, 2), (4, 1), (3, 3), (2, 1)]))
def test_every_weight_gets_the_nearest_exponent(values, format_):
    bits, p = format_
    quantiser = LogQuantiser(bits, p)
    weight = torch.tensor([values])
    codes, scale = quantiser.codes_and_scale(weight)
    largest = max(map(abs, weight[0].tolist()))
    assert scale.tolist() == [largest]
    levels = 2**(bits - 1) - 1
    table = [2.0**(-q / p) for q in range(levels)]
    for value, code in zip(weight[0].tolist(), codes[0].tolist(), strict=True):
        if not value:
            assert code == 0
            continue
        # In steps of the exponent; the bound is half a step below the last code.
        steps = -p * (math.log2(abs(value)) - math.log2(largest))
        if code == 0:
            assert steps > levels - 0.5 - 1e-9
        else:
            assert math.copysign(1, code) == math.copysign(1, value)
            distances = [abs(steps - q) for q in range(levels)]
            chosen = min(range(levels), key=lambda q: abs(table[q] - abs(code)))
            assert abs(code) == pytest.approx(table[chosen], rel=1e-7)
            assert distances[chosen] <= min(distances) + 1e-9
            assert steps < levels - 0.5 + 1e-9


@hypothesis.given(st.lists(FINITE, min_size=1, max_size=30))
def test_codes_are_odd_do_not_depend_on_a_power_of_two_and_are_kept(values):
    quantiser = LogQuantiser()
    weight = torch.tensor([values])
    codes, scale = quantiser.codes_and_scale(weight)
    assert torch.equal(quantiser.codes_and_scale(-weight)[0], -codes)
    assert torch.equal(quantiser.codes_and_scale(weight * 8)[0], codes)
    if scale > 0:
        assert torch.equal(quantiser.codes_and_scale(codes)[0], codes)
    order = torch.argsort(weight[0])
    assert (codes[0][order].diff() >= 0).all()


def test_the_integer_codes_are_those_of_the_network():
    quantiser = LogQuantiser(4, 3)
    weight = torch.randn(5, 20, generator=torch.Generator().manual_seed(SEED))
    integers, _ = quantiser.integer_codes(weight)
    codes, _ = quantiser.codes_and_scale(weight)
    code = TimeCode(timesteps=1, tau=1, p=3, bits=4, fraction=23)
    values = code.products()[:, 0] * 2.0**-code.unit_bits
    assert np.allclose(codes.numpy(), np.sign(integers.numpy()) * values[np.abs(integers.numpy())], rtol=2**-22, atol=0)


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_gradient_of_the_weights_is_straight_through(per_channel):
    generator = torch.Generator().manual_seed(SEED)
    weight = torch.randn(3, 2, 3, 3, generator=generator, requires_grad=True)
    wanted = torch.randn(3, 2, 3, 3, generator=generator)
    quantiser = LogQuantiser()
    value = quantiser.quantise(weight, per_channel=per_channel)
    codes, scale = quantiser.codes_and_scale(weight, per_channel=per_channel)
    assert torch.equal(value, codes * scale.reshape(-1, 1, 1, 1))
    (gradient,) = torch.autograd.grad((value * wanted).sum(), weight)
    assert torch.equal(gradient, wanted)
    # As a quantiser of a layer, with codes and scale apart.
    codes, scale = quantiser(weight, per_channel=per_channel)
    (gradient,) = torch.autograd.grad((codes * scale.reshape(-1, 1, 1, 1) * wanted).sum(), weight)
    assert torch.allclose(gradient, wanted)


def test_a_layer_may_have_one_scale():
    weight = torch.tensor([[1.0, 0.5], [-4.0, 0.3]], requires_grad=True)
    value = LogQuantiser().quantise(weight, per_channel=False)
    assert value.tolist() == [[1, 0.5], [-4, pytest.approx(4 * 2**-3.5, rel=1e-6)]]
    (gradient,) = torch.autograd.grad(value.sum(), weight)
    assert (gradient == 1).all()


@pytest.mark.parametrize(("bits", "p"), [(2, 1), (5, 1), (5, 2), (6, 1), (8, 4)])
def test_all_codes_are_used(bits, p):
    weight = torch.exp2(-torch.linspace(0, 40, 2000))[None]
    codes, _ = LogQuantiser(bits, p).integer_codes(weight)
    assert sorted(set(codes[0].tolist())) == list(range(2**(bits - 1)))


@pytest.mark.filterwarnings("ignore")  # torch.compile's own
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiled_activation_is_the_same(dtype):
    levels = thresholds(24, 4, 0.7).to(dtype)
    # On every threshold, a step below and above it, far away, and not a number of any table.
    x = torch.cat([levels, torch.nextafter(levels, levels.new_zeros(())), torch.nextafter(levels, levels + 1),
                   torch.linspace(-1, 2, 1000, dtype=dtype)]).requires_grad_()
    y = x.detach().clone().requires_grad_()
    plain, compiled = phi_ttfs(x, 24, 4, 0.7), phi_ttfs(y, 24, 4, 0.7, compiled=True)
    assert torch.equal(plain, compiled)
    plain.sum().backward()
    compiled.sum().backward()
    assert torch.equal(x.grad, y.grad)
