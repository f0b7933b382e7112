# amaranth: UnusedElaboratable=no
"""The build of the overlay, and what is written to a board: with tools that obey, and once with the real ones."""

import dataclasses
import pathlib
import re

import pytest

from arch import network_file
from arch.flash.image import build_image, parse_image
from boards import BOARDS, board_named
from boards.families.ice40 import Ice40
from gateware.build.steps import simulate_overlay
from gateware.engine.signature import circuit_of
from gateware.mapper.streamed.choice import lay_out, streamed_config
from gateware.mapper.streamed.cycles import count_cycles
from gateware.mapper.streamed.model import model_of
from gateware.reports.overlay import OverlayReport
from models import DEFAULT_NETWORK
from reference.engines import ReferenceEngine
from support.files import locked
from tests.gateware.build.conftest import small_network

HERE = pathlib.Path()
FOLDER = HERE / "build" / "icebreaker" / "overlay"


class Engine:
    """The reference with a clock, which counts how long it was left alone before each image."""

    name = "rtl"

    def __init__(self, network, *, board, config, mode, clock_hz):
        assert board == "icebreaker"
        self._reference = ReferenceEngine(network)
        plan = lay_out(network, config, mode=mode)
        self._cycles = count_cycles(config, plan.passes, mode=mode, clock_hz=clock_hz)
        self._rested = 0
        self.simulation = self

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def run(self, *, limit):
        self._rested = limit

    def classify(self, images, *, spikes=False):
        assert self._rested == self._cycles.fill
        self._rested = 0
        result = self._reference.classify(images)
        return dataclasses.replace(result, cycles=0 * result.classes + self._cycles.total + self.fault)

    fault = 0


@pytest.fixture
def tools(toolchain, tmp_path, monkeypatch):
    """Tools that obey, a design of a line, and the reference in the place of the simulation; no report ships."""
    monkeypatch.setattr("gateware.reports.prebuilt.FOLDER", tmp_path / "none")

    def design_files(self, platform, design):
        design._MustUse__used = True
        text = f"attribute \\src \"{HERE.resolve()}\"\n{design.config} {design.mode} {design.clock_hz} {design.divisor}"
        return {"sterna.il": text.encode(), "sterna.ys": b"", "sterna.pcf": b""}

    monkeypatch.setattr(Ice40, "design_files", design_files)
    monkeypatch.setattr(simulate_overlay, "StreamedRtlEngine", Engine)
    monkeypatch.setattr("gateware.build.overlay.check_tools", lambda: None)
    return toolchain


@pytest.fixture
def flash(run):
    """Run the command for the overlay."""
    return lambda *arguments, **options: run("--weights", "flash", *arguments, **options)


def report_of(folder=FOLDER):
    return OverlayReport.from_json((folder / "report.json").read_bytes())


def test_a_build_leaves_its_bitstream_and_its_report(flash, tools):
    code, out, err = flash()
    assert (code, err) == (0, [])
    assert tools.calls() == ["yosys", "nextpnr1", "icepack"]
    assert sorted(path.name for path in FOLDER.iterdir()) == [
        ".sterna-build", "netlist.zip", "report.html", "report.json", "sterna.bin", "work"]
    bitstream = (FOLDER / "sterna.bin").read_bytes()
    assert bitstream.startswith(b"bitstream of seed 1 of ")
    report = report_of()
    board = BOARDS["icebreaker"]
    config = streamed_config(board)
    assert (report.weights, report.board, report.device) == ("flash", "icebreaker", board.fpga.device)
    assert report.signature == circuit_of(config)
    assert report.parameters == dataclasses.asdict(config)
    assert (report.lanes, report.width, report.timesteps, report.sop_per_cycle) == (8, 16, 4, 512)
    assert (report.flash_mode, report.flash_latency, report.models_at, report.flash_bytes) == (
        "quad", 2, 1 << 20, 1 << 24)
    assert (report.lc, report.ebr, report.spram, report.dsp) == (4000, 20, 4, 0)
    assert (report.fmax_mhz, report.fmax_median_mhz, report.seeds, report.seed) == ([50.0], 50.0, [1], 1)
    assert report.bitstream_bytes == len(bitstream)
    network = network_file.load(DEFAULT_NETWORK)
    plan = lay_out(network, config)
    assert (report.sample_network, report.sample_network_sha256) == ("mnist-conv", network_file.digest(network))
    assert (report.sample_dataset, report.sample_images, report.sample_accuracy) == ("mnist", 20, 1.0)
    assert report.sample_cycles == count_cycles(config, plan.passes).total
    assert [(step.name, step.kept) for step in report.steps] == [
        ("synthesise", False), ("place-seed1", False), ("pack", False), ("simulate", False)]
    assert out[:3] == [
        "synthesise   overlay for iCEBreaker: P = 8, W = 16, T = 4",
        "place+route  seed 1: 50.00 MHz, 4000 LC",
        "simulate     20 samples of mnist on the RTL of this build, with a model of mnist-conv from its flash"]
    assert out[4] == "overlay on icebreaker, 48 MHz, host link 3000000 baud"
    assert re.fullmatch(r"wrote build/icebreaker/overlay/sterna\.bin and build/icebreaker/overlay/report\.json in "
                        r"[\d.]+ s", out[-2])
    assert out[-1] == "wrote build/icebreaker/overlay/report.html, the report as a page"


def test_the_text_has_what_was_placed_and_simulated(flash, tools):
    _, out, _ = flash("--seeds", "2", "--clock", "24", "--baud", "3000000", "--flash-rate", "double")
    report = report_of()
    begin = out.index("overlay on icebreaker, 24 MHz, host link 3000000 baud")
    assert out[begin + 1:begin + 13] == [
        "  logic cells                             4000 / 5280   place and route",
        "  block RAM, SPRAM, DSP                      20, 4, 0   place and route",
        "  Fmax, median of seeds                50.00 MHz of 2   place and route",
        "  array P x W x T                          8 x 16 x 4   512 synaptic operations per clock",
        "  peak                                  12.288 GSOP/s   at this clock",
        "  membranes                                   20 bits   4 of them behind the point",
        "  spike memory                            16384 words   16 x 4 bits each",
        "  flash                                8 bits a clock   models from 0x100000 in 16 MiB",
        (f"  circuit                                        {report.circuit[-4:]}   fingerprint; the signature is "
        f"{report.circuit}"),
        (f"  cycles per image               {report.sample_cycles:>20}   of mnist-conv, as the cycle model says; equal "
        f"in simulation of 20 images"),
        "  accuracy on samples                   100.00% of 20   simulated: RTL of this build, mnist",
        f"  bitstream                      {report.bitstream_bytes:>14} bytes   sha256 {report.bitstream_sha256}",
    ]
    assert report.flash_mode == "double"


def test_a_dry_run_says_what_is_known_and_writes_nothing(flash, tools):
    code, out, err = flash("--dry-run")
    assert (code, err, tools.calls(), list(HERE.iterdir())) == (0, [], [], [])
    assert out[0] == "overlay on icebreaker, 48 MHz, host link 3000000 baud"
    assert out[-1] == "  simulated                                   nothing   the overlay has no network of its own"
    assert not any("place and route" in line for line in out)


def test_a_repeated_build_goes_on_from_the_finished_steps(flash, tools):
    flash()
    tools.calls()
    code, out, _ = flash("--seeds", "2")
    assert (code, tools.calls()) == (0, ["nextpnr2"])
    assert [line for line in out if line.endswith(" (kept from an earlier run)")] == [
        "synthesise   overlay for iCEBreaker: P = 8, W = 16, T = 4 (kept from an earlier run)",
        "place+route  seed 1: 50.00 MHz, 4000 LC (kept from an earlier run)",
        ("simulate     20 samples of mnist on the RTL of this build, with a model of mnist-conv from its flash "
        "(kept from an earlier run)")]


@pytest.mark.parametrize(("arguments", "calls"), [
    (["--clock", "36"], ["yosys", "nextpnr1", "icepack"]),
    (["--flash-rate", "double"], ["yosys", "nextpnr1", "icepack"]),
    (["--from", "place"], ["nextpnr1", "icepack"]),
    (["--no-simulation"], [])])
def test_other_inputs_are_another_key(flash, tools, arguments, calls):
    flash()
    tools.calls()
    assert flash(*arguments)[0] == 0
    assert tools.calls() == calls


def test_only_one_build_at_a_time_works_in_a_folder(flash, tools):
    FOLDER.mkdir(parents=True)
    with locked(FOLDER / ".sterna-build"):
        assert flash() == (1, [], [
            f"ERROR: {FOLDER}: another build works in this folder: wait for it, or give another with -o"])
    assert tools.calls() == []


def test_a_report_of_the_overlay_does_not_depend_on_where_the_sources_are(tmp_path, tools, flash, monkeypatch):
    flash()
    first = report_of().design_sha256
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    flash()
    assert report_of().design_sha256 == first
    flash("--clock", "36")
    assert report_of().design_sha256 != first


def test_a_simulation_that_differs_fails_the_build(flash, tools, monkeypatch):
    monkeypatch.setattr(Engine, "fault", 3)
    code, _, err = flash()
    (wrong,) = re.findall(r"takes (\d+) cycles", err[0])
    assert (code, err) == (1, [
        f"ERROR: the RTL takes {wrong} cycles where the cycle model says {int(wrong) - 3}"])
    assert not (FOLDER / "sterna.bin").exists()


@pytest.mark.parametrize(("plan", "arguments", "message"), [
    ({"default": 44.0, "seed2": 46.93}, [], "no seed closes 48 MHz: the best reaches 46.93 MHz: use --clock 45"),
    ({"default": "no placement"}, ["--seeds", "2"],
     "no seed closes 48 MHz: seeds 1, 2 found no legal placement: use --seeds with more"),
    ({"default": "no placement"}, [],
     "no seed closes 48 MHz: seeds 1, 2, 3, 4, 5, 6, 7, 8 found no legal placement: use another --board"),
    ({"default": "too large"}, [],
     ("the design does not fit the iCE40UP5K-SG48: Unable to place cell 'x', no BELs remaining to implement cell type "
      "'ICESTORM_RAM': use another --board")),
])
def test_what_does_not_close_or_fit_says_what_helps(flash, tools, plan, arguments, message):
    tools.plan(**plan)
    code, _, err = flash(*arguments)
    assert (code, [re.sub(r" \(see [^)]*\)$", "", line) for line in err]) == (1, [f"ERROR: {message}"])


NO_NETWORK = ("has no effect with --weights flash, whose bitstream runs any network on the circuit of the board: leave "
              "it out, and make an image of the network with python -m export NETWORK --flash IMAGE")
NOT_IMAGE = "has no effect with --program image, which builds nothing: leave it out, or use --program both"


@pytest.mark.parametrize(("arguments", "message"), [
    (["--network", "x"], f"--network {NO_NETWORK}"),
    (["--lanes", "4"], f"--lanes {NO_NETWORK}"),
    (["--width", "8"], f"--width {NO_NETWORK}"),
    (["--seeds", "0"], "seeds must be at least 1, not 0"),
    (["--clock", "47"], "clock must be one that the PLL makes of 12 MHz, not 47 MHz"),
    (["--dry-run", "--seeds", "2"], "--seeds has no effect with --dry-run: leave one of the two out"),
    (["--dry-run", "--program"], "--program has no effect with --dry-run: leave one of the two out"),
    (["--image", "x"], "--image must be given with --program: it has no effect without one that writes it"),
    (["--image", "x", "--program", "bitstream"],
     "--image must be given with --program, not with --program bitstream: it has no effect without one that writes it"),
    (["--program", "image"], "--program image must be given with --image: say which image is to be written"),
    (["--program", "both"], "--program both must be given with --image: say which image is to be written"),
    *((["--program", "image", "--image", "x", *options], f"{options[0]} {NOT_IMAGE}") for options in (
        ["--clock", "48"], ["--baud", "1000000"], ["--flash-rate", "single"], ["--seeds", "1"],
        ["--seed-seconds", "9"], ["--no-simulation"], ["--from", "pack"])),
    (["--board", "upduino-v3"],
     ("board must let the FPGA read the flash for the overlay, and the UPduino v3 has its serial port on the pins of "
      "the flash: use another --board")),
    (["--board", "upduino-v3", "--program", "image", "--image", "x"],
     ("board must let the FPGA read the flash for the overlay, and the UPduino v3 has its serial port on the pins of "
      "the flash: use another --board")),
    (["--board", "icesugar", "--flash-rate", "double"],
     ("flash of the iCESugar must move data at both edges of its clock for --flash-rate double: leave the option "
      "out")),
    (["--image", "", "--program"], None),
])
def test_contradictions_are_refused_in_one_line(flash, tools, arguments, message):
    if message is None:
        with pytest.raises(SystemExit):
            flash(*arguments)
    else:
        assert flash(*arguments) == (1, [], [f"ERROR: {message}"])
    assert tools.calls() == []
    assert list(HERE.iterdir()) == []


@pytest.mark.parametrize(("arguments", "message"), [
    (["--flash-rate", "double"], "--flash-rate must be given with --weights flash: it has no effect without"),
    (["--image", "x", "--program"], "--image must be given with --weights flash: it has no effect without"),
    (["--program", "image"],
     "--program image must be given with --weights flash: a baked network is part of its bitstream"),
    (["--program", "both"],
     "--program both must be given with --weights flash: a baked network is part of its bitstream"),
])
def test_options_of_the_overlay_are_refused_without_it(run, toolchain, arguments, message):
    assert run(*arguments) == (1, [], [f"ERROR: {message}"])
    assert run("--weights", "baked", *arguments) == (1, [], [f"ERROR: {message}"])
    assert toolchain.calls() == []


def save_image(path, *, board="icebreaker", clock_hz=48e6, base=1 << 20, **changed):
    config = dataclasses.replace(streamed_config(board_named(board)), **changed)
    plan = lay_out(small_network(), config)
    content = build_image([model_of(plan, name=name, clock_hz=clock_hz) for name in ("first", "second")], base=base)
    path.write_bytes(content)
    return content


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.bin"
    save_image(path)
    return path


def programmed(tools, programmer="iceprog"):
    """Arguments of the programmer since the last question, the file by its name."""
    log = tools.folder / "calls"
    lines = log.read_text().splitlines() if log.exists() else []
    log.write_text("")
    calls = [line.split()[1:] for line in lines if line.startswith(f"{programmer} ")]
    return [[*call[:-1], pathlib.Path(call[-1]).name] for call in calls]


OFFSET = ["-o", "1048576", "image.bin"]


@pytest.mark.parametrize(("what", "calls"), [
    ([], [["sterna.bin"], OFFSET]), (["both"], [["sterna.bin"], OFFSET])])
def test_bitstream_and_image_are_written(flash, tools, image, what, calls):
    code, out, err = flash("--program", *what, "--image", image)
    assert (code, err) == (0, [])
    assert programmed(tools) == calls
    assert out[-3:-1] == ["programmed the iCEBreaker",
                          f"programmed {image} at 0x100000 of the iCEBreaker: models 0 first, 1 second"]
    assert (FOLDER / "work" / "image.bin").read_bytes() == image.read_bytes()


@pytest.mark.parametrize("what", [[], ["bitstream"]])
def test_the_bitstream_alone_is_written(flash, tools, what):
    code, out, _ = flash("--program", *what)
    assert (code, out[-2], programmed(tools)) == (0, "programmed the iCEBreaker", [["sterna.bin"]])


def test_the_image_alone_needs_no_build(flash, tools, image):
    code, out, err = flash("--program", "image", "--image", image)
    assert (code, out, err) == (
        0, [f"programmed {image} at 0x100000 of the iCEBreaker: models 0 first, 1 second"], [])
    assert programmed(tools) == [OFFSET]
    assert not (FOLDER / "sterna.bin").exists()


def test_the_programmer_of_another_board_is_called_its_way(flash, tools, tmp_path, image):
    save_image(image, board="icesugar")
    code, _out, err = flash("--board", "icesugar", "--program", "image", "--image", image)
    assert (code, err) == (0, [])
    assert (tools.folder / "calls").read_text().split()[:3] == ["icesprog", "-o", "1048576"]


def other_circuit(path):
    save_image(path, blocks=4)


def other_clock(path):
    save_image(path, clock_hz=24e6)


def other_base(path):
    save_image(path, base=1 << 21)


def truncated(path):
    path.write_bytes(path.read_bytes()[:-1])


def damaged(path):
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(bytes(content))


def too_long(path):
    path.write_bytes(b"\xff" * ((15 << 20) + 1))


REFUSALS = [
    (other_circuit, r"model 0: blocks must be 8, not 4: make the image for this circuit"),
    (other_base, (r"model 0: stream must lie in the image, 0x101000 to 0x\w+, not from 0x210000 to 0x\w+: the image is "
                  r"truncated or for another base")),
    (truncated, (r"model 1: stream must lie in the image, 0x101000 to 0x\w+, not from 0x120000 to 0x\w+: the image is "
                 r"truncated or for another base")),
    (damaged, r"model 1: CRC-32 at 0x1fc must be \w+, not \w+: make the image again with python -m export"),
    (too_long, (r"image must be at most 15728640 bytes, to end within the 16 MiB of flash of the iCEBreaker, not "
                r"15728641: make it of fewer networks")),
]


@pytest.mark.parametrize("what", ["both", "image"])
@pytest.mark.parametrize(("change", "message"), REFUSALS)
def test_an_image_that_cannot_run_is_refused_before_anything_is_done(flash, tools, image, what, change, message):
    change(image)
    code, out, err = flash("--program", what, "--image", image)
    assert (code, out) == (1, [])
    assert re.fullmatch(f"ERROR: {re.escape(str(image))}: {message}", err[0])
    assert tools.calls() == []
    assert not FOLDER.exists()


def test_an_image_for_another_clock_is_refused(flash, tools, image):
    wrong = (f"ERROR: {image}: model 0 'first': clock must be {{}} MHz, that of the bitstream, not {{}} MHz: make the "
             f"image with --clock {{}}")
    assert flash("--clock", "24", "--program", "--image", image) == (1, [], [wrong.format(24, 48, 24)])
    assert tools.calls() == []
    # Of the bitstream on a board only the build folder knows.
    save_image(image, clock_hz=24e6)
    assert flash("--program", "image", "--image", image)[0] == 0
    flash()
    programmed(tools)
    assert flash("--program", "image", "--image", image) == (1, [], [wrong.format(48, 24, 48)])
    assert programmed(tools) == []


def test_an_image_alone_must_be_for_the_bitstream_of_the_folder(flash, tools, image):
    """A bitstream of an earlier release takes the models of that release."""
    flash()
    content = report_of()
    earlier = dataclasses.replace(streamed_config(BOARDS["icebreaker"]), blocks=4)
    (FOLDER / "report.json").write_bytes(dataclasses.replace(
        content, circuit=circuit_of(earlier).to_bytes().hex()).to_json())
    programmed(tools)
    assert flash("--program", "image", "--image", image) == (1, [], [
        f"ERROR: {image}: model 0: blocks must be 4, not 8: make the image for this circuit"])
    assert programmed(tools) == []
    save_image(image, blocks=4)
    assert flash("--program", "image", "--image", image)[0] == 0
    (FOLDER / "report.json").write_text("{}")
    assert flash("--program", "image", "--image", image) == (1, [], [
        (f"ERROR: {FOLDER}/report.json: must be a report.json of python -m gateware.build --weights flash: it has no "
        f"'weights'")])


def test_an_image_over_the_bitstream_is_refused(flash, tools, image, monkeypatch):
    board = dataclasses.replace(BOARDS["icebreaker"], models_at=65_536)
    monkeypatch.setitem(BOARDS, "icebreaker", board)
    save_image(image, base=65_536)
    tools.plan(bitstream_bytes=65_537)
    code, _out, err = flash("--program", "--image", image)
    assert (code, err) == (1, [
        ("ERROR: bitstream must end before 0x10000, where the image of the iCEBreaker begins, not take the flash to "
        "0x20000, in blocks of 64 KiB: change models_at of the board")])
    assert programmed(tools) == []


def test_what_was_checked_is_what_is_written(flash, tools, image, monkeypatch):
    """Somebody may write the file while the bitstream is built."""
    checked = image.read_bytes()

    def design_files(self, platform, design):
        design._MustUse__used = True
        image.write_bytes(b"another")
        return {"sterna.il": b"design", "sterna.ys": b"", "sterna.pcf": b""}

    monkeypatch.setattr(Ice40, "design_files", design_files)
    assert flash("--program", "--image", image)[0] == 0
    assert image.read_bytes() == b"another"
    assert (FOLDER / "work" / "image.bin").read_bytes() == checked
    assert len(parse_image(checked)) == 2


def test_a_programmer_that_fails_is_told(flash, tools, image):
    tools.plan(programmer="no board")
    code, _, err = flash("--program", "image", "--image", image)
    assert (code, [re.sub(r" \(see [^)]*\)$", "", line) for line in err]) == (3, [
        "ERROR: iceprog failed: Can't find iCE FTDI USB device (vendor_id 0x0403, device_id 0x6010 or 0x6014)."])


#: Arguments of openFPGALoader.
WRITE, READ = ["-b", "ice40_generic", "--write-flash"], ["-b", "ice40_generic", "--dump-flash", "--file-size"]


def test_another_programmer_writes_and_what_it_wrote_is_read_back(flash, tools, image):
    code, out, err = flash("--program", "--programmer", "openFPGALoader", "--image", image)
    assert (code, err) == (0, [])
    assert out[-3:-1] == ["programmed the iCEBreaker",
                          f"programmed {image} at 0x100000 of the iCEBreaker: models 0 first, 1 second"]
    bitstream, content = (FOLDER / "sterna.bin").read_bytes(), image.read_bytes()
    assert programmed(tools, "openFPGALoader") == [
        [*WRITE, "sterna.bin"], [*READ, str(len(bitstream)), "read_back.bin"],
        [*WRITE, *OFFSET], [*READ, str(len(content)), "-o", "1048576", "read_back.bin"]]
    written = (tools.folder / "flash").read_bytes()
    assert written.startswith(bitstream)
    assert written[1 << 20 :].startswith(content)
    assert not (FOLDER / "work" / "read_back.bin").exists()


@pytest.mark.parametrize(("happens", "message"), [
    ("bad byte", ("byte 0x100005 of the flash of the iCEBreaker must be 0x08, which was written, not 0x48: "
                  "check the cable and the supply, and write again")),
    ("no read", "flash of the iCEBreaker could not be read back: check the cable and the supply, and write again")])
def test_what_a_programmer_did_not_write_is_told(flash, tools, image, happens, message):
    arguments = ["--program", "image", "--programmer", "openFPGALoader", "--image", image]
    assert flash(*arguments)[0] == 0
    # What another command read back is not taken for what this one did.
    (FOLDER / "work" / "read_back.bin").write_bytes(image.read_bytes())
    assert image.read_bytes()[5] == 8
    tools.plan(programmer=happens)
    code, out, err = flash(*arguments)
    assert (code, out, err) == (3, [], [f"ERROR: openFPGALoader failed: {message}"])
    tools.plan()
    assert flash(*arguments)[0] == 0


def test_a_programmer_must_be_for_the_board_and_have_something_to_do(flash, tools, tmp_path, image):
    save_image(image, board="icesugar")
    assert flash("--board", "icesugar", "--program", "image", "--image", image, "--programmer", "openFPGALoader") == (
        1, [], ["ERROR: programmer of the iCESugar must be icesprog, not openFPGALoader: leave the option out"])
    assert flash("--program", "--programmer", "icesprog") == (
        1, [], ["ERROR: programmer of the iCEBreaker must be one of iceprog, openFPGALoader, not icesprog"])
    assert flash("--programmer", "iceprog") == (
        1, [], ["ERROR: --programmer must be given with --program: it has no effect without"])
    assert tools.calls() == []


def test_a_missing_image_gets_one_line(flash, tools):
    assert flash("--program", "--image", "none.bin") == (1, [], ["ERROR: none.bin: No such file or directory"])
    assert tools.calls() == []
