"""The constants of the C driver are those of the protocol."""

import re

import pytest

from arch import link
from firmware.c import command
from firmware.c.header import field_places, header


def test_the_committed_header_is_the_one_that_is_made():
    assert command.HEADER.read_text(encoding="ascii") == header(), "run python -m firmware.c"


def test_the_command_writes_it(tmp_path, capsys):
    assert command.main(["-o", str(tmp_path / "out.h")]) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path}/out.h\n"
    assert (tmp_path / "out.h").read_text() == header()


def test_an_output_that_cannot_be_written_is_one_line(tmp_path, capsys):
    assert command.main(["-o", str(tmp_path / "none" / "out.h")]) == 1
    assert capsys.readouterr().err == f"ERROR: {tmp_path}/none/out.h: folder {tmp_path}/none must exist\n"


def test_a_changed_protocol_changes_the_header(monkeypatch):
    monkeypatch.setattr(link, "SYNC", 0x5A)
    assert "#define STERNA_SYNC 0x5A /* first byte of every frame */\n" in header()


@pytest.mark.parametrize(("name", "place"), [
    ("version", (4, 1)), ("channels", (9, 1)), ("image_height", (10, 2)), ("image_width", (12, 2)),
    ("classes", (14, 2)), ("clock_khz", (16, 4)), ("digest", (20, 8)), ("timesteps", (28, 1)),
    ("name", (32, 32)), ("bad_frames", (64, 1)), ("overruns", (65, 1)), ("aborted_frames", (66, 1)),
])
def test_places_of_fields(name, place):
    assert field_places()[name] == place


def test_every_command_reply_and_refusal_is_named():
    numbers = {name: int(value) for name, value in re.findall(r"^    STERNA_(\w+) = (\d+),$", header(), re.MULTILINE)}
    assert numbers == {
        **{f"ASK_{entry.name}": entry.value for entry in link.Command},
        **{f"REPLY_{entry.name}": entry.value for entry in link.Reply},
        **{f"ENCODING_{entry.name}": entry.value for entry in link.InputEncoding},
        **{f"REFUSED_{entry.name}": entry.value for entry in link.ErrorCode}}
