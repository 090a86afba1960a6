import json
import subprocess
import sys

import psutil
import pytest

from hfbench.system.environment import command

MEASURE = """
import json
import numpy as np
import torch
from hfbench.system.environment import peak_memory, reset_peak_memory

device = torch.device("cpu")
block = np.ones(40 * 2**20, dtype=np.uint8)
del block
reset_peak_memory(device)
before, of = peak_memory(device)
block = np.ones(80 * 2**20, dtype=np.uint8)
high = peak_memory(device)[0]
del block
reset_peak_memory(device)
print(json.dumps([of, before, high, peak_memory(device)[0]]))
"""


def test_peak_memory_counts_from_its_reset():
    # in a process of its own: memory that another test's garbage gives back while the block is
    # filled would hide the block
    run = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    of, before, high, after = json.loads(run.stdout)
    if of != "the process during the run":
        pytest.skip("this system counts from the start of the process only")
    assert high - before == pytest.approx(80 * 2**20, rel=0.2)
    assert after < high - 40 * 2**20


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["/home/me/.venv/bin/hfbench", "compare", "a/b.yaml"], "hfbench compare a/b.yaml"),
        (["/site/hfbench/__main__.py", "table", "/home/me/x"], "hfbench table x"),
        (["recipes/compare.py", "--config", "~/r.yaml"], "compare.py --config r.yaml"),
        (
            ["hfbench", "compare", "r.yaml", "task.data_files={train: /home/me/a b.csv}"],
            "hfbench compare r.yaml 'task.data_files={train: a b.csv}'",
        ),
        (["hfbench", "compare", "models.m.model_name_or_path=o/m"],
         "hfbench compare models.m.model_name_or_path=o/m"),
        (["hfbench", "push", "hf_abcdefghijklmnopqrstuvwxyz012345"], "hfbench push [redacted]"),
    ],
)  # fmt: skip
def test_the_command_is_recorded_without_folders_and_secrets(monkeypatch, arguments, shown):
    monkeypatch.setattr(sys, "argv", arguments)
    assert command() == shown


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (["/v/bin/python3.12", "/v/bin/accelerate", "launch", "--config_file", "a/g.yaml",
          "/home/me/recipes/compare.py"], "accelerate launch --config_file a/g.yaml compare.py"),
        (["/v/bin/python", "-m", "torch.distributed.run", "x.py"],
         "python -m torch.distributed.run x.py"),
    ],
)  # fmt: skip
def test_under_a_launcher_the_command_is_the_launchers(monkeypatch, line, shown):
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setattr(psutil.Process, "cmdline", lambda self: line)
    assert command() == shown
