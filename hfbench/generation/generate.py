"""What a language model writes after a prompt, and how probable it found each token."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

import hfbench.models.custom_gpt  # noqa: F401 - makes the Auto classes know it
from hfbench.errors import UserError
from hfbench.generation.decoding import (
    CHUNK,
    Decoded,
    can_decode,
    decode_greedily,
    join,
    read_logits,
)
from hfbench.system.hub import (
    refuse_adapter,
    refuse_code_elsewhere,
    refuse_damaged_download,
    resolve_revision,
    user_errors,
)


@dataclass(frozen=True)
class Candidate:
    """A token that the model could write next."""

    token_id: int
    text: str
    """As it reads within a text, with its leading space; a part of a character is U+FFFD."""
    probability: float
    """Raw: from the softmax of the model's logits, before temperature, top-k or top-p."""


@dataclass(frozen=True)
class Step:
    """One generated token."""

    chosen: Candidate
    top: tuple[Candidate, ...]
    """The most probable tokens, best first; a sampled token need not be among them."""


@dataclass(frozen=True)
class Generation:
    """A prompt and what the model wrote after it."""

    prompt: str
    continuation: str
    """The text of the generated tokens, without special ones."""
    steps: tuple[Step, ...]
    """One for each generated token; an EOS token, where the model chose it, is the last."""


def load_language_model(
    name: str, *, trust_remote_code: bool = False
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model of the Hub or a local folder, in float32, and its tokenizer.

    Raises:
        UserError: if it cannot be had, or brings no weights for a language-model head.
    """
    options: dict[str, Any] = {
        "revision": resolve_revision(name, None, "model", "the model"),
        "trust_remote_code": trust_remote_code,
    }
    refuse_adapter(name, options["revision"], "the model")
    if trust_remote_code:
        refuse_code_elsewhere(name, options["revision"], "the model")
    with user_errors(f"the tokenizer of {name}"):
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
    with user_errors(f"the language model {name}"):
        model, info = AutoModelForCausalLM.from_pretrained(
            name,
            dtype=torch.float32,
            attn_implementation=None,  # whatever its file says: it may name a kernel of the Hub
            output_loading_info=True,
            **options,
        )
    if options["revision"]:
        refuse_damaged_download(name, options["revision"], "the model")
    if info["missing_keys"]:  # they would be drawn at random
        missing = ", ".join(sorted(info["missing_keys"]))
        raise UserError(f"{name} is not a trained language model: it has no weights for {missing}")
    # a build of torch for GPUs names one even where there is none
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
    return model.to(device), tokenizer


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 10,
    top: int = 6,
    do_sample: bool = False,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
) -> list[Generation]:
    """Continue each prompt until EOS, or by ``max_new_tokens``.

    The prompts are one batch, padded on the left under a mask, so that a greedy continuation does
    not depend on the prompts beside it; a sampled one does, for they share the random numbers. Of
    the model's own generation settings only the EOS tokens count.

    Greedily on CUDA, a model for which `hfbench.decoding.can_decode` holds is decoded with a
    recorded step; everything else goes through ``model.generate``. The tokens are the same.

    Args:
        model: a causal language model; it is left in evaluation mode.
        tokenizer: the model's.
        prompts: texts of a token at least.
        max_new_tokens: together with a prompt's tokens at most the model's positions.
        top: how many of the most probable tokens to report at each step.
        do_sample: draw each token; otherwise take the most probable one.
        temperature: the logits are divided by it before a token is drawn.
        top_k: draw from this many most probable tokens only; 0 for all.
        top_p: draw from the fewest tokens that together have this probability only.
        seed: of the draws; the caller's random state is left alone.

    Raises:
        UserError: for a prompt that is empty or too long, or an option that cannot be.
    """
    _check_options(max_new_tokens, top, model.config.vocab_size)
    _check_sampling(do_sample, temperature, top_k, top_p)
    ids = [_prompt_ids(tokenizer, prompt) for prompt in prompts]
    for prompt, row in zip(prompts, ids, strict=True):
        _check_length(model, prompt, len(row), max_new_tokens)
    longest = max(map(len, ids))
    # any id will do as padding: hidden by the mask before a prompt, cut off after EOS
    padded = [[0] * (longest - len(row)) + row for row in ids]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in ids]
    inputs = {
        "ids": torch.tensor(padded, device=model.device),
        "attention_mask": torch.tensor(mask, device=model.device),
    }
    model.eval()
    with _only_eos(model) as eos:
        if not do_sample and can_decode(model):
            found = decode_greedily(
                model, **inputs, max_new_tokens=max_new_tokens, top=top, eos=eos
            )
        else:
            draws = _Draws(temperature, top_k, top_p, seed) if do_sample else None
            found = _decode(model, **inputs, max_new_tokens=max_new_tokens, top=top, draws=draws)
    generations = []
    for prompt, prompt_ids, steps in zip(
        prompts, ids, _read_steps(tokenizer, found, eos), strict=True
    ):
        new = [step.chosen.token_id for step in steps]
        continuation = _text_after(tokenizer, prompt_ids, new, skip_special_tokens=True)
        generations.append(Generation(prompt, continuation, steps))
    return generations


@dataclass(frozen=True)
class _Draws:
    """How tokens are drawn; the fields are arguments of `generate`."""

    temperature: float
    top_k: int
    top_p: float
    seed: int


def _decode(
    model: PreTrainedModel,
    ids: Tensor,
    attention_mask: Tensor,
    *,
    max_new_tokens: int,
    top: int,
    draws: _Draws | None,
) -> Decoded:
    """Decode by ``model.generate``; greedily without ``draws``."""
    options = {} if draws is None else asdict(draws)
    gpus = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(gpus):
        torch.manual_seed(options.pop("seed", 0))
        output = model.generate(
            ids,
            attention_mask=attention_mask,
            max_new_tokens=max_new_tokens,
            pad_token_id=0,
            do_sample=draws is not None,
            **options,
            output_logits=True,  # output_scores would be after the warping
            return_dict_in_generate=True,
        )
    written = output.sequences[:, ids.shape[1] :]  # (B, new tokens)
    # a chunk at a time, so that the probabilities of a long text need little memory
    parts = [
        read_logits(
            torch.stack(output.logits[i : i + CHUNK], dim=1), written[:, i : i + CHUNK], top
        )
        for i in range(0, written.shape[1], CHUNK)
    ]
    return join(parts)


def _check_options(max_new_tokens: int, top: int, vocab_size: int) -> None:
    if max_new_tokens < 1:
        raise UserError(f"max_new_tokens ({max_new_tokens}) must be at least 1")
    if not 1 <= top <= vocab_size:
        raise UserError(f"top ({top}) must be from 1 to the vocabulary's {vocab_size}")


def _check_sampling(do_sample: bool, temperature: float, top_k: int, top_p: float) -> None:
    if temperature <= 0 or top_k < 0 or not 0 < top_p <= 1:
        raise UserError(
            f"temperature ({temperature}) must be above 0, top_k ({top_k}) at least 0 and top_p "
            f"({top_p}) above 0 and at most 1"
        )
    if not do_sample and (temperature, top_k, top_p) != (1.0, 0, 1.0):
        raise UserError("temperature, top_k and top_p change nothing without sampling")


def _prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    ids = tokenizer(prompt, verbose=False)["input_ids"]
    if not ids:
        raise UserError("a prompt must have a token at least; one is empty")
    return ids


def _check_length(
    model: PreTrainedModel, prompt: str, prompt_tokens: int, max_new_tokens: int
) -> None:
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None and prompt_tokens + max_new_tokens > positions:
        raise UserError(
            f"the prompt {prompt[:40]!r} has {prompt_tokens} tokens, which with max_new_tokens "
            f"({max_new_tokens}) is more than the model's n_positions ({positions})"
        )


@contextmanager
def _only_eos(model: PreTrainedModel) -> Iterator[set[int]]:
    """Generation settings without penalties and bans; gives the EOS tokens, if there are any."""
    own = model.generation_config
    model.generation_config = GenerationConfig(eos_token_id=own.eos_token_id)
    try:
        eos = own.eos_token_id
        yield {eos} if isinstance(eos, int) else set(eos or [])
    finally:
        model.generation_config = own


def _read_steps(
    tokenizer: PreTrainedTokenizerBase, found: Decoded, eos: set[int]
) -> list[tuple[Step, ...]]:
    """The steps of each row, by its first EOS."""
    # first the chosen token of each step, then the best: (B, new tokens, 1 + top)
    tokens = torch.cat([found.tokens[..., None], found.top_tokens], dim=-1).tolist()
    shares = torch.cat([found.probabilities[..., None], found.top_probabilities], dim=-1).tolist()
    lengths = [_length([step[0] for step in row], eos) for row in tokens]
    kept = [row[:length] for row, length in zip(tokens, lengths, strict=True)]
    texts = _token_texts(tokenizer, {token for row in kept for step in row for token in step})
    rows = []
    for row, row_shares in zip(kept, shares, strict=True):
        steps = []
        for step, step_shares in zip(row, row_shares, strict=False):  # without what was cut off
            chosen, *best = (
                Candidate(token, texts[token], share)
                for token, share in zip(step, step_shares, strict=True)
            )
            steps.append(Step(chosen, tuple(best)))
        rows.append(tuple(steps))
    return rows


def _length(tokens: list[int], eos: set[int]) -> int:
    """Tokens up to the first EOS, that included."""
    return next((i + 1 for i, token in enumerate(tokens) if token in eos), len(tokens))


def _token_texts(tokenizer: PreTrainedTokenizerBase, tokens: set[int]) -> dict[int, str]:
    """Token -> its text within a text: by itself it might lose its leading space."""
    if type(tokenizer)._decode is not PreTrainedTokenizerFast._decode:
        return {token: _text_after(tokenizer, [token], [token]) for token in tokens}
    # what `tokenizer.decode` calls in the end, without its ten times as long way to it
    decode = tokenizer.backend_tokenizer.decode
    return {
        token: decode([token, token], skip_special_tokens=False)[
            len(decode([token], skip_special_tokens=False)) :
        ]
        for token in tokens
    }


def _text_after(
    tokenizer: PreTrainedTokenizerBase, before: list[int], ids: list[int], **options: Any
) -> str:
    """The text of ``ids`` as it continues that of ``before``."""
    options["clean_up_tokenization_spaces"] = False
    start = tokenizer.decode(before, **options)
    return tokenizer.decode(before + ids, **options)[len(start) :]
