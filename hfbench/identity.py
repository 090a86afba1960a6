"""What decides a cell's result, as content: by its hash a result is known again.

No name of a recipe, a model, a file or a repo is part of it, but what they stand for: texts,
weights, tokenizer, configuration, arguments, the code that trains and the libraries under it. So
the same content is found again under another name, and changed content is not taken for the same.

What does not decide a result, but for rounding, is no part either: the hardware, the number of
processes and threads, `cuda_graphs`. The record says them beside.
"""

import hashlib
import json
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedTokenizerBase

from hfbench.digest import hash_file, hash_files
from hfbench.models.load import PreparedModel, describe_config, hash_weights
from hfbench.plan import Cell, pretraining_of
from hfbench.record import CorpusData, TaskData

if TYPE_CHECKING:
    from hfbench.workbench import Workbench

_PACKAGE = Path(__file__).parent

# The modules by which a cell's numbers come about from its data, weights and arguments.
_CODE = (
    "cells.py",
    "checkpoints.py",
    "compact_embedding.py",
    "cuda_graphs.py",
    "data/packed.py",
    "data/tokenize.py",
    "evaluate_metrics.py",
    "metrics.py",
    "models/controls.py",
    "models/custom_gpt/configuration_custom_gpt.py",
    "models/custom_gpt/loss_custom_gpt.py",
    "models/custom_gpt/modeling_custom_gpt.py",
    "models/custom_gpt/padding_custom_gpt.py",
    "models/load.py",
    "models/lora.py",
    "runs.py",
    "sampler.py",
    "seeds.py",
    "selection.py",
    "sharded.py",
    "trainer.py",
    "training_arguments.py",
    "workload.py",
)
_CONTROL_CODE = (
    "cells.py",
    "evaluate_metrics.py",
    "metrics.py",
    "models/controls.py",
    "runs.py",
)
_CONTROL_LIBRARIES: tuple[str, ...] = ("numpy", "scikit-learn", "scipy")
_MODEL_LIBRARIES: tuple[str, ...] = ("accelerate", "numpy", "tokenizers", "torch", "transformers")

_HASH_SHOWN = 12  # hexadecimal digits, where a difference is said


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


def differences(old: dict[str, Any], new: dict[str, Any], path: str = "") -> list[str]:
    """Where two identities differ, a line each: ``training.max_length: 64 -> 32``."""
    lines = []
    for key in dict.fromkeys((*old, *new)):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differences(before, after, f"{path}{key}.")
        elif before != after:
            lines.append(f"{path}{key}: {_short(before)} -> {_short(after)}")
    return lines


@cache
def code_hashes() -> dict[str, str]:
    """SHA-256 (its first digits) of each of hfbench's modules that decide results."""
    return {
        name: hashlib.sha256((_PACKAGE / name).read_bytes()).hexdigest()[:_HASH_SHOWN]
        for name in _CODE
    }


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 (hex); equal for tokenizers that give the same ids.

    To be asked before anything is tokenised, for a tokenizer keeps as part of its state how it was
    last told to truncate.
    """
    if tokenizer.is_fast:  # the backend's JSON is all that decides the ids
        content = tokenizer.backend_tokenizer.to_str()
    else:
        content = json.dumps([type(tokenizer).__name__, tokenizer.get_vocab()], sort_keys=True)
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    sides = [tokenizer.padding_side, tokenizer.truncation_side]
    return hashlib.sha256(json.dumps([content, special, sides]).encode()).hexdigest()


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
        described["code"] = _hash_source(sys.modules[type(prepared.config).__module__])
    return described


def _hash_source(module: ModuleType) -> str:
    """Of the module's file, and of those beside it where they make up a package."""
    path = Path(str(module.__file__))
    return hash_files(path.parent, (".py",)) if module.__package__ else hash_file(path)


def _short(value: Any) -> str:
    is_hash = isinstance(value, str) and len(value) in (40, 64)
    return value[:_HASH_SHOWN] if is_hash else json.dumps(value)
