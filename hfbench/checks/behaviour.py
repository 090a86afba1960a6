"""Checks of what a model computes: one logit by two routes.

A batch has rows of one length wherever padding is not what is asked about, so that a mistake shows
in one check and not in all.
"""

import inspect
import math

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfbench.checks.checked_model import LABELS, LONGEST_TRIED, CheckedModel
from hfbench.checks.dropout import no_dropout
from hfbench.checks.outcome import TOLERANCE, Failed, Skipped, at_most
from hfbench.models.lengths import told_max_length
from hfbench.recipe.types import Head

_NO_MAXIMUM = 1_000_000  # a tokenizer that knows no maximum length says 1e30
_LONGEST_TEXT = 4096  # tokens
_ALL_PLACES = 64  # tokens of a text in which each is changed
_SOME_PLACES = [1, 13, 33, 65, 129, 257]  # in a longer one: behind the sizes of windows and chunks
_HALF = 0.2  # of the logits' own size, by which those in bfloat16 may be off; usual is 0.01 to 0.1


def check_forward(checked: CheckedModel, head: Head) -> float:
    """Ids and a mask give finite logits of the right shape; gives their largest value."""
    model = checked.strong(head)
    for length in (8, 1):
        ids = checked.rows(3, length)
        scores = logits(model, ids)
        shape = (3, len(LABELS)) if head == "classifier" else (3, length, scores.shape[-1])
        if scores.shape != shape:
            raise Failed(None, f"logits have the shape {tuple(scores.shape)}, not {shape}")
        if not torch.isfinite(scores).all():
            raise Failed(None, f"logits of {length} tokens are not finite")
    return scores.abs().max().item()


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
    """Another token at each place against the logits before it, over the longest text."""
    model, ids = checked.strong(head), checked.rows(1, checked.longest)
    places = _places(checked.longest)
    changed = ids.repeat(len(places), 1)
    rows = torch.arange(len(places))
    changed[rows, places] = ids[0, places - 1]
    before = logits(model, ids)
    worst, late = 0.0, None
    for place, row in zip(places.tolist(), changed, strict=True):
        change = difference(before[:, :place], logits(model, row[None])[:, :place])
        if change > worst:
            worst, late = change, place
    advice = (
        f"a token changes the logits before it (most at place {late} of {checked.longest}): use "
        "create_causal_mask"
    )
    return at_most(worst, TOLERANCE, advice)


def check_whole_text(checked: CheckedModel, head: Head) -> float:
    """Another token at the end of a long text changes its logits; gives by how much.

    So does one at its start in a classifier, but for a state space, which forgets.
    """
    longest = checked.longest
    model, ids = checked.strong(head), checked.rows(2, longest)
    scores = logits(model, ids)
    if head == "language model" and scores.shape[1] != longest:
        raise Failed(
            scores.shape[1],
            f"{longest} tokens give logits for {scores.shape[1]}: cut nothing off, or let "
            "max_position_embeddings be the longest text",
        )
    place = longest - (2 if checked.family(head) == "encoder-decoder" else 1)
    changed = ids.clone()
    changed[:, place] = ids[:, 0]
    effect = difference(scores, logits(model, changed))
    if effect == 0:
        raise Failed(
            0.0,
            f"of a text of {longest} tokens the last changes nothing: the model drops tokens "
            "beyond some length, which max_position_embeddings has to say",
        )
    changed = ids.clone()
    changed[:, 0] = ids[:, 1]
    asked = head == "classifier" and checked.family(head) != "state space"
    if (
        asked
        and checked.prepared.is_own_architecture
        and torch.equal(scores, logits(model, changed))
    ):
        raise Failed(
            0.0,
            f"of a text of {longest} tokens the first changes nothing: if its attention has no "
            "window, the model drops tokens at the start",
            "advice",
        )
    return effect


def check_positions(checked: CheckedModel, head: Head) -> float:
    """Positions that are given: those it would count itself change nothing, others do.

    Gives what the others change.
    """
    model, ids = checked.strong(head), checked.rows(2, 8)
    if "position_ids" not in inspect.signature(model.forward).parameters:
        raise Skipped("forward takes no position_ids")
    plain = logits(model, ids)
    own, others = torch.arange(8), torch.tensor([0, 1, 3, 4, 5, 9, 10, 12])
    if head == "language model":  # RoBERTa's encoders count from another number
        same = difference(plain, logits(model, ids, position_ids=own.expand(2, 8)))
        at_most(same, TOLERANCE, "position_ids that count from 0 change logits")
    effect = difference(plain, logits(model, ids, position_ids=others.expand(2, 8)))
    if effect < TOLERANCE:
        raise Failed(
            effect,
            "position_ids are taken and not looked at: generation in a batch pads on the left and "
            "gives them; use them, or leave them out of forward's arguments",
        )
    return effect


def check_attention(checked: CheckedModel, head: Head) -> float:
    """Eager attention against sdpa, without padding and with it."""
    model, ids = checked.strong(head), checked.rows(2, 9)
    if not model._supports_sdpa:
        if checked.prepared.is_own_architecture and hasattr(checked.config, "num_attention_heads"):
            raise Failed(
                None,
                "the class does not say _supports_sdpa = True and trains slower than need be: get "
                "the function from ALL_ATTENTION_FUNCTIONS, the mask from create_causal_mask or "
                "create_bidirectional_mask",
                "advice",
            )
        raise Skipped("the class does not say _supports_sdpa = True")
    mask = torch.ones_like(ids)
    if not checked.config.is_encoder_decoder:  # whose last token is where it reads
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
    """A text of the longest length that there is; it gives that length.

    Of an architecture of one's own it is what configuration and tokenizer tell, and not what it
    turns out to take.
    """
    longest = checked.prepared.max_length
    if checked.prepared.is_own_architecture:
        longest = told_max_length(checked.config, checked.prepared.tokenizer)
    tried = longest if longest < _NO_MAXIMUM else LONGEST_TRIED
    if tried > _LONGEST_TEXT:
        raise Skipped(f"the maximum of {longest} tokens is too long to try")
    model = checked.strong(head)
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


def check_autocast(checked: CheckedModel, head: Head) -> float:
    """Loss, gradients and logits under autocast in bfloat16, as ``bf16: true`` trains.

    Gives the change of logits, relative to their size.
    """
    model, ids = checked.strong(head), checked.rows(3, 8)
    labels, mask = checked.labels(head, ids), torch.ones_like(ids)
    with no_dropout():
        plain = logits(model.train(), ids)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = model(input_ids=ids, attention_mask=mask, labels=labels)
    output.loss.backward()
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    if not all(torch.isfinite(found).all() for found in (output.loss, *gradients)):
        raise Failed(None, "under autocast in bfloat16 the loss or a gradient is not finite")
    advice = "under autocast in bfloat16 other logits come out: scale and softmax in float32"
    return at_most(_relative_change(plain, output.logits), _HALF, advice)


def check_half_precision(checked: CheckedModel, head: Head) -> float:
    """Weights in bfloat16, as ``from_pretrained(dtype="bfloat16")`` has them, with padding.

    Gives the change of logits, relative to their size.
    """
    model, ids = checked.strong(head), checked.rows(2, checked.longest)
    mask = torch.ones_like(ids)
    mask[0, -2:] = 0
    if checked.config.is_encoder_decoder:
        mask[:] = 1  # the last token is where it reads
    plain = logits(model, ids, attention_mask=mask)
    half = logits(model.to(torch.bfloat16), ids, attention_mask=mask)
    if head == "language model":
        plain, half = plain[mask.bool()], half[mask.bool()]
    advice = (
        "in bfloat16 other logits come out, or none: scale and softmax in float32, and mask with "
        "torch.finfo(states.dtype).min"
    )
    return at_most(_relative_change(plain, half), _HALF, advice)


def logits(
    model: PreTrainedModel, ids: Tensor, attention_mask: Tensor | None = None, **inputs: Tensor
) -> Tensor:
    """The model's logits; every token is real if no mask says otherwise."""
    mask = torch.ones_like(ids) if attention_mask is None else attention_mask
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask, **inputs).logits


def difference(first: Tensor, second: Tensor) -> float:
    """Largest difference, relative to the largest value where that is above 1."""
    scale = max(1.0, first.abs().max().item())
    return (first - second).abs().max().item() / scale


def _relative_change(plain: Tensor, other: Tensor) -> float:
    """Root mean square of the change, relative to that of the logits; inf for what is no number."""
    change = (other.float() - plain).square().mean().sqrt() / plain.square().mean().sqrt()
    return change.item() if torch.isfinite(change) else math.inf


def _places(length: int) -> Tensor:
    """Places of a text but the first: all of them, or those that are tried in a long one."""
    if length <= _ALL_PLACES:
        return torch.arange(1, length)
    spread = torch.linspace(_ALL_PLACES, length - 1, 6).long().tolist()
    return torch.tensor(sorted({*spread, *(place for place in _SOME_PLACES if place < length)}))


def _padding_change(checked: CheckedModel, head: Head, side: str) -> float:
    model, ids = checked.strong(head), checked.rows(3, 8)
    plain, changes = logits(model, ids), []
    for amount in (1, 6):
        logits(model, checked.rows(3, 8 + amount))  # of which nothing may stay
        padded = logits(model, *_pad(ids, amount, side, checked.pad_id))
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


def _truncate(tokenizer: PreTrainedTokenizerBase, max_length: int) -> Tensor:
    """A text longer than ``max_length`` tokens, truncated as hfbench does, shape (1, tokens)."""
    text = " ".join(["cats and dogs"] * max_length)
    ids = tokenizer([text], truncation=True, max_length=max_length)["input_ids"]
    return torch.tensor(ids)
