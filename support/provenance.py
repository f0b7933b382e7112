"""How an output was made: the revision of this checkout and the versions of what it used."""

import importlib.metadata
import pathlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence

__all__ = ["command_line", "revision", "tool_versions"]

_ROOT = pathlib.Path(__file__).resolve().parent.parent


def revision() -> str:
    """Commit of this checkout, with ``-dirty`` if files differ from it; ``unknown`` outside of git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def tool_versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of the installed ``packages``; ``missing`` for one that is not installed."""
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "missing"
    return versions


def command_line(module: str, arguments: Sequence[str] | None = None) -> str:
    """Return the command that runs ``python -m module`` with ``arguments``, by default those of this process."""
    return shlex.join(["python", "-m", module, *(sys.argv[1:] if arguments is None else arguments)])
