"""Circuits and random networks of mixed layers for the streamed engine."""

import numpy as np

from arch.network import Encoding
from boards import board_named
from gateware.engine.configuration import ConfigError, EngineConfig
from gateware.mapper.streamed.choice import lay_out, streamed_config
from sim.generate import random_network

__all__ = ["CIRCUITS", "OVERLAY", "draw"]

#: The circuit of the iCEBreaker.
OVERLAY = streamed_config(board_named("icebreaker"))

#: Streamed circuits by name: small ones, and the geometry of the iCEBreaker.
CIRCUITS = {
    "P2-W4-T4": EngineConfig(
        streamed=True, lanes=2, width=4, timesteps=4, accumulator_width=5, membrane_width=24, fraction=3,
        weight_rows=64, channel_groups=8, layers=4, spike_words=4096, max_run=63, max_side=31, max_row_words=127,
        classes=16, blocks=4, max_groups=32, leak=True),
    "P4-W4-T8": EngineConfig(
        streamed=True, lanes=4, width=4, timesteps=8, accumulator_width=6, membrane_width=24, fraction=3,
        weight_rows=256, channel_groups=8, layers=2, spike_words=4096, max_run=31, max_side=31, max_row_words=127,
        classes=16, blocks=2, max_groups=16, leak=True),
    "P8-W8-T4-short": EngineConfig(
        streamed=True, lanes=8, width=8, timesteps=4, accumulator_width=7, membrane_width=24, fraction=3,
        weight_rows=16, channel_groups=4, layers=2, spike_words=4096, max_run=63, max_side=31, max_row_words=127,
        classes=16, blocks=2, max_groups=16, leak=True),
    "P8-W16-T4": EngineConfig(
        streamed=True, accumulator_width=8, membrane_width=24, fraction=3, weight_rows=256, channel_groups=32,
        layers=8, spike_words=16384, max_run=255, max_side=63, max_row_words=255, classes=128, blocks=8,
        max_groups=512, leak=True),
}


def draw(config, seed, **options):
    """Draw networks of all kinds of layers until one fits ``config``; return its plan and the generator, to go on."""
    rng = np.random.default_rng(seed)
    while True:
        encoding = list(Encoding)[int(rng.integers(2))]
        # A byte of an image has room for eight timesteps of events.
        most = config.timesteps * config.blocks
        steps = int(rng.integers(1, (most if encoding is Encoding.PIXELS else min(8, most)) + 1))
        network = random_network(rng, timesteps=steps,
                                 encoding=encoding, shortcuts=bool(rng.random() < 0.5), pools=True,
                                 projections=bool(rng.random() < 0.7), layers=int(rng.integers(1, 6)), **options)
        try:
            return lay_out(network, config), rng
        except ConfigError:
            continue
