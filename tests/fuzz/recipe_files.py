"""Recipes: JSON that people write."""

import json
import pathlib
import random
from typing import Any

from tests.fuzz.kinds import Kind, Sample
from tests.fuzz.mutations import damage_json
from train.catalogue import FOLDER
from train.datasets import DATASETS
from train.recipe import Recipe, load_recipe

__all__ = ["KINDS"]

_NAMES = ("mnist-conv", "nmnist-conv", "cifar10-distilled", "cifar10-conversion-aware", "tsnn-nmnist",
          "cifar10-temporal")


def _check(found: Recipe, content: bytes) -> None:
    written = found.to_json()
    assert Recipe.from_json(json.loads(json.dumps(written, allow_nan=False))) == found
    assert type(found.epochs) is type(found.seed) is type(found.batch_size) is int
    assert found.dataset in DATASETS
    assert len(found.name) <= 100


def _identity(found: Recipe) -> Any:
    return found.to_json()


def _samples(folder: pathlib.Path) -> list[Sample]:
    return [Sample(content=(FOLDER / f"{name}.json").read_bytes(), read=lambda path: load_recipe(str(path)),
                   identity=_identity, check=_check) for name in _NAMES]


def _forge(rng: random.Random, content: bytes) -> bytes:
    return damage_json(rng, content.decode()).encode("utf-8", "surrogatepass")


KINDS = (Kind(name="recipe", samples=_samples, forgeries=(_forge,), protected=False, suffix=".json"),)
