"""The cells of a comparison: what has to run, and what each cell's settings are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfbench.recipe import OPTIMIZER_ARGUMENTS, Model, Optimizer, Pretrain, Recipe
from hfbench.record import Kind, Record, cell_id, cell_stem, load_record

# Where a recipe leaves them open: curves of a useful length, whatever the length of training.
_CLASSIFICATION_ARGUMENTS: dict[str, Any] = {"eval_strategy": "epoch", "logging_strategy": "epoch"}
_PRETRAINING_ARGUMENTS: dict[str, Any] = {
    "eval_strategy": "steps",
    "eval_steps": 0.1,
    "logging_steps": 0.02,
    "logging_first_step": True,
}


@dataclass(frozen=True)
class Cell:
    """One run: a model with a seed, or a model's pretraining."""

    kind: Kind
    model: Model
    """With everything that the recipe says for all models written out."""
    seed: int | None
    """None where nothing is random: a control."""
    settings: dict[str, Any]
    """A recipe with this one model and seed, without its name: what decides the result."""

    @property
    def id(self) -> str:
        """The same for the same settings."""
        return cell_id(self.settings)

    @property
    def stem(self) -> str:
        """File name of its record, without the ending."""
        return cell_stem(self.kind, self.model.name, self.seed)

    @property
    def optimizer(self) -> Optimizer:
        """Which parameters decay."""
        optimizer = (
            _pretrain(self).optimizer if self.kind == "pretraining" else self.model.optimizer
        )
        assert optimizer is not None
        return optimizer

    @property
    def training_arguments(self) -> dict[str, Any]:
        """TrainingArguments by name: hfbench's choices, the optimizer's, the recipe's."""
        if self.kind == "pretraining":
            own, defaults = _pretrain(self).training_arguments, _PRETRAINING_ARGUMENTS
        else:
            own, defaults = self.model.training_arguments, _CLASSIFICATION_ARGUMENTS
        return {**defaults, **OPTIMIZER_ARGUMENTS[self.optimizer], **own}

    def checkpoint(self, folder: Path) -> Path:
        """Where its weights are, if they are kept."""
        return folder / "models" / self.stem

    def recorded(self, folder: Path) -> Record | None:
        """The record that stands under this cell's name."""
        path = folder / "records" / f"{self.stem}.json"
        return load_record(path) if path.exists() else None

    def is_finished(self, folder: Path) -> bool:
        """Whether that record is of these settings and has a result."""
        record = self.recorded(folder)
        return record is not None and record.status == "finished" and record.cell_id == self.id


def plan_pretraining(recipe: Recipe) -> list[Cell]:
    """One cell for each model that is to be pretrained."""
    cells = []
    for entry in recipe.models:
        if entry.pretrain is None:
            continue
        # how the model is fine-tuned later has no part in it
        changes: dict[str, Any] = {"training_arguments": {}, "optimizer": None}
        model = _write_out(entry, recipe).model_copy(update=changes)
        cells.append(Cell("pretraining", model, None, _settings(recipe, model, None)))
    return cells


def plan_classification(recipe: Recipe) -> list[Cell]:
    """Each model with each seed; a control once, since nothing in it is random."""
    if recipe.task is None:
        return []
    cells = []
    for entry in recipe.models:
        model = _write_out(entry, recipe)
        seeds: list[int | None] = [None] if entry.control else [*recipe.seeds]
        cells += [
            Cell("classification", model, seed, _settings(recipe, model, seed)) for seed in seeds
        ]
    return cells


def _write_out(entry: Model, recipe: Recipe) -> Model:
    """The model's entry with the recipe's values where it has none of its own."""
    if entry.control:
        return entry
    brings_tokenizer = entry.model_name_or_path is not None
    pretrain = entry.pretrain
    if pretrain:
        changes = {"optimizer": pretrain.optimizer or recipe.optimizer}
        pretrain = pretrain.model_copy(update=changes)
    return entry.model_copy(
        update={
            "tokenizer": entry.tokenizer or (None if brings_tokenizer else recipe.tokenizer),
            "optimizer": entry.optimizer or recipe.optimizer,
            "pretrain": pretrain,
            "training_arguments": {**recipe.training_arguments, **entry.training_arguments},
        }
    )


def _settings(recipe: Recipe, model: Model, seed: int | None) -> dict[str, Any]:
    settings: dict[str, Any] = {"models": [model.model_dump(mode="json", exclude_none=True)]}
    if recipe.task:
        settings["task"] = recipe.task.model_dump(mode="json", exclude_none=True)
    if seed is not None:
        settings["seeds"] = [seed]
    return settings


def _pretrain(cell: Cell) -> Pretrain:
    assert cell.model.pretrain is not None
    return cell.model.pretrain


def open_cells(
    recipe: Recipe, folder: Path, *, rerun: bool = False, only_pretraining: bool = False
) -> list[Cell]:
    """The cells that have to run, pretraining first: those without a finished record.

    Pretraining also runs again where its weights are gone and a cell needs them.
    """
    classification = []
    if not only_pretraining:
        cells = plan_classification(recipe)
        classification = [cell for cell in cells if rerun or not cell.is_finished(folder)]
    needed = {cell.model.name for cell in classification}
    pretraining = [
        cell
        for cell in plan_pretraining(recipe)
        if (only_pretraining or cell.model.name in needed)
        and (rerun or not cell.is_finished(folder) or not cell.checkpoint(folder).is_dir())
    ]
    return pretraining + classification
