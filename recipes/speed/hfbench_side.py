"""hfbench as a user has it: a recipe in, a record out."""

import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import TrainerCallback, trainer

from hfbench import Recipe, compare, pretrain
from hfbench.records.schema import TrainedRecord
from speed.measure import Clock
from speed.work import Inputs, Work

SEED = 0


def train(work: Work, inputs: Inputs, clock: Clock) -> dict[str, Any]:
    """A recipe of one run; the details are those of its record."""
    record = train_and_record(work, inputs, clock, inputs.scratch())
    return {
        "record_train_seconds": record.training.train_seconds,
        "record_peak_memory_bytes": record.training.peak_memory_bytes,
    }


def train_and_record(work: Work, inputs: Inputs, clock: Clock, results: Path) -> TrainedRecord:
    """The same; all of its record, which is also in ``results``."""
    with carried_by_every_trainer(clock):
        return run(recipe(work, inputs), results)


def losses(work: Work, inputs: Inputs, weights: Path) -> list[float]:
    """Of each step, starting from the model in the folder ``weights``."""
    arguments = {"max_steps": work.loss_steps, "logging_steps": 1, "logging_strategy": "steps"}
    record = run(recipe(work, inputs, weights, **arguments), inputs.scratch())
    return [point["loss"] for point in record.curves["train"]]


def recipe(work: Work, inputs: Inputs, weights: Path | None = None, **arguments: Any) -> Recipe:
    """The recipe of one run of ``work``, from these weights or with new ones."""
    arguments = {**_training_arguments(work), **arguments}
    values: dict[str, Any] = {"name": "speed", "optimizer": "study", "seeds": [SEED]}
    model: dict[str, Any] = {"name": "gpt", "tokenizer": {"name_or_path": str(inputs.tokenizer)}}
    if weights:
        model["model_name_or_path"] = str(weights)
    elif work.encoder:
        config = {**work.encoder.shape, **work.dropouts}
        model |= {"model_type": work.encoder.model_type, "config": config}
    elif work.preset == "tiny-gpt2":
        model["model_name_or_path"] = str(inputs.checkpoint)
    else:
        config = {**work.dropouts, "tie_word_embeddings": work.tied}
        model |= {"preset": work.preset, "config": config}
    if work.kind == "classifier":
        values["task"] = {
            "data_files": {"train": inputs.train.name, "validation": inputs.validation.name},
            "validation_split": "validation",
        }
        values["training_arguments"] = arguments
    else:
        cut = {"cut": "blocks", "block_size": work.block_size} if work.block_size else {}
        model["pretrain"] = {
            "corpus": {
                "text_file": inputs.corpus.name,
                "cut": "rows",
                "train_share": work.train_share,
                **cut,
            },
            "seed": SEED,
            "training_arguments": arguments,
        }
    return Recipe.from_values({**values, "models": [model]}, inputs.folder)


def run(recipe: Recipe, results: Path) -> TrainedRecord:
    """The record of the recipe's only cell.

    Raises:
        RuntimeError: if it failed.
    """
    work = compare if recipe.task else pretrain
    with Path(os.devnull).open("w", encoding="utf-8") as nothing:
        outcome = work(recipe, results, console=Console(file=nothing))
    for failed in outcome.failed:
        raise RuntimeError(f"hfbench: {failed.failure.type}: {failed.failure.message}")
    (record,) = outcome.ran
    assert isinstance(record, TrainedRecord)
    return record


def _training_arguments(work: Work) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "max_steps": work.steps,
        "learning_rate": work.learning_rate,
        "per_device_train_batch_size": work.batch,
        "logging_strategy": "steps",
        "logging_steps": work.logging_steps,
        "eval_strategy": "no",
        "bf16": work.bf16,
        "torch_compile": work.compiled,
        "ddp_find_unused_parameters": False,  # the Trainer's default looks for them at each step
    }
    if work.save_checkpoint:
        save = {"save_strategy": "steps", "save_steps": work.steps // 2 + 1, "save_total_limit": 1}
        arguments |= save
    return arguments


@contextmanager
def carried_by_every_trainer(callback: TrainerCallback) -> Any:
    """A recipe names no callbacks, so this becomes one of the library's own for a while."""
    trainer.DEFAULT_CALLBACKS.append(callback)
    try:
        yield
    finally:
        trainer.DEFAULT_CALLBACKS.remove(callback)
