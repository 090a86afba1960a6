"""Checks of what a model computes: one logit by two routes.

A batch has rows of one length wherever padding is not what is asked about, so that a mistake shows
in one check and not in all.
"""

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfbench.checks.checked_model import CheckedModel
from hfbench.checks.outcome import TOLERANCE, Failed, Skipped, at_most
from hfbench.models.facts import cache_argument
from hfbench.models.lengths import told_max_length
from hfbench.recipe.types import Head

_NO_MAXIMUM = 1_000_000  # a tokenizer that knows no maximum length says 1e30
_LONGEST_TRIED = 4096  # tokens


def check_own_side_padding(checked: CheckedModel, head: Head) -> float:
    """Padding as the tokenizer does it, which is how hfbench trains."""
    side = checked.prepared.tokenizer.padding_side
    advice = (
        f"padding on the {side} changes logits: mask padded keys in the attention, and pool by "
        "the attention mask"
    )
    return at_most(_padding_change(checked, head, side), TOLERANCE, advice)


def check_other_side_padding(checked: CheckedModel, head: Head) -> float:
    """Padding on the side that the tokenizer does not choose."""
    own = checked.prepared.tokenizer.padding_side
    side = "left" if own == "right" else "right"
    advice = (
        f"padding on the {side} changes logits, as it does where positions ignore the mask: count "
        "them from attention_mask.cumsum(-1) - 1. hfbench is not affected: it pads on the "
        f"{own}, as the tokenizer says"
    )
    return at_most(_padding_change(checked, head, side), TOLERANCE, advice)


def check_company(checked: CheckedModel, head: Head) -> float:
    """One by one against all together."""
    model, ids = checked.strong(head), checked.rows(6, 9)
    together = logits(model, ids)
    alone = torch.cat([logits(model, row[None]) for row in ids])
    advice = "a row's logits depend on the other rows: compute nothing across the batch"
    return at_most(difference(alone, together), TOLERANCE, advice)


def check_future(checked: CheckedModel, head: Head) -> float:
    """Another token at place 6 against the logits before it."""
    model, ids = checked.strong(head), checked.rows(2, 10)
    changed = ids.clone()
    changed[0, 6], changed[1, 6] = ids[1, 5], ids[0, 5]
    before, after = logits(model, ids), logits(model, changed)
    if difference(before[:, 6:], after[:, 6:]) < TOLERANCE:
        raise Failed(0.0, "another token changes nothing, not even the logits after it")
    advice = "a later token changes earlier logits: use create_causal_mask"
    return at_most(difference(before[:, :6], after[:, :6]), TOLERANCE, advice)


def check_cache(checked: CheckedModel, head: Head) -> float:
    """Token by token with the cache against all tokens at once."""
    model, ids = checked.strong(head), checked.rows(2, 10)
    cache, parts, name = None, [], cache_argument(model)
    with torch.no_grad():
        for position in range(ids.shape[1]):
            output = model(ids[:, position : position + 1], use_cache=True, **{name: cache})
            cache = output.get("cache", output.get("past_key_values"))
            if cache is None:
                raise Failed(None, "use_cache=True returns no past_key_values")
            parts.append(output.logits)
    advice = (
        "logits with the cache differ from those without: positions must start at "
        "past_key_values.get_seq_length(), and keys be put into the cache once"
    )
    return at_most(difference(logits(model, ids), torch.cat(parts, 1)), TOLERANCE, advice)


def check_attention(checked: CheckedModel, head: Head) -> float:
    """Eager attention against sdpa, without padding and with it."""
    model, ids = checked.strong(head), checked.rows(2, 9)
    if not model._supports_sdpa:
        raise Skipped("the class does not say _supports_sdpa = True")
    mask = torch.ones_like(ids)
    mask[0, -3:] = 0
    found = {}
    for name in ("eager", "sdpa"):
        model.set_attn_implementation(name)
        padded = logits(model, ids, attention_mask=mask)
        if head == "language model":
            padded = padded[mask.bool()]
        found[name] = torch.cat([logits(model, ids).flatten(), padded.flatten()])
    advice = "eager and sdpa attention differ: compare their scaling, mask and softmax"
    return at_most(difference(found["eager"], found["sdpa"]), TOLERANCE, advice)


def check_eos(checked: CheckedModel, head: Head) -> float:
    """A text that ends in EOS against the same without; gives what EOS changes, which is not 0."""
    tokenizer = checked.prepared.tokenizer
    if tokenizer.eos_token_id is None:
        raise Skipped("the tokenizer has no EOS token")
    model, ids = checked.strong(head), checked.rows(2, 7)
    ended = torch.cat([ids, torch.full((2, 1), tokenizer.eos_token_id)], 1)
    effect = difference(logits(model, ids), logits(model, ended))
    if effect < TOLERANCE:
        raise Failed(
            effect,
            "a real EOS at the end of a text is taken for padding: pool by the attention mask, "
            "not by token id, and let pad_token_id differ from eos_token_id",
        )
    return effect


def check_truncation(checked: CheckedModel, head: Head) -> float:
    """A text of the longest length that there is; it gives that length."""
    longest = told_max_length(checked.config, checked.prepared.tokenizer)
    if _LONGEST_TRIED < longest < _NO_MAXIMUM:
        raise Skipped(f"the maximum of {longest} tokens is too long to try")
    model = checked.strong(head)
    tried = longest if longest < _NO_MAXIMUM else _LONGEST_TRIED
    truncated = _truncate(checked.prepared.tokenizer, tried)
    if truncated.shape[1] > tried:
        raise Failed(truncated.shape[1], f"the tokenizer does not truncate at {tried} tokens")
    try:
        logits(model, truncated)
    except IndexError as error:
        advice = (
            f"a text of {truncated.shape[1]} tokens, the longest that configuration and tokenizer "
            f"allow, ends in an IndexError ({error}): map max_position_embeddings in attribute_map "
            "and make as many positions"
        )
        raise Failed(truncated.shape[1], advice) from error
    return truncated.shape[1]


def logits(model: PreTrainedModel, ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    """The model's logits; every token is real if no mask says otherwise."""
    mask = torch.ones_like(ids) if attention_mask is None else attention_mask
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask).logits


def difference(first: Tensor, second: Tensor) -> float:
    """Largest difference, relative to the largest value where that is above 1."""
    scale = max(1.0, first.abs().max().item())
    return (first - second).abs().max().item() / scale


def _padding_change(checked: CheckedModel, head: Head, side: str) -> float:
    model, ids = checked.strong(head), checked.rows(3, 8)
    plain, changes = logits(model, ids), []
    for amount in (1, 6):
        padded = logits(model, *_pad(ids, amount, side, _pad_id(checked)))
        if head == "language model":
            padded = padded[:, amount:] if side == "left" else padded[:, :-amount]
        changes.append(difference(plain, padded))
    return max(changes)


def _pad(ids: Tensor, amount: int, side: str, pad_id: int) -> tuple[Tensor, Tensor]:
    """Ids and attention mask with ``amount`` pads on that side."""
    pads = torch.full((len(ids), amount), pad_id)
    parts = [pads, ids] if side == "left" else [ids, pads]
    masks = [torch.full_like(part, int(part is ids)) for part in parts]
    return torch.cat(parts, 1), torch.cat(masks, 1)


def _pad_id(checked: CheckedModel) -> int:
    pad_id = checked.prepared.tokenizer.pad_token_id
    assert pad_id is not None  # `prepare_model` sees to it
    return pad_id


def _truncate(tokenizer: PreTrainedTokenizerBase, max_length: int) -> Tensor:
    """A text longer than ``max_length`` tokens, truncated as hfbench does, shape (1, tokens)."""
    text = " ".join(["cats and dogs"] * max_length)
    ids = tokenizer([text], truncation=True, max_length=max_length)["input_ids"]
    return torch.tensor(ids)
