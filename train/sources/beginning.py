"""The recipe of a fine-tuning that begins with the graph of a float network; the run writes it to its folder."""

import pathlib
import re
from collections.abc import Mapping
from typing import Any

from arch.network import Encoding
from export.sources.chain import Linear, SourceError
from export.sources.nir.importing import Source
from export.sources.nir.sidecar import Facts
from support.errors import printable
from train.catalogue import read_recipe
from train.datasets import DATASETS, Dataset
from train.methods.fine_tuning import FineTuning
from train.sources.graph import digest, read_source
from train.sources.options import TIMESTEPS, OptionError
from train.sources.student import architecture_of

__all__ = ["recipe_of"]

#: Shipped recipe of each data set, of which the fine-tuning takes distortions, frames and validation images.
_SHIPPED = {"mnist": "mnist-conv", "fashion-mnist": "fashion-conv", "cifar-10": "cifar10-ternary",
            "cifar-100": "cifar100-vgg11", "n-mnist": "tsnn-nmnist", "n-mnist-small": "nmnist-conv"}
_TAKEN = ("augmentation", "framing", "validation_images")
#: What the fine-tuning does otherwise than a training from random weights.
_CHOSEN = {"epochs": 20, "learning_rate": 4e-3, "warmup_epochs": 0.5, "bfloat16": True, "compiled": True}


def recipe_of(graph: str, stated: Facts, *, dataset: str | None, timesteps: int | None) -> dict[str, Any]:
    """Return the JSON of the recipe that ternarises and fine-tunes the network of the NIR file ``graph``.

    Parameters
    ----------
    graph : str
        The file.
    stated : Facts
        What it does not say.
    dataset : str, optional
        Data set; by default the only one that has the graph's input and classes.
    timesteps : int, optional
        T of the ternary network; by default 4, or that of the graph if it is smaller.

    Raises
    ------
    :exc:`SourceError`
        If the file cannot be read, something must be stated, or a node has no place.
    :exc:`train.sources.options.OptionError`
        If the data set must be named, or does not fit, or the timesteps do not.
    :exc:`OSError`
        If the file cannot be read.
    """
    facts = stated.as_json()
    source = read_source(graph, facts)
    frames = source.frame.timesteps
    events = source.frame.encoding is Encoding.EVENTS
    if events and timesteps not in (None, frames):
        raise OptionError(f"--ternary-timesteps must be the {frames} of the graph for events, not {timesteps}: both "
                          f"networks see the same frames")
    try:
        architecture = architecture_of(source, timesteps or (frames if events else min(TIMESTEPS, frames)))
        chosen = _dataset(source, dataset)
    except SourceError as error:
        raise SourceError(f"{printable(graph)}: {error}") from None
    return {"name": _name(graph), "dataset": chosen.name, "architecture": architecture,
            **_taken(chosen, source), **_CHOSEN,
            "methods": [{"kind": FineTuning.kind, "graph": graph, "sha256": digest(graph), "facts": facts}]}


def _name(graph: str) -> str:
    """Name of the recipe: that of the file, without what a name must not have."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", pathlib.PurePath(graph).stem)[:80]
    return f"{stem}-ternary" if stem[:1].isalnum() else f"graph{stem}-ternary"


def _classes(source: Source) -> int:
    return next(len(node.weight) for node in reversed(source.chain.nodes) if isinstance(node, Linear))


def _fits(dataset: Dataset, source: Source) -> bool:
    """Whether images of ``dataset`` are inputs of ``source``; frames of events may be smaller than the sensor."""
    if dataset.encoding is not source.frame.encoding or dataset.classes != _classes(source):
        return False
    return dataset.shape == source.chain.shape or (
        source.frame.encoding is Encoding.EVENTS and _factor(dataset, source) is not None)


def _factor(dataset: Dataset, source: Source) -> int | None:
    """Pixels of the sensor along an axis that are one of the frame; None if there is no such number."""
    channels, height, width = source.chain.shape
    factor = max(1, dataset.shape[2] // width)
    whole = (channels, height * (factor if dataset.shape[1] > 1 else 1), width * factor)
    return factor if whole == dataset.shape else None


def _dataset(source: Source, name: str | None) -> Dataset:
    fitting = [dataset.name for dataset in DATASETS.values() if _fits(dataset, source)]
    shape = "x".join(map(str, source.chain.shape))
    what = f"{source.frame.encoding.value} of {shape} and {_classes(source)} classes"
    if name is not None and name not in DATASETS:
        raise OptionError(f"--dataset must be {', '.join(DATASETS)}, not {printable(name)!r}")
    if not fitting:
        raise SourceError(f"no data set has {what} (docs/datasets.md): give the input its shape with --input, or train "
                          f"in a loop of your own (docs/your-network.md)")
    if name is None and len(fitting) > 1:
        raise OptionError(f"--dataset must be given, as {' and '.join(fitting)} have {what}")
    if name is not None and name not in fitting:
        raise OptionError(f"--dataset must be {' or '.join(fitting)} for {what}, not {name}")
    return DATASETS[name or fitting[0]]


def _taken(dataset: Dataset, source: Source) -> Mapping[str, Any]:
    """Keys of the recipe that depend on the data set alone."""
    if dataset.name in _SHIPPED:
        shipped = read_recipe(_SHIPPED[dataset.name])
        found = {key: shipped[key] for key in _TAKEN if key in shipped}
    else:
        found = {}
    if source.frame.encoding is Encoding.EVENTS:
        found["framing"] = {"slicing": "time", **(found.get("framing") or {}), "factor": _factor(dataset, source)}
    return found
