import json
import subprocess
import sys

import pytest

MEASURE = """
import json
import numpy as np
import torch
from hfbench.environment import peak_memory, reset_peak_memory

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
