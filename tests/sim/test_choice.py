"""Which circuit a simulation runs on, with fakes in the place of the simulations."""

import dataclasses
import re
import types

import numpy as np
import pytest

from arch.flash.image import build_image
from arch.network import Convolution, Encoding, Input, Network, Neurons, Readout
from boards import BOARDS
from gateware.engine.configuration import EngineConfig
from gateware.flash.reader import FlashMode
from gateware.mapper.fit import DoesNotFitError
from gateware.mapper.streamed.choice import lay_out, streamed_config
from gateware.mapper.streamed.model import model_of
from sim import choice
from sim.choice import choose_engine
from sim.report import Circuit, Weights
from support.errors import InputError

BAKED = Circuit(weights=Weights.BAKED, chosen=True, board="icebreaker", board_title="iCEBreaker", lanes=8, width=16,
                timesteps=4, clock_hz=48e6)
QUAD = {"mode": FlashMode.QUAD, "clock_hz": 39e6, "trace": None}
FLASH = dataclasses.replace(BAKED, weights=Weights.FLASH, clock_hz=39e6)


def make_network(channels, *, leak_shift=None, seed=1):
    """Two convolutions: 64 channels need 288 rows of the 256 that a baked circuit has."""
    rng = np.random.default_rng(seed)

    def layer(inputs):
        ones = np.ones(channels, np.int64)
        neurons = Neurons(threshold=ones, bias=0 * ones, initial=0 * ones, leak_shift=leak_shift)
        return Convolution(weights=rng.integers(-1, 2, (channels, inputs, 3, 3)).astype(np.int8), padding=1,
                           neurons=neurons)

    return Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=6, width=6), timesteps=4,
                   layers=(layer(1), layer(channels), Readout(weights=np.ones((2, 36 * channels), np.int8))))


SMALL, LARGE = make_network(8), make_network(64)


@pytest.fixture
def started(monkeypatch):
    """Engines that are started, each its kind and its options; networks that do not fit are refused as ever."""
    made = []

    def start(kind):
        def engine(network, *, board, **options):
            made.append((kind, board, options))
            config = streamed_config(BOARDS[board]) if kind == "streamed" else EngineConfig()
            if kind == "streamed":
                lay_out(network, config)
            return types.SimpleNamespace(plan=types.SimpleNamespace(config=config))
        return engine

    # Bitstreams of networks run at the clock of the board, the overlay at that of its report.
    monkeypatch.setattr(choice, "overlay_clock_hz", lambda board: 39e6)
    monkeypatch.setattr(choice, "RtlEngine", start("baked"))
    monkeypatch.setattr(choice, "StreamedRtlEngine", start("streamed"))
    return made


def baked(**geometry):
    """What the engine of the baked circuit is started with."""
    return "baked", "icebreaker", {"lanes": None, "width": None, "trace": None} | geometry


def test_the_baked_circuit_is_chosen_before_the_streamed_one(started):
    assert choose_engine(SMALL, board="icebreaker")[1] == BAKED
    assert choose_engine(LARGE, board="icebreaker")[1] == FLASH
    assert started == [baked(), ("streamed", "icebreaker", QUAD)]


def test_what_is_asked_for_is_not_chosen(started):
    assert choose_engine(SMALL, board="icesugar", weights=Weights.FLASH)[1] == dataclasses.replace(
        FLASH, chosen=False, board="icesugar", board_title="iCESugar")
    assert choose_engine(LARGE, board="icebreaker", weights=Weights.BAKED)[1].chosen is False
    # A geometry is that of a baked circuit.
    assert choose_engine(LARGE, board="icebreaker", lanes=4)[1] == dataclasses.replace(BAKED, chosen=False)
    assert choose_engine(LARGE, board="icebreaker", width=8)[1] == dataclasses.replace(BAKED, chosen=False)
    assert started == [("streamed", "icesugar", QUAD), baked(),
                       baked(lanes=4),
                       baked(width=8)]


def test_a_network_that_fits_no_circuit_gets_the_limits_of_both(started):
    message = (r"^network must fit a circuit of the iCEBreaker, not exceed limits of each: with --weights baked, "
               r"network: weight rows of 8 x 16 must be at most 256, not 448; with --weights flash, "
               r"layer 0 \(convolution\): this circuit has no leak; layer 1 \(convolution\): this circuit has no leak: "
               r"train it without a leak$")
    with pytest.raises(InputError, match=message):
        choose_engine(make_network(64, leak_shift=2), board="icebreaker")
    assert started == []


def test_a_board_whose_fpga_does_not_read_the_flash_has_baked_circuits_alone(started):
    assert choose_engine(SMALL, board="upduino-v3")[1] == dataclasses.replace(
        BAKED, board="upduino-v3", board_title="UPduino v3")
    reason = BOARDS["upduino-v3"].flash_obstacle
    refusal = ("board must let the FPGA read the flash for the overlay, and the UPduino v3 "
               f"{reason}: use another --board")
    with pytest.raises(InputError, match=rf"^{re.escape(refusal)}$"):
        choose_engine(SMALL, board="upduino-v3", weights=Weights.FLASH)
    with pytest.raises(InputError, match=r"^network must fit a circuit of the UPduino v3, not exceed limits of each: "
                                         rf"with --weights baked, network: .*; with --weights flash, "
                                         rf"{re.escape(refusal)}$"):
        choose_engine(LARGE, board="upduino-v3")


def test_a_network_that_does_not_fit_what_is_asked_for_gets_its_limits():
    limit = r"\(convolution\): this circuit has no leak"
    with pytest.raises(InputError, match=rf"^network must fit the streamed circuit of the iCEBreaker, not exceed "
                                         rf"limits: layer 0 {limit}; layer 1 {limit}: train it without a leak$"):
        choose_engine(make_network(8, leak_shift=2), board="icebreaker", weights=Weights.FLASH)
    with pytest.raises(DoesNotFitError, match=r"^network: weight rows of 8 x 16 must be at most 256, not "):
        choose_engine(LARGE, board="icebreaker", weights=Weights.BAKED)


def test_an_unknown_board_is_one_line(started):
    with pytest.raises(InputError, match=rf"^--board must be one of {', '.join(sorted(BOARDS))}, not 'icebaker'$"):
        choose_engine(SMALL, board="icebaker")


def image_of(*networks):
    config = streamed_config(BOARDS["icebreaker"])
    return build_image([model_of(lay_out(network, config), name=f"model {number}", clock_hz=48e6)
                        for number, network in enumerate(networks)])


def test_the_model_of_the_network_is_found_in_an_image(started, tmp_path):
    path = tmp_path / "image.bin"
    path.write_bytes(image_of(SMALL, LARGE))
    for number, network in enumerate((SMALL, LARGE)):
        _, circuit = choose_engine(network, board="icebreaker", image=str(path))
        assert circuit == dataclasses.replace(FLASH, chosen=False)
        assert started[-1] == ("streamed", "icebreaker", {**QUAD, "image": path.read_bytes(), "model": number})


def test_an_image_without_the_network_or_damaged_is_one_line(started, tmp_path):
    path = tmp_path / "image.bin"
    path.write_bytes(image_of(SMALL, LARGE))
    with pytest.raises(InputError, match=rf"^{path}: image must have a model of this network \(sha256 [0-9a-f]{{16}}"
                                         r"\), not only 'model 0', 'model 1': make it with python -m export NETWORK "
                                         r"--flash IMAGE$"):
        choose_engine(make_network(8, seed=2), board="icebreaker", image=str(path))
    damaged = bytearray(path.read_bytes())
    damaged[0x10000 + 300] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=rf"^{path}: model 0: .*: make the image again with python -m export$"):
        choose_engine(SMALL, board="icebreaker", image=str(path))
    path.write_bytes(bytes(10))
    with pytest.raises(InputError, match=rf"^{path}: directory must have 4096 bytes, not 10: the image is truncated$"):
        choose_engine(SMALL, board="icebreaker", image=str(path))
    with pytest.raises(OSError, match="No such file"):
        choose_engine(SMALL, board="icebreaker", image=str(tmp_path / "nowhere"))
    assert started == []
