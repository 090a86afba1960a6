"""In what a row is not what the name of its checkpoint says: notes for the reader of its results.

And how the outputs of a classifier that a checkpoint brings answer to the labels of a task.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.quantizers import AutoHfQuantizer
from transformers.utils import cached_file

from hfbench.errors import UserError, one_line
from hfbench.models.custom_gpt import CustomGPTConfig
from hfbench.recipe.model import Model
from hfbench.recipe.types import ProblemType

_UNNAMED = "LABEL_"  # as transformers calls classes that nobody named
_POOLING = "1_Pooling/config.json"  # of sentence-transformers


@dataclass(frozen=True)
class ClassifierHead:
    """What becomes of the classification head of a checkpoint."""

    note: str | None = None
    """None where there is nothing to be said of it."""
    order: list[int] | None = None
    """For each label of the task the output that has its name; None: the outputs stay."""


def classifier_head(
    config: PreTrainedConfig, labels: list[str], kind: ProblemType
) -> ClassifierHead:
    """How a checkpoint's head fits the ``labels``, by the names that ``config`` has for its own.

    A head for as many classes is kept. Where these have the names of the labels in another order,
    its outputs are put in theirs. Of a regression a head with one output is.
    """
    architectures = config.architectures or []
    if not any(name.endswith("ForSequenceClassification") for name in architectures):
        return ClassifierHead()  # a new head is what everyone expects
    names = [str(config.id2label[number]) for number in sorted(config.id2label)]
    listed = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    if len(names) != len(labels):
        return ClassifierHead(
            f"its head for {len(names)} classes ({listed}) was replaced by a new one"
            if len(names) > 1
            else "its head with one output was replaced by a new one"
        )
    if kind == "regression":
        return ClassifierHead("its head with one output was kept")
    if all(name.startswith(_UNNAMED) for name in names):
        return ClassifierHead(f"its head for {len(names)} classes without names was kept")
    places = {name.casefold(): place for place, name in enumerate(names)}
    order = [places.get(label.casefold()) for label in labels]
    if len(places) < len(names) or None in order:
        return ClassifierHead(f"its head was kept, whose classes have other names ({listed})")
    if order == list(range(len(names))):
        return ClassifierHead()
    return ClassifierHead(
        f"the outputs of its head ({listed}) were put in the order of the labels",
        [place for place in order if place is not None],
    )


def order_outputs(model: PreTrainedModel, order: list[int]) -> None:
    """Put the outputs of a classifier in another order, in place.

    Args:
        model: a classifier.
        order: for each output which one is wanted there.

    Raises:
        UserError: if it has no linear layer with so many outputs.
    """
    fitting = [
        module
        for module in model.modules()
        if isinstance(module, nn.Linear) and module.out_features == len(order)
    ]
    if not fitting:
        raise UserError(
            f"{type(model).__name__}: its classes have the names of the labels in another order, "
            "and no linear layer gives them, whose outputs could be put in theirs; give label_names"
        )
    with torch.no_grad():
        for parameter in fitting[-1].parameters(recurse=False):  # the last one gives the logits
            parameter.copy_(parameter[order].clone())


def checkpoint_notes(entry: Model, config: PreTrainedConfig, revision: str | None) -> list[str]:
    """What is to be said of the weights of a checkpoint; nothing of one that is not used."""
    if entry.model_name_or_path is None or entry.random_init:
        return []
    notes = []
    dtype = config.dtype
    if isinstance(dtype, torch.dtype) and dtype != torch.float32:
        notes.append(f"its weights were cast from {str(dtype).removeprefix('torch.')} to float32")
    is_used = entry.probe is not None and entry.probe.pooling is None
    if not is_used and (pooling := _sentence_pooling(entry.model_name_or_path, revision)):
        notes.append(f"the pooling of sentence-transformers ({pooling}) is left out")
    return notes


def padding_notes(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> list[str]:
    """That a classifier of transformers, which pools by the pad id, drops the end of each text."""
    if isinstance(config, CustomGPTConfig):  # which pools by the attention mask
        return []
    last = tokenizer("a", verbose=False)["input_ids"][-1:]
    if last != [tokenizer.pad_token_id]:
        return []
    return [f"the token at the end of each text ({tokenizer.pad_token}) is taken for padding"]


def refuse_quantised(entry: Model, config: PreTrainedConfig) -> None:
    """Refuse weights that cannot be loaded here, or not be trained, as they are quantised.

    Raises:
        UserError: naming the model, the method, and what is missing.
    """
    found: Any = getattr(config, "quantization_config", None)
    if found is None or entry.random_init:
        return
    method = found.get("quant_method") if isinstance(found, dict) else found.quant_method
    what = f"models.{entry.name}: the weights of {entry.source} are quantised ({method})"
    try:
        quantizer = AutoHfQuantizer.from_config(found, pre_quantized=True)
        quantizer.validate_environment(device_map=None, dtype=torch.float32)
    except Exception as error:  # each method asks for what it likes
        reason = one_line(f"{type(error).__name__}: {error}")
        raise UserError(f"{what} and cannot be loaded here: {reason}") from error
    if not quantizer.is_trainable:
        raise UserError(f"{what} and cannot be trained; take a checkpoint that is not")


def _sentence_pooling(name: str, revision: str | None) -> str | None:
    """How sentence-transformers would pool, in its words; None for other checkpoints."""
    path = cached_file(
        name,
        _POOLING,
        revision=revision,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if path is None:
        return None
    content = json.loads(Path(path).read_text("utf-8"))
    chosen = [
        key for key, is_on in content.items() if key.startswith("pooling_mode") and is_on is True
    ]
    said = [key.removeprefix("pooling_mode_") for key in chosen]
    return ", ".join(said) or str(content.get("pooling_mode", "its own"))
