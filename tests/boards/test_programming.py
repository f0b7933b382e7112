"""What is read of a build before its bitstream is written. The writing is tested with the build, and with swap."""

import dataclasses
import hashlib
import json
import re

import pytest

from boards.programming import REPORT, ProgrammingError, load_bitstream
from gateware.reports.network import Report
from gateware.reports.overlay import OverlayReport

READ = {"board", "baud", "bitstream_sha256"}
OF_A_NETWORK = {"network", "network_sha256"}


def test_reports_of_builds_have_what_is_read():
    network, overlay = ({field.name for field in dataclasses.fields(report)} for report in (Report, OverlayReport))
    assert READ | OF_A_NETWORK <= network
    assert READ <= overlay
    # What tells the bitstream of a network from that of the overlay.
    assert not OF_A_NETWORK & overlay


@pytest.fixture
def build(tmp_path):
    """Writes a bitstream with a report; returns the bitstream's file."""
    def write(**changes):
        file = tmp_path / "other.bin"
        file.write_bytes(b"bitstream")
        report = {"board": "icebreaker", "baud": 12_000_000, "network": "digits", "network_sha256": "ab" * 32,
                  "bitstream_sha256": hashlib.sha256(b"bitstream").hexdigest(), **changes}
        (tmp_path / REPORT).write_text(json.dumps({name: value for name, value in report.items() if value is not ...}))
        return file
    return write


def test_a_bitstream_is_what_its_report_says(build):
    loaded = load_bitstream(build())
    assert (loaded.content, loaded.board, loaded.baud, loaded.network, loaded.network_sha256) == (
        b"bitstream", "icebreaker", 12_000_000, "digits", "ab" * 32)
    assert load_bitstream(build(network=..., network_sha256=...)).network_sha256 is None


@pytest.mark.parametrize("changes", [
    {"board": ...}, {"baud": "fast"}, {"baud": None}, {"bitstream_sha256": ...}, {"network": 5}, {"network": None},
    {"network_sha256": 5}, {"network_sha256": "abcd"}, {"network_sha256": "no digits"}])
def test_a_report_that_is_none_has_its_line(build, tmp_path, changes):
    with pytest.raises(ProgrammingError, match=f"^{re.escape(str(tmp_path))}: must have the other.bin and the "
                                               r"report\.json of a build: build first$"):
        load_bitstream(build(**changes))


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000])
def test_a_report_that_cannot_be_read_has_its_line(build, tmp_path, content):
    file = build()
    (tmp_path / REPORT).write_text(content)
    with pytest.raises(ProgrammingError, match=r": must have the other.bin and the report\.json of a build: build "
                                               r"first$"):
        load_bitstream(file)
    (tmp_path / REPORT).unlink()
    with pytest.raises(ProgrammingError, match=r": build first$"):
        load_bitstream(file)


def test_a_bitstream_of_another_build_has_its_line(build):
    file = build(bitstream_sha256="cd" * 32)
    found = hashlib.sha256(b"bitstream").hexdigest()
    with pytest.raises(ProgrammingError, match=f"^{re.escape(str(file))}: sha256 must be that of its report.json, "
                                               f"{'cd' * 32}, not {found}: build again$"):
        load_bitstream(file)
