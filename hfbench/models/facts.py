"""What can be said of a model: its parameters, its configuration, its weights' hash."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedConfig

from hfbench.system.hashes import hash_files


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


def describe_config(config: PreTrainedConfig) -> dict[str, Any]:
    """The configuration as it differs from the default, without names of folders.

    And without what saving writes into it, lest it depend on whether a checkpoint was saved.
    """
    hidden = {"_name_or_path", "transformers_version", "auto_map", "architectures"}
    return {name: value for name, value in config.to_diff_dict().items() if name not in hidden}


def hash_weights(model_name_or_path: str | None) -> str | None:
    """SHA-256 over the weight files of a local folder; None for a Hub name or no name."""
    if model_name_or_path is None or not Path(model_name_or_path).is_dir():
        return None
    return hash_files(Path(model_name_or_path), (".safetensors", ".bin"))


def model_without_weights(prepared, head, num_labels):
    config = prepared.config
    if head == "classifier":
        config = type(config).from_dict({**config.to_dict(), "num_labels": num_labels})
    cls = AutoModelForCausalLM if head == "language model" else AutoModelForSequenceClassification
    with torch.device("meta"):
        model = cls.from_config(config, trust_remote_code=prepared.entry.trust_remote_code)
        if prepared.embedding_rows > model.get_input_embeddings().num_embeddings:
            model.resize_token_embeddings(prepared.embedding_rows, mean_resizing=False)
    return model


def parameter_count(prepared, head, num_labels):
    return count_parameters(model_without_weights(prepared, head, num_labels))[0]


def matrix_parameters(prepared, head, num_labels):
    return sum(
        p.numel()
        for m in model_without_weights(prepared, head, num_labels).modules()
        if not isinstance(m, nn.Embedding)
        for p in m.parameters(recurse=False)
        if p.ndim >= 2
    )
