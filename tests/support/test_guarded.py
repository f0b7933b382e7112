"""What a process may do that reads what anybody may have made: answer, refuse, take too long, crash."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from support.errors import InputError, ToolchainError
from support.guarded import INPUT_ERROR, TOOLCHAIN_ERROR, UnfinishedError, guarded


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Make a module of lines, and return its name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(lines):
        (tmp_path / "reads_something.py").write_text(textwrap.dedent(lines))
        return "reads_something"
    return make


def test_the_answer_is_what_the_module_writes(module):
    name = module("""
        import sys
        sys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])
    """)
    content = bytes(range(256)) * 4096
    assert guarded(name, content, seconds=10) == content[::-1]


def test_a_module_that_does_not_read_its_input_may_answer(module):
    assert guarded(module("print('done', end='')"), bytes(2**20), seconds=10) == b"done"


@pytest.mark.parametrize(("status", "error"), [(INPUT_ERROR, InputError), (TOOLCHAIN_ERROR, ToolchainError)])
def test_a_status_says_whose_fault_it_is(module, status, error):
    with pytest.raises(error) as caught:
        guarded(module(f"import sys; print('what is wrong', end=''); sys.exit({status})"), b"", seconds=10)
    assert (type(caught.value), str(caught.value)) == (error, "what is wrong")


def test_what_takes_too_long_is_ended(module):
    with pytest.raises(UnfinishedError, match=r"^reading it takes more than 1 s$"):
        guarded(module("while True: pass"), b"", seconds=1)


def test_a_crash_is_the_fault_of_what_was_read(module):
    with pytest.raises(UnfinishedError, match=rf"^reading it ends with status -{signal.SIGSEGV:d}$"):
        guarded(module("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"), b"", seconds=10)


def test_a_mistake_of_the_module_is_no_message(module):
    with pytest.raises(UnfinishedError, match=r"^reading it ends with status 1$"):
        guarded(module("print('half', end='', flush=True); raise RuntimeError"), b"", seconds=10)


def test_a_process_that_is_killed_has_not_taken_too_long(module):
    with pytest.raises(UnfinishedError, match=rf"^reading it ends with status -{signal.SIGKILL:d}$"):
        guarded(module("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"), b"", seconds=10)


def test_an_interrupted_program_ends_the_process(module, tmp_path):
    name = module("""
        import os, pathlib
        pathlib.Path("pid").write_text(str(os.getpid()))
        while True: pass
    """)
    code = f"from support.guarded import guarded; guarded({name!r}, b'', seconds=60)"
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.DEVNULL,
                          env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}) as process:
        started = tmp_path / "pid"
        limit = time.monotonic() + 60
        while not (started.exists() and started.read_text()) and time.monotonic() < limit:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.wait(60)
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_modules_of_an_interactive_session_are_found(tmp_path, monkeypatch):
    """The folder that it began in is the empty entry of Python's path."""
    (tmp_path / "reads_there.py").write_text("print('there', end='')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert guarded("reads_there", b"", seconds=10) == b"there"
