import random

import cocotb
import numpy as np

from arch.network import Neurons, Reset
from gateware.engine.configuration import EngineConfig
from gateware.engine.pif import Current, PifUnit, mode_layout
from reference.network import pif
from tests.rtl.benches.clocking import start, stream_through
from tests.twins.blocks import constant_words

CONFIG = EngineConfig(lanes=1, width=4, timesteps=4, accumulator_width=6, membrane_width=14, fraction=3)
COUNT = 60


def block():
    return PifUnit(CONFIG)


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(hard=[0, 1], leak=[0, 2], fraction=[1, 3])
async def spikes_like_the_twin(dut, hard, leak, fraction):
    scale = CONFIG.fraction - fraction
    mode = mode_layout(CONFIG).const({"current": Current.STEPS, "hard": hard, "leaky": leak > 0, "leak": leak,
                                      "scale": scale, "timesteps": 3}).as_value().value
    await start(dut, sums=0, constants=0, mode=mode)
    rng, unit = random.Random(3), 1 << fraction
    draws = [[rng.randint(low * unit, high * unit) for _ in range(COUNT)] for low, high in ((1, 6), (-2, 3), (-4, 5))]
    neurons = Neurons(threshold=np.array(draws[0]), bias=np.array(draws[1]), initial=np.array(draws[2]),
                      fraction=fraction, reset=Reset.ZERO if hard else Reset.SUBTRACT, leak_shift=leak or None)
    currents = np.array([[rng.randint(0, 7) for _ in range(COUNT)] for _ in range(4)], np.int64)
    spikes, _ = pif(neurons, currents[None, :, :, None, None])
    delay = PifUnit.latency_of(CONFIG) - CONFIG.timesteps - 1

    def drive(clock):
        if clock < COUNT:
            dut.sums.value = sum(int(currents[step, clock]) << 6 * step for step in range(4))
        if clock >= delay:
            channel = clock - delay
            initial, bias = int(neurons.initial[channel]), int(neurons.bias[channel])
            initial -= initial >> leak if leak else 0
            dut.constants.value = constant_words(CONFIG, bias + initial << scale, bias << scale,
                                                 int(neurons.threshold[channel]) << scale)

    out = await stream_through(dut, range(COUNT + delay), PifUnit.latency_of(CONFIG), drive,
                               lambda: str(dut.spikes.value)[::-1])
    assert out[:COUNT] == ["".join(str(int(spike)) for spike in spikes[0, :, channel, 0, 0])
                           for channel in range(COUNT)]
