"""Train the model of a work in the processes of a launcher; the first writes what it took.

accelerate launch --num_processes 2 recipes/speed/scaled_script.py WORK.json INPUTS RESULTS
"""

import gc
import json
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from hfbench.system.launch import is_main_process
from speed import hfbench_side
from speed.measure import Clock, Laps, timed
from speed.work import Inputs, Work

FOUND = "found.json"


def main(work_file: str, inputs: str, results: str) -> None:
    """Train; ``RESULTS/found.json`` has the run, its laps, and what hfbench's record says."""
    work = Work(**json.loads(Path(work_file).read_text("utf-8")))
    laps = Laps(work.warm_up, work.logging_steps)
    found = {}

    def side(clock: Clock) -> None:
        with hfbench_side.carried_by_every_trainer(laps):
            record = hfbench_side.train_and_record(work, Inputs(Path(inputs)), clock, Path(results))
        facts = record.training
        found.update(
            losses=[point["loss"] for point in record.curves["train"]],
            device=facts.device,
            world_size=facts.world_size,
            examples=facts.examples_seen,
            tokens=facts.tokens_seen,
            flops=facts.flops,
            command=record.environment["command"],
        )

    run = timed(side, work.warm_up)
    if is_main_process():
        found |= {"run": asdict(run), "laps": laps.seconds}
        (Path(results) / FOUND).write_text(json.dumps(found), encoding="utf-8")
    if torch.distributed.is_initialized():
        gc.collect()  # a trainer that holds the group makes torch abort at exit
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
