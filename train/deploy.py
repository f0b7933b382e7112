"""Whether the network of a recipe will run on a board, before it is trained: ``python -m train --check``.

The shapes of a network decide what it takes of memories and clocks; what depends on the weights is said as such. This
module alone of ``train`` asks the mapper of the gateware, which needs no tool (decision 0006).
"""

import argparse
import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from boards import board_named
from gateware.check.checking import check
from gateware.check.shapes import ImageSize, Shapes
from gateware.check.text import format_check
from support.command_line import print_line
from support.errors import InputError
from support.progress import Progress
from train.datasets import DATASETS
from train.methods import make_methods
from train.quantisers import QUANTISERS
from train.recipe import Recipe, named_recipe

__all__ = ["DeployError", "check_recipe", "exported_architecture"]

#: Pixels of the longer side of an image that a remedy asks for, at least: in fewer there is little to recognise.
_LEAST_PIXELS = 8


class DeployError(InputError):
    """The network of a recipe cannot be checked, or runs on no circuit of the board."""


def exported_architecture(recipe: Recipe) -> Mapping[str, Any]:
    """Return the architecture of the network that a training exports.

    Raises
    ------
    :exc:`DeployError`
        If it exports none for the array.
    """
    architecture: Mapping[str, Any] = recipe.architecture
    methods = make_methods(recipe.methods)
    for method in methods:
        exported = method.exported_architecture(architecture)
        if exported is None:
            raise DeployError(f"recipe {recipe.name} must export a network of ternary weights and spikes in timesteps, "
                              f"and with {method.kind} as it stands it does not: change this method, or check another "
                              f"recipe")
        architecture = exported
    exchanged = any(not method.keeps_quantisers(recipe.weights) for method in methods)
    if not QUANTISERS[recipe.weights].discrete and not exchanged:
        raise DeployError(f"recipe {recipe.name} must export a network of ternary weights and spikes in timesteps, and "
                          f"with {recipe.weights} weights it exports none: give it ternary weights, or check another "
                          f"recipe")
    return architecture


def _sizes(recipe: Recipe) -> Iterator[ImageSize]:
    """Smaller images that a recipe can have of its data set, the largest first: by larger factors of its framing."""
    framing = recipe.make_framing()
    if framing is None:
        return
    sensor = DATASETS[recipe.dataset].shape
    for factor in range(framing.factor + 1, max(sensor[1:]) // _LEAST_PIXELS + 1):
        try:
            _, height, width = dataclasses.replace(framing, factor=factor).shape(sensor)
        except ValueError:
            continue
        yield ImageSize(height=height, width=width,
                        remedy=f"use a framing with the factor {factor} and {height} x {width} as the height and width "
                               f"of the architecture's input")


def check_recipe(arguments: argparse.Namespace, values: Any) -> None:
    """Check the recipe of the JSON ``values`` as the arguments of :mod:`train.command` say, and print the answer.

    Raises
    ------
    :exc:`support.errors.InputError`
        If the recipe or the board is none; or, when the answer is printed, if no circuit of the board runs the network.
    """
    board = board_named(arguments.board)
    recipe = named_recipe(arguments, values)
    shapes = Shapes(name=recipe.name, architecture=exported_architecture(recipe), sizes=tuple(_sizes(recipe)))
    # What helps a network of millions of weights takes minutes to find.
    with Progress("check"):
        answer = check(shapes, board, remedies=not arguments.no_remedies)
    print_line(json.dumps(answer.to_json(), indent=2) if arguments.json else format_check(answer))
    if not answer.plan.bearing:
        # What is too much for the sparsest weights need not be worded as for the densest: then no limit is certain.
        finding = next((finding for finding in answer.findings if not finding.depends_on_weights), answer.findings[0])
        remedies = [remedy.text for circuit in answer.plan.circuits.values() for remedy in circuit.remedies]
        raise DeployError(f"{recipe.name} runs on no circuit of the {board.title}: {finding}: "
                          f"{remedies[0] if remedies else 'use another --board, or a smaller network'}")
