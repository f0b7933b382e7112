"""The clocks in the report of an image are those of the simulated circuit that runs the image."""

import json

import numpy as np
import pytest

from arch import network_file
from export.command import main
from gateware.mapper.streamed.choice import lay_out
from gateware.mapper.streamed.cycles import count_cycles
from models import DEFAULT_NETWORK
from reference.generate import random_images, random_network
from reference.network import Reference
from sim.circuits import CLOCK_HZ, circuit_verilog
from sim.rtl import DIVISOR
from sim.streamed_rtl import StreamedRtlEngine
from tests.export.flash.test_flash import convolution, save
from tests.link_board import CACHE
from tests.streamed_networks import OVERLAY


@pytest.fixture(scope="module")
def source():
    return circuit_verilog(OVERLAY, divisor=DIVISOR, folder=CACHE)


def shipped(_path):
    return DEFAULT_NETWORK


def waiting(path):
    """A network whose filters come in parts and tiles, and that waits for the flash in each layer behind the first."""
    save(path, convolution(1, 130), convolution(130, 16, 7), side=6, timesteps=8)
    return path


def mixed(path):
    """A random network with a shortcut, a projection or pooled currents."""
    network_file.save(random_network(np.random.default_rng(7), timesteps=4, leak=False, shortcuts=True, pools=True,
                                     projections=True, layers=5), path)
    return path


@pytest.mark.parametrize("make", [shipped, waiting, mixed])
def test_a_simulated_inference_takes_the_clocks_that_the_command_says(make, source, tmp_path, capsys):
    file, image = make(tmp_path / "net"), tmp_path / "image.bin"
    assert main([str(file), "--flash", str(image), "--json", "-q"]) == 0
    (model,) = json.loads(capsys.readouterr().out)["flash"]["models"]
    network = network_file.load(file)
    pixels  = random_images(network, np.random.default_rng(3), 2)[1:]
    fill    = count_cycles(OVERLAY, lay_out(network, OVERLAY).passes, clock_hz=CLOCK_HZ).fill
    with StreamedRtlEngine(network, config=OVERLAY, source=source, image=image.read_bytes(), cache=CACHE) as engine:
        engine.simulation.run(limit=fill)
        result = engine.result_of(pixels[0])
    assert list(result.scores) == Reference(network).run(pixels).scores[0].tolist()
    assert (result.cycles, result.flash_stalls) == (model["time"]["clocks"], model["time"]["flash_stalls"])
    assert result.cycles == sum(layer["clocks"] for layer in model["layers"])
    assert result.flash_stalls == sum(layer["flash_stalls"] for layer in model["layers"])
