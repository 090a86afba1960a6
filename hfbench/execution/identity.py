"""What decides a cell's result, as content: by its hash a result is known again.

No name of a recipe, a model, a file or a repo is part of it, but what they stand for: texts,
weights, tokenizer, configuration, arguments, the code that trains and the libraries under it. So
the same content is found again under another name, and changed content is not taken for the same.

What does not decide a result, but for rounding, is no part either: the hardware, the number of
processes and threads, `cuda_graphs`. The record says them beside.
"""

import hashlib
import json
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfbench.models.architecture import hash_source
from hfbench.models.facts import describe_config, hash_weights
from hfbench.models.prepare import PreparedModel
from hfbench.recipe.cells import Cell, pretraining_of
from hfbench.records.schema import CorpusData, TaskData
from hfbench.system.hashes import hash_files

if TYPE_CHECKING:
    from hfbench.execution.inputs import Workbench

_PACKAGE = Path(__file__).parents[1]

# The modules by which a cell's numbers come about from its data, weights and arguments.
_CODE = (
    "execution/cell.py",
    "training/checkpoints.py",
    "training/compact_embedding.py",
    "training/cuda_graphs.py",
    "data/batches.py",
    "data/tokens.py",
    "metrics/evaluate_metric.py",
    "metrics/scores.py",
    "models/controls.py",
    "models/custom_gpt/configuration_custom_gpt.py",
    "models/custom_gpt/loss_custom_gpt.py",
    "models/custom_gpt/modeling_custom_gpt.py",
    "models/custom_gpt/padding_custom_gpt.py",
    "models/load.py",
    "models/lora.py",
    "execution/kinds.py",
    "training/sampler.py",
    "training/seeds.py",
    "training/selection.py",
    "training/sharded.py",
    "training/trainer.py",
    "training/arguments.py",
    "execution/estimates.py",
)
_CONTROL_CODE = (
    "execution/cell.py",
    "metrics/evaluate_metric.py",
    "metrics/scores.py",
    "models/controls.py",
    "execution/kinds.py",
)
_CONTROL_LIBRARIES: tuple[str, ...] = ("numpy", "scikit-learn", "scipy")
_MODEL_LIBRARIES: tuple[str, ...] = ("accelerate", "numpy", "tokenizers", "torch", "transformers")


def identify(cell: Cell, bench: "Workbench") -> dict[str, Any]:
    """All that decides the result of ``cell``, as JSON would give it back."""
    libraries = _CONTROL_LIBRARIES if cell.model.control else _MODEL_LIBRARIES
    libraries += ("peft",) if cell.model.lora else ()
    code = code_hashes()
    identity = {
        **_describe(cell, bench),
        "code": {name: code[name] for name in _CONTROL_CODE} if cell.model.control else code,
        "libraries": {name: _version(name) for name in libraries},
    }
    return json.loads(json.dumps(identity))


@cache
def code_hashes() -> dict[str, str]:
    """SHA-256 (its first digits) of each of hfbench's modules that decide results."""
    return {name: hashlib.sha256((_PACKAGE / name).read_bytes()).hexdigest()[:12] for name in _CODE}


@cache
def _version(name: str) -> str:
    return metadata.version(name)


def _describe(cell: Cell, bench: "Workbench") -> dict[str, Any]:
    """The cell's own part, without what is common to all."""
    model = cell.model
    identity: dict[str, Any] = {"kind": cell.kind, "seed": cell.seed}
    if cell.kind == "classification":
        identity["task"] = _describe_task(bench.task_of(cell).facts)
    if model.control:
        return {**identity, "control": model.control}
    prepared = bench.prepared[model.name]
    training: dict[str, Any] = {"optimizer": cell.optimizer, "arguments": cell.training_arguments}
    if cell.kind == "pretraining":
        assert model.pretrain is not None
        identity["seed"] = model.pretrain.seed
        identity["corpus"] = _describe_corpus(bench.corpus(model).facts)
        corpus = model.pretrain.corpus
        training["cut"] = corpus.cut
        length = corpus.block_size if corpus.cut == "blocks" else corpus.max_length
        training["max_length"] = min(length, prepared.max_length)
    else:
        training["max_length"] = bench.max_length(model)
        training["selection"] = bench.recipe.selection
        training["lora"] = model.lora.model_dump() if model.lora else None
        if model.pretrain:
            identity["pretraining"] = _describe(pretraining_of(cell, bench.recipe), bench)
    return {
        **identity,
        "model": _describe_model(prepared),
        "tokenizer": bench.tokenizer_hashes[model.name],
        "training": training,
    }


def _describe_task(facts: TaskData) -> dict[str, Any]:
    splits = {name: split.content_hash for name, split in facts.splits.items()}
    return {"labels": facts.labels, **splits}


def _describe_corpus(facts: CorpusData) -> dict[str, Any]:
    return dict(facts.content_hash)


def _describe_model(prepared: PreparedModel) -> dict[str, Any]:
    entry = prepared.entry
    described = {
        "class": type(prepared.config).__name__,
        "config": describe_config(prepared.config),
        "weights": None,
    }
    if entry.model_name_or_path and not entry.random_init:
        # a commit of the Hub stands for the bytes of its files
        described["weights"] = prepared.revision or hash_weights(entry.model_name_or_path)
    if entry.trust_remote_code:
        folder = Path(entry.model_name_or_path or "")
        described["code"] = prepared.revision or hash_files(folder, (".py",))
    elif prepared.is_own_architecture:  # one that this process has registered
        described["code"] = hash_source(type(prepared.config))
    return described
