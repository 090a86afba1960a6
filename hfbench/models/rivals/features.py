"""What a network that stays as it is makes of texts: a row of numbers for each."""

import inspect
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    set_seed,
)

from hfbench.errors import UserError
from hfbench.models.embedding import fit_embedding, set_pad_token
from hfbench.models.prepare import PreparedModel, built, named
from hfbench.models.rivals.pooling import Pooling, own_pooling
from hfbench.recipe.rivals import PoolingName

_BATCH_TOKENS = {"cpu": 2048, "cuda": 65536}
"""Tokens of a batch, padding included; texts of about the same length stand together."""

_NAMED: tuple[PoolingName, ...] = ("mean", "cls", "last")


def choose_poolings(
    prepared: PreparedModel, asked: PoolingName | None
) -> tuple[list[Pooling], str]:
    """Which to compute for a probe, and who says so, as in the record's ``chosen_by``.

    Args:
        prepared: the model.
        asked: by the recipe.

    Raises:
        UserError: if a checkpoint has one of its own that cannot be followed.
    """
    entry = prepared.entry
    if asked == "best":
        return [Pooling((name,)) for name in _NAMED], "validation"
    if asked:
        return [Pooling((asked,))], "recipe"
    if entry.model_name_or_path:
        key = f"models.{entry.name}.model_name_or_path"
        own = own_pooling(entry.model_name_or_path, prepared.revision, key)
        if own:
            return [own], "checkpoint"
    return [Pooling(("mean",))], "default"


def load_body(prepared: PreparedModel, pretrained: Path | None) -> PreTrainedModel:
    """The network without a head, in evaluation mode, in float32.

    Args:
        prepared: what `prepare_model` gave.
        pretrained: folder of the language model that pretraining left, to read in its place.

    Raises:
        UserError: if weights cannot be had, or are not all there.
    """
    entry = prepared.entry
    options: dict[str, Any] = {
        "config": type(prepared.config).from_dict(prepared.config.to_dict()),
        "dtype": torch.float32,
        "trust_remote_code": entry.trust_remote_code,
    }
    set_seed(0)  # of a row that the embedding gets for a new pad token, which nobody reads
    model: Any
    if pretrained:
        model = AutoModelForCausalLM.from_pretrained(pretrained, **options).base_model
    else:
        with named(entry, "weights"):
            model, info = AutoModel.from_pretrained(
                entry.model_name_or_path,
                revision=prepared.revision,
                output_loading_info=True,
                **options,
            )
        # BERT's pooler belongs to its body, but no feature comes from it
        missing = sorted(name for name in info["missing_keys"] if "pooler" not in name)
        if missing:
            raise UserError(
                f"models.{entry.name}: the checkpoint has no {missing[0]}, nor {len(missing) - 1} "
                "other weights that the configuration describes; they would be random"
            )
    set_pad_token(model.config, prepared.tokenizer)
    fit_embedding(model, prepared.embedding_rows)
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    return model.eval()


def check_body(prepared: PreparedModel) -> None:
    """Refuse an architecture without a body that reads texts, before weights are loaded.

    Raises:
        UserError: naming the model.
    """
    if prepared.entry.pretrain:  # it has a language model, and that has a body
        return
    with built(prepared.entry, type(prepared.config).__name__), torch.device("meta"):
        body_without_weights(prepared)


def body_without_weights(prepared: PreparedModel) -> PreTrainedModel:
    """On torch's meta device; see `facts.model_without_weights`."""
    trust = prepared.entry.trust_remote_code
    # a copy: an embedding that gets a row more says so in the configuration
    config: PreTrainedConfig = type(prepared.config).from_dict(prepared.config.to_dict())
    with torch.device("meta"):
        if prepared.entry.pretrain:
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust).base_model
        else:
            model = AutoModel.from_config(config, trust_remote_code=trust)
        fit_embedding(model, prepared.embedding_rows)
    return model


@dataclass(frozen=True)
class Computed:
    """Features of a split."""

    rows: dict[str, np.ndarray]
    """Name of a pooling -> float32 of shape (texts, width)."""
    seconds: float


@torch.no_grad()
def compute_features(
    model: nn.Module,
    columns: Mapping[str, Sequence[Sequence[int]]],
    poolings: Sequence[Pooling],
    pad_token_id: int,
) -> Computed:
    """What ``model`` makes of tokenised texts; a text without a token gets zeros.

    Texts are batched by length, which changes no number but by rounding.

    Args:
        model: of `load_body`, on the device that is to compute.
        columns: outputs of a tokenizer, of which those are used that the model takes.
        poolings: of its last layer.
        pad_token_id: for the padding, on the right.
    """
    started = time.perf_counter()
    device = next(model.parameters()).device
    takes = inspect.signature(model.forward).parameters
    used = {name: column for name, column in columns.items() if name in takes}
    padding = {"input_ids": pad_token_id}
    lengths = np.array([len(ids) for ids in columns["input_ids"]])
    found: dict[str, np.ndarray] = {}
    for rows in batches_by_length(lengths, _BATCH_TOKENS.get(device.type, 8192)):
        batch = {
            name: pad_right([column[row] for row in rows], padding.get(name, 0), device)
            for name, column in used.items()
        }
        sizes = torch.tensor(lengths[rows], device=device)
        if "attention_mask" in takes:
            places = torch.arange(lengths[rows].max(), device=device)
            batch["attention_mask"] = (places < sizes[:, None]).long()
        states = model(**batch).last_hidden_state.float()
        for pooling in poolings:
            values = pooling(states, sizes).cpu().numpy()
            if pooling.name not in found:
                found[pooling.name] = np.zeros((len(lengths), values.shape[1]), np.float32)
            found[pooling.name][rows] = values
    return Computed(found, time.perf_counter() - started)


def batches_by_length(lengths: np.ndarray, tokens: int) -> Iterator[np.ndarray]:
    """Rows of about the same length, the longest first, of at most ``tokens`` with their padding.

    A row without a token is in none.
    """
    order = np.argsort(-lengths, kind="stable")
    order = order[lengths[order] > 0]
    start = 0
    while start < len(order):
        size = max(1, tokens // int(lengths[order[start]]))
        yield order[start : start + size]
        start += size


def pad_right(rows: Sequence[Sequence[int]], value: int, device: Any) -> Tensor:
    """Shape (rows, longest)."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows], device=device)
