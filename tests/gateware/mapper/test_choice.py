import dataclasses

import numpy as np
import pytest

from arch.network import Encoding, OrPool, Reset
from gateware.engine.configuration import ConfigError
from gateware.engine.program import PIXEL_ENTRIES, layer_entries
from gateware.mapper.choice import choose_config, joint_circuit, limit_of_circuit, map_network
from tests.gateware.mapper.networks import CONFIG, conv, network
from tests.random_networks import CIRCUITS, draw


def test_what_the_limits_allow_is_mapped():
    plan = map_network(network(conv(3, 1), OrPool(size=2)), CONFIG)
    assert plan.weight_rows == 2 * 5 + 4
    assert len(plan.contents.program) == 2 * layer_entries(plan.config)
    assert len(plan.contents.pixels) == PIXEL_ENTRIES
    assert [len(lane) for lane in plan.contents.weights] == [plan.weight_rows] * 2
    assert len(plan.contents.constants) == (2 + 1) * 2


@pytest.mark.parametrize(("net", "options", "message"), [
    (network(conv(2, 1), encoding=Encoding.EVENTS), {},
     r"^network: its input must be pixels for this circuit, not events: use a circuit with pixels = False$"),
    (network(conv(2, 1)), {"pixels": False},
     r"^network: its input must be events for this circuit, not pixels: use a circuit with pixels = True$"),
    (network(conv(2, 1), timesteps=5), {},
     r"^network: timesteps must be at most 4, not 5: use a circuit with timesteps = 8$"),
    (network(conv(2, 1), timesteps=5, encoding=Encoding.EVENTS), {"pixels": False},
     r"^network: timesteps must be at most 4, not 5: use a circuit with timesteps = 5$"),
    (network(conv(2, 1), timesteps=9), {}, r"^network: timesteps must be at most 4, not 9$"),
    (network(conv(2, 1), conv(2, 2), conv(2, 2)), {},
     r"^network: layers with weights must be at most 3, not 4: use a circuit with layers = 4$"),
    (network(conv(2, 1), classes=5), {},
     r"^network: classes must be at most 4, not 5: use a circuit with classes = 5$"),
    (network(conv(8, 1), conv(3, 8)), {},
     r"^network: weight rows of 2 x 4 must be at most 64, not 72: use a circuit with weight_rows = 72$"),
    (network(conv(16, 1, 1, padding=0), OrPool(size=2)), {},
     r"^network: groups of 2 channels must be at most 8, not 9: use a circuit with channel_groups = 9$"),
    (network(conv(1, 3, 7, padding=3), shape=(3, 2, 4)),
     {"spike_words": 2048, "weight_rows": 256},
     (r"^layer 0 \(convolution\): words of a kernel row must be at most 16, not 74: "
      r"use a circuit with max_run = 74$")),
    (network(conv(2, 1, 5, padding=4), shape=(1, 1, 9)), {"spike_words": 2048, "weight_rows": 256},
     (r"^layer 0 \(convolution\): words of a map row must be at most 64, not 169: "
      r"use a circuit with max_row_words = 169$")),
    (network(conv(2, 1, 1, padding=0), OrPool(size=5), shape=(1, 17, 5)), {},
     r"^layer 0 \(convolution\): side of its maps must be at most 16, not 17: use a circuit with max_side = 17$"),
    (network(conv(2, 1, fraction=3)), {},
     r"^layer 0 \(convolution\): fractional bits must be at most 2, not 3: use a circuit with fraction = 3$"),
    (network(conv(2, 1, reset=Reset.ZERO)), {"hard_reset": False},
     r"^layer 0 \(convolution\): this circuit has no hard reset: use a circuit with hard_reset = True$"),
    (network(conv(2, 1, leak_shift=2)), {"leak": False},
     r"^layer 0 \(convolution\): this circuit has no leak: use a circuit with leak = True$"),
    (network(conv(2, 1, threshold=np.array([5, 200000]))), {},
     r"^layer 0 \(convolution\): membrane bits must be at most 20, not 21: use a circuit with membrane_width = 21$"),
    (network(conv(2, 1, threshold=np.array([5, 1 << 40]))), {},
     r"^layer 0 \(convolution\): membrane bits must be at most 20, not 44$"),
    (network(conv(2, 1)), {"accumulator_width": 6},
     r"^network: accumulator bits must be at most 6, not 7: use a circuit with accumulator_width = 7$"),
    (network(conv(2, 1)), {"spike_words": 64},
     (r"^layer 0 \(convolution\): words of packed windows must be at most 32, not 80: "
      r"use a circuit with spike_words = 256$")),
    (network(conv(16, 1), conv(5, 16)), {"spike_words": 256},
     (r"^layer 0 \(convolution\): its 64 words of spikes must be at most 48 words of spike memory: "
      r"use a circuit with spike_words = 512$")),
])
def test_what_does_not_fit_is_refused_in_one_line(net, options, message):
    with pytest.raises(ConfigError, match=message):
        map_network(net, dataclasses.replace(CONFIG, **options))


@pytest.mark.parametrize(("net", "options"), [
    (network(conv(2, 1), encoding=Encoding.EVENTS), {}),
    (network(conv(2, 1), conv(2, 2), conv(2, 2), classes=5), {}),
    (network(conv(8, 1), conv(3, 8), conv(9, 3, fraction=3, reset=Reset.ZERO, leak_shift=2)),
     {"hard_reset": False, "leak": False}),
    (network(conv(20, 1, 5, padding=4), conv(12, 20), shape=(1, 9, 30)), {"spike_words": 64, "accumulator_width": 8}),
    (network(conv(16, 1), conv(5, 16, threshold=np.array([1, 1, 1, 1, 300000]))), {"spike_words": 256}),
])
def test_the_circuit_of_every_message_is_without_its_limit(net, options):
    """Following the messages one by one ends in a circuit that runs the network."""
    config, messages = dataclasses.replace(CONFIG, **options), []
    while True:
        try:
            plan = map_network(net, config)
        except ConfigError as error:
            where, _, parameters = str(error).partition(": use a circuit with ")
            assert where not in messages
            messages.append(where)
            values = dict(parameter.split(" = ") for parameter in parameters.split(", "))
            config = dataclasses.replace(config, **{name: {"True": True, "False": False}.get(value) if value in (
                "True", "False") else int(value) for name, value in values.items()})
        else:
            break
    assert messages
    assert plan.config == config



@pytest.mark.parametrize("seed", range(20))
def test_chosen_circuit_runs_the_network_and_no_smaller_one_does(seed):
    plan, _ = draw(CIRCUITS["P2-W4-T4"], [32, seed])
    config = choose_config(plan.network, lanes=2, width=4, timesteps=4, spike_words=16384, weight_rows=16384)
    assert map_network(plan.network, config).config == config
    for name in ("channel_groups", "layers", "max_run", "max_row_words", "classes", "membrane_width", "fraction"):
        least = {"channel_groups": 2, "layers": 2, "membrane_width": config.fraction + 2, "fraction": 0}.get(name, 1)
        value = getattr(config, name)
        # The widest sum or score of the readout may be what asks for the membrane.
        if value == least or name == "membrane_width":
            continue
        with pytest.raises(ConfigError):
            map_network(plan.network, dataclasses.replace(config, **{name: value - 1}))


@pytest.mark.parametrize("seed", range(10))
def test_a_joint_circuit_runs_all_and_no_smaller_one_does(seed):
    networks = [draw(CIRCUITS["P2-W4-T4"], [33, seed, number])[0].network for number in range(3)]
    configs = [choose_config(each, lanes=2, width=4, timesteps=4, spike_words=16384, weight_rows=16384)
               for each in networks]
    joint = joint_circuit(configs)
    assert joint_circuit(configs[::-1]) == joint_circuit([joint, *configs]) == joint
    for each in networks:
        assert map_network(each, joint).config == joint
    for name in ("channel_groups", "layers", "accumulator_width", "membrane_width", "fraction", "hard_reset", "leak"):
        # Some network has no room in a circuit with less of anything, unless nothing can have less.
        value = getattr(joint, name)
        if value == {"channel_groups": 2, "layers": 2, "accumulator_width": max(2, joint.sum_width),
                     "membrane_width": joint.fraction + 2}.get(name, 0):
            continue
        smaller = dataclasses.replace(joint, **{name: value - 1 if not isinstance(value, bool) else False})
        assert any(limit_of_circuit(each, smaller) for each in networks), name
