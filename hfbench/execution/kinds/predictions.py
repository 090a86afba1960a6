"""Answers of a file: nothing is run, and they are measured as those of a model are."""

import hashlib
from typing import Any

from hfbench.execution.inputs import Inputs
from hfbench.execution.kinds.facts import compared_outcome, describe_task, measure, tabulate
from hfbench.execution.kinds.run import Run, Surroundings
from hfbench.recipe.cells import Cell
from hfbench.records.schema import ModelFacts, PredictionsRecord

RECORD = PredictionsRecord
KEEPS_WEIGHTS = False


def describe(cell: Cell, inputs: Inputs) -> dict[str, Any]:
    """See `run.KindOfRun`. The answers count, and not how the file is written."""
    answers = inputs.answers(cell.model)
    return {
        "kind": cell.kind,
        "seed": cell.seed,
        "task": describe_task(cell, inputs),
        "answers": {
            "form": answers.file.form,
            **{
                split: hashlib.sha256(logits.astype("<f4").tobytes()).hexdigest()
                for split, logits in answers.logits[cell.seed].items()
            },
        },
    }


def run(cell: Cell, surroundings: Surroundings) -> Run:
    """Take the answers as they are."""
    inputs = surroundings.inputs
    answers = inputs.answers(cell.model)
    logits, file = answers.logits[cell.seed], answers.file
    facts = ModelFacts(
        source=file.name,
        revision=None,
        weights_hash=None,
        class_name="predictions",
        parameters=None,
        embedding_parameters=None,
        config={},
        vocab_size=None,
        max_length=None,
        notes=[f"not run by hfbench: {file.form} of {file.name}, rows known by {file.matched_by}"],
    )
    fields = {
        "task": inputs.task.facts,
        "model_facts": facts,
        "answers": file,
        **measure(logits, inputs, only_labels=file.form == "labels"),
    }
    return Run(fields, tabulate(logits, inputs))


def outcome(record: PredictionsRecord) -> str:
    """See `run.KindOfRun`."""
    return f"{compared_outcome(record)}, {record.answers.form} of {record.answers.name}"
