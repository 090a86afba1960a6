"""Small networks with a tokenizer, as checkpoints in a folder, and entries that name them."""

from pathlib import Path

import torch
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel

from hfbench.models.prepare import PreparedModel, prepare_model
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.model import Model

WORDS = [
    "good",
    "fine",
    "great",
    "bad",
    "poor",
    "awful",
    "film",
    "meal",
    "was",
    "the",
    "a",
    "so",
    "indeed",
    "it",
    "and",
    "yes",
    "no",
    "sad",
]
TEXTS = [" ".join(WORDS[n % 7 :: 1 + n % 3]) for n in range(24)]


def save_gpt2(folder: Path, positions: int = 64) -> Path:
    """A language model of random weights, so large that what it reads shows in what it says."""
    tokenizer = train_tokenizer(TEXTS, 300)
    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=2, n_head=2, n_embd=16, n_positions=positions, vocab_size=len(tokenizer),
        initializer_range=0.3, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_bert(folder: Path) -> Path:
    """An encoder."""
    tokenizer = train_tokenizer(TEXTS, 300)
    torch.manual_seed(0)
    config = BertConfig(
        num_hidden_layers=2, num_attention_heads=2, hidden_size=16, intermediate_size=32,
        max_position_embeddings=64, vocab_size=len(tokenizer), initializer_range=0.3,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def prepare(folder: Path, **entry: object) -> PreparedModel:
    """The checkpoint in ``folder`` with these keys of a model's entry."""
    values = {"name": "m", "model_name_or_path": str(folder), **entry}
    return prepare_model(Model.model_validate(values), lambda source: TEXTS)
