"""How an output was made: the revision of this project and the versions of what it used."""

import contextlib
import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Sequence

__all__ = ["command_line", "revision", "tool_versions"]

_ROOT = pathlib.Path(__file__).resolve().parent.parent


def revision() -> str:
    """What made an output, in one word.

    In a checkout, the commit, with ``-dirty`` if files differ from it. In an installed package, the commit that pip
    fetched if it fetched one, else the version, as ``v0.1.0``. In a copy of the sources without git, the version with
    ``-unknown``: nobody can tell what was changed.
    """
    # An environment may lie in somebody's repository, whose commit says nothing about this code.
    if (_ROOT / ".git").exists():
        # In a hook, git's variables name the repository that the hook belongs to.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(
                ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
                capture_output=True, text=True, timeout=10, check=True, env=environment).stdout.strip()
    project = _ROOT / "pyproject.toml"
    if project.exists():
        return f"v{tomllib.loads(project.read_text(encoding='utf-8'))['project']['version']}-unknown"
    return _installed_revision()


def _installed_revision() -> str:
    """What pip has recorded about the distribution that this module belongs to."""
    distribution = importlib.metadata.distribution("sterna")
    # PEP 610: where a distribution was installed from.
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    commit = origin.get("vcs_info", {}).get("commit_id")
    return commit[:12] if commit else f"v{distribution.version}"


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
    """Return the command that runs ``module`` as a program with ``arguments``, by default those of this process."""
    return shlex.join(["python", "-m", module, *(sys.argv[1:] if arguments is None else arguments)])
