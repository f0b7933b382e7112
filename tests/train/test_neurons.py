import math
import shutil

import pytest
import torch

from arch.network import Reset
from train.neurons import PIF, Mode, pif, rate, surrogate

SEED = 11


class Spike(torch.autograd.Function):
    """The spike by itself, with the surrogate: what autograd needs to differentiate the plain loop."""

    @staticmethod
    def forward(ctx, u, theta):
        ctx.save_for_backward(u, theta)
        return (u >= theta).to(u.dtype)

    @staticmethod
    def backward(ctx, gradient):
        u, theta = ctx.saved_tensors
        slope = gradient * surrogate(u / theta - 1) / theta
        return slope, (-slope * u / theta).sum_to_size(theta.shape)


def plain_loop(current, theta, timesteps, initial, reset, leak_shift):
    keep = 1.0 if leak_shift is None else 1 - 2.0**-leak_shift
    v = theta * initial
    spikes = []
    for t in range(timesteps):
        u = current[t if len(current) > 1 else 0] + keep * v
        s = Spike.apply(u, theta)
        v = u - s * theta if reset is Reset.SUBTRACT else u * (1 - s)
        spikes.append(s)
    return torch.stack(spikes)


def test_surrogate_is_a_triangle_of_height_0_6():
    z = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 3.0])
    assert torch.allclose(surrogate(z), torch.tensor([0.0, 0.0, 0.3, 0.6, 0.45, 0.0, 0.0]))


def test_soft_reset_follows_the_hand_computed_case():
    # theta 1, v0 0.5: u = 1.0 spikes (exactly at the threshold), 0.25; 0.75; 1.5 spikes, 0.5; 0.0.
    current = torch.tensor([0.5, 0.25, 0.5, 0.75, -0.5]).reshape(5, 1, 1)
    spikes = pif(current, torch.tensor(1.0), timesteps=5)
    assert spikes.flatten().tolist() == [1, 0, 0, 1, 0]


def test_hard_reset_drops_what_exceeds_the_threshold():
    current = torch.full((4, 1, 1), 1.75)
    assert pif(current * 0.5, torch.tensor(1.0), timesteps=4, initial=0.0,
               reset=Reset.ZERO).flatten().tolist() == [0, 1, 0, 1]
    assert pif(current * 0.5, torch.tensor(1.0), timesteps=4, initial=0.0).flatten().tolist() == [0, 1, 1, 1]


def test_leak_shrinks_the_membrane_before_the_addition():
    # leak 1/2: u = 0.75, 0.375 + 0.75 = 1.125 spikes.
    current = torch.full((2, 1, 1), 0.75)
    assert pif(current, torch.tensor(1.125), timesteps=2, initial=0.0, leak_shift=1).flatten().tolist() == [0, 1]
    assert pif(current, torch.tensor(1.126), timesteps=2, initial=0.0, leak_shift=1).flatten().tolist() == [0, 0]


@pytest.mark.parametrize("leak_shift", [None, 2])
@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize("channels", [None, 3])
@pytest.mark.parametrize("steps", [1, 4])
def test_written_backward_equals_autograd_of_the_plain_loop(steps, channels, reset, leak_shift):
    generator = torch.Generator().manual_seed(SEED)
    current = torch.randn(steps, 5, 2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    shape = () if channels is None else (channels,)
    theta = (0.6 + torch.rand(shape, generator=generator, dtype=torch.float64)).requires_grad_()
    weight = torch.randn(4, 5, 2, 3, generator=generator, dtype=torch.float64)
    results = []
    for function in (lambda: pif(current, theta, timesteps=4, initial=0.4, reset=reset, leak_shift=leak_shift),
                     lambda: plain_loop(current, theta, 4, 0.4, reset, leak_shift)):
        spikes = function()
        results.append((spikes, *torch.autograd.grad((spikes * weight).sum(), (current, theta))))
    (spikes, by_current, by_theta), (plain, by_current_plain, by_theta_plain) = results
    assert torch.equal(spikes, plain)
    assert torch.allclose(by_current, by_current_plain, rtol=1e-12, atol=1e-12)
    assert torch.allclose(by_theta, by_theta_plain, rtol=1e-12, atol=1e-12)
    assert by_theta.shape == theta.shape


def test_gradient_through_the_reset_equals_finite_differences_of_the_membrane():
    # Far from the threshold the spike does not change, and the membrane after soft resets is linear in theta:
    # u[3] = 3 c + v0 theta - n theta. The surrogate at z in (0, 1) then passes d u[3] / d theta on.
    current = torch.tensor([1.3, 0.1, 0.4]).double().reshape(3, 1, 1)
    step = 1e-6

    def membrane(theta):
        u, v = 0.0, 0.5 * theta
        for t in range(3):
            u = float(current[t]) + v
            v = u - theta * (u >= theta)
        return u

    slope = (membrane(1.0 + step) - membrane(1.0 - step)) / (2 * step)
    theta = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    spikes = pif(current, theta, timesteps=3)
    u = membrane(1.0)
    by_u = float(surrogate(torch.tensor(u - 1)))
    (by_theta,) = torch.autograd.grad(spikes[2].sum(), theta)
    # Earlier spikes at z = 0.8, -0.1: their own surrogates, times the -theta their reset subtracts.
    first, second = (float(surrogate(torch.tensor(z))) for z in (0.8, -0.1))
    by_spike_2 = -by_u
    by_u_2 = by_u + by_spike_2 * second
    by_spike_1 = -by_u_2
    expected = (by_u * (slope - u)             # the last membrane, and u / theta^2 of the last spike
                + by_spike_2 * second * (0.5 - 1 - 0.9)
                + by_spike_1 * first * (0.5 - 1.8))
    assert float(by_theta) == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore")  # torch.compile's own
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_compiled_loops_give_the_same_spikes_and_gradients():
    generator = torch.Generator().manual_seed(SEED)
    current = torch.randn(4, 5, 6, 16, generator=generator, requires_grad=True)
    theta = torch.tensor(0.8, requires_grad=True)
    weight = torch.randn(4, 5, 6, 16, generator=generator)
    results = []
    for compiled in (False, True):
        spikes = pif(current, theta, timesteps=4, compiled=compiled)
        results.append((spikes, *torch.autograd.grad((spikes * weight).sum(), (current, theta))))
    assert torch.equal(results[0][0], results[1][0])
    for plain, compiled in zip(results[0][1:], results[1][1:], strict=True):
        assert torch.allclose(plain, compiled, rtol=1e-4, atol=1e-5)


def test_constant_current_is_the_same_as_a_repeated_one():
    generator = torch.Generator().manual_seed(SEED)
    current = torch.randn(1, 7, 3, generator=generator)
    theta = torch.tensor(0.8)
    assert torch.equal(pif(current, theta, timesteps=4), pif(current.expand(4, 7, 3), theta, timesteps=4))


def test_bfloat16_autocast_changes_the_type_of_the_spikes_and_nothing_else():
    layer = PIF(4)
    current = torch.randn(4, 7, 3, generator=torch.Generator().manual_seed(SEED))
    plain = layer(current)
    with torch.autocast("cpu", torch.bfloat16):
        spikes = layer(current)
    assert spikes.dtype is torch.bfloat16
    assert torch.equal(spikes.float(), plain)


def test_clamp_keeps_the_threshold_positive():
    layer = PIF(4, channels=2)
    layer.theta.data = torch.tensor([-1.0, 2.0])
    layer.clamp()
    assert layer.theta.tolist() == pytest.approx([0.05, 2.0])


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"^current must have 1 or 4 timesteps, not 3$"):
        pif(torch.zeros(3, 1, 1), torch.tensor(1.0), timesteps=4)
    with pytest.raises(ValueError, match=r"^theta must be at least 0\.05, not 0\.0$"):
        PIF(4, theta=0.0)
    with pytest.raises(TypeError, match=r"^reset must be a Reset, not 'zero'$"):
        PIF(4, reset="zero")


@pytest.mark.parametrize("initial", [0.0, 0.5, 0.75])
@pytest.mark.parametrize("timesteps", [1, 3, 4, 8])
def test_rate_is_the_spike_count_under_a_constant_current(timesteps, initial):
    theta = torch.tensor(0.75)  # multiples of 1/64 and T of powers of two or three times that: exact in float32
    current = torch.arange(-64, 129)[None] / 64
    counts = pif(current, theta, timesteps=timesteps, initial=initial).sum(0)
    assert torch.equal((rate(current[0], theta, timesteps=timesteps, initial=initial) * timesteps).round(), counts)


@pytest.mark.filterwarnings("ignore")  # torch.compile's own
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.skipif(
    shutil.which("g++") is None, reason="needs g++"))])
def test_rate_has_the_gradient_of_the_clipped_line(compiled):
    generator = torch.Generator().manual_seed(5)
    current = torch.randn(6, 5, generator=generator, dtype=torch.float64).requires_grad_()
    theta = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    (rate(current, theta, timesteps=4, compiled=compiled) * weights).sum().backward()

    def line(current, theta):
        return float(((current / theta).clamp(0, 1) * weights).sum())

    step = 1e-6
    for index in range(30):
        moved = torch.zeros(30, dtype=torch.float64)
        moved[index] = step
        moved = moved.reshape(6, 5)
        slope = (line(current.detach() + moved, 0.7) - line(current.detach() - moved, 0.7)) / (2 * step)
        assert float(current.grad.flatten()[index]) == pytest.approx(slope, abs=1e-6)
    slope = (line(current.detach(), 0.7 + step) - line(current.detach(), 0.7 - step)) / (2 * step)
    assert float(theta.grad) == pytest.approx(slope, abs=1e-6)


def test_modes_pass_on_rates_and_real_numbers_of_the_mean_current():
    layer = PIF(4, theta=0.5)
    current = torch.tensor([[[0.3]], [[0.1]], [[-0.1]], [[0.5]]])  # mean 0.2: 1.6 spikes, and half a threshold to begin
    layer.mode = Mode.RATES
    assert layer(current).tolist() == [[[0.5]]]
    layer.mode = Mode.RELU
    assert layer(current).tolist() == [[[pytest.approx(0.4)]]]
    assert layer(-current).tolist() == [[[0.0]]]


@pytest.mark.parametrize(("shape", "values"), [
    ("triangle", [0.0, 0.3, 0.6, 0.3, 0.0]), ("rectangle", [0.0, 0.0, 1.0, 0.0, 0.0]),
    ("arctangent", [1 / (1 + math.pi ** 2), 1 / (1 + math.pi ** 2 / 4), 1.0, 1 / (1 + math.pi ** 2 / 4),
                    1 / (1 + math.pi ** 2)])])
def test_surrogates_by_hand(shape, values):
    assert surrogate(torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]), shape).tolist() == pytest.approx(values)


def test_unknown_surrogate_is_named():
    with pytest.raises(ValueError, match=r"^surrogate must be triangle, rectangle, arctangent, not 'step'$"):
        pif(torch.zeros(1, 1), torch.tensor(1.0), timesteps=1, shape="step")
