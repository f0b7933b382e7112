"""``python -m train.images``: write images and labels of a data set as the idx files that other commands read."""

import argparse
from collections.abc import Sequence

from support.command_line import path_argument, print_line, run
from support.counting import counted
from support.errors import InputError
from support.files import check_output_folder, write_all
from train.catalogue import PIXEL_DATASETS

__all__ = ["SPLITS", "create_parser", "main"]

#: What a training learns from, what its choices are made by, and what it is measured on.
SPLITS = ("training", "validation", "test")
#: Validation images that the shipped recipes hold back.
_VALIDATION_IMAGES = 5000


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m train.images",
        description="Write images of a data set, and their labels, as idx files for python -m export, python -m sim "
                    "and python -m firmware.host. The images are the official ones, unchanged.")
    parser.add_argument("dataset", metavar="DATASET", help=f"write images of DATASET: {', '.join(PIXEL_DATASETS)}")
    parser.add_argument("--data", metavar="DIR", type=path_argument, required=True,
                        help="read the official files of the data set from DIR (see docs/datasets.md)")
    parser.add_argument("--download", action="store_true", help="first fetch the files that DIR lacks")
    parser.add_argument("--unverified", action="store_true", help="accept files that are not the official ones")
    parser.add_argument("--split", metavar="SPLIT", default="test",
                        help=f"write the images of SPLIT: {', '.join(SPLITS)} (default: %(default)s); validation "
                             f"images are those that recipes hold back of the training images")
    parser.add_argument("--validation-images", metavar="N", type=int, default=_VALIDATION_IMAGES,
                        help="count N training images as validation images (default: %(default)s, as in the shipped "
                             "recipes)")
    parser.add_argument("--first", metavar="N", type=int, help="write the first N images (default: all)")
    parser.add_argument("-o", "--output", metavar="FOLDER", type=path_argument, required=True,
                        help="write DATASET-SPLIT-images.idx.gz and DATASET-SPLIT-labels.idx.gz to FOLDER")
    return parser


def _write(arguments: argparse.Namespace) -> None:
    if arguments.dataset not in PIXEL_DATASETS:
        raise InputError(f"DATASET must be {', '.join(PIXEL_DATASETS)}, not {arguments.dataset!r}")
    if arguments.split not in SPLITS:
        raise InputError(f"--split must be {', '.join(SPLITS)}, not {arguments.split!r}")
    if arguments.first is not None and arguments.first < 1:
        raise InputError(f"--first must be 1 or more, not {arguments.first}")
    check_output_folder(arguments.output)
    # Here, because it imports PyTorch, which takes seconds: wrong names and numbers are answered at once.
    from train import datasets
    from train.images.idx import to_idx_gz

    dataset = datasets.DATASETS[arguments.dataset]
    if arguments.download:
        datasets.download(dataset, arguments.data)
    images, test = datasets.load(dataset, arguments.data, verify=not arguments.unverified)
    if arguments.split == "test":
        split = test
    else:
        count = arguments.validation_images
        if not 0 < count < len(images):
            raise InputError(f"--validation-images must be 1 to {len(images) - 1}, as there are {len(images)} training "
                             f"images, not {count}")
        split = datasets.split_validation(images, count)[SPLITS.index(arguments.split)]
    if arguments.first is not None and arguments.first > len(split):
        raise InputError(f"--first must be at most the {len(split):,} {arguments.split} images, not {arguments.first}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    stem = arguments.output / f"{arguments.dataset}-{arguments.split}"
    paths = [stem.with_name(f"{stem.name}-{what}.idx.gz") for what in ("images", "labels")]
    arrays = (split.images[:arguments.first].numpy(), split.labels[:arguments.first].numpy().astype("uint8"))
    write_all({path: to_idx_gz(array) for path, array in zip(paths, arrays, strict=True)})
    print_line(f"{paths[0]} and {paths[1].name}: {counted(len(arrays[1]), 'image')}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, as :func:`support.command_line.run`."""
    return run(create_parser(), _write, argv)
