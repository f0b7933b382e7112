"""The declarations in a design that ``amaranth.back.verilog`` wrote, by the names that the sources have."""

import re
from collections.abc import Iterator

__all__ = ["declarations"]

_MODULE = re.compile(r"module \\?(\S+?) ?\(")
#: What Amaranth makes a name unique with.
_NUMBER = re.compile(r"\$\d+(?=\.|$)")


def declarations(verilog: str, pattern: re.Pattern[str]) -> Iterator[tuple[re.Match[str], str, str]]:
    """Find the declarations of one kind.

    Parameters
    ----------
    verilog : the design; its first module is the top
    pattern : matches the lines of the declarations from their beginning; the group ``name`` is what is declared

    Yields
    ------
    match : of the line
    path : of instances below the top module, and the name, joined by dots, as the Verilog has them
    name : the same without the numbers that Amaranth makes names unique with
    """
    top = module = None
    for line in verilog.splitlines():
        if match := _MODULE.match(line):
            module = match[1]
            top = top or module
        elif match := pattern.match(line):
            path = f"{module}.{match['name']}".removeprefix(f"{top}.")
            yield match, path, _NUMBER.sub("", path)
