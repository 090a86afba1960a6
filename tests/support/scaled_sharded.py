"""recipes/speed/scaled_script.py with FSDP2 over processes of the CPU, see `run_launched`."""

import os
import runpy
from pathlib import Path

from run_launched import FSDP2, take_processes_for_accelerators

if __name__ == "__main__":
    os.environ |= FSDP2
    take_processes_for_accelerators()
    script = Path(__file__).parents[2] / "recipes" / "speed" / "scaled_script.py"
    runpy.run_path(str(script), run_name="__main__")
