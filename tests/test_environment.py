import numpy as np
import pytest
import torch

from hfbench.environment import peak_memory, reset_peak_memory

CPU = torch.device("cpu")


def test_peak_memory_counts_from_its_reset():
    block = np.ones(40 * 2**20, dtype=np.uint8)
    del block
    reset_peak_memory(CPU)
    before, of = peak_memory(CPU)
    if of != "the process during the run":
        pytest.skip("this system counts from the start of the process only")
    block = np.ones(80 * 2**20, dtype=np.uint8)
    high = peak_memory(CPU)[0]
    del block
    assert high - before == pytest.approx(80 * 2**20, rel=0.2)
    reset_peak_memory(CPU)
    assert peak_memory(CPU)[0] < high - 40 * 2**20
