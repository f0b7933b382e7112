"""The text of a Python source, addressed by nodes of its syntax tree and by tokens."""

import ast
import io
import tokenize
from collections.abc import Iterator

from support.errors import InputError

__all__ = ["Source", "Token", "parse"]

#: Tokens that say nothing: line breaks, comments and parentheses around an operand.
_SILENT = {tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT}

#: Begin and end in bytes, and the text.
Token = tuple[int, int, str]


def parse(path: str, content: bytes) -> ast.Module:
    """Return the syntax tree of the file ``path``; raises :exc:`InputError` if it is no Python, or not in UTF-8."""
    try:
        content.decode()
        return ast.parse(content)
    except ValueError as error:
        raise InputError(f"{path}: file must be Python, in UTF-8: {error}") from None
    except SyntaxError as error:
        raise InputError(f"{path}: file must be Python, in UTF-8: {error.msg}, line {error.lineno}") from None


class Source:
    """A source with its syntax tree.

    All places are offsets in bytes of UTF-8, which is what :mod:`ast` counts in.

    Parameters
    ----------
    path : :class:`str`
        What the file is called in errors.
    content : :class:`bytes`
        Its text.

    Raises
    ------
    :exc:`InputError`
        If it is no Python, or not in UTF-8.
    """

    def __init__(self, path: str, content: bytes):
        self.content = content
        self.tree = parse(path, content)
        text = content.decode()
        # Of bytes, because characters have line breaks that Python does not count.
        lines = content.splitlines(keepends=True)
        self.lines = [line.decode() for line in lines]
        self._begins = [0]
        for line in lines:
            self._begins.append(self._begins[-1] + len(line))
        self._tokens: list[Token] = []
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type not in _SILENT and token.string and token.string not in "()":
                self._tokens.append((self._place(*token.start), self._place(*token.end), token.string))

    def _place(self, row: int, column: int) -> int:
        """Offset of a token's place, whose column counts characters."""
        return self._begins[row - 1] + len(self.lines[row - 1][:column].encode())

    def begin(self, node: ast.AST) -> int:
        """Where ``node`` begins; parentheses around it do not belong to it."""
        return self._begins[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]

    def end(self, node: ast.AST) -> int:
        """Where ``node`` ends."""
        return self._begins[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]

    def text(self, node: ast.AST) -> str:
        """Text of ``node``."""
        return self.content[self.begin(node):self.end(node)].decode()

    def between(self, left: ast.AST, right: ast.AST) -> list[Token]:
        """Tokens between two nodes, without parentheses and comments: the operator."""
        return list(self._within(self.end(left), self.begin(right)))

    def first(self, node: ast.AST) -> Token:
        """First token of ``node``."""
        return next(self._within(self.begin(node), self.end(node)))

    def _within(self, begin: int, end: int) -> Iterator[Token]:
        return (token for token in self._tokens if begin <= token[0] and token[1] <= end)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of a place, both from 1."""
        row = next(row for row, begin in enumerate(self._begins) if begin > offset)
        return row, len(self.content[self._begins[row - 1]:offset].decode()) + 1
