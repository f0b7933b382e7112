import json

import pytest

from arch.checkpoint import layer_shapes, weighted_layers
from train.augmentation import Augmentation
from train.datasets import DATASETS
from train.recipe import (
    Recipe,
    RecipeError,
    load_architecture,
    load_recipe,
    shipped_architectures,
    shipped_recipes,
)


def test_recipes_of_the_shipped_networks_ship():
    assert set(shipped_recipes()) >= {"fashion-conv", "mnist-conv"}


@pytest.mark.parametrize("name", shipped_architectures())
def test_shipped_architecture_is_one(name):
    assert list(layer_shapes(load_architecture(name)))


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipe_is_named_like_its_file(name):
    assert load_recipe(name).name == name


@pytest.mark.parametrize("name", ["fashion-conv", "mnist-conv"])
def test_recipe_of_a_shipped_network_fits_the_chip(name):
    recipe = load_recipe(name)
    rows = clocks = 0
    for index, (layer, (inputs, height, width), (outputs, rows_out, columns_out)) in enumerate(
            layer_shapes(recipe.architecture)):
        groups = -(-outputs // 8)
        if layer["kind"] == "convolution":
            taps = layer["kernel"] ** 2
            words = -(-taps * inputs // 8) if index == 0 else taps * -(-inputs // 16)
            clocks += rows_out * columns_out * groups * max(8, words)
            rows += groups * words
        elif layer["kind"] != "or-pool":
            words = height * width * -(-inputs // 16)
            clocks += groups * words
            rows += groups * words
    weights = sum(out * inputs * (shape[0] * shape[1] if shape else 1)
                  for _, (out, inputs, *shape) in weighted_layers(recipe.architecture).values())
    assert weights <= 32768
    assert rows <= 256
    assert clocks <= 13500


@pytest.mark.parametrize("name", shipped_recipes())
def test_recipe_survives_json(name):
    recipe = load_recipe(name)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_recipe_needs_each_training_once_and_first_what_it_starts_from():
    values = load_recipe("cifar10-ternary").to_json() | {
        "start": "a", "methods": [{"kind": "distillation", "teacher": "a"}, {"kind": "distillation", "teacher": "b"},
                                  {"kind": "cbp", "start": "c"}]}
    assert Recipe.from_json(values).needs == ["a", "c", "b"]


def test_recipe_file_is_read(tmp_path):
    path = tmp_path / "mine.json"
    values = load_recipe("mnist-conv").to_json()
    path.write_text(json.dumps({**values, "name": "mine", "augmentation": {"shift": 1}}))
    recipe = load_recipe(str(path))
    assert recipe.name == "mine"
    assert recipe.augmentation == Augmentation(shift=1)


@pytest.mark.parametrize(("change", "text"), [
    ({"dataset": "imagenet"}, f"dataset must be {' or '.join(DATASETS)}, not 'imagenet'"),
    ({"epochs": 0}, "epochs must be an integer from 1, not 0"),
    ({"batch_size": 1}, "batch_size must be an integer from 2, not 1"),
    ({"learning_rate": float("nan")}, "learning_rate must be a number from 0, not nan"),
    ({"label_smoothing": 1.0}, "label_smoothing must be below 1, not 1.0"),
    ({"bfloat16": 1}, "bfloat16 must be true or false, not 1"),
    ({"speed": 1}, "recipe has a wrong key: got an unexpected keyword argument 'speed'"),
    ({"augmentation": {"blur": 1}}, "recipe has a wrong key: got an unexpected keyword argument 'blur'"),
    ({"augmentation": {"shift": -1}}, "augmentation shift must be a number from 0, not -1"),
    ({"architecture": {}}, "architecture: architecture must have the keys input, timesteps, layers, not "),
])
def test_wrong_recipes_are_named(change, text):
    with pytest.raises(RecipeError) as caught:
        Recipe.from_json({**load_recipe("mnist-conv").to_json(), **change})
    assert str(caught.value) == text


def test_unknown_and_broken_files_are_named(tmp_path):
    names = ", ".join(shipped_recipes())
    with pytest.raises(RecipeError, match=rf"^recipe must be {names} or a \.json file, not 'cifar'$"):
        load_recipe("cifar")
    path = tmp_path / "broken.json"
    with pytest.raises(RecipeError, match=f"^{path}: No such file or directory$"):
        load_recipe(str(path))
    path.write_text("{")
    with pytest.raises(RecipeError, match=f"^{path}: Expecting property name"):
        load_recipe(str(path))
    path.write_text("[]")
    with pytest.raises(RecipeError, match=f"^{path}: recipe must be an object, not list$"):
        load_recipe(str(path))
