"""Copies of a checkout in which mutants are tried; the checkout itself is never touched."""

import compileall
import hashlib
import os
import pathlib
import py_compile
import shutil
import subprocess
from collections.abc import Sequence

from support.errors import InputError, ToolchainError

__all__ = ["copy_files", "digest_of", "precompile", "tracked_files"]


def tracked_files(root: pathlib.Path) -> list[str]:
    """Return the files of the checkout ``root`` that git knows and that are there, from its top.

    Raises
    ------
    :exc:`InputError`
        If ``root`` is not the top of a checkout.
    :exc:`ToolchainError`
        If git is not installed.
    """
    # In a hook, git's variables name the repository that the hook belongs to.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached"]
    try:
        done = subprocess.run(command, capture_output=True, check=False, env=environment)
    except FileNotFoundError:
        raise ToolchainError("git is not installed: apt install git") from None
    if done.returncode or not (root / ".git").exists():
        raise InputError(f"{root}: tree must be the top of a git checkout: give another one with --tree")
    names = sorted(set(map(os.fsdecode, done.stdout.split(b"\0"))) - {""})
    return [name for name in names if (root / name).is_file()]


def copy_files(root: pathlib.Path, files: Sequence[str], folder: pathlib.Path) -> None:
    """Copy files of ``root`` to the same places below ``folder``."""
    for name in files:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target, follow_symlinks=False)


def precompile(folder: pathlib.Path) -> None:
    """Compile the modules in the folders of ``folder`` but ``tests``, under a hash of their text.

    By its habit, Python takes a compiled module for that of a source of the same size and second, which a mutant may
    have.
    """
    for package in folder.iterdir():
        # pytest compiles tests in its own way.
        if package.is_dir() and package.name != "tests":
            compileall.compile_dir(package, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)


def digest_of(folder: pathlib.Path, files: Sequence[str]) -> str:
    """Hash of the names and contents of files, but for pages and this package's: 16 hexadecimal digits.

    What is written of results must not make them those of another tree.
    """
    total = hashlib.sha256()
    for name in files:
        if name.endswith(".md") or name.startswith("benchmarks/mutation/"):
            continue
        content = (folder / name).read_bytes()
        total.update(f"{name}\0{len(content)}\0".encode() + content)
    return total.hexdigest()[:16]
