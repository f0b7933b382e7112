"""Every ``python -m PACKAGE`` begins the command of its package, and importing it begins nothing."""

import importlib.util
import runpy

import pytest

from support import start
from tests.test_project import SOURCES, module_of

PATHS = [path for path in SOURCES if path.name == "__main__.py"]


@pytest.mark.parametrize("path", PATHS, ids=module_of)
def test_the_command_of_the_package_begins(path, monkeypatch):
    begun = []
    monkeypatch.setattr(start, "start", begun.append)
    runpy.run_path(str(path), run_name="imported")
    assert begun == []
    runpy.run_path(str(path), run_name="__main__")
    assert begun == [module_of(path).removesuffix("__main__") + "command"]
    assert importlib.util.find_spec(begun[0]) is not None
