import random

import cocotb
import numpy as np

from arch.network import Neurons, Reset
from gateware.engine.pif import Current, PifUnit, mode_layout
from reference.network import pif
from tests.circuits import streamed_circuit
from tests.rtl.benches.clocking import start, stream_through
from tests.twins.blocks import constant_words

CONFIG = streamed_circuit(lanes=1, width=8, timesteps=4, partial_width=6, membrane_width=14, fraction=2, blocks=4,
                          leak=False)
COUNT, BLOCKS = 40, 3


def block():
    return PifUnit(CONFIG)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(hard=[0, 1], used=[9, 12])
async def blocks_like_the_twin(dut, hard, used):
    mode = mode_layout(CONFIG).const({"current": Current.STEPS, "hard": hard, "timesteps": (used - 1) % 4})
    await start(dut, sums=0, constants=0, mode=mode.as_value().value, block_first=1, block_last=0, stored=0)
    rng = random.Random(3)
    draws = [[rng.randint(low * 4, high * 4) for _ in range(COUNT)] for low, high in ((1, 6), (-2, 3), (-4, 5))]
    neurons = Neurons(threshold=np.array(draws[0]), bias=np.array(draws[1]), initial=np.array(draws[2]),
                      fraction=2, reset=Reset.ZERO if hard else Reset.SUBTRACT)
    currents = np.array([[rng.randint(0, 7) for _ in range(COUNT)] for _ in range(4 * BLOCKS)], np.int64)
    spikes, _ = pif(neurons, currents[None, :used, :, None, None])
    stored, found = [0] * COUNT, [""] * COUNT
    for number in range(BLOCKS):
        # The clocks between two blocks are as those before the first one.
        dut.block_first.value, dut.block_last.value = number == 0, number == BLOCKS - 1

        def drive(clock, number=number, stored=stored):
            if clock < COUNT:
                dut.sums.value = sum(int(currents[4 * number + step, clock]) << 6 * step for step in range(4))
                initial, bias = int(neurons.initial[clock]), int(neurons.bias[clock])
                dut.constants.value = constant_words(CONFIG, bias + initial, bias, int(neurons.threshold[clock]))
            if clock:
                dut.stored.value = stored[clock - 1]

        out = await stream_through(dut, range(COUNT + 1), PifUnit.latency_of(CONFIG), drive,
                                   lambda: (str(dut.spikes.value)[::-1], dut.o_stored.value.to_unsigned()))
        stored = [word for _, word in out[:COUNT]]
        found = [before + now for before, (now, _) in zip(found, out[:COUNT], strict=True)]
    assert found == ["".join(str(int(spike)) for spike in spikes[0, :, channel, 0, 0]).ljust(4 * BLOCKS, "0")
                     for channel in range(COUNT)]
