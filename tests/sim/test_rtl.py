
import pytest

from boards import BOARDS, BoardError
from gateware.mapper.choice import plan_for_board
from sim import rtl
from sim.circuits import shared_circuit
from sim.rtl import RtlEngine
from support.tools import ToolMissingError
from tests.random_networks import SMALL, draw


class Started(Exception):
    """The simulation would have been compiled."""


@pytest.fixture
def simulated(monkeypatch):
    """Configurations whose simulation is asked for, instead of the simulation."""
    configs = []

    def circuit_verilog(config, **options):
        configs.append(config)
        raise Started

    monkeypatch.setattr(rtl, "circuit_verilog", circuit_verilog)
    return configs


def test_a_board_is_simulated_by_its_shared_circuit_and_a_build_by_its_own(simulated):
    network = draw(SMALL, 60)[0].network
    with pytest.raises(Started):
        RtlEngine(network)
    with pytest.raises(Started):
        RtlEngine(network, config=SMALL)
    assert simulated == [shared_circuit(plan_for_board(network, BOARDS["icebreaker"]).config), SMALL]


def test_an_unknown_board_is_named_with_those_that_are_known(simulated):
    network = draw(SMALL, 60)[0].network
    with pytest.raises(BoardError, match=rf"^board must be one of {', '.join(sorted(BOARDS))}, not 'icebraker'$"):
        RtlEngine(network, board="icebraker")


@pytest.mark.parametrize("missing", ["find_tool", "check_simulator"])
def test_tools_are_looked_for_before_any_work(monkeypatch, missing):
    def refuse(*arguments):
        raise ToolMissingError("it is not installed")

    monkeypatch.setattr(rtl, missing, refuse)
    monkeypatch.setattr(rtl, "map_network", None)
    with pytest.raises(ToolMissingError, match=r"^it is not installed$"):
        RtlEngine(draw(SMALL, 60)[0].network, config=SMALL)


def test_a_compilation_is_shown_after_two_seconds_unless_somebody_else_is_told(monkeypatch):
    shown, told = [], []

    class Line:
        def __init__(self, step, **options):
            shown.append((step, options))

        def __enter__(self):
            return self

        def __exit__(self, *failure):
            pass

        def update(self, text):
            shown.append(text)

    def circuit_verilog(config, *, divisor, folder, report):
        report("write the Verilog", 0, 1)
        raise Started

    monkeypatch.setattr(rtl, "Progress", Line)
    monkeypatch.setattr(rtl, "circuit_verilog", circuit_verilog)
    network = draw(SMALL, 60)[0].network
    with pytest.raises(Started):
        RtlEngine(network, config=SMALL)
    assert shown == [("simulation", {"first_seconds": 2}), "write the Verilog"]
    with pytest.raises(Started):
        RtlEngine(network, config=SMALL, report=lambda *step: told.append(step))
    assert told == [("write the Verilog", 0, 1)]
    assert len(shown) == 2
