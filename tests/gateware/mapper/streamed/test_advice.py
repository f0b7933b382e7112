"""What is said to help a network that does not fit a streamed circuit: it is done here, and then the network fits."""

import dataclasses
import re

import numpy as np
import pytest

from arch.flash.errors import ImageError
from arch.flash.header import SEAL_BYTES
from arch.flash.image import build_image
from arch.network import Convolution, Encoding, FullyConnected, Input, Network, OrPool, Projection, Readout, Reset
from arch.widths import layer_widths
from boards import BOARDS
from gateware.mapper.advice import resized
from gateware.mapper.limits import signed_bits
from gateware.mapper.streamed.advice import nearest_changes
from gateware.mapper.streamed.choice import StreamedFitError, lay_out, lay_out_for_board
from gateware.mapper.streamed.limits import network_findings
from gateware.mapper.streamed.model import model_of
from reference.generate import random_network
from tests.gateware.mapper.networks import conv, make_neurons, network
from tests.streamed_networks import CIRCUITS

BOARD = BOARDS["icebreaker"]
#: A sixteenth of the spike memory.
SMALL = dataclasses.replace(BOARD, fpga=dataclasses.replace(BOARD.fpga, spike_words=1024))
LARGE = network(conv(64, 3), conv(64, 64), conv(64, 64), OrPool(size=7), shape=(3, 42, 42))


def refused(made, board=BOARD, **options):
    with pytest.raises(StreamedFitError) as caught:
        lay_out_for_board(made, board, **options)
    assert str(caught.value) == f"{caught.value.findings[0]}: {caught.value.remedy}"
    return caught.value.remedy


def fits(made, board=BOARD):
    try:
        lay_out_for_board(made, board)
    except StreamedFitError:
        return False
    return True


def changed(made, remedy):
    """Do what a remedy says; its parts are joined by commas and the last ``and``."""
    for part in re.split(r", | and (?=use|train|split|export)", remedy):
        if match := re.fullmatch(r"train it with at most (\d+) timesteps?", part):
            made = dataclasses.replace(made, timesteps=int(match[1]))
        elif match := re.fullmatch(r"use at most (\d+) (?:channels|neurons) in layer (\d+) \([a-z-]+\)", part):
            made = resized(made, channels={int(match[2]): int(match[1])})
        elif match := re.fullmatch(r"use at most (\d+) % of the channels of every layer", part):
            made = resized(made, channels={
                index: max(1, layer.neurons.channels * int(match[1]) // 100)
                for index, layer in enumerate(made.layers) if isinstance(layer, Convolution | FullyConnected)})
        else:
            match = re.fullmatch(r"use images of at most (\d+) x (\d+)", part)
            assert match, part
            made = resized(made, image=(int(match[1]), int(match[2])))
    return made


def test_each_kind_of_change_is_the_nearest():
    remedy = refused(LARGE)
    assert remedy == "use at most 48 channels in layer 0 (convolution); or use images of at most 40 x 40"
    assert fits(resized(LARGE, channels={0: 48}))
    assert not fits(resized(LARGE, channels={0: 49}))
    assert fits(resized(LARGE, image=(40, 40)))
    assert not fits(resized(LARGE, image=(41, 41)))


def test_timesteps_are_one_way():
    made = network(conv(20, 1), conv(16, 20), OrPool(size=4), shape=(1, 12, 12), timesteps=14)
    remedy = refused(made, SMALL)
    assert re.match(r"train it with at most 8 timesteps; or use ", remedy)
    assert fits(dataclasses.replace(made, timesteps=8), SMALL)
    assert not fits(dataclasses.replace(made, timesteps=9), SMALL)


@pytest.mark.parametrize("seed", range(4))
def test_remedies_are_true(seed):
    """Random networks, too large in some way: with each alternative the network fits."""
    rng = np.random.default_rng([0xAD, seed])
    side, first, second = (int(rng.integers(low, high)) for low, high in ((20, 70), (20, 50), (20, 50)))
    block = dataclasses.replace(conv(second, second), projection=Projection.identity(source=1, channels=second))
    made = network(conv(first, 3), conv(second, first), conv(second, second), block, OrPool(size=4),
                   shape=(3, side, side), timesteps=int(rng.integers(1, 40)))
    for alternative in refused(made, SMALL).split("; or "):
        assert fits(changed(made, alternative), SMALL), alternative


def test_what_the_circuit_has_for_no_network_is_changed_in_any_case():
    leaky = network(conv(4, 1, 1, padding=0, leak_shift=2), timesteps=40)
    assert refused(leaky) == "train it without a leak and train it with at most 32 timesteps"
    many = network(conv(4, 1), classes=300)
    assert refused(many) == "split its classes over models of at most 128"
    events = network(conv(4, 1), encoding=Encoding.EVENTS, timesteps=9)
    assert refused(events) == "train it with at most 8 timesteps"


def test_a_reset_that_the_circuit_has_not_is_replaced():
    config = dataclasses.replace(CIRCUITS["P2-W4-T4"], hard_reset=False)
    made = network(conv(4, 1, reset=Reset.ZERO))
    with pytest.raises(StreamedFitError) as caught:
        lay_out(made, config)
    tried = []

    def all_right(candidate):
        tried.append(candidate)
        return not list(network_findings(candidate, config))

    assert nearest_changes(made, config, caught.value.findings, all_right) == "train it with a reset by subtraction"
    assert [candidate.layers[0].neurons.reset for candidate in tried] == [Reset.SUBTRACT]


def test_every_part_of_the_classes_must_fit():
    config = CIRCUITS["P2-W4-T4"]
    made, parts = network(conv(4, 1), classes=40), []

    def first_alone(candidate):
        parts.append(candidate.classes)
        return len(parts) < 3

    remedy = nearest_changes(made, config, (), first_alone)
    assert parts[:3] == [16, 16, 8]
    assert not remedy.startswith("split its classes over models of at most 16;")


def test_timesteps_are_said_once():
    made = network(conv(16, 1), conv(16, 16), OrPool(size=4), shape=(1, 12, 12), timesteps=40)
    alternatives = refused(made, SMALL).split("; or ")
    assert len(alternatives) > 1
    assert all(alternative.count("timestep") == 1 for alternative in alternatives)
    assert all(fits(changed(made, alternative), SMALL) for alternative in alternatives)


def test_another_board_is_named_first():
    small = dataclasses.replace(BOARD, flash_bytes=BOARD.models_at + 65_536 + SEAL_BYTES + 100_000)
    made = network(conv(64, 3), conv(64, 64), OrPool(size=2), conv(256, 64), conv(256, 256), shape=(3, 8, 8))
    with pytest.raises(StreamedFitError) as caught:
        lay_out_for_board(made, small, others=[small, BOARD, BOARDS["icesugar"], BOARDS["upduino-v3"]])
    assert re.fullmatch(r"network: bytes of its stream in the flash of the iCEBreaker must be at most 100000, not \d+: "
                        r"use the iCESugar", str(caught.value))
    # The FPGA of the UPduino v3 cannot read its flash, so the overlay does not run there, whatever room there is.
    remedy = refused(made, small, others=[small, BOARDS["upduino-v3"]])
    assert remedy.startswith("use at most ")
    alternatives = remedy.split("; or ")
    assert all(fits(changed(made, alternative), small) for alternative in alternatives)


FITTED = "export the checkpoint with --fit BOARD, which moves constants and says what that costs"


def test_the_room_in_the_flash_is_that_of_an_image():
    """A byte less, and neither the plan nor the image fits."""
    made  = network(conv(4, 1))
    model = model_of(lay_out_for_board(made, BOARD), name="model", clock_hz=48e6)
    least = BOARD.models_at + len(build_image([model]))
    for flash_bytes in (least, least - 1):
        board = dataclasses.replace(BOARD, flash_bytes=flash_bytes)
        assert fits(made, board) == (flash_bytes == least)
    assert build_image([model], base=BOARD.models_at, flash_bytes=least)
    with pytest.raises(ImageError, match=r"stream must end at or before"):
        build_image([model], base=BOARD.models_at, flash_bytes=least - 1)


def test_constants_are_moved_in_the_export():
    """Other limits are not mixed up with those of constants."""
    fine = network(conv(4, 1, fraction=7, threshold=np.full(4, 1 << 30)))
    assert refused(fine) == FITTED
    remedy = refused(dataclasses.replace(fine, timesteps=40))
    assert remedy == "train it with at most 32 timesteps"


def test_currents_that_are_too_wide_are_cut():
    """No constants keep these membranes in the range, but fewer timesteps and channels do."""
    made = network(conv(41, 2, 1, padding=0), conv(8, 41, 5), shape=(2, 6, 6), timesteps=32)
    dark = dataclasses.replace(made, layers=(made.layers[0], dataclasses.replace(
        made.layers[1], weights=np.full((8, 41, 5, 5), -1, np.int8)), *made.layers[2:]))
    alternatives = refused(dark).split("; or ")
    assert [alternative.split(" at most ")[0] for alternative in alternatives] == ["train it with", "use"]
    assert all(fits(changed(dark, alternative)) for alternative in alternatives)


def test_where_nothing_helps_that_is_said():
    # The membrane of a neuron that never spikes leaves the range in the first timestep.
    made = network(conv(4, 64, 7), shape=(64, 7, 7), timesteps=1)
    dark = dataclasses.replace(made, layers=(dataclasses.replace(
        made.layers[0], weights=np.full((4, 64, 7, 7), -1, np.int8)), *made.layers[1:]))
    assert refused(dark) == ("no change was found with which it fits: tried were fewer timesteps, fewer channels of a "
                             "layer and of all layers, smaller images, and all of these")


def test_both_are_cut_where_neither_is_enough():
    made = network(conv(700, 1, 1, padding=0, stride=7), conv(8, 700, 7, padding=3), shape=(1, 64, 64), timesteps=1)
    remedy = refused(made)
    assert re.fullmatch(r"use images of at most \d+ x \d+ and use at most \d+ .*", remedy)
    assert fits(changed(made, remedy))


def test_maps_that_a_shortcut_joins_stay_alike():
    made = network(conv(4, 1), conv(4, 4), dataclasses.replace(conv(4, 4), shortcut=0))
    assert resized(made, channels={0: 3}) is None
    both = resized(made, channels={0: 3, 1: 3})
    assert [layer.weights.shape for layer in both.layers[:3]] == [(3, 1, 3, 3), (3, 3, 3, 3), (4, 3, 3, 3)]
    weights = np.ones((6, 4, 1, 1), np.int8)
    projection = Projection(source=0, weights=weights)
    beside = network(conv(4, 1), conv(4, 4), dataclasses.replace(conv(6, 4), projection=projection))
    assert resized(beside, channels={0: 3, 2: 5}).layers[2].projection.weights.shape == (5, 3, 1, 1)
    identity = Projection.identity(source=0, channels=4)
    same = network(conv(4, 1), conv(4, 4), dataclasses.replace(conv(4, 4), projection=identity))
    assert resized(same, channels={0: 3}) is None
    assert resized(same, channels={0: 3, 2: 3}).layers[2].projection.diagonal


@pytest.mark.parametrize("seed", range(6))
def test_the_quick_bound_hides_no_membrane(seed):
    """The findings are those of the exact ranges, for circuits of all widths."""
    rng = np.random.default_rng([0xB0, seed])
    made = random_network(rng, shortcuts=True, pools=True, projections=True)
    for width in range(9, 19):
        config = dataclasses.replace(CIRCUITS["P8-W16-T4"], membrane_width=width)
        expected = []
        for index, (layer, widths) in enumerate(zip(made.layers, layer_widths(made), strict=True)):
            if isinstance(layer, OrPool):
                continue
            if isinstance(layer, Readout):
                bits, what = config.fraction + widths.score.bits, "score"
            else:
                scale, highest = max(0, config.fraction - layer.neurons.fraction), int(layer.neurons.threshold.max())
                low  = min(widths.membrane.low, widths.difference.low, -highest)
                high = max(widths.membrane.high, widths.difference.high, highest)
                bits, what = signed_bits(low << scale, high << scale), "membrane"
            if bits > width:
                expected.append(f"layer {index} ({layer.kind}): {what} bits must be at most {width}, not {bits}")
        assert [str(finding) for finding in network_findings(made, config) if " bits must" in finding.problem
                ] == expected


def test_the_wide_input_of_a_dense_layer_is_cut():
    """2,016 words are the most that a dense layer reads."""
    dense = FullyConnected(weights=np.zeros((8, 16 * 2100), np.int8), neurons=make_neurons(8))
    made = Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=42, width=50), timesteps=4, layers=(
        conv(16, 1), dense, Readout(weights=np.zeros((2, 8), np.int8))))
    remedy = refused(made)
    assert all(fits(changed(made, alternative)) for alternative in remedy.split("; or "))
