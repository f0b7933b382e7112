"""Which parts of a source say how it behaves, and which only what it is called, what it means, or why it failed."""

import ast
from collections.abc import Iterable, Iterator

__all__ = ["behaviour", "called"]

#: Arguments that name something, say where it was written, or advise the tools; and a reset that is not left out, which
#: nothing can notice.
_NAMES = {"name", "src_loc", "src_loc_at", "attrs", "reset_less"}

#: What describes a port, in the place of an annotation: there the annotation is the circuit.
_PORTS = {"In", "Out"}


def called(node: ast.AST) -> str | None:
    """Name of the function or method that is called; None if ``node`` is no call, or of something without a name."""
    if not isinstance(node, ast.Call):
        return None
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", None)


def _children(node: ast.AST) -> Iterable[ast.AST | None]:
    """Parts of ``node`` that are behaviour."""
    match node:
        case ast.Raise() | ast.Assert() | ast.JoinedStr():
            # Texts of errors; what the author believes to be impossible; names and messages.
            return []
        case ast.Expr(value=ast.Constant(value=str())):
            return []
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return []
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            # Neither annotations nor decorators.
            return [*node.args.defaults, *node.args.kw_defaults, *node.body]
        case ast.Lambda():
            return [*node.args.defaults, *node.args.kw_defaults, node.body]
        case ast.ClassDef():
            return [*node.keywords, *node.body]
        case ast.AnnAssign():
            return [node.annotation if called(node.annotation) in _PORTS else None, node.value]
        case ast.Call(args=[ast.Constant(value=1), *others]) if called(node) in _PORTS:
            # One bit is a flag, not a number: with two it would carry the same, and with none nothing would work.
            return [*others, *node.keywords]
        case ast.keyword(arg=name) if name in _NAMES:
            return []
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return node.orelse
    return ast.iter_child_nodes(node)


def behaviour(node: ast.AST, above: tuple[ast.AST, ...] = ()) -> Iterator[tuple[ast.AST, tuple[ast.AST, ...]]]:
    """Walk through the parts of a source that are behaviour, in their order.

    Left out are docstrings, annotations that are no ports, the 1 of a port of one bit, decorators, errors and their
    texts, assertions, f-strings, ``__all__``, and arguments that are names, places in the source or advice for the
    tools.

    Parameters
    ----------
    node : :class:`ast.AST`
        Where to begin.
    above : tuple of :class:`ast.AST`
        What ``node`` stands in, the outermost first.

    Yields
    ------
    tuple
        A node, and what it stands in.
    """
    yield node, above
    for child in _children(node):
        if child is not None:
            yield from behaviour(child, (*above, node))
