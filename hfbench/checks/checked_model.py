"""What is checked: a checkpoint, or a configuration class of one's own, built small."""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from pydantic import ValidationError
from torch import Tensor
from transformers import (
    TOKENIZER_MAPPING,
    PreTrainedConfig,
    PreTrainedModel,
)

from hfbench.checks.family import Family, has_state, sees_later_tokens
from hfbench.errors import UserError
from hfbench.models.architecture import AUTO_CLASSES, find_config_class, find_model_class
from hfbench.models.imports import import_modules
from hfbench.models.load import load_causal_lm, load_classifier
from hfbench.models.prepare import PreparedModel, prepare_model
from hfbench.models.tokenizer import end_texts, train_tokenizer
from hfbench.recipe.model import Model
from hfbench.recipe.types import Head, ProblemType

HEADS: tuple[Head, ...] = tuple(AUTO_CLASSES)
LABELS = ["a", "b", "c"]
LONGEST_TRIED = 512  # tokens
_NAME = "checked"  # of the recipe entry that stands for the model; errors about it are reworded
_TEXTS = ["He and I like cats and dogs.", "A film so good that I saw it twice."]

# Under the names that `attribute_map` gives a meaning to; what a configuration lacks is left out.
_SMALL_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    # of a decoder behind an encoder, whose own sizes the names above stand for
    "num_decoder_layers": 2,
    "decoder_layers": 2,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 64,
    "encoder_ffn_dim": 64,
    # of a head, where it does not follow from the others
    "d_head": 8,
    "rotary_dim": 4,
}


@dataclass(frozen=True)
class CheckedModel:
    """A model under check; every method builds it anew."""

    prepared: PreparedModel
    name: str = ""
    """As `find_checked_model` was asked for it; empty for a model of a recipe."""

    @property
    def config(self) -> PreTrainedConfig:
        """The configuration as it came, with its dropout."""
        return self.prepared.config

    @cached_property
    def missing(self) -> dict[Head, str]:
        """Why there is no model with this head."""
        reasons = {head: self._why_no(head) for head in HEADS}
        return {head: reason for head, reason in reasons.items() if reason}

    @property
    def heads(self) -> list[Head]:
        """The heads that there are."""
        return [head for head in HEADS if head not in self.missing]

    def family(self, head: Head) -> Family:
        """What the model with this head is."""
        if head == "classifier" and self.config.is_encoder_decoder:
            return "encoder-decoder"
        if "language model" in self.missing:
            return "encoder"
        return self._decoder_family

    @cached_property
    def _decoder_family(self) -> Family:
        try:
            stateful = has_state(self.new("language model"))
        except Exception:  # a stranger's code; the first check says why it cannot be built
            return "decoder"
        return "state space" if stateful else "decoder"

    def _why_no(self, head: Head) -> str:
        config = self.config
        auto_map = getattr(config, "auto_map", None) or {}  # only remote code has one
        name = AUTO_CLASSES[head].__name__
        if not find_model_class(head, type(config)) and name not in auto_map:
            return f"no {name} is registered for {type(config).__name__} or lies beside it"
        if head == "classifier" or getattr(config, "is_decoder", False):
            return ""
        # One of one's own is meant as it is registered: to see later tokens is its mistake. In
        # transformers they are registered, too, for models that are no causal ones: BERT, XLNet.
        meant = self.prepared.is_own_architecture and not hasattr(config, "is_decoder")
        if meant or auto_map:
            return ""
        try:
            is_causal = not sees_later_tokens(self.strong(head), self.rows(2, 8))
        except Exception:  # a stranger's code; the first check says what it raises
            return ""
        return "" if is_causal else "not a causal one: it sees later tokens"

    def load(self, head: Head) -> PreTrainedModel:
        """With the checkpoint's weights, if it is one; in evaluation mode, without dropout."""
        return self._make(head, self.prepared.entry, _without_dropout(self.config))

    def new(
        self, head: Head, *, dropout: bool = False, seed: int = 0, **changes: Any
    ) -> PreTrainedModel:
        """With new weights, the same each time for a seed; in evaluation mode.

        Args:
            head: what it is for.
            dropout: whether to keep the configuration's dropout.
            seed: of the weights.
            changes: of the configuration.
        """
        config = self.config if dropout else _without_dropout(self.config)
        config = type(config).from_dict({**config.to_dict(), **changes})
        twin = bool(self.prepared.entry.model_name_or_path)
        entry = self.prepared.entry.model_copy(update={"random_init": twin})
        return self._make(head, entry, config, seed)

    def strong(self, head: Head, *, dropout: bool = False) -> PreTrainedModel:
        """With weights so large that every part shows in the logits, whatever the model draws.

        Nothing is asked of the checkpoint's or the new weights here, so that a mistake in how they
        are drawn is found by the check of just that.
        """
        return _strengthened(self.new(head, dropout=dropout))

    def strong_classifier(self, labels: list[str], kind: ProblemType) -> PreTrainedModel:
        """As `strong`, of these labels (of a regression one), and asked in this way."""
        prepared = replace(self.prepared, config=_without_dropout(self.config))
        twin = bool(prepared.entry.model_name_or_path)
        entry = prepared.entry.model_copy(update={"random_init": twin})
        prepared = replace(prepared, entry=entry)
        return _strengthened(load_classifier(prepared, labels, init_seed=0, kind=kind).eval())

    def _make(
        self, head: Head, entry: Model, config: PreTrainedConfig, seed: int = 0
    ) -> PreTrainedModel:
        prepared = replace(self.prepared, entry=entry, config=config)
        if head == "classifier":
            model = load_classifier(prepared, LABELS, init_seed=seed)
        else:
            model = load_causal_lm(prepared, init_seed=seed)
        return model.eval()

    def rows(self, count: int, length: int) -> Tensor:
        """Random ids of shape (count, length), the same each time; none is a special token.

        But the last, where there is a decoder behind an encoder: its classifiers read at EOS.
        """
        tokenizer = self.prepared.tokenizer
        special = {*tokenizer.all_special_ids, self.config.pad_token_id}
        rows = min(len(tokenizer), self.config.vocab_size)
        ids = torch.tensor([id for id in range(rows) if id not in special])
        generator = torch.Generator().manual_seed(1)
        chosen = ids[torch.randint(len(ids), (count, length), generator=generator)]
        if self.config.is_encoder_decoder:
            chosen[:, -1] = self.config.eos_token_id
        return chosen

    @property
    def longest(self) -> int:
        """Tokens of the longest text that is tried: what the model takes, but no more than 512."""
        return min(self.prepared.max_length, LONGEST_TRIED)

    @property
    def pad_id(self) -> int:
        """Of the tokenizer's pad token."""
        pad_id = self.prepared.tokenizer.pad_token_id
        assert pad_id is not None  # `prepare_model` sees to it
        return pad_id

    def labels(self, head: Head, ids: Tensor) -> Tensor:
        """Labels for these rows: class numbers, or the ids themselves."""
        return torch.arange(len(ids)) % len(LABELS) if head == "classifier" else ids.clone()


def find_checked_model(model: str, *, trust_remote_code: bool = False) -> CheckedModel:
    """The model that a Hub id, a folder or ``package.module:ConfigClass`` stands for.

    Raises:
        UserError: if there is none.
    """
    is_class = re.fullmatch(r"[\w.]+:\w+", model)
    prepared = _from_class(model) if is_class else _from_checkpoint(model, trust_remote_code)
    checked = CheckedModel(prepared, model)
    if not checked.heads:
        raise UserError("nothing to check: " + "; ".join(checked.missing.values()))
    return checked


def _from_checkpoint(model: str, trust_remote_code: bool) -> PreparedModel:
    entry: dict[str, Any] = {"name": _NAME, "model_name_or_path": model}
    folder = Path(model)
    if folder.is_dir() and not any(folder.glob("tokenizer*")):
        # only weights were saved: any tokenizer will do, for the checks draw their own ids
        entry["tokenizer"] = {"train_on": "task", "vocab_size": 260}
    try:
        loaded = Model.model_validate({**entry, "trust_remote_code": trust_remote_code})
        return prepare_model(loaded, lambda source: _TEXTS)
    except ValidationError as error:
        raise UserError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    except UserError as error:
        message = str(error).removeprefix(f"models.{_NAME}").removeprefix(".model_name_or_path")
        raise UserError(message.removeprefix(": ")) from error


def _from_class(name: str) -> PreparedModel:
    import_modules({name.partition(":")[0]: name}, Path())  # from the current directory, too
    config_class = find_config_class(name, name)
    tokenizer = train_tokenizer(_TEXTS, 260)
    tokenizer.model_max_length = int(1e30)  # so that only the configuration tells the longest text
    of_its_type = TOKENIZER_MAPPING.get(config_class, None)
    if of_its_type is not None:  # XLNet's models, which read the last place, are padded on the left
        tokenizer.padding_side = of_its_type.padding_side
    ids = {f"{which}_token_id": getattr(tokenizer, f"{which}_token_id") for which in ("pad", "eos")}
    try:
        default = config_class()
        fields = {*default.to_dict(), *default.attribute_map}
        if default.is_encoder_decoder:
            ids["decoder_start_token_id"] = ids["pad_token_id"]
            end_texts(tokenizer)
        sizes = {key: size for key, size in _SMALL_SIZES.items() if key in fields}
        config = config_class(
            **sizes,
            **ids,
            bos_token_id=ids["eos_token_id"],
            vocab_size=len(tokenizer),
            id2label=dict(enumerate(LABELS)),
            label2id={label: number for number, label in enumerate(LABELS)},
        )
    except Exception as error:  # the class is a stranger's and may raise anything
        said = error.__cause__ if isinstance(error, StrictDataclassError) else None
        reason = " ".join(f"{type(said or error).__name__}: {said or error}".split())
        raise UserError(f"{name} cannot be built small: {reason}") from error
    entry = Model.model_validate({"name": _NAME, "model": name})
    return PreparedModel(entry, tokenizer, config, revision=None)


def _without_dropout(config: PreTrainedConfig) -> PreTrainedConfig:
    values = config.to_dict()
    off = {
        name: 0.0 for name, value in values.items() if "drop" in name and isinstance(value, float)
    }
    return type(config).from_dict({**values, **off})


def _strengthened(model: PreTrainedModel) -> PreTrainedModel:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.ndim > 1:
                weight.copy_(noise * weight.shape[-1] ** -0.5)
            else:  # a norm stays near the identity
                weight.copy_(0.1 * noise + float(name.endswith("weight")))
    return model
