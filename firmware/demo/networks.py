"""Files of networks, found by the hash that a board tells; with the samples that ship for each."""

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence

import models
from arch import network_file
from arch.images import Samples, samples_of
from arch.link import Info
from arch.network import Network
from firmware.host.errors import DeviceError
from firmware.host.models import Model
from reference.engines import ReferenceEngine
from support.errors import printable

__all__ = ["Catalogue", "KnownNetwork"]

#: What the classes of a data set are, where a number does not say it. Source: models/samples/ATTRIBUTION.md.
_CLASS_NAMES = {"fashion-mnist": ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
                                  "Bag", "Ankle boot")}
#: Hexadecimal digits of a hash that a board tells.
_TOLD_DIGITS = 16


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KnownNetwork:
    """A network whose file is known: the reference can compute it."""

    #: The file, as the user named it, or as it ships.
    path: pathlib.Path
    network: Network
    #: SHA-256, 64 hexadecimal digits.
    digest: str
    reference: ReferenceEngine
    #: Shipped images of its data set; None if there are none.
    samples: Samples | None

    @property
    def class_names(self) -> tuple[str, ...]:
        """A name per class; its number where there is no better one."""
        names = _CLASS_NAMES.get(self.samples.dataset) if self.samples is not None else None
        return names or tuple(map(str, range(self.network.classes)))


def _load(path: pathlib.Path) -> KnownNetwork:
    network = network_file.load(path)
    return KnownNetwork(path=path, network=network, digest=network_file.digest(network),
                        reference=ReferenceEngine(network), samples=samples_of(network, models.SAMPLES))


class Catalogue:
    """The files of networks that a board may run: those that the user names, and those that ship.

    Parameters
    ----------
    named : sequence of :class:`pathlib.Path`
        Files that the user names.

    Raises
    ------
    :exc:`support.errors.InputError`, :exc:`OSError`
        If one of them is no file of a network, or cannot be read.
    """

    def __init__(self, named: Sequence[pathlib.Path] = ()) -> None:
        self._named = [_load(path) for path in named]
        shipped = [_load(path) for path in models.networks()]
        self._known = {known.digest[:_TOLD_DIGITS]: known for known in (*shipped, *self._named)}

    def find(self, digest: str) -> KnownNetwork | None:
        """Return the network whose hash begins with the 16 hexadecimal digits ``digest``; None if no file has it."""
        return self._known.get(digest)

    def check(self, found: Iterable[Model]) -> None:
        """Compare the files with the models of a board.

        Raises
        ------
        :exc:`firmware.host.errors.DeviceError`
            If a file that the user named is of no model of the board, or no model has a file.
        """
        infos = [model.info for model in found if model.info is not None]
        if not infos:
            raise DeviceError("board must have a model that it can run, and has none: write an image of models to its "
                              "flash")
        for known in self._named:
            if known.digest[:_TOLD_DIGITS] not in {info.digest.hex() for info in infos}:
                raise DeviceError(f"{known.path}: file must be of a network of the board, {_listed(infos)}, not of one "
                                  f"with the sha256 {known.digest[:_TOLD_DIGITS]}: name the file of the board's "
                                  "network, or none for the shipped ones")
        if not any(self.find(info.digest.hex()) for info in infos):
            raise DeviceError(f"file of the board's network, {_listed(infos)}, must be known for the reference, and "
                              "does not ship: name it, python -m firmware.demo NETWORK")


def _listed(infos: Sequence[Info]) -> str:
    return " or ".join(f"{printable(info.name) or 'without a name'} with the sha256 {info.digest.hex()}"
                       for info in infos)
