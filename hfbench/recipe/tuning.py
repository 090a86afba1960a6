"""The recipe's ``tune``: which settings are tried, how many times, and on which examples."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from hfbench.errors import nearest
from hfbench.recipe.arguments import OBSERVING_ARGUMENTS, check_training_argument
from hfbench.recipe.fields import shown
from hfbench.recipe.section import Section

Settings = dict[str, Any]
"""Key of a space -> value."""
Scale = Literal["log", "uniform", "int"]
_SCALES: tuple[Scale, ...] = ("log", "uniform", "int")
FIRST_ROUND = 10
"""Trials whose settings are drawn at random, before results say where to look."""
ROUND = 5
"""Trials that follow from the same results."""
OWNERS = ("config", "lora")
"""Mappings of a model's entry whose keys can be tuned, written with a dot: ``lora.r``."""


@dataclass(frozen=True)
class Range:
    """All numbers between two, both included."""

    scale: Scale
    """``log``: as likely from 1e-5 to 1e-4 as from 1e-4 to 1e-3; ``int``: whole numbers."""
    low: float
    high: float

    @property
    def examples(self) -> list[Any]:
        """Values of which each must be allowed."""
        return [self.low, self.high]


@dataclass(frozen=True)
class Choices:
    """Some values of any kind."""

    values: tuple[Any, ...]

    @property
    def examples(self) -> list[Any]:
        """Values of which each must be allowed."""
        return list(self.values)


def parse_values(key: str, written: Any) -> Range | Choices:
    """What a space's entry stands for.

    Raises:
        ValueError: if it stands for nothing.
    """
    if isinstance(written, list):
        if len(written) < 2:
            raise ValueError(f"{key}: {shown(written)}: a list of choices has two or more")
        if any(written.count(value) > 1 for value in written):
            raise ValueError(f"{key}: {shown(written)}: choices must differ")
        return Choices(tuple(written))
    forms = "[a, b, ...], {log: [a, b]}, {uniform: [a, b]} or {int: [a, b]}"
    if not isinstance(written, dict) or len(written) != 1:
        raise ValueError(f"{key}: {shown(written)} must be {forms}")
    ((scale, ends),) = written.items()
    if scale not in _SCALES:
        raise ValueError(f"{key}: no scale {scale!r}{nearest(str(scale), _SCALES)}; write {forms}")
    numbers = (int,) if scale == "int" else (int, float)
    if not (
        isinstance(ends, list)
        and len(ends) == 2
        and all(isinstance(end, numbers) and not isinstance(end, bool) for end in ends)
        and all(map(math.isfinite, ends))
    ):
        kind = "two whole numbers" if scale == "int" else "two numbers"
        raise ValueError(f"{key}: {scale}: {shown(ends)} must be {kind}, the lower one first")
    low, high = ends if scale == "int" else map(float, ends)
    if low >= high:
        raise ValueError(f"{key}: {scale}: {low:g} must be less than {high:g}")
    if scale == "log" and low <= 0:
        raise ValueError(f"{key}: log: {low:g} must be more than 0")
    return Range(scale, low, high)


def _check_key(key: str) -> None:
    if key in OBSERVING_ARGUMENTS:
        raise ValueError(f"{key} decides nothing of a result: {OBSERVING_ARGUMENTS[key]}")
    owner, dot, _ = key.partition(".")
    if dot and owner not in OWNERS:
        raise ValueError(
            f"{key}: a key with a dot is of {' or '.join(OWNERS)}, e.g. lora.r or config.n_layer"
        )


def _check_space(space: dict[str, Any]) -> dict[str, Any]:
    for key, written in space.items():
        _check_key(key)
        for value in parse_values(key, written).examples:
            if "." not in key:
                check_training_argument(key, value)
    return space


def _check_model_space(space: dict[str, Any]) -> dict[str, Any]:
    _check_space({key: written for key, written in space.items() if written is not None})
    for key in space:
        _check_key(key)
    return space


Space = Annotated[dict[str, Any], AfterValidator(_check_space)]
ModelSpace = Annotated[dict[str, Any], AfterValidator(_check_model_space)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Tune(Section):
    """Settings of each model are chosen before the comparison: for all by the same rules.

    Each trial trains a model with settings of the space and is measured by ``task.metric``, on
    other examples than those that the table reports: on the validation split where there is a
    ``test_split``, else on parts of the train split (``folds``). The settings of the best trial,
    the first among equals, then run with all seeds of the recipe.
    """

    space: Space = {}
    """Training arguments, and ``lora.r`` and other keys of ``lora``, for all models that have them:
    ``{log: [1e-5, 5e-3]}``, ``{uniform: [0, 0.3]}`` and ``{int: [2, 10]}`` are ranges, a list is
    choices. What a model's own ``training_arguments`` give is not tried for it. Spaces of a single
    model are under ``models``: ``tune: {config.C: {log: [0.01, 100]}}``."""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    """How settings are found: by the results of those before (``tpe``,
    https://arxiv.org/abs/2304.11127), at random, or all combinations of choices (``grid``). The
    first two need ``pip install 'hfbench[tune]'``."""
    trials: PositiveInt | None = None
    """The budget of each model, the same for all; a grid has as many as combinations."""
    train_seconds: Amount | None = None
    """In place of ``trials``, or beside them (what is reached first): a budget of training time.
    Results then depend on the machine."""
    flops: Amount | None = None
    """As ``train_seconds``: a budget of floating-point operations; controls have none."""
    seeds: PositiveInt = 1
    """Runs of a trial, whose mean counts. Their seeds are none of the recipe's."""
    pruner: Literal["median"] | None = None
    """``median``: a trial is ended after an evaluation during training where its best value so far
    is worse than the median of the trials that were finished before it, at the same epoch (the rule
    of Optuna's ``MedianPruner``). It is not chosen. The first trials run to the end."""
    folds: Annotated[int, Field(ge=2, le=100)] | None = None
    """Each trial runs so many times, each time on the train split without one part, on which it is
    measured. Default: on the validation split, or 5 where the table reports that."""

    @model_validator(mode="after")
    def _consistent(self) -> "Tune":
        if self.sampler == "grid" and self.budget:
            raise ValueError(f"{next(iter(self.budget))}: the sampler grid tries all combinations")
        if self.sampler != "grid" and not self.budget:
            raise ValueError("give a budget: trials, train_seconds or flops")
        if self.pruner and self.trials and self.trials <= self.first_round:
            raise ValueError(
                f"pruner: none of {self.trials} trials would be ended, since the first "
                f"{self.first_round} run to the end"
            )
        if of_one := [key for key in self.space if key.startswith("config.")]:
            raise ValueError(
                f"space: {of_one[0]} is a field of one architecture: give it as tune of that model"
            )
        return self

    @property
    def first_round(self) -> int:
        """Trials of a model before results of any have a part in the next."""
        return FIRST_ROUND if self.sampler == "tpe" else ROUND

    @property
    def budget(self) -> dict[str, float]:
        """Key -> how much of it each model has."""
        keys = ("trials", "train_seconds", "flops")
        return {key: getattr(self, key) for key in keys if getattr(self, key) is not None}


class Fold(Section):
    """One of several parts of the train split."""

    number: PositiveInt
    """From 1."""
    of: Annotated[int, Field(ge=2)]


def combinations(space: Mapping[str, Range | Choices]) -> int | None:
    """How many there are; None where one is a range."""
    number = 1
    for values in space.values():
        if isinstance(values, Range):
            return None
        number *= len(values.values)
    return number
