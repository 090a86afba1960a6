"""A model of the recipe -> tokenizer and configuration: all of it but its weights."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
)

from hfbench.errors import UserError, nearest, one_line
from hfbench.models.architecture import (
    AUTO_CLASSES,
    find_config_class,
    find_model_class,
    is_own,
    is_read,
)
from hfbench.models.custom_gpt import CustomGPTConfig
from hfbench.models.lengths import find_max_length
from hfbench.models.lora import find_targets
from hfbench.models.origin import (
    ClassifierHead,
    checkpoint_notes,
    classifier_head,
    padding_notes,
    refuse_quantised,
)
from hfbench.models.sizes import refuse_impossible_sizes
from hfbench.models.tokenizer import (
    end_texts,
    ensure_pad_token,
    load_tokenizer,
    no_tokenizer,
    refuse_empty,
)
from hfbench.recipe.cells import brings_tokenizer
from hfbench.recipe.model import Lora, Model
from hfbench.recipe.types import Head, ProblemType
from hfbench.system.hub import refuse_adapter, refuse_code_elsewhere, resolve_revision, user_errors


@dataclass(frozen=True)
class PreparedModel:
    """All of a model but its weights: enough to tokenise, to count parameters and to plan."""

    entry: Model
    """Of the recipe."""
    tokenizer: PreTrainedTokenizerBase
    """With a pad token."""
    config: PreTrainedConfig
    """Without the labels of a task."""
    revision: str | None
    """Commit of a checkpoint of the Hub; None for what does not come from there."""
    notes: tuple[str, ...] = ()
    """What a reader of its results is to know: in what it is not what its name says."""

    @cached_property
    def max_length(self) -> int:
        """Tokens of a text that the model can take; `lengths.NO_LIMIT` where nothing limits them.

        Raises:
            UserError: if it cannot read a text at all.
        """
        return find_max_length(self.entry, self.config, self.tokenizer, self.embedding_rows)

    def head(
        self, labels: list[str], kind: ProblemType = "single_label_classification"
    ) -> ClassifierHead:
        """What becomes of the classification head of its checkpoint, for ``labels``."""
        entry = self.entry
        if entry.model_name_or_path is None or entry.random_init or entry.pretrain:
            return ClassifierHead()
        return classifier_head(self.config, labels, kind)

    @property
    def is_own_architecture(self) -> bool:
        """Whether it is neither from transformers nor from hfbench, which test theirs."""
        return is_own(type(self.config))

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
    trust, notes = entry.trust_remote_code, list[str]()
    if name:
        refuse_adapter(name, revision, f"{key}.model_name_or_path")
    if name and trust:
        refuse_code_elsewhere(name, revision, f"{key}.model_name_or_path")
    with named(entry, "tokenizer"):
        if entry.tokenizer is None:
            assert name  # else the recipe has a tokenizer
            if not brings_tokenizer(name) and (Path(name) / "config.json").is_file():
                raise UserError(no_tokenizer(key))
            loaded = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=trust)
        else:
            loaded = load_tokenizer(entry.tokenizer, texts_for, f"{key}.tokenizer")
            if name and not brings_tokenizer(name):
                notes.append("it has no tokenizer of its own, and was given one")
        refuse_empty(loaded, key)
    with named(entry, "configuration"):
        if name:
            config, unused = AutoConfig.from_pretrained(
                name,
                revision=revision,
                trust_remote_code=trust,
                attn_implementation=None,  # whatever it says: it may name a kernel of the Hub
                return_unused_kwargs=True,
                **entry.config,
            )
            notes += _unknown_fields(entry, config)
            for field, value in unused.items():
                setattr(config, field, value)
            refuse_quantised(entry, config)
            notes += checkpoint_notes(entry, config, revision)
            ensure_pad_token(loaded)
        else:
            config = _new_config(entry, loaded, key, notes)
            if config.is_encoder_decoder and entry.tokenizer and entry.tokenizer.train_on:
                end_texts(loaded)
        refuse_impossible_sizes(entry, config)
        notes += padding_notes(deepcopy(loaded), config)  # it keeps how it was last asked
    return PreparedModel(entry, loaded, config, revision, tuple(notes))


def check_head(prepared: PreparedModel, head: Head) -> None:
    """Refuse a model that cannot be built with this ``head``, without making any weights.

    Raises:
        UserError: if the architecture has no such head, or if its configuration contradicts itself.
    """
    entry, config = prepared.entry, prepared.config
    name = type(config).__name__
    auto_class, what = AUTO_CLASSES[head], "classifier of texts" if head == "classifier" else head
    brought = config.to_dict().get("auto_map") or {} if entry.trust_remote_code else {}
    if not find_model_class(head, type(config)) and auto_class.__name__ not in brought:
        ending, advice = auto_class.__name__.removeprefix("AutoModel"), ""
        if entry.model:
            advice = f", and none lies beside it: a class called ...{ending}, with config: {name}"
        elif brought:
            advice = (
                f", and its own code has none (auto_map: {', '.join(brought)}): write a class "
                f"...{ending} there, and register_for_auto_class({auto_class.__name__!r})"
            )
        raise UserError(
            f"models.{entry.name}: transformers has no {what} for {name} ({entry.source}){advice}"
        )
    with built(entry, name), torch.device("meta"):
        AUTO_CLASSES[head].from_config(config, trust_remote_code=entry.trust_remote_code)


def check_lora(prepared: PreparedModel, lora: Lora) -> None:
    """Refuse what `load_classifier` could not do, without loading or making any weights.

    Raises:
        UserError: if PEFT is missing, or if the model has no layers for these adapters.
    """
    trust = prepared.entry.trust_remote_code
    with torch.device("meta"):
        model = AUTO_CLASSES["classifier"].from_config(prepared.config, trust_remote_code=trust)
    find_targets(model, lora, f"models.{prepared.entry.name}.lora")


@contextmanager
def named(entry: Model, part: str) -> Iterator[None]:
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


@contextmanager
def built(entry: Model, class_name: str) -> Iterator[None]:
    """Errors of a constructor name the model, and that its ``config`` is to be looked at."""
    key = f"models.{entry.name}" + (".config" if entry.config else "")
    try:
        yield
    # what the constructors of the architectures make of sizes and names that do not fit
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        ImportError,
        LookupError,
        RuntimeError,
        StrictDataclassError,
        TypeError,
        ValueError,
    ) as error:
        said = error.__cause__ if isinstance(error, StrictDataclassError) else None
        reason = one_line(f"{type(said or error).__name__}: {said or error}")
        what = f"{class_name} ({entry.source})"
        raise UserError(f"{key}: {what} cannot be built: {reason}") from error


def _new_config(
    entry: Model, tokenizer: PreTrainedTokenizerBase, key: str, notes: list[str]
) -> PreTrainedConfig:
    """Configuration of an architecture with random weights that fits the tokenizer.

    What is to be said of it is added to ``notes``.
    """
    if entry.preset and tokenizer.pad_token is None:
        # Harmless: the custom GPT pools by the attention mask and never looks at the pad id.
        tokenizer.pad_token = tokenizer.eos_token
    ensure_pad_token(tokenizer)
    values = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        **entry.config,
    }
    if entry.preset:
        with built(entry, CustomGPTConfig.__name__):
            return CustomGPTConfig.from_preset(entry.preset, **values)
    if entry.model_type and entry.model_type not in CONFIG_MAPPING:
        raise UserError(
            f"models.{entry.name}: the configuration of {entry.model_type} cannot be loaded: "
            f"transformers has no architecture {entry.model_type!r}"
            f"{nearest(entry.model_type, CONFIG_MAPPING)} (one of your own: `imports` names the "
            "module that registers it)"
        )
    new_config: Callable[..., PreTrainedConfig] = partial(AutoConfig.for_model, entry.model_type)
    if entry.model:
        new_config = find_config_class(entry.model, f"{key}.model")
    default = new_config()
    notes += _unknown_fields(entry, default)
    with built(entry, type(default).__name__):
        return new_config(**values)


def _unknown_fields(entry: Model, config: PreTrainedConfig) -> list[str]:
    """What is to be said of fields that the recipe gives and ``config`` does not declare.

    Nothing of those that the architecture reads all the same, as T5 its decoder_start_token_id.

    Raises:
        UserError: where the class takes no fields but its own.
    """
    class_name, notes = type(config).__name__, []
    for name, value in entry.config.items():
        # first in its fields: an attribute may differ by layer, and then refuses to be read
        if name in config.to_dict() or hasattr(config, name):
            continue
        problem = f"{class_name} has no field {name!r}{nearest(name, config.to_dict())}"
        try:
            type(config)(**{name: value})
        except TypeError:
            raise UserError(f"models.{entry.name}.config: {problem}") from None
        if not is_read(name, type(config)):
            notes.append(f"config: {problem}; nothing reads it")
    return notes
