"""Commands that are given damaged files: exit code 1 and one line, as whoever types them sees it."""

import dataclasses
import pathlib
import random
from collections.abc import Callable

import numpy as np
import pytest

import export.command
import export.ttfs.command
import sim.command
import train.command
from arch import network_file
from arch.network import Input, Network, Readout
from firmware.host import command as host
from firmware.host.ports import Port
from tests.arch.test_network_file import make_network
from tests.export.into.builds import make_build
from tests.firmware.host.test_accelerator import Device
from tests.fuzz import build_files, graph_files, image_files, network_files, training_files
from tests.fuzz.oracle import damaged, limited
from tests.image_files import idx

FILES = 30
SEED = 0xC0DE
KINDS = {kind.name: kind
         for module in (build_files, graph_files, image_files, network_files, training_files) for kind in module.KINDS}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A command that reads a kind of file."""

    kind: str
    #: Which valid file of the kind is damaged.
    sample: int = 0
    #: Runs the command on a damaged file; the folder holds what else it needs.
    run: Callable[[pathlib.Path, pathlib.Path], int]

    def __str__(self) -> str:
        return f"{self.kind}-{self.sample}"


def _simulate(path: pathlib.Path, folder: pathlib.Path) -> int:
    (folder / "images").write_bytes(idx(np.zeros((2, 6, 5), dtype=np.uint8)))
    return sim.command.main([str(path), "--images", str(folder / "images")])


def _simulate_flash(path: pathlib.Path, folder: pathlib.Path) -> int:
    # No image is of this network, so nothing is ever compiled.
    network_file.save(make_network(), folder / "network.safetensors")
    (folder / "images").write_bytes(idx(np.zeros((2, 6, 5), dtype=np.uint8)))
    return sim.command.main([str(folder / "network.safetensors"), "--images", str(folder / "images"), "--engine", "rtl",
                             "--flash", str(path)])


def _simulate_images(path: pathlib.Path, folder: pathlib.Path) -> int:
    small = Network(input=dataclasses.replace(make_network().input, height=4, width=5), timesteps=2,
                    layers=(Readout(weights=np.ones((2, 20), dtype=np.int8)),))
    assert isinstance(small.input, Input)
    network_file.save(small, folder / "small.safetensors")
    return sim.command.main([str(folder / "small.safetensors"), "--images", str(path)])


def _classify(path: pathlib.Path, folder: pathlib.Path) -> int:
    return host.main(["classify", str(path), "--port", "scripted"])


def _classify_labels(path: pathlib.Path, folder: pathlib.Path) -> int:
    (folder / "images").write_bytes(idx(np.zeros((4, 4, 5), dtype=np.uint8)))
    return host.main(["classify", str(folder / "images"), "--labels", str(path), "--port", "scripted"])


def _export(path: pathlib.Path, folder: pathlib.Path) -> int:
    return export.command.main([str(path), "-o", str(folder / "made.safetensors"), "--dry-run", "-q"])


def _export_ttfs(path: pathlib.Path, folder: pathlib.Path) -> int:
    return export.ttfs.command.main([str(path), "-o", str(folder / "made.safetensors"), "--verify-images", "2"])


def _into(name: str) -> Callable[[pathlib.Path, pathlib.Path], int]:
    """Put a network into a build whose file ``name`` is damaged."""
    def run(path: pathlib.Path, folder: pathlib.Path) -> int:
        build = folder / "build"
        if not build.exists():
            make_build(build)
        network_file.save(make_network(), folder / "network.safetensors")
        (build / name).write_bytes(path.read_bytes())
        return export.command.main([str(folder / "network.safetensors"), "--into", str(build), "-o",
                                    str(folder / "put"), "--dry-run", "-q"])
    return run


def _train(path: pathlib.Path, folder: pathlib.Path) -> int:
    return train.command.main(["--recipe", str(path), "--data", str(folder), "-o", str(folder / "made"), "--dry-run"])


CASES = [
    *(Case(kind="network", sample=sample, run=_simulate) for sample in range(3)),
    *(Case(kind="checkpoint", sample=sample, run=_export) for sample in range(2)),
    Case(kind="checkpoint-of-version-1", run=_export), Case(kind="nir-graph", run=_export),
    Case(kind="checkpoint-with-spike-times", run=_export_ttfs),
    Case(kind="flash-image", sample=1, run=_simulate_flash),
    Case(kind="idx", run=_simulate_images), Case(kind="npy", run=_classify), Case(kind="npz", run=_simulate_images),
    Case(kind="gzip", run=_classify), Case(kind="png", run=_classify),
    Case(kind="gzip", sample=2, run=_classify_labels),
    Case(kind="base", run=_into("base.zip")), Case(kind="report", run=_into("report.json")),
    Case(kind="recipe", run=_train),
]


@pytest.fixture(autouse=True)
def _scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "open_port", lambda name, baud: Port(
        transport=Device(), name=name, timeout=0.01, silence=0.01, alone=True, baud=3_000_000))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_command_says_one_line_of_a_damaged_file(case, tmp_path, capsys):
    kind = KINDS[case.kind]
    content = kind.samples(tmp_path)[case.sample].content
    path = tmp_path / f"damaged{kind.suffix}"
    path.write_bytes(content)
    refused = 0
    for number in range(FILES):
        path.write_bytes(damaged(random.Random(f"{SEED} {case} {number}"), kind, content)[0])
        capsys.readouterr()
        with limited():
            code = case.run(path, tmp_path)
        said = capsys.readouterr()
        # What a forger made valid may be computed.
        assert code in (0, 1), f"file {number}"
        assert said.err.splitlines(keepends=True) == [said.err] * code, f"file {number}"
        assert said.err.startswith("ERROR: " * code), f"file {number}"
        assert said.err.strip().isprintable(), f"file {number}"
        assert code == 0 or not said.out, f"file {number}"
        refused += code
    assert refused > FILES // 2
