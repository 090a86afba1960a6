"""What a table of many models costs, beside one of half as many."""

import time

import numpy as np
import pytest

from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import Findings
from hfbench.evidence.table import write_table


def seconds_of_a_table(folder, write_record, models):
    """Of the processor, with five runs of each model on 500 examples."""
    rng = np.random.default_rng(0)
    hardness = rng.normal(size=500)
    for model in range(models):
        own = rng.normal(size=500) / 2 + 0.3 + 1.2 * model / models
        for seed in range(5):
            correct = hardness + own + rng.normal(size=500) > 0
            write_record(folder, f"model-{model:03d}", seed, correct)
    start = time.process_time()
    write_table(Findings.of(load_comparison(folder)), folder)
    return time.process_time() - start


@pytest.mark.slow
def test_a_table_grows_with_less_than_the_third_power_of_its_models(tmp_path, write_record):
    seconds_of_a_table(tmp_path / "first", write_record, 5)  # what is imported once
    fifty, hundred = (
        seconds_of_a_table(tmp_path / f"{models}", write_record, models) for models in (50, 100)
    )
    print(f"50 models {fifty:.1f} s, 100 models {hundred:.1f} s of the processor")
    assert hundred < 6 * fifty  # pairs are four times as many
