"""Mutants of small sources, and the whole run on a toy package with toy tests."""

import collections
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from benchmarks.mutation import nearest
from benchmarks.mutation.command import main
from benchmarks.mutation.equivalents import FILE, read_equivalents
from benchmarks.mutation.kinds import Kind
from benchmarks.mutation.mutants import Mutant, is_mutant, key_of, mutants_of
from benchmarks.mutation.nearest import NearestTests
from benchmarks.mutation.page import interval, page, summary
from benchmarks.mutation.results import Outcome, Result, Results, Timing, default_file
from benchmarks.mutation.sample import FOLDERS, draw, modules_in
from benchmarks.mutation.session import progress_text
from benchmarks.mutation.tree import tracked_files
from benchmarks.mutation.trial import Workplace
from support.errors import InputError
from support.files import locked
from support.progress import Progress

ROOT = pathlib.Path(__file__).resolve().parents[2]


def texts(source):
    """All mutants of a source, as kind and text."""
    content = source.encode()
    return [(mutant.kind.value, mutant.applied(content).decode()) for mutant in mutants_of("a.py", content)]


@pytest.mark.parametrize(("source", "kind", "mutated"), [
    ("x = a + b", "operator", ["x = a - b"]),
    ("x = (a) * (b)  # why", "operator", ["x = (a) // (b)  # why"]),
    ("x = a  ^ b", "operator", ["x = a  & b"]),
    ("x = a | (b & c)", "operator", ["x = a & (b & c)", "x = a | (b | c)"]),
    ("x = a << (b >> c)", "operator", ["x = a >> (b >> c)", "x = a << (b << c)"]),
    ("x -= y", "operator", ["x += y"]),
    ("x = a == b", "comparison", ["x = a != b"]),
    ("x = a < b <= c", "comparison", ["x = a <= b <= c", "x = a < b < c"]),
    ("x = a is  not b", "comparison", ["x = a is b"]),
    ("x = a in (b)", "comparison", ["x = a not in (b)"]),
    ("x = a and b and c", "logic", ["x = a or b and c", "x = a and b or c"]),
    ("if a < b:\n    c()", "condition", ["if not (a < b):\n    c()"]),
    ("x = a if b else c", "condition", ["x = a if not (b) else c"]),
    ("x = [a for a in b if a]", "condition", ["x = [a for a in b if not (a)]"]),
    ("with m.If(a):\n    b()", "condition", ["with m.If((a) == 0):\n    b()"]),
    ("with m.Elif(a & b):\n    b()", "condition", ["with m.Elif((a & b) == 0):\n    b()"]),
    # Each of these is inverted by another kind.
    ("if a == b:\n    c()", "condition", []),
    ("with m.If(~a):\n    c()", "condition", []),
    ("x = ~a & ~(b | c)", "inversion", ["x = a & ~(b | c)", "x = ~a & (b | c)"]),
    ("x = not a", "inversion", ["x = a"]),
    ("x = not(a)", "inversion", ["x = (a)"]),
    ("x = 3", "constant", ["x = 4", "x = 2"]),
    ("x = 0", "constant", ["x = 1"]),
    ("x = 0xFF", "constant", ["x = 0x100", "x = 0xfe"]),
    ("x = a[-1]", "constant", ["x = a[-2]", "x = a[-0]"]),
    ("x = True", "boolean", ["x = False"]),
    ("x = a[1:n]", "slice", ["x = a[2:n]", "x = a[0:n]", "x = a[1:(n) - 1]"]),
    ("x = a[b + c:]", "slice", ["x = a[(b + c) + 1:]"]),
    ("x = Signal(8, init=5)", "init", ["x = Signal(8, init=0)"]),
    ("x = Signal(init=0)", "init", ["x = Signal(init=1)"]),
    ("x = Signal(8, init=(1 << 8) - 1)", "init", ["x = Signal(8, init=0)"]),
    ("x = ResetInserter(a)(\n    Block())", "reset", ["x = (\n    Block())"]),
    ("m.d.sync += a.eq(b)", "statement", ["pass"]),
    ("m.d[domain] += a.eq(b)", "statement", ["pass"]),
    ("m.d.comb += [\n    a.eq(b),\n    c.eq(d),\n]", "statement",
     ["m.d.comb += [\n    [],\n    c.eq(d),\n]", "m.d.comb += [\n    a.eq(b),\n    [],\n]"]),
    ('m.next = "IDLE"', "statement", ["pass"]),
    ("wiring.connect(m, a.o, b.i)", "statement", ["pass"]),
    ("m.d.comb += a.eq(b)", "domain", ["m.d.sync += a.eq(b)"]),
    ("m.d.comb += a.eq(b)\nm.d.comb += a.eq(c)", "domain", []),
    ("m.d.sync += a.eq(b)", "domain", []),
    ("x = a - b", "swap", ["x = b - a"]),
    ("x = a + b - c", "swap", ["x = c - (a + b)"]),
    ("x = Mux(a, b, c)", "swap", ["x = Mux(a, c, b)"]),
    ("x = Cat(a, b, c)", "swap", ["x = Cat(b, a, c)"]),
    ("'\x0c\u2028'\nx = a + b", "operator", ["'\x0c\u2028'\nx = a - b"]),
    ("x = 'é' in (a + b)", "operator", ["x = 'é' in (a - b)"]),
])
def test_each_kind_changes_one_piece_of_text(source, kind, mutated):
    assert [text for found, text in texts(source) if found == kind] == mutated


def test_every_kind_is_tested():
    (mark,) = test_each_kind_changes_one_piece_of_text.pytestmark
    assert {kind for _, kind, mutated in mark.args[1] if mutated} == {kind.value for kind in Kind}


@pytest.mark.parametrize("source", [
    '"""Add 1 + 2."""\n',
    'def f(a: 1 + 2, *, b: "x" = None) -> 3 + 4:\n    """Take 5 + 6."""\n',
    "x: Literal[1 + 2]\n",
    "class A:\n    a: In(1)\n",
    'x = {"a": Out(1)}\n',
    'raise ValueError(f"must be {a + 1}" + str(1 + 2))\n',
    "assert a < b + 1, a + b\n",
    '__all__ = ["a"] + [1][0:2]\n',
    "x = f'{a + 1}{not b}'\n",
    'x = Signal(name="a" + str(a + 1))\n',
    "x = Signal(src_loc_at=1 + a)\n",
    "x = Signal(reset_less=True)\n",
    'x = Memory(attrs={"ram_style": 1})\n',
    "@dataclass(frozen=True)\nclass A:\n    pass\n",
    "if TYPE_CHECKING:\n    x = 1 + 2\n",
    "x = 'a' + b\n",
    "x = [a] * b\n",
    "x += [a]\n",
    "import a.b\n",
])
def test_what_is_no_behaviour_has_no_mutants(source):
    assert texts(source) == []


def test_the_width_of_a_port_is_behaviour():
    assert texts("class A:\n    a: In(8)") == [("constant", "class A:\n    a: In(9)"),
                                               ("constant", "class A:\n    a: In(7)")]
    assert texts("x = In(1, init=1)") == [("init", "x = In(1, init=0)")]


@pytest.mark.parametrize(("changed", "is_one"), [
    ("x = 1 - 2", True), ("x = 1  +  2", False), ("x = 1 +", False), ("x = 1 + 2  # sum", False)])
def test_what_cannot_be_compiled_or_is_the_same_program_is_no_mutant(changed, is_one):
    assert is_mutant(b"x = 1 + 2", changed.encode()) is is_one


@pytest.fixture(scope="module")
def hardware():
    """All mutants of the hardware, by module."""
    return {path: mutants_of(path, (ROOT / path).read_bytes()) for path in modules_in(FOLDERS, tracked_files(ROOT))}


def test_every_mutant_of_the_hardware_has_a_key_of_its_own_and_those_of_a_block_are_programs(hardware):
    keys = [mutant.key for mutants in hardware.values() for mutant in mutants]
    assert len(keys) == len(set(keys)) > 5000
    content = (ROOT / "gateware/link/crc.py").read_bytes()
    mutants = hardware["gateware/link/crc.py"]
    assert mutants
    assert all(is_mutant(content, mutant.applied(content)) for mutant in mutants)


def test_a_name_outlives_edits_elsewhere_in_the_file():
    source = b"class A:\n    def f(self):\n        x = a + b\n        y = a + b\n        x = a + b\n"
    before = [mutant for mutant in mutants_of("p/a.py", source) if mutant.kind is Kind.OPERATOR]
    after = mutants_of("p/a.py", b"import c\n\n" + source.replace(b"y = a + b", b"y = c"))
    keys = {mutant.key for mutant in after}
    assert [mutant.key in keys for mutant in before] == [True, False, True]
    assert len({mutant.key for mutant in before}) == 3
    assert re.fullmatch(r"p/a\.py:3:15 operator: \+ -> - #[0-9a-f]{12}", before[0].name)
    assert key_of(before[0].name) == before[0].key
    assert key_of("p/a.py:3 operator") is None


def mutants(path, count):
    return [Mutant(path=path, line=number, column=1, kind=Kind.CONSTANT, begin=number, end=number + 1, before="1",
                   after="2", digest=f"{number:012x}", text="x = 1") for number in range(1, count + 1)]


def test_every_module_has_its_share_of_a_sample():
    population = {"a.py": mutants("a.py", 100), "b.py": mutants("b.py", 10), "c.py": mutants("c.py", 1), "d.py": []}
    shares = {}
    for size in (1, 3, 12, 60, 111, 1000):
        drawn = draw(population, size, 1, lambda mutant: True)
        assert len({mutant.key for mutant in drawn}) == len(drawn) == min(size, 111)
        shares[size] = [sum(mutant.path == path for mutant in drawn) for path in population]
    assert shares == {1: [1, 0, 0, 0], 3: [1, 1, 1, 0], 12: [10, 1, 1, 0], 60: [54, 5, 1, 0], 111: [100, 10, 1, 0],
                      1000: [100, 10, 1, 0]}


def test_a_larger_sample_has_the_smaller_one_in_it(hardware):
    samples = [{mutant.key for mutant in draw(hardware, size, 1, lambda mutant: True)} for size in (50, 100, 200, 400)]
    assert [len(sample) for sample in samples] == [50, 100, 200, 400]
    assert samples[0] < samples[1] < samples[2] < samples[3]


def test_a_sample_follows_from_its_seed_and_passes_over_what_is_no_mutant():
    population = {"a.py": mutants("a.py", 50)}
    first = draw(population, 10, 1, lambda mutant: True)
    assert draw(population, 10, 1, lambda mutant: True) == first != draw(population, 10, 2, lambda mutant: True)
    others = draw(population, 10, 1, lambda mutant: mutant != first[0])
    assert len(others) == 10
    assert set(first[1:]) < set(others)


def write(folder, **contents):
    for name, text in contents.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))


def test_the_nearest_tests_come_first(tmp_path):
    files = write(
        tmp_path, p__a="", p__b="", tests__p__test_a="import p.b", tests__p__test_a_more="",
        tests__test_direct="from p.a import x", tests__test_module="from p import a", tests__helper="import p.a",
        tests__test_helped="from tests.helper import y", tests__test_wide="", tests__test_never="import p.a",
        tests__test_none="import os", tests__proofs__test_never="import p.a",
        tests__proofs_more__test_near="import p.b")
    (tmp_path / "p" / "__init__.py").write_text("from p.a import x\n")
    (tmp_path / "tests" / "test_package.py").write_text("from p import x\n")
    files += ["p/__init__.py", "tests/test_package.py"]
    table = {"wider": {"p": ["tests/test_wide.py", "tests/test_gone.py"]},
             "never": {"tests/test_never.py": "why", "tests/proofs": "why"}}
    tests = NearestTests(tmp_path, files, table)
    assert tests.stages("p/a.py") == [
        ["tests/p/test_a.py", "tests/p/test_a_more.py"],
        ["tests/test_direct.py", "tests/test_module.py", "tests/test_package.py"],
        ["tests/test_helped.py"], ["tests/test_wide.py"]]
    assert tests.stages("p/b.py") == [["tests/p/test_a.py", "tests/proofs_more/test_near.py"], ["tests/test_wide.py"]]


def test_the_table_names_tests_that_exist():
    table = nearest.tomllib.loads(nearest.TABLE.read_text(encoding="utf-8"))
    named = {test for tests in table["wider"].values() for test in tests} | set(table["never"])
    assert [name for name in (*named, *table["wider"]) if not (ROOT / name).exists()] == []
    tests = NearestTests(ROOT, tracked_files(ROOT))
    assert tests.stages("gateware/link/uart.py")[0] == ["tests/gateware/link/test_uart.py"]
    assert all(tests.stages(path) for path in modules_in(FOLDERS, tracked_files(ROOT)))


@pytest.mark.parametrize(("successes", "total", "low", "high"), [
    (0, 0, 0.0, 1.0), (8, 10, 0.4902, 0.9433), (10, 10, 0.7225, 1.0), (0, 10, 0.0, 0.2775)])
def test_the_interval_is_wilsons(successes, total, low, high):
    assert interval(successes, total) == pytest.approx((low, high), abs=1e-4)


def test_the_time_left_follows_from_that_of_the_mutants_that_were_tried():
    counts = collections.Counter({"survived": 1, "killed": 3})
    assert progress_text(collections.Counter(), 8, 30) == "0 of 8"
    assert progress_text(counts, 8, 120) == "4 of 8, 3 killed, 1 survived, 2 min left"
    assert progress_text(counts, 12, 3600) == "4 of 12, 3 killed, 1 survived, 2.0 h left"


def result(mutant, outcome, by="tests/test_a.py::test_x - assert 1", revision="0123456789ab"):
    return Result(mutant=mutant.name, outcome=outcome, by=by, seconds=36.0, revision=revision)


def test_results_are_kept_and_the_later_line_counts(tmp_path):
    first, second = mutants("a.py", 2)
    path = tmp_path / "results.jsonl"
    results = Results(path)
    timing = Timing(test="tests/test_a.py", tree="0" * 16, seconds=1.5, problem="")
    for entry in (result(first, Outcome.SURVIVED, by=""), timing, result(first, Outcome.KILLED)):
        results.add(entry)
    again = Results(path)
    assert again.of(first.key) == result(first, Outcome.KILLED)
    assert again.of(second.key) is None
    assert again.timing("0" * 16, "tests/test_a.py") == again.latest("tests/test_a.py") == timing
    assert again.timing("1" * 16, "tests/test_a.py") is None
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize("line", [
    "{", "3", '{"mutant": "a.py:1:1 x: 1 -> 2 #000000000001"}',
    '{"mutant": "a.py", "outcome": "killed", "by": "", "seconds": 1, "revision": "0"}',
    '{"mutant": "a.py:1:1 x: 1 -> 2 #000000000001", "outcome": "dead", "by": "", "seconds": 1, "revision": "0"}'])
def test_a_line_that_is_no_result_is_refused(line, tmp_path):
    path = tmp_path / "results.jsonl"
    Results(path).add(result(mutants("a.py", 1)[0], Outcome.KILLED))
    path.write_text(f"{path.read_text()}{line}\n")
    message = (f"{path}: line 2 must be a result of benchmarks.mutation: name another file with -o, or delete the "
               f"line")
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Results(path)


def test_the_page_tells_gaps_from_equivalents():
    sample = [*mutants("p/a.py", 6), *mutants("q/b.py", 2)]
    outcomes = [*[Outcome.KILLED] * 3, Outcome.TIMEOUT, Outcome.SURVIVED, Outcome.SURVIVED, Outcome.KILLED,
                Outcome.SURVIVED]
    results = {mutant.key: result(mutant, outcome) for mutant, outcome in zip(sample, outcomes, strict=True)}
    arguments = {sample[5].key: "Both are the same number."}
    text = page(sample, results, arguments, command="python -m benchmarks.mutation --sample 8", population=50, seed=7,
                left_out=[Timing(test="tests/test_x.py", tree="0", seconds=1.0, problem="fails: assert 0")])
    assert ("Made by `python -m benchmarks.mutation --sample 8`: 8 of 50 mutants, drawn with seed 7 so that each "
            "module has its share; tried on revision `0123456789ab`; their tests took 0.1 hours.") in text
    assert "| `p/` | 6 | 3 | 1 | 1 | 1 | 80.0% | 37.6% to 96.4% |\n" in text
    assert "| `q/` | 2 | 1 | 0 | 1 | 0 | 50.0% | 9.5% to 90.5% |\n" in text
    assert text.count("| 8 | 4 | 1 | 2 | 1 | 71.4% | 35.9% to 91.8% |\n") == 2
    gaps, _, rest = text.partition("## Survivors")[2].partition("## Equivalent")
    assert gaps.split("\n")[2:4] == ["* `p/a.py:5:1 constant: 1 -> 2 #000000000005`", "  `x = 1`"]
    assert gaps.count("* ") == 2
    assert rest.split("\n")[2:5] == ["* `p/a.py:6:1 constant: 1 -> 2 #000000000006`", "  `x = 1`",
                                     "  Both are the same number."]
    assert text.endswith("\n* `tests/test_x.py` fails: assert 0\n")
    assert summary(sample, results, arguments) == ("8 mutants: 4 killed, 1 killed by time, 2 survived, 1 equivalent; "
                                                   "score 71.4% (35.9% to 91.8%)")


def test_a_page_without_survivors_says_so():
    (mutant,) = mutants("p/a.py", 1)
    text = page([mutant], {mutant.key: result(mutant, Outcome.KILLED)}, {}, command="c", population=1, seed=1,
                left_out=[])
    assert "## Survivors\n\nNone.\n" in text
    assert text.endswith("## Equivalent\n\nNone.\n")


def test_a_killed_mutant_is_not_equivalent():
    (mutant,) = mutants("p/a.py", 1)
    message = (f"mutant that is argued to be equivalent must survive, and {mutant.name!r} is killed by "
               f"tests/test_a.py::test_x - assert 1: delete its argument")
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        summary([mutant], {mutant.key: result(mutant, Outcome.KILLED)}, {mutant.key: "It is the same."})


GONE = ": delete the entry, or take the name from the page if the line has changed"


@pytest.mark.parametrize(("text", "message"), [
    ("[equivalent", "file must be TOML: Expected ']' at the end of a table declaration (at end of document)"),
    ("[other]\n", "file must have one table, [equivalent], with a sentence for each name of a mutant"),
    ('[equivalent]\n"a.py:1:1 x: 1 -> 2 #000000000009" = "It is the same."',
     f"entry must name a mutant of the sources, not 'a.py:1:1 x: 1 -> 2 #000000000009'{GONE}"),
    ('[equivalent]\n"a.py" = "It is the same."', f"entry must name a mutant of the sources, not 'a.py'{GONE}"),
    ('[equivalent]\n"a.py:1:1 x: 1 -> 2 #000000000001" = ""',
     "argument of 'a.py:1:1 x: 1 -> 2 #000000000001' must be a sentence, not ''"),
    (('[equivalent]\n"a.py:1:1 x: 1 -> 2 #000000000001" = "It is one."\n'
      '"a.py:2:1 x: 1 -> 2 #000000000001" = "It is two."'),
     "mutant must have one entry, not another one as 'a.py:2:1 x: 1 -> 2 #000000000001': delete one"),
])
def test_wrong_entries_of_equivalents_are_refused(text, message, tmp_path):
    path = tmp_path / "equivalents.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=f"^{re.escape(f'{path}: {message}')}$"):
        read_equivalents(path, lambda path: {"a.py#000000000001"})


def test_the_equivalents_of_the_project_exist():
    def keys_in(path):
        return {mutant.key for mutant in mutants_of(path, (ROOT / path).read_bytes())}

    assert len(read_equivalents(FILE, keys_in)) == FILE.read_text(encoding="utf-8").count(" = ")


def checkout(folder, **contents):
    """A toy project under git; the arguments of the command for it."""
    write(folder, **contents)
    (folder / "equivalents.toml").write_text("")
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", "-C", str(folder), *command], check=True)
    return ["toy", "--tree", str(folder), "-o", str(folder.parent / "results.jsonl"), "--jobs", "2", "--slack", "2",
            "--equivalents", str(folder / "equivalents.toml")]


#: Of the five mutants, the tests beside the module find one, the others one, and one waits for ever.
TOY = {
    "toy__sums": "import time\n\n\ndef add(a, b):\n    return a + b\n\n\ndef low(a):\n    return a < 7\n\n\n"
                 "def wait(over):\n    while not over:\n        time.sleep(0.01)\n",
    "tests__toy__test_sums": "from toy.sums import add, low, wait\n\n\ndef test_sums():\n    assert add(2, 3) == 5\n"
                             "    assert low(1)\n    wait(True)\n",
    "tests__test_low": "import pathlib\nimport toy.sums\n\n\ndef test_low():\n    assert not toy.sums.low(7)\n"
                       "    assert pathlib.Path(toy.sums.__file__).parts[1:3] != ('work', 'main')\n",
    "tests__test_broken": "import toy.sums\n\n\ndef test_broken():\n    assert False\n",
}


def test_a_run_is_kept_and_makes_the_page(tmp_path, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr(Progress, "update", lambda progress, text: shown.append(text))
    tree = tmp_path / "tree"
    arguments = [*checkout(tree, **TOY), "--page", str(tmp_path / "page.md")]
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "5 mutants: 3 killed, 1 killed by time, 1 survived, 0 equivalent; score 80.0% (37.6% to 96.4%)",
        f"{tmp_path}/page.md: 5 mutants"]
    assert shown[0] == "0 of 5"
    assert any(re.fullmatch(r"[1-4] of 5, [\w ,]+, \d+ min left", text) for text in shown)
    assert shown[-1] == "5 of 5, 3 killed, 1 survived, 1 timeout, 0 min left"
    problem = "fails: tests/test_broken.py::test_broken - assert False"
    assert f"note: tests/test_broken.py judges nothing: without a mutant, it {problem}\n" in said.err
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    found = {line["mutant"].rpartition(" #")[0]: (line["outcome"], line["by"].partition(" - ")[0])
             for line in lines if "mutant" in line}
    assert "tests/toy/test_sums.py::test_sums - assert -1 == 5" in {line.get("by") for line in lines}
    assert found == {
        "toy/sums.py:5:14 operator: + -> -": ("killed", "tests/toy/test_sums.py::test_sums"),
        "toy/sums.py:9:14 comparison: < -> <=": ("killed", "tests/test_low.py::test_low"),
        "toy/sums.py:9:16 constant: 7 -> 8": ("killed", "tests/test_low.py::test_low"),
        "toy/sums.py:9:16 constant: 7 -> 6": ("survived", ""),
        "toy/sums.py:13:11 inversion: not -> nothing": ("timeout", "tests/toy/test_sums.py"),
    }
    page_text = (tmp_path / "page.md").read_text()
    assert "* `toy/sums.py:9:16 constant: 7 -> 6 #" in page_text
    assert f"* `tests/test_broken.py` {problem}\n" in page_text
    # The tree is as it was, and what is known is not tried again.
    assert {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()} == before
    assert main(arguments) == 0
    assert [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()] == lines
    # Nor is a survivor that is argued to be equivalent.
    (survivor,) = (line["mutant"] for line in lines if line.get("outcome") == "survived")
    (tmp_path / "equivalents.toml").write_text(f'[equivalent]\n"{survivor}" = "No test asks for a sum of seven."\n')
    assert main([*arguments, "--again", "--equivalents", str(tmp_path / "equivalents.toml")]) == 0
    assert [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()] == lines
    capsys.readouterr()
    # A better test is asked about the survivors, and about nothing else.
    (tree / "tests/test_low.py").write_text("import toy.sums\n\n\ndef test_low():\n    assert toy.sums.low(6)\n")
    assert main([*arguments, "--again"]) == 0
    assert "4 killed, 1 killed by time, 0 survived" in capsys.readouterr().out
    again = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert sum(line in again for line in lines if "mutant" in line) == 4


#: The test of the second mutant starts a process of its own session, says so in a file, and waits.
HANGING = {
    "toy__ready": "def first():\n    return True\n\n\ndef ready():\n    return True\n",
    "tests__toy__test_ready": """\
import pathlib, subprocess, time
from toy.ready import first, ready


def test_ready():
    assert first()
    if not ready():
        process = subprocess.Popen(["sleep", "600"], start_new_session=True)
        pathlib.Path(FILE).write_text(str(process.pid))
        time.sleep(600)
""",
}


def test_a_trial_begins_without_a_cache_and_may_not_take_all_memory_or_all_of_the_disk(tmp_path):
    workplace = Workplace(tmp_path / "place", threading.Event())
    write(workplace.tree,
          test_cache="import os, pathlib\n\n\ndef test_cache():\n"
                     "    cache = pathlib.Path(os.environ['XDG_CACHE_HOME'])\n"
                     "    assert list(cache.iterdir()) == []\n    (cache / 'simulation').touch()\n",
          test_memory="def test_memory():\n    bytearray(5 << 30)\n",
          test_disk="def test_disk(tmp_path):\n    with open(tmp_path / 'file', 'wb') as file:\n"
                    "        file.truncate(3 << 30)\n")
    failures = [workplace.run([f"test_{name}.py"], 60).failure for name in ("cache", "cache", "memory", "disk")]
    assert failures == ["", "", "test_memory.py::test_memory - MemoryError",
                        "test_disk.py::test_disk - OSError: [Errno 27] File too large"]
    assert [path.name for path in (tmp_path / "place").iterdir() if path.name != "tree"] == ["output"]


def is_running(number):
    try:
        return "zombie" not in pathlib.Path(f"/proc/{number}/status").read_text()
    except FileNotFoundError:
        return False


def test_an_interrupted_run_leaves_no_process_and_goes_on(tmp_path, capsys):
    file = tmp_path / "pid"
    contents = HANGING | {"tests__toy__test_ready": HANGING["tests__toy__test_ready"].replace("FILE", repr(str(file)))}
    arguments = [*checkout(tmp_path / "tree", **contents), "--slack", "600", "--jobs", "1"]
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.mutation", *arguments], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=os.environ | {"TMPDIR": str(tmp_path)})
    deadline = time.monotonic() + 120
    while not (file.exists() and file.read_text()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    number = int(file.read_text())
    assert is_running(number)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.endswith("ERROR: interrupted: the results so far are kept, and the same command goes on\n")
    assert not is_running(number)
    assert not list(tmp_path.glob("sterna-mutation-*"))
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert [json.loads(line).get("outcome") for line in lines] == [None, "killed"]
    assert main([*arguments, "--slack", "1"]) == 0
    assert capsys.readouterr().out.startswith("2 mutants: 1 killed, 1 killed by time, 0 survived")
    assert (tmp_path / "results.jsonl").read_text().splitlines()[:2] == lines
    assert not is_running(int(file.read_text()))


def test_the_files_are_those_that_git_knows_and_that_are_there(tmp_path, monkeypatch):
    checkout(tmp_path / "tree", toy__a="", toy__gone="")
    write(tmp_path / "tree", toy__new="")
    (tmp_path / "tree/toy/gone.py").unlink()
    # As in a hook of another repository.
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    assert tracked_files(tmp_path / "tree") == ["equivalents.toml", "toy/a.py"]


def test_without_git_the_command_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    arguments = checkout(tmp_path / "tree", **TOY)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(arguments) == 3
    assert capsys.readouterr().err == "ERROR: git is not installed: apt install git\n"


def test_two_runs_do_not_write_one_file(tmp_path, capsys):
    arguments = checkout(tmp_path / "tree", **TOY)
    file = tmp_path / "results.jsonl"
    with locked(f"{file}.lock"):
        assert main(arguments) == 1
    assert capsys.readouterr().err == (f"ERROR: {file}: file is being written by another run: wait for it, or name "
                                       f"another file with -o\n")
    assert not file.exists()


@pytest.mark.parametrize(("variables", "path"), [
    ({"XDG_STATE_HOME": "/state"}, "/state/sterna/mutation.jsonl"),
    ({"XDG_STATE_HOME": "", "HOME": "/home/ada"}, "/home/ada/.local/state/sterna/mutation.jsonl")])
def test_results_are_kept_outside_of_the_tree(variables, path, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert default_file() == pathlib.Path(path)


@pytest.mark.parametrize(("name", "content", "reason"), [
    ("toy/sums.py", b"x = (", "'(' was never closed, line 1"),
    ("tests/test_low.py", b"x = (", "'(' was never closed, line 1"),
    ("toy/sums.py", b"x = '\xff'", "'utf-8' codec can't decode byte 0xff in position 5: invalid start byte")])
def test_a_source_that_is_no_python_is_named(name, content, reason, tmp_path, capsys):
    arguments = checkout(tmp_path / "tree", **TOY)
    (tmp_path / "tree" / name).write_bytes(content)
    assert main(arguments) == 1
    assert capsys.readouterr().err == f"ERROR: {name}: file must be Python, in UTF-8: {reason}\n"


def test_a_null_byte_is_no_python():
    # The words, and whether there is a line, differ between versions of Python.
    message = r"^a\.py: file must be Python, in UTF-8: source code (string )?cannot contain null bytes(, line \w+)?$"
    with pytest.raises(InputError, match=message):
        mutants_of("a.py", b"x = 1\0")


def test_a_dry_run_lists_the_sample(tmp_path, capsys):
    arguments = checkout(tmp_path / "tree", **TOY)
    assert main([*arguments, "--dry-run", "--sample", "1"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == ("toy/sums.py: 1 of 5 mutants; tests/toy/test_sums.py; then tests/test_broken.py, "
                     "tests/test_low.py")
    assert re.fullmatch(r"  toy/sums\.py:\d+:\d+ .* #[0-9a-f]{12}", second)
    assert not (tmp_path / "results.jsonl").exists()


@pytest.mark.parametrize(("arguments", "message"), [
    (["--sample", "0"], "--sample must be 1 to 1000000, not 0"),
    (["--seed", "-1"], "--seed must be 0 to 9223372036854775808, not -1"),
    (["--jobs", "0"], "--jobs must be 1 to 1024, not 0"),
    (["--slack", "nan"], "--slack must be 0 to 86400, not nan"),
    (["tests/gateware"], "FOLDER must be one of the sources, not 'tests/gateware': mutants of tests say nothing"),
    (["gatewear"], ("FOLDER must be a folder or file with Python modules that git knows, not 'gatewear': name it from "
                    "the top of the tree, as gateware/link")),
    (["--tree", "docs"], "docs: tree must be the top of a git checkout: give another one with --tree"),
    (["gateware/link/__init__.py"], ("FOLDER must have modules that can be mutated, and nothing in these can: give "
                                     "another one")),
    (["--page", "none/page.md"], f"none/page.md: folder {ROOT}/none must exist"),
])
def test_wrong_arguments_are_one_line(arguments, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(arguments) == 1
    assert capsys.readouterr().err == f"ERROR: {message}\n"
