"""The host program on a model of the line."""

import json

import pytest

from benchmarks.host.command import main


def test_every_image_is_answered_in_the_time_of_the_line(capsys):
    assert main(["--baud", "3000000", "--images", "40", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    # 791 bytes of ten bits each.
    assert report["line_images_per_second"] == pytest.approx(3_000_000 / 7910)
    # Faster than the line it cannot be, but for the bytes of the last image that the system had taken before.
    assert report["overhead"] > -0.05
    assert main(["--baud", "12000000", "--images", "3"]) == 0
    line = " images per second of the 1517.1 that the line allows at 12000000 baud: overhead "
    assert line in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "message"), [
    (["--images", "0"], "--images must be 1 to 10000000, not 0"),
    (["--baud", "1"], "--baud must be 1000 to 100000000, not 1")])
def test_numbers_are_checked(arguments, message, capsys):
    assert main(arguments) == 1
    assert capsys.readouterr().err == f"ERROR: {message}\n"
