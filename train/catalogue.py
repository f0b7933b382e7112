"""Names of recipes, architectures and data sets; recipes and architectures as files, and JSON read from them.

Nothing here needs PyTorch, so that a misspelt name is answered at once. What a recipe may say is checked by
:class:`train.recipe.Recipe`.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from arch import strict_json
from support.errors import InputError
from support.files import read_file

__all__ = ["ARCHITECTURES", "FOLDER", "MAX_EPOCHS", "PIXEL_DATASETS", "RecipeError", "load_architecture", "read_recipe",
           "recipe_path", "shipped_architectures", "shipped_recipes"]

#: Data sets of still images. What an event becomes is for a recipe to say.
PIXEL_DATASETS = ("mnist", "fashion-mnist", "cifar-10", "cifar-100", "cifar-100-coarse")
#: Folder of the shipped recipes.
FOLDER = pathlib.Path(__file__).parent / "recipes"
#: Most epochs of a training.
MAX_EPOCHS = 1_000_000
#: Longest recipe that is read, in bytes.
_MAX_BYTES = 2**20
#: Folder of the shipped architectures, which recipes can name.
ARCHITECTURES = pathlib.Path(__file__).parent / "architectures"


class RecipeError(InputError):
    """A recipe is missing or malformed. The message is one line."""


def shipped_recipes() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def shipped_architectures() -> list[str]:
    """Return the names of the shipped architectures."""
    return sorted(path.stem for path in ARCHITECTURES.glob("*.json"))


def load_architecture(name: str) -> Mapping[str, Any]:
    """Return the shipped architecture ``name``; raises :exc:`RecipeError`."""
    if name not in shipped_architectures():
        raise RecipeError(f"architecture must be {', '.join(shipped_architectures())} or an object, "
                          f"not {strict_json.short(name)}")
    architecture: dict[str, Any] = json.loads((ARCHITECTURES / f"{name}.json").read_text())
    return architecture


def recipe_path(name: str) -> pathlib.Path:
    """Return the file of the shipped recipe ``name``, or ``name`` itself if that is a JSON file's.

    Raises :exc:`RecipeError` if it is neither.
    """
    if name.endswith(".json"):
        return pathlib.Path(name)
    if name not in shipped_recipes():
        raise RecipeError(f"recipe must be {', '.join(shipped_recipes())} or a .json file, not {name!r}")
    return FOLDER / f"{name}.json"


def read_recipe(name: str) -> Any:
    """Return the JSON of the recipe ``name``, with a shipped architecture in place of its name; not checked further.

    Raises :exc:`RecipeError` if the file is missing or is no JSON, or names no architecture.
    """
    path = recipe_path(name)
    try:
        content = read_file(path, limit=_MAX_BYTES)
    except InputError as error:
        raise RecipeError(str(error)) from None
    except OSError as error:
        raise RecipeError(f"{path}: {error.strerror}") from None
    try:
        values = strict_json.parse(content)
        if isinstance(values, dict) and isinstance(values.get("architecture"), str):
            values["architecture"] = load_architecture(values["architecture"])
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None
    except ValueError as error:
        raise RecipeError(f"{path}: recipe must be JSON, and cannot be read: {error}") from None
    return values
