"""The recipe that a graph alone decides: data set, frames, distortions, timesteps and name."""

from fractions import Fraction

import numpy as np
import pytest

from arch.network import Encoding, Reset
from export.sources.nir import file as nir_file
from export.sources.nir.sidecar import Facts
from tests.export.sources.nir.graphs import FLATTEN, chained, convolution, node, spiking
from train.recipe import Recipe, load_recipe
from train.sources.beginning import recipe_of

PIXELS = Facts(package="spikingjelly", timesteps=25, encoding=Encoding.PIXELS, scale=Fraction(1, 255))
EVENTS = Facts(package="spikingjelly", reset=Reset.SUBTRACT, timesteps=6, encoding=Encoding.EVENTS)


def graph(folder, shape, classes=10, name="net.nir"):
    """A file of a network with float weights for inputs of ``shape``."""
    generator = np.random.default_rng(1)
    channels, height, width = shape
    # One position in four: a map that is small.
    rows, columns = -(-height // 4), -(-width // 4)
    nodes = {"conv": convolution(generator.normal(size=(2, channels, 3, 3)), stride=[4, 4]),
             "if": spiking((2, rows, columns)), "flat": node("Flatten", **FLATTEN),
             "fc": node("Linear", weight=generator.normal(size=(classes, 2 * rows * columns)))}
    path = folder / name
    path.write_bytes(nir_file.dumps(chained(nodes, shape), "1.0.8"))
    return str(path)


@pytest.mark.parametrize(("shape", "classes", "dataset", "shipped"), [
    ((3, 32, 32), 10, "cifar-10", "cifar10-ternary"), ((3, 32, 32), 100, "cifar-100", "cifar100-vgg11")])
def test_the_only_data_set_with_the_input_and_the_classes_is_taken(tmp_path, shape, classes, dataset, shipped):
    recipe = Recipe.from_json(recipe_of(graph(tmp_path, shape, classes), PIXELS, dataset=None, timesteps=None))
    assert recipe.dataset == dataset
    assert recipe.augmentation == load_recipe(shipped).augmentation
    # The circuits that ship have 4 timesteps.
    assert recipe.architecture["timesteps"] == 4


@pytest.mark.parametrize(("side", "factor"), [(34, 1), (17, 2)])
def test_frames_of_events_have_the_size_and_the_timesteps_of_the_graph(tmp_path, side, factor):
    recipe = Recipe.from_json(recipe_of(graph(tmp_path, (2, side, side)), EVENTS, dataset="n-mnist-small",
                                        timesteps=None))
    assert recipe.framing == {"slicing": "time", "factor": factor}
    assert recipe.architecture["timesteps"] == 6
    assert recipe.validation_images == load_recipe("nmnist-conv").validation_images


def test_timesteps_are_those_of_the_graph_if_they_are_fewer_or_as_stated(tmp_path):
    path = graph(tmp_path, (1, 28, 28))
    few = Facts(timesteps=3).over(PIXELS)
    for facts, timesteps, found in ((few, None, 3), (PIXELS, 8, 8)):
        recipe = recipe_of(path, facts, dataset="mnist", timesteps=timesteps)
        assert recipe["architecture"]["timesteps"] == found
        assert recipe["methods"][0]["facts"]["timesteps"] == facts.timesteps


@pytest.mark.parametrize(("file", "name"), [("my net (2).nir", "my-net-2--ternary"), ("_.nir", "graph_-ternary")])
def test_names_are_those_of_the_files(tmp_path, file, name):
    recipe = recipe_of(graph(tmp_path, (1, 28, 28), name=file), PIXELS, dataset="fashion-mnist", timesteps=None)
    assert Recipe.from_json(recipe).name == name
