"""Steps: what is kept and what is not, and what the simulation of the samples compares."""

import dataclasses
import json
import logging
import os
import pathlib

import numpy as np
import pytest

from arch import network_file
from boards import BOARDS
from gateware.build.request import BuildError
from gateware.build.steps import simulate
from gateware.build.steps.simulate import Samples, Simulate, Simulation, samples_of
from gateware.build.steps.step import SPARE_STEPS, Keeper, Step
from gateware.mapper.choice import plan_for_board
from models import DEFAULT_NETWORK
from reference.engines import EngineResult
from reference.network import Reference
from tests.gateware.build.conftest import small_network


@dataclasses.dataclass(frozen=True)
class Count:
    value: int


class Counting(Step[Count]):
    """Counts how often it is run."""

    kind = name = "count"

    def __init__(self, key="same"):
        self._key = key
        self.runs = 0

    def key(self):
        return {"input": self._key}

    def run(self, folder):
        self.runs += 1
        assert list(folder.iterdir()) == []
        (folder / "output").write_text("a result")
        return Count(value=self.runs)

    def outputs(self, result):
        return ("output",)

    def load(self, content):
        return Count(**content)


def test_a_result_is_kept_and_recorded(tmp_path):
    step, keeper = Counting(), Keeper(tmp_path)
    first, record = keeper.run(step)
    assert (first, record.kept) == (Count(value=1), False)
    again, record = keeper.run(step)
    assert (again, record.kept, step.runs) == (Count(value=1), True, 1)
    assert [(entry.name, entry.kept) for entry in keeper.records] == [("count", False), ("count", True)]


def test_another_key_is_another_result(tmp_path):
    keeper = Keeper(tmp_path)
    assert keeper.folder(Counting("one")) != keeper.folder(Counting("other"))
    keeper.run(Counting("one"))
    other = Counting("other")
    keeper.run(other)
    assert other.runs == 1


def test_what_is_repeated_is_done_again(tmp_path):
    step = Counting()
    Keeper(tmp_path).run(step)
    assert Keeper(tmp_path, repeat=["count"]).run(step)[1].kept is False
    assert step.runs == 2


def damage_output(folder):
    (folder / "output").write_text("another")


def remove_output(folder):
    (folder / "output").unlink()


def cut_result(folder):
    (folder / "result.json").write_text("{")


def rename_field(folder):
    content = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**content, "result": {"other": 1}}))


def nest_deeply(folder):
    (folder / "result.json").write_text("[" * 100_000)


@pytest.mark.parametrize("damage", [damage_output, remove_output, cut_result, rename_field, nest_deeply])
def test_a_damaged_result_is_not_used(tmp_path, caplog, damage):
    step, keeper = Counting(), Keeper(tmp_path)
    keeper.run(step)
    damage(keeper.folder(step))
    with caplog.at_level(logging.CRITICAL):
        _, record = keeper.run(step)
    assert (record.kept, step.runs) == (False, 2)


@pytest.mark.parametrize(("error", "named"), [
    (OSError(28, "No space left on device"), None),
    (OSError(28, "No space left on device", "/work/step/log"), "/work/step/log"),
])
def test_a_full_disk_has_a_name(tmp_path, error, named):
    step, keeper = Counting(), Keeper(tmp_path)

    def fail(_):
        raise error

    step.run = fail
    with pytest.raises(OSError, match="No space left on device") as caught:
        keeper.run(step)
    assert caught.value.filename == (named or str(keeper.folder(step)))


def test_a_step_that_failed_leaves_its_logs_and_is_begun_anew(tmp_path):
    step, keeper = Counting(), Keeper(tmp_path)

    def fail(folder):
        (folder / "log").write_text("why")
        raise BuildError("it failed")

    step.run = fail
    with pytest.raises(BuildError, match=r"^it failed$"):
        keeper.run(step)
    assert (keeper.folder(step) / "log").read_text() == "why"
    del step.run
    assert keeper.run(step)[0] == Count(value=1)


def fail(folder):
    raise BuildError("it failed")


def test_steps_that_were_not_used_for_longest_are_removed(tmp_path):
    keeper = Keeper(tmp_path)
    steps = [Counting(f"input {number}") for number in range(SPARE_STEPS + 3)]
    for age, step in enumerate(reversed(steps)):
        keeper.run(step)
        os.utime(keeper.folder(step), (1000 + age, 1000 + age))
    (tmp_path / "programmer.log").write_text("not of a step")
    (tmp_path / "notes").mkdir()
    later = Keeper(tmp_path)
    # Used again, used for the first time, and failed: of this build.
    assert later.run(steps[-1])[1].kept
    later.run(Counting("another"))
    failed = Counting("fails")
    failed.run = fail
    with pytest.raises(BuildError):
        later.run(failed)
    later.prune()
    assert {path.name for path in tmp_path.iterdir()} == {
        "programmer.log", "notes",
        *(keeper.folder(step).name for step in (*steps[:SPARE_STEPS], steps[-1], Counting("another"), failed))}


def test_many_steps_of_one_build_stay(tmp_path):
    keeper = Keeper(tmp_path)
    for number in range(2 * SPARE_STEPS):
        keeper.run(Counting(str(number)))
    keeper.prune()
    assert len(list(tmp_path.iterdir())) == 2 * SPARE_STEPS


class Engine:
    """The reference with a clock, and with one fault if asked."""

    def __init__(self, network, *, config, cycles, wrong=None):
        self._reference, self._cycles, self._wrong, self._seen = Reference(network), cycles, wrong, 0
        self.name = "rtl"

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def classify(self, images, *, spikes=False):
        result = self._reference.run(images, spikes=spikes)
        scores = result.scores.copy()
        if self._wrong is not None and self._seen <= self._wrong < self._seen + len(images):
            scores[self._wrong - self._seen, 0] += 1
        self._seen += len(images)
        cycles = np.full(len(images), self._cycles)
        return EngineResult(scores=scores, classes=result.classes, cycles=cycles, stall_cycles=0 * cycles)


def simulation(monkeypatch, folder, *, cycles=100, **fault):
    network = small_network()
    plan = plan_for_board(network, BOARDS["icebreaker"])
    images = np.random.default_rng(1).integers(0, 256, (23, 1, 4, 4), dtype=np.uint8)
    labels = Reference(network).run(images).classes.copy()
    labels[3] ^= 1
    monkeypatch.setattr(simulate, "RtlEngine", lambda net, config: Engine(net, config=config, cycles=cycles, **fault))
    step = Simulate(plan, Samples(dataset="made", images=images, labels=labels), expected_cycles=100)
    return step.run(folder)


def test_every_sample_is_simulated_and_compared(monkeypatch, tmp_path):
    result = simulation(monkeypatch, tmp_path)
    assert dataclasses.replace(result, seconds=0) == Simulation(images=23, correct=22, seconds=0)


def test_a_wrong_score_is_named_with_its_image(monkeypatch, tmp_path):
    message = r"^the RTL differs from the reference: image 15, layer 1 \(readout\), score 0: -?\d+ expected, not -?\d+$"
    with pytest.raises(BuildError, match=message):
        simulation(monkeypatch, tmp_path, wrong=15)


def test_wrong_clocks_are_named(monkeypatch, tmp_path):
    with pytest.raises(BuildError, match=r"^the RTL takes 101 cycles where the cycle model says 100$"):
        simulation(monkeypatch, tmp_path, cycles=101)


def test_samples_are_those_of_the_data_set():
    shipped = samples_of(network_file.load(DEFAULT_NETWORK))
    assert (shipped.dataset, shipped.images.shape, shipped.labels.shape) == ("mnist", (100, 1, 28, 28), (100,))
    for training in (None, "mnist", {"dataset": "../samples/mnist"}, {"dataset": "cifar10"}, {"dataset": ["mnist"]},
                     {"dataset": "mnist"}):
        assert samples_of(small_network(training=training)) is None
    assert pathlib.Path(simulate.SAMPLES).is_dir()
