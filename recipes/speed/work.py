"""What all sides of a row have in common: the shape, the data, the steps."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
)

from hfbench.data.builtin import pets
from hfbench.models.custom_gpt import PRESETS
from speed import texts

# sshleifer/tiny-gpt2 has this shape, and random weights, too
TINY_GPT2 = {"n_layer": 2, "n_head": 2, "n_embd": 2}


@dataclass(frozen=True)
class Encoder:
    """An architecture of transformers, and what of its configuration a row says."""

    model_type: str
    vocab_size: int
    layers: int
    dropouts: tuple[str, ...]
    """The configuration's names of all dropout rates."""
    width: int = 768
    heads: int = 12
    inner: int = 3072
    """Width of the layer inside."""
    names: tuple[str, str, str, str] = (
        "num_hidden_layers",
        "num_attention_heads",
        "hidden_size",
        "intermediate_size",
    )
    """The configuration's names of all that."""

    @property
    def shape(self) -> dict[str, int]:
        """Layers, heads and widths, under the configuration's names."""
        values = (self.layers, self.heads, self.width, self.inner)
        return dict(zip(self.names, values, strict=True))


_BERT_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")
_MODERNBERT_DROPOUTS = ("embedding_dropout", "attention_dropout", "mlp_dropout")
ENCODERS = {
    "bert-base": Encoder("bert", 30_522, 12, _BERT_DROPOUTS),
    "minilm": Encoder("bert", 30_522, 6, _BERT_DROPOUTS, width=384, inner=1536),
    "distilbert": Encoder(
        "distilbert",
        30_522,
        6,
        ("dropout", "attention_dropout", "seq_classif_dropout"),
        names=("n_layers", "n_heads", "dim", "hidden_dim"),
    ),
    "gpt2": Encoder(
        "gpt2",
        50_257,
        12,
        ("embd_pdrop", "attn_pdrop", "resid_pdrop"),
        names=("n_layer", "n_head", "n_embd", "n_inner"),
    ),
    "modernbert-base": Encoder("modernbert", 50_368, 22, _MODERNBERT_DROPOUTS, inner=1152),
    "tiny-bert": Encoder("bert", 30_522, 2, _BERT_DROPOUTS, width=32, heads=2, inner=128),
}
"""Those of the Hub by these names have the same shape; here their weights are random."""

# The study's optimiser: AdamW, constant rate; matrices decay that are not embeddings.
LEARNING_RATE = 5e-4
BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.1
MAX_GRAD_NORM = 1.0

TRAIN_REVIEWS, VALIDATION_REVIEWS = 1080, 120
SST2_TRAIN = 67_349  # sentences of SST-2's train split

_GPT2_DROPOUTS = ("embd_pdrop", "attn_pdrop", "resid_pdrop")


@dataclass(frozen=True, kw_only=True)
class Work:
    """Training that each side does in its own way."""

    kind: Literal["language model", "classifier"]
    preset: str
    """One of the custom GPT's, ``tiny-gpt2``, or one of `ENCODERS`."""
    batch: int
    steps: int
    warm_up: int
    """Steps before the clock starts."""
    corpus: Literal["pets", "book", "reviews"]
    texts: int = 0
    """Of the book; or reviews to train on, with labels that can be learned. 0: those of the study,
    and their labels say nothing."""
    validation_reviews: int = VALIDATION_REVIEWS
    train_share: float = 0.8
    """The first texts, in order, are for training, the rest for one evaluation in the end."""
    block_size: int | None = None
    """Tokens of an example, where texts are joined and cut; else a text is an example."""
    tied: bool = False
    """Whether the head shares the weight of the word embedding."""
    dropout: float = 0.1
    learning_rate: float = LEARNING_RATE
    bf16: bool = False
    compiled: bool = False
    save_checkpoint: bool = False
    """hfbench writes one after half of the steps."""
    logging_steps: int = 50
    """Of both Trainers; the bare loops log nothing."""
    loss_steps: int = 20
    """Steps whose losses are compared."""

    @property
    def train_reviews(self) -> int:
        """Texts that a classifier is trained on."""
        return self.texts or TRAIN_REVIEWS

    @property
    def encoder(self) -> Encoder | None:
        """None for a GPT that is not fine-tuned as it is in transformers."""
        return ENCODERS.get(self.preset) if self.kind == "classifier" else None

    @property
    def pad_token(self) -> int:
        """The last of the vocabulary."""
        return (self.encoder.vocab_size if self.encoder else texts.VOCAB_SIZE) - 1

    @property
    def shape(self) -> dict[str, int]:
        """Layers, heads and width, under the names of the model's configuration."""
        if self.encoder:
            return self.encoder.shape
        return TINY_GPT2 if self.preset == "tiny-gpt2" else PRESETS[self.preset]

    @property
    def dropouts(self) -> dict[str, float]:
        """All of them, under the names of the model's configuration."""
        names = self.encoder.dropouts if self.encoder else _GPT2_DROPOUTS
        return dict.fromkeys(names, self.dropout)

    def gpt2_config(self, **more: Any) -> GPT2Config:
        """The configuration of a GPT-2 of this shape."""
        token = texts.VOCAB_SIZE - 1
        return GPT2Config(
            vocab_size=texts.VOCAB_SIZE,
            tie_word_embeddings=self.tied,
            pad_token_id=token,
            eos_token_id=token,
            bos_token_id=token,
            **self.shape,
            **self.dropouts,
            **more,
        )

    def classifier(self, **more: Any) -> PreTrainedModel:
        """The classifier of transformers of this shape, with new weights."""
        if self.encoder is None:
            config: Any = self.gpt2_config(**more)
        else:
            values = {**self.shape, **self.dropouts, "pad_token_id": self.pad_token, **more}
            vocabulary = {"vocab_size": self.encoder.vocab_size}
            config = AutoConfig.for_model(self.encoder.model_type, **vocabulary, **values)
        return AutoModelForSequenceClassification.from_config(config)

    def with_steps(self, steps: int | None) -> "Work":
        """The same with other ``steps``, if any are given, and a warm-up that leaves half."""
        if steps is None:
            return self
        return replace(
            self,
            steps=steps,
            warm_up=min(self.warm_up, steps // 2),
            loss_steps=min(self.loss_steps, steps),
        )


class Inputs:
    """Files that all sides read."""

    def __init__(self, folder: Path) -> None:
        """Name the files in ``folder``."""
        self.folder = folder
        self.tokenizer = folder / "tokenizer"
        self.train = folder / "train.jsonl"
        self.validation = folder / "validation.jsonl"
        self.corpus = folder / "corpus.txt"
        """The texts of both, of which hfbench takes the first for training."""
        self.checkpoint = folder / "checkpoint"
        """A GPT-2 with random weights and its tokenizer, as ``sshleifer/tiny-gpt2`` is."""

    def scratch(self) -> Path:
        """A new folder for what a side writes."""
        return Path(tempfile.mkdtemp(dir=self.folder))


def prepare(work: Work, folder: Path) -> Inputs:
    """Write the inputs; the same for the same work."""
    inputs = Inputs(folder)
    texts.save_tokenizer(inputs.tokenizer, _vocab_size(work))
    if work.kind == "classifier":
        learnable = work.texts > 0
        texts.write_reviews(inputs.train, work.train_reviews, seed=0, learnable=learnable)
        texts.write_reviews(inputs.validation, work.validation_reviews, seed=1, learnable=learnable)
        if work.encoder:  # hfbench makes it from its configuration
            return inputs
        torch.manual_seed(0)
        GPT2LMHeadModel(work.gpt2_config()).save_pretrained(inputs.checkpoint)
        texts.save_tokenizer(inputs.checkpoint)
        return inputs
    if work.corpus == "pets":
        lines = pets.sentences()
    else:
        lines = texts.texts(work.texts, texts.BOOK, seed=0)
    train_size = int(len(lines) * work.train_share)
    texts.write_json_lines(inputs.train, [{"text": line} for line in lines[:train_size]])
    texts.write_json_lines(inputs.validation, [{"text": line} for line in lines[train_size:]])
    inputs.corpus.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return inputs


def save_checkpoint(work: Work, inputs: Inputs) -> None:
    """An encoder with new weights and its tokenizer, as one of the Hub is."""
    torch.manual_seed(0)
    work.classifier().save_pretrained(inputs.checkpoint)
    texts.save_tokenizer(inputs.checkpoint, _vocab_size(work))


def _vocab_size(work: Work) -> int:
    return work.encoder.vocab_size if work.encoder else texts.VOCAB_SIZE
