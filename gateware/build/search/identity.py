"""What a search is, kept beside its trials: a folder goes on with the same search only."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from arch import json_object, strict_json
from gateware.build.search.space import Axis
from support.errors import InputError
from support.files import read_file, write_atomically

__all__ = ["IDENTITY", "Identity", "IdentityError"]

#: The file, in the folder of a search, and its largest size.
IDENTITY, _MAX_BYTES = "search.json", 1 << 20


class IdentityError(InputError):
    """A folder has the trials of another search."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """What the outcome of a trial depends on beside its values; the fields are named as the options of the command."""

    #: SHA-256 of the recipe's JSON.
    recipe: str
    board: str
    weights: str
    epochs: int | None
    #: Folder of the data; None if its files are the official ones, wherever they are.
    data: str | None
    #: What varies, in the order of the places.
    vary: list[dict[str, Any]]

    @classmethod
    def of(cls, recipe: dict[str, Any], axes: Sequence[Axis], *, board: str, weights: str, epochs: int | None,
           data: pathlib.Path | None) -> "Identity":
        """Name a search; ``data`` is the folder of files that nobody has verified, else None."""
        content = json.dumps(recipe, sort_keys=True).encode()
        # Tuples become lists, as they come back from a file.
        vary = json.loads(json.dumps([dataclasses.asdict(axis) for axis in sorted(axes, key=lambda axis: axis.place)]))
        return cls(recipe=hashlib.sha256(content).hexdigest(), board=board, weights=weights, epochs=epochs,
                   data=None if data is None else str(data.resolve()), vary=vary)

    def claim(self, folder: pathlib.Path, *, begun: bool) -> None:
        """Write it into a folder, or check that it is what an earlier run has written there.

        Parameters
        ----------
        folder : :class:`pathlib.Path`
        begun : :class:`bool`
            Whether the folder has a file of trials.

        Raises
        ------
        :exc:`IdentityError`
            If the trials are those of another search, or nothing says of which; or if the file that says so is none
            of ours, with or without trials.
        """
        path = folder / IDENTITY
        if not begun and not path.exists():
            self._write(path)
            return
        try:
            there = json_object.make(Identity, strict_json.parse(read_file(path, limit=_MAX_BYTES)))
        except (FileNotFoundError, ValueError):
            raise IdentityError(f"{path}: must say which search the trials beside it are of, and does not: give "
                                f"another folder with -o") from None
        if not begun:
            self._write(path)
            return
        names = [field.name for field in dataclasses.fields(self)]
        if differ := [f"--{name}" for name in names if getattr(self, name) != getattr(there, name)]:
            raise IdentityError(f"{path}: its trials are of another {' and '.join(differ)}: give the same, or another "
                                f"folder with -o")

    def _write(self, path: pathlib.Path) -> None:
        write_atomically(path, (json.dumps(dataclasses.asdict(self), indent=1) + "\n").encode())
