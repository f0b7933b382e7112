"""A mutant: a module with one small fault, under a name that outlives changes elsewhere in the file."""

import ast
import collections
import dataclasses
import hashlib
import re
import warnings
from collections.abc import Iterator

from benchmarks.mutation.kinds import Kind, changes
from benchmarks.mutation.source import Source
from support.errors import printable

__all__ = ["Mutant", "is_mutant", "key_of", "mutants_of"]

#: Characters of a replaced text that a name shows.
_SHOWN = 60

_NAME = re.compile(r"([^:\s]+):\d+:\d+ .* #([0-9a-f]{12})")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Mutant:
    """A module in which one piece of text is replaced."""

    #: The module, from the top of the tree.
    path: str
    #: Where the piece begins, both from 1.
    line: int
    column: int
    kind: Kind
    #: What is replaced, from which byte to which.
    begin: int
    end: int
    before: str
    after: str
    #: Hash of the fault, of its line, and of the blocks that it stands in: 12 hexadecimal digits.
    digest: str
    #: The line, without its indentation.
    text: str

    @property
    def key(self) -> str:
        """Path and digest: the same mutant has the same key when lines elsewhere in its file have changed."""
        return f"{self.path}#{self.digest}"

    @property
    def name(self) -> str:
        """``path:line:column kind: before -> after #digest``."""
        before, after = (printable(text)[:_SHOWN] or "nothing" for text in (self.before, self.after))
        return f"{self.path}:{self.line}:{self.column} {self.kind}: {before} -> {after} #{self.digest}"

    def applied(self, content: bytes) -> bytes:
        """Return the mutant's text, made of that of the module."""
        return content[:self.begin] + self.after.encode() + content[self.end:]


def key_of(name: str) -> str | None:
    """Return the key of the mutant with this name; None if it is no name of a mutant."""
    match = _NAME.fullmatch(name)
    return None if match is None else f"{match[1]}#{match[2]}"


def _blocks(source: Source, above: tuple[ast.AST, ...]) -> Iterator[str]:
    """First lines of the blocks that something stands in."""
    for node in above:
        if isinstance(node, ast.stmt) and hasattr(node, "body"):
            yield source.lines[node.lineno - 1].strip()


def is_mutant(content: bytes, changed: bytes) -> bool:
    """Whether ``changed`` can be compiled, and is another program than ``content``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(changed, "mutant", "exec", dont_inherit=True)
        return ast.dump(ast.parse(changed)) != ast.dump(ast.parse(content))
    except (SyntaxError, ValueError):
        return False


def mutants_of(path: str, content: bytes) -> list[Mutant]:
    """Return all mutants of a module, in the order of its text.

    Whether each can be compiled is not asked here, which takes :func:`is_mutant` some 10 ms.

    Parameters
    ----------
    path : :class:`str`
        The module's file, from the top of the tree.
    content : :class:`bytes`
        Its text.

    Raises
    ------
    :exc:`support.errors.InputError`
        If it is no Python, or not in UTF-8.
    """
    source = Source(path, content)
    seen: collections.Counter[str] = collections.Counter()
    found: set[tuple[int, int, str]] = set()
    mutants = []
    for change, above in changes(source):
        place = (change.begin, change.end, change.text)
        if place in found or content[change.begin:change.end] == change.text.encode():
            continue
        found.add(place)
        line, column = source.position(change.begin)
        last, _ = source.position(max(change.begin, change.end - 1))
        lines = [text.strip() for text in source.lines[line - 1:last]]
        indentation = len(source.lines[line - 1]) - len(source.lines[line - 1].lstrip())
        context = repr((tuple(_blocks(source, above)), lines, column - indentation, change.kind.value, change.text))
        seen[context] += 1
        digest = hashlib.sha256(f"{context} {seen[context]}".encode()).hexdigest()[:12]
        mutants.append(Mutant(
            path=path, line=line, column=column, kind=change.kind, begin=change.begin, end=change.end,
            before=content[change.begin:change.end].decode(), after=change.text, digest=digest, text=lines[0]))
    return sorted(mutants, key=lambda mutant: (mutant.begin, mutant.end))
