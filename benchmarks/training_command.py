"""The command that repeats a training, as pages name it."""

from train.catalogue import shipped_recipes
from train.recipe import load_recipe

__all__ = ["training_command"]


def training_command(name: str, epochs: int) -> str:
    """Return the command that trains the recipe, shipped or not, for so many epochs."""
    if name not in shipped_recipes():
        return f"python -m train --recipe {name}.json --data DIR"
    return f"python -m train --recipe {name} --data DIR" + (
        f" --epochs {epochs}" if load_recipe(name).epochs != epochs else "")
