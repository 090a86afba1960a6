"""Take a pretrained custom GPT apart, to see which of its parts helps or harms a classifier.

    python recipes/study/why.py LANGUAGE_MODEL FOLDER NORMS

writes into FOLDER a checkpoint for each name of `MIXES`, with its tokenizer: some parts are those
of LANGUAGE_MODEL, the others are drawn anew as for a model from scratch. NORMS is a file for the
size that the word embeddings of each start with, as JSON; page.py reads it.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import AutoTokenizer, set_seed

from hfbench.cli.script import exit_on_user_error
from hfbench.errors import UserError
from hfbench.models import CustomGPTConfig, CustomGPTForCausalLM
from hfbench.system.files import atomic

WORDS = frozenset({"wte"})
PATTERN = frozenset({"query", "key"})
"""Where attention looks."""
PARTS = WORDS | PATTERN | {"wpe", "value", "attention output", "mlp", "norm"}
SEED = 0
"""Of what is drawn anew: once for all mixes, so that they share it."""

Change = Callable[[CustomGPTForCausalLM, Tensor], None]
"""Changes a model in place, given the word embedding of one that is new."""


def exchange_words(model: CustomGPTForCausalLM, new: Tensor) -> None:
    """Give each embedding that training has made long to another such word, at random."""
    words = model.transformer.wte.weight
    trained = trained_rows(words, new)
    words[trained] = words[trained[torch.randperm(len(trained))]]


def equal_norms(model: CustomGPTForCausalLM, new: Tensor) -> None:
    """Bring each word embedding to the mean norm of those of a new model."""
    words = model.transformer.wte.weight
    words.mul_(new.norm(dim=1).mean() / words.norm(dim=1, keepdim=True))


def shrink(model: CustomGPTForCausalLM, new: Tensor) -> None:
    """Divide all that goes into the residual stream by one number.

    The norms before each layer take it out again, so that the model computes the same; but what is
    learned moves it by more of its size. Trained words come to the mean norm of new ones.
    """
    decoder = model.transformer
    words = decoder.wte.weight
    factor = new.norm(dim=1).mean() / words[trained_rows(words, new)].norm(dim=1).mean()
    writers = [layer.c_proj for block in decoder.h for layer in (block.attn, block.mlp)]
    for module in (decoder.wte, decoder.wpe, *writers):
        for weight in module.parameters():
            weight.mul_(factor)


def trained_rows(words: Tensor, new: Tensor) -> Tensor:
    """Numbers of the rows of ``words`` that are longer than any of ``new``.

    A word that the corpus does not have stays as it was drawn.

    Raises:
        UserError: if there are none: this is no pretrained model.
    """
    rows = (words.norm(dim=1) > new.norm(dim=1).max()).nonzero().flatten()
    if not len(rows):
        raise UserError("no word embedding is longer than a new one: was this model pretrained?")
    return rows


class Mix(NamedTuple):
    """What is taken over from the pretrained model, and what is done to the outcome."""

    parts: frozenset[str]
    change: Change | None = None


MIXES = {
    "none": Mix(frozenset()),
    "all": Mix(PARTS),
    "all-shrunk": Mix(PARTS, shrink),
    "no-pattern": Mix(PARTS - PATTERN),
    "no-words": Mix(PARTS - WORDS),
    "only-words": Mix(WORDS),
    "only-words-exchanged": Mix(WORDS, exchange_words),
    "only-words-equal-norms": Mix(WORDS, equal_norms),
}


def parts_of(name: str, weight: Tensor) -> dict[str, Tensor]:
    """The parts that a parameter of the decoder holds, as views of it.

    Args:
        name: as in the `state_dict` of `CustomGPTModel`, e.g. ``h.0.attn.c_attn.weight``.
        weight: its values. Query, key and value share one matrix, of shape
            (3 * n_embd, n_embd), and one bias.
    """
    module = name.rpartition(".")[0]
    if module in ("wte", "wpe"):
        return {module: weight}
    if module.endswith("attn.c_attn"):
        return dict(zip(("query", "key", "value"), weight.chunk(3), strict=True))
    if module.endswith("attn.c_proj"):
        return {"attention output": weight}
    return {"mlp" if ".mlp." in name else "norm": weight}


@torch.no_grad()
def build(pretrained: CustomGPTForCausalLM, mix: Mix) -> CustomGPTForCausalLM:
    """A model with the ``parts`` of ``pretrained``, changed; what it does not take over is new.

    The language-model head is that of ``pretrained``: a classifier has no use for it.
    """
    set_seed(SEED)
    mixed = CustomGPTForCausalLM(pretrained.config)
    new_words = mixed.transformer.wte.weight.clone()
    mixed.lm_head.load_state_dict(pretrained.lm_head.state_dict())
    source = pretrained.transformer.state_dict()
    for name, weight in mixed.transformer.state_dict().items():
        taken = parts_of(name, source[name])
        for part, values in parts_of(name, weight).items():
            if part in mix.parts:
                values.copy_(taken[part])
    if mix.change:
        mix.change(mixed, new_words)
    return mixed


def write_mixes(language_model: Path, folder: Path, norms: Path) -> None:
    """Write a checkpoint for each of `MIXES`, and into ``norms`` the mean norm of its words.

    The words are those that the pretraining has made long, the same in each mix: the others stay
    as they were drawn, and most of them occur in no text.

    Raises:
        UserError: if there is no pretrained custom GPT in ``language_model``.
    """
    if not (language_model / "config.json").is_file():
        raise UserError(f"there is no model in {str(language_model)!r}; run its recipe first")
    if CustomGPTConfig.from_pretrained(language_model).architectures != ["CustomGPTForCausalLM"]:
        raise UserError(f"{language_model} holds no language model of a custom GPT")
    pretrained = CustomGPTForCausalLM.from_pretrained(language_model)
    tokenizer = AutoTokenizer.from_pretrained(language_model)
    mixes = {name: build(pretrained, mix) for name, mix in MIXES.items()}
    words = {name: mixed.transformer.wte.weight.detach() for name, mixed in mixes.items()}
    trained = trained_rows(words["all"], words["none"])
    found = {name: weight[trained].norm(dim=1).mean().item() for name, weight in words.items()}
    for name, mixed in mixes.items():
        mixed.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    with atomic(norms) as temporary:
        text = json.dumps(
            {"words": len(trained), "width": pretrained.config.n_embd, "mean_norm": found}, indent=1
        )
        temporary.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    with exit_on_user_error():
        if len(sys.argv) != 4:
            raise UserError(
                "give two folders, of the language model and the one to write, and a file for norms"
            )
        write_mixes(*map(Path, sys.argv[1:]))
