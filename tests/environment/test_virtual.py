"""The virtual environment: made once, made anew after an interruption, and PyTorch from where it can be had."""

import json
import subprocess
import sys

import pytest

from environment import virtual
from environment.virtual import EnvironmentProblem, PackageSet, TorchBuild


class Commands:
    """Stands for every command: answers by the words in it, and remembers."""

    def __init__(self, folder):
        self.folder, self.ran, self.failing = folder, [], []

    def __call__(self, command, silent=False):
        words = " ".join(map(str, command))
        self.ran.append(words)
        if any(part in words for part in self.failing):
            return False
        if " -m venv " in words:
            for name in ("bin", "include"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            (self.folder / "pyvenv.cfg").write_text("home = /usr/bin\n")
            (self.folder / "bin" / "python").write_text(f"#!/bin/sh\ncat <<'END'\n{sys.version}\nEND\n")
            (self.folder / "bin" / "python").chmod(0o755)
            for name in ("sterna-unfinished", "sterna-test", "sterna-bitstream"):
                (self.folder / name).unlink(missing_ok=True)
        return True

    def taken(self):
        """Commands since the last question."""
        ran, self.ran = self.ran, []
        return ran


@pytest.fixture
def commands(tmp_path, monkeypatch):
    made = Commands(tmp_path / "venv")
    monkeypatch.setattr(virtual, "_run", made)
    return made


@pytest.fixture
def installed(monkeypatch):
    """Sets of packages that were installed."""
    sets = []
    monkeypatch.setattr(virtual, "_install", lambda packages, folder, torch: sets.append(packages))
    return sets


def test_an_environment_is_made_once(commands, installed):
    assert virtual.prepare(PackageSet.BITSTREAM, commands.folder) is True
    assert [words.split(" -m ")[1] for words in commands.taken()] == [f"venv --clear {commands.folder}"]
    assert virtual.prepare(PackageSet.BITSTREAM, commands.folder) is False
    # Another set is added to what is there.
    assert virtual.prepare(PackageSet.TEST, commands.folder) is True
    assert commands.taken() == []
    assert installed == [PackageSet.BITSTREAM, PackageSet.TEST]


def test_other_locks_are_installed_into_what_is_there(commands, installed, monkeypatch):
    virtual.prepare(PackageSet.TEST, commands.folder)
    commands.taken()
    monkeypatch.setattr(virtual, "stamp_key", lambda packages: "changed")
    assert virtual.prepare(PackageSet.TEST, commands.folder) is True
    assert virtual.prepare(PackageSet.TEST, commands.folder) is False
    assert commands.taken() == []
    assert len(installed) == 2


def test_an_interrupted_installation_is_begun_anew(commands, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(virtual, "_install", interrupted)
        with pytest.raises(KeyboardInterrupt):
            virtual.prepare(PackageSet.TEST, commands.folder)
    commands.taken()
    monkeypatch.setattr(virtual, "_install", lambda *arguments: None)
    assert virtual.prepare(PackageSet.TEST, commands.folder) is True
    assert len(commands.taken()) == 1, "made anew"
    assert virtual.prepare(PackageSet.TEST, commands.folder) is False


@pytest.mark.parametrize("text", ["echo 3.10.1 another", "exit 1", None])
def test_an_environment_of_another_or_a_broken_python_is_made_anew(commands, installed, text):
    virtual.prepare(PackageSet.TEST, commands.folder)
    commands.taken()
    if text is None:
        (commands.folder / "bin" / "python").unlink()
    else:
        (commands.folder / "bin" / "python").write_text(f"#!/bin/sh\n{text}\n")
    assert virtual.prepare(PackageSet.TEST, commands.folder) is True
    assert len(commands.taken()) == 1


def test_a_folder_of_somebody_is_left_alone(commands, installed):
    commands.folder.mkdir()
    (commands.folder / "thesis.tex").write_text("years of work")
    with pytest.raises(EnvironmentProblem) as caught:
        virtual.prepare(PackageSet.TEST, commands.folder)
    assert str(caught.value) == f"{commands.folder} must be a virtual environment, not a folder with 'thesis.tex'"
    assert (commands.taken(), installed) == ([], [])
    assert [path.name for path in commands.folder.iterdir()] == ["thesis.tex"]


def test_a_python_without_venv_is_one_line(commands, installed):
    commands.failing = [" -m venv "]
    with pytest.raises(EnvironmentProblem, match=r"^\S+ cannot make a virtual environment in \S+$"):
        virtual.prepare(PackageSet.TEST, commands.folder)


VERSION = virtual._locked_torch()
QUERY, LOCAL, INDEX, PLAIN = "m.version('torch')", f"torch=={VERSION}+cpu", "--index-url", f"install torch=={VERSION}"


def sources(commands, build):
    """Where PyTorch was looked for, in order."""
    virtual._install_torch(commands.folder, build)
    return [next(part for part in (INDEX, QUERY, LOCAL, PLAIN) if part in words) for words in commands.taken()]


def reported(monkeypatch, names, code=0):
    """Let pip say which packages the ordinary build of PyTorch would bring."""
    content = json.dumps({"install": [{"metadata": {"name": name}} for name in names]})
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, code, content))


@pytest.mark.parametrize(("build", "failing", "expected"), [
    (TorchBuild.CPU, [], [QUERY]),
    (TorchBuild.CPU, [QUERY], [QUERY, LOCAL]),
    (TorchBuild.CUDA, [QUERY], [QUERY, PLAIN]),
])
def test_pytorch_comes_from_where_it_is_nearest(commands, build, failing, expected):
    commands.failing = failing
    assert sources(commands, build) == expected


def test_pytorch_of_a_processor_comes_from_its_index_or_is_the_ordinary_one(commands, monkeypatch):
    commands.failing = [QUERY, f"--no-deps {LOCAL}"]
    reported(monkeypatch, ["torch", "sympy"])
    assert sources(commands, TorchBuild.CPU) == [QUERY, LOCAL, INDEX, PLAIN]
    reported(monkeypatch, ["torch", "nvidia-cublas", "triton", "cuda-toolkit"])
    with pytest.raises(EnvironmentProblem) as caught:
        virtual._install_torch(commands.folder, TorchBuild.CPU)
    assert str(caught.value) == (
        f"no CPU build of torch {VERSION} could be had from {virtual._TORCH_INDEX}, and the ordinary one brings 3 CUDA "
        f"packages, several gigabytes: repeat when that index can be reached, or put a wheel into a folder and repeat "
        f"with PIP_FIND_LINKS=FOLDER, or accept CUDA with 'make test TORCH=cuda'")
    reported(monkeypatch, [], code=1)
    with pytest.raises(EnvironmentProblem, match=r"^torch \S+ cannot be had: pip found neither a CPU build nor another "
                                                 r"one$"):
        virtual._install_torch(commands.folder, TorchBuild.CPU)


@pytest.mark.parametrize(("failing", "message"), [
    (" -r ", "pip could not install the locked packages: repeat when the index can be reached"),
    (" --editable ", "pip could not install this project"),
])
def test_what_pip_cannot_install_is_one_line(commands, failing, message):
    commands.failing = [failing]
    with pytest.raises(EnvironmentProblem, match=f"^{message}$"):
        virtual._install(PackageSet.BITSTREAM, commands.folder, TorchBuild.CPU)


@pytest.mark.parametrize("packages", PackageSet)
def test_locked_packages_alone_are_installed_and_must_satisfy_each_other(commands, monkeypatch, packages):
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, ""))
    virtual._install(packages, commands.folder, TorchBuild.CPU)
    locks, project = commands.taken()[-2:]
    assert [words for words in locks.split() if words.endswith(".txt")] == [str(lock) for lock in packages.locks]
    assert "--no-deps" in locks
    assert "--no-deps --no-build-isolation --editable" in project
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, "a needs b\n"))
    with pytest.raises(EnvironmentProblem, match=r"^the lock files must satisfy every package, not 'a needs b'$"):
        virtual._install(packages, commands.folder, TorchBuild.CPU)


def test_what_is_never_imported_may_be_missing(commands, monkeypatch):
    said = "spikingjelly 2.0.0 requires torchvision, which is not installed.\n"
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, said))
    virtual._install(PackageSet.TEST, commands.folder, TorchBuild.CPU)
    said += "tonic 1.7.0 requires torchvision, which is not installed.\n"
    with pytest.raises(EnvironmentProblem, match=r"not 'tonic 1.7.0 requires torchvision, which is not installed.'$"):
        virtual._install(PackageSet.TEST, commands.folder, TorchBuild.CPU)
