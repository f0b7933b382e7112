"""The installed package: a wheel of these sources runs every command, from an empty folder."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
#: Folders that are installed.
FOLDERS = sorted({name.partition(".")[0] for name in PROJECT["tool"]["setuptools"]["packages"]})


def execute(*command, cwd, **environment):
    """Run a command to its end; return the process."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False,
                          env={**clean, **environment})


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built of a copy of the sources: setuptools leaves its own folders beside what it packs."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    sources.mkdir()
    for name in FOLDERS:
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, sources)
    done = execute(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder,
                   sources, cwd=folder)
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Python of a fresh environment with the wheel; what it depends on comes from the environment of the tests."""
    folder = tmp_path_factory.mktemp("environment")
    for command in [
        (sys.executable, "-m", "venv", "--without-pip", folder),
        (sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "-q", "--no-deps", "--no-index",
         wheel),
    ]:
        done = execute(*command, cwd=folder)
        assert done.returncode == 0, done.stderr
    (site,) = folder.glob("lib/python*/site-packages")
    # A path in a .pth file is searched last, and .pth files in it are not read: no editable install comes with it.
    (site / "dependencies.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    return folder / "bin" / "python"


@pytest.fixture
def run(installed, tmp_path):
    """Run ``python -m ARGUMENTS`` of the fresh environment in an empty folder; {models} is where networks ship."""
    models = next(installed.parent.parent.glob("lib/python*/site-packages")) / "models"

    def command(line):
        words = [word.format(models=models) for word in line.split()]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return execute(installed, "-m", *words, cwd=tmp_path, PATH=path)

    return command


def test_wheel_has_every_file_of_the_packages(wheel):
    wanted = {path.relative_to(ROOT).as_posix() for name in FOLDERS for path in (ROOT / name).rglob("*")
              if path.is_file() and "__pycache__" not in path.parts}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == wanted


def test_wheel_has_the_licences(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for licence in PROJECT["project"]["license-files"]:
        assert any(name.endswith(f".dist-info/licenses/{licence}") for name in names), licence


@pytest.mark.parametrize(("line", "output"), [
    ("gateware.build --board icebreaker --dry-run", r"cycles per image +10961 "),
    ("gateware.build --board icebreaker --dry-run --network {models}/fashion-conv.safetensors",
     r"cycles per image +10961 "),
    ("gateware.build.explore --board icebreaker", r"mnist-conv +icebreaker +baked +8 x 16 +4 +48 +10,961 +0\.2284 "),
    ("gateware.verilog --network {models}/mnist-conv.safetensors --dry-run", r"clocks per inference +10,961, exact"),
    ("gateware.verilog --network {models}/mnist-conv.safetensors -o made", r"made/sterna\.v"),
    (("sim {models}/mnist-conv.safetensors --images {models}/samples/mnist-images.idx.gz "
      "--labels {models}/samples/mnist-labels.idx.gz"), r"100\.00 ?%"),
    ("export {models}/mnist-conv.checkpoint.safetensors -o network.safetensors", r"exact\W+yes"),
    ("firmware.host --help", r"usage: python -m firmware\.host"),
    ("firmware.demo --help", r"usage: python -m firmware\.demo"),
    ("export.ttfs --help", r"usage: python -m export\.ttfs"),
    ("benchmarks.epoch --help", r"usage: python -m benchmarks\.epoch"),
])
def test_command_runs_installed(run, line, output):
    done = run(line)
    assert done.returncode == 0, done.stderr
    assert re.search(output, done.stdout)


@pytest.mark.parametrize(("line", "error"), [
    ("train --recipe mnist-conv --data nowhere --dry-run", r"ERROR: nowhere\S*: .*"),
    ("train --recipe no-such --data nowhere", r"ERROR: recipe must be .*mnist-conv.* or a \.json file, not 'no-such'"),
    ("gateware.build.page nowhere", r"ERROR: nowhere/report\.json: must be the report\.json of a build, and is .*"),
    ("benchmarks.methods table nowhere", r"ERROR: nowhere: must hold folders with a benchmark.json.*"),
])
def test_command_refuses_installed_in_one_line(run, line, error):
    done = run(line)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(error + "\n", done.stderr)


@pytest.mark.parametrize(("line", "package", "extra"), [
    ("benchmarks.epoch", "torch", "train"), ("firmware.demo", "flask", "demo"), ("export graph.nir -q", "h5py", "nir"),
    ("gateware.build.page nowhere", "matplotlib", "report"), ("gateware.build.page nowhere", "jinja2", "report"),
])
def test_command_without_a_package_says_how_to_get_it(installed, tmp_path, line, package, extra):
    (tmp_path / "graph.nir").write_bytes(b"\x89HDF\r\n\x1a\n")
    # Found before the true one, as if there were none.
    (tmp_path / f"{package}.py").write_text(
        f"raise ModuleNotFoundError(\"No module named '{package}'\", name='{package}')\n")
    done = execute(installed, "-m", *line.split(), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (f"ERROR: {package} is not installed: it comes with Sterna's extra {extra}, as in pip "
                           f"install '.[{extra}]', and with make test\n")


def test_outputs_of_an_installed_package_name_its_version(run, tmp_path):
    done = run("export {models}/mnist-conv.checkpoint.safetensors -o network.safetensors")
    assert done.returncode == 0
    written = (tmp_path / "network.safetensors").read_bytes().decode("utf-8", errors="replace")
    assert f'\\"revision\\":\\"v{PROJECT["project"]["version"]}\\"' in written.replace(" ", "")


@pytest.mark.long
def test_wheel_brings_what_it_depends_on(wheel, tmp_path):
    """What ``pip install .`` gives a user: nothing of the tests' environment, and no PyTorch."""
    environment, folder = tmp_path / "environment", tmp_path / "empty"
    folder.mkdir()
    python = environment / "bin" / "python"
    for command in [(sys.executable, "-m", "venv", environment), (python, "-m", "pip", "install", "-q", wheel),
                    (python, "-m", "pip", "check")]:
        done = execute(*command, cwd=folder)
        assert done.returncode == 0, done.stderr
    (models,) = environment.glob("lib/python*/site-packages/models")
    samples = models / "samples"
    for line in [
        "gateware.build --board icebreaker --dry-run",
        (f"sim {models}/mnist-conv.safetensors --images {samples}/mnist-images.idx.gz "
         f"--labels {samples}/mnist-labels.idx.gz --engine both --spikes"),
        f"export {models}/mnist-conv.checkpoint.safetensors -o network.safetensors",
    ]:
        done = execute(python, "-m", *line.split(), cwd=folder)
        assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["network.safetensors"]
