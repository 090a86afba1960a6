"""A model of the recipe -> tokenizer, configuration and model, ready for the Trainer.

The Auto classes are the registry: whatever they can load can be a row of the table.
"""

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Tokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from hfbench.data.hub import refuse_adapter, resolve_revision, user_errors
from hfbench.data.texts import hash_texts
from hfbench.digest import hash_files
from hfbench.errors import UserError, nearest
from hfbench.models.custom_gpt import CustomGPTConfig
from hfbench.models.lora import add_adapters, find_targets
from hfbench.models.sizes import refuse_impossible_sizes
from hfbench.recipe import Lora, Model, Tokenizer
from hfbench.record import Kind

# Loading a `.bin` starts a thread that asks the Hub to convert the repo; nobody asked for that.
os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")

_PAD_TOKEN = "<|pad|>"


@dataclass(frozen=True)
class PreparedModel:
    """All of a model but its weights: enough to tokenise, to count parameters and to plan."""

    entry: Model
    tokenizer: PreTrainedTokenizerBase
    config: PreTrainedConfig
    revision: str | None

    @property
    def max_length(self) -> int:
        """Tokens that the model can take."""
        most = self.tokenizer.model_max_length
        positions = getattr(self.config, "max_position_embeddings", None) or most
        return min(most, positions) if positions > 0 else most  # XLNet has -1: any number

    @property
    def is_own_architecture(self) -> bool:
        """Whether it is neither from transformers nor from hfbench, which test theirs."""
        package = type(self.config).__module__.partition(".")[0]
        return package not in (transformers.__name__, "hfbench")

    @cached_property
    def embedding_rows(self) -> int:
        """Rows that the word embedding needs: one more than the highest id, there may be gaps."""
        return max(self.tokenizer.get_vocab().values()) + 1


def prepare_model(entry: Model, texts_for: Callable[[str], Sequence[str]]) -> PreparedModel:
    """Load the tokenizer and the configuration of a model, or make them.

    Args:
        entry: a model that is not a control, with the recipe's tokenizer where it has none.
        texts_for: gives the texts to train a tokenizer on, for "task" or "corpus".

    Raises:
        UserError: naming the model, if something cannot be had or does not fit.
    """
    key = f"models.{entry.name}"
    name = entry.model_name_or_path
    revision = resolve_revision(name, entry.revision, "model", f"{key}.model_name_or_path")
    trust = entry.trust_remote_code
    if name:
        refuse_adapter(name, revision, f"{key}.model_name_or_path")
    with _named(entry, "tokenizer"):
        if entry.tokenizer is None:
            loaded = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=trust)
        else:
            loaded = _load_tokenizer(entry.tokenizer, texts_for, f"{key}.tokenizer")
        _refuse_empty(loaded, key)
    with _named(entry, "configuration"):
        if name:
            config, unused = AutoConfig.from_pretrained(
                name,
                revision=revision,
                trust_remote_code=trust,
                attn_implementation=None,  # whatever it says: it may name a kernel of the Hub
                return_unused_kwargs=True,
                **entry.config,
            )
            _refuse_unknown(unused, config, key)
            _ensure_pad_token(loaded)
        else:
            config = _new_config(entry, loaded, key)
        refuse_impossible_sizes(entry, config)
    return PreparedModel(entry, loaded, config, revision)


@contextmanager
def _named(entry: Model, part: str) -> Iterator[None]:
    """Errors of loading a ``part`` of a model name both, and how to permit what is not."""
    try:
        with user_errors(f"models.{entry.name}: the {part} of {entry.source}"):
            yield
    except UserError as error:
        if "contains custom code" not in str(error):
            raise
        raise UserError(
            f"models.{entry.name}: {entry.source} comes with custom code, which would be run here; "
            "read it first, then permit it by trust_remote_code: true"
        ) from error


def _refuse_empty(tokenizer: PreTrainedTokenizerBase, key: str) -> None:
    """Of a folder without a tokenizer's files transformers makes one that knows no word."""
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise UserError(
            f"{key}: there is no tokenizer (tokenizer.json, or vocab.json and merges.txt, or "
            f"vocab.txt); give {key}.tokenizer"
        )


def check_head(prepared: PreparedModel, kind: Kind) -> None:
    """Refuse a model that cannot be built for ``kind``, without making any weights.

    Raises:
        UserError: if the architecture has no such head, or if its configuration contradicts itself.
    """
    entry, config = prepared.entry, prepared.config
    name = type(config).__name__
    auto_class, mapping, head = {
        "classification": (
            AutoModelForSequenceClassification,
            MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
            "classifier of texts",
        ),
        "pretraining": (AutoModelForCausalLM, MODEL_FOR_CAUSAL_LM_MAPPING, "language model"),
    }[kind]
    if type(config) not in mapping and not entry.trust_remote_code:
        raise UserError(
            f"models.{entry.name}: transformers has no {head} for {name} ({entry.source})"
        )
    with _built(entry, name), torch.device("meta"):
        auto_class.from_config(config, trust_remote_code=entry.trust_remote_code)


@contextmanager
def _built(entry: Model, class_name: str) -> Iterator[None]:
    """Errors of a constructor name the model, and that its ``config`` is to be looked at."""
    key = f"models.{entry.name}" + (".config" if entry.config else "")
    try:
        yield
    # what the constructors of the architectures make of sizes and names that do not fit
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        RuntimeError,
        StrictDataclassError,
        TypeError,
        ValueError,
    ) as error:
        said = error.__cause__ if isinstance(error, StrictDataclassError) else None
        reason = f"{type(said or error).__name__}: {said or error}"[:300]
        what = f"{class_name} ({entry.source})"
        raise UserError(f"{key}: {what} cannot be built: {reason}") from error


def load_classifier(
    prepared: PreparedModel,
    labels: list[str],
    init_seed: int,
    pretrained: Path | None = None,
    lora: Lora | None = None,
) -> PreTrainedModel:
    """The model with a classification head for ``labels``; new weights are drawn from the seed.

    Args:
        prepared: what `prepare_model` gave.
        labels: names; the head has an output for each.
        init_seed: of the stream for new weights.
        pretrained: folder of the language model that pretraining left, to start from.
        lora: train these adapters, the head and what else is new; freeze all other weights.
    """
    names = dict(enumerate(labels))
    head = {"id2label": names, "label2id": {name: number for number, name in names.items()}}
    model, new = _load(AutoModelForSequenceClassification, prepared, init_seed, head, pretrained)
    # Else the Trainer believes that the model divides its loss by the whole step's examples.
    model.accepts_loss_kwargs = False
    if lora:
        add_adapters(model, lora, new, f"models.{prepared.entry.name}.lora")
    return model


def check_lora(prepared: PreparedModel, lora: Lora) -> None:
    """Refuse what `load_classifier` could not do, without loading or making any weights.

    Raises:
        UserError: if PEFT is missing, or if the model has no layers for these adapters.
    """
    trust = prepared.entry.trust_remote_code
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(
            prepared.config, trust_remote_code=trust
        )
    find_targets(model, lora, f"models.{prepared.entry.name}.lora")


def load_causal_lm(prepared: PreparedModel, init_seed: int) -> PreTrainedModel:
    """The model with a language-model head, to be pretrained."""
    model, _ = _load(AutoModelForCausalLM, prepared, init_seed, {}, None)
    # GPT2LMHeadModel's name does not tell its loss; the Trainer would count its first tokens, too
    model.loss_type = "ForCausalLM"
    return model


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


def train_tokenizer(texts: Sequence[str], vocab_size: int) -> PreTrainedTokenizerBase:
    """GPT-2's kind of tokenizer (byte-level BPE) with a pad token of its own.

    The models of a recipe mostly train theirs on the same texts: that is done once.
    """
    found = _train_tokenizer(_Texts(hash_texts(texts), texts), vocab_size)
    return copy.deepcopy(found)  # a model may add tokens


@dataclass(frozen=True)
class _Texts:
    """Equal to others of the same content, without a copy of it."""

    content_hash: str
    texts: Sequence[str] = field(compare=False)


@lru_cache(maxsize=4)
def _train_tokenizer(texts: _Texts, vocab_size: int) -> PreTrainedTokenizerBase:
    tokenizer = GPT2Tokenizer().train_new_from_iterator(
        texts.texts, vocab_size, new_special_tokens=[_PAD_TOKEN], show_progress=False
    )
    tokenizer.pad_token = _PAD_TOKEN
    return tokenizer


def _load_tokenizer(
    chosen: Tokenizer, texts_for: Callable[[str], Sequence[str]], key: str
) -> PreTrainedTokenizerBase:
    if chosen.train_on:
        return train_tokenizer(texts_for(chosen.train_on), chosen.vocab_size)
    revision = resolve_revision(chosen.name_or_path, chosen.revision, "model", key)
    return AutoTokenizer.from_pretrained(
        chosen.name_or_path, revision=revision, trust_remote_code=False
    )


def _new_config(entry: Model, tokenizer: PreTrainedTokenizerBase, key: str) -> PreTrainedConfig:
    """Configuration of an architecture with random weights that fits the tokenizer."""
    if entry.preset and tokenizer.pad_token is None:
        # Harmless: the custom GPT pools by the attention mask and never looks at the pad id.
        tokenizer.pad_token = tokenizer.eos_token
    _ensure_pad_token(tokenizer)
    values = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        **entry.config,
    }
    if entry.preset:
        with _built(entry, CustomGPTConfig.__name__):
            return CustomGPTConfig.from_preset(entry.preset, **values)
    default = AutoConfig.for_model(entry.model_type)
    unknown = {name: value for name, value in entry.config.items() if not hasattr(default, name)}
    _refuse_unknown(unknown, default, key)
    with _built(entry, type(default).__name__):
        return AutoConfig.for_model(entry.model_type, **values)


def _refuse_unknown(unknown: dict[str, Any], config: PreTrainedConfig, key: str) -> None:
    for name in unknown:
        hint = nearest(name, config.to_dict())
        raise UserError(f"{key}.config: {type(config).__name__} has no field {name!r}{hint}")


def _ensure_pad_token(tokenizer: PreTrainedTokenizerBase) -> None:
    """A pad token that is no other token.

    With the EOS token for a pad, as is often done for GPT-2, its classifier would take a real EOS
    at the end of a text for padding.
    """
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": _PAD_TOKEN})


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
        with _named(entry, "weights"):
            model, info = auto_class.from_pretrained(
                entry.model_name_or_path,
                config=config,
                revision=prepared.revision,
                ignore_mismatched_sizes=True,  # a head for other labels is replaced
                output_loading_info=True,
                **options,
            )
        _refuse_random_body(model, info, f"models.{entry.name}")
        _refuse_foreign_tokenizer(prepared, model)
    else:
        model = auto_class.from_config(config, **options)
    model.config.pad_token_id = prepared.tokenizer.pad_token_id
    if prepared.embedding_rows > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(prepared.embedding_rows, mean_resizing=False)
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
    tokenizer, rows = prepared.tokenizer, model.get_input_embeddings().num_embeddings
    added = tokenizer.get_added_vocab()
    highest = max(id for token, id in tokenizer.get_vocab().items() if token not in added)
    if highest >= rows:
        raise UserError(
            f"models.{prepared.entry.name}: the tokenizer of {prepared.entry.source} gives numbers "
            f"up to {highest:,}, but its embedding has {rows:,} rows; it belongs to another model"
        )
