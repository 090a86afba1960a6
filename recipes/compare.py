"""Compare the models of a recipe, in one process or many.

accelerate launch recipes/compare.py --config recipes/quickstart.yaml [key=value ...]
"""

from hfbench.running import run_comparison, run_script

if __name__ == "__main__":
    run_script(run_comparison, __doc__)
