"""A language model's next word beside the truth: a grammar's exact distribution."""

import math
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfbench.data.builtin import pets
from hfbench.errors import UserError


@dataclass(frozen=True)
class NextWords:
    """Two distributions of the word after a prompt, and how far the second is from the first."""

    prompt: str
    grammar: dict[str, float]
    """Word -> probability over all sentences of the grammar, most probable first."""
    model: dict[str, float]
    """The same words -> product of the probabilities of the word's tokens; raw. What the sum is
    short of 1 went to other words."""
    kl_divergence: float
    """Kullback-Leibler divergence of the model's from the grammar's, in nats: the sum of
    grammar * ln(grammar / model)."""


@torch.no_grad()
def compare_next_words(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str
) -> NextWords:
    """What the built-in grammar ``pets`` and ``model`` expect after ``prompt``.

    White space at the end of ``prompt`` is left out, as a word brings its own.

    Raises:
        UserError: if the grammar has no sentence that goes on after ``prompt``.
    """
    grammar = pets.next_words(prompt)
    if not grammar:
        raise UserError(f"no sentence of the grammar goes on after {prompt[:40]!r}")
    model.eval()
    logs = {word: _log_probability(model, tokenizer, prompt.rstrip(), word) for word in grammar}
    return NextWords(
        prompt=prompt,
        grammar=grammar,
        model={word: math.exp(log) for word, log in logs.items()},
        kl_divergence=sum(p * (math.log(p) - logs[word]) for word, p in grammar.items()),
    )


def _log_probability(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, word: str
) -> float:
    """Logarithm of the product of the probabilities of the word's tokens after ``prompt``."""
    start = len(tokenizer(prompt)["input_ids"])
    text = f"{prompt}{word}" if word == "." else f"{prompt} {word}"
    ids = torch.tensor([tokenizer(text)["input_ids"]], device=model.device)  # (1, T)
    logs = model(ids).logits[0].double().log_softmax(-1)  # (T, V)
    return sum(logs[i - 1, ids[0, i]].item() for i in range(start, ids.shape[1]))
