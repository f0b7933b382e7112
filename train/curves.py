"""The curves of a training as a picture: loss, accuracies and firing rates over its epochs."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from support.files import write_with

__all__ = ["draw_curves"]


def draw_curves(history: Sequence[Mapping[str, Any]], layers: Sequence[Mapping[str, Any]], title: str,
                path: pathlib.Path) -> None:
    """Draw the metrics of the epochs as a PNG.

    Parameters
    ----------
    history : sequence of mappings
        Metrics of each epoch, as in ``metrics.jsonl``.
    layers : sequence of mappings
        Layers of the architecture, as in :mod:`arch.checkpoint`.
    title : str
        Stands above the picture.
    path : Path
        Where the picture goes.

    Raises
    ------
    :exc:`ImportError`
        If matplotlib is not installed.
    """
    os.environ.setdefault("MPLBACKEND", "Agg")
    # Here, because a training without pictures needs no matplotlib.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.5), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    epochs = [entry["epoch"] for entry in history]
    loss.semilogy(epochs, [entry["loss"] for entry in history])
    loss.set_title("training loss")
    for key, label in (("accuracy", "training (distorted images)"), ("validation_accuracy", "validation")):
        accuracy.plot(epochs, [100 * entry[key] for entry in history], label=label)
    accuracy.set_title("accuracy, %")
    accuracy.legend()
    columns = list(zip(*(entry["firing_rates"] for entry in history), strict=True))
    for name, column in zip(_names(layers, len(columns)), columns, strict=True):
        rate.plot(epochs, [100 * value for value in column], label=name)
    rate.set_title("firing rate, %")
    # Outside: there are as many curves as layers.
    rate.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    for axes in (loss, accuracy, rate):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    write_with(path, lambda temporary: figure.savefig(temporary, dpi=100))


def _names(layers: Sequence[Mapping[str, Any]], count: int) -> list[str]:
    """Names of the ``count`` curves of firing rates: those of the layers before the readout."""
    names = [layer.get("name") or f"{layers[index - 1].get('name', 'pool')} pooled"
             for index, layer in enumerate(layers[:-1])]
    # A network with spike times has those of its input too.
    return ["input"] * (count - len(names)) + names
