"""recipes/compare.py where memory holds no more than 2 rows at a time; for `torchrun`.

run_small_memory.py {all,second} --config RECIPE ...: in all processes, or in the second alone.
"""

import os
import sys

import torch

from hfbench.cli.run import run_comparison
from hfbench.cli.script import run_script
from hfbench.models.custom_gpt.modeling_custom_gpt import CustomGPTModel

forward = CustomGPTModel.forward


def bounded(self, input_ids, *args, **kwargs):
    if self.training and len(input_ids) > 2:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
    return forward(self, input_ids, *args, **kwargs)


if __name__ == "__main__":
    if sys.argv.pop(1) == "all" or os.environ["RANK"] == "1":
        CustomGPTModel.forward = bounded
    run_script(run_comparison, __doc__)
