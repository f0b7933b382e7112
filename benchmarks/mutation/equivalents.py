"""Mutants that are argued to behave as the original: no test can kill them, and they are no gap of the tests."""

import pathlib
import tomllib
from collections.abc import Callable, Collection

from benchmarks.mutation.mutants import key_of
from support.errors import InputError, first_line

__all__ = ["FILE", "read_equivalents"]

#: The mutants by name, each with its argument.
FILE = pathlib.Path(__file__).with_name("equivalents.toml")


def read_equivalents(path: pathlib.Path, keys_in: Callable[[str], Collection[str]]) -> dict[str, str]:
    """Return the arguments by the keys of the mutants.

    Parameters
    ----------
    path : :class:`pathlib.Path`
        The file: TOML, in the table ``equivalent`` a sentence for each name of a mutant.
    keys_in : callable
        Returns the keys of all mutants of a module, whose path it takes.

    Raises
    ------
    :exc:`InputError`
        If the file is not as described, or has an entry of a mutant that does not exist, or two of the same.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: file must be TOML: {first_line(error)}") from None
    entries = table.pop("equivalent", {})
    if table or not isinstance(entries, dict):
        raise InputError(f"{path}: file must have one table, [equivalent], with a sentence for each name of a mutant")
    found: dict[str, str] = {}
    for name, argument in entries.items():
        key = key_of(name)
        if key is None or key not in keys_in(key.partition("#")[0]):
            raise InputError(f"{path}: entry must name a mutant of the sources, not {name!r}: delete the entry, or "
                             f"take the name from the page if the line has changed")
        if key in found:
            raise InputError(f"{path}: mutant must have one entry, not another one as {name!r}: delete one")
        if not isinstance(argument, str) or len(argument.split()) < 3:
            raise InputError(f"{path}: argument of {name!r} must be a sentence, not {argument!r}")
        found[key] = argument
    return found
