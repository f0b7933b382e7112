"""The info block says of a plan what the host must know, field by field."""

import dataclasses

import pytest

from arch import network_file
from arch.link import Info, InputEncoding
from arch.network import Encoding
from gateware.mapper.choice import map_network
from gateware.mapper.info import info_of
from tests.gateware.mapper.networks import CONFIG, conv, network


@pytest.mark.parametrize(("encoding", "zero_point", "expected"), [
    (Encoding.PIXELS, 0, InputEncoding.UNSIGNED), (Encoding.PIXELS, 128, InputEncoding.OFFSET),
    (Encoding.EVENTS, 0, InputEncoding.EVENTS)])
def test_every_field_is_that_of_network_circuit_and_clock(encoding, zero_point, expected):
    net = network(conv(4, 3), shape=(3, 4, 5), classes=3, timesteps=2, encoding=encoding)
    net = dataclasses.replace(net, input=dataclasses.replace(net.input, zero_point=zero_point))
    config = dataclasses.replace(CONFIG, pixels=encoding is Encoding.PIXELS, max_run=32, max_row_words=128,
                                 spike_words=1024, weight_rows=256)
    plan = map_network(net, config)
    assert info_of(plan, clock_hz=39_750_400) == Info(
        lanes=2, width=4, circuit_timesteps=4, timesteps=2, encoding=expected, channels=3, image_height=4,
        image_width=5, classes=3, clock_khz=39_750, digest=bytes.fromhex(network_file.digest(net))[:8])
