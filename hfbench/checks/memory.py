"""Checks of what a language model remembers of earlier tokens: with its cache against without.

Of a state space's memory, which cannot be cut or kept in place, only going on is asked.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache, StaticCache

from hfbench.checks.behaviour import difference, logits
from hfbench.checks.checked_model import CheckedModel
from hfbench.checks.family import memory_argument, memory_of
from hfbench.checks.outcome import TOLERANCE, Failed, Skipped, at_most
from hfbench.recipe.types import Head

_LENGTH = 40  # tokens


def check_cache(checked: CheckedModel, head: Head) -> float:
    """Token by token with the cache against all tokens at once."""
    model, ids = checked.strong(head), _rows(checked)
    if memory_argument(model) is None:
        raise Failed(
            None,
            "forward takes no past_key_values: each generated token computes all before it again",
            "advice",
        )
    found, _ = _feed(model, ids.split(1, dim=1))
    advice = (
        "logits with the cache differ from those without: positions must start at "
        "past_key_values.get_seq_length(), and keys be put into the cache once"
    )
    return at_most(difference(logits(model, ids), found), TOLERANCE, advice)


def check_chunks(checked: CheckedModel, head: Head) -> float:
    """Several tokens at once on a cache that is filled, as prefill in chunks and assistants do."""
    model, ids = checked.strong(head), _rows(checked)
    _skip_without_memory(model)
    found, _ = _feed(model, ids.split(7, dim=1))
    advice = (
        "several tokens after those in the cache get other logits: the mask of T tokens on S keys "
        "is (T, S), and its diagonal starts at S - T (create_causal_mask does it)"
    )
    return at_most(difference(logits(model, ids), found), TOLERANCE, advice)


def check_reordered(checked: CheckedModel, head: Head) -> float:
    """Rows of the cache in another order, as beam search does."""
    model, ids = checked.strong(head), _rows(checked)
    _skip_without_memory(model)
    order = torch.tensor([1, 0])
    _, cache = _feed(model, [ids[:, :9]])
    _cache_of_transformers(cache).reorder_cache(order)
    found, _ = _feed(model, [ids[order, 9:12]], cache)
    expected = logits(model, ids[order, :12])[:, 9:]
    advice = (
        "after cache.reorder_cache() rows get other logits: keep nothing about rows elsewhere than "
        "in the cache"
    )
    return at_most(difference(expected, found), TOLERANCE, advice)


def check_cropped(checked: CheckedModel, head: Head) -> float:
    """The cache without its last tokens, then others, as assisted generation does."""
    model, ids = checked.strong(head), _rows(checked)
    _skip_without_memory(model)
    _, cache = _feed(model, [ids[:, :9], ids[:, 9:12]])
    _cache_of_transformers(cache).crop(-5)
    others = ids[[1, 0], 7:13]
    found, _ = _feed(model, [others], cache)
    expected = logits(model, torch.cat([ids[:, :7], others], 1))[:, 7:]
    advice = (
        "after cache.crop() tokens get other logits: ask past_key_values.get_seq_length() how many "
        "there are, and count nothing yourself"
    )
    return at_most(difference(expected, found), TOLERANCE, advice)


def check_static(checked: CheckedModel, head: Head) -> float:
    """A cache of fixed size, as compiled generation uses it, against none."""
    model, ids = checked.strong(head), _rows(checked)
    _skip_without_memory(model)
    if not model._can_compile_fullgraph:
        raise Skipped("the class does not say that it can be compiled: _can_compile_fullgraph")
    size = ids.shape[1] + 6
    cache = StaticCache(config=model.config, max_cache_len=size)
    pieces = [ids[:, :9], *ids[:, 9:].split(1, dim=1)]
    found, _ = _feed(model, pieces, cache)
    advice = (
        "with a static cache logits differ: keys of places that are not filled must be masked "
        "(create_causal_mask does it), and the length be a tensor"
    )
    return at_most(difference(logits(model, ids), found), TOLERANCE, advice)


def check_generation(checked: CheckedModel, head: Head) -> float:
    """Rows of different lengths generated in one batch, padded on the left, against each alone.

    Alone means: all its tokens at once, without a cache.
    """
    model, ids = checked.strong(head), checked.rows(2, 9)
    if not isinstance(model, GenerationMixin):
        if checked.prepared.is_own_architecture:
            raise Failed(None, "the class cannot generate: let it inherit GenerationMixin, too")
        raise Skipped("the class does not generate")
    mask = torch.ones_like(ids)
    if checked.family(head) == "decoder":
        mask[1, :4] = 0
        ids[1, :4] = checked.pad_id
    out = model.generate(
        ids,
        attention_mask=mask,
        max_new_tokens=4,
        min_new_tokens=4,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
        pad_token_id=checked.pad_id,
    )
    found = torch.stack(out.logits, 1)  # (2, 4, vocabulary)
    changes = []
    for row, real in enumerate(mask.bool()):
        tokens = torch.cat([ids[row][real], out.sequences[row, 9:]])
        expected = logits(model, tokens[None])[:, -5:-1]
        changes.append(difference(expected, found[row : row + 1]))
    advice = (
        "generate() gives other logits than forward, in a batch that is padded on the left: take "
        "position_ids, or count them from attention_mask.cumsum(-1) - 1, and mask padded keys"
    )
    return at_most(max(changes), TOLERANCE, advice)


def _rows(checked: CheckedModel) -> Tensor:
    return checked.rows(2, min(_LENGTH, checked.prepared.max_length))


def _feed(
    model: PreTrainedModel, pieces: tuple[Tensor, ...] | list[Tensor], cache: Any = None
) -> tuple[Tensor, Any]:
    """Logits of pieces of a text, each on the cache of those before it, and the last cache."""
    name, parts = memory_argument(model), []
    with torch.no_grad():
        for ids in pieces:
            output = model(input_ids=ids, use_cache=True, **{str(name): cache})
            cache = memory_of(output)
            if cache is None:
                raise Failed(None, f"use_cache=True returns no {name}")
            parts.append(output.logits)
    return torch.cat(parts, 1), cache


def _skip_without_memory(model: PreTrainedModel) -> None:
    if memory_argument(model) is None:
        raise Skipped("forward takes no past_key_values")


def _cache_of_transformers(cache: Any) -> Cache:
    if not isinstance(cache, Cache):
        raise Failed(
            None,
            f"past_key_values is a {type(cache).__name__} and no Cache of transformers, which "
            "generation reorders, cuts and keeps in place: use DynamicCache(config=self.config)",
        )
    return cache
