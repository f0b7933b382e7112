import dataclasses
import math
import re

import numpy as np
import pytest

from arch.network import NetworkError
from arch.ttfs.trained_layers import BatchNorm, Convolution, FullyConnected, Readout


def reals(*values):
    return np.array(values, np.float32)


def norm_of(count, **changes):
    return BatchNorm(**{"gamma": reals(*range(1, count + 1)), "beta": reals(*[0.5] * count),
                        "mean": reals(*[-0.25] * count), "variance": reals(*[2] * count), "epsilon": 1e-5, **changes})


def convolution():
    return Convolution(name="conv", weights=np.ones((3, 2, 3, 3), np.int8), scale=reals(0.5, 0, 2), norm=norm_of(3))


def fully_connected():
    return FullyConnected(name="fc", weights=np.ones((5, 6), np.int8), scale=reals(*range(5)), norm=norm_of(5))


def readout():
    return Readout(name="readout", weights=np.ones((4, 5), np.int8), scale=reals(0.125))


@pytest.mark.parametrize(("make", "line"), [
    (lambda: norm_of(3, variance=reals(1, -1, 1)), "variance must not be negative"),
    (lambda: norm_of(3, mean=reals(1, math.nan, 1)), "mean must be finite"),
    (lambda: norm_of(3, beta=reals(1, 2)), "beta must have 3 values, not 2"),
    (lambda: norm_of(3, gamma=np.ones(3)), "gamma must be an array of float32, not float64"),
    (lambda: dataclasses.replace(convolution(), norm=norm_of(2)),
     "BatchNorm must have 3 channels like the weights, not 2"),
    (lambda: dataclasses.replace(convolution(), scale=reals(1, -1, 1)), "scale must not be negative"),
    (lambda: dataclasses.replace(readout(), scale=reals(1, 1)), "scale must have 1 values, not 2"),
    (lambda: dataclasses.replace(fully_connected(), name="f c"),
     "name must be a word of letters, digits, - and _, not 'f c'"),
])
def test_numbers_that_make_no_sense_are_named(make, line):
    with pytest.raises(NetworkError, match=f"^{re.escape(line)}$"):
        make()


def test_gain_and_offset_are_rounded_as_ieee_754_says():
    """Python's own float64, one operation after the other; PyTorch's square root would differ for some values."""
    rng = np.random.default_rng(2)
    count = 2000
    values = {part: rng.uniform(0.01, 2, count).astype(np.float32) for part in ("gamma", "beta", "mean", "variance")}
    scale = rng.uniform(0.01, 2, count).astype(np.float32)
    gain, offset = BatchNorm(**values, epsilon=1e-5).gain_and_offset(scale, 0.7)
    for index in range(count):
        gamma, beta, mean, variance = (float(values[part][index]) for part in ("gamma", "beta", "mean", "variance"))
        slope = gamma / math.sqrt(variance + 1e-5)
        assert gain[index] == 0.7 * float(scale[index]) * slope
        assert offset[index] == beta - slope * mean
