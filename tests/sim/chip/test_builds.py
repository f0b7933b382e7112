"""What a folder must have to be simulated as a chip: each thing that is wrong has its line."""

import dataclasses
import hashlib
import re

import pytest

from arch import network_file
from boards import BOARDS
from gateware.flash.reader import FlashMode
from gateware.reports.archive import pack
from gateware.reports.folder import BASE, BITSTREAM, NETLIST, REPORT
from gateware.reports.network import Report
from sim.chip import builds
from sim.chip.engine import Rung, pins_of
from sim.sources import source_files
from support.errors import InputError
from tests.export.into.builds import make_build, network
from tests.gateware.reports.overlays import made_report

FIRST, SECOND = network(1, name="first"), network(2, name="second")
FILES = {"sterna.json": b'{"modules": {}}', "sterna.pcf": b"set_io clk 35\n"}


@pytest.fixture
def folder(tmp_path):
    """A build of the first network, with a netlist and a bitstream that nothing looks into."""
    path = tmp_path / "there"
    netlist = pack(FILES)
    make_build(path, FIRST, netlist_sha256=hashlib.sha256(netlist).hexdigest())
    (path / NETLIST).write_bytes(netlist)
    (path / BITSTREAM).write_bytes(b"bits")
    change(path, bitstream_sha256=hashlib.sha256(b"bits").hexdigest(), network_sha256=network_file.digest(FIRST))
    return path


def change(path, **values):
    report = Report.from_json((path / REPORT).read_bytes())
    (path / REPORT).write_bytes(dataclasses.replace(report, **values).to_json())


@pytest.fixture
def chips(monkeypatch):
    """What the engines are made of, in place of engines."""
    made = []
    monkeypatch.setattr(builds, "baked_chip", lambda filling, **options: made.append((filling, options)))
    monkeypatch.setattr(builds, "overlay_chip", lambda network, **options: made.append((network, options)))
    return made


def test_the_netlist_of_a_build_runs_every_network_of_its_circuit(folder, chips):
    for each in (FIRST, SECOND):
        _, circuit = builds.engine_of_build(Rung.NETLIST, each, folder, file="net")
        assert str(circuit) == "baked, weights in its memories, 2 x 4 x 4, iCEBreaker"
    (filling, options), (other, _) = chips
    assert [made.plan.network for made in (filling, other)] == [FIRST, SECOND]
    assert options == {"board": BOARDS["icebreaker"], "netlist": FILES, "bitstream": None, "divisor": 16}


def test_the_bitstream_runs_the_network_that_is_in_it(folder, chips):
    builds.engine_of_build(Rung.BITSTREAM, FIRST, folder, file="net")
    assert chips[0][1]["bitstream"] == b"bits"
    message = (f"{folder / BITSTREAM}: must have the network net in it (sha256 {network_file.digest(SECOND)[:16]}), "
               f"not first ({network_file.digest(FIRST)[:16]}): give another folder with --build, or put the network "
               f"in with python -m export net --into {folder}")
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        builds.engine_of_build(Rung.BITSTREAM, SECOND, folder, file="net")


@pytest.mark.parametrize(("rung", "spoil", "message"), [
    (Rung.NETLIST, lambda path: (path / REPORT).unlink(),
     ("{path}: must be a folder in which python -m gateware.build has built a bitstream, with a report.json, which is "
     "missing: build it, or give another folder with --build")),
    (Rung.NETLIST, lambda path: (path / NETLIST).unlink(),
     ("{path}: must have the netlist.zip of its build, which is missing: build the folder again with "
     "python -m gateware.build")),
    (Rung.NETLIST, lambda path: (path / NETLIST).write_bytes(b"zip"),
     ("{path}/netlist.zip: must be the one of the report.json beside it, whose sha256 is {netlist}, not {zip}: build "
     "the folder again")),
    (Rung.BITSTREAM, lambda path: (path / BITSTREAM).write_bytes(b"zip"),
     ("{path}/sterna.bin: must be the one of the report.json beside it, whose sha256 is {bits}, not {zip}: build the "
     "folder again")),
    (Rung.NETLIST, lambda path: (path / BASE).unlink(),
     ("{path}: must be a folder in which python -m gateware.build has built a network, with a base.zip, which is "
     "missing: build it, or build it again"))])
def test_what_is_missing_or_was_changed_has_its_line(rung, spoil, message, folder, chips):
    sha = {name: hashlib.sha256(data).hexdigest()
           for name, data in (("netlist", pack(FILES)), ("zip", b"zip"), ("bits", b"bits"))}
    spoil(folder)
    with pytest.raises(InputError, match=f"^{re.escape(message.format(path=folder, **sha))}$"):
        builds.engine_of_build(rung, FIRST, folder, file="net")
    assert chips == []


@pytest.mark.parametrize(("content", "reason"), [
    (b"not an archive", "File is not a zip file"),
    (pack({"sterna.json": b"{}"}), "it has no 'sterna.pcf'")])
def test_a_netlist_that_cannot_be_read_has_its_line(content, reason, folder, chips):
    (folder / NETLIST).write_bytes(content)
    change(folder, netlist_sha256=hashlib.sha256(content).hexdigest())
    message = (f"{folder / NETLIST}: must be a netlist.zip of this version of python -m gateware.build: {reason}: "
               f"build the folder again")
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        builds.engine_of_build(Rung.NETLIST, FIRST, folder, file="net")


def test_an_image_is_for_an_overlay(folder, chips):
    message = (f"{folder}: must be the folder of an overlay with --flash, not that of a network: leave --flash out, or "
               f"give another folder with --build")
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        builds.engine_of_build(Rung.NETLIST, FIRST, folder, file="net", image=b"models")


@pytest.mark.parametrize("rung", Rung)
def test_an_overlay_is_simulated_beside_its_flash(rung, tmp_path, chips):
    netlist = pack(FILES)
    report = made_report(netlist_sha256=hashlib.sha256(netlist).hexdigest(), flash_mode="quad", clock_mhz=48.0,
                         bitstream_sha256=hashlib.sha256(b"bits").hexdigest(), baud=3_000_000)
    for name, content in ((REPORT, report.to_json()), (NETLIST, netlist), (BITSTREAM, b"bits")):
        (tmp_path / name).write_bytes(content)
    _, circuit = builds.engine_of_build(rung, SECOND, tmp_path, file="net", image=b"models", model=2)
    assert circuit.weights.value == "flash"
    assert chips == [(SECOND, {
        "board": BOARDS["icebreaker"], "mode": FlashMode.QUAD, "clock_hz": 48e6, "netlist": FILES, "divisor": 16,
        "bitstream": b"bits" if rung is Rung.BITSTREAM else None, "image": b"models", "model": 2})]
    changed = report.circuit[:-4] + f"{int(report.circuit[-4:], 16) ^ 1:04x}"
    (tmp_path / REPORT).write_bytes(dataclasses.replace(report, circuit=changed).to_json())
    message = f"{tmp_path / REPORT}: must be of the circuit of this release: build the overlay again"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        builds.engine_of_build(rung, SECOND, tmp_path, file="net")


def test_models_of_cells_are_sources_on_which_kept_results_depend():
    assert "ice40_pads.v" in {path.name for path in source_files("boards")}


def test_pins_are_those_of_the_top_levels():
    board = BOARDS["icebreaker"]
    assert pins_of(board, flash=False).both == {}
    pins = pins_of(board, flash=True)
    assert pins.inputs == {"clk": "clk12_0__io", "rx": "uart_0__rx__io"}
    assert pins.outputs == {"tx": "uart_0__tx__io", "flash_cs": "spi_flash_4x_0__cs__io",
                            "flash_clk": "spi_flash_4x_0__clk__io"}
    assert pins.both == {f"flash_io{line}": f"spi_flash_4x_0__dq__io_{line}" for line in range(4)}
