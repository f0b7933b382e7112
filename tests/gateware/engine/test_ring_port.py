# amaranth: UnusedElaboratable=no
from amaranth.hdl import Shape

from arch.flash.stream import PROGRAM_ENTRIES
from gateware.engine.configuration import EngineConfig
from gateware.engine.ring_port import RingPort
from gateware.flash.loader import StreamLoader
from tests.streamed_networks import OVERLAY

SMALL = EngineConfig(streamed=True, lanes=2, width=4, timesteps=4, accumulator_width=5, partial_width=8,
                     membrane_width=10, fraction=2, leak=False, weight_rows=16, channel_groups=4, spike_words=64,
                     layers=4, max_run=15, max_side=15, max_row_words=15, classes=4, max_groups=8)


def test_the_port_has_what_the_loader_writes():
    for config in (SMALL, OVERLAY):
        port, loader = RingPort(config).members, StreamLoader(config).signature.members
        for name in dict(port):
            assert Shape.cast(port[name].shape) == Shape.cast(loader[name].shape), name
        assert 1 << Shape.cast(port["program_address"].shape).width == config.layers * PROGRAM_ENTRIES
