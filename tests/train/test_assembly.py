"""The network of a recipe before its first step: a spiking one, or that of the method that makes one."""

import pytest
import torch

from tests.train.methods.stage import ARCHITECTURE
from train import quantisers
from train.assembly import make_network
from train.methods import make_methods
from train.network import SpikingNetwork
from train.recipe import Recipe
from train.ttfs.network import TtfsNetwork


def made(**changes):
    recipe = Recipe(**{"name": "tiny", "dataset": "mnist", "architecture": ARCHITECTURE, "epochs": 10,
                       "batch_size": 16, **changes})
    return make_network(recipe, make_methods(recipe.methods))


@pytest.mark.parametrize(("weights", "kind"), [("ternary", quantisers.Ternary), ("binary", quantisers.Binary)])
def test_a_recipe_without_methods_has_a_spiking_network_of_its_weights_and_membranes(weights, kind):
    network, maker = made(weights=weights, initial_membrane=0.25)
    assert (type(network), maker) == (SpikingNetwork, None)
    assert network.architecture["layers"] == ARCHITECTURE["layers"]
    assert {type(part.quantiser) for part in network.synapses()} == {kind}
    # Each part has a quantiser of its own, because some learn.
    assert len({id(part.quantiser) for part in network.synapses()}) == len(list(network.synapses()))
    assert {layer.neurons.initial for layer in network.chain if hasattr(layer, "neurons")} == {0.25}


def test_the_method_that_makes_a_network_is_named():
    method = {"kind": "conversion-aware", "timesteps": 8, "tau": 2}
    network, maker = made(weights="float", methods=({"kind": "step-decay", "after": [5]}, method))
    assert isinstance(network, TtfsNetwork)
    assert maker.kind == "conversion-aware"


def test_weights_are_random():
    weights = [next(iter(made()[0].synapses())).weight for _ in range(2)]
    assert not torch.equal(*weights)
