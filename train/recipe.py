"""Recipes: everything that decides the result of a training, as data. The shipped ones are ``train/recipes/*.json``."""

import argparse
import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

from arch.architecture import CheckpointError, layer_shapes
from arch.strict_json import name as short_name
from arch.strict_json import short
from support.errors import printable
from train.augmentation import Augmentation
from train.catalogue import MAX_EPOCHS, RecipeError, read_recipe, recipe_path
from train.datasets import DATASETS, Framing, Slicing
from train.methods import make_methods
from train.methods.method import MethodError, check_integer, check_number
from train.neurons import INITIAL_MEMBRANE
from train.quantisers import QUANTISERS

__all__ = ["Recipe", "load_recipe", "named_recipe"]

#: A name of a recipe, which is also that of files and folders.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A training."""

    #: Name, also of the output files: 1 to 100 letters, digits, ``.``, ``_`` and ``-``, the first a letter or
    #: a digit.
    name: str
    #: Data set, a key of :data:`train.datasets.DATASETS`.
    dataset: str
    #: Architecture, as in :mod:`arch.checkpoint`.
    architecture: Mapping[str, Any]
    #: How events become frames, ``{"slicing": "time" or "count", "factor": 1}`` of :class:`train.datasets.Framing`; the
    #: architecture gives the timesteps. None for images.
    framing: Mapping[str, Any] | None = None
    #: Passes over the training images, 1 to :data:`train.catalogue.MAX_EPOCHS`.
    epochs: int
    #: Images per step, from 2.
    batch_size: int = 128
    #: What becomes of the weights, a key of :data:`train.quantisers.QUANTISERS`; a method may change it.
    weights: str = "ternary"
    #: Methods, as objects ``{"kind": ..., option: value}`` of :mod:`train.methods`, in the order of their calls.
    methods: tuple[Mapping[str, Any], ...] = ()
    #: Recipe whose finished training gives the weights to begin with; its folder lies beside this one's.
    start: str | None = None
    #: Membrane before the first timestep, in units of the threshold, 0 to 1: 1/2 rounds rates to the nearest (QCFS),
    #: 0 as in TSNN.
    initial_membrane: float = INITIAL_MEMBRANE
    #: ``adamw``, or ``sgd`` with momentum 0.9.
    optimiser: str = "adamw"
    #: Largest learning rate; a cosine takes it to 0, unless a method says otherwise.
    learning_rate: float = 2e-3
    #: Epochs in which the learning rate rises from 0, as a share of an epoch or several.
    warmup_epochs: float = 1.0
    #: Weight decay on latent weights.
    weight_decay: float = 0.0
    #: Share of the target that is spread over all classes, 0 to below 1.
    label_smoothing: float = 0.0
    #: Random distortions of the training images.
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    #: Last epochs without distortions.
    plain_epochs: int = 0
    #: Training images that are held back for all choices.
    validation_images: int = 5000
    #: Training images on which BatchNorm's statistics are measured again at the end, tried against the running ones
    #: on the validation images; all, if there are fewer; 0: not tried.
    calibration_images: int = 10000
    #: Seed of initial weights, order and distortions.
    seed: int = 1
    #: Compute convolutions in bfloat16 (sums of spikes stay exact up to 256).
    bfloat16: bool = False
    #: Compile the neurons' loops (needs g++ on a CPU).
    compiled: bool = False

    def __post_init__(self) -> None:
        for name in ("name", *(["start"] if self.start is not None else [])):
            value = getattr(self, name)
            if not isinstance(value, str) or not _NAME.fullmatch(value):
                raise RecipeError(f"{name} must be 1 to 100 letters, digits, '.', '_' or '-', beginning with a "
                                  f"letter or a digit, not {short(value)}")
        if not isinstance(self.dataset, str) or self.dataset not in DATASETS:
            raise RecipeError(f"dataset must be {' or '.join(DATASETS)}, not {short(self.dataset)}")
        try:
            check_integer("epochs", self.epochs, 1, MAX_EPOCHS)
            for name, low in (("batch_size", 2), ("plain_epochs", 0), ("validation_images", 1),
                              ("calibration_images", 0), ("seed", 0)):
                check_integer(name, getattr(self, name), low)
            check_number("warmup_epochs", self.warmup_epochs, 0, MAX_EPOCHS)
            for name in ("learning_rate", "weight_decay", "label_smoothing", "initial_membrane"):
                check_number(name, getattr(self, name), 0)
        except MethodError as error:
            raise RecipeError(str(error)) from None
        if self.seed >= 2**63:
            raise RecipeError(f"seed must be below 2^63, not {short(self.seed)}")
        if self.initial_membrane > 1:
            raise RecipeError(f"initial_membrane must be at most 1, not {short(self.initial_membrane)}")
        if self.label_smoothing >= 1:
            raise RecipeError(f"label_smoothing must be below 1, not {short(self.label_smoothing)}")
        for name, choices in (("weights", tuple(QUANTISERS)), ("optimiser", ("adamw", "sgd"))):
            if not isinstance(getattr(self, name), str) or getattr(self, name) not in choices:
                raise RecipeError(f"{name} must be {' or '.join(choices)}, not {short(getattr(self, name))}")
        if not isinstance(self.methods, list | tuple):
            raise RecipeError(f"methods must be a list of objects, not {short(self.methods)}")
        try:
            object.__setattr__(self, "methods", tuple(self.methods))
            make_methods(self.methods)
        except MethodError as error:
            raise RecipeError(f"methods: {error}") from None
        if self.start is not None:
            for method in self.methods:
                if "start" in method:
                    raise RecipeError(f"start must be given once, to the recipe ({short_name(self.start)}) or to "
                                      f"{method['kind']} ({short_name(method['start'])})")
        for name in ("bfloat16", "compiled"):
            if not isinstance(getattr(self, name), bool):
                raise RecipeError(f"{name} must be true or false, not {short(getattr(self, name))}")
        try:
            for _ in layer_shapes(self.architecture):
                pass
        except CheckpointError as error:
            raise RecipeError(f"architecture: {error}") from None
        if len(self.architecture["layers"]) == 1:
            raise RecipeError("architecture must have a layer of neurons before the readout")
        source = self.architecture["input"]
        if self.augmentation.crop_padding > min(source["height"], source["width"]):
            raise RecipeError(f"augmentation crop_padding must be at most the {min(source['height'], source['width'])} "
                              f"pixels of the shorter side, not {self.augmentation.crop_padding}")
        encoding = DATASETS[self.dataset].encoding.value
        if self.architecture["input"]["encoding"] != encoding:
            raise RecipeError(f"architecture input must be {encoding} for {self.dataset}, "
                              f"not {self.architecture['input']['encoding']}")
        if (self.framing is None) != (encoding == "pixels"):
            raise RecipeError(f"framing must {'not ' if encoding == 'pixels' else ''}be given for {self.dataset}")
        _ = self.make_framing()

    @property
    def needs(self) -> list[str]:
        """Names of the recipes whose trained networks this one starts from or learns from."""
        named = [self.start, *(method.get(key) for key in ("start", "teacher") for method in self.methods)]
        return list(dict.fromkeys(filter(None, named)))

    def make_framing(self) -> Framing | None:
        """Return how events become frames, None for images; raises :exc:`RecipeError`."""
        if self.framing is None:
            return None
        if not isinstance(self.framing, Mapping) or not set(self.framing) <= {"slicing", "factor"}:
            raise RecipeError(f"framing must be an object with slicing and factor, not {short(self.framing)}")
        slicing = self.framing.get("slicing", "time")
        if not isinstance(slicing, str) or slicing not in list(Slicing):
            raise RecipeError(f"framing slicing must be {' or '.join(Slicing)}, not {short(slicing)}")
        try:
            return Framing(timesteps=self.architecture["timesteps"], slicing=Slicing(slicing),
                           factor=self.framing.get("factor", 1))
        except ValueError as error:
            raise RecipeError(str(error)) from None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Recipe":
        """Return the recipe of a JSON object; raises :exc:`RecipeError`."""
        if not isinstance(values, Mapping):
            raise RecipeError(f"recipe must be an object, not {type(values).__name__}")
        distortions = values.get("augmentation", {})
        if not isinstance(distortions, Mapping):
            raise RecipeError(f"augmentation must be an object, not {short(distortions)}")
        for where, given, kind in (("recipe", values, cls), ("augmentation", distortions, Augmentation)):
            fields = {field.name: field for field in dataclasses.fields(kind)}
            unknown = [key for key in given if key not in fields]
            if unknown:
                raise RecipeError(f"{where} has no key {short(unknown[0])}, only {', '.join(fields)}")
            missing = [name for name, field in fields.items() if name not in given
                       and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING]
            if missing:
                raise RecipeError(f"{where} must have the key {missing[0]}")
        try:
            return cls(**{**values, "augmentation": Augmentation(**distortions)})
        except RecipeError:
            raise
        except ValueError as error:
            raise RecipeError(str(error)) from None

    def to_json(self) -> dict[str, Any]:
        """JSON object of the recipe."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return]


def _recipe_of(values: Any, where: str) -> Recipe:
    """Return the recipe of the JSON ``values``, which are from ``where``; raises :exc:`RecipeError`."""
    try:
        return Recipe.from_json(values)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None


def load_recipe(name: str) -> Recipe:
    """Return the shipped recipe ``name``, or that of the JSON file ``name``; raises :exc:`RecipeError`.

    A file may name a shipped architecture in place of one.
    """
    return _recipe_of(read_recipe(name), str(recipe_path(name)))


def named_recipe(arguments: argparse.Namespace, values: Any) -> Recipe:
    """Return the recipe of the JSON ``values`` that the arguments of :mod:`train.command` name.

    Raises :exc:`RecipeError`; the line begins with the file, a recipe or a graph.
    """
    return _recipe_of(values, printable(arguments.graph) if arguments.recipe is None else
                      printable(str(recipe_path(arguments.recipe))))
