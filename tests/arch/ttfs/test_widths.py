import itertools

import numpy as np
import pytest

from arch.network import NetworkError
from arch.ttfs.code import TimeCode
from arch.ttfs.network import FullyConnected, Input, Network, Readout
from arch.ttfs.widths import layer_widths, membrane_range
from arch.widths import Range
from tests.arch.ttfs.test_code import SMALL
from tests.arch.ttfs.test_network import falling


@pytest.mark.parametrize("options", [SMALL, {"timesteps": 4, "tau": 3, "p": 2, "bits": 4, "fraction": 6},
                                     {"timesteps": 5, "tau": 1, "p": 3, "bits": 3, "fraction": 9}])
def test_both_ends_of_every_range_are_reached(options):
    code = TimeCode(**options)
    rng = np.random.default_rng(5)
    weights = rng.integers(-code.levels, code.levels + 1, (3, 3)).astype(np.int8)
    source = Input(channels=1, height=1, width=3, threshold=np.ones(code.timesteps, dtype=np.int64))
    network = Network(input=source, code=code, layers=(
        FullyConnected(weights=weights, threshold=falling(3, code.timesteps)),
        Readout(weights=np.ones((2, 3), dtype=np.int8))))
    widths = next(layer_widths(network))
    membranes, accumulators = [0], [0]
    for row, times in itertools.product(weights.tolist(), itertools.product(range(code.timesteps + 1), repeat=3)):
        sums = [0] * code.residues
        for weight, time in zip(row, times, strict=True):
            if weight and time < code.timesteps:
                exponent = code.exponent(time, abs(weight) - 1)
                term = 2**(code.shift - exponent // code.residues)
                sums[exponent % code.residues] += term if weight > 0 else -term
        membranes.append(sum(k * a for k, a in zip(code.powers, sums, strict=True)))
        accumulators += sums
    assert widths.membrane == Range(min(membranes), max(membranes))
    assert widths.accumulator == Range(min(accumulators), max(accumulators))
    assert widths.threshold == Range(1 - code.timesteps, 2)
    ranges = membrane_range(code, weights)
    assert (int(ranges.low.min()), int(ranges.high.max())) == (min(membranes), max(membranes))


def test_membranes_that_float64_cannot_hold_are_refused():
    code = TimeCode(timesteps=36, tau=1, p=1, bits=2, fraction=17)
    assert code.unit_bits == 52
    network = Network(
        input=Input(channels=1, height=1, width=2, threshold=np.ones(36, dtype=np.int64)), code=code,
        layers=(Readout(weights=np.array([[1, 0], [1, -1]], dtype=np.int8)),))
    assert next(layer_widths(network)).membrane == Range(-2**52, 2**52)
    wide = Network(input=network.input, code=code, layers=(Readout(weights=np.ones((2, 2), dtype=np.int8)),))
    with pytest.raises(NetworkError, match=r"^layer 0 \(readout\): membrane must stay below 2\^53, and may reach "
                                           r"9007199254740992: use a smaller fraction$"):
        list(layer_widths(wide))
