import dataclasses
import pathlib

import pytest

import arch
import boards
import gateware
import support
from arch import network_file
from boards import BOARDS
from gateware.engine.configuration import EngineConfig
from gateware.engine.feed import drain_cycles
from gateware.flash.reader import FlashMode
from gateware.mapper.choice import choose_config, map_network, plan_for_board
from gateware.mapper.cycles import count_cycles
from gateware.reports import prebuilt
from models import FOLDER
from sim import circuits, sources
from sim.circuits import circuit_verilog, shared_circuit
from tests.random_networks import CIRCUITS, SMALL, draw
from tests.shipped_networks import BAKED
from tests.streamed_networks import OVERLAY

#: Parameters that stay: those that decide the clocks, and the memories' depths.
KEPT = ("lanes", "width", "timesteps", "pixels", "spike_words", "weight_rows")


def chosen(name, seed):
    """A drawn network and the smallest circuit of this geometry for it."""
    plan, _ = draw(CIRCUITS[name], [51, seed])
    config = CIRCUITS[name]
    return plan.network, choose_config(plan.network, lanes=config.lanes, width=config.width, timesteps=config.timesteps,
                                       spike_words=config.spike_words, weight_rows=config.weight_rows)


def test_shipped_networks_share_one_circuit():
    plans = [plan_for_board(network_file.load(path), BOARDS["icebreaker"]) for path in BAKED]
    assert len(plans) >= 2
    assert len({plan.config for plan in plans}) == len(plans)
    assert {shared_circuit(plan.config) for plan in plans} == {EngineConfig(
        lanes=8, width=16, timesteps=4, pixels=True, accumulator_width=16, membrane_width=32, fraction=8,
        hard_reset=True, leak=True, weight_rows=256, channel_groups=256, spike_words=16384, layers=64, max_run=256,
        max_side=2047, max_row_words=32767, classes=1024)}


@pytest.mark.parametrize("name", CIRCUITS)
def test_drawn_networks_of_a_geometry_share_one_circuit(name):
    configs = [chosen(name, seed)[1] for seed in range(20)]
    assert len(set(configs)) > 15
    assert len({shared_circuit(config) for config in configs}) == 1


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", CIRCUITS)
def test_the_shared_circuit_runs_the_network_in_the_same_clocks(name, seed):
    network, config = chosen(name, seed)
    shared = shared_circuit(config)
    own, other = map_network(network, config), map_network(network, shared)
    assert count_cycles(own) == count_cycles(other)
    assert [stage.placement for stage in own.stages] == [stage.placement for stage in other.stages]


@pytest.mark.parametrize("config", [*CIRCUITS.values(), SMALL, EngineConfig(),
                                    EngineConfig(lanes=1, width=2, timesteps=1, pixels=False)])
def test_what_decides_the_clocks_is_not_rounded(config):
    """The latencies are those of any circuit that differs in nothing but what is rounded."""
    shared = shared_circuit(config)
    for field in dataclasses.fields(EngineConfig):
        value, rounded = getattr(config, field.name), getattr(shared, field.name)
        assert value == rounded if field.name in KEPT else value <= rounded, field.name
    assert (drain_cycles(shared), shared.cooldown_cycles) == (drain_cycles(config), config.cooldown_cycles)
    assert shared_circuit(shared) == shared


@pytest.mark.parametrize(("fraction", "membrane", "expected"), [
    (3, 19, (8, 32)), (8, 32, (8, 32)), (3, 28, (8, 40)), (9, 20, (16, 32)), (2, 38, (2, 40)), (16, 40, (16, 40)),
])
def test_a_wider_fraction_widens_the_membrane_within_its_limit(fraction, membrane, expected):
    shared = shared_circuit(EngineConfig(fraction=fraction, membrane_width=membrane))
    assert (shared.fraction, shared.membrane_width) == expected


def test_the_verilog_of_a_circuit_is_written_once(tmp_path, monkeypatch):
    first = circuit_verilog(SMALL, divisor=4, folder=tmp_path)
    assert "module sterna" in first
    monkeypatch.setattr(circuits, "System", lambda *arguments, **options: None)
    monkeypatch.setattr(circuits.verilog, "convert", lambda *arguments, **options: "module other")
    steps = []
    assert circuit_verilog(SMALL, divisor=4, folder=tmp_path, report=lambda *step: steps.append(step)) == first
    assert steps == []
    # Another circuit, another rate, other sources: another design.
    wider = dataclasses.replace(SMALL, membrane_width=27)
    assert circuit_verilog(wider, divisor=4, folder=tmp_path) == "module other"
    assert circuit_verilog(SMALL, divisor=5, folder=tmp_path,
                           report=lambda *step: steps.append(step)) == "module other"
    # The flash is a matter of streamed circuits alone: how it is read, from where, and its pauses.
    texts = iter(f"module {number}" for number in range(9))
    monkeypatch.setattr(circuits.verilog, "convert", lambda *arguments, **options: next(texts))
    monkeypatch.setattr(circuits, "StreamedSystem", lambda *arguments, **options: None)
    for options in ({"mode": FlashMode.SINGLE}, {"base": 0}, {"clock_hz": 1e6}):
        assert circuit_verilog(SMALL, divisor=4, folder=tmp_path, **options) == first
    streamed = [circuit_verilog(OVERLAY, divisor=4, folder=tmp_path, **options) for options in (
        {}, {"mode": FlashMode.SINGLE}, {"base": 0}, {"clock_hz": 1e6}, {})]
    assert streamed == ["module 0", "module 1", "module 2", "module 3", "module 0"]
    monkeypatch.setattr(circuits.verilog, "convert", lambda *arguments, **options: "module other")
    monkeypatch.setattr(circuits, "_sources", lambda: "changed")
    assert circuit_verilog(SMALL, divisor=4, folder=tmp_path) == "module other"
    assert steps == [("write the Verilog", 0, 1)]


@pytest.mark.parametrize("package", ["arch", "boards", "gateware", "support"])
def test_the_hash_of_the_sources_sees_every_package(package, monkeypatch):
    before, folder_of = circuits._sources(), sources._folder
    monkeypatch.setattr(sources, "_folder", lambda name: FOLDER if name == package else folder_of(name))
    assert circuits._sources() != before


def test_reports_of_overlays_are_sources(tmp_path, monkeypatch):
    """What is computed of a circuit from the flash depends on them."""
    assert [path for path in sources.source_files("gateware") if path.suffix == ".json"] == sorted(
        prebuilt.FOLDER.glob("*.json"))
    monkeypatch.setattr(sources, "_folder", lambda name: tmp_path)
    (tmp_path / "overlay.json").write_text("{}")
    before = sources.sources_digest("gateware")
    (tmp_path / "overlay.json").write_text("[]")
    assert sources.sources_digest("gateware") != before


def test_sources_are_those_of_the_packages_that_are_imported():
    for package in (arch, boards, gateware, support):
        assert sources._folder(package.__name__) == pathlib.Path(package.__path__[0])
