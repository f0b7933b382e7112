import pathlib
import re

import pytest

from firmware.host import latency


def test_the_timer_costs_small_images_two_thirds():
    mnist = {"image_bytes": 784, "classes": 10, "baud": 3_000_000}
    assert round(latency.images_per_second(**mnist, latency_ms=1), 1) == 379.3
    assert latency.images_per_second(**mnist, latency_ms=16) == 125
    assert latency.images_per_second(**mnist, latency_ms=2) == latency.images_per_second(**mnist, latency_ms=1)


def test_large_images_and_large_results_do_not_wait_for_the_timer():
    assert round(latency.images_per_second(64 * 64 * 3, 10, baud=1_000_000, latency_ms=16), 2) == 8.13
    # Two results of 64 words fill a packet.
    assert round(latency.images_per_second(784, 61, baud=3_000_000, latency_ms=16), 1) == 379.3


def test_a_slow_inference_is_the_limit():
    assert latency.images_per_second(784, 10, baud=3_000_000, latency_ms=16, inference_seconds=0.1) == 10


def simulated(latency_ms, *, image=791, result=63, packet=latency.PACKET_BYTES, inference=10_961 / 48e6, baud=3e6,
              images=2000, window=2):
    """Images per second with ``window`` images on their way, bytes simulated one by one; a timer runs freely."""
    character, period = 10 / baud, latency_ms / 1000
    line = engine = answers = 0.0
    arrivals, handed, results, now, timer = [], 0, 0, 0.0, period

    def send():
        nonlocal line, engine, answers
        line = max(now, line) + image * character
        engine = max(line, engine) + inference
        begin = max(engine, answers)
        arrivals.extend(begin + (index + 1) * character for index in range(result))
        answers = begin + result * character

    for _ in range(window):
        send()
    while results < images:
        full = arrivals[handed + packet - 1] if len(arrivals) >= handed + packet else float("inf")
        now = min(full, timer)
        handed = handed + packet if full <= timer else max(handed, sum(at <= now for at in arrivals[handed:]) + handed)
        timer = now + period
        while results < min(handed // result, images):
            results += 1
            send()
    return images / now


@pytest.mark.parametrize("latency_ms", [1, 4, 8, 16])
def test_the_formula_is_what_a_simulation_byte_by_byte_gives(latency_ms):
    formula = latency.images_per_second(784, 10, baud=3_000_000, latency_ms=latency_ms)
    # In between, an image waits for the timer now and then: the formula is a bound.
    assert 0.87 * formula < simulated(latency_ms) < 1.001 * formula
    if latency_ms in (1, 16):
        assert simulated(latency_ms) == pytest.approx(formula, rel=0.01)


@pytest.mark.parametrize("baud", [1_000_000, 3_000_000, 12_000_000])
@pytest.mark.parametrize("latency_ms", [1, 16])
def test_with_more_images_on_their_way_the_timer_costs_nothing(baud, latency_ms):
    mnist = {"image_bytes": 784, "classes": 10, "baud": baud, "latency_ms": latency_ms,
             "inference_seconds": 10_961 / 48e6}
    window = latency.images_on_their_way(**mnist)
    line = baud / 7910
    assert latency.images_per_second(**mnist, window=window) == pytest.approx(line)
    assert simulated(latency_ms, baud=baud, window=window) == pytest.approx(line, rel=0.02)


def test_the_images_on_their_way_on_the_page_are_those_of_the_model():
    page = (pathlib.Path(__file__).parents[3] / "docs" / "host.md").read_text(encoding="utf-8")
    small, large = (latency.images_on_their_way(784, 10, baud=3_000_000, latency_ms=milliseconds,
                                                inference_seconds=10_961 / 48e6) for milliseconds in (1, 16))
    assert f"at 3 Mbaud these are {small} images, or {large} where the latency timer is 16 ms" in " ".join(page.split())


def test_no_more_images_are_on_their_way_than_a_quarter_of_the_tags():
    assert latency.images_on_their_way(256, 2, baud=12_000_000, latency_ms=255, inference_seconds=0) == 64


class Port:
    """A port whose driver sets the timer, or does not."""

    def __init__(self, name, file, *, sets=True, error=None):
        self.name, self.file, self.sets, self.error, self.asked = name, file, sets, error, []

    def set_low_latency_mode(self, wanted):
        self.asked.append(wanted)
        if self.error is not None:
            raise self.error
        if self.sets:
            self.file.write_text("1\n")


@pytest.fixture
def tty(tmp_path):
    """Folder of terminals as Linux has it, with one FTDI bridge, and a link to its device."""
    (tmp_path / "tty" / "ttyUSB1" / "device").mkdir(parents=True)
    (tmp_path / "tty" / "ttyACM0" / "device").mkdir(parents=True)
    (tmp_path / "tty" / "ttyUSB1" / "device" / "latency_timer").write_text("16\n")
    (tmp_path / "ttyUSB1").touch()
    (tmp_path / "by-id").symlink_to(tmp_path / "ttyUSB1")
    return tmp_path / "tty"


def test_the_driver_is_asked_first(tty, tmp_path):
    file = latency.timer_of(str(tmp_path / "by-id"), tty)
    assert file == tty / "ttyUSB1" / "device" / "latency_timer"
    port = Port(str(tmp_path / "by-id"), file)
    assert latency.lower(port, tty) == 1
    assert port.asked == [True]
    assert latency.lower(port, tty) == 1
    assert port.asked == [True], "what is set needs no second time"


@pytest.mark.parametrize("error", [None, ValueError("Failed to update"), OSError(1, "Operation not permitted")])
def test_the_file_is_written_where_the_driver_does_not_do_it(tty, error):
    file = latency.timer_of("/dev/ttyUSB1", tty)
    assert latency.lower(Port("/dev/ttyUSB1", file, sets=False, error=error), tty) == 1
    assert file.read_text().strip() == "1"


def test_a_timer_that_cannot_be_set_is_told(tty, monkeypatch):
    def write_text(self, *arguments, **options):
        raise PermissionError(13, "Permission denied")

    file = latency.timer_of("/dev/ttyUSB1", tty)
    monkeypatch.setattr(pathlib.Path, "write_text", write_text)
    assert latency.lower(Port("/dev/ttyUSB1", file, sets=False), tty) == 16


@pytest.mark.parametrize("device", ["/dev/ttyACM0", "/dev/ttyS0", "COM3"])
def test_other_ports_have_no_timer(tty, device):
    port = Port(device, None)
    assert latency.lower(port, tty) is None
    assert port.asked == []


def test_a_timer_that_cannot_be_read_is_unknown(tty):
    latency.timer_of("/dev/ttyUSB1", tty).write_text("soon")
    assert latency.lower(Port("/dev/ttyUSB1", None), tty) is None


def test_the_rates_on_the_page_are_those_of_the_model():
    page = (pathlib.Path(__file__).parents[3] / "docs" / "host.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) ms(?: and less)? \| (\d+)", page, re.MULTILINE)
    assert len(rows) == 3
    for milliseconds, rate in rows:
        assert round(latency.images_per_second(784, 10, baud=3_000_000, latency_ms=int(milliseconds))) == int(rate)


def test_the_rates_of_the_fastest_line_on_the_page_are_those_of_the_model():
    page = (pathlib.Path(__file__).parents[3] / "docs" / "host.md").read_text(encoding="utf-8")
    rates = re.search(r"then brings ([\d,]+) images of MNIST per second, or (\d+) of CIFAR-10 \(3,072 bytes\)", page)
    for size, rate in zip((784, 3072), rates.groups(), strict=True):
        line = latency.images_per_second(size, 10, baud=12_000_000, latency_ms=0.1)
        assert round(line) == int(rate.replace(",", ""))


def test_the_rate_of_full_speed_bridges_on_the_page_is_the_simulated_one():
    page = (pathlib.Path(__file__).parents[3] / "docs" / "host.md").read_text(encoding="utf-8")
    assert f"gives {round(simulated(16, packet=62)):d} images per second at 16 ms" in " ".join(page.split())
