"""References lead somewhere: roles in docstrings, files, pages, decisions and commands that any text names."""

import ast
import builtins
import functools
import importlib
import inspect
import pathlib
import re
import subprocess
import tokenize
import types

import pytest

from tests.test_docs import MODULES
from tests.test_project import PACKAGES, ROOT, SOURCES, module_of

ROLE = re.compile(r":(mod|class|func|meth|data|exc|attr):`~?([^`]+)`")
#: What a role must lead to.
KINDS = {"mod": lambda found: isinstance(found, types.ModuleType), "class": inspect.isclass,
         "func": callable, "meth": callable, "data": lambda found: True, "attr": lambda found: True,
         "exc": lambda found: inspect.isclass(found) and issubclass(found, BaseException)}
FOLDERS = "|".join([*PACKAGES, "docs", "tests", "models", r"\.github", r"\.ci"])
#: Files of the repository as a text names them, from its top.
FILE = re.compile(rf"(?<![\w/.\-<{{}}])((?:{FOLDERS})/[\w./*-]*\.(?:py|md|json|cpp|txt|sh|svg|yml|gz|safetensors))\b")
#: Pages by their own name, as in "see datasets.md".
PAGE = re.compile(r"(?<![\w/.*\-<{}])([A-Za-z][\w-]*\.md)\b")
DECISION = re.compile(r"\bdecisions?[ /](\d{4})")
#: A numbered section of a page, as in "``docs/algorithms.md``, section 5.1".
SECTION = re.compile(r"([\w-]+\.md)(?:`+|\))?,? sections? (\d+(?:\.\d+)*)")
COMMAND = re.compile(r"python3? -m ((?:\w+\.)*\w+)")
#: What ``python -m`` runs that is not ours.
FOREIGN_COMMANDS = {"mypy", "pip", "pytest", "ruff", "venv"}

PATTERNS = ("*.md", "*.toml", "Makefile", ".pre-commit-config.yaml", ".github/**/*.*", ".ci/*", "docs/**/*.md",
            "models/**/*.md", "environment/*.txt", "*/**/*.py", "*/**/*.cpp", "*/**/*.sh", "*/**/*.toml")
TEXTS = sorted(path for pattern in PATTERNS for path in ROOT.glob(pattern)
               if path.is_file() and path.relative_to(ROOT).parts[0] in
               {"docs", "tests", ".github", ".ci", *PACKAGES, path.name})


def attribute(owner, name):
    """Attribute of a module or class; of an instance, what annotations or assignments to ``self`` tell."""
    if hasattr(owner, name):
        return getattr(owner, name)
    if inspect.isclass(owner):
        for base in owner.__mro__:
            if name in vars(base).get("__annotations__", {}) or name in assigned(base):
                return name
    raise AttributeError(name)


@functools.cache
def assigned(owner):
    """Names that methods of a class assign to ``self``."""
    if owner.__module__.partition(".")[0] not in PACKAGES:
        return frozenset()
    return frozenset(re.findall(r"\bself\.(\w+)\b[^=\n(]*=[^=]", inspect.getsource(owner)))


def follow(owner, names):
    """Walk from a module or class along attribute names."""
    for name in names:
        owner = attribute(owner, name)
    return owner


def resolve(target, module, classes):
    """What a reference means where it stands; ``classes`` are the names around it, outermost first."""
    # `text <target>` shows the text.
    names = target.partition("<")[2].removesuffix(">").split(".") if "<" in target else target.split(".")
    for depth in range(len(classes), -1, -1):
        try:
            return follow(follow(module, classes[:depth]), names)
        except AttributeError:
            continue
    if hasattr(builtins, names[0]):
        return follow(builtins, names)
    for length in range(len(names), 0, -1):
        try:
            found = importlib.import_module(".".join(names[:length]))
        except ModuleNotFoundError:
            continue
        return follow(found, names[length:])
    raise AttributeError(target)


def documented(node, classes=()):
    """Docstrings of a syntax tree, each with the names of the classes around it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from ((text, (*classes, child.name)) for text in [ast.get_docstring(child)] if text)
            yield from documented(child, (*classes, child.name))
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from ((text, classes) for text in [ast.get_docstring(child)] if text)
            yield from documented(child, classes)
        else:
            yield from documented(child, classes)


def commented(source, tree):
    """``#:`` comments, each with the names of the classes around it."""
    around = [(node.lineno, node.end_lineno, node.name) for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for number, line in enumerate(source.splitlines(), 1):
        if line.lstrip().startswith("#:"):
            yield line, tuple(name for first, last, name in sorted(around) if first <= number <= last)


def wrong_roles(path):
    """References of a module that lead nowhere, or to another kind of thing."""
    name, source = module_of(path), path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    module = importlib.import_module(name)
    texts = [(ast.get_docstring(tree) or "", ()), *documented(tree), *commented(source, tree)]
    for text, classes in texts:
        for role, target in ROLE.findall(text):
            try:
                found = resolve(target, module, classes)
            except AttributeError:
                yield f":{role}:`{target}` is not there"
                continue
            if not KINDS[role](found):
                yield f":{role}:`{target}` is no such thing"


@pytest.mark.parametrize("path", [path for path in SOURCES if path.parts[-2] != "environment"],
                         ids=lambda path: path.relative_to(ROOT).as_posix())
def test_roles_in_docstrings_lead_somewhere(path):
    assert list(wrong_roles(path)) == []


@functools.cache
def pages():
    """Names of all pages."""
    tracked = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.md"),
               *(ROOT / "models").rglob("*.md")]
    return {path.name for path in tracked}


def prose(path):
    """What of a file is written for readers: all of a page, docstrings and comments of a module."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return text
    tree = ast.parse(text)
    with path.open("rb") as file:
        comments = [token.string for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT]
    return "\n".join([ast.get_docstring(tree) or "", *(text for text, _ in documented(tree)), *comments])


def wrong_names(text):
    """Files, pages, decisions and commands that a text names and that are not there."""
    for name in FILE.findall(text):
        if not list(ROOT.glob(name)):
            yield name
    for name in PAGE.findall(text):
        if name not in pages():
            yield name
    for name, number in SECTION.findall(" ".join(text.split())):
        page = ROOT / "docs" / name
        if not page.exists() or not re.search(rf"^#+ {re.escape(number)}\.? ", page.read_text(), re.MULTILINE):
            yield f"{name}, section {number}"
    for number in DECISION.findall(text):
        if not list((ROOT / "docs" / "decisions").glob(f"{number}-*.md")):
            yield f"decision {number}"
    for name in COMMAND.findall(text):
        # Upper case stands for something that the reader puts in.
        if name not in MODULES and name not in FOREIGN_COMMANDS and not name.isupper():
            yield f"python -m {name}"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_text_names_is_there(path):
    assert list(wrong_names(prose(path))) == []


@pytest.mark.parametrize("text", [
    "see NOWHERE.md", "``arch/nowhere.py``", "``docs/nowhere.md``", "``train/nowhere/*.json``",
    "``docs/contract.md``, section 99", "``docs/contract.md``,\nsection 5.9", "decision 9999",
    "docs/decisions/9999-title.md", "run ``python -m nowhere``"])
def test_what_is_not_there_is_found(text):
    assert list(wrong_names(text))


@pytest.mark.parametrize(("role", "target"), [
    ("func", "nowhere"), ("mod", "arch.nowhere"), ("class", "arch.network.Nowhere"), ("exc", "arch.network.Network"),
    ("meth", "arch.network.Network.nowhere"), ("attr", "nowhere"), ("mod", "arch.network.Network")])
def test_a_role_that_leads_nowhere_is_found(tmp_path, monkeypatch, role, target):
    name = "module_with_a_reference"
    (tmp_path / f"{name}.py").write_text(f'"""Look at :{role}:`{target}`."""\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(f"{__name__}.module_of", lambda path: path.stem)
    assert len(list(wrong_roles(tmp_path / f"{name}.py"))) == 1


def test_every_text_of_the_repository_is_looked_at():
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    kinds = {".md", ".py", ".cpp", ".sh", ".toml", ".yml", ".yaml"}
    tracked = {ROOT / name for name in done.stdout.splitlines() if pathlib.PurePath(name).suffix in kinds}
    assert {path for path in tracked if path.exists()} - set(TEXTS) == set()
