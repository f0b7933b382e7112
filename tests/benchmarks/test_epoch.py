import re
import shutil

import pytest

from benchmarks import epoch


def test_epoch_is_the_median_step_times_the_steps(capsys, monkeypatch):
    monkeypatch.setattr(epoch, "time_steps", lambda *_: ([0.3, 0.1, 0.2], 50))
    assert epoch.main(["--recipe", "mnist-conv", "--steps", "3"]) == 0
    assert re.search(r"median step 0.200 s \(0.100 to 0.300\), 50 steps an epoch: 10 s$", capsys.readouterr().out)


@pytest.mark.filterwarnings("ignore")  # torch.compile's own
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_steps_are_timed_on_made_images():
    seconds, steps = epoch.time_steps("mnist-conv", 2, 1280, 0)
    assert len(seconds) == 2
    assert all(second > 0 for second in seconds)
    assert steps == 10


def test_bad_numbers_and_recipes_get_one_line(capsys):
    assert epoch.main(["--steps", "0"]) == 1
    assert capsys.readouterr().err == "ERROR: steps and images must be at least 1, the epoch at least 0\n"
    assert epoch.main(["--recipe", "none"]) == 1
    assert capsys.readouterr().err.startswith("ERROR: recipe must be ")
