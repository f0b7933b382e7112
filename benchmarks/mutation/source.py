"""The text of a Python source, addressed by nodes of its syntax tree and by tokens."""

import ast
import io
import tokenize
from collections.abc import Iterator

__all__ = ["Source", "Token"]

#: Tokens that say nothing: line breaks, comments and parentheses around an operand.
_SILENT = {tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT}

#: Begin and end in bytes, and the text.
Token = tuple[int, int, str]


class Source:
    """A source with its syntax tree.

    All places are offsets in bytes of UTF-8, which is what :mod:`ast` counts in.

    Parameters
    ----------
    content : :class:`bytes`
        The file. It must be UTF-8, and Python.

    Raises
    ------
    :exc:`SyntaxError`, :exc:`UnicodeDecodeError`
        If it is not.
    """

    def __init__(self, content: bytes):
        self.content = content
        self.tree = ast.parse(content)
        text = content.decode()
        self.lines = text.splitlines(keepends=True)
        self._begins = [0]
        for line in content.splitlines(keepends=True):
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
