"""The command: what it writes, and one line for each thing that it refuses."""

import re

import numpy as np
import pytest

from arch import network_file
from arch.images import images_digest
from gateware.build.page import command
from gateware.reports.folder import PAGE, REPORT
from models import DEFAULT_NETWORK, FOLDER
from tests.gateware.build.page.conftest import overlay_report, report_of


@pytest.fixture
def run(capsys):
    def call(*arguments):
        code = command.main([str(word) for word in arguments])
        done = capsys.readouterr()
        return code, done.out, done.err
    return call


def test_the_page_is_written_beside_the_report(run, folder):
    path = folder(report_of())
    code, out, err = run(path)
    assert (code, err) == (0, "")
    assert re.fullmatch(rf"wrote {path}/report\.html, \d+ KiB\n", out)
    assert (path / PAGE).read_text().startswith("<!DOCTYPE html>\n")


def test_two_builds_are_compared(run, folder, tmp_path):
    one, other = folder(report_of(), "one"), folder(report_of(lc=4000), "other")
    assert run(one, "--compare", other, "-o", tmp_path / "c.html")[0] == 0
    assert "Comparison of two builds" in (tmp_path / "c.html").read_text()
    assert run(one, "--compare", other)[1].startswith(f"wrote {one}/comparison.html, ")


def test_further_evidence_is_shown(run, folder, tmp_path):
    path = folder(report_of(shipped=True))
    more = folder(report_of(shipped=True, seeds=[1, 2, 3, 4], fmax_mhz=[50.0, 51.0, 52.0, 53.0]), "more")
    sha256 = network_file.digest(network_file.load(DEFAULT_NETWORK))
    answers = tmp_path / "answers.json"
    pixels = np.zeros((2, 1, 28, 28), np.uint8)
    answers.write_text(f'{{"network_sha256": "{sha256}", "images": 2, "engines": ["reference", "bitstream"], '
                       f'"images_sha256": "{images_digest(pixels)}", "classes": [7, 2], "labels": [7, 3], '
                       f'"agree": true}}')
    images = tmp_path / "images.npy"
    np.save(images, pixels)
    options = ["--network", DEFAULT_NETWORK, "--answers", answers, "--margins", more / REPORT]
    assert run(path, *options)[0] == 0
    text = (path / PAGE).read_text()
    assert "1 (3 taken for 2)" in text
    assert "One dot for each of 4 seeds, from 50.00 to 53.00 MHz" in text
    assert run(path, *options, "--images", images)[0] == 0
    assert 'alt="Image 1, of class 3, taken for 2"' in (path / PAGE).read_text()


def test_only_a_page_is_overwritten(run, folder, tmp_path):
    path, other, network = folder(report_of(shipped=True)), folder(report_of(), "other"), tmp_path / "n.safetensors"
    network.write_bytes(DEFAULT_NETWORK.read_bytes())
    kept = {network: network.read_bytes(), path / "sterna.bin": b"\xff\x00", path / "base.zip": b"PK",
            other / "netlist.zip": b"", tmp_path / "mine.html": b"<!DOCTYPE html>\n<title>Sterna</title>"}
    for file, content in kept.items():
        file.write_bytes(content)
        for options in ([], ["--compare", other]):
            _, out, err = run(path, *options, "-o", file)
            assert out == ""
            assert err == (f"ERROR: {file}: output must be a new file or an earlier page, and this file is no page: "
                           f"give another name with -o\n")
        assert file.read_bytes() == content
    for options in ([], ["--compare", other], []):
        assert run(path, *options, "-o", tmp_path / "new.html")[0] == 0


@pytest.mark.parametrize(("content", "message"), [
    (b"{}", r"must be a report\.json of python -m gateware\.build: .*"),
    (b"\xff\x00", r"must be a report\.json of python -m gateware\.build: .*"),
    (b"[" * 100_000, r"must be a report\.json of python -m gateware\.build: .*"),
    (b'{"weights": "flash"}', r"must be a report\.json of python -m gateware\.build --weights flash: .*"),
])
def test_a_damaged_report_is_one_line(run, tmp_path, content, message):
    (tmp_path / REPORT).write_bytes(content)
    code, out, err = run(tmp_path)
    assert (code, out) == (1, "")
    assert re.fullmatch(rf"ERROR: {tmp_path}/report\.json: {message}\n", err)
    assert not (tmp_path / PAGE).exists()


def test_refusals(run, folder, tmp_path):
    path, overlay = folder(report_of()), folder(overlay_report(), "overlay")
    other = folder(report_of(netlist_sha256="d" * 64), "other")
    fashion = FOLDER / "fashion-conv.safetensors"
    digests = [network_file.digest(network_file.load(fashion))[:16], report_of().network_sha256[:16]]
    for arguments, message in [
        ([tmp_path], (f"{tmp_path}/report.json: must be the report.json of a build, and is missing: give a folder that "
                     f"python -m gateware.build has written")),
        ([path / REPORT], (f"{path / REPORT}/report.json: must be the report.json of a build, and is missing: give a "
                           f"folder that python -m gateware.build has written")),
        ([path, "--images", "x"], "--images must be given with --answers, which says how they were classified"),
        ([path, "--compare", other, "--margins", "x"],
         "--margins has no effect with --compare: leave one of the two out"),
        ([path, "--network", fashion], (f"{fashion}: must be the network of the build, whose sha256 is {digests[1]}, "
                                       f"not {digests[0]}: give the file that was built in")),
        ([path, "--margins", other / REPORT],
         (f"{other}/report.json: must be the report of a build of the same netlist, whose sha256 is {'c' * 16}, not "
         f"{'d' * 16}: build the same network at the same revision with --seeds N")),
        ([overlay, "--network", fashion],
         "--network must be left out for the overlay, which has no network of its own"),
        ([path, "-o", path / REPORT], (f"{path}/report.json: output must not be the input {path}/report.json: give "
                                      f"another name")),
        ([path, "-o", tmp_path], f"{tmp_path}: output must be a file, not a folder"),
    ]:
        assert run(*arguments) == (1, "", f"ERROR: {message}\n")


def test_images_want_the_network(run, folder, tmp_path):
    report = report_of()
    answers = tmp_path / "answers.json"
    answers.write_text(f'{{"network_sha256": "{report.network_sha256}", "images": 1, "engines": ["reference"], '
                       f'"classes": [0], "labels": [0]}}')
    assert run(folder(report), "--answers", answers, "--images", "x") == (
        1, "", "ERROR: --images must be given with the network, which says what an image is: give --network FILE\n")
