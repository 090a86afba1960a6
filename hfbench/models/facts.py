"""What can be said of a model: its parameters, its configuration, its weights' hash."""

from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedConfig

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
