"""Tools: where they are found, what is said when they fail, and that none is left running."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from support import parent_death
from support.tools import (
    YOSYS,
    Tool,
    ToolError,
    ToolMissingError,
    ToolTimeoutError,
    amaranth_tools,
    find_tool,
    run_tool,
)

SHELL, SLEEP = Tool("sh", "apt install dash"), Tool("sleep", "apt install coreutils")


def test_missing_tool_names_its_source(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolMissingError, match=r"^nobodys-tool is not installed: apt install nobodys-tools$"):
        find_tool(Tool("nobodys-tool", "apt install nobodys-tools"))


@pytest.mark.parametrize(("script", "reason"), [
    ("echo fine; echo ERROR: one; echo ERROR: two; exit 1", "ERROR: one"),
    ("echo init..; echo 'Cannot find the device (0x0403:0x6010).'; echo ABORT.; exit 2",
     "Cannot find the device (0x0403:0x6010)."),
    ("exit 7", "exit status 7"),
    ("kill -9 $$", "signal 9"),
])
def test_failure_is_the_first_error_or_the_last_that_was_said(tmp_path, script, reason):
    log = tmp_path / "log"
    with pytest.raises(ToolError, match=rf"^sh failed: {re.escape(reason)} \(see {re.escape(str(log))}\)$"):
        run_tool(SHELL, ["-c", script], cwd=tmp_path, log=log)


def running(pid):
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def child_of(tmp_path):
    deadline = time.monotonic() + 10
    while not (text := (tmp_path / "child").read_text() if (tmp_path / "child").exists() else "").strip():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return int(text)


def assert_ends(pid):
    deadline = time.monotonic() + 10
    while running(pid):
        assert time.monotonic() < deadline, f"process {pid} is left running"
        time.sleep(0.01)


#: Starts a process that outlives a parent which is killed alone, and waits for it.
PARENT = "sleep 60 & echo $! > child; wait"


def test_tool_that_takes_too_long_is_ended_with_its_children(tmp_path):
    log = tmp_path / "log"
    message = rf"^sh failed: it took longer than 0.5 s \(see {re.escape(str(log))}\)$"
    with pytest.raises(ToolTimeoutError, match=message):
        run_tool(SHELL, ["-c", PARENT], cwd=tmp_path, log=log, limit_seconds=0.5)
    assert_ends(child_of(tmp_path))


def test_interrupted_tool_is_ended_with_its_children(tmp_path):
    def interrupt():
        child_of(tmp_path)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run_tool(SHELL, ["-c", PARENT], cwd=tmp_path, log=tmp_path / "log")
    thread.join()
    assert_ends(child_of(tmp_path))


def test_tool_that_ignores_the_request_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("support.tools._END_SECONDS", 0.2)
    with pytest.raises(ToolTimeoutError):
        run_tool(SHELL, ["-c", "trap '' TERM; echo $$ > child; while :; do sleep 0.1; done"], cwd=tmp_path,
                 log=tmp_path / "log", limit_seconds=0.5)
    assert_ends(child_of(tmp_path))


def test_lines_are_handed_on_while_the_tool_runs(tmp_path):
    seen = []

    def on_line(line):
        seen.append((line, (tmp_path / "ended").exists()))

    script = "echo one > grows; printf tw >> grows; sleep 0.5; echo o >> grows; sleep 0.5; touch ended"
    run_tool(SHELL, ["-c", script], cwd=tmp_path, log=tmp_path / "log", watch=tmp_path / "grows", on_line=on_line)
    assert seen == [("one", False), ("two", False)]


def test_what_a_tool_prints_is_its_log_and_can_be_watched(tmp_path):
    seen = []
    run_tool(SHELL, ["-c", "echo out; echo err >&2"], cwd=tmp_path, log=tmp_path / "log", on_line=seen.append)
    assert (tmp_path / "log").read_text() == "out\nerr\n"
    assert seen == ["out", "err"]


def test_environment_is_as_before(monkeypatch):
    monkeypatch.setenv("YOSYS", "mine")
    monkeypatch.delenv("AMARANTH_USE_YOSYS", raising=False)
    with amaranth_tools():
        assert os.environ["YOSYS"] == find_tool(YOSYS)
        assert os.environ["AMARANTH_USE_YOSYS"] == "system"
    assert os.environ["YOSYS"] == "mine"
    assert "AMARANTH_USE_YOSYS" not in os.environ


def test_an_interruption_while_a_tool_starts_loses_no_tool(tmp_path, monkeypatch):
    started = []

    class Interrupted(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self.pid)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_tool(SLEEP, ["60"], cwd=tmp_path, log=tmp_path / "log")
    assert not running(started[0])
    # The next Ctrl-C is answered as ever.
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_tool_ends_with_a_process_that_is_killed(tmp_path):
    """Nobody can answer SIGKILL: the kernel must end the tool, or it works on in a folder whose lock is free."""
    program = ("import pathlib; from support.tools import Tool, run_tool; "
               f"folder = pathlib.Path({str(tmp_path)!r}); "
               "run_tool(Tool('sh', ''), ['-c', 'echo $$ > child; exec sleep 60'], cwd=folder, log=folder / 'log')")
    process = subprocess.Popen([sys.executable, "-c", program], cwd=pathlib.Path(__file__).parents[2])
    child = child_of(tmp_path)
    assert running(child)
    process.kill()
    process.wait()
    assert_ends(child)


def test_a_tool_that_starts_after_its_parent_died_does_nothing(tmp_path):
    command = parent_death.command(find_tool(SHELL), ["-c", "touch ran"])
    command[command.index(str(os.getpid()))] = "1"
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 126
    assert list(tmp_path.iterdir()) == []


def test_a_tool_that_cannot_run_says_why(tmp_path, monkeypatch):
    (tmp_path / "text").write_text("no program")
    (tmp_path / "text").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    message = rf"^text failed: ERROR: {re.escape(str(tmp_path))}/text cannot run: Exec format error \(see .*\)$"
    with pytest.raises(ToolError, match=message):
        run_tool(Tool("text", "nowhere"), [], cwd=tmp_path, log=tmp_path / "log")


def test_a_tool_has_the_signals_of_a_shell(tmp_path):
    """Python ignores SIGPIPE; a tool that inherited that would write on for nobody."""
    run_tool(SHELL, ["-c", "grep SigIgn /proc/self/status"], cwd=tmp_path, log=tmp_path / "log")
    ignored = int((tmp_path / "log").read_text().split()[1], 16)
    assert not ignored & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)
