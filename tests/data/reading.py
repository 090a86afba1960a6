"""Load a task of a CSV file and print by how many MB that made the process larger, at its peak.

python tests/data/reading.py SMALL.csv FILE.csv
"""

import sys
from pathlib import Path

from hfbench.data.task import load_task
from hfbench.recipe.task import Task


def peak_memory() -> float:
    """MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    small, large = (Task(data_files={"train": name}, validation_size=0.1) for name in sys.argv[1:])
    load_task(small, Path())  # imports
    before = peak_memory()
    assert load_task(large, Path()).splits["train"].num_rows
    print(peak_memory() - before)
