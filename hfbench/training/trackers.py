"""Runs in a tracker (``report_to``): named by model and seed, grouped by recipe, each ended.

The callbacks of transformers take the name from ``run_name`` and all else from the environment.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfbench.training.process import environment_of_its_own


@dataclass(frozen=True)
class RunLabels:
    """Of one cell."""

    recipe: str
    model: str
    name: str
    """Of the cell: model, size, seed, fold."""
    seed: int | None
    tensorboard: Path
    """Folder for what TensorBoard is told, unless TENSORBOARD_LOGGING_DIR names one."""

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What a recipe's training arguments ``given`` lack, where they ask for a tracker."""
        if given.get("report_to", "none") in ("none", ["none"], []):
            return {}
        before = f"{given['run_name']}-" if given.get("run_name") else ""
        return {"project": self.recipe, **given, "run_name": f"{before}{self.name}"}

    def environment(self) -> dict[str, str]:
        """Variables of the trackers; of those that somebody has set, only what adds to them."""
        told = {"recipe": self.recipe, "model": self.model, "seed": str(self.seed)}
        place = os.environ.get("TENSORBOARD_LOGGING_DIR")
        root = Path(place, self.recipe) if place else self.tensorboard
        tags = {**json.loads(os.environ.get("MLFLOW_TAGS") or "{}"), **told}
        defaults = {
            "WANDB_PROJECT": self.recipe.partition("/")[0],
            "WANDB_RUN_GROUP": f"{self.recipe}/{self.model}",
            "WANDB_TAGS": f"{self.recipe},{self.model}",
            "MLFLOW_EXPERIMENT_NAME": self.recipe,
        }
        return {
            **{name: os.environ.get(name, value) for name, value in defaults.items()},
            "TENSORBOARD_LOGGING_DIR": str(root / self.name),
            "MLFLOW_TAGS": json.dumps(tags),
        }


@contextmanager
def tracked(labels: RunLabels) -> Iterator[None]:
    """Within, trackers know the cell by ``labels``; afterwards its run is ended.

    Weights & Biases would go on with the run of the cell before, in the same process.
    """
    try:
        with environment_of_its_own():
            os.environ.update(labels.environment())
            yield
    finally:
        wandb = sys.modules.get("wandb")
        if wandb is not None and wandb.run is not None:
            wandb.finish()
