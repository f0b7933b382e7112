"""The waveform of an image: what is read out of the file is what the reference computes."""

import contextlib
import dataclasses
import pathlib
import re

import numpy as np
import pytest

from arch.images import image_bytes
from arch.link import BYTE_BITS, HEADER_BYTES
from reference.engines import ReferenceEngine
from sim.rtl import RtlEngine
from sim.spike_maps import read_map
from sim.verilator import Trace
from sim.waves.recording import CLOCK_UNITS, Recording
from sim.waves.views import gtkwave_view, surfer_view
from support.errors import InputError
from tests.link_board import CACHE
from tests.random_networks import SMALL, draw, images_for, kept_stages
from tests.sim.waves.vcd import read_vcd

pytestmark = pytest.mark.rtl

PLAN, RNG = draw(SMALL, 60)
IMAGES = images_for(PLAN, RNG, 3)


@pytest.fixture(scope="module")
def engine():
    with RtlEngine(PLAN.network, config=SMALL, cache=CACHE, trace=Trace.VCD) as engine:
        yield engine


def record(engine, path, image=IMAGES[2], **window):
    recording = Recording(path=path, trace=Trace.VCD, **window)
    return recording.write(engine, lambda: engine.classify(image[None]))


@pytest.fixture(scope="module")
def recorded(engine, tmp_path_factory):
    path = tmp_path_factory.mktemp("waves") / "image.vcd"
    waveform, result = record(engine, path)
    return waveform, result, read_vcd(path)


def before_edge(wave, name):
    """Values of a signal before each rising edge of the clock: what flip-flops take."""
    return wave.sampled(f"TOP.sterna.{name}", start=CLOCK_UNITS // 2 - 1, step=CLOCK_UNITS)


def test_the_words_of_the_readout_are_the_scores_of_the_reference(recorded):
    _, result, wave = recorded
    taken = [word & 0xFFFF_FFFF for valid, ready, word in zip(
        *(before_edge(wave, f"accelerator.readout.o_words__{name}") for name in ("valid", "ready", "payload")),
        strict=True) if valid and ready]
    expected = ReferenceEngine(PLAN.network).classify(IMAGES[2:])
    assert taken[:2] == [expected.classes[0], result.cycles[0]]
    scores = np.array(taken[4:], dtype=np.uint32).view(np.int32)
    assert scores.tolist() == expected.scores[0].tolist()


def test_the_writes_of_the_collector_are_the_spikes_of_the_reference(recorded):
    *_, wave = recorded
    steps = SMALL.timesteps
    names = ("write", "address", "mask", "write_data")
    words = [0] * SMALL.spike_words
    for write, address, mask, data in zip(*(before_edge(wave, f"accelerator.collector.{name}") for name in names),
                                          strict=True):
        if write:
            lanes = sum(((1 << steps) - 1) << steps * lane for lane in range(SMALL.width) if mask >> lane & 1)
            words[address] = words[address] & ~lanes | data & lanes
    expected = ReferenceEngine(PLAN.network).classify(IMAGES[2:], spikes=True).spikes
    numbers = kept_stages(PLAN)
    assert numbers
    assert any(expected[PLAN.stages[number].last_index].any() for number in numbers)
    for number in numbers:
        np.testing.assert_array_equal(read_map(PLAN, number, words), expected[PLAN.stages[number].last_index][0])


def test_the_engine_is_busy_for_the_clocks_of_the_result(recorded):
    waveform, result, wave = recorded
    assert sum(before_edge(wave, "busy")) == result.cycles[0] - 1
    assert len(before_edge(wave, "clk")) == waveform.clocks
    assert (waveform.first_clock, wave.timescale) == (0, "1ns")


def test_every_signal_of_the_views_is_in_the_waveform(recorded):
    waveform, _, wave = recorded
    _, gtkwave, surfer = map(pathlib.Path, waveform.files)
    lines = gtkwave.read_text().splitlines()
    shown = [line for line in lines if line.startswith("TOP.")]
    # GTKWave knows a vector by its name and its bits.
    assert set(shown) <= wave.declared
    added = [line.split()[1] for line in surfer.read_text().splitlines() if line.startswith("variable_add ")]
    assert added == [line.partition("[")[0] for line in shown]
    assert len(set(added)) == len(added) > 55
    assert '[dumpfile] "image.vcd"' in lines
    assert waveform.openers == ("gtkwave image.vcd image.gtkw", "surfer -c image.sucl image.vcd")


def test_a_window_has_the_same_values_at_the_same_times(engine, recorded, tmp_path):
    whole = recorded[2]
    # The payload: the tag before it is another one in each frame.
    byte_clocks = int(engine.simulation.divisor) * BYTE_BITS
    first = HEADER_BYTES * byte_clocks
    end = first + len(image_bytes(PLAN.network, IMAGES[2])) * byte_clocks
    waveform, _ = record(engine, tmp_path / "window.vcd", first=first, end=end)
    assert (waveform.clocks, waveform.first_clock) == (end - first, first)
    window = read_vcd(tmp_path / "window.vcd")
    times = {"start": first * CLOCK_UNITS + 4, "step": CLOCK_UNITS}
    for name in ("rx", "accelerator.i_pixels__valid", "accelerator.i_pixels__payload"):
        values = window.sampled(f"TOP.sterna.{name}", **times)
        assert len(values) == end - first
        assert len(set(values)) > 1
        assert values == whole.sampled(f"TOP.sterna.{name}", **times)[:end - first]


def test_a_window_behind_the_result_is_one_line_and_leaves_no_file(engine, tmp_path):
    with pytest.raises(InputError) as caught:
        record(engine, tmp_path / "late.vcd", first=10**9)
    clocks = engine.image_clocks
    assert str(caught.value) == f"--from must be a clock of the image, of which there are {clocks}, not 1000000000"
    assert [*tmp_path.iterdir()] == []
    waveform, _ = record(engine, tmp_path / "last.vcd", first=clocks - 1)
    assert waveform.clocks == 1


def test_an_image_that_fails_leaves_what_was_there(engine, tmp_path):
    path = tmp_path / "image.vcd"
    path.write_text("mine")

    def fail():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match=r"^no$"):
        Recording(path=path, trace=Trace.VCD).write(engine, fail)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("image.vcd", "mine")]


def test_an_engine_writes_no_more_to_the_waveform_of_an_image_that_failed(engine, tmp_path, monkeypatch):
    def fail(_image):
        engine.simulation.run(limit=10)
        raise RuntimeError("no")

    with monkeypatch.context() as patch:
        patch.setattr(engine._link, "classify", fail)
        with pytest.raises(RuntimeError, match=r"^no$"):
            record(engine, tmp_path / "image.vcd")
    engine.classify(IMAGES[:1])
    assert engine.simulation.end_trace() == 10
    assert [*tmp_path.iterdir()] == []


def test_an_image_behind_a_recorded_one_is_not_recorded(engine, tmp_path):
    waveform, _ = record(engine, tmp_path / "image.vcd")
    assert engine.traced_clocks == waveform.clocks
    assert (engine.classify(IMAGES).scores == ReferenceEngine(PLAN.network).classify(IMAGES).scores).all()
    assert engine.traced_clocks == waveform.clocks


class Whole(Exception):
    """A file was found whole: what comes next would be its views."""


class Written(RtlEngine):
    """An engine whose waveform is ``content``."""

    image_clocks = 9

    def __init__(self, content, traced_clocks=5):
        self.content, self.traced_clocks = content, traced_clocks

    @contextlib.contextmanager
    def tracing(self, temporary, **window):
        temporary.write_bytes(self.content)
        yield

    @property
    def verilog(self):
        raise Whole


@pytest.mark.parametrize("lost", [1, 8, 9, 400])
def test_an_fst_that_is_not_whole_is_one_line(lost, tmp_path):
    """The blocks of a file of Verilator: of the type 0 with 329 bytes, 8 with 90, and 6 with 20."""
    path = tmp_path / "image.fst"
    whole = b"".join(bytes([kind]) + size.to_bytes(8, "big") + bytes(size - 8) for kind, size in
                     ((0, 329), (8, 90), (6, 20)))
    recording = Recording(path=path, trace=Trace.FST)
    with pytest.raises(Whole):
        recording.write(Written(whole), lambda: None)
    path.unlink()
    for content in (whole[:-lost], b"", whole + bytes(lost)):
        with pytest.raises(OSError, match=r"^\[Errno 28\] the waveform could not be written whole, maybe because the "
                                          r"disk is full: '.*image\.fst'$"):
            recording.write(Written(content), lambda: None)
    assert [*tmp_path.iterdir()] == []


def test_an_fst_behind_the_result_is_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(InputError, match=r"^--from must be a clock of the image, of which there are 9, not 20$"):
        Recording(path=tmp_path / "late.fst", trace=Trace.FST, first=20).write(Written(b"broken", 0), lambda: None)
    assert [*tmp_path.iterdir()] == []


def test_names_with_spaces_are_quoted_where_a_shell_takes_them(engine, tmp_path):
    waveform, _ = record(engine, tmp_path / "a b.vcd", end=1)
    assert waveform.openers == ("gtkwave 'a b.vcd' 'a b.gtkw'", "surfer -c 'a b.sucl' 'a b.vcd'")


@pytest.mark.parametrize(("change", "message"), [
    ({"path": "x.txt"}, r"--vcd must name a file that ends in .vcd, not 'x.txt'"),
    ({"trace": Trace.FST}, r"--fst must name a file that ends in .fst, not 'x.vcd'"),
    ({"first": -1}, "--from must be 0 or more, not -1"),
    ({"first": 7, "end": 7}, "--to must be more than --from, which is 7, not 7"),
    ({"end": 0}, "--to must be more than --from, which is 0, not 0"),
    ({"first": 2**64}, f"--from must be below 2^62, not {2**64}"),
    ({"first": 1, "end": 2**62}, f"--to must be below 2^62, not {2**62}"),
])
def test_recordings_that_make_no_sense_are_one_line(change, message):
    fields = {"path": "x.vcd", "trace": Trace.VCD, **change}
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Recording(**fields | {"path": pathlib.Path(fields["path"])})


def test_files_that_would_be_lost_are_one_line(tmp_path):
    network = tmp_path / "network.vcd"
    network.touch()
    recording = Recording(path=network, trace=Trace.VCD)
    with pytest.raises(InputError, match=f"^{network}: output must not be the input {network}: give another name$"):
        recording.check([network])
    recording.check([])
    gtkwave, surfer = gtkwave_view([], {}, top="sterna", waveform="network.vcd", units=10), surfer_view(
        [], {}, top="sterna")
    for name, written in (("network.gtkw", gtkwave), ("network.sucl", surfer)):
        view = tmp_path / name
        for changed in ("[*] GTKWave Analyzer v3.3.116\n", f"{written}# mine\n", written.replace("\n", "\n\n", 1),
                        written[:-1], written.partition("\n")[0], "", f"# mine\n{written}"):
            view.write_text(changed)
            with pytest.raises(InputError) as caught:
                recording.check([])
            assert str(caught.value) == (
                f"{view}: view beside the waveform must be as this command has written it, and this one was changed or "
                f"comes from another program: rename it, or give --vcd another name")
        view.write_text(written)
        recording.check([])
    with pytest.raises(InputError, match=rf"^{tmp_path}/no/x\.vcd: folder {tmp_path}/no must exist$"):
        dataclasses.replace(recording, path=tmp_path / "no" / "x.vcd").check([])


def test_views_that_this_command_has_written_are_written_again(engine, tmp_path):
    for _ in range(2):
        recording = Recording(path=tmp_path / "image.vcd", trace=Trace.VCD)
        recording.check([])
        record(engine, recording.path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["image.gtkw", "image.sucl", "image.vcd"]
