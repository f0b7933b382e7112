"""Compiling the driver: the flags that it must pass, and what the tests make of it."""

import pathlib
import shutil
import subprocess

import pytest

SOURCES = pathlib.Path(__file__).parents[3] / "firmware" / "c"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic")
SANITIZED = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def compile_c(*arguments, compiler="gcc"):
    """Run a compiler with the strict flags; skip the test where it is not installed."""
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    done = subprocess.run([compiler, *STRICT, "-I", SOURCES, *map(str, arguments)], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
