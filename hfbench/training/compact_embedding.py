"""Train only the rows of a word embedding that the data have tokens of.

A vocabulary has 50,257 entries and 1,200 sentences have some 4,000 of them. The other rows get no
gradient, so that AdamW without weight decay leaves them as they are; but filling their gradients
with zeros, clipping and updating them is most of a small model's work.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hfbench.models.embedding import embedding_rows


class CompactEmbedding(nn.Embedding):
    """The rows of another embedding that are used; it takes the same ids.

    Its state dict is that of the whole embedding, so that checkpoints are complete.

    Shapes:
        V: vocabulary
        D: width
        U: used ids
    """

    def __init__(self, whole: nn.Embedding, used: Tensor) -> None:
        """Take the rows ``used`` (U,), ascending, of ``whole`` (V, D)."""
        rows = whole.weight.detach()[used].clone()
        padding = (used == (-1 if whole.padding_idx is None else whole.padding_idx)).nonzero()
        padding_idx = int(padding[0]) if len(padding) else None
        super().__init__(len(used), whole.embedding_dim, padding_idx, _weight=rows)
        self.whole_weight = whole.weight.detach()  # (V, D); no buffer: not part of the state
        self.used = used
        self.row_of = torch.full((whole.num_embeddings,), -1, device=used.device)  # (V,)
        self.row_of[used] = torch.arange(len(used), device=used.device)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Embed ids, which must be among the used ones."""
        return super().forward(self.row_of[input_ids])

    def write_back(self) -> None:
        """Give the whole embedding the rows as they are now."""
        self.whole_weight[self.used] = self.weight.detach()

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        self.write_back()
        destination[f"{prefix}weight"] = self.whole_weight

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        whole = state_dict[f"{prefix}weight"]
        with torch.no_grad():
            self.whole_weight.copy_(whole)
            self.weight.copy_(self.whole_weight[self.used])


@contextmanager
def compact_embedding(model: PreTrainedModel, used: Tensor) -> Iterator[None]:
    """Within, the word embedding of ``model`` is compact; see `can_be_compact` first.

    Args:
        model: a transformers model.
        used: (U,), the ids that it will see.
    """
    whole = model.get_input_embeddings()
    used = used.to(whole.weight.device)
    compact = CompactEmbedding(whole, used)
    _replace(model, whole, compact)
    try:
        yield
    finally:
        compact.write_back()
        _replace(model, compact, whole)


def can_be_compact(model: PreTrainedModel, used: Tensor, decays: set[str]) -> bool:
    """Whether `compact_embedding` changes nothing else.

    The embedding stays whole where its weight is shared, frozen, decays, or has hardly an unused
    row.

    Args:
        model: a transformers model.
        used: (U,), the ids that it will see.
        decays: names of the parameters that decay.
    """
    if embedding_rows(model) is None:
        return False
    whole = model.get_input_embeddings()
    if type(whole) is not nn.Embedding or not whole.weight.requires_grad:
        return False
    is_plain = whole.max_norm is None and not whole.scale_grad_by_freq and not whole.sparse
    parameters = model.named_parameters(remove_duplicate=False)
    names = [name for name, parameter in parameters if parameter is whole.weight]
    is_own = len(names) == 1 and names[0] not in decays
    return is_plain and is_own and len(used) < whole.num_embeddings // 2


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put ``new`` wherever ``old`` is."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if child is old:
                setattr(parent, name, new)
