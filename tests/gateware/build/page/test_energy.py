"""The section on energy: what the model says, with its bounds, or the command that would ask it."""

import dataclasses

import pytest

from gateware.build.energy.activity import read_activity
from gateware.build.energy.model import estimate
from gateware.build.energy.resources import resources_of
from gateware.build.page.levels import Level
from gateware.build.page.parts import Missing, measures
from gateware.build.page.sections.energy import section
from gateware.build.page.subject import Evidence, Subject, subject_of
from gateware.reports.overlay import OverlayReport
from support.errors import InputError
from tests.gateware.build.page.conftest import overlay_report, report_of
from tests.gateware.build.waveforms import CHANGES, HEADER, STREAMED_HEADER


@pytest.fixture
def waveform(tmp_path):
    path = tmp_path / "image.vcd"
    path.write_text(HEADER + CHANGES)
    return path


@pytest.mark.parametrize("report", [report_of(cycles_per_inference=4), overlay_report()])
def test_the_page_has_what_the_model_says(report, waveform, tmp_path):
    if isinstance(report, OverlayReport):
        waveform.write_text(STREAMED_HEADER + CHANGES)
    expected = estimate(resources_of(report, name="it"), read_activity(waveform))
    found = section(subject_of(tmp_path, report, Evidence(waveform=waveform)))
    numbers = {measure.name: measure for measure in measures(found)}
    assert numbers["energy of an inference"].number.value == 1e6 * expected.inference.value
    assert numbers["power while it computes"].number.value == 1e3 * expected.computing.value
    assert numbers["power of a clock that runs and does nothing"].number.value == 1e3 * expected.idle.value
    assert numbers["block RAM: energy"].number.value == 1e6 * expected.parts["block RAM"].value
    assert numbers["block RAM: at most"].number.value == 1e6 * expected.parts["block RAM"].high
    shares = [measure.number.value for name, measure in numbers.items() if name.endswith(": share")]
    assert sum(shares) == pytest.approx(1)
    assert {measure.level for measure in numbers.values()} == {Level.ESTIMATED}
    # An overlay has no rate of its own: that is one of its network.
    assert ("average power" in numbers) == hasattr(report, "images_per_second_link")


@pytest.mark.parametrize(("report", "command"), [
    (report_of(), "python -m sim NETWORK.safetensors --images IMAGES --engine rtl --vcd image.vcd; "),
    (overlay_report(), ("python -m sim NETWORK.safetensors --images IMAGES --engine rtl --weights flash --vcd "
                        "image.vcd; "))])
def test_without_a_waveform_the_command_is_said(report, command):
    (part,) = section(Subject(report=report)).parts
    assert part == Missing(what="Nothing was estimated.",
                           command=f"{command}python -m gateware.build.page BUILD --waveform image.vcd")


@pytest.mark.parametrize("changes", [{"lc": None}, {"board": "another"}])
def test_of_what_no_estimate_is_possible_there_is_none(changes, waveform, tmp_path):
    report = dataclasses.replace(report_of(), **changes)
    assert section(Subject(report=report)) is None
    with pytest.raises(InputError, match=r"report\.json: (build must have been placed|board must have an iCE40)"):
        subject_of(tmp_path, report, Evidence(waveform=waveform))
