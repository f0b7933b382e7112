"""Networks, images and circuits for tests of the engine: what the generator draws, made to fit one circuit."""

import functools

import numpy as np
from amaranth.back import verilog

from arch.network import Convolution, Encoding, Network, Readout
from gateware.engine.configuration import ConfigError, EngineConfig
from gateware.mapper.choice import map_network
from gateware.mapper.cycles import count_cycles
from gateware.source import Loaded
from gateware.system import System
from reference.generate import random_images, random_network, random_neurons, random_weights

#: Circuits that run many networks each, by name. Wide and deep enough for whatever the generator draws.
CIRCUITS = {
    "P8-W16-T4": EngineConfig(lanes=8, width=16, timesteps=4, accumulator_width=16, membrane_width=30, fraction=4,
                              weight_rows=4096, spike_words=8192, max_side=64, classes=16),
    "P2-W4-T4": EngineConfig(lanes=2, width=4, timesteps=4, accumulator_width=15, membrane_width=28, fraction=3,
                             weight_rows=16384, spike_words=16384, channel_groups=64, max_side=64, classes=16),
    "P4-W8-T3-events": EngineConfig(lanes=4, width=8, timesteps=3, pixels=False, accumulator_width=12,
                                    membrane_width=24, fraction=4, weight_rows=8192, spike_words=8192,
                                    channel_groups=64, max_side=64, classes=16),
}

#: Circuit for slow simulators: small memories, for networks of sides up to 4 and 5 channels.
SMALL = EngineConfig(lanes=2, width=4, timesteps=4, accumulator_width=13, membrane_width=26, fraction=3,
                     weight_rows=256, channel_groups=16, spike_words=512, layers=4, max_run=128, max_side=16,
                     max_row_words=128, classes=12)

#: Longest inference, in clocks: what takes longer in a simulator proves nothing more.
LONGEST = 40_000


def draw(config: EngineConfig, seed, **options):
    """Draw networks until one fits ``config``; return its plan and the generator, to go on with."""
    rng = np.random.default_rng(seed)
    while True:
        network = random_network(rng, timesteps=int(rng.integers(1, config.timesteps + 1)),
                                 encoding=Encoding.PIXELS if config.pixels else Encoding.EVENTS, **options)
        try:
            plan = map_network(network, config)
        except ConfigError:
            continue
        if count_cycles(plan).total <= LONGEST:
            return plan, rng


def with_kernel(config: EngineConfig, kernel: int, stride: int, seed):
    """Make a network whose first two layers have this kernel and stride, and as much padding as they can."""
    rng = np.random.default_rng(seed)
    encoding = Encoding.PIXELS if config.pixels else Encoding.EVENTS
    source = random_network(rng, timesteps=config.timesteps, encoding=encoding, max_side=6).input
    shape, chain = source.shape, []
    for amplitude in (100 if config.pixels else 0.5, 0.5):
        out = int(rng.integers(1, 10))
        weights = random_weights(rng, out, shape[0], kernel, kernel)
        neurons = random_neurons(rng, out, amplitude * np.sqrt(weights[0].size))
        chain.append(Convolution(weights=weights, neurons=neurons, stride=stride, padding=kernel - 1))
        shape = chain[-1].output_shape(shape)
    chain.append(Readout(weights=random_weights(rng, 3, int(np.prod(shape)))))
    network = Network(input=source, layers=tuple(chain), timesteps=config.timesteps)
    return map_network(network, config), rng


def images_for(plan, rng, count):
    """Make inputs for a plan: zeros, ones, then noise."""
    return random_images(plan.network, rng, count)


def kept_stages(plan):
    """Stages whose spikes are still in memory at the end: no later map lies over them."""
    spaces = []
    for stage in plan.stages[:-1]:
        channels, height, width = stage.target
        first = stage.placement.target
        spaces.append(range(first, first + -(-channels // plan.config.width) * height * width))
    return [number for number, space in enumerate(spaces)
            if not any(later.start < space.stop and space.start < later.stop for later in spaces[number + 1:])]


@functools.cache
def system_verilog(name: str) -> str:
    """Convert a :class:`gateware.system.System` of the circuit ``name``, at 4 clocks per bit, its memories empty."""
    return verilog.convert(System(CIRCUITS[name], Loaded(), divisor=4), name="system")


def memory_contents(plan):
    """Assign the contents of a plan's memories to the ends of their names in a design."""
    contents = plan.contents
    return {**{f"weights.lane{lane}": rows for lane, rows in enumerate(contents.weights)},
            "constants.neurons": contents.constants, "sequencer.entries": contents.program,
            "windows.steps": contents.pixels}
