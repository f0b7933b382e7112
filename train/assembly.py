"""The untrained network of a recipe: a spiking one, unless a method of the recipe makes another."""

from collections.abc import Sequence

from train.methods.method import Method
from train.network import build
from train.quantisers import make_quantiser
from train.recipe import Recipe
from train.trainable import TrainableNetwork

__all__ = ["make_network"]


def make_network(recipe: Recipe, methods: Sequence[Method]) -> tuple[TrainableNetwork, Method | None]:
    """Return the network of ``recipe`` with random weights, and the method that made it, if one did.

    Parameters
    ----------
    recipe : Recipe
    methods : sequence of Method
        Those of the recipe, in its order.

    Raises
    ------
    :exc:`train.methods.method.MethodError`, :exc:`arch.checkpoint.CheckpointError`
        If the method cannot make a network of the recipe's architecture or weights.
    """
    for method in methods:
        made = method.make_network(recipe.architecture, recipe.weights)
        if made is not None:
            return made, method
    network = build(recipe.architecture)
    network.use_initial(recipe.initial_membrane)
    for part in network.synapses():
        part.quantiser = make_quantiser(recipe.weights)
    return network, None
