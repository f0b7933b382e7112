"""The networks that ship, and samples to try them on: data of an installed package as of a checkout."""

import pathlib

__all__ = ["DEFAULT_NETWORK", "FOLDER", "SAMPLES", "networks"]

#: Folder of the shipped networks, ``NAME.safetensors``, and of what they were exported from,
#: ``NAME.checkpoint.safetensors``.
FOLDER = pathlib.Path(__file__).resolve().parent
#: Folder of the first 100 test images of each data set, ``DATASET-images.idx.gz``, and their labels,
#: ``DATASET-labels.idx.gz``.
SAMPLES = FOLDER / "samples"
#: What is built if no network is named.
DEFAULT_NETWORK = FOLDER / "mnist-conv.safetensors"


def networks() -> list[pathlib.Path]:
    """Return the files of the shipped networks, in the order of their names; checkpoints are none."""
    return [path for path in sorted(FOLDER.glob("*.safetensors")) if not path.name.endswith(".checkpoint.safetensors")]
