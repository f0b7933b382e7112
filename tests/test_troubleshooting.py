"""The messages that ``docs/troubleshooting.md`` quotes are still those of the sources."""

import ast
import errno
import functools
import inspect
import os
import re
import textwrap

import pytest

from firmware.host import errors, ports
from tests.test_docs import CODE, ROOT
from tests.test_project import SOURCES

PAGE = ROOT / "docs" / "troubleshooting.md"
#: What others say in our messages: the system, iceprog (YosysHQ/icestorm, iceprog/mpsse.c), nextpnr (common/place) and
#: pyserial (serialposix.py).
FOREIGN = {*map(os.strerror, errno.errorcode),
           "Can't find iCE FTDI USB device (vendor_id 0x0403, device_id 0x6010 or 0x6014).",
           "Unable to place cell 'x', no BELs remaining to implement cell type 'ICESTORM_LC'",
           "Could not configure port: (25, 'Inappropriate ioctl for device')"}
#: Letters that a template must have of its own: with fewer, "{}: {}" would match every line.
LETTERS = 9
#: What of a placeholder is a message too, and must be found itself.
SENTENCE = re.compile(r"(?<![\w-])[a-z]+ [a-z]+ [a-z]+")


def quoted():
    """Lines of the blocks of the page that quote messages."""
    return [line for kind, block in CODE.findall(PAGE.read_text(encoding="utf-8")) if kind == "text"
            for line in block.splitlines()]


def template(parts):
    """Regular expression of a text with placeholders, which are None."""
    return "".join("(.*?)" if part is None else re.escape(part) for part in parts)


def parts_of(node):
    if isinstance(node, ast.JoinedStr):
        return [part.value if isinstance(part, ast.Constant) else None for part in node.values]
    return [node.value]


@functools.cache
def templates():
    """Every text of the sources that could be a message; those of the shell too."""
    found = set()
    for path in (*SOURCES, ROOT / "environment" / "virtual.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
                found.add(tuple(parts_of(node)))
    for text in re.findall(r'echo "([^"]*)"', (ROOT / "environment" / "system.sh").read_text(encoding="utf-8")):
        text = text.removeprefix("ERROR: ")
        constants = re.split(r"\$\w+", text)
        found.add(tuple(part for constant in constants for part in (constant, None))[:-1])
    return [re.compile(template(parts)) for parts in sorted(found, key=str)
            if sum(map(str.isalpha, "".join(part or "" for part in parts))) >= LETTERS]


def is_said(message):
    """Whether the sources say a message; what fills its placeholders must be said too, if it is a sentence.

    A message may begin with the name of a file, which is put before it elsewhere.
    """
    if message in FOREIGN or any(
            all(is_said(value) for value in match.groups() if SENTENCE.search(value))
            for pattern in templates() if (match := pattern.fullmatch(message)) is not None):
        return True
    where, colon, rest = message.partition(": ")
    return bool(colon) and SENTENCE.search(where) is None and is_said(rest)


@pytest.mark.parametrize("line", quoted())
def test_a_quoted_line_is_said_by_the_sources(line):
    assert is_said(re.sub(r"^(ERROR|note): ", "", line)), line


@pytest.mark.parametrize("line", [
    "--baud must be 1000000, 3000000 or 12000000, and not 115200",
    "iceprog is not there: apt install fpga-icestorm",
    "device refuses INFO: no model was ever selected",
    "port /dev/ttyUSB1 must be a serial device that can be used: it has been eaten",
    "x: y: z",
])
def test_a_line_that_nobody_says_is_not_found(line):
    assert not is_said(line)


def longest_parts(tree):
    """The longest constant of each message that is made in a piece of source."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr | ast.Constant) and isinstance(getattr(node, "value", ""), str):
            longest = max((part for part in parts_of(node) if part is not None), key=len, default="")
            if longest.count(" ") >= 4 and not longest.endswith(".") and "\n" not in longest:
                yield longest.strip(" :,")


@pytest.mark.parametrize("thing", [errors.NoAnswerError, errors.BusyError, errors._reason, ports.find_board])
def test_the_page_has_what_a_board_and_a_search_for_it_end_with(thing):
    page = PAGE.read_text(encoding="utf-8")
    parts = list(longest_parts(ast.parse(textwrap.dedent(inspect.getsource(thing)))))
    assert parts
    assert [part for part in parts if part not in page] == []


def test_the_page_has_every_refusal_of_a_model():
    page = PAGE.read_text(encoding="utf-8")
    assert [text for text in errors._REFUSALS.values() if text not in page] == []
