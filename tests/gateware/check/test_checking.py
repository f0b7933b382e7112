import dataclasses
import json
import re

import numpy as np
import pytest

from arch import network_file
from arch.network import Convolution, Encoding, OrPool
from boards import BOARDS, BoardError
from gateware.check import checking
from gateware.check.answer import SCHEMA, Bears
from gateware.check.checking import check, check_flash
from gateware.check.shapes import Shapes
from gateware.check.text import format_check
from gateware.engine.configuration import ConfigError
from gateware.mapper import choice
from gateware.mapper.bound import Bound
from gateware.mapper.choice import check_fit, plan_for_board
from gateware.mapper.cycles import count_cycles
from gateware.mapper.streamed import cycles as streamed_cycles
from gateware.mapper.streamed.choice import lay_out_for_board
from models import DEFAULT_NETWORK
from support.errors import InputError
from tests.gateware.mapper.networks import conv, network

BOARD = BOARDS["icebreaker"]
SMALL = network(conv(16, 1, 7, stride=2, padding=3), conv(32, 16), OrPool(size=2), shape=(1, 28, 28))
#: Too many weight rows for the block RAM, but not for the flash.
LARGE = network(conv(16, 1, 7, stride=2, padding=3), conv(32, 16), OrPool(size=2), conv(96, 32), OrPool(size=2),
                shape=(1, 28, 28))


def test_a_network_that_both_circuits_bear():
    plan, valid, findings = check(SMALL, BOARD)
    assert (valid, findings, plan.bearing) == (True, (), ("baked", "flash"))
    baked, flash = plan.circuits["baked"], plan.circuits["flash"]
    assert (baked.bears, flash.bears) == (Bears.YES, Bears.YES)
    assert [layer.clocks for layer in baked.layers] == list(count_cycles(plan_for_board(SMALL, BOARD)).stages)
    streamed = lay_out_for_board(SMALL, BOARD)
    counted = streamed_cycles.count_cycles(streamed.config, streamed.passes, clock_hz=flash.clock_mhz * 1e6)
    assert (flash.clocks, flash.clocks_are_exact) == (counted.total, True)
    assert plan.network_sha256 == network_file.digest(SMALL)


def test_a_file_and_the_name_of_a_board_will_do():
    plan, valid, _ = check(DEFAULT_NETWORK, "icebreaker")
    assert (plan.network, plan.board, valid) == ("mnist-conv", "icebreaker", True)
    baked = plan.circuits["baked"]
    assert [(layer.index, layer.weight_rows, layer.words, layer.clocks, layer.bound) for layer in baked.layers] == [
        (0, 14, 2744, 3168, Bound.PIXELS), (1, 36, 5184, 5360, Bound.SPIKES), (3, 144, 2304, 2368, Bound.SPIKES),
        (5, 32, 32, 65, Bound.CLOCKS)]
    assert round(baked.layers[1].utilisation, 4) == 0.9672


def test_one_circuit_is_enough_and_the_other_says_what_it_lacks():
    plan, valid, findings = check(LARGE, BOARD)
    assert (valid, plan.bearing) == (True, ("flash",))
    assert [(item.circuit, item.layer, item.value, item.limit, item.over) for item in findings] == [
        ("baked", None, 320, 256, 64)]
    assert str(findings[0]) == "baked: network: weight rows of 8 x 16 must be at most 256, not 320"
    remedy, = plan.circuits["baked"].remedies
    assert remedy.text == "use at most 64 channels in layer 3 (convolution)"


def test_every_map_without_room_is_a_finding():
    wide = network(conv(64, 1, 3), conv(64, 64), conv(64, 64), shape=(1, 32, 32))
    found = [finding for finding in check(wide, BOARD, remedies=False).findings
             if finding.circuit == "baked" and "words of spikes" in finding.problem]
    assert [finding.layer for finding in found] == [1, 2]
    assert all(finding.value > finding.limit for finding in found)


def draw(seed):
    """A network that is too large in some way, or has what an array does not run."""
    rng = np.random.default_rng([61, seed])
    side, first, second = (int(rng.integers(low, high)) for low, high in ((20, 70), (8, 40), (16, 120)))
    layers = [conv(first, 1, 5, padding=2, fraction=int(rng.integers(0, 8))), OrPool(size=2), conv(second, first),
              OrPool(size=2)]
    if rng.random() < 0.5:
        layers[2] = dataclasses.replace(layers[2], pool=2)
    return network(*layers, shape=(1, side, side), timesteps=int(rng.integers(2, 9)))


@pytest.mark.parametrize("seed", range(5))
def test_a_remedy_is_named_only_if_the_check_with_it_passes(seed):
    plan, _, _ = check(draw(seed), BOARD)
    for circuit in plan.circuits.values():
        if circuit.bears is Bears.YES:
            assert circuit.remedies == ()
        for remedy in circuit.remedies:
            assert remedy.networks
            for changed in remedy.networks:
                again = check(changed, remedy.board, remedies=False)
                assert again.plan.circuits[remedy.circuit].bears is Bears.YES, remedy.text


def test_remedies_of_the_overlay_were_checked_too():
    """Its maps have sides of at most 63: the image must become so small, and no other board has longer ones."""
    large = network(conv(8, 1, 5, padding=2), OrPool(size=2), conv(8, 8), shape=(1, 90, 90))
    flash = check(large, BOARD).plan.circuits["flash"]
    assert flash.bears is Bears.NO
    assert [remedy.board for remedy in flash.remedies] == ["icebreaker"]
    changed, = flash.remedies[0].networks
    assert check(changed, BOARD, remedies=False).plan.circuits["flash"].bears is Bears.YES
    assert changed.input.height > 50


def test_the_drawn_networks_meet_both_circuits_limits():
    answers = [check(draw(seed), BOARD, remedies=False).plan for seed in range(5)]
    for name in ("baked", "flash"):
        assert any(plan.circuits[name].bears is Bears.NO for plan in answers)


def test_constants_are_rounded_as_the_export_would_before_it_is_named():
    fine = network(conv(8, 1, fraction=9, threshold=np.full(8, 5 << 9)))
    plan, _, findings = check(fine, BOARD)
    assert [finding.problem for finding in findings if finding.circuit == "flash"] == [
        "fractional bits must be at most 4, not 9", "membrane bits must be at most 20, not 22"]
    remedy, = plan.circuits["flash"].remedies
    assert remedy.text == "export the checkpoint with --fit icebreaker, which moves constants and says what that costs"
    neurons = remedy.networks[0].layers[0].neurons
    assert (neurons.fraction, neurons.threshold.tolist()) == (4, [80] * 8)


def test_rounding_and_another_change_are_named_together():
    fine = network(conv(8, 1, fraction=9, threshold=np.full(8, 5 << 9)), timesteps=40)
    remedies = check(fine, BOARD).plan.circuits["flash"].remedies
    assert remedies[0].text == ("export the checkpoint with --fit icebreaker, which moves constants and says what that "
                                "costs and train it with at most 32 timesteps")


def test_classes_are_split_over_networks_that_were_checked():
    many = network(conv(8, 1), classes=300)
    remedy = check(many, BOARD).plan.circuits["flash"].remedies[0]
    assert remedy.text == "split its classes over models of at most 128"
    assert [part.classes for part in remedy.networks] == [128, 128, 44]


def test_a_board_whose_fpga_cannot_read_the_flash_names_one_that_can():
    blind = dataclasses.replace(BOARD, name="blind", title="Blind", flash_wiring=None,
                                flash_obstacle="has no flash")
    flash = check(SMALL, blind).plan.circuits["flash"]
    assert (flash.bears, flash.clocks_are_exact) == (Bears.NO, False)
    assert [finding.problem for finding in flash.findings] == [
        "board must let the FPGA read the flash for the overlay, and the Blind has no flash"]
    assert "use --board icebreaker" in [remedy.text for remedy in flash.remedies]


@pytest.mark.parametrize(("board", "problem"), [
    (BOARDS["icesugar"], None), (dataclasses.replace(BOARD, title="Blind", flash_wiring=None,
                                                     flash_obstacle="has no flash"),
                                 "board must let the FPGA read the flash for the overlay, and the Blind has no flash")])
def test_what_is_to_be_done_is_no_part_of_a_finding(board, problem):
    """Whatever it is: use another board, or leave the option out."""
    finding = check_flash(SMALL, board, 48e6, double=True, remedies=False).findings[0]
    with pytest.raises(BoardError) as caught:
        checking.flash_mode(board, double=True)
    assert finding.problem == str(caught.value).rpartition(": ")[0]
    assert problem in (None, finding.problem)
    assert not re.search(r"leave|use |give", finding.problem)


def test_a_fit_that_is_known_is_not_found_again(monkeypatch):
    fit = check_fit(LARGE, BOARD)
    expected = check(LARGE, BOARD).to_json()
    monkeypatch.setattr(checking, "check_fit", None)
    monkeypatch.setattr(choice, "find_change", None)
    assert check(LARGE, BOARD, fit=fit).to_json() == expected


def test_a_layer_bound_by_the_flash_is_bound_by_weights():
    """A fully connected layer uses each row of weights once, and a row takes the flash longer than a clock."""
    flash = check(network(conv(64, 1, padding=1), conv(128, 64, 4, padding=0), shape=(1, 4, 4)),
                  BOARD).plan.circuits["flash"]
    assert flash.layers[1].bound is Bound.WEIGHTS
    assert flash.layers[1].clocks > 2 * flash.layers[1].words


def test_a_geometry_can_be_asked_for():
    plan, _, _ = check(SMALL, BOARD, lanes=4)
    assert (plan.circuits["baked"].lanes, plan.circuits["flash"].lanes) == (4, 8)
    with pytest.raises(ConfigError, match=r"^lanes must be a power of two, not 3$"):
        check(SMALL, BOARD, lanes=3)


def test_another_geometry_that_fits_is_a_remedy():
    plan, _, _ = check(LARGE.__class__(input=SMALL.input, layers=SMALL.layers, timesteps=4), BOARD, lanes=1)
    remedy, = plan.circuits["baked"].remedies
    assert (remedy.geometry, remedy.text) == ((8, 16), "use 8 lanes and a width of 16, with which it fits")


def test_a_clock_is_checked_and_gives_the_time():
    plan, _, _ = check(SMALL, BOARD, clock_hz=24e6)
    baked = plan.circuits["baked"]
    assert baked.inference_ms == baked.clocks / 24e3
    with pytest.raises(BoardError, match=r"^clock must be one that the PLL makes of 12 MHz, not 47.3 MHz$"):
        check(SMALL, BOARD, clock_hz=47.3e6)


def test_wrong_names_are_refused(tmp_path):
    with pytest.raises(BoardError, match=r"^board must be one of icebreaker, icesugar, upduino-v3, not 'arty'$"):
        check(SMALL, "arty")
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(b"x")
    with pytest.raises(InputError):
        check(wrong, BOARD)


def test_the_json_has_stable_keys():
    answer = json.loads(json.dumps(check(LARGE, BOARD).to_json()))
    assert (answer["schema"], SCHEMA) == ("sterna-check-1", "sterna-check-1")
    assert list(answer) == ["schema", "network", "network_sha256", "board", "valid", "bearing", "circuits"]
    assert list(answer["circuits"]) == ["baked", "flash"]
    for circuit in answer["circuits"].values():
        assert list(circuit) == ["bears", "lanes", "width", "timesteps", "clock_mhz", "clocks", "clocks_are_exact",
                                 "inference_ms", "layers", "resources", "findings", "remedies"]
        for layer in circuit["layers"]:
            assert list(layer) == ["index", "kind", "weight_rows", "spike_words", "words", "clocks", "bound",
                                   "operations", "utilisation"]
        for resource in circuit["resources"]:
            assert list(resource) == ["name", "used", "available", "evidence"]
    finding, = answer["circuits"]["baked"]["findings"]
    assert finding == {"circuit": "baked", "layer": None, "where": "network", "value": 320, "limit": 256, "over": 64,
                       "problem": "weight rows of 8 x 16 must be at most 256, not 320", "depends_on_weights": False}


def test_the_text_has_a_table_for_each_circuit():
    lines = format_check(check(LARGE, BOARD)).splitlines()
    assert lines[0] == "network on icebreaker"
    assert lines[2] == "weights in the bitstream (--weights baked), array 8 x 16, T = 4, 48 MHz: does not fit"
    assert lines[3].split() == ["layer", "kind", "weight", "rows", "spike", "words", "words", "clocks", "bound",
                                "utilisation"]
    assert "an inference: 18,458 clocks, 0.3845 ms, estimated, because the network does not fit" in lines
    assert "weight rows: 320 of 256, 125%, exact" in lines
    assert "does not fit: network: weight rows of 8 x 16 must be at most 256, not 320 (64 too many)" in lines
    assert "remedy, checked: use at most 64 channels in layer 3 (convolution)" in lines
    assert any(re.fullmatch(r"weights in the flash \(--weights flash\), array 8 x 16, T = 4, .* MHz: fits", line)
               for line in lines)


ARCHITECTURE = {
    "input": {"encoding": "pixels", "channels": 1, "height": 28, "width": 28, "zero_point": 0, "scale": 1 / 256},
    "timesteps": 4,
    "layers": [
        {"kind": "convolution", "name": "conv1", "channels": 16, "kernel": 7, "stride": 2, "padding": 3,
         "reset": "subtract", "leak_shift": None, "epsilon": 1e-5},
        {"kind": "convolution", "name": "conv2", "channels": 32, "kernel": 3, "stride": 1, "padding": 1,
         "reset": "subtract", "leak_shift": None, "epsilon": 1e-5},
        {"kind": "or-pool", "size": 2},
        {"kind": "readout", "name": "readout", "classes": 2}]}


def test_shapes_take_what_the_trained_network_takes():
    trained, shapes = check(SMALL, BOARD).plan, check(Shapes(name="small", architecture=ARCHITECTURE), BOARD).plan
    assert (shapes.network, shapes.network_sha256) == ("small", None)
    for name, circuit in trained.circuits.items():
        assert circuit.layers == shapes.circuits[name].layers
        assert shapes.circuits[name].plan is None


def with_layers(*changed, **changes):
    layers = [{**layer, **change} for layer, change in
              zip(ARCHITECTURE["layers"], [*changed, {}, {}, {}, {}], strict=False)]
    return {**ARCHITECTURE, "layers": layers, **changes}


def test_what_the_weights_decide_is_said_so():
    """255 x 32 x 49 in 16 fractions: too much for 20 bits without zeros, but not with few weights."""
    answer = check(Shapes(name="many", architecture=with_layers(timesteps=32)), BOARD, remedies=False)
    flash = answer.plan.circuits["flash"]
    assert (flash.bears, answer.valid, answer.plan.bearing) == (Bears.OPEN, False, ("flash",))
    assert {finding.depends_on_weights for finding in flash.findings} == {True}
    assert not any(finding.depends_on_weights for finding in answer.findings if finding.circuit == "baked")
    assert "fits, if the trained weights allow it" in format_check(answer)
    assert "may not fit: layer 0 (convolution): membrane bits must be at most 20" in format_check(answer)


def test_average_pooling_is_repeated_weights_and_shortcuts_are_kept():
    architecture = with_layers({}, {"input_pool": 2}, {"size": 2})
    second = Shapes(name="pooled", architecture=architecture).densest.layers[1]
    assert isinstance(second, Convolution)
    assert (second.kernel, second.stride, second.padding) == (6, 2, 2)
    beside = {**ARCHITECTURE["layers"][1], "name": "conv3", "channels": 32, "shortcut": "conv2"}
    layers = [*ARCHITECTURE["layers"][:2], ARCHITECTURE["layers"][1] | {"name": "conv2b"}, beside,
              ARCHITECTURE["layers"][3]]
    assert Shapes(name="short", architecture={**ARCHITECTURE, "layers": layers}).sparsest.layers[3].shortcut == 1


def test_projections_have_the_channels_of_their_source():
    beside = {**ARCHITECTURE["layers"][1], "name": "conv3", "channels": 48,
              "projection": {"source": "conv1", "stride": 1, "weights": "trained"}}
    layers = [*ARCHITECTURE["layers"][:2], beside, ARCHITECTURE["layers"][3]]
    made = Shapes(name="projected", architecture={**ARCHITECTURE, "layers": layers}).densest
    assert made.layers[2].projection.weights.shape == (48, 16, 1, 1)
    layers[2] = {**beside, "channels": 16, "projection": {"source": "conv1", "stride": 1, "weights": "identity"}}
    made = Shapes(name="identity", architecture={**ARCHITECTURE, "layers": layers}).densest
    assert made.layers[2].projection.diagonal


def test_events_are_events():
    architecture = with_layers()
    architecture["input"] = {**architecture["input"], "encoding": "events", "scale": 1}
    assert Shapes(name="events", architecture=architecture).densest.input.encoding is Encoding.EVENTS
