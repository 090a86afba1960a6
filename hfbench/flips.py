"""Which examples one model answers rightly and another does not."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hfbench.comparison import ModelRuns
from hfbench.errors import UserError
from hfbench.fairness import evaluation_hash
from hfbench.stats import McNemar, mcnemar

if TYPE_CHECKING:
    from hfbench.recipe import Recipe


@dataclass(frozen=True)
class Flips:
    """What ``second`` fixes and breaks relative to ``first``, over runs with the same seed."""

    first: ModelRuns
    second: ModelRuns
    seeds: list[int | None]
    """The seeds that both have; a control's one run stands beside each seed of the other."""
    fixed: np.ndarray
    """Runs in which only ``second`` is right, by example, shape (examples,)."""
    broken: np.ndarray
    """Runs in which only ``first`` is right, by example, shape (examples,)."""
    by_seed: list[McNemar]
    """McNemar's cells and exact test, for each of the seeds."""

    @property
    def examples(self) -> np.ndarray:
        """Numbers of the examples that flip in any run, those that flip most often first."""
        flipped = np.flatnonzero(self.fixed + self.broken)
        return flipped[np.argsort(-np.abs(self.fixed - self.broken)[flipped], kind="stable")]

    def is_stable(self, example: int) -> bool:
        """Whether the example flips the same way with every seed."""
        return len(self.seeds) in (self.fixed[example], self.broken[example])


def find_flips(first: ModelRuns, second: ModelRuns) -> Flips:
    """Compare two models example by example.

    Raises:
        UserError: if they were evaluated on different examples or have no seed in common.
    """
    if evaluation_hash(first.finished[0]) != evaluation_hash(second.finished[0]):
        raise UserError(f"{first.name} and {second.name} were evaluated on different examples")
    seeds = _common_seeds(first, second)
    pairs = [(_run(first, seed), _run(second, seed)) for seed in seeds]
    return Flips(
        first=first,
        second=second,
        seeds=seeds,
        fixed=np.sum([other & ~one for one, other in pairs], axis=0),
        broken=np.sum([one & ~other for one, other in pairs], axis=0),
        by_seed=[mcnemar(other, one) for one, other in pairs],
    )


def load_texts(recipe: "Recipe", model: ModelRuns) -> dict[str, str]:
    """Id -> text of the evaluation examples, loaded again as the recipe says; not from records.

    Raises:
        UserError: if the recipe's data are not those that ``model`` was evaluated on.
    """
    from hfbench.data.task import load_task

    if recipe.task is None:
        raise UserError(f"recipe {recipe.name!r} has no task whose texts could be shown")
    loaded = load_task(recipe.task, recipe.folder)
    split = loaded.facts.evaluation_split
    expected, found = evaluation_hash(model.finished[0]), loaded.facts.splits[split].content_hash
    if found != expected:
        raise UserError(
            f"recipe {recipe.name!r}: its {split} examples ({found[:8]}) are not those of the "
            f"records ({expected[:8]}): the data or the recipe changed"
        )
    examples = loaded.splits[split]
    pairs = examples["text_pair"] if "text_pair" in examples.column_names else None
    texts = list(examples["text"])
    if pairs is not None:
        texts = [f"{text} / {pair}" for text, pair in zip(texts, pairs, strict=True)]
    return dict(zip(examples["id"], texts, strict=True))


def find_model(models: list[ModelRuns], name: str, results: Path) -> ModelRuns:
    """The model of this name, with a result.

    Raises:
        UserError: if there is none.
    """
    for model in models:
        if model.name == name and model.finished:
            return model
    known = ", ".join(model.name for model in models if model.finished)
    raise UserError(f"{results}: no finished run of a model {name!r} (finished: {known})")


def _common_seeds(first: ModelRuns, second: ModelRuns) -> list[int | None]:
    if first.seeds == [None]:
        return second.seeds
    if second.seeds == [None]:
        return first.seeds
    common = [seed for seed in first.seeds if seed in second.seeds]
    if not common:
        raise UserError(f"{first.name} and {second.name} have no finished seed in common")
    return common


def _run(model: ModelRuns, seed: int | None) -> np.ndarray:
    return model.correct[0 if model.seeds == [None] else model.seeds.index(seed)]
