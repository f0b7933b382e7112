import json
import pathlib
import re
import struct
import subprocess

import numpy as np
import pytest

from gateware.build import child
from gateware.build.search import command
from gateware.build.search.space import Axis, SpaceError, changed
from gateware.build.search.trial import Outcome, check_training, run_trial
from support.errors import InputError, ToolchainError

ROOT = pathlib.Path(__file__).parents[4]
NAMED = ("--vary architecture.layers.0 must be a place of the recipe, and 'layers' is none: put the architecture "
         "itself in the place of its name")
RECIPE = {"name": "tiny", "learning_rate": 0.002, "architecture": {"layers": [{"channels": 8}, {"channels": 16}]}}


@pytest.mark.parametrize(("text", "axis"), [
    ("a=8,16", Axis(place="a", choices=(8, 16))), ("a.b=true,0.5,x", Axis(place="a.b", choices=(True, 0.5, "x"))),
    ("a=0.5:2", Axis(place="a", low=0.5, high=2.0)),
    ("a=1e-4:1e-2:log", Axis(place="a", low=1e-4, high=1e-2, logarithmic=True))])
def test_axes_are_choices_or_ranges(text, axis):
    assert Axis.parse(text) == axis


@pytest.mark.parametrize(("text", "line"), [
    ("a", "--vary must be PLACE=VALUE,VALUE,... or PLACE=LOW:HIGH or PLACE=LOW:HIGH:log, not 'a'"),
    ("=1,2", "--vary must be PLACE=VALUE,VALUE,... or PLACE=LOW:HIGH or PLACE=LOW:HIGH:log, not '=1,2'"),
    ("a=1", "--vary a must have at least two values, not '1'"),
    ("a=2:1", "--vary a must be LOW:HIGH with numbers LOW below HIGH, and LOW above 0 with :log, not '2:1'"),
    ("a=x:1", "--vary a must be LOW:HIGH with numbers LOW below HIGH, and LOW above 0 with :log, not 'x:1'"),
    ("a=0:1:log", "--vary a must be LOW:HIGH with numbers LOW below HIGH, and LOW above 0 with :log, not '0:1:log'"),
    ("a=0:nan", "--vary a must be LOW:HIGH with numbers LOW below HIGH, and LOW above 0 with :log, not '0:nan'")])
def test_wrong_axes_are_refused(text, line):
    with pytest.raises(SpaceError, match=f"^{re.escape(line)}$"):
        Axis.parse(text)


def test_values_are_put_in_their_places_of_a_copy():
    made = changed(RECIPE, {"learning_rate": 0.1, "architecture.layers.1.channels": 24})
    assert (made["learning_rate"], made["architecture"]["layers"]) == (0.1, [{"channels": 8}, {"channels": 24}])
    assert RECIPE["architecture"]["layers"][1]["channels"] == 16


@pytest.mark.parametrize(("recipe", "place", "line"), [
    (RECIPE, "speed", "--vary speed must be a place of the recipe, and 'speed' is none"),
    (RECIPE, "architecture.layers.2.channels",
     "--vary architecture.layers.2.channels must be a place of the recipe, and '2' is none"),
    ({"architecture": "vgg7"}, "architecture.layers.0",
     NAMED)])
def test_places_must_be_there(recipe, place, line):
    with pytest.raises(SpaceError, match=f"^{re.escape(line)}$"):
        changed(recipe, {place: 1})


def answer(bears="yes", clocks=100):
    finding = {"where": "network", "problem": "weight rows must be fewer"}
    circuit = {"bears": bears, "clocks": clocks, "findings": [] if bears == "yes" else [finding]}
    return json.dumps({"circuits": {"baked": circuit}})


@pytest.fixture
def training(monkeypatch):
    """Commands of the training that obey: a check, and a training that leaves a result."""
    calls = []

    def fake(line, **_):
        arguments = line[line.index("train") + 1:]
        calls.append(arguments)
        if "--check" in arguments:
            return subprocess.CompletedProcess(line, 0 if fake.check else fake.code, fake.check, fake.said)
        if fake.code == 0 and "--dry-run" not in arguments:
            folder = pathlib.Path(arguments[arguments.index("-o") + 1])
            folder.mkdir(exist_ok=True)
            (folder / "result.json").write_text(json.dumps(fake.result))
        return subprocess.CompletedProcess(line, fake.code, "", fake.said)

    fake.check, fake.code, fake.said, fake.result, fake.calls = answer(), 0, "", {"validation_accuracy": 0.9}, calls
    monkeypatch.setattr(child.subprocess, "run", fake)
    return fake


def tried(tmp_path):
    return run_trial(RECIPE, tmp_path / "t", board="icebreaker", weights="baked", data=tmp_path,
                     options=("--epochs", "2"))


def test_a_trial_is_checked_and_then_trained(tmp_path, training):
    assert tried(tmp_path) == Outcome(clocks=100, validation_accuracy=0.9)
    folder = tmp_path / "t"
    assert training.calls == [
        ["--recipe", str(folder / "recipe.json"), "--board", "icebreaker", "--check", "--json",
         "--no-remedies"],
        ["--recipe", str(folder / "recipe.json"), "--data", str(tmp_path), "-o", str(folder / "training"), "--quiet",
         "--epochs", "2"]]
    assert json.loads((folder / "recipe.json").read_text()) == RECIPE


def test_what_the_board_does_not_run_is_not_trained(tmp_path, training):
    training.check = answer("no")
    assert tried(tmp_path) == Outcome(reason="network: weight rows must be fewer")
    assert len(training.calls) == 1


def test_a_recipe_that_is_none_is_an_outcome(tmp_path, training):
    training.check, training.code, training.said = "", 1, "ERROR: seed must be positive\n"
    assert tried(tmp_path) == Outcome(reason="seed must be positive")


def test_a_training_without_an_exported_network_is_an_outcome(tmp_path, training):
    training.result = {"float_validation_accuracy": 0.5}
    assert "validation_accuracy" in tried(tmp_path).reason


def test_an_error_of_the_input_is_an_outcome_and_one_of_a_tool_ends_the_search(tmp_path, training):
    training.code, training.said = 1, "note: x\nERROR: training images must be more\n"
    assert tried(tmp_path) == Outcome(reason="training images must be more")
    training.code, training.said = 3, "ERROR: torch is not installed\n"
    with pytest.raises(ToolchainError, match=r"^python -m train: torch is not installed$"):
        tried(tmp_path)
    training.code = 130
    with pytest.raises(KeyboardInterrupt):
        tried(tmp_path)


@pytest.mark.parametrize("said", ["out/recipe.json: No space left on device", "standard output: Input/output error"])
def test_an_error_of_the_operating_system_ends_the_search(tmp_path, training, said):
    training.code, training.said = 1, f"ERROR: {said}\n"
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        tried(tmp_path)
    training.check = ""
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        tried(tmp_path)


def test_the_unchanged_recipe_is_checked_without_a_training(tmp_path, training):
    options = {"data": tmp_path / "data", "options": ("--epochs", "2")}
    check_training(tmp_path / "r.json", tmp_path / "out", **options)
    assert training.calls == [["--recipe", str(tmp_path / "r.json"), "--data", str(tmp_path / "data"), "-o",
                               str(tmp_path / "out" / "unchanged"), "--quiet", "--dry-run", "--epochs", "2"]]
    training.code, training.said = 1, "ERROR: /nowhere: train-images is missing\n"
    with pytest.raises(InputError, match=r"^/nowhere: train-images is missing$"):
        check_training(tmp_path / "r.json", tmp_path / "out", **options)
    training.code, training.said = 3, "ERROR: torch is not installed\n"
    with pytest.raises(ToolchainError, match=r"^python -m train: torch is not installed$"):
        check_training(tmp_path / "r.json", tmp_path / "out", **options)


VARY = ("learning_rate=0.001:0.1:log", "architecture.layers.0.channels=4,8,16")


@pytest.fixture
def search(tmp_path, capsys):
    pytest.importorskip("optuna")
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(RECIPE))

    def search(*arguments, vary=VARY):
        options = [word for text in vary for word in ("--vary", text)]
        code = command.main(["--recipe", str(path), "--data", str(tmp_path), "--board", "icebreaker", "-o",
                             str(tmp_path / "out"), *options, *arguments])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return search


@pytest.fixture
def trials(monkeypatch):
    """Trials whose outcome is a function of what varies."""
    made = []

    def fake(recipe, folder, **_):
        made.append(recipe)
        if len(made) == fake.interrupted:
            raise KeyboardInterrupt
        channels = recipe["architecture"]["layers"][0]["channels"]
        if channels == fake.refused:
            return Outcome(reason="it is too large")
        return Outcome(clocks=100 * channels, validation_accuracy=0.5 + channels / 100)

    def check(recipe, folder, **_):
        fake.checks.append((recipe, folder))
        if fake.wrong is not None:
            raise InputError(fake.wrong)

    fake.made, fake.interrupted, fake.refused, fake.checks, fake.wrong = made, None, None, [], None
    monkeypatch.setattr(command, "run_trial", fake)
    monkeypatch.setattr(command, "check_training", check)
    return fake


def test_a_search_makes_its_trials_and_prints_their_front(search, trials, tmp_path):
    code, out, err = search("--trials", "8")
    assert (code, err, len(trials.made)) == (0, [], 8)
    assert [recipe["name"] for recipe in trials.made[:2]] == ["tiny-trial0", "tiny-trial1"]
    assert all(0.001 <= recipe["learning_rate"] <= 0.1 for recipe in trials.made)
    seen = {recipe["architecture"]["layers"][0]["channels"] for recipe in trials.made}
    # More channels are more accurate and slower: nothing dominates another.
    assert re.fullmatch(r"8 trials, 0 without a result, on the front of validation accuracy and clocks 8:", out[0])
    assert {int(re.search(r"channels (\d+)$", line)[1]) for line in out[1:]} == seen
    lines = [json.loads(line) for line in (tmp_path / "out" / "trials.jsonl").read_text().splitlines()]
    assert [line["number"] for line in lines] == list(range(8))


def test_what_is_refused_is_said_and_not_on_the_front(search, trials):
    trials.refused = 4
    _, out, _ = search("--trials", "8")
    refused = [line for line in out if line.endswith(" has no result: it is too large")]
    assert refused
    assert out[0] == (f"8 trials, {len(refused)} without a result, on the front of validation accuracy and clocks "
                      f"{8 - len(refused)}:")


def test_an_interrupted_search_goes_on_with_the_same_trial(search, trials):
    trials.interrupted = 3
    assert search("--trials", "5") == (130, [], ["ERROR: interrupted: the same command goes on, its training too"])
    code, out, _ = search("--trials", "5")
    assert (code, len(trials.made), out[0][:8]) == (0, 6, "5 trials")
    assert trials.made[2] == trials.made[3]
    assert search("--trials", "5")[1] == out
    assert len(trials.made) == 6


def test_a_search_of_other_places_is_not_gone_on_with(search, trials, tmp_path):
    search("--trials", "1")
    path = tmp_path / "out" / "trials.jsonl"
    assert search(vary=("learning_rate=0.1:0.2",)) == (1, [], [
        f"ERROR: {path}: its trials vary other places: give the same --vary, or another folder with -o"])
    path.write_text("{}\n")
    code, _, err = search()
    assert (code, len(err)) == (1, 1)
    assert err[0].startswith(f"ERROR: {path}: must be the trials of a search: ")


NO_RESULT = "neither clocks and a validation accuracy nor a reason why it has none"


@pytest.mark.parametrize(("line", "keys", "value", "what"), [
    (0, ("number",), 7, "the number 7"),
    (1, ("values", "learning_rate"), 5.0, "a value at learning_rate that --vary does not name"),
    (1, ("values", "learning_rate"), "fast", "a value at learning_rate that --vary does not name"),
    (0, ("values", "architecture.layers.0.channels"), 9,
     "a value at architecture.layers.0.channels that --vary does not name"),
    (0, ("values", "architecture.layers.0.channels"), True,
     "a value at architecture.layers.0.channels that --vary does not name"),
    (0, ("outcome",), None, NO_RESULT),
    (1, ("outcome", "clocks"), None, NO_RESULT),
    (1, ("outcome", "clocks"), 0, NO_RESULT),
    (1, ("outcome", "validation_accuracy"), None, NO_RESULT),
    (1, ("outcome", "validation_accuracy"), 1.5, NO_RESULT)])
def test_trials_that_no_search_has_written_are_one_line(search, trials, tmp_path, line, keys, value, what):
    assert search("--trials", "2")[0] == 0
    path = tmp_path / "out" / "trials.jsonl"
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    *parents, last = keys
    place = lines[line]
    for key in parents:
        place = place[key]
    place[last] = value
    path.write_text("".join(json.dumps(trial) + "\n" for trial in lines))
    before = path.read_bytes()
    assert search("--trials", "2") == (1, [], [
        (f"ERROR: {path}: line {line + 1} must be trial {line} as this command has written it, and has {what}: give "
         f"another folder with -o")])
    assert path.read_bytes() == before


def refused(tmp_path, why):
    return 1, [], [f"ERROR: {tmp_path}/out/search.json: {why}another folder with -o"]


@pytest.mark.parametrize(("arguments", "vary", "differ"), [
    (["--board", "icesugar"], VARY, "--board"), (["--weights", "flash"], VARY, "--weights"),
    (["--epochs", "3"], VARY, "--epochs"), (["--unverified"], VARY, "--data"),
    ([], ("learning_rate=0.001:0.2:log", VARY[1]), "--vary"), ([], (VARY[0], f"{VARY[1]},32"), "--vary"),
    (["--board", "icesugar", "--epochs", "3"], VARY, "--board and --epochs")])
def test_trials_of_another_search_are_not_mixed_with_these(search, trials, tmp_path, arguments, vary, differ):
    search("--trials", "2")
    kept = (tmp_path / "out" / "trials.jsonl").read_bytes()
    assert search("--trials", "3", *arguments, vary=vary) == refused(tmp_path, f"its trials are of another {differ}: "
                                                                               f"give the same, or ")
    assert (tmp_path / "out" / "trials.jsonl").read_bytes() == kept
    # The places may be given in any order, and the number of trials decides nothing.
    assert search("--trials", "3", vary=VARY[::-1])[0] == 0


def test_trials_of_another_recipe_are_not_mixed_with_these(search, trials, tmp_path):
    search("--trials", "1")
    (tmp_path / "recipe.json").write_text(json.dumps({**RECIPE, "seed": 2}))
    assert search() == refused(tmp_path, "its trials are of another --recipe: give the same, or ")


def test_a_folder_without_trials_takes_any_search(search, trials):
    trials.wrong = "data: train-images is missing"
    assert search() == (1, [], ["ERROR: data: train-images is missing"])
    trials.wrong = None
    assert search("--board", "icesugar", "--trials", "1")[0] == 0


@pytest.mark.parametrize("content", [None, b"{}", b"x"])
def test_trials_of_which_nothing_says_what_they_are_of_are_left_alone(search, trials, tmp_path, content):
    search("--trials", "1")
    path = tmp_path / "out" / "search.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert search() == refused(
        tmp_path, "must say which search the trials beside it are of, and does not: give ")


@pytest.mark.parametrize("name", ["notes.txt", "trial-0/recipe.json"])
def test_a_folder_that_is_none_of_a_search_is_left_alone(search, trials, tmp_path, name):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("years of work")
    line = (f"{tmp_path}/out: output must be a new or empty folder or that of an earlier search, not one with "
            f"{name.split('/')[0]!r}: give another with -o")
    assert search() == (1, [], [f"ERROR: {line}"])
    assert path.read_text() == "years of work"
    assert [entry for entry in (tmp_path / "out").rglob("*") if entry.is_file()] == [path]


@pytest.mark.parametrize(("name", "content"), [("search.json", "{}"), ("trials.jsonl", "")])
def test_files_that_only_have_the_names_of_a_search_are_left_alone(search, trials, tmp_path, name, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text(content)
    assert search() == refused(
        tmp_path, "must say which search the trials beside it are of, and does not: give ")
    assert (tmp_path / "out" / name).read_text() == content


def test_a_folder_in_which_only_the_lock_was_made_is_taken(search, trials, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".search.lock").touch()
    assert search("--trials", "1")[0] == 0


@pytest.mark.parametrize("values", ["8:16", "8.5:9", "8,8.5"])
def test_fractions_are_no_values_of_an_integer(search, tmp_path, values):
    place = "architecture.layers.1.channels"
    line = (f"--vary {place} must be integers to choose from, as 8,16, because the recipe has the integer 16 there: "
            f"write 16.0 in the recipe if it may be a fraction")
    assert search(vary=(f"{place}={values}",)) == (1, [], [f"ERROR: {line}"])
    assert not (tmp_path / "out").exists()


def test_what_no_trial_could_be_trained_with_ends_the_search_before_the_first(search, trials, tmp_path):
    trials.wrong = "/nowhere: train-images is missing"
    assert search() == (1, [], ["ERROR: /nowhere: train-images is missing"])
    assert (trials.made, (tmp_path / "out" / "trials.jsonl").exists()) == ([], False)
    assert trials.checks == [(tmp_path / "recipe.json", tmp_path / "out")]
    trials.wrong = None
    assert search("--trials", "1")[0] == 0
    # What is complete is shown, wherever the data are by now.
    trials.wrong = "/nowhere: train-images is missing"
    assert search("--trials", "1")[0] == 0


@pytest.mark.parametrize(("arguments", "line"), [
    (["--trials", "0"], "--trials must be 1 to 10000, not 0"),
    (["--seed", "-1"], "--seed must be 0 to 2147483647, not -1"),
    (["--vary", "learning_rate=1,2"], "--vary must name each place once, not learning_rate twice"),
    (["--vary", "speed=1,2"], "--vary speed must be a place of the recipe, and 'speed' is none"),
    (["--recipe", "none.json"], "none.json: No such file or directory")])
def test_wrong_options_are_one_line(search, arguments, line):
    assert search(*arguments) == (1, [], [f"ERROR: {line}"])


@pytest.mark.parametrize(("content", "line"), [
    ("[]", "recipe must be an object with a name"), ("{", "recipe must be JSON, and cannot be read: ")])
def test_a_recipe_must_be_one(search, tmp_path, content, line):
    path = tmp_path / "wrong.json"
    path.write_text(content)
    code, _, err = search("--recipe", str(path))
    assert (code, len(err)) == (1, 1)
    assert err[0].startswith(f"ERROR: {path}: {line}")


@pytest.mark.long
def test_a_real_training_is_searched(tmp_path, capsys):
    """Two trials on random images: what the commands of the training print and leave is what the search reads."""
    pytest.importorskip("optuna")
    generator = np.random.default_rng(3)
    for prefix, count in (("train", 60), ("t10k", 20)):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = generator.integers(0, 10, count, dtype=np.uint8)
        for name, array in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", labels)):
            head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
            (tmp_path / name).write_bytes(head + array.tobytes())
    recipe = json.loads((ROOT / "train" / "recipes" / "mnist-conv.json").read_text())
    if isinstance(recipe["architecture"], str):
        recipe["architecture"] = json.loads(
            (ROOT / "train" / "architectures" / f"{recipe['architecture']}.json").read_text())
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps({**recipe, "name": "tiny", "batch_size": 10, "validation_images": 20,
                                "calibration_images": 0, "compiled": False}))
    assert command.main(["--recipe", str(path), "--data", str(tmp_path), "--unverified", "--board", "icebreaker",
                         "--vary", "architecture.layers.0.channels=8,16", "--trials", "2", "--epochs", "1",
                         "--threads", "1", "-o", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out.splitlines()
    # The check before the trials writes nothing.
    assert not (tmp_path / "out" / "unchanged").exists()
    assert out[0].startswith("2 trials, 0 without a result, on the front of validation accuracy and clocks ")
    assert re.fullmatch(r"trial [01]: validation accuracy \d+\.\d\d%, [\d,]+ clocks: architecture\.layers\.0\.channels "
                        r"(8|16)", out[1])
