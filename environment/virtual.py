"""Make the virtual environment, or bring it up to date with the lock files beside this file.

Runs before any dependency is installed, so it uses nothing but the standard library. Two sets exist: ``bitstream``,
which has what `python -m gateware.build` needs, and ``test``, which adds PyTorch, cocotb and the checkers. Every
package has its exact version in ``bitstream.txt`` or ``test.txt``; pip resolves nothing.

A stamp in the environment holds the hash of what was installed, so that a repeated call takes a fraction of a second.
An installation that was interrupted leaves another mark, and the next call starts over: pip takes a half-copied
package for an installed one.

PyTorch is the exception: its build without CUDA is no ordinary release. The lock's version is looked for with the local
label ``+cpu``, first where pip looks anyway, then on PyTorch's own index; a build that would bring gigabytes of CUDA is
taken only with ``--torch cuda``.
"""

import argparse
import contextlib
import enum
import fcntl
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence

__all__ = ["NEVER_IMPORTED", "EnvironmentProblem", "PackageSet", "TorchBuild", "create_parser", "main", "prepare",
           "stamp_key", "unmet_of"]

_HERE = pathlib.Path(__file__).resolve().parent
_ROOT = _HERE.parent
_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
#: What a locked package asks for, and what of it is used here never imports; its tests run without.
NEVER_IMPORTED = {"spikingjelly": frozenset({"torchvision", "torchaudio", "tensorboard", "scienceplots"})}
#: What ``python -m venv`` makes: a folder that holds more is somebody's, and is not cleared.
_VENV_ENTRIES = frozenset({"bin", "include", "lib", "lib64", "share", "pyvenv.cfg", ".gitignore"})


class EnvironmentProblem(Exception):
    """The environment cannot be made."""


class PackageSet(enum.Enum):
    """Which packages are installed; the second set includes the first."""

    BITSTREAM = "bitstream"
    TEST = "test"

    @property
    def locks(self) -> list[pathlib.Path]:
        """Lock files of the set."""
        names = ["bitstream.txt"] if self is PackageSet.BITSTREAM else ["bitstream.txt", "test.txt"]
        return [_HERE / name for name in names]


class TorchBuild(enum.Enum):
    """Which build of PyTorch may be installed."""

    CPU = "cpu"
    CUDA = "cuda"


def _interpreter() -> str:
    """Python outside of any virtual environment: one that is active may be the one to be replaced."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def stamp_key(packages: PackageSet) -> str:
    """Hash of all that decides what is installed: locks, pyproject.toml, this file, interpreter and place."""
    digest = hashlib.sha256()
    for path in [*packages.locks, _ROOT / "pyproject.toml", pathlib.Path(__file__)]:
        digest.update(path.read_bytes() + b"\0")
    digest.update(f"{sys.version} {os.path.realpath(_interpreter())} {_ROOT}".encode())
    return digest.hexdigest()


def _run(command: Sequence[str | pathlib.Path], silent: bool = False) -> bool:
    """Run a command; return whether it succeeded."""
    errors = subprocess.DEVNULL if silent else None
    return subprocess.run([str(word) for word in command], stderr=errors, check=False).returncode == 0


def _pip(folder: pathlib.Path, *arguments: str | pathlib.Path) -> list[str | pathlib.Path]:
    """Command of pip, which shows its progress to a person and only errors in a log."""
    quiet = [] if sys.stdout.isatty() else ["-qq"]
    return [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--no-input", *quiet, *arguments]


def _create(folder: pathlib.Path) -> None:
    if folder.exists():
        if not folder.is_dir():
            raise EnvironmentProblem(f"{folder} must be a folder, not a file")
        strangers = {path.name for path in folder.iterdir() if not path.name.startswith("sterna-")} - _VENV_ENTRIES
        if strangers:
            raise EnvironmentProblem(f"{folder} must be a virtual environment, not a folder with {min(strangers)!r}")
    if not _run([_interpreter(), "-m", "venv", "--clear", folder]):
        raise EnvironmentProblem(f"{_interpreter()} cannot make a virtual environment in {folder}")


def _is_complete(folder: pathlib.Path) -> bool:
    """Whether the folder holds an environment of this Python in which no installation was interrupted."""
    if (folder / "sterna-unfinished").exists() or not (folder / "pyvenv.cfg").exists():
        return False
    query = "import pip, sys; print(sys.version)"
    try:
        done = subprocess.run([folder / "bin" / "python", "-c", query], capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.stdout.strip() == sys.version.strip()


def _locked_torch() -> str:
    match = re.search(r"^torch==(\S+)", (_HERE / "test.txt").read_text(), re.MULTILINE)
    assert match is not None, "test.txt pins torch"
    return match[1]


def _cuda_packages(folder: pathlib.Path, version: str) -> list[str]:
    """CUDA packages that the index's ordinary build of PyTorch asks for, found without downloading it."""
    done = subprocess.run(
        [str(word) for word in _pip(folder, "-qq", "install", "--dry-run", "--report", "-", f"torch=={version}")],
        stdout=subprocess.PIPE, text=True, check=False)  # fmt: skip
    if done.returncode:
        raise EnvironmentProblem(f"torch {version} cannot be had: pip found neither a CPU build nor another one")
    names = (item["metadata"]["name"] for item in json.loads(done.stdout)["install"])
    return sorted(name for name in names if re.match(r"(nvidia|cuda|triton)", name))


def _install_torch(folder: pathlib.Path, build: TorchBuild) -> None:
    version = _locked_torch()
    query = f"import importlib.metadata as m, sys; sys.exit(m.version('torch').partition('+')[0] != {version!r})"
    if _run([folder / "bin" / "python", "-c", query], silent=True):
        return
    if build is TorchBuild.CPU:
        wanted = f"torch=={version}+cpu"
        install = _pip(folder, "install", "--no-deps", wanted)
        # Where pip looks anyway, a wheel may lie at hand; it says nothing where none does, which is the usual case.
        if _run(install, silent=True):
            return
        if _run([*install, "--index-url", _TORCH_INDEX, "--timeout", "15", "--retries", "1"]):
            return
        cuda = _cuda_packages(folder, version)
        if cuda:
            raise EnvironmentProblem(
                f"no CPU build of torch {version} could be had from {_TORCH_INDEX}, and the ordinary one brings"
                f" {len(cuda)} CUDA packages, several gigabytes: repeat when that index can be reached, or put a wheel"
                " into a folder and repeat with PIP_FIND_LINKS=FOLDER, or accept CUDA with 'make test TORCH=cuda'")
    if not _run(_pip(folder, "install", f"torch=={version}")):
        raise EnvironmentProblem(f"pip could not install torch {version}")


def _install(packages: PackageSet, folder: pathlib.Path, torch: TorchBuild) -> None:
    if packages is PackageSet.TEST:
        _install_torch(folder, torch)
    locks = [word for lock in packages.locks for word in ("-r", lock)]
    if not _run(_pip(folder, "install", "--no-deps", *locks)):
        raise EnvironmentProblem("pip could not install the locked packages: repeat when the index can be reached")
    # The lock has setuptools too: without isolation nothing but the lock decides what runs.
    if not _run(_pip(folder, "install", "--no-deps", "--no-build-isolation", "--editable", _ROOT)):
        raise EnvironmentProblem("pip could not install this project")
    if packages is PackageSet.TEST and torch is TorchBuild.CUDA:
        return  # its CUDA packages are pip's choice, not the lock's
    check = subprocess.run(
        [folder / "bin" / "python", "-m", "pip", "check"], capture_output=True, text=True, check=False)  # fmt: skip
    unmet = unmet_of(check.stdout)
    if check.returncode and (unmet or not check.stdout.strip()):
        raise EnvironmentProblem(f"the lock files must satisfy every package, not {unmet!r}")


def unmet_of(said: str) -> str:
    """Return what ``pip check`` said, without the lines about what is never imported."""
    return "\n".join(line for line in said.strip().splitlines() if not any(
        line.startswith(f"{name} ") and line.endswith(f" requires {wanted}, which is not installed.")
        for name, packages in NEVER_IMPORTED.items() for wanted in packages))


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Let two calls wait for each other, as in ``make -j bitstream test``."""
    with pathlib.Path(__file__).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def prepare(packages: PackageSet, folder: pathlib.Path, torch: TorchBuild = TorchBuild.CPU) -> bool:
    """Make or update the environment in ``folder``; return whether there was anything to do."""
    key = stamp_key(packages)
    stamp = folder / f"sterna-{packages.value}"
    with _locked():
        complete = _is_complete(folder)
        if complete and stamp.exists() and stamp.read_text() == key:
            return False
        if not complete:
            _create(folder)
        unfinished = folder / "sterna-unfinished"
        unfinished.touch()
        print(f"installing what `make {packages.value}` needs into {folder}: a few minutes the first time", flush=True)
        _install(packages, folder, torch)
        stamp.write_text(key)
        unfinished.unlink()
    return True


def create_parser() -> argparse.ArgumentParser:
    """Command line of this tool."""
    parser = argparse.ArgumentParser(description="make the virtual environment, or bring it up to date")
    parser.add_argument("packages", type=PackageSet, metavar="SET",
                        help="install SET: bitstream, or test, which includes it")  # fmt: skip
    parser.add_argument("--folder", type=pathlib.Path, default=_ROOT / ".venv", metavar="DIR",
                        help="make the environment in DIR (default: .venv beside the Makefile)")  # fmt: skip
    parser.add_argument("--torch", type=TorchBuild, default=TorchBuild.CPU, metavar="BUILD",
                        help="take PyTorch's BUILD: cpu or cuda (default: cpu)")  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; return its exit code."""
    arguments = create_parser().parse_args(argv)
    try:
        if prepare(arguments.packages, arguments.folder.absolute(), arguments.torch):
            print(f"virtual environment is ready: {arguments.folder}")
    except EnvironmentProblem as problem:
        print(f"ERROR: {problem}", file=sys.stderr)
        return 3
    except OSError as error:
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        print(f"ERROR: {where}{error.strerror or error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("ERROR: interrupted; the next call starts over", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
