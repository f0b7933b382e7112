"""Folders as a build leaves them, without synthesis: memories with marks in a layout that a test has made up."""

import dataclasses
import hashlib

import numpy as np

from arch.network import Convolution, Encoding, Input, Network, Neurons, Readout
from boards import BOARDS
from gateware.engine.configuration import EngineConfig
from gateware.mapper.choice import map_network
from gateware.mapper.info import info_of
from gateware.reports.planned import planned_network
from gateware.swap.base import Base
from gateware.swap.marks import marks_of
from tests import layouts

BOARD = BOARDS["icebreaker"]
CLOCK_HZ, BAUD = 48e6, 3_000_000

#: The circuit of the folders.
CIRCUIT = EngineConfig(lanes=2, width=4, timesteps=4, accumulator_width=8, membrane_width=20, fraction=3,
                       weight_rows=64, channel_groups=8, spike_words=512, layers=3, max_run=32, max_side=8,
                       max_row_words=32, classes=4, hard_reset=False, leak=False)


def network(seed, *, side=4, channels=3, classes=3, threshold=300, timesteps=4, name="small", layers=1,
            encoding=Encoding.PIXELS, leak_shift=None):
    """Draw a network that fits the circuit, with layers of 3 x 3 kernels."""
    rng = np.random.default_rng(seed)
    made, source = [], 1
    for _ in range(layers):
        ones = np.ones(channels, np.int64)
        made.append(Convolution(
            weights=rng.integers(-1, 2, (channels, source, 3, 3)).astype(np.int8), padding=1,
            neurons=Neurons(threshold=(threshold if source == 1 else 2) * ones, bias=rng.integers(-9, 10, channels),
                            initial=0 * ones, leak_shift=leak_shift)))
        source = channels
    readout = Readout(weights=rng.integers(-1, 2, (classes, channels * side * side)).astype(np.int8))
    return Network(input=Input(encoding=encoding, channels=1, height=side, width=side), timesteps=timesteps,
                   layers=(*made, readout), metadata={} if name is None else {"name": name})


def layout(seed=7):
    """The layout of the folders."""
    return layouts.routed(marks_of(CIRCUIT), seed=seed, in_row={"info block": 2})


def make_build(folder, built=None, **changes):
    """Write base and report of a build of the network ``built``; returns both."""
    plan = map_network(network(1, name="first") if built is None else built, CIRCUIT)
    info = info_of(plan, clock_hz=CLOCK_HZ)
    base = Base(board=BOARD, clock_hz=CLOCK_HZ, baud=BAUD, config=CIRCUIT, image_bytes=info.image_bytes,
                classes=info.classes, routed={"sterna.asc": layout()})
    content = base.to_bytes()
    report = dataclasses.replace(
        planned_network(plan, name=str(plan.network.metadata["name"]), board=BOARD, clock_hz=CLOCK_HZ, baud=BAUD),
        fmax_mhz=[50.5], fmax_median_mhz=50.5, seeds=[1], seed=1, lc=3000, ebr=12, spram=4, dsp=0,
        bitstream_sha256="b" * 64, base_sha256=hashlib.sha256(content).hexdigest(), **changes)
    folder.mkdir(parents=True)
    (folder / ".sterna-build").write_bytes(b"")
    (folder / "sterna.bin").write_bytes(b"bitstream of the first")
    (folder / "base.zip").write_bytes(content)
    (folder / "report.json").write_bytes(report.to_json())
    return base, report
