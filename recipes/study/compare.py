"""Compare the models of a recipe of the study, the classifier that reads padding among them.

    python recipes/study/compare.py --config recipes/study/07_sst2_reads_padding.yaml

All cells run in this process, for others do not know that architecture.
"""

from functools import partial

import reads_padding  # noqa: F401 (the Auto classes know it then)

from hfbench.cli.run import run_comparison
from hfbench.cli.script import run_script

if __name__ == "__main__":
    run_script(partial(run_comparison, jobs=1), __doc__)
