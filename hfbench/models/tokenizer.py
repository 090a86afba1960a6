"""The tokenizer of a model: loaded, or trained on the recipe's own texts."""

import copy
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from tokenizers import processors
from transformers import AutoTokenizer, GPT2Tokenizer, PreTrainedTokenizerBase

from hfbench.errors import UserError
from hfbench.recipe.model import Tokenizer
from hfbench.system.hashes import hash_texts
from hfbench.system.hub import resolve_revision

_PAD_TOKEN = "<|pad|>"


def train_tokenizer(texts: Sequence[str], vocab_size: int) -> PreTrainedTokenizerBase:
    """GPT-2's kind of tokenizer (byte-level BPE) with a pad token of its own.

    The models of a recipe mostly train theirs on the same texts: that is done once.
    """
    found = _train_tokenizer(_Texts(hash_texts(texts), texts), vocab_size)
    return copy.deepcopy(found)  # a model may add tokens


def load_tokenizer(
    chosen: Tokenizer, texts_for: Callable[[str], Sequence[str]], key: str
) -> PreTrainedTokenizerBase:
    """The tokenizer that a recipe names, or one that is trained as it says.

    Args:
        chosen: what the recipe says.
        texts_for: gives the texts to train on, for "task" or "corpus".
        key: where the recipe says so, for messages.
    """
    if chosen.train_on:
        return train_tokenizer(texts_for(chosen.train_on), chosen.vocab_size)
    revision = resolve_revision(chosen.name_or_path, chosen.revision, "model", key)
    return AutoTokenizer.from_pretrained(
        chosen.name_or_path, revision=revision, trust_remote_code=False
    )


def refuse_empty(tokenizer: PreTrainedTokenizerBase, key: str) -> None:
    """Of a folder without a tokenizer's files transformers makes one that knows no word."""
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise UserError(no_tokenizer(key))


def no_tokenizer(key: str) -> str:
    """What is said of a checkpoint that comes without a tokenizer."""
    return (
        f"{key}: there is no tokenizer (tokenizer.json, or vocab.json and merges.txt, or "
        f"vocab.txt); give {key}.tokenizer, or the recipe one"
    )


def end_texts(tokenizer: PreTrainedTokenizerBase) -> None:
    """Let a tokenizer that was trained here put EOS after each text.

    The classifiers of BART and T5 read the place of the last one.
    """
    eos = tokenizer.eos_token
    template = processors.TemplateProcessing(
        single=f"$A {eos}",
        pair=f"$A {eos} $B:1 {eos}:1",
        special_tokens=[(eos, tokenizer.eos_token_id)],
    )
    backend = tokenizer.backend_tokenizer
    backend.post_processor = processors.Sequence([backend.post_processor, template])


def ensure_pad_token(tokenizer: PreTrainedTokenizerBase) -> None:
    """A pad token that is no other token.

    With the EOS token for a pad, as is often done for GPT-2, its classifier would take a real EOS
    at the end of a text for padding.
    """
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": _PAD_TOKEN})


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


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 (hex); equal for tokenizers that give the same ids.

    To be asked before anything is tokenised, for a tokenizer keeps as part of its state how it was
    last told to truncate.
    """
    if tokenizer.is_fast:  # the backend's JSON is all that decides the ids
        content = tokenizer.backend_tokenizer.to_str()
    else:
        content = json.dumps([type(tokenizer).__name__, tokenizer.get_vocab()], sort_keys=True)
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    sides = [tokenizer.padding_side, tokenizer.truncation_side]
    return hashlib.sha256(json.dumps([content, special, sides]).encode()).hexdigest()
