"""The certificate of fairness over processes: two of them share a batch and train as one does.

Run as a module it is one of these processes: ``torchrun -m hfbench.checks.processes``.
"""

import gc
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from hfbench import version
from hfbench.checks.checked_model import CheckedModel, find_checked_model
from hfbench.checks.outcome import TOLERANCE, Failed, Skipped, at_most
from hfbench.checks.training import largest_change, train_two_steps
from hfbench.recipe.types import Head

_SECONDS = 300  # for two processes that import torch and train two steps of each head


def check_two_processes(checked: CheckedModel, head: Head) -> float:
    """Batches of 16 in one process against 8 in each of two; all heads at once.

    Gives the largest difference, relative, of losses, gradient norms and evaluation loss over two
    optimizer steps.
    """
    if not checked.name:
        raise Skipped("two processes cannot be told which model it is")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        run = _launch(checked, out)
        if run.returncode:
            lines = [line for line in run.stderr.splitlines() if "Error" in line]
            raise Failed(None, f"two processes cannot train it: {(lines or ['no message'])[0]}")
        together = json.loads(out.read_text("utf-8"))
    changes = [
        largest_change(train_two_steps(checked, one, batch=16), together[one])
        for one in checked.heads
    ]
    advice = (
        "two processes that share 16 examples train otherwise than one: the loss must be divided "
        "by the labels of the whole step (num_items_in_batch)"
    )
    return at_most(max(changes), TOLERANCE, advice)


def _launch(checked: CheckedModel, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += ["-m", "hfbench.checks.processes", checked.name, str(out)]
    command += ["--trust-remote-code"] if checked.prepared.entry.trust_remote_code else []
    paths = [str(Path(version.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "CUDA_VISIBLE_DEVICES": "",  # on the CPU, as the other checks
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )


def main() -> None:
    """Train as one of the processes; the first writes what all of them found."""
    name, out = sys.argv[1:3]
    checked = find_checked_model(name, trust_remote_code="--trust-remote-code" in sys.argv)
    found = {head: train_two_steps(checked, head, batch=16) for head in checked.heads}
    if torch.distributed.get_rank() == 0:
        Path(out).write_text(json.dumps(found), encoding="utf-8")
    gc.collect()  # a trainer that still holds the group makes torch abort at the end
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
