"""A language model is trained; runs of its model start from the weights that it leaves."""

from functools import partial
from typing import Any

from hfbench.execution.inputs import Inputs
from hfbench.execution.kinds.facts import describe_network
from hfbench.execution.kinds.run import Run, Surroundings
from hfbench.execution.kinds.train import Training, in_parts_that_fit, save_model
from hfbench.metrics.registry import METRICS
from hfbench.metrics.scores import bits_per_byte
from hfbench.models.load import load_causal_lm
from hfbench.recipe.arguments import deciding_arguments
from hfbench.recipe.cells import Cell
from hfbench.records.schema import PretrainingRecord
from hfbench.system.interruption import until_saved
from hfbench.training.checkpoints import ExactResumption, claim
from hfbench.training.limits import TimeLimit
from hfbench.training.seeds import derive_streams
from hfbench.training.selection import WeightSelection
from hfbench.training.stopping import SaveBeforeLeaving

RECORD = PretrainingRecord
KEEPS_WEIGHTS = True


def describe(cell: Cell, inputs: Inputs) -> dict[str, Any]:
    """See `run.KindOfRun`."""
    return {
        "kind": cell.kind,
        "seed": cell.pretraining_seed,
        "corpus": dict(inputs.corpus(cell.model).facts.content_hash),
        **describe_network(cell, inputs),
        "training": {
            "optimizer": cell.optimizer,
            "arguments": deciding_arguments(cell.training_arguments),
            "cut": cell.pretraining.corpus.cut,
            "max_length": inputs.example_length(cell.model),
        },
    }


def run(cell: Cell, surroundings: Surroundings) -> Run:
    """Train it, from the newest checkpoint of the same cell, if there is one."""
    return in_parts_that_fit(cell, surroundings, partial(_train, cell, surroundings))


def outcome(record: PretrainingRecord) -> str:
    """See `run.KindOfRun`."""
    loss, seconds = record.metrics["validation"]["loss"], record.training.train_seconds
    return f"validation loss {loss:.3f}, {seconds:.1f} s"


def _train(cell: Cell, surroundings: Surroundings, limit: TimeLimit, parts: int) -> Run:
    inputs, bar = surroundings.inputs, surroundings.bar
    prepared, data = inputs.prepared[cell.model.name], inputs.tokenized_corpus(cell.model)
    streams = derive_streams(cell.pretraining_seed)
    model = load_causal_lm(prepared, streams.init)
    last = WeightSelection("last")
    training = Training(cell, surroundings, model, data, streams, last, limit, parts)
    trainer = training.trainer
    trainer.add_callback(SaveBeforeLeaving())
    trainer.add_callback(ExactResumption(trainer))
    if surroundings.publisher:
        surroundings.publisher.say = bar.say
        trainer.add_callback(surroundings.publisher)
    identity = surroundings.cell_id(cell)
    checkpoint = claim(trainer, identity, lambda text: bar.say(f"{cell.stem}: {text}"))
    with until_saved():
        facts, curves = training.run(checkpoint)
    metrics = {
        name.removeprefix("eval_"): value
        for name, value in trainer.evaluate().items()
        if name.removeprefix("eval_") in ("loss", *METRICS)
    }
    if num_bytes := inputs.predicted_bytes(cell.model):
        predicted = int((data.lengths("validation") - 1).sum())  # but the first of each example
        metrics["bits_per_byte"] = bits_per_byte(metrics["loss"], predicted, num_bytes)
    weights = trainer.weights()
    fields = {
        "corpus": inputs.corpus(cell.model).facts,
        "model_facts": training.facts(weights, prepared.max_length),
        "training": facts,
        "curves": curves,
        "metrics": {"validation": metrics},
        "not_recorded": training.bookkeeping.not_recorded,
    }
    return Run(fields, save_model=lambda path: save_model(trainer, weights, path))
