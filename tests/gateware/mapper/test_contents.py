import hashlib
import json
from pathlib import Path

import pytest

from arch import network_file
from boards import BOARDS
from gateware.engine.program import LayerEntry, layer_layouts
from gateware.mapper.choice import map_network, plan_for_board
from gateware.mapper.cycles import count_cycles
from tests.gateware.mapper.networks import CONFIG, conv, network
from tests.random_networks import CIRCUITS, draw
from tests.twins.blocks import issues

MODELS = Path(__file__).resolve().parents[3] / "models"


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("name", CIRCUITS)
def test_memories_are_within_their_depths(name, seed):
    plan, _ = draw(CIRCUITS[name], [31, seed])
    config, contents = plan.config, plan.contents
    assert plan.weight_rows <= config.weight_rows
    assert plan.spike_words <= config.spike_words
    assert len(contents.constants) <= config.channel_groups * config.lanes
    assert all(0 <= row < 1 << 2 * config.width for lane in contents.weights for row in lane)
    read = [issue for issue in issues(plan, 1) if not issue.zero]
    assert max(issue.row for issue in read) < plan.weight_rows
    assert max(issue.address for issue in read) < plan.spike_words
    assert sum(count_cycles(plan).words) == len(list(issues(plan, 0)))


def test_leak_is_that_of_the_layer_whatever_its_fraction():
    plan = map_network(network(conv(2, 1, fraction=0, leak_shift=3)), CONFIG)
    layout = layer_layouts(CONFIG)[LayerEntry.MODE]
    # Shift the scaled membrane, then clear its lowest bits: floor(V / 8) in units of the layer.
    mode = layout.from_bits(plan.contents.program[LayerEntry.MODE] & (1 << layout.size) - 1)
    assert (mode.neurons.leak, mode.neurons.scale) == (3, CONFIG.fraction)


@pytest.mark.parametrize(("name", "digests"), [
    ("mnist-conv", {"weights": "bf4a4be0353c725e", "constants": "f26005fec78cfe7b",
                   "program": "2d7c1d9f92f3ff1e", "pixels": "a057886f6034c78b"}),
    ("fashion-conv", {"weights": "51956284707520d9", "constants": "a43e1878151bea3d",
                     "program": "3b20939e216061fe", "pixels": "a057886f6034c78b"}),
])
def test_contents_of_the_shipped_networks_are_those_of_their_bitstreams(name, digests):
    """A difference is another format of memory contents: bitstreams and flash images must be made again."""
    contents = plan_for_board(network_file.load(MODELS / f"{name}.safetensors"), BOARDS["icebreaker"]).contents
    memories = {"weights": contents.weights, "constants": contents.constants, "program": contents.program,
                "pixels": contents.pixels}
    assert {memory: hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
            for memory, rows in memories.items()} == digests
