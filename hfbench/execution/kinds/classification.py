"""A classifier is trained on the task."""

from functools import partial
from typing import Any

from hfbench.execution.inputs import Inputs
from hfbench.execution.kinds.facts import (
    compared_outcome,
    describe_network,
    describe_task,
    measure,
    tabulate,
)
from hfbench.execution.kinds.run import Run, Surroundings
from hfbench.execution.kinds.start import (
    describe_start,
    describe_truncation,
    weights_to_start_from,
)
from hfbench.execution.kinds.train import Training, in_parts_that_fit, save_model
from hfbench.execution.use import is_measured, measure_network
from hfbench.models.imports import hash_module
from hfbench.models.load import load_classifier
from hfbench.models.lora import merge_adapters
from hfbench.models.probe import probe_model
from hfbench.recipe.arguments import deciding_arguments
from hfbench.recipe.cells import Cell
from hfbench.records.schema import ClassificationRecord
from hfbench.system.launch import is_main_process
from hfbench.training.limits import TimeLimit
from hfbench.training.seeds import derive_streams
from hfbench.training.selection import WeightSelection
from hfbench.training.steadiness import unsteady
from hfbench.training.trainer import predict

RECORD = ClassificationRecord
KEEPS_WEIGHTS = False


def describe(cell: Cell, inputs: Inputs) -> dict[str, Any]:
    """See `run.KindOfRun`."""
    start: dict[str, Any] = {}
    facts = inputs.task.facts
    head = inputs.prepared[cell.model.name].head(facts.labels, facts.problem_type)
    if order := head.order:
        start = {"order of the checkpoint's outputs": order}
    if cell.model.pretrain:
        start = describe_start(cell, inputs)
    return {
        "kind": cell.kind,
        "seed": cell.seed,
        "task": describe_task(cell, inputs),
        **start,
        **describe_network(cell, inputs),
        "training": {
            "optimizer": cell.optimizer,
            "arguments": deciding_arguments(cell.training_arguments),
            "max_length": inputs.max_length(cell.model),
            "selection": inputs.recipe.selection,
            "lora": cell.model.lora.model_dump() if cell.model.lora else None,
            **_ends_early(cell, inputs),
            **_own_code(inputs),
            **describe_truncation(cell, inputs),
        },
    }


def _ends_early(cell: Cell, inputs: Inputs) -> dict[str, Any]:
    """Said where it is not what every result was from before there was a choice."""
    stopping, hurdles = inputs.recipe.early_stopping, cell.model.hurdles
    return {
        **({"patience": stopping.patience} if stopping else {}),
        **({"hurdles": {str(epoch): value for epoch, value in hurdles.items()}} if hurdles else {}),
    }


def _own_code(inputs: Inputs) -> dict[str, Any]:
    """The code of a loss and of callbacks, by content; empty without any."""
    paths = {"loss": [inputs.recipe.loss or ""], "callbacks": inputs.recipe.callbacks}
    return {
        key: [[path.partition(":")[2], hash_module(path.partition(":")[0])] for path in own if path]
        for key, own in paths.items()
        if any(own)
    }


def run(cell: Cell, surroundings: Surroundings) -> Run:
    """Train it, and predict the other splits."""
    return in_parts_that_fit(cell, surroundings, partial(_train, cell, surroundings))


def outcome(record: ClassificationRecord) -> str:
    """See `run.KindOfRun`."""
    return f"{compared_outcome(record)}, {record.training.train_seconds:.1f} s"


def _train(cell: Cell, surroundings: Surroundings, limit: TimeLimit, parts: int) -> Run:
    assert cell.seed is not None
    inputs, lora = surroundings.inputs, cell.model.lora
    prepared, task = inputs.prepared[cell.model.name], inputs.task_of(cell)
    streams = derive_streams(cell.seed)
    start = weights_to_start_from(cell, surroundings)
    labels, problem = task.facts.labels, task.facts.problem_type
    model = load_classifier(prepared, labels, streams.init, start, lora, problem)
    data, stopping = inputs.tokenized_task(cell), inputs.recipe.early_stopping
    selection = WeightSelection(inputs.recipe.selection, stopping.patience if stopping else None)
    training = Training(cell, surroundings, model, data, streams, selection, limit, parts)
    facts, curves = training.run()
    trainer = training.trainer
    # before predicting: the model that is evaluated is the model that is kept, to the last bit
    trainable = merge_adapters(model) if lora else None
    evaluated = [split for split in data.splits if split != "train"]
    logits = {split: predict(trainer, data.splits[split]) for split in evaluated}
    max_length, kept = inputs.max_length(cell.model), inputs.recipe.save_models
    weights = trainer.weights()
    ask = training.bookkeeping.ask
    notes = [prepared.head(labels, problem).note]
    notes += ask("model_facts.notes", lambda: unsteady(trainer, data.splits["validation"])) or []
    found = training.facts(weights, max_length, trainable, [*filter(None, notes)])
    probe = None
    if kept:
        probe = ask("probe", lambda: probe_model(model, prepared.tokenizer, found.max_length))
    use = None
    # a model that is sharded answers in all processes together only
    is_asked = is_measured(cell, inputs) and not trainer.is_fsdp_enabled
    if is_asked and is_main_process():
        use = ask("use", partial(measure_network, model, prepared.tokenizer, max_length, inputs))
    fields = {
        "task": task.facts,
        "corpus_overlap": inputs.corpus_overlap(cell.model),
        "use": use,
        "model_facts": found,
        "training": facts,
        "curves": curves,
        **measure(logits, inputs),
        "probe": probe,
        "not_recorded": training.bookkeeping.not_recorded,
    }
    return Run(fields, tabulate(logits, inputs), lambda path: save_model(trainer, weights, path))
