"""A probe: a classifier is fitted to the features of a network that stays as it is."""

import time
from copy import deepcopy
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np

from hfbench import data, models
from hfbench.data.tables import labels_of
from hfbench.execution.features import Features, find_features
from hfbench.execution.inputs import Inputs, arguments
from hfbench.execution.kinds.bookkeeping import Bookkeeping
from hfbench.execution.kinds.facts import (
    compared_outcome,
    describe_task,
    measure,
    tabulate,
)
from hfbench.execution.kinds.run import Run, Surroundings
from hfbench.execution.kinds.start import (
    describe_frozen,
    frozen_facts,
    weights_to_start_from,
)
from hfbench.execution.use import (
    Texts,
    evaluation_texts,
    is_measured,
    measure_use,
    pickled_bytes,
    weight_bytes,
)
from hfbench.models.lengths import NO_LIMIT
from hfbench.models.rivals import PROBE_VERSION
from hfbench.models.rivals.features import (
    body_without_weights,
    choose_poolings,
    compute_features,
    load_body,
)
from hfbench.models.rivals.heads import Examples, Fitted, fit_head
from hfbench.models.rivals.pooling import Pooling
from hfbench.recipe.cells import Cell
from hfbench.records.rivals import FeatureFacts, HeadFacts
from hfbench.records.schema import ProbeRecord
from hfbench.records.use import UseFacts
from hfbench.system.environment import device_names
from hfbench.training.seeds import derive_streams

RECORD = ProbeRecord
KEEPS_WEIGHTS = False


def describe(cell: Cell, inputs: Inputs) -> dict[str, Any]:
    """See `run.KindOfRun`."""
    assert cell.model.probe is not None
    prepared = inputs.prepared[cell.model.name]
    poolings, _ = choose_poolings(prepared, cell.model.probe.pooling)
    return {
        "kind": cell.kind,
        "seed": cell.seed,
        "task": describe_task(cell, inputs),
        **describe_frozen(cell, inputs),
        "probe": {
            "head": cell.model.probe.head,
            "pooling": [pooling.name for pooling in poolings],
            "groups": inputs.task.groups is not None,
        },
    }


def run(cell: Cell, surroundings: Surroundings) -> Run:
    """Have the features, fit the head, answer the other splits."""
    inputs, probe = surroundings.inputs, cell.model.probe
    assert probe is not None
    prepared, task = inputs.prepared[cell.model.name], inputs.task_of(cell)
    poolings, chosen_by = choose_poolings(prepared, probe.pooling)
    features = _features(cell, surroundings, poolings)
    started = time.perf_counter()
    fits = {name: _fit(cell, inputs, found) for name, found in features.items()}
    seconds = time.perf_counter() - started
    tried = {name: _validation_value(fits[name], features[name], inputs) for name in fits}
    sign = 1 if inputs.metric.higher_is_better else -1
    name = max(tried, key=lambda name: sign * tried[name])  # the first among equals
    fitted, rows = fits[name], features[name].rows
    logits = {
        split: fitted.head.logits(rows[split]).astype(np.float32)
        for split in rows
        if split != "train"
    }
    left_out = [f"{module} is left out" for pooling in poolings for module in pooling.left_out]
    network = body_without_weights(prepared)
    learnt = fitted.head.parameter_count
    facts = frozen_facts(cell, inputs, network, learnt, left_out)
    bookkeeping, use = Bookkeeping(), None
    if is_measured(cell, inputs):
        pooling = next(one for one in poolings if one.name == name)
        use = bookkeeping.ask("use", partial(_measure_use, cell, surroundings, pooling, fitted))
    fields = {
        "task": task.facts,
        "use": use,
        "not_recorded": bookkeeping.not_recorded,
        "corpus_overlap": inputs.corpus_overlap(cell.model),
        "model_facts": facts,
        "features": FeatureFacts(
            pooling=name,
            chosen_by=chosen_by,
            tried=tried if len(tried) > 1 else None,
            width=rows["train"].shape[1],
            tokens=inputs.tokenized_task(cell).tokens,
            device=device_names(arguments(cell, inputs).device),
            seconds=features[name].seconds,
            were_there=features[name].were_there,
        ),
        "fitted": HeadFacts(
            name=probe.head,
            chosen=fitted.chosen,
            tried=fitted.tried,
            folds=fitted.folds,
        ),
        "fit_seconds": seconds,
        **measure(logits, inputs),
    }
    return Run(fields, tabulate(logits, inputs))


def _features(
    cell: Cell, surroundings: Surroundings, poolings: list[Pooling]
) -> dict[str, Features]:
    """By the name of their pooling."""
    inputs = surroundings.inputs
    prepared, device = inputs.prepared[cell.model.name], arguments(cell, inputs).device
    whole = inputs.tokenized_whole(cell.model)
    about = {
        **describe_frozen(cell, inputs),
        "device": device.type,  # by which numbers are rounded
        "code": {"data": data.VERSION, "models": models.VERSION, "probe": PROBE_VERSION},
        "libraries": {
            name: metadata.version(name) for name in ("tokenizers", "torch", "transformers")
        },
    }
    splits = {
        name: (split.content_hash, whole.splits[name])
        for name, split in inputs.task.facts.splits.items()
    }

    def load() -> Any:
        return load_body(prepared, weights_to_start_from(cell, surroundings)).to(device)

    pad = prepared.tokenizer.pad_token_id
    say = surroundings.bar.say
    return find_features(surroundings.folder, about, splits, poolings, load, pad, say)


def _fit(cell: Cell, inputs: Inputs, features: Features) -> Fitted:
    probe, task = cell.model.probe, inputs.task
    assert probe is not None
    rows = inputs.train_rows(cell)
    examples = Examples(
        features.rows["train"],
        labels_of(task.splits["train"]),
        task.facts.problem_type,
        len(task.facts.labels),
        inputs.class_weights(cell),
        None if task.groups is None else np.asarray(task.groups["train"]),
    )
    streams = derive_streams(cell.seed or 0)
    return fit_head(
        probe.head,
        examples if rows is None else examples[rows],
        folds_seed=streams.order,
        init_seed=streams.init,
    )


def _validation_value(fitted: Fitted, features: Features, inputs: Inputs) -> float:
    """The task's measure on the validation examples."""
    logits = fitted.head.logits(features.rows["validation"])
    labels = labels_of(inputs.task.splits["validation"])
    return float(inputs.metric.compute(logits, labels))


def _measure_use(
    cell: Cell, surroundings: Surroundings, pooling: Pooling, fitted: Fitted
) -> UseFacts:
    """From text to answer, through the network, which the features may have spared until now."""
    inputs, device = surroundings.inputs, arguments(cell, surroundings.inputs).device
    prepared, max_length = inputs.prepared[cell.model.name], inputs.max_length(cell.model)
    model: Any = load_body(prepared, weights_to_start_from(cell, surroundings)).to(device)
    tokenizer = deepcopy(prepared.tokenizer)  # it keeps how it was last told to cut
    is_cut = max_length < NO_LIMIT
    options = {"truncation": is_cut, "max_length": max_length if is_cut else None}

    def ask(texts: Texts) -> Any:
        columns = [list(column) for column in zip(*texts, strict=True)]
        encoded = tokenizer(*columns, verbose=False, **options)
        rows = compute_features(model, encoded, [pooling], tokenizer.pad_token_id).rows
        return fitted.head.logits(rows[pooling.name])

    held = weight_bytes(model) + pickled_bytes(fitted.head)
    return measure_use(ask, evaluation_texts(inputs), held, device)


def outcome(record: ProbeRecord) -> str:
    """See `run.KindOfRun`."""
    found = record.features
    spent = "read" if found.were_there else f"{found.seconds:.1f} s"
    return f"{compared_outcome(record)}, {record.fit_seconds:.1f} s (features: {spent})"
