"""The float network computes what its package does: the recorded spikes of four packages, and cases by hand."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from arch.network import Encoding, Reset
from export.sources.chain import Linear, SpikingNeurons
from export.sources.nir.importing import read_nir
from export.sources.rules import Comparison, Rule
from export.sources.stages import Stage
from tests.export.sources.nir.test_importing import DATA, STATED, SUBTRACT, facts, recorded
from train.sources.float_network import FloatLayer, FloatNetwork, likeliest_factor

#: A subtraction that comes behind the leak has no place in an exported network, but in a float one.
RULES = STATED | {"snntorch-fc-lif-subtract": {"package": "snntorch"} | SUBTRACT}


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("name", RULES)
def test_spikes_are_the_packages_own(name, encoding):
    network = FloatNetwork(read_nir(str(DATA / f"{name}.nir"), facts(encoding, **RULES[name])))
    images, expected = recorded(name, encoding)
    scores = network(torch.from_numpy(images))
    assert expected[-1].any()
    assert np.array_equal(scores.transpose(0, 1).numpy(), expected[-1])
    assert torch.equal(network.scores(torch.from_numpy(images)), scores.mean(0))


def layer(*, leak=Fraction(0), **rule):
    rule = Rule(**{"comparison": Comparison.AT_LEAST, "reset": Reset.SUBTRACT} | rule)
    neurons = SpikingNeurons(name="n", theta=(Fraction(1),), gain=(Fraction(1),), leak=leak)
    node = Linear(name="w", weight=np.ones((1, 1)), bias=np.zeros(1))
    return FloatLayer(Stage(node=node, before=None, neurons=neurons), rule, 3)


@pytest.mark.parametrize(("current", "rule", "spikes"), [
    # 0.75, 1.5, then 0.5 + 0.75.
    (0.75, {}, [0, 1, 1]),
    (0.75, {"reset": Reset.ZERO}, [0, 1, 0]),
    # A membrane at the threshold.
    (0.5, {}, [0, 1, 0]),
    (0.5, {"comparison": Comparison.ABOVE}, [0, 0, 1]),
    # 2.5, then 0.5 + 2.5, then 2.5.
    (2.5, {"several": True}, [2, 3, 2]),
    # 2, then 1 + 2: at the threshold and twice it, one spike is left.
    (2.0, {"several": True, "comparison": Comparison.ABOVE}, [1, 2, 2]),
    # 1, then 1 + 1 - 1/2 - 1 here, where the leak takes a half of the membrane before the threshold is subtracted.
    (1.0, {"leak": Fraction(1, 2), "late": True}, [1, 0, 1]),
    (1.0, {"leak": Fraction(1, 2)}, [1, 1, 1]),
])
def test_spikes_by_hand(current, rule, spikes):
    assert layer(**rule).spikes(torch.full((1, 1, 1, 1, 1), current)).flatten().tolist() == spikes


def test_the_likeliest_factor_is_that_of_the_labels():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(4000, 5, generator=generator) * 2
    labels = torch.distributions.Categorical(logits=logits).sample()
    # Steps of the search are 19 % apart, and smoothed labels want a little less.
    assert likeliest_factor(logits / 8, labels) == pytest.approx(8, rel=0.3)
    # All labels right: the softmax of the best class is near 99 %.
    sure = torch.eye(3) * likeliest_factor(torch.eye(3), torch.arange(3))
    assert sure.softmax(1).diagonal() == pytest.approx(0.993, abs=0.004)
    assert likeliest_factor(torch.ones(4, 3), torch.zeros(4, dtype=torch.int64)) == 1
