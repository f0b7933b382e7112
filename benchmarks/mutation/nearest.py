"""Which tests are near to a module: found by what the tests import, and by a table of wider ones."""

import ast
import pathlib
import tomllib
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.mutation.source import parse

__all__ = ["TABLE", "NearestTests"]

#: The wider tests, and those that are never near.
TABLE = pathlib.Path(__file__).with_name("tests.toml")


def _module(path: str) -> str:
    parts = path.removesuffix(".py").split("/")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_test(path: str) -> bool:
    return path.startswith("tests/") and path.rpartition("/")[2].startswith("test_") and path.endswith(".py")


class NearestTests:
    """Test files for each module, in stages.

    The first stage mirrors the module's path: ``tests/gateware/link/test_uart.py``, and ``test_uart_*.py`` beside it,
    for ``gateware/link/uart.py``. The second are the tests that import the module, by its own name or by that of a
    package that hands on its names; the third those that do so by helpers among the tests. The fourth is the table's.

    Parameters
    ----------
    folder : :class:`pathlib.Path`
        Top of the tree.
    files : sequence of :class:`str`
        Files of the tree.
    table : mapping, optional
        ``wider``: test files by folder or module; ``never``: why by test file or folder (default: that of
        :data:`TABLE`). What names a file that the tree has not is passed over.
    """

    def __init__(self, folder: pathlib.Path, files: Sequence[str], table: Mapping[str, Mapping] | None = None):
        table = tomllib.loads(TABLE.read_text(encoding="utf-8")) if table is None else table
        self._paths = {_module(path): path for path in files if path.endswith(".py")}
        self._packages = {_module(path) for path in files if path.endswith("/__init__.py")}
        self._names: dict[str, dict[str, str]] = {}
        self._trees = {}
        for module, path in self._paths.items():
            if path.startswith("tests/") or module in self._packages:
                self._trees[module] = parse(path, (folder / path).read_bytes())
        for module in self._packages:
            self._names[module] = self._handed_on(module)
        self._tests = [path for path in files if _is_test(path)
                       and not any(path == never or path.startswith(f"{never}/") for never in table["never"])]
        self._wider = {prefix: [path for path in paths if path in self._tests]
                       for prefix, paths in table["wider"].items()}
        self._imports = {module: set(self._imported(module)) & self._paths.keys() for module in self._trees}
        self._direct: dict[str, list[str]] = {}
        self._by_helpers: dict[str, list[str]] = {}
        for path in self._tests:
            for name in self._imports[_module(path)]:
                self._direct.setdefault(name, []).append(path)
            for name in self._reached(_module(path)):
                self._by_helpers.setdefault(name, []).append(path)

    def _handed_on(self, package: str) -> dict[str, str]:
        """Names of a package that are those of its modules, and of which."""
        return {alias.asname or alias.name: f"{node.module}" for node in ast.walk(self._trees[package])
                if isinstance(node, ast.ImportFrom) and node.module in self._paths for alias in node.names}

    def _imported(self, module: str) -> Iterator[str]:
        """Modules of the tree that a module of the tests imports."""
        for node in ast.walk(self._trees[module]):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name
                    yield from self._names.get(alias.name, {}).values()
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                yield node.module
                handed_on = self._names.get(node.module, {})
                for alias in node.names:
                    yield f"{node.module}.{alias.name}"
                    yield from handed_on.values() if alias.name == "*" else [handed_on.get(alias.name, node.module)]
        # The fixtures of its folders; those of all tests are no reason to be near.
        parts = module.split(".")
        for length in range(2, len(parts)):
            yield ".".join([*parts[:length], "conftest"])

    def _reached(self, test: str) -> set[str]:
        """Modules that a test imports, by helpers too."""
        reached: set[str] = set()
        waiting = [test]
        while waiting:
            new = self._imports[waiting.pop()] - reached
            reached |= new
            waiting += [name for name in new if self._paths[name].startswith("tests/")]
        return reached

    def stages(self, path: str) -> list[list[str]]:
        """Return the test files for the module ``path``, the nearest first; no file is in two stages, none is empty."""
        folder, _, name = path.rpartition("/")
        mirror = f"tests/{folder}/test_{name.removesuffix('.py')}"
        first = [test for test in self._tests if test == f"{mirror}.py" or test.startswith(f"{mirror}_")]
        prefixes = [prefix for prefix in self._wider if path == prefix or path.startswith(f"{prefix}/")]
        stages: list[list[str]] = []
        module = _module(path)
        for tests in (first, self._direct.get(module, []), self._by_helpers.get(module, []),
                      [test for prefix in prefixes for test in self._wider[prefix]]):
            known = {test for stage in stages for test in stage}
            stages.append([test for test in dict.fromkeys(tests) if test not in known])
        return [stage for stage in stages if stage]
