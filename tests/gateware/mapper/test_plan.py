import dataclasses

import numpy as np

from arch.network import FullyConnected
from gateware.mapper.choice import map_network
from gateware.mapper.plan import synaptic_operations
from tests.gateware.mapper.networks import CONFIG, conv, make_neurons, network


def test_operations_leave_padding_out():
    whole = FullyConnected(weights=np.ones((3, 48), np.int8), neurons=make_neurons(3))
    plan = map_network(network(conv(3, 1), whole), dataclasses.replace(CONFIG, max_run=64))
    # 4 x 4 positions, 3 x 3 taps of which 10 of 12 a side are inside.
    assert synaptic_operations(plan, 0) == 10 * 10 * 1 * 3 * 4
    assert synaptic_operations(plan, 1) == 48 * 3 * 4
