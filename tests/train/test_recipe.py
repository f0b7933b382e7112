import dataclasses
import json

import pytest

from arch.architecture import layer_shapes, weighted_layers
from arch.strict_json import short
from train.augmentation import Augmentation
from train.catalogue import RecipeError, load_architecture, shipped_architectures, shipped_recipes
from train.datasets import DATASETS
from train.methods import METHODS
from train.quantisers import QUANTISERS
from train.recipe import Recipe, load_recipe

FIELDS = ", ".join(field.name for field in dataclasses.fields(Recipe))


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
        "start": "a", "methods": [{"kind": "distillation", "teacher": "b"}]}
    assert Recipe.from_json(values).needs == ["a", "b"]
    values["methods"][0]["teacher"] = "a"
    assert Recipe.from_json(values).needs == ["a"]
    values |= {"start": None, "methods": [*values["methods"], {"kind": "cbp", "start": "c"}]}
    assert Recipe.from_json(values).needs == ["c", "a"]


def test_recipe_file_is_read(tmp_path):
    path = tmp_path / "mine.json"
    values = load_recipe("mnist-conv").to_json()
    path.write_text(json.dumps({**values, "name": "mine", "augmentation": {"shift": 1}}))
    recipe = load_recipe(str(path))
    assert recipe.name == "mine"
    assert recipe.augmentation == Augmentation(shift=1)


@pytest.mark.parametrize(("change", "text"), [
    ({"dataset": "imagenet"}, f"dataset must be {' or '.join(DATASETS)}, not 'imagenet'"),
    ({"epochs": 0}, "epochs must be an integer from 1 to 1000000, not 0"),
    ({"epochs": 10**400}, f"epochs must be an integer from 1 to 1000000, not 1{'0' * 36}..."),
    ({"warmup_epochs": 1e308}, "warmup_epochs must be a number from 0 to 1e+06, not 1e+308"),
    ({"batch_size": 1}, "batch_size must be an integer from 2, not 1"),
    ({"learning_rate": float("nan")}, "learning_rate must be a number from 0, not nan"),
    ({"label_smoothing": 1.0}, "label_smoothing must be below 1, not 1.0"),
    ({"bfloat16": 1}, "bfloat16 must be true or false, not 1"),
    ({"speed": 1}, f"recipe has no key 'speed', only {FIELDS}"),
    ({"augmentation": {"blur": 1}}, ("augmentation has no key 'blur', only shift, rotation, scaling, shear, elastic, "
                                    "elastic_points, mirror, crop_padding, erase, erase_side")),
    ({"augmentation": {"shift": -1}}, "augmentation shift must be a number from 0 to 1024, not -1"),
    ({"augmentation": {"mirror": 1.1}}, "augmentation mirror must be a number from 0 to 1, not 1.1"),
    ({"augmentation": {"erase": 2}}, "augmentation erase must be a number from 0 to 1, not 2"),
    ({"augmentation": {"scaling": 1.0}}, "augmentation scaling must be below 1, not 1.0"),
    ({"augmentation": {"crop_padding": 29}}, ("augmentation crop_padding must be at most the 28 pixels of the shorter "
                                             "side, not 29")),
    ({"augmentation": None}, "augmentation must be an object, not None"),
    ({"dataset": ["mnist"]}, f"dataset must be {' or '.join(DATASETS)}, not ['mnist']"),
    ({"weights": ["binary"]}, f"weights must be {' or '.join(QUANTISERS)}, not ['binary']"),
    ({"methods": None}, "methods must be a list of objects, not None"),
    ({"methods": [{"kind": [1]}]}, f"methods: method 0 must be of kind {', '.join(METHODS)}, not [1]"),
    ({"start": "../a"}, ("start must be 1 to 100 letters, digits, '.', '_' or '-', beginning with a letter or a digit, "
                        "not '../a'")),
    ({"start": "a", "methods": [{"kind": "cbp", "start": "b"}]},
     "start must be given once, to the recipe (a) or to cbp (b)"),
    ({"start": "a", "methods": [{"kind": "cbp", "start": "b" * 1000}]},
     f"start must be given once, to the recipe (a) or to cbp ('{'b' * 36}...)"),
    ({"methods": [{"kind": "step-decay", "after": [10**400, 1]}]},
     f"methods: after[1] of step-decay must be an integer from 1{'0' * 36}..., not 1"),
    ({"seed": 2**63}, "seed must be below 2^63, not 9223372036854775808"),
    ({"initial_membrane": 1.5}, "initial_membrane must be at most 1, not 1.5"),
    ({"learning_rate": 10**400}, f"learning_rate must be a number from 0, not 1{'0' * 36}..."),
    ({"dataset": "x" * 1000}, f"dataset must be {' or '.join(DATASETS)}, not '{'x' * 36}..."),
    ({"z" * 1000: 1}, f"recipe has no key '{'z' * 36}..., only {FIELDS}"),
    ({"architecture": {}}, "architecture: architecture must have the keys input, timesteps, layers, not "),
])
def test_wrong_recipes_are_named(change, text):
    with pytest.raises(RecipeError) as caught:
        Recipe.from_json({**load_recipe("mnist-conv").to_json(), **change})
    assert str(caught.value) == text


@pytest.mark.parametrize("name", ["", "a/b", "../up", ".hidden", 5, None, ["a"], "x" * 101])
def test_names_that_are_no_file_names_are_refused(name):
    text = ("name must be 1 to 100 letters, digits, '.', '_' or '-', beginning with a letter or a digit, not "
            f"{short(name)}")
    with pytest.raises(RecipeError) as caught:
        Recipe.from_json({**load_recipe("mnist-conv").to_json(), "name": name})
    assert str(caught.value) == text


def test_missing_key_is_named():
    values = load_recipe("mnist-conv").to_json()
    del values["epochs"]
    with pytest.raises(RecipeError, match=r"^recipe must have the key epochs$"):
        Recipe.from_json(values)


def test_architecture_without_neurons_is_refused():
    values = load_recipe("mnist-conv").to_json()
    values["architecture"]["layers"] = values["architecture"]["layers"][-1:]
    with pytest.raises(RecipeError, match=r"^architecture must have a layer of neurons before the readout$"):
        Recipe.from_json(values)


RELU = {"kind": "conversion"}
FOLDED = {"kind": "folded-time", "epochs": 1}
LEVELS = {"kind": "cbp", "start": "other"}
INDIRECT = {"kind": "indirect", "period": 1, "final_epochs": 1}
TAUGHT = {"kind": "distillation", "teacher": "other"}
BY_STEP = {"kind": "temporal-loss"}
SHAPE = {"kind": "surrogate", "shape": "arctangent"}
DECAY = {"kind": "step-decay", "after": [1]}
SPIKE_TIMES = {"kind": "conversion-aware"}
WEIGHTS = "how weights are quantised"
PASSED_ON = "what neurons pass on"


@pytest.mark.parametrize(("first", "second", "decision"), [
    (RELU, FOLDED, PASSED_ON), (FOLDED, FOLDED, PASSED_ON), (SPIKE_TIMES, FOLDED, PASSED_ON),
    (RELU, LEVELS, WEIGHTS), (LEVELS, INDIRECT, WEIGHTS), (INDIRECT, RELU, WEIGHTS), (SPIKE_TIMES, LEVELS, WEIGHTS),
    (SPIKE_TIMES, INDIRECT, WEIGHTS), (RELU, SHAPE, "the spike's derivative"),
    (SHAPE, SHAPE, "the spike's derivative"), (TAUGHT, BY_STEP, "the loss"), (TAUGHT, TAUGHT, "the loss"),
    (DECAY, DECAY, "the learning rate"), ({"kind": "dropout"}, {"kind": "dropout"}, "dropout"),
    (LEVELS, {"kind": "threshold-norm"}, "the gains that BatchNorm begins with")])
def test_methods_that_decide_the_same_are_refused(first, second, decision):
    for one, other in ((first, second), (second, first)):
        text = (f"methods: {one['kind']} and {other['kind']} both decide {decision}: leave one of them out of the "
                f"recipe")
        with pytest.raises(RecipeError) as caught:
            Recipe.from_json({**load_recipe("mnist-conv").to_json(), "methods": [one, {"kind": "uncertainty",
                                                                                       "weight": 1.0}, other]})
        assert str(caught.value) == text


def test_unknown_and_broken_files_are_named(tmp_path):
    names = ", ".join(shipped_recipes())
    with pytest.raises(RecipeError, match=rf"^recipe must be {names} or a \.json file, not 'cifar'$"):
        load_recipe("cifar")
    path = tmp_path / "broken.json"
    with pytest.raises(RecipeError, match=f"^{path}: No such file or directory$"):
        load_recipe(str(path))
    path.write_text("{")
    with pytest.raises(RecipeError, match=f"^{path}: recipe must be JSON, and cannot be read: Expecting property name"):
        load_recipe(str(path))
    path.write_text("[" * 100_000)
    unread = f"^{path}: recipe must be JSON, and cannot be read: "
    with pytest.raises(RecipeError, match=f"{unread}it is nested too deeply$"):
        load_recipe(str(path))
    path.write_text('{"epochs": 1, "epochs": 100}')
    with pytest.raises(RecipeError, match=f"{unread}a key appears twice$"):
        load_recipe(str(path))
    path.write_text('{"learning_rate": NaN}')
    with pytest.raises(RecipeError, match=f"{unread}NaN is not JSON$"):
        load_recipe(str(path))
    path.write_bytes(b" " * (2**20 + 1))
    with pytest.raises(RecipeError, match=f"^{path}: file must be at most 1048576 bytes, not 1048577$"):
        load_recipe(str(path))
    (tmp_path / "a.json").mkdir()
    with pytest.raises(RecipeError, match=f"^{tmp_path}/a.json: input must be a file, not a folder$"):
        load_recipe(str(tmp_path / "a.json"))
    path.write_text("[]")
    with pytest.raises(RecipeError, match=f"^{path}: recipe must be an object, not list$"):
        load_recipe(str(path))
