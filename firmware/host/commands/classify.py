"""``classify``: classify the images of files and folders, and count how many are right where labels are given."""

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from arch.images import load_images, load_labels
from arch.link import Info, Result
from firmware.host import latency
from firmware.host.accelerator import Accelerator
from support.command_line import print_line, print_note
from support.counting import counted
from support.errors import InputError, printable
from support.progress import Progress

__all__ = ["add", "say_latency"]

#: Files of a folder that are images.
_SUFFIXES = (".png", ".npy", ".npz", ".idx", ".gz")


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", port: argparse.ArgumentParser) -> None:
    """Add the command."""
    parser = commands.add_parser("classify", parents=[port], help="classify images")
    parser.add_argument("images", metavar="FILE", nargs="+",
                        help="read an image, or several, from FILE (idx, idx.gz, npy, npz, PNG), or from the files of "
                             "a folder, in the order of their names")
    parser.add_argument("--labels", metavar="FILE", help="count the images whose class is their label in FILE")
    parser.set_defaults(work=_work)


def _files(paths: Sequence[str]) -> list[str]:
    """Return files in the place of folders."""
    found: list[str] = []
    for path in paths:
        folder = pathlib.Path(path)
        if not path or not folder.is_dir():
            found.append(path)
            continue
        files = sorted(str(file) for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES and file.is_file())
        if not files:
            raise InputError(f"{printable(path)}: folder must have files that end with {', '.join(_SUFFIXES)}")
        found += files
    return found


def _work(arguments: argparse.Namespace, chip: Accelerator) -> None:
    info = chip.info
    files = _files(arguments.images)
    with Progress("reading images") as shown:
        batches = [load_images(path, info, progress=lambda done, total: shown.update(
            f"{done >> 20} of {total >> 20} MiB")) for path in files]
    names = [(path, None if len(batch) == 1 else index)
             for path, batch in zip(files, batches, strict=True) for index in range(len(batch))]
    labels = None if arguments.labels is None else load_labels(arguments.labels, classes=info.classes,
                                                               count=len(names))
    if len(names) > latency.WINDOW:
        say_latency(chip)
    images: npt.NDArray[Any] = np.concatenate(batches)
    right = 0
    for number, ((path, index), result) in enumerate(zip(names, chip.results(images), strict=True)):
        _print_result(path, index, result, info, arguments.json)
        right += labels is not None and result.label == labels[number]
    if labels is not None:
        print_line(json.dumps({"images": len(names), "right": int(right)}) if arguments.json else
                   f"accuracy: {100 * right / len(names):.2f} %, {right} of {counted(len(names), 'image')}")


def _print_result(path: str, index: int | None, result: Result, info: Info, as_json: bool) -> None:
    """Print a result; ``index`` is that of the image in its file, None if the file has one."""
    if as_json:
        print_line(json.dumps({"image": path, "index": index or 0} | dataclasses.asdict(result)))
        return
    name = printable(path) + ("" if index is None else f"[{index}]")
    print_line(f"{name}: class {result.label}, {result.cycles} cycles ({result.cycles / info.clock_khz:.3f} ms), "
               f"{result.stalls} stalls, {result.flash_stalls} flash stalls, "
               f"scores {' '.join(map(str, result.scores))}")


def say_latency(chip: Accelerator) -> None:
    """Say what the latency timer costs, where it could not be set."""
    port = chip.port
    if port.latency_ms is not None and port.latency_ms > latency.BEST_MS:
        print_note(f"the port's latency timer lets a result wait for up to {port.latency_ms} ms, where "
                   f"{latency.BEST_MS} ms is possible: echo {latency.BEST_MS} | sudo tee {latency.timer_of(port.name)}")
