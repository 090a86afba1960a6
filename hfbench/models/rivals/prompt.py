"""A language model's answer to a prompt: how likely each label's words are to follow it."""

import copy
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfbench.errors import UserError, nearest
from hfbench.models.facts import cache_argument
from hfbench.models.prepare import PreparedModel
from hfbench.recipe.rivals import Likelihood, Prompt
from hfbench.recipe.types import ProblemType, Truncation
from hfbench.records.schema import Tokens

NO_TEXT = ("N/A", "[MASK]", "")
"""What stands for no text at all where answers are calibrated, as by Zhao et al. 2021."""
_BATCH_TOKENS = {"cpu": 2048, "cuda": 65536}
_LEAST_SHARED = 4  # tokens that all prompts begin with, from which on it pays to read them once
_ATTEMPTS = 20


def check_prompt(
    prepared: PreparedModel,
    prompt: Prompt,
    labels: list[str],
    kind: ProblemType,
    *,
    has_pairs: bool,
) -> None:
    """Refuse a prompt that does not go with the task or with the tokenizer.

    Raises:
        UserError: naming the key.
    """
    key = f"models.{prepared.entry.name}.prompt"
    if kind != "single_label_classification":
        raise UserError(f"{key}: a prompt asks for one label of several, and the task is {kind}")
    for label in prompt.labels:
        if label not in labels:
            raise UserError(
                f"{key}.labels: the task has no label {label!r}{nearest(label, labels)} "
                f"(labels: {', '.join(labels)})"
            )
    if missing := [label for label in labels if label not in prompt.labels]:
        raise UserError(f"{key}.labels: no words for the label {missing[0]!r}")
    if prompt.names_pairs is not has_pairs:
        what = "the task has no pairs of texts" if prompt.names_pairs else "texts are pairs"
        wants = "leave {text_pair} out" if prompt.names_pairs else "give {text_pair} a place"
        raise UserError(f"{key}.template: {what}: {wants}")
    words = tokenize_words(prepared.tokenizer, prompt, labels, key)
    for one, own in zip(labels, words, strict=True):
        for other, longer in zip(labels, words, strict=True):
            if one != other and longer[: len(own)] == own:
                raise UserError(
                    f"{key}.labels: the words of {other!r} ({prompt.labels[other]!r}) begin with "
                    f"those of {one!r} ({prompt.labels[one]!r}), which are then always likelier"
                )


def tokenize_words(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, labels: Sequence[str], key: str
) -> list[list[int]]:
    """Ids of each label's words, as they follow the template.

    Raises:
        UserError: with ``key``, where they and the template's end share a token.
    """
    before = prompt.fill(text="N/A", text_pair="N/A")
    ids, found = encode(tokenizer, before), []
    for label in labels:
        words = prompt.labels[label]
        together = encode(tokenizer, before + words)
        if together[: len(ids)] != ids or len(together) == len(ids):
            raise UserError(
                f"{key}.labels: {words!r} ({label}) shares a token with the template's end "
                f"({prompt.ending!r}): let the words begin with a space, and the template end "
                "without one"
            )
        found.append(together[len(ids) :])
    return found


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Ids of a text that goes on: with the token that begins one, without that which ends one."""
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    begins = tokenizer("a", verbose=False)["input_ids"][:1] == [tokenizer.bos_token_id]
    return [tokenizer.bos_token_id, *ids] if begins else ids


@dataclass(frozen=True)
class Example:
    """What is asked, or shown."""

    text: str
    pair: str = ""
    label: str = ""
    """Of one that is shown."""


class Writer:
    """Prompts of a recipe's template, each cut so that the model can read it whole."""

    def __init__(
        self,
        prepared: PreparedModel,
        prompt: Prompt,
        labels: Sequence[str],
        shots: Sequence[Example],
        *,
        text_length: int,
        truncation: Truncation,
    ) -> None:
        """Take what stands before every text.

        Args:
            prepared: the model.
            prompt: of the recipe.
            labels: of the task, in order.
            shots: examples that are shown, in order.
            text_length: tokens at which each text is cut in any case, as the task says.
            truncation: what is left of it.

        Raises:
            UserError: if the examples leave no room for a text.
        """
        self.prompt, self.tokenizer = prompt, prepared.tokenizer
        self.key = f"models.{prepared.entry.name}.prompt"
        self.text_length, self.truncation = text_length, truncation
        self.words = tokenize_words(self.tokenizer, self.prompt, labels, self.key)
        shown = [
            self._fill(self._cut(one.text, text_length), self._cut(one.pair, text_length))
            + self.prompt.labels[one.label]
            + self.prompt.separator
            for one in shots
        ]
        self.before = "".join(shown)
        self.shot_tokens = len(encode(self.tokenizer, self.before)) if shots else 0
        self.limit = prepared.max_length - max(map(len, self.words))
        frame = len(encode(self.tokenizer, self.before + self._fill("", "")))
        self.room = self.limit - frame
        if self.room < 1:
            raise UserError(
                f"{self.key}.shots: {len(shots)} examples and the template take {frame} of the "
                f"{prepared.max_length} tokens that {prepared.entry.source} reads, which leaves no "
                "room for a text and the words of a label: fewer shots, or a smaller "
                "task.max_length, which cuts their texts"
            )

    def write(self, example: Example) -> tuple[list[int], int]:
        """Ids of the prompt, and how many tokens of its text were cut off."""
        whole = self._count(example.text) + self._count(example.pair)
        text, pair = (self._cut(one, self.text_length) for one in (example.text, example.pair))
        ids = encode(self.tokenizer, self.before + self._fill(text, pair))
        room = self.room
        for _ in range(_ATTEMPTS):  # where a text and its surroundings meet, tokens may differ
            if len(ids) <= self.limit:
                break
            text, pair = self._cut_both(text, pair, max(room, 0))
            ids = encode(self.tokenizer, self.before + self._fill(text, pair))
            room -= max(1, len(ids) - self.limit)
        assert len(ids) <= self.limit
        left = self._count(text) + self._count(pair)
        return ids, max(0, whole - left)

    def _fill(self, text: str, pair: str) -> str:
        return self.prompt.fill(text=text, text_pair=pair)

    def _count(self, text: str) -> int:
        if not text:
            return 0
        return len(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _cut_both(self, text: str, pair: str, room: int) -> tuple[str, str]:
        """Of a pair the longer one is cut first."""
        first, second = self._count(text), self._count(pair)
        if first + second <= room:
            room = max(0, first + second - 1)
        for_pair = min(second, max(room // 2, room - first))
        return self._cut(text, room - for_pair), self._cut(pair, for_pair)

    def _cut(self, text: str, length: int) -> str:
        """The text with so many of its tokens."""
        if not text or self._count(text) <= length:
            return text
        head = {"head": length, "tail": 0, "head_tail": length // 4}[self.truncation]
        tail = length - head
        if not self.tokenizer.is_fast:
            ids = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
            return self.tokenizer.decode([*ids[:head], *ids[len(ids) - tail :]])
        encoded = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        places = encoded["offset_mapping"]
        begins = text[: places[head - 1][1]] if head else ""
        return begins + (text[places[-tail][0] :] if tail else "")


@dataclass(frozen=True)
class Answers:
    """What came of a list of prompts."""

    logits: np.ndarray
    """Log-likelihood of each label's words, shape (prompts, labels)."""
    shares_prefix: bool
    """Whether what all begin with was read once."""


class LabelReader:
    """Asks a language model for the likelihoods of labels' words, in batches of one length.

    Prompts of a batch have the same number of tokens, so that nothing is padded: a model sees each
    as it would alone, whatever it does about positions and masks. What all of them begin with is
    read once, where the model has a cache of keys and values that can be copied.
    """

    def __init__(
        self, model: PreTrainedModel, words: Sequence[Sequence[int]], likelihood: Likelihood
    ) -> None:
        self.model, self.words, self.likelihood = model, [list(one) for one in words], likelihood
        self.names = inspect.signature(model.forward).parameters
        self.cache_name = cache_argument(model)
        self.batch_tokens = _BATCH_TOKENS.get(model.device.type, 8192)

    @torch.no_grad()
    def read(self, prompts: Sequence[Sequence[int]], *, share: bool = True) -> Answers:
        """Log-likelihoods after each prompt; ``share``: read a common beginning once."""
        found = torch.zeros(len(prompts), len(self.words), dtype=torch.float64)
        prefix = _common_beginning(prompts) if share else []
        cache = self._cache_of(prefix)
        start = len(prefix) if cache is not None else 0
        for rows in _of_one_length(prompts, start, self.batch_tokens):
            ids = torch.tensor(
                [list(prompts[row])[start:] for row in rows], device=self.model.device
            )
            found[rows] = self._of_batch(ids, cache, start) if share else self._of_whole(ids)
        sizes = torch.tensor([len(one) for one in self.words])
        values = found / sizes if self.likelihood == "mean" else found
        return Answers(values.numpy(), cache is not None)

    def _cache_of(self, prefix: list[int]) -> Any:
        """Keys and values of what all prompts begin with; None where that is not worth it."""
        if len(prefix) < _LEAST_SHARED:
            return None
        ids = torch.tensor([prefix], device=self.model.device)
        return self._forward(ids, None, 0).get(self.cache_name)

    def _of_batch(self, ids: Tensor, cache: Any, start: int) -> Tensor:
        """Sums of log-likelihoods, shape (B, labels).

        Args:
            ids: what follows on ``start`` tokens that are in the cache, shape (B, T).
            cache: of one row, or None.
            start: its tokens.
        """
        own = copy.deepcopy(cache)
        if own is not None:
            own.batch_repeat_interleave(len(ids))
        output = self._forward(ids, own, start)
        after = output.get(self.cache_name)
        if after is None and max(map(len, self.words)) > 1:
            return self._of_whole(ids)
        first = output["logits"][:, -1].double().log_softmax(-1)  # (B, V)
        found = first[:, [words[0] for words in self.words]]
        for label, words in enumerate(self.words):
            if len(words) == 1:
                continue
            before = torch.tensor([words[:-1]] * len(ids), device=ids.device)
            logits = self._forward(
                before, copy.deepcopy(after), start + ids.shape[1], keep=len(words) - 1
            )["logits"]
            found[:, label] += _likelihood(logits, words[1:])
        return found.cpu()

    def _of_whole(self, ids: Tensor) -> Tensor:
        """The same for whole prompts, by a model without a cache: each label's words anew."""
        found = torch.zeros(len(ids), len(self.words), dtype=torch.float64)
        for label, words in enumerate(self.words):
            before = torch.tensor([words[:-1]] * len(ids), device=ids.device, dtype=ids.dtype)
            row = torch.cat([ids, before], dim=1)
            logits = self._forward(row, None, 0, keep=len(words))["logits"]
            found[:, label] = _likelihood(logits[:, -len(words) :], words).cpu()
        return found

    def _forward(self, ids: Tensor, cache: Any, start: int, keep: int = 1) -> Any:
        options: dict[str, Any] = {}
        if "attention_mask" in self.names:
            options["attention_mask"] = torch.ones(
                len(ids), start + ids.shape[1], dtype=torch.long, device=ids.device
            )
        if "use_cache" in self.names:
            options["use_cache"] = True
        if "logits_to_keep" in self.names:
            options["logits_to_keep"] = keep
        if cache is not None:
            options[self.cache_name] = cache
        return self.model(input_ids=ids, **options)


def calibration(answers: np.ndarray) -> np.ndarray:
    """Logarithm of the mean probability of each label, shape (labels,), to be taken off.

    Args:
        answers: of the prompts of `NO_TEXT`, shape (prompts, labels).
    """
    logs = answers - np.logaddexp.reduce(answers, axis=1, keepdims=True)
    return np.logaddexp.reduce(logs, axis=0) - np.log(len(logs))


def count_tokens(written: Sequence[tuple[list[int], int]], shot_tokens: int) -> Tokens:
    """Of the prompts of a split, without the examples before them."""
    cut = [removed for _, removed in written]
    return Tokens(
        total=sum(len(ids) - shot_tokens for ids, _ in written),
        truncated_examples=sum(removed > 0 for removed in cut),
        cut=sum(cut),
    )


def _likelihood(logits: Tensor, words: Sequence[int]) -> Tensor:
    """Sum over the words' tokens, shape (B,); ``logits`` of shape (B, words, V)."""
    logs = logits[:, -len(words) :].double().log_softmax(-1)
    places = torch.arange(len(words), device=logits.device)
    return logs[:, places, torch.tensor(list(words), device=logits.device)].sum(-1)


def _common_beginning(prompts: Sequence[Sequence[int]]) -> list[int]:
    """Of all prompts; each has a token more."""
    shortest = min(map(len, prompts)) - 1
    columns = zip(*(list(prompt)[:shortest] for prompt in prompts), strict=True)
    return [column[0] for column in takewhile(lambda column: len({*column}) == 1, columns)]


def _of_one_length(
    prompts: Sequence[Sequence[int]], start: int, tokens: int
) -> Iterator[list[int]]:
    """Rows whose prompts have as many tokens, the longest first."""
    by_length: dict[int, list[int]] = {}
    for row, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt), []).append(row)
    for length in sorted(by_length, reverse=True):
        rows, size = by_length[length], max(1, tokens // max(1, length - start))
        for first in range(0, len(rows), size):
            yield rows[first : first + size]
