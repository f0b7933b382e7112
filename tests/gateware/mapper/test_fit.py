import dataclasses
import re

import numpy as np
import pytest

from arch.network import Encoding, OrPool
from boards import BOARDS
from gateware.engine.configuration import ConfigError
from gateware.mapper.advice import resized
from gateware.mapper.choice import check_fit, first_limit, plan_for_board
from gateware.mapper.cycles import count_cycles, estimate_cycles
from gateware.mapper.fit import DoesNotFitError, format_fit
from gateware.mapper.memories import count_block_rams
from tests.gateware.mapper.networks import conv, network
from tests.random_networks import CIRCUITS, draw

BOARD = BOARDS["icebreaker"]
LARGE = network(conv(16, 1, 7, stride=2, padding=3), conv(32, 16), OrPool(size=2), conv(96, 32), OrPool(size=2),
                shape=(1, 28, 28))
SMALL = network(conv(16, 1, 7, stride=2, padding=3), conv(32, 16), OrPool(size=2), conv(56, 32), OrPool(size=2),
                shape=(1, 28, 28))


def test_a_network_that_fits_has_a_plan_and_its_exact_clocks():
    fit = check_fit(SMALL, BOARD)
    assert (fit.findings, fit.remedy) == ((), "")
    assert tuple(layer.clocks for layer in fit.layers) == count_cycles(fit.plan).stages
    assert [layer.weight_rows for layer in fit.layers] == [14, 36, 126, 36]
    assert sum(layer.weight_rows for layer in fit.layers) == fit.plan.weight_rows <= fit.weight_rows


def test_a_network_that_does_not_fit_gets_a_table():
    fit = check_fit(LARGE, BOARD)
    assert fit.plan is None
    assert format_fit(fit).splitlines() == [
        "layer  kind                             input        output  weight rows  spike words  clocks",
        "    0  convolution                1 x 28 x 28  16 x 14 x 14           14          196   3,169",
        "    1  convolution, or-pool 2    16 x 14 x 14    32 x 7 x 7           36           98   7,285",
        "    3  convolution, or-pool 2      32 x 7 x 7    96 x 3 x 3          216           54   7,917",
        "    5  readout                     96 x 3 x 3     2 x 1 x 1           54            0      87",
        "       all layers                                                    320               18,458",
        "       iCEBreaker, array 8 x 16                                      256       16,384",
        "each of two images takes 1,372 spike words more",
        "does not fit: network: weight rows of 8 x 16 must be at most 256, not 320",
        "remedy: use at most 64 channels in layer 3 (convolution)",
    ]


def test_the_error_is_one_line_and_has_the_table():
    with pytest.raises(DoesNotFitError, match=r"^network: weight rows of 8 x 16 must be at most 256, not 320: "
                                              r"use at most 64 channels in layer 3 \(convolution\)$") as caught:
        plan_for_board(LARGE, BOARD)
    assert caught.value.fit.layers[2].weight_rows == 216


def test_the_remedy_fits_and_a_step_more_does_not():
    assert check_fit(resized(LARGE, channels={3: 64}), BOARD).plan is not None
    assert check_fit(resized(LARGE, channels={3: 65}), BOARD).plan is None


@pytest.mark.parametrize("seed", range(12))
def test_remedies_are_true(seed):
    """Random networks, too large for the board in some way: what the remedy says is done, and then it fits."""
    rng = np.random.default_rng([41, seed])
    side, first, second = (int(rng.integers(low, high)) for low, high in ((20, 60), (8, 80), (16, 160)))
    net = network(conv(first, 1, 5, padding=2), OrPool(size=2), conv(second, first), OrPool(size=2),
                  shape=(1, side, side), timesteps=int(rng.integers(2, 8)))
    fit = check_fit(net, BOARD)
    assert fit.plan is None
    for remedy in re.split(", | and ", fit.remedy):
        if match := re.fullmatch(r"train it with (\d+) timesteps", remedy):
            net = dataclasses.replace(net, timesteps=int(match[1]))
        elif match := re.fullmatch(r"use at most (\d+) channels in layer (\d+) \(convolution\)", remedy):
            net = resized(net, channels={int(match[2]): int(match[1])})
        elif match := re.fullmatch(r"use at most (\d+) % of the channels of every layer", remedy):
            net = resized(net, channels={0: max(1, first * int(match[1]) // 100),
                                         2: max(1, second * int(match[1]) // 100)})
        else:
            match = re.fullmatch(r"use images of at most (\d+) x (\d+)", remedy)
            assert match, remedy
            net = resized(net, image=(int(match[1]), int(match[2])))
    assert check_fit(net, BOARD).plan is not None


def test_a_geometry_that_was_asked_for_is_told_of_one_that_fits():
    with pytest.raises(DoesNotFitError, match=r"^network: weight rows of 1 x 16 must be at most 256, not 1480: "
                                              r"use 8 lanes and a width of 16, with which it fits$"):
        plan_for_board(SMALL, BOARD, lanes=1)
    assert plan_for_board(SMALL, BOARD, lanes=8, width=16).config.lanes == 8


@pytest.mark.parametrize("options", [{"lanes": 0}, {"width": 0}])
def test_zero_is_not_taken_for_nothing(options):
    name = next(iter(options))
    with pytest.raises(ConfigError, match=rf"^{name} must be a power of two, not 0$"):
        check_fit(SMALL, BOARD, **options)


def test_sums_and_membranes_that_no_circuit_holds_are_found():
    wide = network(conv(2, 1, threshold=np.array([5, 1 << 41])))
    assert [str(finding) for finding in check_fit(wide, BOARD).findings] == [
        "layer 0 (convolution): membrane bits must be at most 40, not 43"]


def test_fewer_lanes_are_taken_where_block_rams_run_out():
    """Lanes cost block RAMs of weights; this network takes as many for its constants."""
    channels = 400
    net = network(conv(channels, 1, 1, padding=0, threshold=np.full(channels, 1 << 22)), OrPool(size=4))
    fit = check_fit(net, BOARD, lanes=8)
    assert fit.message == ("array of 8 x 16: block RAMs must be at most 30, not 34: "
                           "use 4 lanes and a width of 16, with which it fits")
    plan = plan_for_board(net, BOARD)
    assert plan.config.lanes == 4
    assert count_block_rams(plan.config, BOARD.fpga) <= BOARD.fpga.resources.block_rams


def test_a_spike_memory_has_words_of_the_widest_array():
    net = network(conv(2, 1), encoding=Encoding.EVENTS)
    assert check_fit(net, BOARD, width=32).message == (
        "array of 8 x 32: width must be at most 16, not 32: use 8 lanes and a width of 16, with which it fits")


def test_an_image_has_room_in_a_frame():
    net = network(conv(2, 3, 1, stride=7, padding=0), OrPool(size=7), shape=(3, 150, 150))
    assert check_fit(net, BOARD).message == (
        "input: bytes of an image must be at most 65535, not 67500: use images of at most 147 x 147")


def test_timesteps_of_events_are_cut_too():
    net = network(conv(2, 1), encoding=Encoding.EVENTS, timesteps=9)
    assert check_fit(net, BOARD).message == (
        "network: timesteps must be at most 4, not 9: train it with 4 timesteps")


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("name", CIRCUITS)
def test_estimated_clocks_are_close_to_the_exact_ones(name, seed):
    plan, _ = draw(CIRCUITS[name], [42, seed])
    exact = count_cycles(plan).stages
    for estimate, clocks in zip(estimate_cycles(plan.config, plan.stages), exact, strict=True):
        assert abs(estimate - clocks) <= 0.05 * clocks + 8


def test_the_first_limit_is_known_without_what_would_help():
    assert first_limit(SMALL, BOARD) is None
    limit = first_limit(LARGE, BOARD)
    assert limit is not None
    lanes, width = BOARD.geometries[0]
    assert str(limit) == str(check_fit(LARGE, BOARD, lanes=lanes, width=width).findings[0])
