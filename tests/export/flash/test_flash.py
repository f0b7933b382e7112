"""``python -m export --flash``: images of models, what the report says of them, and what is refused."""

import dataclasses
import json
import pathlib
import re
import shutil

import numpy as np
import pytest

from arch import network_file
from arch.flash.header import HEADER_BYTES
from arch.flash.image import DIRECTORY_BYTES, load_image, parse_image
from arch.flash.stream import pack_stream
from arch.network import Convolution, Encoding, Input, Network, Neurons, OrPool, Projection, Readout
from boards import BOARDS
from export.command import main
from gateware.engine.signature import circuit_of
from gateware.mapper.streamed.choice import lay_out
from gateware.mapper.streamed.fit import fit_of
from gateware.mapper.streamed.model import model_of
from gateware.reports import prebuilt
from models import DEFAULT_NETWORK
from tests.export.flash.conftest import SHIPPED
from tests.export.test_command import make_checkpoint
from tests.streamed_networks import OVERLAY

FASHION = pathlib.Path(DEFAULT_NETWORK).with_name("fashion-conv.safetensors")


def sparse(*shape):
    """Few weights, so that sums and membranes stay small."""
    return (np.arange(np.prod(shape)) % 101 == 0).astype(np.int8).reshape(shape)


def convolution(into, out, kernel=3, *, threshold=5, **options):
    ones = np.ones(out, np.int64)
    return Convolution(weights=sparse(out, into, kernel, kernel), padding=kernel // 2,
                       neurons=Neurons(threshold=threshold * ones, bias=ones, initial=0 * ones), **options)


def save(path, *layers, side=8, channels=1, timesteps=4, name=None):
    source = Input(encoding=Encoding.PIXELS, channels=channels, height=side, width=side)
    shape = source.shape
    for layer in layers:
        shape = layer.output_shape(shape)
    readout = Readout(weights=sparse(3, int(np.prod(shape))))
    made = Network(input=source, layers=(*layers, readout), timesteps=timesteps,
                   metadata={} if name is None else {"name": name})
    network_file.save(made, path)
    return made


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def image(tmp_path):
    return tmp_path / "image.bin"


def test_networks_become_models_in_their_order(tmp_path, image, capsys):
    """What is in the image is what the mapper makes of each network, for the circuit of the board."""
    files = [DEFAULT_NETWORK, FASHION]
    code, out, err = run(capsys, *files, "--flash", image, "--json", "-q")
    assert (code, err) == (0, "")
    stored = load_image(image, circuit=circuit_of(OVERLAY))
    report = json.loads(out)["flash"]
    assert report["written"] == str(image)
    assert report["bytes"] == image.stat().st_size
    assert (report["address"], report["board"], report["flash_bytes"]) == (1 << 20, "icebreaker", 1 << 24)
    assert len(stored) == len(report["models"]) == 2
    for file, model, said in zip(files, stored, report["models"], strict=True):
        network = network_file.load(file)
        plan = lay_out(network, OVERLAY)
        expected = model_of(plan, name=network.metadata["name"], clock_hz=48e6)
        assert (model.header.name, model.header.info) == (network.metadata["name"], expected.info)
        assert model.header.digest.hex() == said["network_sha256"] == network_file.digest(network)
        assert pack_stream(model.sections, model.header.circuit) == pack_stream(expected.sections, expected.circuit)
        assert said["bytes"] == model.header.length == sum(layer["bytes"] for layer in said["layers"])
        assert said["weights"] == network.weight_count
        assert said["bits_per_weight"] == 8 * model.header.length / network.weight_count
        channels = sum(layer.neurons.channels for layer in network.layers if hasattr(layer, "neurons"))
        assert said["compression"] == 4 * (network.weight_count + 3 * channels) / model.header.length
        assert sum(layer["rows"] for layer in said["layers"]) == plan.weight_rows
        assert (said["buffers"], said["spike_words"]) == (plan.allocation.buffers, plan.allocation.words)
        assert said["certificate"] == "yes, every spike of every layer, for every input"
        fit = fit_of(plan, clock_hz=48e6)
        for layer, found in zip(said["layers"], fit.layers, strict=True):
            assert (layer["index"], layer["kind"], layer["passes"], layer["rows"], layer["words"]) == (
                found.index, found.kind, found.passes, found.weight_rows, found.spike_words)
            assert [layer[name] for name in ("clocks", "array_clocks", "flash_clocks", "flash_stalls")] == [
                found.cycles.clocks, found.cycles.words, found.cycles.flash_clocks, found.cycles.flash_stalls]
            assert layer["bound"] == ("flash" if found.cycles.bound_by_flash else "compute")
            assert (layer["operations"], layer["utilisation"]) == (found.operations, found.utilisation)
        assert said["time"] == {
            "clocks": fit.cycles.clocks, "flash_stalls": fit.cycles.flash_stalls, "utilisation": fit.utilisation,
            "milliseconds": fit.cycles.clocks / 48e6 * 1e3, "baud": 3_000_000,
            "images_per_second": 48e6 / fit.image_clocks(16)}


def test_the_report_is_the_one_on_the_page(image, capsys, monkeypatch):
    root = pathlib.Path(DEFAULT_NETWORK).parents[1]
    (page,) = re.findall(r"```console\n\$ python -m export (\S+) --flash image.bin -q\n(.*?)```",
                         (root / "docs" / "overlay.md").read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(image.parent)
    monkeypatch.setattr(prebuilt, "FOLDER", SHIPPED)
    shutil.copytree(root / "models", "models")
    assert run(capsys, page[0], "--flash", "image.bin", "-q") == (0, page[1], "")


def test_a_layer_that_waits_for_the_flash_is_bound_by_it(tmp_path, image, capsys):
    save(tmp_path / "net", convolution(1, 130), convolution(130, 16, 7), OrPool(size=2), side=6, timesteps=8)
    code, out, _ = run(capsys, tmp_path / "net", "--flash", image, "--dry-run", "-q")
    assert code == 0
    lines = out[out.index("\n\nlayer"):].splitlines()[2:]
    assert [line.split()[-2] for line in lines[1:4]] == ["compute", "flash", "compute"]
    fit = fit_of(lay_out(network_file.load(tmp_path / "net"), OVERLAY), clock_hz=48e6)
    assert lines[4].split() == ["all", "layers", *(f"{count:,}" for count in (
        fit.cycles.clocks, fit.cycles.words, fit.cycles.flash_clocks, fit.cycles.flash_stalls)),
        f"{fit.utilisation:.1%}"]


def test_a_clock_that_no_rate_of_the_link_divides(image, capsys):
    """No build takes it, unless a rate is asked for."""
    code, out, _ = run(capsys, DEFAULT_NETWORK, "--flash", image, "--clock", "16.125", "--dry-run", "-q")
    assert code == 0
    assert "\nimages per second: the clock of 16.125 MHz divides to no rate of the host link\n" in out
    code, out, _ = run(capsys, DEFAULT_NETWORK, "--flash", image, "--clock", "16.125", "--dry-run", "-q", "--json")
    (model,) = json.loads(out)["flash"]["models"]
    assert (model["time"]["baud"], model["time"]["images_per_second"]) == (None, None)


def test_a_checkpoint_is_exported_and_becomes_the_model(tmp_path, image, capsys):
    make_checkpoint(timesteps=4).save(tmp_path / "checkpoint")
    output = tmp_path / "net.safetensors"
    code, out, _ = run(capsys, tmp_path / "checkpoint", "-o", output, "--flash", image, "--clock", "45")
    assert code == 0
    network = network_file.load(output)
    (model,) = load_image(image)
    assert (model.header.name, model.header.digest.hex()) == ("net", network_file.digest(network))
    assert model.header.info.clock_khz == 45_000
    assert f"\nwritten: {output}\n" in out
    assert out.endswith(f"\ncircuit: streamed, iCEBreaker, 45 MHz\nwritten: {image}\n")
    first = image.read_bytes()
    # The network that was written gives the same image.
    assert run(capsys, output, "--flash", image, "--clock", "45")[0] == 0
    assert image.read_bytes() == first


def test_the_image_of_a_checkpoint_is_in_its_json(tmp_path, image, capsys):
    make_checkpoint(timesteps=4).save(tmp_path / "checkpoint")
    code, out, _ = run(capsys, tmp_path / "checkpoint", "--flash", image, "--json", "--dry-run", "-q", "-o",
                       tmp_path / "net")
    report = json.loads(out)
    assert (code, report["written"], report["flash"]["written"]) == (0, [], None)
    assert report["layers"][0]["name"] == "conv1"
    assert [layer["index"] for layer in report["flash"]["models"][0]["layers"]] == [0, 2, 3, 4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint"]


def test_layers_that_are_tiled_have_their_weights_in_each_pass(tmp_path, image, capsys):
    made = save(tmp_path / "net", convolution(1, 130), convolution(130, 16, 7), side=6, timesteps=8)
    code, out, err = run(capsys, tmp_path / "net", "--flash", image, "--json", "-q")
    assert (code, err) == (0, "")
    (model,) = json.loads(out)["flash"]["models"]
    plan = lay_out(made, OVERLAY)
    tiled = model["layers"][1]
    passes = [item for item in plan.passes if item.layer == 1]
    assert tiled["passes"] == len(passes) > 1
    assert tiled["weights"] == made.layers[1].weights.size
    # Program, constants of two groups, rows of 26 bytes and CRC, each time.
    rows = 2 * 7 * 7 * 9
    assert tiled["rows"] == len(passes) * rows
    assert tiled["bytes"] == len(passes) * (256 + 2 * 64 + rows * 26 + 4)
    assert model["name"] == "net"
    assert model["certificate"] == "unknown, the network's file has no certificate"


def test_projections_count(tmp_path, image, capsys):
    weights = np.ones((8, 8, 1, 1), np.int8)
    made = save(tmp_path / "net", convolution(1, 8), convolution(8, 8), convolution(
        8, 8, projection=Projection(source=0, weights=weights)))
    code, out, _ = run(capsys, tmp_path / "net", "--flash", image, "--json", "-q")
    (model,) = json.loads(out)["flash"]["models"]
    assert (code, model["weights"]) == (0, made.weight_count)
    assert model["layers"][2]["weights"] == 8 * 8 * 9 + 64


def test_every_limit_has_a_line(tmp_path, image, capsys):
    save(tmp_path / "net", convolution(1, 8, threshold=1 << 30), side=64, timesteps=40)
    code, out, err = run(capsys, tmp_path / "net", "--flash", image, "-q")
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        f"{tmp_path}/net: does not fit: network: timesteps must be at most 32, not 40",
        (f"{tmp_path}/net: does not fit: layer 0 (convolution): membrane bits must be at most 20, not 36: export the "
         f"checkpoint with --fit BOARD, which moves constants and says what that costs"),
        f"{tmp_path}/net: does not fit: layer 1 (readout): words of its input must be at most 2016, not 4096",
        f"{tmp_path}/net: does not fit: layer 0 (convolution): side of its maps must be at most 63, not 65",
        (f"ERROR: {tmp_path}/net: network must fit the streamed circuit of the iCEBreaker, not exceed the 4 limits "
         f"above: train it with at most 32 timesteps and use images of at most 40 x 40")]
    assert not image.exists()


def test_a_limit_with_a_remedy_says_it(tmp_path, image, capsys):
    layers = [convolution(3, 64), convolution(64, 64), convolution(64, 64), OrPool(size=7)]
    save(tmp_path / "net", *layers, side=42, channels=3)
    message = ("layer 1 (convolution): words of the maps in use must be at most 16384, not 17640: use at most 48 "
               "channels in layer 0 (convolution); or use images of at most 40 x 40")
    assert run(capsys, tmp_path / "net", "--flash", image, "-q") == (
        1, "", f"ERROR: {tmp_path}/net: network must fit the streamed circuit of the iCEBreaker: {message}\n")
    page = pathlib.Path(DEFAULT_NETWORK).parents[1] / "docs" / "overlay.md"
    assert message in page.read_text(encoding="utf-8").replace("\n", " ")


def test_one_limit_is_the_error(tmp_path, image, capsys):
    save(tmp_path / "net", convolution(1, 8), timesteps=40)
    assert run(capsys, tmp_path / "net", "--flash", image, "-q") == (
        1, "", (f"ERROR: {tmp_path}/net: network must fit the streamed circuit of the iCEBreaker: network: timesteps "
                f"must be at most 32, not 40: train it with at most 32 timesteps\n"))


def test_an_image_that_is_larger_than_the_flash(tmp_path, image, capsys, monkeypatch):
    """A network alone is told of a board that has room for it; of several models one may be left out."""
    monkeypatch.setitem(BOARDS, "icebreaker", dataclasses.replace(BOARDS["icebreaker"], flash_bytes=0x11_0200))
    assert run(capsys, DEFAULT_NETWORK, "--flash", image, "-q") == (
        1, "", (f"ERROR: {DEFAULT_NETWORK}: network must fit the streamed circuit of the iCEBreaker: network: bytes of "
                f"its stream in the flash of the iCEBreaker must be at most 256, not 10124: use the "
                f"iCESugar\n"))
    monkeypatch.setitem(BOARDS, "icebreaker", dataclasses.replace(BOARDS["icebreaker"], flash_bytes=0x12_0100))
    code, out, err = run(capsys, DEFAULT_NETWORK, FASHION, "--flash", image, "-q")
    assert (code, out) == (1, "")
    assert re.match(r"^ERROR: model 1 'fashion-conv': stream must end at or before 0x120100, the end of the flash, not "
                    r"at 0x[0-9a-f]+: leave a model out, or take a smaller network\n$", err)
    assert not image.exists()


@pytest.mark.parametrize("board", [board for board in BOARDS.values() if board.flash_wiring is not None],
                         ids=lambda board: board.name)
def test_images_of_all_boards(board, image, capsys):
    code, out, _ = run(capsys, DEFAULT_NETWORK, "--flash", image, "--board", board.name, "-q")
    assert code == 0
    assert f" in the {board.flash_bytes >> 20} MiB of flash of the {board.title}, " in out
    data = image.read_bytes()
    assert len(parse_image(data, base=board.models_at)) == 1
    assert data[HEADER_BYTES:DIRECTORY_BYTES] == b"\xff" * (DIRECTORY_BYTES - HEADER_BYTES)


def test_long_names_are_cut_and_said(tmp_path, image, capsys):
    name = "ä" * 20
    save(tmp_path / "net", convolution(1, 8), name=name)
    code, out, _ = run(capsys, tmp_path / "net", "--flash", image, "-q")
    assert code == 0
    (model,) = load_image(image)
    assert model.header.name == "ä" * 16
    assert f"\nname: cut from '{name}', which is longer than the 32 bytes of a header\n" in out
    # Cut, they may be the same.
    save(tmp_path / "other", convolution(1, 8), name=f"{name}!")
    assert run(capsys, tmp_path / "net", tmp_path / "other", "--flash", image, "-q") == (
        1, "", (f"ERROR: {tmp_path}/other: name of a model must be its own in the image, not '{'ä' * 16}', which is "
                f"that of {tmp_path}/net too: export one of the checkpoints again with another --name\n"))


@pytest.mark.parametrize(("arguments", "message"), [
    (["--board", "icebreaker"], "--board must be given with --flash: it has no effect alone"),
    (["--clock", "48"], "--clock must be given with --flash: it has no effect alone"),
    ([DEFAULT_NETWORK],
     "CHECKPOINT must be one file, not 2: export one at a time, or give exported networks with --flash"),
    (["--flash", "IMAGE", "-o", "net"],
     "--output must be given with a checkpoint: exported networks stay as they are"),
    (["--flash", "IMAGE", "--name", "net"],
     "--name must be given with a checkpoint: exported networks stay as they are"),
    (["--flash", "IMAGE", "--max-fraction", "3"],
     "--max-fraction must be given with a checkpoint: exported networks stay as they are"),
    (["--flash", "IMAGE", "--memories", "m"],
     "--memories must be given with a checkpoint: exported networks stay as they are"),
    ([*[DEFAULT_NETWORK] * 16, "--flash", "IMAGE"],
     "--flash must be given 1 to 16 networks, not 17: make an image of fewer"),
    ([DEFAULT_NETWORK, "--flash", "IMAGE"],
     f"{DEFAULT_NETWORK}: network must be given once, and {DEFAULT_NETWORK} is the same one: leave one of the two out"),
    (["--flash", "IMAGE", "--board", "arty"],
     "board must be one of icebreaker, icesugar, upduino-v3, not 'arty'"),
    (["--flash", "IMAGE", "--clock", "40"],
     "clock must be one that the PLL makes of 12 MHz, not 40 MHz"),
    (["--flash", DEFAULT_NETWORK],
     f"{DEFAULT_NETWORK}: output must not be the input {DEFAULT_NETWORK}: give another name"),
    (["--flash", ""], "output must be the name of a file, not ''"),
    (["nowhere", "--flash", "IMAGE"], "nowhere: No such file or directory"),
])
def test_bad_input_is_one_line(tmp_path, image, capsys, arguments, message):
    given = [image if argument == "IMAGE" else argument for argument in arguments]
    assert run(capsys, DEFAULT_NETWORK, *given, "-q") == (1, "", f"ERROR: {message}\n")
    assert not image.exists()


def test_networks_of_one_name_are_refused_and_one_network_of_two_names_is_not(tmp_path, image, capsys):
    save(tmp_path / "one", convolution(1, 8), name="same")
    save(tmp_path / "two", convolution(1, 16), name="same")
    assert run(capsys, tmp_path / "one", tmp_path / "two", "--flash", image, "-q") == (
        1, "", (f"ERROR: {tmp_path}/two: name of a model must be its own in the image, not 'same', which is that of "
                f"{tmp_path}/one too: export one of the checkpoints again with another --name\n"))
    save(tmp_path / "two", convolution(1, 8), name="other")
    assert run(capsys, tmp_path / "one", tmp_path / "two", "--flash", image, "-q")[0] == 0
    assert [model.header.name for model in load_image(image)] == ["same", "other"]


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2J", "\ud800"])
def test_names_that_are_no_text_are_refused(tmp_path, image, capsys, name):
    path = tmp_path / "net"
    save(path, convolution(1, 8), name=name if name != "\ud800" else None)
    if name == "\ud800":
        path = path.rename(tmp_path / "n\udcfft")
    code, out, err = run(capsys, path, "--flash", image, "-q")
    assert (code, out) == (1, "")
    assert re.fullmatch(r"ERROR: .*: name of a model must be one line of printable text, not '.*': export the "
                        r"checkpoint again with another --name\n", err)


def test_a_checkpoint_among_networks_is_refused(tmp_path, image, capsys):
    make_checkpoint().save(tmp_path / "checkpoint")
    assert run(capsys, DEFAULT_NETWORK, tmp_path / "checkpoint", "--flash", image, "-q") == (
        1, "", (f"ERROR: {tmp_path}/checkpoint: not a network but a checkpoint: export it first, python -m export "
                f"CHECKPOINT -o NETWORK\n"))


def test_the_image_is_no_other_output(tmp_path, capsys):
    make_checkpoint(timesteps=4).save(tmp_path / "checkpoint")
    same = tmp_path / "same"
    assert run(capsys, tmp_path / "checkpoint", "-o", same, "--flash", same, "-q") == (
        1, "", f"ERROR: {same}: image of --flash must not be another output: give another name\n")
    assert not same.exists()
