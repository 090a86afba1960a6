"""What a cell does, by its kind: pretrain a language model, train a classifier, fit a control."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor
from transformers import PreTrainedModel, TrainerCallback

from hfbench.data.tokens import TokenizedData
from hfbench.execution.inputs import Workbench
from hfbench.metrics.scores import bits_per_byte, classification_metrics
from hfbench.models.controls import build_control
from hfbench.models.facts import count_parameters, describe_config, hash_weights
from hfbench.models.flops import total_flops
from hfbench.models.load import load_causal_lm, load_classifier
from hfbench.models.lora import merge_adapters
from hfbench.models.probe import probe_model
from hfbench.publish.checkpoint_push import CheckpointPush
from hfbench.recipe.cells import Cell, pretraining_of
from hfbench.records.schema import Curves, ModelFacts, TrainingFacts
from hfbench.system.environment import device_names, peak_memory, reset_peak_memory
from hfbench.system.hashes import hash_tensors
from hfbench.system.interruption import until_saved
from hfbench.training.arguments import training_arguments
from hfbench.training.build import build_trainer
from hfbench.training.checkpoints import ExactResumption, claim
from hfbench.training.curves import training_curves
from hfbench.training.limits import TimeLimit, divide_batch
from hfbench.training.progress import StepBar
from hfbench.training.seeds import Streams, derive_streams
from hfbench.training.selection import WeightSelection
from hfbench.training.stopping import SaveBeforeLeaving
from hfbench.training.trainer import FairTrainer, predict


@dataclass(frozen=True)
class Run:
    """What a cell gave: fields of its record, its predictions, and how to save its model."""

    fields: dict[str, Any]
    predictions: pa.Table | None = None
    save_model: Callable[[Path], None] | None = None


def pretrain(
    cell: Cell,
    bench: Workbench,
    folder: Path,
    bar: StepBar,
    limit: TimeLimit,
    push: CheckpointPush | None,
    parts: int,
) -> Run:
    """Train a language model; every seed of its model starts from the weights it leaves.

    It goes on from the newest checkpoint of the same cell, if there is one. For the arguments see
    `cells.run_cell` and `limits`.
    """
    assert cell.model.pretrain is not None
    prepared = bench.prepared[cell.model.name]
    streams = derive_streams(cell.model.pretrain.seed)
    data = bench.tokenized_corpus(cell.model)
    model = load_causal_lm(prepared, streams.init)
    selection = WeightSelection("last")
    trainer = _build(model, cell, bench, data, streams, folder, parts, [bar, limit, selection])
    if trainer.args.world_size == 1:  # others could not agree on the step after which they leave
        trainer.add_callback(SaveBeforeLeaving())
    trainer.add_callback(ExactResumption(trainer))
    if push:
        push.say = bar.say
        trainer.add_callback(push)
    checkpoint = claim(trainer, bench.cell_id(cell), lambda text: bar.say(f"{cell.stem}: {text}"))
    with until_saved() if trainer.args.world_size == 1 else nullcontext():
        facts, curves = _train(trainer, cell, bench, data, streams, selection, parts, checkpoint)
    metrics = {
        name.removeprefix("eval_"): value
        for name, value in trainer.evaluate().items()
        if name in ("eval_loss", "eval_perplexity")
    }
    if num_bytes := bench.predicted_bytes(cell.model):
        predicted = int((data.lengths("validation") - 1).sum())  # but the first of each example
        metrics["bits_per_byte"] = bits_per_byte(metrics["loss"], predicted, num_bytes)
    weights = trainer.weights()
    fields = {
        "corpus": bench.corpus(cell.model).facts,
        "model_facts": _model_facts(trainer, weights, cell, bench, prepared.max_length),
        "training": facts,
        "curves": curves,
        "metrics": {"validation": metrics},
    }
    return Run(fields, save_model=lambda path: _save_model(trainer, weights, path))


def train_classifier(
    cell: Cell, bench: Workbench, folder: Path, bar: StepBar, limit: TimeLimit, parts: int
) -> Run:
    """Train on the task, and predict its other splits; see `pretrain`."""
    assert cell.seed is not None
    prepared, task = bench.prepared[cell.model.name], bench.task_of(cell)
    streams = derive_streams(cell.seed)
    data = bench.tokenized_task(cell)
    start = _pretrained_weights(cell, bench, folder)
    lora = cell.model.lora
    model = load_classifier(prepared, task.facts.labels, streams.init, start, lora)
    selection = WeightSelection(bench.recipe.selection)
    trainer = _build(model, cell, bench, data, streams, folder, parts, [bar, limit, selection])
    facts, curves = _train(trainer, cell, bench, data, streams, selection, parts)
    # before predicting: the model that is evaluated is the model that is kept, to the last bit
    trainable = merge_adapters(model) if lora else None
    evaluated = [split for split in data.splits if split != "train"]
    logits = {split: predict(trainer, data.splits[split]) for split in evaluated}
    max_length = bench.max_length(cell.model)
    kept = bench.recipe.save_models
    weights = trainer.weights()
    fields = {
        "task": task.facts,
        "corpus_overlap": bench.corpus_overlap(cell.model),
        "model_facts": _model_facts(trainer, weights, cell, bench, max_length, trainable),
        "training": facts,
        "curves": curves,
        "metrics": _metrics(logits, bench),
        "probe": probe_model(model, prepared.tokenizer, max_length) if kept else None,
    }
    predictions = _predictions(logits, bench)
    return Run(fields, predictions, lambda path: _save_model(trainer, weights, path))


def fit_control(cell: Cell, bench: Workbench) -> Run:
    """Fit what is no neural network, and predict the same splits."""
    assert cell.model.control is not None
    task = bench.task_of(cell)
    texts = {
        # a pair of texts is one text to a bag of words
        split: [" ".join(map(str, pair)) for pair in zip(*_text_columns(data), strict=True)]
        for split, data in task.splits.items()
    }
    control = build_control(cell.model.control)
    started = time.perf_counter()
    labels = np.array(task.splits["train"]["label"][:])
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
    return Run(fields, _predictions(logits, bench))


def _pretrained_weights(cell: Cell, bench: Workbench, folder: Path) -> Path | None:
    """The folder of the weights to start from; None for a model that is not pretrained here."""
    if cell.model.pretrain is None:
        return None
    source = pretraining_of(cell, bench.recipe)
    record = source.recorded(folder)
    if not (record and record.status == "finished" and record.cell_id == bench.cell_id(source)):
        raise RuntimeError(f"its pretraining failed: see the record of {source.stem}")
    return source.checkpoint(folder)


def _build(
    model: PreTrainedModel,
    cell: Cell,
    bench: Workbench,
    data: TokenizedData,
    streams: Streams,
    folder: Path,
    parts: int,
    callbacks: list[TrainerCallback],
) -> FairTrainer:
    key = f"models.{cell.model.name}.training_arguments"
    run_folder = cell.run_folder(folder)
    if parts > 1:  # another way of training: its checkpoints are others
        run_folder /= f"in-{parts}-parts"
    args = training_arguments(cell.training_arguments, streams, run_folder, key)
    divide_batch(args, parts)
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
    trainer: FairTrainer,
    cell: Cell,
    bench: Workbench,
    data: TokenizedData,
    streams: Streams,
    selection: WeightSelection,
    parts: int,
    checkpoint: Path | None = None,
) -> tuple[TrainingFacts, Curves]:
    args, lengths = trainer.args, data.lengths("train")
    # before training, which wraps the model
    flops = bench.flops(cell, trainer.model, int(lengths.max()))
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
        device=device_names(args.device),
        batch_parts=parts,
        cuda_graphs=trainer.replays,
        train_seconds=trainer.seconds_before + result.metrics["train_runtime"] - evaluation,
        peak_memory_bytes=peak,
        peak_memory_of=peak_of,
    )
    return facts, training_curves(trainer)


def _model_facts(
    trainer: FairTrainer,
    weights: dict[str, Tensor],
    cell: Cell,
    bench: Workbench,
    max_length: int,
    trainable_parameters: int | None = None,
) -> ModelFacts:
    prepared = bench.prepared[cell.model.name]
    model = trainer.accelerator.unwrap_model(trainer.model)
    parameters, embedding_parameters = count_parameters(model)
    return ModelFacts(
        source=cell.model.source,
        revision=prepared.revision,
        weights_hash=hash_weights(cell.model.model_name_or_path),
        final_weights=hash_tensors(weights),
        class_name=type(model).__name__.removeprefix("FSDP"),
        parameters=parameters,
        embedding_parameters=embedding_parameters,
        trainable_parameters=trainable_parameters,
        config=describe_config(model.config),
        vocab_size=len(prepared.tokenizer),
        max_length=max_length,
    )


def _metrics(logits: dict[str, np.ndarray], bench: Workbench) -> dict[str, dict[str, float]]:
    return {
        split: classification_metrics(values, np.array(bench.task.splits[split]["label"][:]))
        for split, values in logits.items()
    }


def _predictions(logits: dict[str, np.ndarray], bench: Workbench) -> pa.Table:
    """Columns split, id, label, logits; no texts, which may not be ours to copy."""
    tables = []
    for split, values in logits.items():
        data = bench.task.splits[split]
        columns = {
            "split": [split] * len(data),
            "id": data["id"][:],
            "label": pa.array(data["label"][:], pa.int64()),
            "logits": pa.array(list(values), pa.list_(pa.float32())),
        }
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)


def _text_columns(data: Any) -> list[list[str]]:
    return [data[name][:] for name in ("text", "text_pair") if name in data.column_names]


def _save_model(trainer: FairTrainer, weights: dict[str, Tensor], path: Path) -> None:
    """Weights as safetensors, configuration, tokenizer; not the pickled training arguments."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if "use_cache" in model.config.to_dict():
        model.config.use_cache = True  # the Trainer turned it off for training
    model.save_pretrained(path, state_dict=weights)
    trainer.processing_class.save_pretrained(path)
