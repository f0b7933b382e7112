"""Draws a sample of mutants in which every module has its share."""

import hashlib
from collections.abc import Callable, Mapping, Sequence

from benchmarks.mutation.mutants import Mutant
from support.errors import InputError

__all__ = ["FOLDERS", "draw", "modules_in"]

#: What is hardware: its mutants are drawn unless others are asked for.
FOLDERS = ("gateware/embedded", "gateware/engine", "gateware/flash", "gateware/link", "gateware/source.py",
           "gateware/streamed_system.py", "gateware/streamed_top.py", "gateware/swap", "gateware/system.py",
           "gateware/top.py", "boards/families")


def modules_in(folders: Sequence[str], files: Sequence[str]) -> list[str]:
    """Return the modules among ``files`` that are in ``folders`` or are named by them.

    Raises
    ------
    :exc:`InputError`
        If there is none for one of them, or if it has the tests.
    """
    found: set[str] = set()
    for name in folders:
        folder = name.rstrip("/")
        if folder.split("/")[0] == "tests":
            raise InputError(f"FOLDER must be one of the sources, not {name!r}: mutants of tests say nothing")
        matches = [file for file in files if file.endswith(".py") and (file == folder or file.startswith(f"{folder}/"))]
        if not matches:
            raise InputError(f"FOLDER must be a folder or file with Python modules that git knows, not {name!r}: name "
                             f"it from the top of the tree, as gateware/link")
        found.update(matches)
    return sorted(found)


def _shares(counts: Mapping[str, int], size: int) -> dict[str, int]:
    """Divide ``size`` among modules in proportion to their mutants; if there are enough, none goes without."""
    total = sum(counts.values())
    least = 1 if size >= len(counts) else 0
    quotas = {path: size * count / total for path, count in counts.items()}
    shares = {path: max(least, int(quotas[path])) for path in counts}
    while sum(shares.values()) != size:
        # Who has least, or most, beyond its quota; by name where they are equal.
        more = sum(shares.values()) < size
        able = [path for path in counts if (shares[path] < counts[path] if more else shares[path] > least)]
        path = min(able, key=lambda path: ((shares[path] - quotas[path]) * (1 if more else -1), path))
        shares[path] += 1 if more else -1
    return shares


def draw(mutants: Mapping[str, Sequence[Mutant]], size: int, seed: int,
         wanted: Callable[[Mutant], bool]) -> list[Mutant]:
    """Draw a sample.

    The order in which mutants of a module are drawn is that of a hash of the seed and their keys: a change elsewhere in
    the file changes nothing for the others.

    Parameters
    ----------
    mutants : mapping of :class:`str` to sequences of :class:`Mutant`
        Mutants by module.
    size : :class:`int`
        How many to draw: at least 1, and all if there are no more.
    seed : :class:`int`
        Another sample for another one.
    wanted : callable
        Whether a mutant that was drawn is one; if not, the next one takes its place.

    Returns
    -------
    list of :class:`Mutant`
        By module, and there in the order of the text.
    """
    counts = {path: len(entries) for path, entries in mutants.items() if entries}
    shares = _shares(counts, min(size, sum(counts.values())))
    drawn: list[Mutant] = []
    for path in sorted(shares):
        ranked = sorted(mutants[path], key=lambda mutant: hashlib.sha256(f"{seed} {mutant.key}".encode()).digest())
        taken: list[Mutant] = []
        for mutant in ranked:
            if len(taken) == shares[path]:
                break
            if wanted(mutant):
                taken.append(mutant)
        drawn += sorted(taken, key=lambda mutant: (mutant.begin, mutant.end, mutant.after))
    return drawn
