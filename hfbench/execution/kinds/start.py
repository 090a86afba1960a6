"""The weights that a row starts from, and how it reads a text, whether it is trained or not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from hfbench.execution.inputs import Inputs
from hfbench.execution.kinds import pretraining
from hfbench.execution.kinds.facts import describe_network
from hfbench.execution.kinds.run import Surroundings
from hfbench.models.facts import count_parameters, describe_config, hash_weights
from hfbench.models.lengths import NO_LIMIT
from hfbench.recipe.cells import Cell, pretraining_of
from hfbench.records.schema import ModelFacts, PretrainingRecord


def describe_start(cell: Cell, inputs: Inputs) -> dict[str, Any]:
    """The pretraining whose weights it starts from, where it has one, as a part of its identity."""
    if not cell.model.pretrain:
        return {}
    return {"pretraining": pretraining.describe(pretraining_of(cell, inputs.recipe), inputs)}


def describe_truncation(cell: Cell, inputs: Inputs) -> dict[str, str]:
    """Said where it is not what every result was from before there was a choice."""
    assert inputs.recipe.task is not None
    truncation = inputs.recipe.task.truncation
    cuts_left = inputs.prepared[cell.model.name].tokenizer.truncation_side == "left"
    return {"truncation": truncation} if truncation != "head" or cuts_left else {}


def describe_frozen(cell: Cell, inputs: Inputs) -> dict[str, Any]:
    """A network that is not trained, and how it reads a text, as a part of an identity."""
    return {
        **describe_start(cell, inputs),
        **describe_network(cell, inputs),
        "reading": {
            "max_length": inputs.max_length(cell.model),
            **describe_truncation(cell, inputs),
        },
    }


def frozen_facts(
    cell: Cell,
    inputs: Inputs,
    network: nn.Module,
    trained: int | None = None,
    notes: Sequence[str] = (),
) -> ModelFacts:
    """What the record says of a network that is not trained.

    Args:
        cell: of a probe or a prompt.
        inputs: have it prepared.
        network: with or without its weights.
        trained: parameters of what was fitted on top of it; None: nothing was.
        notes: of this cell.
    """
    prepared, max_length = inputs.prepared[cell.model.name], inputs.max_length(cell.model)
    parameters, embeddings = count_parameters(network)
    return ModelFacts(
        source=cell.model.source,
        revision=prepared.revision,
        weights_hash=hash_weights(cell.model.model_name_or_path),
        class_name=type(network).__name__,
        parameters=parameters + (trained or 0),
        embedding_parameters=embeddings,
        trainable_parameters=trained or 0,
        config=describe_config(prepared.config),
        vocab_size=len(prepared.tokenizer),
        max_length=None if max_length == NO_LIMIT else max_length,
        notes=[*prepared.notes, *notes],
    )


def weights_to_start_from(cell: Cell, surroundings: Surroundings) -> Path | None:
    """The folder that its pretraining left; None for a model that is not pretrained here."""
    if cell.model.pretrain is None:
        return None
    source = pretraining_of(cell, surroundings.inputs.recipe)
    record = surroundings.folder.record(source.stem)
    expected = surroundings.cell_id(source)
    if not (isinstance(record, PretrainingRecord) and record.cell_id == expected):
        raise RuntimeError(f"its pretraining failed: see the record of {source.stem}")
    return surroundings.folder.weights(source.stem)
