"""Two processes on the CPU against one."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

SCRIPT = """
import logging, pathlib, sys
import torch
from tests.train.test_training import training
from train import distributed
torch.set_num_threads(1)
logging.basicConfig(level=logging.INFO, format="%(message)s")
with distributed.connect(torch.device("cpu")):
    run = training(pathlib.Path(sys.argv[1]), epochs=2, optimiser="sgd", learning_rate=0.05,
                   methods=({"kind": "folded-time", "epochs": 1},) if sys.argv[3] == "folded" else ())
    run.run()
    assert distributed.processes() == int(sys.argv[2])
"""


def start(folder, processes, time):
    """Run the script on so many processes; return the state after its last epoch."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"]
    script = folder.parent / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([*command, str(script), str(folder), str(processes), time], cwd=ROOT, capture_output=True,
                          text=True, check=False, timeout=300, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr[-2000:]
    # Of several processes, the first one reports.
    assert [done.stderr.count(f"epoch {epoch}: ") for epoch in (1, 2)] == [1, 1], done.stderr[-2000:]
    return torch.load(folder / "state.pt", weights_only=True)


@pytest.mark.parametrize("time", ["folded", "unrolled"])
def test_two_processes_train_what_one_does(tmp_path, time):
    one, two = (start(tmp_path / str(count), count, time) for count in (1, 2))
    histories = [json.loads(state["history"]) for state in (one, two)]
    for alone, together in zip(*histories, strict=True):
        assert together["loss"] == pytest.approx(alone["loss"], rel=1e-3)
    for name, value in one["network"].items():
        if value.is_floating_point():
            assert torch.allclose(value, two["network"][name], rtol=1e-2, atol=1e-3), name
