"""What the pages promise: links lead somewhere, commands and files exist, examples run and give what is printed."""

import argparse
import functools
import importlib
import inspect
import pathlib
import pkgutil
import re
import xml.etree.ElementTree

import numpy as np
import pytest
from PIL import ImageFont

from arch import network_file
from arch.link import Command, Frame, FrameReader, Info, InputEncoding, Reply, Result, crc16
from arch.network import Convolution, Encoding, Input, Network, Neurons, OrPool, Readout
from boards import BOARDS, BoardError
from export.command import main as export
from gateware.engine.accelerator import Accelerator
from gateware.engine.configuration import ConfigError, EngineConfig
from gateware.engine.dot_product import DotProduct
from gateware.engine.feed import drain_cycles
from gateware.engine.neuron_array import NeuronArray
from gateware.engine.pif import PifUnit
from gateware.engine.sequencer import layer_start_cycles
from gateware.engine.spike_collector import SpikeCollector
from gateware.link.host_link import HostLink
from gateware.mapper.choice import plan_for_board
from gateware.mapper.cycles import count_cycles
from models import DEFAULT_NETWORK
from reference.generate import random_weights
from tests.test_project import PACKAGES
from train.datasets import DATASETS
from train.methods import METHODS

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.md")])
#: Modules that a page may tell to run, with the one that has their parser.
MODULES = {"train": "train.command", "train.images": "train.images.command", "export": "export.command",
           "sim": "sim.command", "sim.board": "sim.board.command",
           "gateware.build": "gateware.build.command", "gateware.build.page": "gateware.build.page.command",
           "gateware.verilog": "gateware.verilog.command",
           "gateware.build.energy": "gateware.build.energy.command",
           "gateware.build.explore": "gateware.build.explore.command",
           "gateware.build.search": "gateware.build.search.command", "firmware.host": "firmware.host.command",
           "firmware.c": "firmware.c.command", "firmware.demo": "firmware.demo.command",
           "benchmarks.methods": "benchmarks.methods.command", "benchmarks.epoch": "benchmarks.epoch.command",
           "benchmarks.host": "benchmarks.host.command", "benchmarks.margins": "benchmarks.margins.command",
           "benchmarks.models": "benchmarks.models.command", "benchmarks.mutation": "benchmarks.mutation.command",
           "benchmarks.readme": "benchmarks.readme.command", "benchmarks.overlay": "benchmarks.overlay.command",
           "docs.site": "docs.site.command", "export.ttfs": "export.ttfs.command"}
#: Folders whose files a page may name from the top of the repository.
FOLDERS = (*PACKAGES, "docs", "tests", "github", "ci")
SVG = "{http://www.w3.org/2000/svg}"
CODE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def code_of(page):
    """All code of a page: fenced blocks, line by line, and what stands between backticks."""
    text = page.read_text(encoding="utf-8")
    yield from (line for _, block in CODE.findall(text) for line in block.splitlines())
    yield from re.findall(r"`([^`\n]+)`", CODE.sub("", text))


def slugs(page):
    """Anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", CODE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def actions_of(module):
    """All arguments of a module's parser, those of its commands included."""
    parsers = [importlib.import_module(MODULES[module]).create_parser()]
    while parsers:
        for action in parsers.pop()._actions:
            yield action
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()


@functools.cache
def flags_of(module):
    return {flag for action in actions_of(module) for flag in action.option_strings}


@pytest.mark.parametrize("module", MODULES)
def test_no_argument_takes_the_current_folder_for_an_empty_name(module):
    """What a parser makes a path of itself is made by path_argument, which refuses an empty name."""
    assert not [action.dest for action in actions_of(module)
                if isinstance(action.type, type) and issubclass(action.type, pathlib.PurePath)]


@pages
def test_links_lead_somewhere(page):
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in slugs(file), target


@pages
def test_commands_and_their_flags_exist(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    everything = set().union(*map(flags_of, MODULES))
    for code in code_of(page):
        for target in re.findall(r"^(?:\$ )?make ([\w-]+)", code):
            assert target in targets, code
        for module, rest in re.findall(r"python -m ([\w.]+)([^;#]*)", code):
            if module == "pytest":
                assert all((ROOT / path).exists() for path in re.findall(r"\s(tests/\S+)", rest)), code
                continue
            assert module in MODULES, code
            used = set(re.findall(r"(?<!\S)--?[a-zA-Z][\w-]*", rest))
            assert used <= flags_of(module), code
        if re.match(r"--[a-z]", code):
            assert code.split()[0] in everything, code


@pages
def test_files_that_are_named_exist(page):
    for code in code_of(page):
        if re.fullmatch(rf"\.?({'|'.join(FOLDERS)})/[\w./*-]*", code):
            assert list(ROOT.glob(code)), code


@pages
def test_names_of_the_sources_exist(page):
    for code in code_of(page):
        if re.fullmatch(rf"({'|'.join(PACKAGES)})(\.\w+)+(\(\))?", code):
            pkgutil.resolve_name(code.removesuffix("()"))


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "decisions").glob("*.md")), ids=lambda page: page.stem)
def test_decisions_have_their_sections(page):
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {page.name[:4]} ")
    assert re.findall(r"^\*\*(.+?)\.\*\*", text, re.MULTILINE) == [
        "Summary", "Motivation", "Explanation", "Drawbacks", "Alternatives", "Open questions"]


@pytest.mark.parametrize("picture", sorted((ROOT / "docs").glob("*.svg")), ids=lambda path: path.name)
def test_pictures_can_be_drawn(picture):
    root = xml.etree.ElementTree.parse(picture).getroot()
    assert root.tag == f"{SVG}svg"
    assert root.get("viewBox")


def drawn(picture):
    """Boxes of a picture, ``(x, y, width, height)``, and its texts, ``(x, y, size, weight, text)``."""
    root = xml.etree.ElementTree.parse(picture).getroot()
    _, *boxes = ([float(rect.get(key)) for key in ("x", "y", "width", "height")] for rect in root.iter(f"{SVG}rect"))
    texts = [(float(text.get("x")), float(text.get("y")), float(text.get("font-size")), text.get("font-weight"),
              text.text) for text in root.iter(f"{SVG}text")]
    return boxes, texts


def test_texts_of_the_architecture_fit_their_boxes():
    fonts = pathlib.Path(pytest.importorskip("matplotlib").get_data_path()) / "fonts" / "ttf"
    boxes, texts = drawn(ROOT / "docs" / "architecture.svg")
    inside = 0
    for left, top, width, height in boxes:
        for x, y, size, weight, text in texts:
            if left <= x <= left + width and top <= y <= top + height:
                # Ten times the size, because a font measures in whole pixels.
                font = ImageFont.truetype(fonts / f"DejaVuSans{'-Bold' if weight else ''}.ttf", 10 * size)
                assert font.getlength(text) / 10 <= width - 8, text
                inside += 1
    assert inside == 3 * len(boxes)


def test_boxes_of_the_architecture_are_blocks_of_the_circuit():
    _, texts = drawn(ROOT / "docs" / "architecture.svg")
    names = {re.sub(r"\W", "", text.title()) for *_, weight, text in texts if weight == "bold"}
    parts = set(re.findall(r"= (\w+)\(config", inspect.getsource(Accelerator.elaborate)))
    assert names == parts | {HostLink.__name__}


def test_every_method_and_data_set_has_its_row():
    for page, kinds in (("training.md", METHODS), ("datasets.md", DATASETS)):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        first = re.findall(r"^\| (`.+?`) \|", text, re.MULTILINE)
        named = [name for cell in first for name in re.findall(r"`([\w-]+)`", cell)]
        assert sorted(set(kinds) - set(named)) == []


def example(name):
    """Console block of ``docs/your-network.md`` whose command starts with ``name``."""
    text = (ROOT / "docs" / "your-network.md").read_text(encoding="utf-8")
    for kind, block in CODE.findall(text):
        command, _, output = block.partition("\n")
        if kind == "console" and command.startswith(f"$ {name}"):
            yield command.removeprefix("$ "), output


def masked(text):
    """Text without what differs between machines: hashes, revisions, numbers, and how they are aligned."""
    text = re.sub(r"(?<=revision )[^\s,]+|\b[0-9a-f]{12,}\b", "#", text)
    return re.sub(r" +", " ", re.sub(r"(?<![\w.])-?\d[\d,.]*", " #", text)).strip()


def test_the_example_trains_exports_simulates_and_fits(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "your-network.md").read_text("utf-8")
    own, foreign, checked = (block for kind, block in CODE.findall(page) if kind == "python")
    outputs = [output for _, output in example("python mine.py")]
    exec(compile(foreign, "mine.py", "exec"), {})
    assert capsys.readouterr().out == outputs[1]
    assert export(["mine.checkpoint.safetensors", "-o", "mine.safetensors", "-q"]) == 0
    assert "\nexact: yes, " in capsys.readouterr().out
    exec(compile(own, "mine.py", "exec"), {})
    assert capsys.readouterr().out == outputs[0]
    ran = 0
    for module in ("export", "sim", "gateware.build"):
        for command, output in example(f"python -m {module} "):
            arguments = command.split()[3:]
            if "--engine" in arguments:
                continue  # tests/rtl compares the engines; compiling this circuit takes half a minute
            assert importlib.import_module(MODULES[module]).main(arguments) == 0
            assert masked(capsys.readouterr().out) == masked(output), command
            ran += 1
    assert ran == 3
    exec(compile(checked, "your-network.md", "exec"), {})
    assert re.fullmatch(r"0 1597 clocks \d+%\n2 530 spikes \d+%\n3 58 clocks \d+%\n", capsys.readouterr().out)


def test_the_lines_for_the_first_rung_run(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(ROOT)
    (program,) = (block for kind, block in CODE.findall((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
                  if kind == "python")
    exec(compile(program, "architecture.md", "exec"), {})


def neurons(channels):
    zeros = np.zeros(channels, dtype=np.int64)
    return Neurons(threshold=zeros + 5, bias=zeros, initial=zeros)


def convolution(into, out, kernel, **options):
    return Convolution(weights=random_weights(np.random.default_rng(0), out, into, kernel, kernel),
                       neurons=neurons(out), **options)


def network(side, channels, *layers, timesteps=4):
    source = Input(encoding=Encoding.PIXELS, channels=channels, height=side, width=side)
    shape = source.shape
    for layer in layers:
        shape = layer.output_shape(shape)
    readout = Readout(weights=random_weights(np.random.default_rng(0), 10, int(np.prod(shape))))
    return Network(input=source, layers=(*layers, readout), timesteps=timesteps)


#: Networks that are too large for the iCEBreaker, in the order of the table of messages.
TOO_LARGE = [
    lambda: network(28, 1, convolution(1, 16, 5, stride=2, padding=2), convolution(16, 64, 3), convolution(64, 128, 3)),
    lambda: network(128, 1, convolution(1, 16, 7), OrPool(size=7)),
    lambda: network(32, 3, convolution(3, 64, 3, padding=1), convolution(64, 64, 1), convolution(64, 64, 1),
                    OrPool(size=7)),
    lambda: network(28, 1, convolution(1, 16, 7), OrPool(size=7), timesteps=8),
]


def messages():
    text = (ROOT / "docs" / "your-network.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


@pytest.mark.parametrize("number", range(len(TOO_LARGE)))
def test_messages_of_the_dry_run_are_those_on_the_page(number):
    with pytest.raises(ConfigError, match=f"^{re.escape(messages()[number])}$"):
        plan_for_board(TOO_LARGE[number](), BOARDS["icebreaker"])


def test_clocks_that_the_pll_makes_are_those_on_the_page():
    with pytest.raises(BoardError, match=f"^{re.escape(messages()[-1])}$"):
        BOARDS["icebreaker"].check_clock(40e6)
    for clock in (24e6, 36e6, 39e6, 48e6):
        BOARDS["icebreaker"].check_clock(clock)
    assert len(messages()) == len(TOO_LARGE) + 1


def test_the_conversation_on_the_page_is_the_protocol():
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8").partition("### Example of a conversation")[2]
    ask, image, result = (bytes.fromhex(line) for line in CODE.search(text)[2].splitlines())
    assert ask == Frame(command=Command.INFO, tag=7).to_bytes()
    assert image == Frame(command=Command.CLASSIFY, tag=8, payload=bytes((0, 128, 255, 7))).to_bytes()
    answer = Result(label=1, cycles=300, stalls=0, flash_stalls=0, scores=(-2, 5))
    assert result == Frame(command=Reply.RESULT, tag=8, payload=answer.to_bytes()).to_bytes()
    (frame,) = FrameReader().feed(result)
    assert Result.from_bytes(frame.payload, 2) == answer
    assert crc16(b"123456789") == 0x6F91


def test_the_info_block_on_the_page_is_the_one_that_is_sent():
    info = Info(lanes=8, width=16, circuit_timesteps=4, timesteps=3, encoding=InputEncoding.OFFSET, channels=3,
                image_height=28, image_width=32, classes=10, clock_khz=39_000, digest=b"abcdefgh", name="mnist")
    data = info.to_bytes()
    fields = {0: b"STRN", 4: b"\x04", 5: b"\x08", 6: b"\x10", 7: b"\x04", 8: b"\x01", 9: b"\x03",
              10: b"\x1c\x00", 12: b"\x20\x00", 14: b"\x0a\x00", 16: b"\x58\x98\x00\x00", 20: b"abcdefgh", 28: b"\x03",
              29: bytes(3), 32: b"mnist" + bytes(27)}
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8").partition("The info block:")[2]
    table = {int(offset): int(size) for offset, size in re.findall(r"^\| (\d+) \| (\d+) \|", text, re.MULTILINE)}
    assert table == {offset: len(content) for offset, content in fields.items()}
    assert all(data[offset:offset + len(content)] == content for offset, content in fields.items())


def test_the_readme_has_the_clocks_of_the_shipped_network():
    shipped = network_file.load(DEFAULT_NETWORK)
    plan = plan_for_board(shipped, BOARDS["icebreaker"])
    total = count_cycles(plan).total
    report = (ROOT / "README.md").read_text(encoding="utf-8").partition("<!-- report:")[2]
    report = report.partition("<!-- report: end -->")[0]
    assert re.findall(r"cycles per image +(\d+)", report) == [str(total)], "refresh the README from report.json"
    assert f"| {total:,} |" in report
    assert f"| {shipped.metadata['accuracy']:.2%} of {shipped.metadata['accuracy_images']:,} |" in report


def test_latencies_on_the_page_are_those_of_the_blocks():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    config = EngineConfig()
    pif = PifUnit.latency_of(config)
    assert f"| `dot_product` | a word per clock | {DotProduct.latency_of(config)} |" in text
    assert f"| {NeuronArray.latency_of(config)} to `load`, then a neuron per clock |" in text
    assert f"| `pif` | a neuron per clock | {pif - config.timesteps} + T |" in text
    rest = SpikeCollector.latency_of(config) - config.lanes - pif
    assert f"| {rest} + P + {pif - config.timesteps} + T from `load` to the write |" in text


def test_the_clock_formula_on_the_page_is_close():
    """``docs/architecture.md``: words and writes, or the array's pace, and about 32 clocks per layer."""
    net = network(28, 1, convolution(1, 16, 7, stride=2, padding=3), convolution(16, 32, 3), OrPool(size=2),
                  convolution(32, 64, 3), OrPool(size=2))
    plan = plan_for_board(net, BOARDS["icebreaker"])
    cycles = count_cycles(plan)
    for number, stage in enumerate(plan.stages):
        at = stage.placement
        sums = stage.computed[1] * stage.computed[2] * at.groups
        writes = 0 if number == len(plan.stages) - 1 else sums // stage.pool**2
        roughly = max(sums * at.sum_words + writes, sums * plan.config.lanes)
        assert 0 <= cycles.stages[number] - roughly <= layer_start_cycles(plan.config) + drain_cycles(plan.config) + 2
    assert abs(layer_start_cycles(plan.config) + drain_cycles(plan.config) - 32) <= 4
