"""The cells of a comparison: what has to run, and what each cell's settings are."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfbench.errors import UserError
from hfbench.recipe.arguments import OPTIMIZER_ARGUMENTS, PUBLISHING_ARGUMENTS, Optimizer
from hfbench.recipe.model import Model, Pretrain
from hfbench.recipe.schema import Recipe
from hfbench.recipe.types import Head, Kind, cell_stem

# Where a recipe leaves them open: curves of a useful length, whatever the length of training.
_CLASSIFICATION_ARGUMENTS: dict[str, Any] = {"eval_strategy": "epoch", "logging_strategy": "epoch"}
_PRETRAINING_ARGUMENTS: dict[str, Any] = {
    "eval_strategy": "steps",
    "eval_steps": 0.1,
    "logging_steps": 0.02,
    "logging_first_step": True,
    "save_total_limit": 2,  # the newest, and the one before, should the newest be damaged
}


@dataclass(frozen=True)
class Cell:
    """One run: a model with a seed, or a model's pretraining."""

    kind: Kind
    model: Model
    """With everything that the recipe says for all models written out."""
    seed: int | None
    """None where nothing is random (`Model.is_random`), as in most that is not trained, and of a
    pretraining that is the only one of its model."""
    train_size: int | None
    """Training examples of a learning curve's point; None: the whole train split."""
    settings: dict[str, Any]
    """A recipe with this one model, size and seed, without its name."""
    task: str | None = None
    """Name of its task, where the recipe has several."""
    fold: int | None = None
    """Of a cross-validation which it evaluates, from 1, see `recipe.folds`."""

    @property
    def name(self) -> str:
        """Of the cell among all of a recipe: its ``stem``, after its task if there are several."""
        return f"{self.task}/{self.stem}" if self.task else self.stem

    @property
    def stem(self) -> str:
        """File name of its record, without the ending."""
        return cell_stem(self.kind, self.model.name, self.train_size, self.seed, self.fold)

    @property
    def is_compared(self) -> bool:
        """Whether it is a row of the table with one seed, and not what rows start from."""
        return self.kind != "pretraining"

    @property
    def can_be_refused(self) -> bool:
        """Whether what it needs may not be had or not fit, as a checkpoint or a file of answers."""
        return self.model.control is None

    @property
    def subset(self) -> tuple[int, int] | None:
        """Seed and size of its part of the train split; None: all of it."""
        if self.train_size is None:
            return None
        assert self.seed is not None  # a subset is drawn
        return self.seed, self.train_size

    @property
    def head(self) -> Head | None:
        """Of the network that it trains; None where it trains none."""
        heads: dict[Kind, Head] = {"classification": "classifier", "pretraining": "language model"}
        return heads.get(self.kind)

    @property
    def has_network(self) -> bool:
        """Whether it needs a network, to be trained or not."""
        return self.kind == "pretraining" or self.model.has_network

    @property
    def pretraining(self) -> Pretrain:
        """Of its model, which has one."""
        assert self.model.pretrain is not None
        return self.model.pretrain

    @property
    def pretraining_seed(self) -> int:
        """Of the pretraining that it is, or starts from."""
        (seed,) = self.pretraining.all_seeds
        return seed

    @property
    def optimizer(self) -> Optimizer:
        """Which parameters decay."""
        optimizer = (
            self.pretraining.optimizer if self.kind == "pretraining" else self.model.optimizer
        )
        assert optimizer is not None
        return optimizer

    @property
    def training_arguments(self) -> dict[str, Any]:
        """TrainingArguments by name: hfbench's choices, the optimizer's, the recipe's."""
        if self.head is None:  # where it runs, and nothing of a training
            return self.model.training_arguments
        if self.kind == "pretraining":
            own, defaults = self.pretraining.training_arguments, _PRETRAINING_ARGUMENTS
        else:
            own, defaults = self.model.training_arguments, _CLASSIFICATION_ARGUMENTS
        own = {name: value for name, value in own.items() if name not in PUBLISHING_ARGUMENTS}
        return {**defaults, **OPTIMIZER_ARGUMENTS[self.optimizer], **own}

    @property
    def publishing(self) -> dict[str, Any]:
        """The arguments by which a pretraining publishes its checkpoints; empty if it does not."""
        own = self.pretraining.training_arguments if self.kind == "pretraining" else {}
        found = {n: v for n, v in own.items() if n in PUBLISHING_ARGUMENTS and own["push_to_hub"]}
        if found and self.seed is not None:  # of several each has a repo of its own
            found["hub_model_id"] += f"-seed{self.seed}"
        return found


def plan_pretraining(recipe: Recipe) -> list[Cell]:
    """One cell for each pretraining of each model; of several tasks, for each of them."""
    if recipe.has_parts:
        return [cell for one in recipe.by_task for cell in plan_pretraining(one)]
    cells = []
    for entry in recipe.models:
        if entry.pretrain is None:
            continue
        # what becomes of the model later has no part in it
        none = dict.fromkeys(("optimizer", "lora", "probe", "prompt"))
        changes: dict[str, Any] = {"training_arguments": {}, "tuned": {}, "hurdles": {}, **none}
        model = _write_out(entry, recipe).model_copy(update=changes)
        assert model.pretrain is not None
        several = model.pretrain.seeds
        for seed in [None] if several is None else several:
            one = model
            if seed is not None:
                one = model.model_copy(update={"pretrain": model.pretrain.only(seed)})
            settings = _settings(recipe.by_fold[0], one)  # the same in every fold
            cells.append(Cell("pretraining", one, seed, None, settings, recipe.task_name))
    return cells


def pretraining_of(cell: Cell, recipe: Recipe) -> Cell:
    """The pretraining from whose weights ``cell`` starts; its model has one."""
    return next(
        other
        for other in plan_pretraining(recipe)
        if other.model.name == cell.model.name and other.pretraining_seed == cell.pretraining_seed
    )


def plan_comparison(recipe: Recipe) -> list[Cell]:
    """Each model of the table with each train size, seed and fold.

    What is not random on the whole train split, as a control, runs once; a subset is random. Where
    there are several tasks, these are of one after the other.
    """
    if recipe.has_parts:
        return [cell for one in recipe.by_task for cell in plan_comparison(one)]
    if recipe.task is None:
        return []
    cells = []
    sizes: list[int | None] = [*recipe.train_sizes] or [None]
    for entry in recipe.models:
        model = _write_out(entry, recipe)
        is_random = recipe.train_sizes or entry.is_random
        own = entry.predictions.seeds if entry.predictions else None
        seeds: list[int | None] = [*(own or recipe.seeds)] if is_random else [None]
        cells += [
            _compared_cell(one, _of_run(model, seed), size, seed)
            for size in sizes
            for seed in seeds
            for one in recipe.by_fold
        ]
    return cells


def _compared_cell(recipe: Recipe, model: Model, train_size: int | None, seed: int | None) -> Cell:
    settings = _settings(recipe, model)
    if seed is not None:
        settings["seeds"] = [seed]
    if train_size is not None:
        settings["train_sizes"] = [train_size]
    if model.is_trained:
        settings["selection"] = recipe.selection
        own = {"loss": recipe.loss, "callbacks": recipe.callbacks}
        settings |= {key: value for key, value in own.items() if value}
        if recipe.early_stopping:
            settings["early_stopping"] = recipe.early_stopping.model_dump(mode="json")
    folds = recipe.task and recipe.task.folds
    fold = folds.only if folds else None
    return Cell(model.kind, model, seed, train_size, settings, recipe.task_name, fold)


def brings_tokenizer(model_name_or_path: str) -> bool:
    """Whether a checkpoint has a tokenizer: a folder by its files; one of the Hub is taken to."""
    folder = Path(model_name_or_path)
    if not folder.is_dir():
        return True
    beginnings, endings = ("tokenizer", "tokenization", "vocab", "merges"), {".model", ".tiktoken"}
    return any(
        path.name.startswith(beginnings) or path.suffix in endings for path in folder.iterdir()
    )


def _write_out(entry: Model, recipe: Recipe) -> Model:
    """The model's entry with the recipe's values where it has none of its own."""
    if not entry.has_network:
        return entry
    name = entry.model_name_or_path
    brings_one = name is not None and brings_tokenizer(name)
    pretrain = entry.pretrain
    if pretrain:
        changes: dict[str, Any] = {"optimizer": pretrain.optimizer or recipe.optimizer}
        if pretrain.seeds is None:
            (changes["seed"],) = pretrain.all_seeds
        pretrain = pretrain.model_copy(update=changes)
    optimizer, arguments = recipe.optimizer, recipe.training_arguments
    if not entry.is_trained:  # the recipe's are for those that are, but for where all run
        arguments = {name: value for name, value in arguments.items() if name == "use_cpu"}
    return entry.model_copy(
        update={
            "tokenizer": entry.tokenizer or (None if brings_one else recipe.tokenizer),
            "optimizer": (entry.optimizer or optimizer) if entry.is_trained else None,
            "pretrain": pretrain,
            "training_arguments": {**arguments, **entry.training_arguments},
        }
    )


def _of_run(model: Model, seed: int | None) -> Model:
    """With the one pretraining that a run starts from, where there are several."""
    if model.pretrain is None or seed is None:
        return model
    return model.model_copy(update={"pretrain": model.pretrain.of_run(seed)})


def _settings(recipe: Recipe, model: Model) -> dict[str, Any]:
    entry = model.model_dump(mode="json", exclude_none=True)
    for name in PUBLISHING_ARGUMENTS:  # where checkpoints go has no part in what comes out
        entry.get("pretrain", {}).get("training_arguments", {}).pop(name, None)
    entry.get("predictions", {}).pop("seeds", None)  # the recipe's own says which one
    del entry["tune"]  # a cell has its settings
    for name in ("tasks", "tuned", "hurdles"):
        if not entry[name]:
            del entry[name]
    settings: dict[str, Any] = {"models": [entry]}
    if recipe.imports:
        settings["imports"] = recipe.imports
    if recipe.task:
        settings["task"] = recipe.task.model_dump(mode="json", exclude_none=True)
    return settings


@dataclass(frozen=True)
class Shard:
    """One of several parts of a comparison, which may run on machines of their own."""

    number: int
    """From 1 to ``count``."""
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """``"2/4"``: the second of four.

        Raises:
            UserError: if it is not written so, or if there is no such part.
        """
        if not re.fullmatch(r"\d+/\d+", text):
            raise UserError(f"--shard: {text!r} is not written as I/N, for instance 2/4")
        number, count = map(int, text.split("/"))
        if not 1 <= number <= count:
            raise UserError(f"--shard: {text} is none of 1/{count} to {count}/{count}")
        return cls(number, count)

    def of(self, cells: list[Cell]) -> list[Cell]:
        """Every ``count``-th cell, so that each part has its share of each model."""
        return cells[self.number - 1 :: self.count]

    def after(self, cells: int) -> "Shard":
        """The same part of what follows on so many cells."""
        return Shard((self.number - 1 - cells) % self.count + 1, self.count)
