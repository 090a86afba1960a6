"""A thousand cells: what each costs beside its training, and that nothing piles up."""

import io
import statistics
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from hfbench.execution.compare import compare
from hfbench.recipe.load import load_recipe

TINY = {"name": "tiny", "preset": "gpt-nano"}
TINY["config"] = {"n_layer": 1, "n_embd": 12, "n_positions": 32}


class Watch(io.StringIO):
    """Where the comparison speaks: a line a cell, and at each a look at the process."""

    def __init__(self):
        super().__init__()
        self.seconds, self.memory, self.files, self.threads = [], [], [], []

    def write(self, text):
        if text.startswith("["):
            self.seconds.append(time.process_time())
            self.memory.append(int(Path("/proc/self/statm").read_text().split()[1]))
            self.files.append(len([*Path("/proc/self/fd").iterdir()]))
            self.threads.append(threading.active_count())
        return len(text)


def run(write_recipe, results, cells):
    watch = Watch()
    path = write_recipe(models=[TINY], seeds=[*range(cells)], training_arguments={"max_steps": 1})
    console = Console(file=watch, width=200)
    outcome = compare(load_recipe(path), results, console=console)
    assert len(outcome.ran) == cells
    assert not outcome.failed
    return outcome, watch


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux says what a process has")
def test_files_and_threads_do_not_pile_up(write_recipe, tmp_path):
    _, watch = run(write_recipe, tmp_path, 7)
    assert watch.files[-1] <= watch.files[2]
    assert watch.threads[-1] <= watch.threads[2]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux says what a process has")
def test_a_thousand_cells_cost_little_and_leave_nothing_behind(write_recipe, tmp_path):
    outcome, watch = run(write_recipe, tmp_path, 1000)
    cell = statistics.median(b - a for a, b in zip(watch.seconds, watch.seconds[1:], strict=False))
    training = statistics.median(record.training.train_seconds for record in outcome.ran)
    print(f"{1000 * cell:.0f} ms of the processor a cell, {1000 * training:.0f} ms of it training")
    print(f"memory after 10 and 1000 cells, pages: {watch.memory[9]}, {watch.memory[-1]}")
    assert cell < 5 * training  # one step of a tiny model; 3.1 and 3.6 times were measured
    assert watch.memory[-1] < 1.1 * watch.memory[9]
    assert watch.files[-1] <= watch.files[9]
    assert watch.threads[-1] <= watch.threads[9]
