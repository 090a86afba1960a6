"""Greedy decoding with a static cache; on CUDA a step is recorded once and replayed for each token.

A step of a small model is some 100 kernels of a few microseconds, and Python needs far longer to
ask for them than the GPU to run them. Within a replay nothing goes through Python, and the host
looks at no value but every `CHUNK` tokens.

Shapes:
    B: rows, one for each prompt
    P: tokens of the longest prompt
    N: new tokens
    V: vocabulary
    K: most probable tokens that are kept of each step
"""

import inspect
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, StaticCache
from transformers.cache_utils import StaticLayer

from hfbench.models.facts import cache_argument

CHUNK = 16
"""Steps whose logits are kept until they are read together: 2 chunks of (16, B, V) at a time."""
_PLAIN_STEPS = 2
"""Steps before recording: libraries set themselves up in the first, outside of a graph."""


@dataclass(frozen=True)
class Decoded:
    """What a model wrote, and what it found probable, from the softmax of its raw logits."""

    tokens: Tensor
    """Shape (B, N)."""
    probabilities: Tensor
    """Of these tokens, shape (B, N)."""
    top_tokens: Tensor
    """Best first, shape (B, N, K)."""
    top_probabilities: Tensor
    """Shape (B, N, K)."""


def read_logits(logits: Tensor, tokens: Tensor, top: int) -> Decoded:
    """Probabilities of ``tokens`` (B, N) and of the ``top`` best, from logits (B, N, V)."""
    probabilities = logits.float().softmax(-1)
    best = probabilities.topk(top)
    chosen = probabilities.gather(-1, tokens[..., None])[..., 0]
    return Decoded(tokens, chosen, best.indices, best.values)


def join(parts: list[Decoded]) -> Decoded:
    """Steps that follow each other, as one."""
    return Decoded(
        torch.cat([part.tokens for part in parts], dim=1),
        torch.cat([part.probabilities for part in parts], dim=1),
        torch.cat([part.top_tokens for part in parts], dim=1),
        torch.cat([part.top_probabilities for part in parts], dim=1),
    )


def can_decode(model: PreTrainedModel) -> bool:
    """Whether `decode_greedily` can decode ``model`` with a recorded step.

    It must be one that transformers can compile whole, so that its step looks at no value, with
    attention to all that is in a static cache, and on a GPU.
    """
    return (
        model.device.type == "cuda"
        and model._can_compile_fullgraph
        and model.config._attn_implementation in ("sdpa", "eager")
        and {"position_ids", "logits_to_keep"} <= set(inspect.signature(model.forward).parameters)
        and all(type(layer) is StaticLayer for layer in StaticCache(model.config, 1).layers)
    )


@torch.no_grad()
def decode_greedily(
    model: PreTrainedModel,
    ids: Tensor,
    attention_mask: Tensor,
    *,
    max_new_tokens: int,
    top: int,
    eos: set[int],
) -> Decoded:
    """Take the most probable token each time: by as many steps, the tokens of ``model.generate``.

    Args:
        model: one for which `can_decode` holds; on another device than a GPU each step is
            computed plainly.
        ids: prompts, shape (B, P).
        attention_mask: 0 for the padding, which is on the left, shape (B, P).
        max_new_tokens: of each row, at least 1.
        top: how many of the most probable tokens to keep at each step.
        eos: when each row has one of these, decoding ends within `CHUNK` tokens. What stands
            after the first one of a row means nothing.
    """
    step = _Step(model, ids, attention_mask, max_new_tokens)
    parts: list[Decoded] = []
    finished = torch.zeros(len(ids), dtype=torch.bool)
    for start in range(0, max_new_tokens, CHUNK):
        size = min(CHUNK, max_new_tokens - start)
        for position in range(start, start + size):
            if position:  # the first token is the prompts'
                step.run()
        parts.append(read_logits(*step.read(size), top))
        if eos and start + size < max_new_tokens:
            finished |= torch.isin(parts[-1].tokens.cpu(), torch.tensor(list(eos))).any(dim=1)
            if finished.all():
                break
    return join(parts)


class _Step:
    """The next token of each row. All that changes is in tensors that stay where they are."""

    def __init__(
        self, model: PreTrainedModel, ids: Tensor, attention_mask: Tensor, max_new_tokens: int
    ) -> None:
        """Read the prompts, which gives the first token."""
        self.model = model
        num_rows, num_prompt = ids.shape
        # the last token is not read: it needs no place
        self.cache = StaticCache(model.config, max_cache_len=num_prompt + max_new_tokens - 1)
        # Places that hold nothing yet are 0 until their token is there.
        self.mask = attention_mask.new_zeros(num_rows, num_prompt + max_new_tokens - 1)
        self.mask[:, :num_prompt] = attention_mask
        positions = (attention_mask.cumsum(-1) - 1).clamp(min=0)  # (B, P)
        self.position = positions[:, -1:].clone()  # of each row's last token, (B, 1)
        self.place = torch.tensor([num_prompt - 1], device=ids.device)  # of it in the mask
        self.token = ids[:, -1:].clone()  # (B, 1)
        self.slot = torch.tensor([-1], device=ids.device)
        """Of the last step in its chunk."""
        self.tokens = ids.new_zeros(CHUNK, num_rows)
        logits = self._forward(ids, positions)
        self.logits = logits.new_zeros(CHUNK, *logits.shape)  # (CHUNK, B, V)
        self._keep(logits)
        self._steps = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def run(self) -> None:
        """One step; replayed, once it was run plainly a few times on a GPU."""
        if self._graph is None and self._steps >= _PLAIN_STEPS and self.token.is_cuda:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):  # records and does not run
                self._decode()
        if self._graph is not None:
            self._graph.replay()
        else:
            self._decode()
        self._steps += 1

    def read(self, size: int) -> tuple[Tensor, Tensor]:
        """Logits (B, size, V) and tokens (B, size) of the last ``size`` steps; starts a chunk."""
        self.slot.fill_(-1)
        # the tokens are copied, for the next chunk takes their place
        return self.logits[:size].transpose(0, 1), self.tokens[:size].T.clone()

    def _decode(self) -> None:
        self.place.add_(1)
        self.position.add_(1)
        self.mask.index_fill_(1, self.place, 1)
        self._keep(self._forward(self.token, self.position))

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Logits of the last position, shape (B, V); takes (B, T) twice."""
        output = self.model(
            ids,
            attention_mask=self.mask,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
            **{cache_argument(self.model): self.cache},
        )
        return output.logits[:, -1]

    def _keep(self, logits: Tensor) -> None:
        self.slot.add_(1)
        self.logits.index_copy_(0, self.slot, logits[None])
        self.token.copy_(logits.argmax(-1, keepdim=True))
        self.tokens.index_copy_(0, self.slot, self.token.T)
