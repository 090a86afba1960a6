"""Checks of the word embedding: whether it can be replaced and made larger."""

import copy
import tempfile

import torch

from hfbench.checks.behaviour import difference, logits
from hfbench.checks.checked_model import CheckedModel
from hfbench.checks.outcome import TOLERANCE, Failed, at_most
from hfbench.recipe.types import Head

_ADDED = 7  # rows


def check_embeddings(checked: CheckedModel, head: Head) -> float:
    """Another word embedding is set, and used.

    It has the rows of some words exchanged in pairs; texts in which these words are exchanged have
    the same logits then.
    """
    model, ids = checked.strong(head), checked.rows(2, 8)
    plain = logits(model, ids)
    words = ids[:, :-1].unique()  # the last may be one that the model looks for
    words = words[: len(words) // 2 * 2]
    other = torch.arange(int(ids.max()) + 1)
    other[words] = words.view(-1, 2).flip(1).flatten()
    embedding = copy.deepcopy(model.get_input_embeddings())
    with torch.no_grad():
        embedding.weight[words] = embedding.weight[other[words]].clone()
    model.set_input_embeddings(embedding)
    advice = (
        "set_input_embeddings() does not replace the embedding that forward uses: assign it to the "
        'attribute, or name that in _input_embed_layer = "wte"'
    )
    return at_most(difference(plain, logits(model, other[ids])), TOLERANCE, advice)


def check_resize(checked: CheckedModel, head: Head) -> float:
    """More words, as added tokens need: old logits stay, new ids work, the result is saved.

    Gives the change of the old logits.
    """
    model, ids = checked.strong(head), checked.rows(2, 8)
    plain = logits(model, ids)
    rows = model.get_input_embeddings().weight.shape[0] + _ADDED
    model.resize_token_embeddings(rows, mean_resizing=False)
    if model.config.vocab_size != rows:
        raise Failed(
            model.config.vocab_size,
            f"resized to {rows} words, config.vocab_size stays {model.config.vocab_size}",
        )
    if head == "language model":
        width = logits(model, ids).shape[-1]
        if width != rows:
            raise Failed(
                width,
                f"resized to {rows} words, logits are {width} wide: get_output_embeddings() must "
                "give the head, and set_output_embeddings() set it",
            )
    new = ids.clone()
    new[:, 2] = rows - 1
    labels = checked.labels(head, new)
    with torch.no_grad():
        loss = model(input_ids=new, attention_mask=torch.ones_like(new), labels=labels).loss
    if not torch.isfinite(loss):
        raise Failed(loss.item(), "with a new word the loss is not finite")
    with torch.no_grad():
        before = logits(model, new)
        embedding = model.get_input_embeddings().weight
        embedding[rows - 1] = embedding[int(ids[0, 0])]
        effect = difference(before, logits(model, new))
    if effect < TOLERANCE:
        raise Failed(effect, "the row of a new word changes nothing where it stands in a text")
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        loaded = type(model).from_pretrained(folder).eval()
    changes = [
        difference(plain, logits(one, ids)[..., : plain.shape[-1]]) for one in (model, loaded)
    ]
    advice = (
        "resize_token_embeddings() changes the logits of old words: keep sizes of the vocabulary "
        "in the configuration alone"
    )
    return at_most(max(changes), TOLERANCE, advice)
