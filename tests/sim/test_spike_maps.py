"""Spike maps are unpacked from words that are written here by hand."""

import dataclasses

import numpy as np
import pytest

from arch.network import Encoding
from gateware.mapper.choice import map_network
from sim.spike_maps import read_map, unpack_map
from tests.gateware.mapper.networks import CONFIG, conv, network

#: Two stages with maps; 6 channels take two words of 4 channels a position, the last half of the second is unused.
NETWORK = network(conv(6, 2), conv(3, 6), shape=(2, 4, 5), timesteps=3, encoding=Encoding.EVENTS)
PLAN = map_network(NETWORK, dataclasses.replace(CONFIG, pixels=False, spike_words=512, weight_rows=256, max_run=32))


def packed(spikes, place, count):
    """Words of a memory: bit ``T * channel + t`` of a position's word is the spike of timestep t."""
    words = [0x5A5A] * count
    _, channels, height, width = spikes.shape
    per_position = -(-channels // 4)
    for row in range(height):
        for column in range(width):
            for word in range(per_position):
                # The fourth timestep of the circuit, and channels that are none, hold what they like.
                value = 0x8888 | (0xFF00 if word == per_position - 1 and channels % 4 == 2 else 0)
                for channel in range(4 * word, min(4 * word + 4, channels)):
                    for timestep in range(3):
                        value |= int(spikes[timestep, channel, row, column]) << (channel % 4 * 4 + timestep)
                words[place + (row * width + column) * per_position + word] = value
    return words


@pytest.mark.parametrize(("number", "channels"), [(0, 6), (1, 3)])
def test_a_map_is_what_was_packed(number, channels):
    assert (PLAN.config.timesteps, PLAN.config.width) == (4, 4)
    spikes = np.random.default_rng(96).random((3, channels, 4, 5)) < 0.4
    place = PLAN.stages[number].placement.target
    memory = packed(spikes, place, PLAN.config.spike_words)
    whole = read_map(PLAN, number, memory)
    assert (whole.dtype, whole.shape) == (bool, (3, channels, 4, 5))
    assert (whole == spikes).all()
    # A part of the memory that begins with a row of its own.
    part = memory[place - 1:place + 4 * 5 * -(-channels // 4)]
    assert (read_map(PLAN, number, part, first=place - 1) == spikes).all()


def test_blocks_of_timesteps_follow_each_other_as_planes():
    """6 timesteps on a circuit with 4: what the second plane has beyond them is nothing."""
    spikes = np.random.default_rng(97).random((6, 6, 3, 2)) < 0.4
    words = []
    for block in (spikes[:4], spikes[4:]):
        for row, column in np.ndindex(3, 2):
            for first in (0, 4):
                word = 0 if len(block) == 4 else 0xCCCC
                for channel, timestep in np.ndindex(min(4, 6 - first), len(block)):
                    word |= int(block[timestep, first + channel, row, column]) << (4 * channel + timestep)
                words.append(word)
    found = unpack_map(PLAN.config, words, (6, 3, 2), timesteps=6, planes=2)
    assert (found.dtype, found.shape) == (bool, (6, 6, 3, 2))
    assert (found == spikes).all()
