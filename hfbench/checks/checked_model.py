"""What is checked: a checkpoint, or a configuration class of one's own, built small."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from hfbench.errors import UserError
from hfbench.models.architecture import AUTO_CLASSES, find_config_class, find_model_class
from hfbench.models.imports import import_modules
from hfbench.models.load import load_causal_lm, load_classifier
from hfbench.models.prepare import PreparedModel, prepare_model
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.schema import Model
from hfbench.recipe.types import Head

HEADS: tuple[Head, ...] = tuple(AUTO_CLASSES)
LABELS = ["a", "b", "c"]
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
}


@dataclass(frozen=True)
class CheckedModel:
    """A model under check; every method builds it anew."""

    prepared: PreparedModel
    missing: dict[Head, str]
    """Why there is no model with this head."""
    name: str = ""
    """As `find_checked_model` was asked for it; empty for a model of a recipe."""

    @property
    def config(self) -> PreTrainedConfig:
        """The configuration as it came, with its dropout."""
        return self.prepared.config

    @property
    def heads(self) -> list[Head]:
        """The heads that there are."""
        return [head for head in HEADS if head not in self.missing]

    def load(self, head: Head) -> PreTrainedModel:
        """With the checkpoint's weights, if it is one; in evaluation mode, without dropout."""
        return self._make(head, self.prepared.entry, _without_dropout(self.config))

    def new(self, head: Head, *, dropout: bool = False, **changes: Any) -> PreTrainedModel:
        """With new weights, the same each time; in evaluation mode.

        Args:
            head: what it is for.
            dropout: whether to keep the configuration's dropout.
            changes: of the configuration.
        """
        config = self.config if dropout else _without_dropout(self.config)
        config = type(config).from_dict({**config.to_dict(), **changes})
        twin = bool(self.prepared.entry.model_name_or_path)
        return self._make(
            head, self.prepared.entry.model_copy(update={"random_init": twin}), config
        )

    def strong(self, head: Head, *, dropout: bool = False) -> PreTrainedModel:
        """With weights so large that every part shows in the logits, whatever the model draws.

        Nothing is asked of the checkpoint's or the new weights here, so that a mistake in how they
        are drawn is found by the check of just that.
        """
        model = self.new(head, dropout=dropout)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                noise = torch.randn(weight.shape, generator=generator)
                if weight.ndim > 1:
                    weight.copy_(noise * weight.shape[-1] ** -0.5)
                else:  # a norm stays near the identity
                    weight.copy_(0.1 * noise + float(name.endswith("weight")))
        return model

    def _make(self, head: Head, entry: Model, config: PreTrainedConfig) -> PreTrainedModel:
        prepared = replace(self.prepared, entry=entry, config=config)
        if head == "classifier":
            model = load_classifier(prepared, LABELS, init_seed=0)
        else:
            model = load_causal_lm(prepared, init_seed=0)
        return model.eval()

    def rows(self, count: int, length: int) -> Tensor:
        """Random ids of shape (count, length), the same each time; none is a special token."""
        tokenizer = self.prepared.tokenizer
        special = {*tokenizer.all_special_ids, self.config.pad_token_id}
        ids = [i for i in range(min(len(tokenizer), self.config.vocab_size)) if i not in special]
        chosen = torch.randint(
            len(ids), (count, length), generator=torch.Generator().manual_seed(1)
        )
        return torch.tensor(ids)[chosen]

    def labels(self, head: Head, ids: Tensor) -> Tensor:
        """Labels for these rows: class numbers, or the ids themselves."""
        return torch.arange(len(ids)) % len(LABELS) if head == "classifier" else ids.clone()


def find_checked_model(model: str, *, trust_remote_code: bool = False) -> CheckedModel:
    """The model that a Hub id, a folder or ``package.module:ConfigClass`` stands for.

    Raises:
        UserError: if there is none.
    """
    is_class = re.fullmatch(r"[\w.]+:\w+", model)
    checked = _from_class(model) if is_class else _from_checkpoint(model, trust_remote_code)
    if checked.config.is_encoder_decoder:
        raise UserError(f"{model}: encoders with a decoder cannot be checked")
    return replace(checked, name=model)


def _from_checkpoint(model: str, trust_remote_code: bool) -> CheckedModel:
    entry: dict[str, Any] = {"name": _NAME, "model_name_or_path": model}
    folder = Path(model)
    if folder.is_dir() and not any(folder.glob("tokenizer*")):
        # only weights were saved: any tokenizer will do, for the checks draw their own ids
        entry["tokenizer"] = {"train_on": "task", "vocab_size": 260}
    try:
        loaded = Model.model_validate({**entry, "trust_remote_code": trust_remote_code})
        return from_prepared(prepare_model(loaded, lambda source: _TEXTS))
    except ValidationError as error:
        raise UserError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    except UserError as error:
        message = str(error).removeprefix(f"models.{_NAME}").removeprefix(".model_name_or_path")
        raise UserError(message.removeprefix(": ")) from error


def from_prepared(prepared: PreparedModel) -> CheckedModel:
    """The model of a recipe."""
    config = prepared.config
    auto_map = getattr(config, "auto_map", None) or {}  # only remote code has one
    missing: dict[Head, str] = {}
    for head, auto_class in AUTO_CLASSES.items():
        name = auto_class.__name__
        if not find_model_class(head, type(config)) and name not in auto_map:
            missing[head] = f"no {name} is registered for {type(config).__name__} or lies beside it"
    return CheckedModel(prepared, _complete(missing, config))


def _from_class(name: str) -> CheckedModel:
    import_modules({name.partition(":")[0]: name}, Path())  # from the current directory, too
    config_class = find_config_class(name, name)
    tokenizer = train_tokenizer(_TEXTS, 260)
    tokenizer.model_max_length = int(1e30)  # so that only the configuration tells the longest text
    ids = {f"{which}_token_id": getattr(tokenizer, f"{which}_token_id") for which in ("pad", "eos")}
    try:
        default = config_class()
        # attributes are all that an arbitrary configuration can be asked for
        sizes = {key: size for key, size in _SMALL_SIZES.items() if hasattr(default, key)}
        config = config_class(
            **sizes,
            **ids,
            bos_token_id=ids["eos_token_id"],
            vocab_size=len(tokenizer),
            id2label=dict(enumerate(LABELS)),
            label2id={label: number for number, label in enumerate(LABELS)},
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} cannot be built small: {error}") from error
    entry = Model.model_validate({"name": _NAME, "model": name})
    return from_prepared(PreparedModel(entry, tokenizer, config, revision=None))


def _complete(missing: dict[Head, str], config: PreTrainedConfig) -> dict[Head, str]:
    """Also without a causal language model: transformers has one for BERT that sees the future.

    Raises:
        UserError: if no head is left.
    """
    if not getattr(config, "is_decoder", True):  # most configurations have no such field
        missing = {**missing, "language model": "an encoder (is_decoder is False)"}
    if len(missing) == len(HEADS):
        raise UserError("nothing to check: " + "; ".join(missing.values()))
    return missing


def _without_dropout(config: PreTrainedConfig) -> PreTrainedConfig:
    values = config.to_dict()
    off = {
        name: 0.0 for name, value in values.items() if "drop" in name and isinstance(value, float)
    }
    return type(config).from_dict({**values, **off})
