"""Writes the tables of the networks that ship."""

from collections.abc import Iterator, Sequence

from benchmarks.markdown import table_lines
from benchmarks.models.shipped import BOARD, BOARD_TITLE, Shipped
from train.catalogue import PIXEL_DATASETS

__all__ = ["block", "page"]

#: Data sets as people name them.
_TITLES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar-10": "CIFAR-10", "cifar-100": "CIFAR-100",
           "n-mnist-small": "N-MNIST, the subset"}
_EXACT = {True: "certified in every channel", False: "no", None: "not certified (leaky)"}
_WHERE = {"baked": "the bitstream", "flash": "the flash"}
_HEAD = f"""\
# Networks that ship

Made by `python -m benchmarks.models`; do not edit. `NAME.safetensors` is a network in integers, as
[docs/formats.md](../docs/formats.md) describes it, and `NAME.checkpoint.safetensors`, where it is small enough to ship,
the trained network that it was exported from. `samples/` has 100 images of each test set, for tests and for trying
things.

*Layers*: 32C3 is a convolution of 3 x 3 with 32 channels, s2 its stride, MP2 max-pooling of 2 x 2 (the OR of spikes),
FC a fully connected layer, + the summed spikes of a shortcut. *Test accuracy* is that of the integers on the whole test
set, as the export that wrote the file measured it. *Exact*: a certificate says that every spike is that of the trained
network, for every input. *Weights* lie in the bitstream, or, on the overlay, in the flash of the board. *Clocks* of an
inference on the {BOARD_TITLE} are those of the cycle model, which are those of the simulated circuit; the *time* is
their number by the clock, without the link to the computer.
"""


def _title(dataset: str) -> str:
    return _TITLES.get(dataset, dataset)


def _size(network: Shipped) -> str:
    return f"{network.weights:,} {network.weights_kind} weights"


def _share(value: float) -> str:
    return f"{100 * value:.2f} %"


def _time(network: Shipped) -> str:
    return f"{network.milliseconds:.3g} ms at {network.clock_mhz:g} MHz"


def block(networks: Sequence[Shipped]) -> str:
    """Return the table of the README: what a network is, how good, how fast, and how exact."""
    head = ("shipped network", "test accuracy", f"an inference on the {BOARD_TITLE}", "how exact")
    return "\n".join(table_lines(head, [
        (f"[`{one.name}`](models/README.md#{one.name}): {_title(one.dataset)}, {_size(one)}, {one.timesteps} timesteps",
         f"{_share(one.accuracy)} of {one.images:,} images",
         f"{_time(one)}, {one.clocks:,} clocks; weights in {_WHERE[one.circuit]}", _EXACT[one.exact])
        for one in networks]))


def page(networks: Sequence[Shipped]) -> str:
    """Return ``models/README.md``."""
    head = ("network", "data set", "layers", "weights", "T", "file", "test accuracy", "exact", "weights in", "clocks",
            "time")
    lines = [_HEAD, *table_lines(head, [
        (f"`{one.name}`", _title(one.dataset), one.layers, _size(one).removesuffix(" weights"), str(one.timesteps),
         f"{one.file_bytes / 1024:,.0f} KiB", f"{_share(one.accuracy)} of {one.images:,}", _EXACT[one.exact],
         _WHERE[one.circuit], f"{one.clocks:,}", _time(one)) for one in networks]), ""]
    for one in networks:
        lines += [f"## {one.name}", "", "```sh", *_commands(one), "```", ""]
    return "\n".join(lines)


def _commands(one: Shipped) -> Iterator[str]:
    """Yield what to do with the network: commands, each kind behind a comment."""
    if one.trainings:
        yield "# Train it."
        yield from one.trainings
    yield "# Compute three images on the reference and on the circuit, and compare every spike."
    yield (f"python -m sim models/{one.name}.safetensors --images models/samples/{one.dataset}-images.idx.gz --first 3 "
           "--engine both --spikes")
    if one.dataset in PIXEL_DATASETS:
        images, labels = (f"build/images/{one.dataset}-test-{what}.idx.gz" for what in ("images", "labels"))
        yield "# Measure its accuracy on the whole test set."
        yield f"python -m train.images {one.dataset} --data DIR -o build/images"
        yield f"python -m sim models/{one.name}.safetensors --images {images} --labels {labels}"
    if one.circuit == "baked":
        yield "# Build its bitstream."
        yield f"python -m gateware.build --board {BOARD} --network models/{one.name}.safetensors"
    else:
        yield "# Write the image for the flash of a board with the overlay."
        yield f"python -m export models/{one.name}.safetensors --flash build/{one.name}.bin"
