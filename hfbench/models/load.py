"""A prepared model -> the model with its weights, ready for the Trainer.

The Auto classes are the registry: whatever they can load can be a row of the table.
"""

import os
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    set_seed,
)

from hfbench.errors import UserError
from hfbench.models.embedding import embedding_rows, fit_embedding, set_pad_token
from hfbench.models.lora import add_adapters
from hfbench.models.origin import order_outputs
from hfbench.models.prepare import PreparedModel, named
from hfbench.recipe.model import Lora
from hfbench.recipe.types import ProblemType
from hfbench.system.hub import refuse_damaged_download

# Loading a `.bin` starts a thread that asks the Hub to convert the repo; nobody asked for that.
os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")


def load_classifier(
    prepared: PreparedModel,
    labels: list[str],
    init_seed: int,
    pretrained: Path | None = None,
    lora: Lora | None = None,
    kind: ProblemType = "single_label_classification",
) -> PreTrainedModel:
    """The model with a classification head for ``labels``; new weights are drawn from the seed.

    Args:
        prepared: what `prepare_model` gave.
        labels: names; the head has an output for each (of a regression one).
        init_seed: of the stream for new weights.
        pretrained: folder of the language model that pretraining left, to start from.
        lora: train these adapters, the head and what else is new; freeze all other weights.
        kind: what is asked of a text; whoever loads the model later finds it in its configuration.
    """
    names = dict(enumerate(labels))
    head: dict[str, Any] = {
        "id2label": names,
        "label2id": {name: number for number, name in names.items()},
    }
    # of a single label transformers knows it by the labels; a checkpoint may say something else
    if kind != "single_label_classification" or prepared.config.problem_type:
        head["problem_type"] = kind
    model, new = _load(AutoModelForSequenceClassification, prepared, init_seed, head, pretrained)
    if order := prepared.head(labels, kind).order:
        order_outputs(model, order)
    # Else the Trainer believes that the model divides its loss by the whole step's examples.
    model.accepts_loss_kwargs = False
    if lora:
        add_adapters(model, lora, new, f"models.{prepared.entry.name}.lora")
    return model


def load_causal_lm(prepared: PreparedModel, init_seed: int) -> PreTrainedModel:
    """The model with a language-model head, to be pretrained."""
    model, _ = _load(AutoModelForCausalLM, prepared, init_seed, {}, None)
    # GPT2LMHeadModel's name does not tell its loss; the Trainer would count its first tokens, too
    model.loss_type = "ForCausalLM"
    return model


def load_prompted(prepared: PreparedModel, pretrained: Path | None) -> PreTrainedModel:
    """The language model as it is, to be asked, in evaluation mode.

    Args:
        prepared: what `prepare_model` gave.
        pretrained: folder of what pretraining left, to be read in its place.

    Raises:
        UserError: if the checkpoint has no language-model head.
    """
    model, new = _load(AutoModelForCausalLM, prepared, 0, {}, pretrained)
    if new:
        raise UserError(
            f"models.{prepared.entry.name}.prompt: {prepared.entry.source} has no "
            f"{min(new)}, so that its language-model head would be random"
        )
    return model.eval()


def _load(
    auto_class: Any,
    prepared: PreparedModel,
    init_seed: int,
    head: dict[str, Any],
    pretrained: Path | None,
) -> tuple[PreTrainedModel, set[str]]:
    """The model, and the names of what a checkpoint did not bring or had in another shape."""
    entry = prepared.entry
    options = {"trust_remote_code": entry.trust_remote_code, "dtype": torch.float32}
    config = type(prepared.config).from_dict({**prepared.config.to_dict(), **head})
    set_seed(init_seed)
    info: dict[str, Any] = {"missing_keys": [], "mismatched_keys": []}
    if pretrained:
        model, info = auto_class.from_pretrained(
            pretrained, config=config, output_loading_info=True, **options
        )
    elif entry.model_name_or_path and not entry.random_init:
        with named(entry, "weights"):
            model, info = auto_class.from_pretrained(
                entry.model_name_or_path,
                config=config,
                revision=prepared.revision,
                ignore_mismatched_sizes=True,  # a head for other labels is replaced
                output_loading_info=True,
                **options,
            )
        if prepared.revision:
            refuse_damaged_download(
                entry.model_name_or_path, prepared.revision, f"models.{entry.name}"
            )
        _refuse_random_body(model, info, f"models.{entry.name}")
        _refuse_foreign_tokenizer(prepared, model)
    else:
        model = auto_class.from_config(config, **options)
    set_pad_token(model.config, prepared.tokenizer)
    fit_embedding(model, prepared.embedding_rows)
    return model, {*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])}


def _refuse_random_body(model: PreTrainedModel, info: dict[str, Any], key: str) -> None:
    """A head may be new; a body that is new in part would pass for pretrained."""
    prefix = f"{model.base_model_prefix}."
    for name, found, wanted in info["mismatched_keys"]:
        if name.startswith(prefix):
            raise UserError(
                f"{key}: {name} has the shape {tuple(found)} in the checkpoint, but the "
                f"configuration asks for {tuple(wanted)}"
            )
    # BERT's pooler belongs to its body, but a checkpoint that was never a classifier has none
    missing = [n for n in info["missing_keys"] if n.startswith(prefix) and "pooler" not in n]
    if missing:
        raise UserError(
            f"{key}: the checkpoint has no {sorted(missing)[0]}, nor {len(missing) - 1} other "
            "weights of the body that the configuration describes; they would be random"
        )


def _refuse_foreign_tokenizer(prepared: PreparedModel, model: PreTrainedModel) -> None:
    """Tokens may be added to a checkpoint's vocabulary; words that it never had are a mistake."""
    if prepared.entry.tokenizer is not None:
        return
    tokenizer, rows = prepared.tokenizer, embedding_rows(model)
    added = tokenizer.get_added_vocab()
    highest = max(id for token, id in tokenizer.get_vocab().items() if token not in added)
    if rows is not None and highest >= rows:
        raise UserError(
            f"models.{prepared.entry.name}: the tokenizer of {prepared.entry.source} gives numbers "
            f"up to {highest:,}, but its embedding has {rows:,} rows; it belongs to another model"
        )
