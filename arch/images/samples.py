"""Images and labels of a data set that lie in a folder, for the networks that were trained on it."""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.images.files import ImageError
from arch.images.inputs import load_images, load_labels
from arch.network import Network

__all__ = ["Samples", "samples_of"]

_IMAGES, _LABELS = "-images.idx.gz", "-labels.idx.gz"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Samples:
    """Images and labels that ship."""

    #: Name of the data set.
    dataset: str
    images: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]


def samples_of(network: Network, folder: pathlib.Path) -> Samples | None:
    """Return images and labels of the data set on which ``network`` was trained.

    Parameters
    ----------
    network
        Its metadata name the data set.
    folder
        Holds the files ``DATASET-images.idx.gz`` and ``DATASET-labels.idx.gz``.

    Returns
    -------
    samples
        None if the folder has none of that data set, or none that fit the network.
    """
    training = network.metadata.get("training")
    dataset = training.get("dataset") if isinstance(training, dict) else None
    # The name comes from a file: only that of a data set in the folder becomes a path.
    known = {path.name.removesuffix(_IMAGES) for path in folder.glob(f"*{_IMAGES}")}
    if not isinstance(dataset, str) or dataset not in known:
        return None
    try:
        return Samples(dataset=dataset, images=load_images(folder / f"{dataset}{_IMAGES}", network),
                       labels=load_labels(folder / f"{dataset}{_LABELS}", classes=network.classes))
    except ImageError:
        # A network may be trained on images of another size, or on some of the classes.
        return None
