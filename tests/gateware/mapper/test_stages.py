from arch.network import OrPool
from gateware.mapper.stages import stages_of
from tests.gateware.mapper.networks import conv, network


def test_a_stage_is_a_layer_and_its_pool():
    stages = stages_of(network(conv(3, 1), OrPool(size=2), conv(2, 3, 1, padding=0), shape=(1, 5, 7)))
    assert [(stage.index, stage.last_index, stage.pool, stage.computed, stage.target) for stage in stages] == [
        (0, 1, 2, (3, 4, 6), (3, 2, 3)), (2, 2, 1, (2, 2, 3), (2, 2, 3)), (3, 3, 1, (2, 1, 1), (2, 1, 1))]
    assert stages[0].name == "layer 0 (convolution)"


def test_pools_behind_each_other_are_one_of_both_sides():
    stages = stages_of(network(conv(3, 1), OrPool(size=2), OrPool(size=3), shape=(1, 14, 13)))
    assert [(stage.index, stage.last_index, stage.pool, stage.computed, stage.target) for stage in stages[:-1]] == [
        (0, 2, 6, (3, 12, 12), (3, 2, 2))]
