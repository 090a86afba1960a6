"""Compare the models of a recipe, in one process or many.

accelerate launch recipes/compare.py --config recipes/quickstart.yaml [key=value ...]
"""

from hfbench.cli.run import run_comparison
from hfbench.cli.script import run_script

if __name__ == "__main__":
    run_script(run_comparison, __doc__)
