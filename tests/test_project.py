"""Rules that hold for the repository as a whole: who imports whom, what is exported, what ships."""

import ast
import importlib
import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

from arch import network_file
from arch.checkpoint import Checkpoint
from environment import virtual
from train.catalogue import shipped_recipes
from train.recipe import load_recipe

ROOT = pathlib.Path(__file__).resolve().parent.parent

#: What modules of each folder may import of this project beside their own folder (docs/decisions/0006). The longest
#: prefix of a module's name decides. Nothing imports tests; support knows nobody.
ALLOWED = {
    "support": set(),
    "models": set(),
    "environment": set(),
    "arch": {"support"},
    "arch.flash": {"arch", "support"},
    "arch.ttfs": {"arch", "support"},
    "reference": {"arch", "support"},
    "boards": {"arch", "support"},
    "firmware": {"arch", "boards", "reference", "support"},
    "firmware.demo": {"arch", "firmware", "models", "reference", "support"},
    "train": {"arch", "support"},
    "train.deploy": {"arch", "boards", "gateware.check", "support", "train"},
    "train.sources": {"arch", "export.sources", "support", "train"},
    "gateware": {"arch", "boards", "support"},
    "gateware.check": {"arch", "boards", "gateware.engine", "gateware.flash", "gateware.mapper", "gateware.reports",
                       "gateware.streamed_top", "support"},
    "gateware.embedded": {"arch", "gateware.engine", "gateware.source", "support"},
    "gateware.engine": {"arch", "support"},
    "gateware.flash": {"arch", "gateware.engine", "support"},
    "gateware.link": {"arch", "gateware.engine", "support"},
    "gateware.mapper": {"arch", "boards", "gateware.engine", "gateware.flash", "support"},
    "gateware.reports": {"arch", "boards", "gateware.engine", "gateware.mapper", "gateware.system", "support"},
    "gateware.source": {"arch", "gateware.engine", "support"},
    "gateware.swap": {"arch", "boards", "gateware.engine", "gateware.mapper", "gateware.reports",
                      "gateware.source", "support"},
    "gateware.system": {"arch", "gateware.engine", "gateware.link", "gateware.source", "support"},
    "gateware.verilog": {"arch", "gateware.embedded", "gateware.engine", "gateware.mapper", "gateware.source",
                         "support"},
    "gateware.build": {"arch", "boards", "gateware", "models", "reference", "sim", "support"},
    "sim": {"arch", "boards", "firmware", "gateware", "reference", "support"},
    "sim.board": {"arch", "boards", "firmware", "gateware", "models", "reference", "sim", "support"},
    "export": {"arch", "boards", "reference", "support"},
    "export.flash": {"arch", "boards", "export", "gateware.mapper", "gateware.reports", "support"},
    "export.into": {"arch", "boards", "export", "gateware.mapper", "gateware.reports", "gateware.swap", "support"},
    "export.ttfs": {"arch", "export", "reference", "support"},
    "benchmarks": {"arch", "boards", "export", "firmware", "gateware", "models", "reference", "sim", "support",
                   "train"},
}
#: What no module may import though its folder may be: the flow is the top, and only benchmarks stand above it.
TOPS = ("gateware.build", "gateware.verilog", "benchmarks")

#: Who may import what is heavy; the rest must run without it.
HEAVY = {
    "torch": {"benchmarks", "train"},
    "jinja2": {"gateware"},
    "matplotlib": {"gateware", "train"},
    "distributed": {"gateware"},
    "optuna": {"gateware"},
    "tqdm": {"train"},
    "tonic": {"train"},
    "h5py": {"export"},
    "snntorch": set(),
    "spikingjelly": set(),
    "amaranth": {"boards", "gateware", "sim"},
    "amaranth_boards": {"boards"},
    "cocotb": set(),
    "serial": {"firmware"},
    "flask": {"firmware"},
    "werkzeug": {"firmware"},
    "playwright": set(),
}

PACKAGES = sorted({name.partition(".")[0] for name in ALLOWED})
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


EVERY_MODULE = {module_of(path) for path in SOURCES}
MODULES = [module_of(path) for path in SOURCES if path.name != "__main__.py"]


def imported(path):
    """Modules of this project, and top-level names of others, that a file imports, each with its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports must be absolute"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in EVERY_MODULE else node.module, node.lineno


def within(name, folder):
    """Whether the module ``name`` is the folder or in it."""
    return name == folder or name.startswith(f"{folder}.")


def folder_of(name):
    """The folder whose rule a module obeys."""
    return max((folder for folder in ALLOWED if within(name, folder)), key=len)


def test_every_package_is_listed():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == set(PACKAGES) - {"environment"} | {"tests"}
    inner = {".".join(path.parent.relative_to(ROOT).parts) for package in packages
             for path in (ROOT / package).rglob("*/__init__.py")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["tool"]["setuptools"]["packages"]) == {
        package for package in packages | inner if package.partition(".")[0] != "tests"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_one_way(path):
    folder = folder_of(module_of(path))
    package = folder.partition(".")[0]
    for name, line in imported(path):
        where = f"{path.relative_to(ROOT)}:{line}"
        top = name.partition(".")[0]
        if top in PACKAGES or top == "tests":
            assert any(within(name, other) for other in ALLOWED[folder] | {folder}), f"{where}: {folder} imports {name}"
            assert folder in TOPS or not any(within(name, flow) for flow in TOPS), f"{where}: {folder} imports {name}"
        if top in HEAVY:
            assert package in HEAVY[top], f"{where}: {package} must not import {top}"


def circle_of(arrows):
    """Modules of a circle in the order of their imports, the first one again at its end; None if there is none."""
    done, path = set(), []

    def follow(name):
        if name in path:
            return [*path[path.index(name):], name]
        if name in done:
            return None
        path.append(name)
        found = next(filter(None, map(follow, sorted(arrows.get(name, ())))), None)
        path.pop()
        done.add(name)
        return found

    return next(filter(None, map(follow, sorted(arrows))), None)


def test_circles_are_found():
    assert circle_of({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None
    assert circle_of({"a": {"b"}, "b": {"c", "d"}, "d": {"b"}}) == ["b", "d", "b"]


def test_no_modules_import_each_other_in_a_circle():
    """All imports count: those inside functions and those for type checkers too."""
    arrows = {module_of(path): {name for name, _ in imported(path) if name in EVERY_MODULE} for path in SOURCES}
    circle = circle_of(arrows)
    assert circle is None, " imports ".join(circle)


@pytest.mark.parametrize("name", MODULES)
def test_every_exported_name_exists(name):
    module = importlib.import_module(name)
    names = getattr(module, "__all__", None)
    if module.__file__.endswith("__init__.py") and names is None:
        return
    assert names is not None, f"{name} must have __all__"
    assert list(names) == sorted(set(names), key=list(names).index), f"{name}.__all__ must not repeat a name"
    assert [entry for entry in names if not hasattr(module, entry)] == []


@pytest.mark.parametrize("package", ["torch", "cocotb", "flask", "tonic"])
def test_bitstream_runs_without_the_test_set(package):
    # A fresh interpreter in which the package cannot be imported, as in the environment of `make bitstream`.
    program = f"import sys; sys.modules[{package!r}] = None; import gateware.build.command"
    program += "; import sim.command, firmware.host.command"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_bridges_run_without_torch():
    """They look at modules that somebody else has imported; reading graphs must not need PyTorch."""
    program = "import sys; sys.modules |= dict.fromkeys(['torch', 'snntorch', 'spikingjelly'])"
    program += "; import export.command, export.sources.snntorch, export.sources.spikingjelly"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_training_on_images_runs_without_tonic():
    program = "import sys; sys.modules['tonic'] = None; import train.session, train.command"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_recipe_loads(name):
    assert load_recipe(name).name == name


@pytest.mark.parametrize("path", sorted((ROOT / "models").glob("*.safetensors")), ids=lambda path: path.name)
def test_every_model_loads(path):
    if path.name.endswith(".checkpoint.safetensors"):
        Checkpoint.load(path)
    else:
        network_file.load(path)


def test_no_file_has_a_forbidden_name():
    names = {path.name for path in ROOT.rglob("*.py") if ".venv" not in path.parts}
    assert not names & {"utils.py", "util.py", "common.py", "misc.py", "helpers.py"}


def normal(name):
    """Name of a distribution, as the index compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(packages, python=None):
    """Locked versions by name; only those that are installed on one Python, if it is named."""
    locked = {}
    for lock in packages.locks:
        for line in lock.read_text().splitlines():
            if line and not line.startswith("#"):
                name, version, since = re.fullmatch(
                    r'([^\s;]+)==([^\s;]+)(?:; python_version >= "3\.(\d+)")?', line).groups()
                assert normal(name) not in locked, "a package must be locked once"
                if python is None or since is None or int(python.removeprefix("3.")) >= int(since):
                    locked[normal(name)] = version
    return locked


def supported():
    """Versions of Python that the project names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [entry.rpartition(" ")[2] for entry in project["classifiers"] if "Python :: 3." in entry]


@pytest.mark.parametrize("packages", virtual.PackageSet)
@pytest.mark.parametrize("python", supported())
def test_locks_have_all_that_packages_ask_for(python, packages):
    locked = pins(packages, python)
    environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    asked = {(name, normal(wanted.name)) for name in locked for wanted in requirements(name)
             if wanted.marker is None or wanted.marker.evaluate(environment)}
    assert len(asked) > len(locked) / 2
    # What the build of PyTorch with CUDA asks for is pip's choice; what is never imported is left out on purpose.
    assert {(name, wanted) for name, wanted in asked if wanted not in locked and not re.match(
        "nvidia|cuda|triton", wanted)} == {(name, wanted) for name, others in virtual.NEVER_IMPORTED.items()
                                           if name in locked for wanted in others}


def requirements(name):
    """What an installed distribution asks for; nothing of one that another Python needs."""
    try:
        return [Requirement(text) for text in importlib.metadata.requires(name) or []]
    except importlib.metadata.PackageNotFoundError:
        return []


def test_locks_pin_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for packages, wanted in [
        (virtual.PackageSet.BITSTREAM, project["dependencies"]),
        (virtual.PackageSet.TEST, [entry for extra in project["optional-dependencies"].values() for entry in extra]),
    ]:
        locked = pins(packages)
        for requirement in wanted:
            name, _, exact = re.match(r"([\w.-]+)(==)?(\S*)", requirement).groups()
            assert name in locked
            if "==" in requirement:
                assert locked[name] == exact


def test_bitstream_set_has_neither_torch_nor_cocotb():
    assert not {"torch", "cocotb", "pytest", "tonic"} & set(pins(virtual.PackageSet.BITSTREAM))


def test_stamp_depends_on_the_set():
    keys = {virtual.stamp_key(packages) for packages in virtual.PackageSet}
    assert len(keys) == len(virtual.PackageSet)
    assert virtual.stamp_key(virtual.PackageSet.TEST) in keys


def test_folder_that_is_a_file_is_one_line(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("keep me")
    assert virtual.main(["bitstream", "--folder", f"{tmp_path}/notes.txt"]) == 3
    assert capsys.readouterr().err == f"ERROR: {tmp_path}/notes.txt must be a folder, not a file\n"
    assert (tmp_path / "notes.txt").read_text() == "keep me"


@pytest.mark.parametrize(("error", "code", "line"), [
    (OSError(28, "No space left on device", "/venv/bin/python"), 3, "/venv/bin/python: No space left on device"),
    (KeyboardInterrupt(), 130, "interrupted; the next call starts over"),
])
def test_failures_of_the_environment_are_one_line(error, code, line, monkeypatch, tmp_path, capsys):
    def failing(*_):
        raise error
    monkeypatch.setattr(virtual, "prepare", failing)
    assert virtual.main(["bitstream", "--folder", str(tmp_path)]) == code
    assert capsys.readouterr().err == f"ERROR: {line}\n"


def test_folder_of_somebody_is_not_cleared(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    message = f"{tmp_path} must be a virtual environment, not a folder with 'thesis.tex'"
    with pytest.raises(virtual.EnvironmentProblem, match=f"^{re.escape(message)}$"):
        virtual.prepare(virtual.PackageSet.BITSTREAM, tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_workflows_are_right(tmp_path):
    folders = [str(pathlib.Path(sys.executable).parent), os.environ["PATH"]]
    actionlint = shutil.which("actionlint", path=os.pathsep.join(folders))
    if actionlint is None:
        # Not in the locks: its package on the index has no wheels and fetches the program from elsewhere. The workflow
        # runs it on itself.
        pytest.skip("actionlint is not installed")
    # Copied, because it looks for a repository around the files.
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    files = sorted((tmp_path / ".github" / "workflows").iterdir())
    done = subprocess.run([actionlint, *files], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_workflow_runs_every_supported_python():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = supported()
    workflow = (ROOT / ".github" / "workflows" / "regression.yml").read_text()
    assert re.findall(r'python: "(3\.\d+)"', workflow) == named
    assert project["requires-python"] == f">={named[0]}"
    listed = " or ".join([", ".join(named[:-1]), named[-1]])
    assert f"Python {listed}" in (ROOT / "CONTRIBUTING.md").read_text()
