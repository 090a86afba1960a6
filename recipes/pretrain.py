"""Pretrain the models of a recipe that have a pretrain block, in one process or many.

accelerate launch recipes/pretrain.py --config recipes/quickstart.yaml [key=value ...]
"""

from hfbench.cli.run import run_pretraining
from hfbench.cli.script import run_script

if __name__ == "__main__":
    run_script(run_pretraining, __doc__)
