import random

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge

from gateware.engine.neuron_array import ending_layout
from gateware.engine.sequencer import Sequencer
from tests.random_layers import STREAMED, random_layer
from tests.rtl.benches.clocking import settle, start
from tests.twins.layers import walk_layers

CONFIG = STREAMED["P2-W4-T4"]
KINDS  = ["slices", "projection", "blocks", "readout over blocks"]


def block():
    return Sequencer(CONFIG, drain_cycles=9)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(rate=[1.0, 0.4])
async def issues_the_twins_words(dut, rate):
    rng = random.Random(19)
    layers = [random_layer(CONFIG, np.random.default_rng([19, number]), kind, final=number == len(KINDS) - 1)
              for number, kind in enumerate(KINDS)]
    programs = [layer.program(CONFIG) for layer in layers]
    expected = [word for _, word in walk_layers(CONFIG, programs, 1)]
    rows = sum(layer.loops.groups * layer.loops.group_weight_rows for layer in layers)
    names = [name for name, _ in ending_layout(CONFIG)]
    await start(dut, start=0, buffer=1, grant=0, entry=0, layer_written=0, row_written=0)
    written, released, first_uses = {"layer": 0, "row": 0}, {"layer": 0, "row": 0}, 0
    strobes = {"layer": dut.layer_written, "row": dut.row_written}
    depths, totals = {"layer": CONFIG.layers, "row": CONFIG.weight_rows}, {"layer": len(programs), "row": rows}
    place, pending, starting, words = None, None, False, iter(expected)
    dut.start.value = 1
    await FallingEdge(dut.clk)
    dut.start.value = 0
    while dut.done.value == 0:
        for kind, strobe in strobes.items():
            written[kind] += int(strobe.value == 1)
            room = written[kind] - released[kind] < depths[kind] and written[kind] < totals[kind]
            strobe.value = int(room and rng.random() < rate)
        if place is not None:
            layer, entry = divmod(place, 32)
            # Programs wrap around the ring; those that are not there yet read as ones.
            current = next((number for number in range(released["layer"], written["layer"])
                            if number % CONFIG.layers == layer), None)
            dut.entry.value = (1 << len(dut.entry)) - 1 if current is None else programs[current][entry]
        starting = starting or dut.layer_start.value == 1
        beat = dut.beat.value.to_unsigned()
        if starting and pending is not None:
            assert not beat & 1
            pending, starting = None, False
        assert (beat & 1) == (pending is not None)
        if pending is not None:
            word = next(words)
            assert word.zero or pending == word.address
            assert (dut.row.value.to_unsigned(), dut.zero.value == 1, beat >> 2 == 1, dut.release_row.value == 1) == (
                word.row, word.zero, word.last, word.last_use)
            first_uses += word.first_use
            assert first_uses <= written["row"]
            if word.ending is not None:
                flags = dut.ending.value.to_unsigned()
                for bit, name in enumerate(names):
                    if word.ending["closes"] or name not in ("window_first", "window_last", "group_last"):
                        assert (flags >> bit & 1) == word.ending[name], name
        granted = rng.random() < rate
        dut.grant.value = int(granted)
        await settle()
        pending = dut.address.value.to_unsigned() if granted and dut.request.value == 1 else None
        place = dut.entry_address.value.to_unsigned() if dut.entry_read.value == 1 else None
        released["layer"] += int(dut.release_layer.value == 1)
        released["row"] += int(dut.release_row.value == 1)
        await FallingEdge(dut.clk)
    assert next(words, None) is None
    assert released == totals
