"""One cell of a comparison, from its settings to its record."""

import gc
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel, TrainerCallback

from hfbench.checkpoints import ExactResumption, claim, clear, step_of
from hfbench.data.tokenize import TokenizedData
from hfbench.environment import (
    device_name,
    environment_stamp,
    peak_memory,
    reset_peak_memory,
)
from hfbench.flops import count_flops, total_flops
from hfbench.metrics import bits_per_byte, classification_metrics
from hfbench.models.controls import build_control
from hfbench.models.load import (
    count_parameters,
    describe_config,
    hash_weights,
    load_causal_lm,
    load_classifier,
)
from hfbench.models.lora import merge_adapters
from hfbench.plan import Cell, plan_pretraining
from hfbench.probe import probe_model
from hfbench.progress import StepBar
from hfbench.publish.checkpoints import CheckpointPush
from hfbench.recipe import Recipe
from hfbench.record import Failure, ModelFacts, Record, TrainingFacts, save_record
from hfbench.seeds import Streams, derive_streams
from hfbench.selection import WeightSelection
from hfbench.trainer import (
    BenchTrainer,
    Curves,
    NonFiniteLossError,
    build_trainer,
    predict,
    training_arguments,
    training_curves,
)
from hfbench.workbench import Workbench
from hfbench.workload import threads_of, using_threads

# What a run may end in without a mistake of ours: it is recorded, and the comparison goes on.
_CELL_ERRORS = (ArithmeticError, RuntimeError, ValueError, OSError)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CellResult:
    """How a cell went."""

    record: Record
    unpublished: str | None = None
    """Why a pretrained model that was to be published was not."""


@dataclass(frozen=True)
class _Run:
    """What a cell gave: fields of its record, its predictions, and how to save its model."""

    fields: dict[str, Any]
    predictions: pa.Table | None = None
    save_model: Callable[[Path], None] | None = None


def run_cell(
    cell: Cell, bench: Workbench, folder: Path, bar: StepBar, push: CheckpointPush | None = None
) -> CellResult:
    """Train and evaluate; the weights, if they are kept, the predictions and the record last.

    In several processes each calls this, and the first one writes.

    Args:
        cell: what to run.
        bench: what it shares with others.
        folder: ``<results>/<recipe>``.
        bar: is moved step by step.
        push: publishes checkpoints of a pretraining.
    """
    with using_threads(threads_of(cell, bench)):
        record, run = _train_and_describe(cell, bench, folder, bar, push)
    problem = None
    if int(os.environ.get("RANK", "0")) == 0:
        is_kept = bench.recipe.save_models or cell.kind == "pretraining"
        keep(cell, folder, record, run.predictions, run.save_model if is_kept else None)
        if cell.kind == "pretraining" and record.status == "finished":
            clear(cell.run_folder(folder))
            problem = push.finish(cell.checkpoint(folder)) if push else None
    if torch.distributed.is_initialized():
        torch.distributed.barrier()  # the others read what the first process wrote
    del run
    _free_memory()
    return CellResult(record, problem)


def keep(
    cell: Cell,
    folder: Path,
    record: Record,
    predictions: pa.Table | None,
    save_model: Callable[[Path], None] | None,
) -> None:
    """Write what came of a cell to ``folder``, the record last."""
    if save_model:
        _replace_folder(cell.checkpoint(folder), save_model)
    save_record(record, folder / "records", predictions)


def _train_and_describe(
    cell: Cell, bench: Workbench, folder: Path, bar: StepBar, push: CheckpointPush | None
) -> tuple[Record, _Run]:
    started = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    start = time.perf_counter()
    try:
        if cell.model.control:
            run = _fit_control(cell, bench)
        elif cell.kind == "pretraining":
            run = _pretrain(cell, bench, folder, bar, push)
        else:
            run = _train_classifier(cell, bench, folder, bar)
        status, failure = "finished", None
    except _CELL_ERRORS as error:
        logger.debug("cell %s failed", cell.stem, exc_info=True)
        run, status = _Run({}), "failed"
        step = error.step if isinstance(error, NonFiniteLossError) else None
        failure = Failure(type=type(error).__name__, message=str(error), step=step)
    record = Record(
        kind=cell.kind,
        status=status,
        failure=failure,
        recipe=bench.recipe.name,
        model=cell.model.name,
        seed=cell.seed,
        train_size=cell.train_size,
        cell_id=cell.id,
        settings=cell.settings,
        started=started,
        environment=environment_stamp(),
        cell_seconds=time.perf_counter() - start,
        predictions=f"{cell.stem}.parquet" if run.predictions is not None else None,
        **run.fields,
    )
    return record, run


def _pretrain(
    cell: Cell, bench: Workbench, folder: Path, bar: StepBar, push: CheckpointPush | None
) -> _Run:
    """Train a language model; every seed of its model starts from the weights it leaves.

    It goes on from the newest checkpoint of the same cell and corpus, if there is one.
    """
    assert cell.model.pretrain is not None
    prepared = bench.prepared[cell.model.name]
    streams = derive_streams(cell.model.pretrain.seed)
    data, corpus = bench.tokenized_corpus(cell.model), bench.corpus(cell.model).facts
    model = load_causal_lm(prepared, streams.init)
    selection = WeightSelection("last")
    trainer = _build(model, cell, bench, data, streams, folder, [bar, selection])
    trainer.add_callback(ExactResumption(trainer))
    if push:
        push.say = bar.say
        trainer.add_callback(push)
    checkpoint = claim(trainer, f"{cell.id} {corpus.content_hash}")
    if checkpoint:
        bar.say(f"{cell.stem}: resumes from its checkpoint of step {step_of(checkpoint)}")
    facts, curves = _train(trainer, data, streams, selection, checkpoint)
    metrics = {
        name.removeprefix("eval_"): value
        for name, value in trainer.evaluate().items()
        if name in ("eval_loss", "eval_perplexity")
    }
    if num_bytes := bench.predicted_bytes(cell.model):
        predicted = int((data.lengths("validation") - 1).sum())  # but the first of each example
        metrics["bits_per_byte"] = bits_per_byte(metrics["loss"], predicted, num_bytes)
    fields = {
        "corpus": corpus,
        "model_facts": _model_facts(model, cell, bench, prepared.max_length),
        "training": facts,
        "curves": curves,
        "metrics": {"validation": metrics},
    }
    return _Run(fields, save_model=lambda path: _save_model(trainer, path))


def _train_classifier(cell: Cell, bench: Workbench, folder: Path, bar: StepBar) -> _Run:
    assert cell.seed is not None
    prepared, task = bench.prepared[cell.model.name], bench.task_of(cell)
    streams = derive_streams(cell.seed)
    data = bench.tokenized_task(cell)
    start = _pretrained_weights(cell, bench.recipe, folder)
    lora = cell.model.lora
    model = load_classifier(prepared, task.facts.labels, streams.init, start, lora)
    selection = WeightSelection(bench.recipe.selection)
    trainer = _build(model, cell, bench, data, streams, folder, [bar, selection])
    facts, curves = _train(trainer, data, streams, selection)
    # before predicting: the model that is evaluated is the model that is kept, to the last bit
    trainable = merge_adapters(model) if lora else None
    evaluated = [split for split in data.splits if split != "train"]
    logits = {split: predict(trainer, data.splits[split]) for split in evaluated}
    max_length = bench.max_length(cell.model)
    kept = bench.recipe.save_models
    fields = {
        "task": task.facts,
        "corpus_overlap": bench.corpus_overlap(cell.model),
        "model_facts": _model_facts(model, cell, bench, max_length, trainable),
        "training": facts,
        "curves": curves,
        "metrics": _metrics(logits, bench),
        "probe": probe_model(model, prepared.tokenizer, max_length) if kept else None,
    }
    return _Run(fields, _predictions(logits, bench), lambda path: _save_model(trainer, path))


def _fit_control(cell: Cell, bench: Workbench) -> _Run:
    assert cell.model.control is not None
    task = bench.task_of(cell)
    texts = {
        # a pair of texts is one text to a bag of words
        split: [" ".join(map(str, pair)) for pair in zip(*_text_columns(data), strict=True)]
        for split, data in task.splits.items()
    }
    control = build_control(cell.model.control)
    started = time.perf_counter()
    labels = np.array(task.splits["train"]["label"])
    control.fit(texts["train"], labels, len(task.facts.labels))
    seconds = time.perf_counter() - started
    logits = {
        split: control.logits(texts[split]).astype(np.float32)
        for split in texts
        if split != "train"
    }
    facts = ModelFacts(
        source=cell.model.control,
        revision=None,
        weights_hash=None,
        class_name=type(control).__name__,
        parameters=control.parameter_count(),
        embedding_parameters=None,
        config={},
        vocab_size=None,
        max_length=None,
    )
    fields = {
        "task": task.facts,
        "model_facts": facts,
        "fit_seconds": seconds,
        "metrics": _metrics(logits, bench),
    }
    return _Run(fields, _predictions(logits, bench))


def _pretrained_weights(cell: Cell, recipe: Recipe, folder: Path) -> Path | None:
    """The folder of the weights to start from; None for a model that is not pretrained here."""
    if cell.model.pretrain is None:
        return None
    source = next(c for c in plan_pretraining(recipe) if c.model.name == cell.model.name)
    if not source.is_finished(folder):
        raise RuntimeError(f"its pretraining failed: see the record of {source.stem}")
    return source.checkpoint(folder)


def _build(
    model: PreTrainedModel,
    cell: Cell,
    bench: Workbench,
    data: TokenizedData,
    streams: Streams,
    folder: Path,
    callbacks: list[TrainerCallback],
) -> BenchTrainer:
    key = f"models.{cell.model.name}.training_arguments"
    args = training_arguments(cell.training_arguments, streams, cell.run_folder(folder), key)
    tokenizer = bench.prepared[cell.model.name].tokenizer
    return build_trainer(
        cell.kind,
        model,
        tokenizer,
        data,
        args,
        cell.optimizer,
        streams,
        callbacks,
        cuda_graphs=bench.recipe.cuda_graphs,
    )


def _train(
    trainer: BenchTrainer,
    data: TokenizedData,
    streams: Streams,
    selection: WeightSelection,
    checkpoint: Path | None = None,
) -> tuple[TrainingFacts, Curves]:
    args, lengths = trainer.args, data.lengths("train")
    # before training, which wraps the model
    flops = count_flops(trainer.model, trainer.kind, int(lengths.max()))
    reset_peak_memory(args.device)
    result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    evaluation = sum(entry.get("eval_runtime", 0.0) for entry in trainer.state.log_history)
    peak, peak_of = peak_memory(args.device)
    steps = trainer.state.global_step
    selected_step = selection.load_into(trainer.model, steps)
    seen = lengths[trainer.sampler.rows_seen(steps)]
    # where files lie, and what concerns publishing, is no part of how a model was trained
    private = ("output_dir", "run_name", "hub_", "push_to_hub", "logging_dir")
    arguments = {k: v for k, v in args.to_dict().items() if not k.startswith(private)}
    facts = TrainingFacts(
        arguments=arguments,
        optimizer=trainer.optimizer_name,
        streams=asdict(streams),
        world_size=args.world_size,
        batch=trainer.batch,
        steps=steps,
        selection=selection.selection,
        selected_step=selected_step,
        examples_seen=len(seen),
        tokens_seen=int(seen.sum()),
        tokens=data.tokens,
        flops=total_flops(flops, seen),
        device=device_name(args.device),
        cuda_graphs=trainer.replays,
        train_seconds=trainer.seconds_before + result.metrics["train_runtime"] - evaluation,
        peak_memory_bytes=peak,
        peak_memory_of=peak_of,
    )
    return facts, training_curves(trainer)


def _model_facts(
    model: PreTrainedModel,
    cell: Cell,
    bench: Workbench,
    max_length: int,
    trainable_parameters: int | None = None,
) -> ModelFacts:
    prepared = bench.prepared[cell.model.name]
    parameters, embedding_parameters = count_parameters(model)
    return ModelFacts(
        source=cell.model.source,
        revision=prepared.revision,
        weights_hash=hash_weights(cell.model.model_name_or_path),
        class_name=type(model).__name__,
        parameters=parameters,
        embedding_parameters=embedding_parameters,
        trainable_parameters=trainable_parameters,
        config=describe_config(model.config),
        vocab_size=len(prepared.tokenizer),
        max_length=max_length,
    )


def _metrics(logits: dict[str, np.ndarray], bench: Workbench) -> dict[str, dict[str, float]]:
    return {
        split: classification_metrics(values, np.array(bench.task.splits[split]["label"]))
        for split, values in logits.items()
    }


def _predictions(logits: dict[str, np.ndarray], bench: Workbench) -> pa.Table:
    """Columns split, id, label, logits; no texts, which may not be ours to copy."""
    tables = []
    for split, values in logits.items():
        data = bench.task.splits[split]
        columns = {
            "split": [split] * len(data),
            "id": list(data["id"]),
            "label": pa.array(list(data["label"]), pa.int64()),
            "logits": pa.array(list(values), pa.list_(pa.float32())),
        }
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)


def _text_columns(data: Any) -> list[list[str]]:
    return [list(data[name]) for name in ("text", "text_pair") if name in data.column_names]


def _save_model(trainer: BenchTrainer, path: Path) -> None:
    """Weights as safetensors, configuration, tokenizer; not the pickled training arguments."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if "use_cache" in model.config.to_dict():
        model.config.use_cache = True  # the Trainer turned it off for training
    model.save_pretrained(path)
    trainer.processing_class.save_pretrained(path)


def _replace_folder(path: Path, write: Callable[[Path], None]) -> None:
    """``path`` holds all that ``write`` wrote, or is as before."""
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    write(temporary)
    shutil.rmtree(path, ignore_errors=True)
    temporary.rename(path)


def _free_memory() -> None:
    """A Trainer and its model hold each other; without this, models of past cells pile up."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
