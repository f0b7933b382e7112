"""The kinds of faults: for each node of a syntax tree, the replacements of its text that may change what it does."""

import ast
import collections
import dataclasses
import enum
from collections.abc import Iterator

from benchmarks.mutation.behaviour import behaviour, called
from benchmarks.mutation.source import Source

__all__ = ["Change", "Kind", "changes"]


class Kind(enum.StrEnum):
    """What is wrong with a mutant."""

    #: Another operator: ``+`` for ``-``, ``|`` for ``&``, ``>>`` for ``<<``.
    OPERATOR = "operator"
    #: Another comparison: ``!=`` for ``==``, ``<=`` for ``<``.
    COMPARISON = "comparison"
    #: ``or`` for ``and``, and the reverse.
    LOGIC = "logic"
    #: A condition is inverted.
    CONDITION = "condition"
    #: An inversion is left out.
    INVERSION = "inversion"
    #: A number is one more, or one less.
    CONSTANT = "constant"
    #: ``True`` for ``False``, and the reverse.
    BOOLEAN = "boolean"
    #: A slice begins or ends one off.
    SLICE = "slice"
    #: A register begins with another value.
    INIT = "init"
    #: A reset is not connected.
    RESET = "reset"
    #: A statement of the circuit is left out.
    STATEMENT = "statement"
    #: A register where there was none: a statement of ``comb`` is one of ``sync``.
    DOMAIN = "domain"
    #: Two operands or arguments are exchanged.
    SWAP = "swap"


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """The bytes from ``begin`` to ``end`` of a source are replaced by ``text``."""

    kind: Kind
    begin: int
    end: int
    text: str


#: Operators and what stands in their place.
_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "//", ast.FloorDiv: "*", ast.Div: "*", ast.Mod: "//", ast.Pow: "*",
    ast.BitAnd: "|", ast.BitOr: "&", ast.BitXor: "&", ast.LShift: ">>", ast.RShift: "<<"}
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "!=", ast.NotEq: "==", ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in"}
#: Comparisons whose replacement is their inversion.
_INVERTED = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)

#: Operands with which ``+``, ``*`` and ``|`` are no arithmetic: every other operator would end in an error at once.
_COLLECTIONS = (ast.JoinedStr, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.ListComp, ast.SetComp, ast.DictComp)

#: Calls that make a register or describe a port, both with an initial value.
_REGISTERS = {"Signal", "like", "In", "Out"}
_INSERTERS = {"ResetInserter", "EnableInserter"}


def _is_text(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) or _is_text(node.right)
    return isinstance(node, _COLLECTIONS) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))


def _is_domain(target: ast.AST) -> bool:
    """Whether statements are added to a domain: ``m.d.sync``, or ``m.d[domain]``."""
    return (isinstance(target, ast.Attribute | ast.Subscript)
            and isinstance(target.value, ast.Attribute) and target.value.attr == "d")


def _assigned(node: ast.AST) -> ast.expr | None:
    """What a statement ``x.eq(y)`` assigns to."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "eq":
        return node.func.value
    return None


def _is_register(call: ast.AST | None) -> bool:
    return call is not None and called(call) in _REGISTERS


class _Finder:
    """Finds the changes of a source."""

    def __init__(self, source: Source):
        self._source = source
        self._targets = collections.Counter(source.text(target) for node in ast.walk(source.tree)
                                            if (target := _assigned(node)) is not None)

    def _replace(self, kind: Kind, node: ast.AST, text: str) -> Change:
        return Change(kind, self._source.begin(node), self._source.end(node), text)

    def _operator(self, kind: Kind, left: ast.AST, right: ast.AST, text: str) -> Change:
        tokens = self._source.between(left, right)
        return Change(kind, tokens[0][0], tokens[-1][1], text)

    def _swapped(self, node: ast.AST, first: ast.AST, second: ast.AST) -> Change:
        """Exchange two parts of ``node``; what stands around and between them stays."""
        source = self._source
        between = source.content[source.end(first):source.begin(second)].decode()
        texts = [source.text(second), source.text(first)]
        if isinstance(node, ast.BinOp):
            texts = [f"({text})" if isinstance(part, ast.BinOp | ast.UnaryOp) else text
                     for text, part in zip(texts, (second, first), strict=True)]
        return Change(Kind.SWAP, source.begin(first), source.end(second), between.join(texts))

    def find(self, node: ast.AST, above: tuple[ast.AST, ...]) -> Iterator[Change]:
        """Yield the changes of one node."""
        parent = above[-1] if above else None
        match node:
            case ast.BinOp():
                yield from self._arithmetic(node)
            case ast.Compare():
                operands = [node.left, *node.comparators]
                for number, operator in enumerate(node.ops):
                    yield self._operator(Kind.COMPARISON, operands[number], operands[number + 1],
                                         _COMPARISONS[type(operator)])
            case ast.BoolOp():
                for left, right in zip(node.values, node.values[1:], strict=False):
                    yield self._operator(Kind.LOGIC, left, right, "or" if isinstance(node.op, ast.And) else "and")
            case ast.UnaryOp(op=ast.Invert() | ast.Not()):
                begin = self._source.begin(node)
                after = begin + len(self._source.first(node)[2])
                space = self._source.content[after:after + 1] == b" "
                yield Change(Kind.INVERSION, begin, after + space, "")
            case ast.Constant():
                yield from self._constant(node, parent, above[-2] if len(above) > 1 else None)
            case ast.Slice():
                yield from self._slice(node)
            case ast.AugAssign():
                yield from self._augmented(node)
            case ast.Assign(targets=[ast.Attribute(attr="next")]):
                yield self._replace(Kind.STATEMENT, node, "pass")
            case ast.Expr() if called(node.value) == "connect":
                yield self._replace(Kind.STATEMENT, node, "pass")
            case ast.Call():
                yield from self._call(node)
            case ast.If() | ast.While() | ast.IfExp():
                yield from self._condition(node.test, "not ({})")
            case ast.comprehension():
                for test in node.ifs:
                    yield from self._condition(test, "not ({})")
            case ast.keyword(arg="init") if _is_register(parent):
                if isinstance(node.value, ast.BinOp | ast.UnaryOp | ast.Attribute):
                    yield self._replace(Kind.INIT, node.value, "0")

    def _arithmetic(self, node: ast.BinOp) -> Iterator[Change]:
        if type(node.op) not in _OPERATORS or _is_text(node):
            return
        yield self._operator(Kind.OPERATOR, node.left, node.right, _OPERATORS[type(node.op)])
        if isinstance(node.op, ast.Sub):
            yield self._swapped(node, node.left, node.right)

    def _condition(self, test: ast.expr, form: str) -> Iterator[Change]:
        """Invert a condition, unless another kind does."""
        match test:
            case ast.Compare(ops=[operator]) if isinstance(operator, _INVERTED):
                return
            case ast.UnaryOp(op=ast.Invert() | ast.Not()) | ast.Constant() | ast.Name(id="TYPE_CHECKING"):
                return
        yield self._replace(Kind.CONDITION, test, form.format(self._source.text(test)))

    def _constant(self, node: ast.Constant, parent: ast.AST | None, call: ast.AST | None) -> Iterator[Change]:
        value = node.value
        if isinstance(value, bool):
            yield self._replace(Kind.BOOLEAN, node, str(not value))
        elif isinstance(value, int):
            if isinstance(parent, ast.keyword) and parent.arg == "init" and _is_register(call):
                yield self._replace(Kind.INIT, node, "1" if value == 0 else "0")
                return
            kind = Kind.SLICE if isinstance(parent, ast.Slice) else Kind.CONSTANT
            form = hex if self._source.text(node).lower().startswith("0x") else str
            yield self._replace(kind, node, form(value + 1))
            if value > 0:
                yield self._replace(kind, node, form(value - 1))

    def _slice(self, node: ast.Slice) -> Iterator[Change]:
        """Move the bounds that are no numbers; those that are, are moved as constants."""
        for bound, step in ((node.lower, "+ 1"), (node.upper, "- 1")):
            if bound is not None and not any(isinstance(part, ast.Constant) for part in
                                             (bound, getattr(bound, "operand", None))):
                yield self._replace(Kind.SLICE, bound, f"({self._source.text(bound)}) {step}")

    def _augmented(self, node: ast.AugAssign) -> Iterator[Change]:
        if not _is_domain(node.target):
            if type(node.op) in _OPERATORS and not _is_text(node.value):
                yield self._operator(Kind.OPERATOR, node.target, node.value, f"{_OPERATORS[type(node.op)]}=")
            return
        if isinstance(node.value, ast.List | ast.Tuple):
            for entry in node.value.elts:
                yield self._replace(Kind.STATEMENT, entry, "[]")
            return
        yield self._replace(Kind.STATEMENT, node, "pass")
        target, domain = _assigned(node.value), getattr(node.target, "attr", None)
        # Two statements that assign to one signal would be in two domains, which Amaranth refuses.
        if (domain == "comb" and target is not None and not isinstance(target, ast.Subscript)
                and self._targets[self._source.text(target)] == 1):
            end = self._source.end(node.target)
            yield Change(Kind.DOMAIN, end - len("comb"), end, "sync")

    def _call(self, node: ast.Call) -> Iterator[Change]:
        name, arguments = called(node), node.args
        starred = any(isinstance(argument, ast.Starred) for argument in arguments[:2])
        if name in ("If", "Elif") and isinstance(node.func, ast.Attribute) and len(arguments) == 1:
            # Exact for every width, where `~` is not.
            yield from self._condition(arguments[0], "({}) == 0")
        elif name == "Mux" and len(arguments) == 3:
            yield self._swapped(node, arguments[1], arguments[2])
        elif name == "Cat" and len(arguments) >= 2 and not starred:
            yield self._swapped(node, arguments[0], arguments[1])
        elif called(node.func) in _INSERTERS:
            yield self._replace(Kind.RESET, node.func, "")


def changes(source: Source) -> Iterator[tuple[Change, tuple[ast.AST, ...]]]:
    """Yield the changes of a source in the order of its text, each with what the changed node stands in."""
    finder = _Finder(source)
    for node, above in behaviour(source.tree):
        for change in finder.find(node, above):
            yield change, (*above, node)
