"""A control is fitted: what is no neural network, and what a model must beat."""

import time
from functools import partial
from typing import Any

import numpy as np

from hfbench.data.tables import labels_of
from hfbench.execution.inputs import Inputs
from hfbench.execution.kinds.bookkeeping import Bookkeeping
from hfbench.execution.kinds.facts import compared_outcome, describe_task, measure, tabulate
from hfbench.execution.kinds.run import Run, Surroundings
from hfbench.execution.use import (
    Texts,
    evaluation_texts,
    is_measured,
    measure_use,
    pickled_bytes,
)
from hfbench.models.architecture import is_own
from hfbench.models.controls import CONTROLS, Control, KnowsItsLimits, build_control
from hfbench.models.imports import hash_module
from hfbench.models.rivals.estimators import EstimatorControl, describe_estimator
from hfbench.recipe.cells import Cell
from hfbench.recipe.types import ProblemType
from hfbench.records.schema import ControlRecord, ModelFacts
from hfbench.records.use import UseFacts
from hfbench.system.threads import one_blas_thread
from hfbench.training.seeds import derive_streams

_OTHER_ANSWERS: dict[tuple[str, ProblemType], str] = {
    ("majority", "multi_label_classification"): "it always answers the most frequent set of labels",
    ("majority", "regression"): "it always answers the mean of the training examples",
    ("tfidf-logreg", "multi_label_classification"): "a logistic regression for each label",
    ("tfidf-logreg", "regression"): "ridge regression in place of the logistic one",
}
RECORD = ControlRecord
KEEPS_WEIGHTS = False


def describe(cell: Cell, inputs: Inputs) -> dict[str, Any]:
    """See `run.KindOfRun`."""
    described: dict[str, Any] = {
        "kind": cell.kind,
        "seed": cell.seed,
        "task": describe_task(cell, inputs),
    }
    if cell.model.estimator:
        return {**described, "estimator": describe_estimator(cell.model.estimator, _key(cell))}
    described["control"] = cell.model.control
    control = CONTROLS[cell.model.source]
    if is_own(control):  # two people's may have the same name and version
        described["code_of_control"] = hash_module(control.__module__)
    if cell.model.config:  # named otherwise than in results that were made without it
        described["arguments"] = cell.model.config
    return described


def run(cell: Cell, surroundings: Surroundings) -> Run:
    """Fit it to the training texts, and answer the other splits."""
    inputs = surroundings.inputs
    task = inputs.task_of(cell)
    texts = {
        # a pair of texts is one text to a bag of words
        split: [" ".join(map(str, pair)) for pair in zip(*_text_columns(data), strict=True)]
        for split, data in task.splits.items()
    }
    control = _build(cell, inputs)
    labels = labels_of(task.splits["train"])
    evaluated = {split: part for split, part in texts.items() if split != "train"}
    with one_blas_thread():
        started = time.perf_counter()
        control.fit(texts["train"], labels, len(task.facts.labels))
        seconds = time.perf_counter() - started
        logits = {
            split: control.logits(part).astype(np.float32) for split, part in evaluated.items()
        }
    unknown = None
    if isinstance(control, KnowsItsLimits):
        unknown = {split: int(control.unknown(part).sum()) for split, part in evaluated.items()}
    facts = ModelFacts(
        source=cell.model.source,
        revision=None,
        weights_hash=None,
        class_name=type(
            control.estimator if isinstance(control, EstimatorControl) else control
        ).__name__,
        parameters=control.parameter_count(),
        embedding_parameters=None,
        config=cell.model.config,
        vocab_size=None,
        max_length=None,
        notes=_notes(cell, inputs, control),
    )
    bookkeeping, use = Bookkeeping(), None
    if is_measured(cell, inputs):
        use = bookkeeping.ask("use", partial(_measure_use, control, inputs))
    fields = {
        "task": task.facts,
        "use": use,
        "not_recorded": bookkeeping.not_recorded,
        "model_facts": facts,
        "fit_seconds": seconds,
        "unknown_texts": unknown,
        **measure(logits, inputs),
    }
    return Run(fields, tabulate(logits, inputs))


def _measure_use(control: Control, inputs: Inputs) -> UseFacts:
    def ask(texts: Texts) -> Any:
        return control.logits([" ".join(map(str, parts)) for parts in texts])

    return measure_use(ask, evaluation_texts(inputs), pickled_bytes(control))


def outcome(record: ControlRecord) -> str:
    """See `run.KindOfRun`."""
    return f"{compared_outcome(record)}, {record.fit_seconds:.1f} s"


def _key(cell: Cell) -> str:
    return f"models.{cell.model.name}.estimator"


def _build(cell: Cell, inputs: Inputs) -> Control:
    if cell.model.estimator is None:
        return build_control(cell.model.source, inputs.class_weights(cell), cell.model.config)
    kind, seed = inputs.task.facts.problem_type, derive_streams(cell.seed or 0).init
    return EstimatorControl(cell.model.estimator, _key(cell), kind, seed)


def _notes(cell: Cell, inputs: Inputs, control: Control) -> list[str]:
    """What a control does that is not what its name says."""
    if isinstance(control, EstimatorControl):
        return control.notes
    kind = inputs.task.facts.problem_type
    assert inputs.recipe.task is not None
    if cell.model.source == "majority" and inputs.recipe.task.threshold:
        return ["it gives each text the labels whose share is above their threshold"]
    note = _OTHER_ANSWERS.get((cell.model.source, kind))
    return [note] if note else []


def _text_columns(data: Any) -> list[list[str]]:
    return [data[name][:] for name in ("text", "text_pair") if name in data.column_names]
