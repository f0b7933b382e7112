"""The page of a build: every number with its level, one file, well formed, and safe with names from files."""

import dataclasses
import hashlib
import html
import html.parser
import json
import re

import pytest

from gateware.build.page.levels import Level
from gateware.build.page.rebuilding import build_command
from gateware.build.page.rendering import SCHEMA, render
from gateware.build.page.sections import sections_of, verdict
from gateware.build.page.subject import Evidence, Subject, subject_of
from gateware.check.checking import check
from gateware.reports.archive import pack
from gateware.reports.folder import BASE
from gateware.reports.network import Also, Swap
from models import DEFAULT_NETWORK
from tests.gateware.build.page.conftest import layout_of, overlay_report, report_of

#: Largest page, in bytes: one that is attached to a mail without a thought.
LARGEST = 300 * 1024

VOID = {"meta", "img", "br", "link", "input"}


def without_options(text):
    """A page whose commands are as one writes them: without the marks around the names of options."""
    return re.sub(r'<span>(.*?)</span>', r"\1", text)


class Page(html.parser.HTMLParser):
    """A page, read strictly: its elements, the texts in them, and the numbers with their levels."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.faults, self.ids, self.links, self.headings, self.texts = [], [], [], [], [], {}
        #: Level (or None) and text of each element of the class n in a value, a headline or a table.
        self.numbers = []
        self.feed(text)
        self.close()
        self.faults += [f"{tag} is open" for tag, _ in self.open]

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if len(values) != len(attributes):
            self.faults.append(f"{tag} has an attribute twice")
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[name] for name in ("href", "src", "xlink:href", "action", "data") if name in values]
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "img" and not values.get("alt"):
            self.faults.append("an image has no text")
        if tag == "td" and "n" in values.get("class", "").split() and "none" not in values["class"].split():
            self.numbers.append(values.get("data-level"))
        if tag == "span" and values.get("class") == "n":
            self.numbers.append(next((of["data-level"] for _, of in reversed(self.open) if "data-level" in of), None))
        if tag not in VOID:
            self.open.append((tag, values))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open[-1][0] != tag:
            self.faults.append(f"{tag} ends within {self.open[-1][0] if self.open else 'nothing'}")
        else:
            self.open.pop()

    def handle_data(self, data):
        for tag, _ in self.open[-1:]:
            self.texts[tag] = self.texts.get(tag, "") + data


def page_of(subject):
    text = render(subject)
    return Page(text), text


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The page of a build of the shipped network, with all that it can have."""
    path = tmp_path_factory.mktemp("shipped")
    base = pack({"circuit.json": b"{}", "sterna.asc": layout_of().encode()})
    (path / BASE).write_bytes(base)
    report = report_of(shipped=True, base_sha256=hashlib.sha256(base).hexdigest())
    return page_of(subject_of(path, report, Evidence()))


@pytest.fixture(scope="module")
def pages(shipped, tmp_path_factory):
    path = tmp_path_factory.mktemp("none")
    return [shipped, *(page_of(subject_of(path, report, Evidence())) for report in (
        report_of(), overlay_report(), report_of(lc=None, seed=None, fmax_mhz=[], fmax_median_mhz=None, seeds=[],
                                                 sample_images=0, verified=[], steps=[])))]


def test_pages_are_well_formed(pages):
    for page, _ in pages:
        assert page.faults == []
        assert len(page.ids) == len(set(page.ids))
        # No heading skips a level, and there is one first.
        assert page.headings[0] == 1
        assert page.headings.count(1) == 1
        assert all(after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False))


def test_every_number_has_its_level(pages):
    words = {level.word for level in Level}
    for page, _ in pages:
        assert len(page.numbers) > 15
        assert [level for level in page.numbers if level not in words] == []


def test_a_page_needs_nothing_else(pages):
    for page, text in pages:
        assert [link for link in page.links if not link.startswith(("#", "data:image/png;base64,"))] == []
        assert [link for link in page.links if link.startswith("#") and link[1:] not in page.ids] == []
        assert not re.search(r"@import|url\((?!#)|<script(?! type=\"application/json\")|<link|<iframe|\bon\w+=", text)


def test_pages_are_small(pages):
    assert all(len(text.encode()) < LARGEST for _, text in pages)


def test_pages_of_the_same_build_are_the_same(tmp_path):
    subject = subject_of(tmp_path, report_of(), Evidence())
    assert render(subject) == render(subject)


def data_of(text):
    return json.loads(re.search(r'<script type="application/json" id="sterna-report">(.*?)</script>', text, re.S)[1])


def test_the_data_have_the_report_and_the_numbers(shipped):
    data = data_of(shipped[1])
    assert data["schema"] == SCHEMA == "sterna-report/1"
    (build,) = data["builds"]
    assert build["report"]["bitstream_sha256"] == "b" * 64
    assert (build["activity"]["images"], len(build["answers"]["classes"])) == (100, 100)
    numbers = {(each["section"], each["name"]): each for each in build["measures"]}
    assert numbers["timing", "Fmax of the bitstream"] == {
        "section": "timing", "name": "Fmax of the bitstream", "value": 50.0, "unit": "MHz", "level": "routed",
        "better": "more"}
    assert numbers["speed", "clocks of an inference"]["level"] == "netlist"
    assert numbers["resources", "logic cells: used"]["value"] == 4321
    assert numbers["floorplan", "neuron array: logic cells"]["value"] == 2
    assert numbers["accuracy", "right answers"]["level"] == "RTL"
    assert numbers["certificate", "certified channels"] | {"value": 112, "level": "proven"} == numbers[
        "certificate", "certified channels"]
    assert {each["level"] for each in build["measures"]} <= set(data["levels"])


def test_all_sections_of_a_network_are_there(shipped):
    names = ["verdict", "speed", "accuracy", "certificate", "resources", "timing", "floorplan", "layers", "activity",
             "circuit", "provenance", "reproduce"]
    assert [name for name in shipped[0].ids if name in names] == names
    for figure in ("seeds", "floorplan", "rates", "membranes", "thresholds"):
        assert f"figure-{figure}" in shipped[0].ids


def test_the_overlay_has_no_sections_of_a_network(pages):
    page, text = pages[2]
    assert not {"accuracy", "certificate", "layers", "activity"} & set(page.ids)
    assert "<h1>Overlay on iCEBreaker</h1>" in text


def test_what_was_not_measured_is_said_with_its_command(pages):
    small, bare = (without_options(pages[index][1]) for index in (1, 3))
    # Not known is what was measured elsewhere, too.
    assert "<strong>Not known.</strong> The file of the network is not at hand." in small
    assert "python -m gateware.build.page BUILD --network FILE" in small
    assert "python -m sim NETWORK.safetensors --images IMAGES --labels LABELS --json" in small
    assert "It was not placed and routed." in bare
    assert "not simulated in this build" in bare
    assert ">estimated<" in bare


@pytest.mark.parametrize(("changes", "answers"), [
    ({}, ["yes", "yes", "yes", "yes", "open", "open", "open"]),
    ({"fmax_mhz": [47.0, 47.5]}, ["yes", "no", "yes", "yes", "open", "open", "open"]),
    ({"certified": "exact", "sample_images": 0}, ["yes", "yes", "open", "yes", "open", "yes", "open"]),
    ({"certified": "inexact", "verified": []}, ["yes", "yes", "yes", "open", "open", "no", "open"])])
def test_the_verdict_answers_what_is_known(changes, answers):
    text = render(Subject(report=report_of(**changes)))
    assert re.findall(r'<span class="answer">(\w+)</span>', text) == answers
    assert ("Something is not as it should be" in text) == ("no" in answers)


@pytest.mark.parametrize(("changes", "lead"), [
    # Nobody has simulated the bitstream: nothing of it is claimed but that it fits and meets its clock.
    ({}, ("It fits, it meets its clock, and every image simulated on its circuit was computed exactly. 3 of 7 "
          "questions are open.")),
    ({"sample_images": 0},
     "The build was not checked as far as it can be; the answers without a mark say what is open.")])
def test_the_lead_claims_what_was_simulated(changes, lead):
    section = verdict.section(Subject(report=report_of(**changes)))
    assert section.lead == lead
    texts = [question.reason for question in section.parts[-1].questions]
    assert ("Scores and classes of 20 images are those of the reference, bit for bit, and the clocks those of the "
            "cycle model.") in texts


HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>$\\frac{a}{b}$&amp;"


def test_names_from_files_are_only_text(tmp_path):
    also = Also(file=HOSTILE, network=HOSTILE, network_sha256=HOSTILE, cycles_per_inference=3)
    report = report_of()
    layers = [dataclasses.replace(layer, kind=HOSTILE) for layer in report.layers]
    report = dataclasses.replace(
        report, network=HOSTILE, board=HOSTILE, revision=HOSTILE, tool_versions={HOSTILE: HOSTILE}, also=[also],
        layers=layers, accuracy=0.5, accuracy_file=HOSTILE, accuracy_command=HOSTILE, sample_dataset=HOSTILE,
        bitstream_sha256=HOSTILE, netlist_sha256=HOSTILE, network_sha256=HOSTILE)
    page, text = page_of(subject_of(tmp_path, report, Evidence()))
    assert page.faults == []
    assert "<script>" not in text
    assert "<img" not in text
    assert data_of(text)["builds"][0]["report"]["network"] == HOSTILE
    assert HOSTILE in page.texts["h1"]


def test_lone_surrogates_of_a_report_are_written(tmp_path):
    text = render(subject_of(tmp_path, report_of(network="\udcff"), Evidence()))
    assert b"\\udcff" in text.encode("utf-8", "backslashreplace")


def bounds(report):
    """The bound of each layer in the table of the page."""
    section, = (each for each in sections_of(Subject(report=report)) if each.name == "layers")
    table = section.parts[0]
    assert table.columns[-1].title == "bound by"
    return [row[-1] for row in table.rows[:-1]]


def test_the_bound_of_a_layer_is_that_of_the_check():
    answer = check(DEFAULT_NETWORK, "icebreaker", remedies=False)
    found = bounds(report_of(shipped=True))
    assert found == [layer.bound.value for layer in answer.plan.circuits["baked"].layers]
    assert found == ["pixels", "spikes", "spikes", "clocks"]


def test_a_report_of_a_version_that_knows_no_bound_shows_none():
    report = report_of()
    report = dataclasses.replace(report, layers=[dataclasses.replace(layer, bound=None) for layer in report.layers])
    assert set(bounds(report)) == {None}


def test_a_network_that_was_put_in_is_made_by_the_export():
    swap = Swap(into="build/base", network="other", network_sha256="0" * 64, bitstream_sha256="1" * 64)
    text = without_options(render(Subject(report=report_of(swap=swap), network_path="mine.safetensors")))
    assert "python -m export mine.safetensors --into build/base<" in text
    assert "in build/base: placed and routed with that network" in text


def test_the_command_makes_the_build_again():
    command = ("python -m gateware.build --board icebreaker --network 'my net.safetensors' --lanes 8 --width 16 "
               "--clock 48 --baud 3000000 --seeds {} --verify netlist --verify-images 20")
    assert build_command(report_of(), "my net.safetensors") == command.format(3)
    assert build_command(report_of(), "my net.safetensors", seeds=50) == command.format(50)
    assert build_command(overlay_report(), "") == (
        "python -m gateware.build --board icebreaker --weights flash --flash-rate single --clock 48 --baud 3000000")


def test_the_command_for_more_seeds_names_them_once():
    report = report_of(fmax_mhz=[50.0], seeds=[1], seeds_out_of_time=[2, 3])
    text = without_options(render(Subject(report=report, network_path="a.safetensors")))
    command, = re.findall(r"fewer than two were placed\. <code>(.*?)</code>", text)
    assert re.findall(r"--seeds \d+", command) == ["--seeds 50"]


def test_no_line_ends_inside_an_option():
    text = render(Subject(report=report_of(), network_path="a-b.safetensors"))
    build, *_ = [command for command in re.findall(r"<pre><code>(.*?)</code>", text) if ">--lanes<" in command]
    assert re.findall(r'<span>(.*?)</span>', build) == [
        "-m", "--board", "--network", "--lanes", "--width", "--clock", "--baud", "--seeds", "--verify",
        "--verify-images"]
    # Every command on the page, also one for what is not known.
    assert [command for command in re.findall(r"<code>(python -m .*?)</code>", text) if re.search(r" -", command)] == []
    assert re.search(r"code span {[^}]*white-space: nowrap", text)


def test_a_command_to_copy_names_the_file_as_one_word():
    text = html.unescape(without_options(render(Subject(report=report_of(), network_path="my net.safetensors"))))
    for also in ("--labels LABELS --json", "--engine rtl --vcd image.vcd", "--labels LABELS --engine all --build"):
        assert f"python -m sim 'my net.safetensors' --images IMAGES {also}" in text
    assert "python -m gateware.build.page BUILD --network 'my net.safetensors' --answers" in text
    assert " my net.safetensors" not in text
