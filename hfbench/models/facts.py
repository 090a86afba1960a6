"""What can be said of a model: its parameters, its configuration, its weights' hash."""

import inspect
import math
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from hfbench.models.architecture import AUTO_CLASSES
from hfbench.models.embedding import fit_embedding
from hfbench.models.prepare import PreparedModel
from hfbench.recipe.types import Head
from hfbench.system.hashes import hash_files

_WEIGHT_FILES = (".safetensors", ".bin")


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """All parameters, and those of embeddings among them; shared ones count once."""
    embeddings = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for parameter in module.parameters()
    }
    sizes = {id(parameter): parameter.numel() for parameter in model.parameters()}
    return sum(sizes.values()), sum(sizes[identity] for identity in embeddings)


def model_without_weights(
    prepared: PreparedModel, head: Head, num_labels: int | None
) -> PreTrainedModel:
    """The model as it would be loaded, on torch's meta device: shapes, and no memory for weights.

    Args:
        prepared: what `prepare_model` gave.
        head: what stands on its body.
        num_labels: of a classifier; a language model has none.
    """
    changes: dict[str, Any] = {}
    if head == "classifier":
        # what a checkpoint says of its own head may not go with so many labels
        changes = {"num_labels": num_labels, "problem_type": None}
    # a copy: an embedding that gets a row more says so in the configuration
    config = type(prepared.config).from_dict({**prepared.config.to_dict(), **changes})
    with torch.device("meta"):
        model = AUTO_CLASSES[head].from_config(
            config, trust_remote_code=prepared.entry.trust_remote_code
        )
        fit_embedding(model, prepared.embedding_rows)
    return model


def parameter_count(prepared: PreparedModel, head: Head, num_labels: int | None) -> int:
    """All parameters, counted without making the weights; see `model_without_weights`."""
    return count_parameters(model_without_weights(prepared, head, num_labels))[0]


def matrix_parameters(model: nn.Module) -> int:
    """Parameters that every token is multiplied by: matrices that are no embeddings."""
    return sum(
        parameter.numel()
        for module in model.modules()
        # a head that shares the embedding's matrix is a module of its own
        if not isinstance(module, nn.Embedding)
        for parameter in module.parameters(recurse=False)
        if parameter.ndim >= 2
    )


def cache_argument(model: PreTrainedModel) -> str:
    """What the model's forward calls the cache of keys and values, which has a new name in 5.24."""
    names = inspect.signature(model.forward).parameters
    return "cache" if "cache" in names else "past_key_values"


def describe_config(config: PreTrainedConfig) -> dict[str, Any]:
    """The configuration as it differs from the default, without names of folders.

    And without what saving writes into it, lest it depend on whether a checkpoint was saved.
    """
    hidden = {"_name_or_path", "transformers_version", "auto_map", "architectures"}
    values = {name: v for name, v in config.to_diff_dict().items() if name not in hidden}
    return {name: _as_json(value) for name, value in values.items()}


def _as_json(value: Any) -> Any:
    """JSON has no infinity, which Mamba 2 has for a limit: in words, or it would come back as null.

    Then the cell would never be known again by its record.
    """
    if isinstance(value, dict):
        return {key: _as_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def hash_weights(model_name_or_path: str | None) -> str | None:
    """SHA-256 over the weight files of a local folder; None for a Hub name or no name."""
    if model_name_or_path is None or not Path(model_name_or_path).is_dir():
        return None
    folder = Path(model_name_or_path)
    files = {path: path.stat() for path in folder.iterdir() if path.suffix in _WEIGHT_FILES}
    states = (
        (path.name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in files.items()
    )
    return _hash_weights(folder, frozenset(states))


@cache  # the identity asks, and every record: files as large as these are read once
def _hash_weights(folder: Path, states: frozenset[tuple[str, int, int, int]]) -> str:
    """Of a folder whose files are in these ``states``: name, number, size and time of each."""
    return hash_files(folder, _WEIGHT_FILES)
