"""recipes/pretrain.py with more than a launcher can say; for `torchrun`.

run_launched.py {whole,sharded} STEP --config RECIPE ...

``sharded`` is FSDP2 without a GPU: accelerate shards on accelerators alone, and here the processes
of a CPU are taken for some. After the checkpoint of STEP, if it is not 0, all processes die. At the
end it is said which variables of the environment are no longer as they were.
"""

import os
import sys

from accelerate.state import PartialState
from accelerate.utils import DistributedType

import hfbench.execution.compare  # noqa: F401 - sets a variable for its whole process
from hfbench.cli.run import run_pretraining
from hfbench.cli.script import run_script
from hfbench.training.checkpoints import ExactResumption

FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
}


def take_processes_for_accelerators() -> None:
    initialise = PartialState.__init__

    def as_accelerators(self, *args, **kwargs):
        initialise(self, *args, **kwargs)
        self.distributed_type = DistributedType.MULTI_GPU

    PartialState.__init__ = as_accelerators


def die_after_checkpoint(step: int) -> None:
    on_save = ExactResumption.on_save

    def save_and_die(self, args, state, control, **kwargs):
        on_save(self, args, state, control, **kwargs)
        if state.global_step == step:
            self.trainer.accelerator.wait_for_everyone()
            os._exit(3)

    ExactResumption.on_save = save_and_die


if __name__ == "__main__":
    kind, step = sys.argv[1], int(sys.argv[2])
    del sys.argv[1:3]
    if kind == "sharded":
        os.environ |= FSDP2
        take_processes_for_accelerators()
    if step:
        die_after_checkpoint(step)
    before = dict(os.environ)
    run_script(run_pretraining, __doc__)
    if os.environ["RANK"] == "0":
        changed = {name for name, _ in before.items() ^ os.environ.items()}
        print(f"environment changed: {sorted(changed)}")
