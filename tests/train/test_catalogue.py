"""Names of recipes and architectures, and JSON from files that may be anything."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from train.catalogue import (
    ARCHITECTURES,
    FOLDER,
    RecipeError,
    load_architecture,
    read_recipe,
    recipe_path,
    shipped_architectures,
    shipped_recipes,
)

ROOT = pathlib.Path(__file__).parents[2]


def refused(line, call, *arguments):
    with pytest.raises(RecipeError, match=f"^{re.escape(line)}$"):
        call(*arguments)


def test_shipped_names_are_those_of_the_files_in_order():
    for names, folder in ((shipped_recipes(), FOLDER), (shipped_architectures(), ARCHITECTURES)):
        assert names == sorted(path.name.removesuffix(".json") for path in folder.iterdir())
        assert len(names) > 5


def test_a_recipe_is_a_shipped_name_or_a_file():
    assert recipe_path("mnist-conv") == FOLDER / "mnist-conv.json"
    assert recipe_path("mnist-conv.json") == pathlib.Path("mnist-conv.json")
    refused(f"recipe must be {', '.join(shipped_recipes())} or a .json file, not 'mnist'", recipe_path, "mnist")
    refused(f"recipe must be {', '.join(shipped_recipes())} or a .json file, not '../mnist-conv'", recipe_path,
            "../mnist-conv")


def test_an_architecture_is_a_shipped_name():
    assert load_architecture("resnet18") == json.loads((ARCHITECTURES / "resnet18.json").read_text())
    for name in ("resnet", "../recipes/mnist-conv", ""):
        refused(f"architecture must be {', '.join(shipped_architectures())} or an object, not {name!r}",
                load_architecture, name)
    refused(f"architecture must be {', '.join(shipped_architectures())} or an object, not '{'x' * 36}...",
            load_architecture, "x" * 1000)


def test_the_name_of_an_architecture_becomes_the_architecture(tmp_path):
    path = tmp_path / "mine.json"
    for architecture, expected in (("resnet18", load_architecture("resnet18")), ({"layers": []}, {"layers": []})):
        path.write_text(json.dumps({"name": "mine", "architecture": architecture}))
        assert read_recipe(str(path)) == {"name": "mine", "architecture": expected}
    path.write_text(json.dumps({"architecture": "resnet"}))
    refused(f"{path}: architecture must be {', '.join(shipped_architectures())} or an object, not 'resnet'",
            read_recipe, str(path))


@pytest.mark.parametrize("content", [[1, 2], "resnet18", None, {"architecture": 3}])
def test_json_of_another_form_is_returned_as_it_is(tmp_path, content):
    """:class:`train.recipe.Recipe` says what is wrong with it."""
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content))
    assert read_recipe(str(path)) == content


@pytest.mark.parametrize(("make", "line"), [
    (lambda path: None, "No such file or directory"),
    (pathlib.Path.mkdir, "input must be a file, not a folder"),
    (os.mkfifo, "input must be a file, not a device, pipe or socket"),
    (lambda path: path.write_text("{"),
     ("recipe must be JSON, and cannot be read: Expecting property name enclosed in double quotes: "
      "line 1 column 2 (char 1)")),
    (lambda path: path.write_bytes(b"\xff"),
     "recipe must be JSON, and cannot be read: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    (lambda path: path.write_text("[" * 100_000), "recipe must be JSON, and cannot be read: it is nested too deeply"),
])
def test_what_is_no_recipe_is_one_line(tmp_path, make, line):
    path = tmp_path / "mine.json"
    make(path)
    refused(f"{path}: {line}", read_recipe, str(path))


def test_names_are_answered_without_pytorch():
    program = "import sys; sys.modules['torch'] = None; from train.catalogue import *; print(shipped_recipes())"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{shipped_recipes()}\n", "")
