"""A small circuit built with the real tools, kept from run to run: netlist, layout and bitstream of the board."""

import pathlib

from boards import BOARDS
from gateware.build.flow import make_bitstream
from gateware.build.request import Target
from gateware.build.steps.place import Remedies
from gateware.build.steps.step import Keeper
from gateware.engine.configuration import EngineConfig
from gateware.mapper.choice import map_network
from gateware.swap.filling import Filling
from gateware.swap.marks import marked
from gateware.top import Top
from tests.export.into.builds import network

BOARD = BOARDS["icebreaker"]
CLOCK_HZ, BAUD = 48e6, 3_000_000
DIVISOR = BOARD.divisor(CLOCK_HZ, BAUD)
FOLDER = pathlib.Path(__file__).parents[3] / "build" / "small-chip"

#: One output channel at a time; small memories, of which the larger ones are block RAMs all the same.
CIRCUIT = EngineConfig(lanes=1, width=16, timesteps=4, accumulator_width=10, membrane_width=22, fraction=3,
                       weight_rows=256, channel_groups=16, spike_words=512, layers=3, max_run=64, max_side=8,
                       max_row_words=64, classes=4, hard_reset=False, leak=False)

#: Two layers and a readout, on an image of 4 x 4.
NETWORK = network(5, layers=2)


def filling_of(network):
    """The network in the circuit."""
    return Filling(plan=map_network(network, CIRCUIT), clock_hz=CLOCK_HZ)


def make(name="kept"):
    """Build the circuit, or find that it was built before."""
    filling = filling_of(NETWORK)
    top = Top(CIRCUIT, marked(CIRCUIT, image_bytes=filling.info.image_bytes, result_words=filling.info.result_words),
              board=BOARD, clock_hz=CLOCK_HZ, baud=BAUD)
    target = Target(name="small", board=BOARD, clock_hz=CLOCK_HZ, baud=BAUD, seed_seconds=600)
    work = FOLDER / name
    work.mkdir(parents=True, exist_ok=True)
    return make_bitstream(target, BOARD.fpga.design_files(BOARD.platform(), top), Keeper(work), what="a small circuit",
                          remedies=lambda: Remedies(smaller=(), otherwise=""), filling=filling)
