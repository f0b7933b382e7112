"""What python -m export has printed, read back and shown; and every line of refusal."""

import json

import pytest

from arch import network_file
from export import command as export
from gateware.build.page.export_report import ExportReportError, read_export_report
from gateware.build.page.subject import Evidence, subject_of
from models import DEFAULT_NETWORK, FOLDER
from support.command_line import EXIT_OK
from tests.gateware.build.page.conftest import overlay_report, report_of
from tests.gateware.build.page.test_page import data_of, page_of

SHA = "a" * 64
LAYER = {"name": "conv1", "kind": "convolution", "weights": 784, "sparsity": 0.5, "bytes": 580, "compression": 5.7,
         "mismatches": 1, "compared": 100}


@pytest.fixture
def written(tmp_path):
    def write(**changes):
        path = tmp_path / "export.json"
        path.write_text(json.dumps({"network_sha256": SHA, "bytes": 700, "layers": [LAYER, {**LAYER, "compared": None,
                        "mismatches": None}], "verified_images": 32, "verified_on": "noise", **changes}))
        return path
    return write


def test_what_the_command_prints_is_shown(tmp_path, capsys):
    sha256 = network_file.digest(network_file.load(DEFAULT_NETWORK))
    assert export.main([str(FOLDER / "mnist-conv.checkpoint.safetensors"), "--dry-run", "--json"]) == EXIT_OK
    path = tmp_path / "export.json"
    path.write_text(capsys.readouterr().out)
    subject = subject_of(tmp_path, report_of(shipped=True), Evidence(export=path))
    assert subject.export == read_export_report(path, network_sha256=sha256)
    page, text = page_of(subject)
    assert page.faults == []
    numbers = {each["name"]: each["value"] for each in data_of(text)["builds"][0]["measures"]
               if each["section"] == "certificate"}
    assert (numbers["spikes compared"], numbers["spikes that differ"]) == (1_122_304, 0)
    assert numbers["layer 3, convolution: weights"] == 18432
    assert numbers["layer 3, convolution: bytes"] == 6144
    assert "layer 4, or pool: weights" not in numbers
    assert "with those of real arithmetic, on 32 images of noise" in text


def test_spikes_are_summed_over_the_layers_that_have_some(written):
    report = read_export_report(written(), network_sha256=SHA)
    assert (report.compared, report.mismatches) == (100, 1)


@pytest.mark.parametrize(("changes", "message"), [
    ({"network_sha256": "b" * 64}, (f"must be of the network of the build, whose sha256 is {'a' * 16}, not {'b' * 16}: "
                                   f"export the checkpoint that was built in, or build this network")),
    ({"layers": [{**LAYER, "compared": -1}]}, "numbers must not be negative: run python -m export again"),
    ({"bytes": -1}, "numbers must not be negative: run python -m export again"),
    ({"layers": 3}, "must be what python -m export CHECKPOINT --json prints: layers must be a list, not 3"),
    ({"layers": [{"name": "x"}]}, "must be what python -m export CHECKPOINT --json prints: layers 0 has no 'kind'"),
    ({"verified_on": None}, ("must be what python -m export CHECKPOINT --json prints: verified_on must be a string, "
                            "not None")),
])
def test_refusals(written, changes, message):
    path = written(**changes)
    with pytest.raises(ExportReportError) as caught:
        read_export_report(path, network_sha256=SHA)
    assert str(caught.value) == f"{path}: {message}"


def test_the_overlay_has_no_network_that_was_exported(tmp_path, written):
    with pytest.raises(ValueError, match=r"^--export must be left out for the overlay"):
        subject_of(tmp_path, overlay_report(), Evidence(export=written()))
