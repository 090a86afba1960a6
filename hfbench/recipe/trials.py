"""The trials of a recipe's ``tune`` as recipes: what they run on, and what they are called."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hfbench.recipe.schema import TUNING, Recipe
from hfbench.recipe.task import Task
from hfbench.recipe.tuning import Fold, Settings, Tune

_FOLDS = 5


@dataclass(frozen=True)
class Trial:
    """Settings that are tried for a model."""

    model: str
    number: int
    """From 0, in the order in which they were found."""
    settings: Settings
    hurdles: dict[str, dict[float, float]] = field(default_factory=dict)
    """Last part of the name of a part of the trials -> `Model.hurdles` there."""

    @property
    def name(self) -> str:
        """Of the model with these settings."""
        return f"{self.model}.t{self.number:03d}"


def parse_trial(name: str) -> tuple[str, int] | None:
    """Model and number of the trial that is called so; None where it is none."""
    found = re.fullmatch(r"(.+)\.t(\d{3,})", name)
    return (found[1], int(found[2])) if found else None


def tuning_seeds(tune: Tune, reported: Iterable[int]) -> list[int]:
    """The seeds of a trial's runs, the same for all models: none of those that are ``reported``."""
    taken, seeds, number = {*reported}, list[int](), 0
    while len(seeds) < tune.seeds:
        seed = derived_seed("runs", number)
        number += 1
        if seed not in taken:
            taken.add(seed)
            seeds.append(seed)
    return seeds


def derived_seed(*purpose: str | int) -> int:
    """A seed for something of tuning."""
    text = "/".join(map(str, ("hfbench tuning", *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def number_of_folds(tune: Tune, task: Task) -> int | None:
    """On how many parts of the train split a trial is measured; None: on the validation split."""
    return tune.folds or (_FOLDS if task.test_split is None else None)


def trials_recipe(recipe: Recipe, trials: Mapping[str | None, list[Trial]]) -> Recipe:
    """A recipe of ``trials``, with a part for each task and fold.

    Args:
        recipe: has ``tune``.
        trials: of each of its tasks, by `Recipe.task_name`.
    """
    parts = [
        part
        for own in recipe.by_task
        if trials[own.task_name]
        for part in _parts_of(own, trials[own.task_name])
    ]
    return recipe.of_parts(parts)


def _parts_of(recipe: Recipe, trials: list[Trial]) -> list[Recipe]:
    assert recipe.tune is not None
    assert recipe.task is not None
    entries = {model.name: model for model in recipe.models}
    models = [(trial, entries[trial.model].with_settings(trial.settings)) for trial in trials]
    common = {
        "seeds": tuning_seeds(recipe.tune, recipe.seeds),
        "looks": [],
        "questions": [],
        "reference": None,
        "save_models": False,
    }
    folds = number_of_folds(recipe.tune, recipe.task)
    seen: list[tuple[str, Fold | str]] = [(f"{recipe.name}/{TUNING}", "validation")]
    if folds:
        seen = [
            (f"{recipe.name}/{TUNING}/fold-{number}", Fold(number=number, of=folds))
            for number in range(1, folds + 1)
        ]
    return [
        recipe.model_copy(
            update={
                **common,
                "name": name,
                "task": recipe.task.model_copy(update={"trial": part}),
                "models": [
                    model.model_copy(
                        update={
                            "name": trial.name,
                            "hurdles": trial.hurdles.get(name.rpartition("/")[2], {}),
                        }
                    )
                    for trial, model in models
                ],
            }
        )
        for name, part in seen
    ]


def with_chosen(recipe: Recipe, chosen: Mapping[tuple[str | None, str], Settings]) -> Recipe:
    """The recipe with these settings of each task and model, which is not tuned any more."""
    parts = []
    for own in recipe.by_task:
        models = [
            model.with_settings(found)
            if (found := chosen.get((own.task_name, model.name)))
            else model
            for model in own.models
        ]
        parts.append(own.model_copy(update={"models": models}))
    return recipe.of_parts(parts) if recipe.has_parts else parts[0]
