"""Progress: a line that is rewritten on a terminal, a line now and then in a log, nothing for short steps."""

import io
import time

from support.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def wait_for(stream, text):
    deadline = time.monotonic() + 10
    while text not in stream.getvalue():
        assert time.monotonic() < deadline, stream.getvalue()
        time.sleep(0.01)


def test_a_short_step_prints_nothing():
    for stream in (io.StringIO(), Terminal()):
        with Progress("short", stream=stream) as progress:
            progress.update("almost done")
        assert stream.getvalue() == ""


def test_a_log_gets_whole_lines_and_the_newest_text():
    stream = io.StringIO()
    with Progress("place seed 1", stream=stream, line_seconds=0.05) as progress:
        progress.update("placing, iteration 1")
        wait_for(stream, "place seed 1: placing, iteration 1 (0 s)\n")
        progress.update("routing\x1b[2J")
        wait_for(stream, "place seed 1: routing\\x1b[2J (0 s)\n")
    assert "\r" not in stream.getvalue()


def test_a_log_gets_few_lines():
    stream = io.StringIO()
    with Progress("step", stream=stream, line_seconds=0.2):
        time.sleep(0.5)
    assert len(stream.getvalue().splitlines()) == 2


def test_the_first_line_of_a_log_may_come_earlier():
    stream = io.StringIO()
    with Progress("step", stream=stream, line_seconds=60, first_seconds=0.05):
        wait_for(stream, "step (0 s)\n")
        time.sleep(0.2)
    assert len(stream.getvalue().splitlines()) == 1


def test_a_terminal_gets_one_line_that_is_cleared():
    stream = Terminal()
    with Progress("synthesise", stream=stream) as progress:
        progress.update("abc")
        wait_for(stream, "\rsynthesise: abc (1 s)\x1b[K")
    assert stream.getvalue().endswith("\r\x1b[K")
    assert "\n" not in stream.getvalue()


def test_a_closed_stream_does_not_end_the_step():
    stream = io.StringIO()
    with Progress("step", stream=stream, line_seconds=0.01):
        stream.close()
        time.sleep(0.05)
