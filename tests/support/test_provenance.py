"""Provenance: what an output says about the code that made it, wherever that code lies."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from support import provenance

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def git(folder, *arguments):
    """Run git in ``folder`` as somebody; return what it prints."""
    somebody = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a"}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True,
                          env={**clean, **somebody, "GIT_CONFIG_GLOBAL": os.devnull}).stdout.strip()


def commit(folder):
    """Make ``folder`` a repository with all its files; return the commit."""
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return git(folder, "rev-parse", "HEAD")[:12]


@pytest.fixture
def sources(tmp_path):
    """A copy of what finds the revision, in a folder of its own inside ``tmp_path``."""
    root = tmp_path / "sources"
    shutil.copytree(ROOT / "support", root / "support", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


def revision(root, **environment):
    """What the copy in ``root`` says, in a process of its own."""
    return subprocess.run([sys.executable, "-B", "-c", "from support.provenance import revision; print(revision())"],
                          cwd=root, check=True, capture_output=True, text=True,
                          env={**os.environ, **environment}).stdout.strip()


def test_checkout_is_its_commit_and_says_that_files_differ(sources):
    first = commit(sources)
    assert revision(sources) == first
    (sources / "pyproject.toml").write_text("")
    assert revision(sources) == f"{first}-dirty"


def test_commit_of_a_repository_around_the_sources_is_not_taken(sources):
    (sources.parent / "own.txt").write_text("the work of somebody else")
    commit(sources.parent)
    assert revision(sources) == f"v{VERSION}-unknown"


def test_repository_of_a_running_hook_is_not_taken(sources, tmp_path):
    first = commit(sources)
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").write_text("")
    commit(other)
    assert revision(sources, GIT_DIR=str(other / ".git"), GIT_WORK_TREE=str(other)) == first


def test_copy_without_git_is_a_version_that_may_be_changed(sources):
    assert revision(sources) == f"v{VERSION}-unknown"


def test_checkout_without_the_program_git_is_a_version_that_may_be_changed(sources):
    commit(sources)
    assert revision(sources, PATH="") == f"v{VERSION}-unknown"


class Distribution:
    """An installed distribution, as far as the revision asks."""

    version = "7.8.9"

    def __init__(self, origin):
        self.origin = origin

    def read_text(self, name):
        assert name == "direct_url.json"
        return self.origin


@pytest.mark.parametrize(("origin", "expected"), [
    (None, "v7.8.9"),
    (json.dumps({"url": "file:///sources", "dir_info": {}}), "v7.8.9"),
    (json.dumps({"url": "https://host/sterna", "vcs_info": {"vcs": "git", "commit_id": "0123456789abcdef"}}),
     "0123456789ab"),
])
def test_installed_package_is_the_commit_that_was_fetched_or_its_version(tmp_path, monkeypatch, origin, expected):
    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: {"sterna": Distribution(origin)}[name])
    assert provenance.revision() == expected


def test_package_that_is_not_installed_is_said_to_be_missing():
    assert provenance.tool_versions("no-such-package")["no-such-package"] == "missing"
