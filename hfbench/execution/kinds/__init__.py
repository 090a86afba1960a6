"""The kinds of cells. To add one: a module as `run.KindOfRun` says, and an entry here.

Which cells of a recipe are of which kind is `recipe.cells`' matter.
"""

from hfbench.execution.kinds import (
    classification,
    control,
    predictions,
    pretraining,
    probe,
    prompt,
)
from hfbench.execution.kinds.run import KindOfRun, Run, Surroundings
from hfbench.recipe.types import Kind

KINDS: dict[Kind, KindOfRun] = {
    "classification": classification,
    "control": control,
    "predictions": predictions,
    "pretraining": pretraining,
    "probe": probe,
    "prompt": prompt,
}

__all__ = ["KINDS", "KindOfRun", "Run", "Surroundings"]
