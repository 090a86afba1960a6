"""Batches without padding: what a model computes for each token alone, it computes for real tokens.

A batch of short sentences is mostly padding: of SST-2's, with 32 in a batch, two thirds. Between
the first layer of a model and its last, only attention looks from one token at others. So layers
get the real tokens of all rows in one row; embeddings and head see batches as ever. For attention,
queries, keys and values are put back where they stood, or a mask keeps rows apart. The first lets
dropout draw what it draws for the padded batch, so that the numbers are the same; the second takes
fewer kernels on a GPU, which draws otherwise than a CPU in any case.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

ATTENTION = "sdpa"
"""The implementation of attention for which padding can be left out."""
# Base models of which a test shows that they give the same without padding. Not what is derived
# from them: it may mix tokens elsewhere than in attention.
FAMILIES = (
    "BertModel",
    "CamembertModel",
    "DistilBertModel",
    "ElectraModel",
    "GPT2Model",
    "ModernBertModel",
    "RobertaModel",
    "XLMRobertaModel",
)
_PAYS_BELOW = 0.9  # of the tokens of the padded batch
_LEAST_WIDTH = 128  # of the embedding; of a narrower model, padding takes less than bookkeeping
_MOST_IN_A_ROW = 1024  # tokens; of more, those of other rows would be most of the attention's work


def can_pack(model: PreTrainedModel) -> bool:
    """Whether `without_padding` changes nothing but the work, of which there is enough."""
    base = model.base_model
    kind = type(base)
    return (
        # by its name: the others would have to be imported
        kind.__name__ in FAMILIES
        and kind is getattr(transformers, kind.__name__)
        and base.config._attn_implementation == ATTENTION
        and base.get_input_embeddings().weight.shape[1] >= _LEAST_WIDTH
    )


def pays(tokens: int, rows: int, length: int) -> bool:
    """Whether ``tokens`` are few beside those of a batch of ``rows`` padded to ``length``."""
    return tokens < _PAYS_BELOW * rows * length


class RealTokens:
    """Where the real tokens of a padded batch stand: takes them out of it and puts them back.

    Shapes:
        B: rows
        T: their padded length
        N: real tokens, and maybe some padding behind them
        D: any features
    """

    def __init__(self, index: Tensor, rows: int, length: int) -> None:
        """``index``: (N,), which of the B * T tokens are real, each once, row after row."""
        self.index, self.rows, self.length = index, rows, length
        self._made: dict[int, tuple[Tensor, Tensor]] = {}

    @classmethod
    def of_mask(cls, attention_mask: Tensor) -> "RealTokens":
        """Of a mask (B, T), 0 for padding; looks at its values."""
        return cls(attention_mask.flatten().nonzero().squeeze(1), *attention_mask.shape)

    @cached_property
    def _slot_of(self) -> Tensor:
        """Where in the one row each token of the batch stands, shape (B * T,)."""
        slots = torch.arange(len(self.index), device=self.index.device)
        # of padding any: it is masked, and by zeros memory would have to be filled first
        places = self.index.new_zeros(self.rows * self.length)
        return places.index_copy_(0, self.index, slots)

    def take(self, states: Tensor) -> Tensor:
        """From (B, T, D), or (1, T, D) for all rows alike, to (1, N, D)."""
        whole = states.expand(self.rows, *states.shape[1:]).reshape(-1, *states.shape[2:])
        return _Gather.apply(whole, self.index, self._slot_of, True).unsqueeze(0)

    def once(self, make: Callable[[Tensor], Tensor], tensor: Tensor) -> Tensor:
        """What ``make`` makes of a tensor that is the same in many layers."""
        if id(tensor) not in self._made:
            self._made[id(tensor)] = (tensor, make(tensor))
        return self._made[id(tensor)][1]

    def apart(self, attention_mask: Tensor) -> Tensor:
        """From a mask (B, 1, T, T) to that of the tokens in one row, (1, 1, N, N)."""
        row, place = self.index // self.length, self.index % self.length
        # between tokens of other rows any value will do
        allowed = attention_mask[row[:, None], 0, place[:, None], place[None, :]]  # (N, N)
        same_row = row[:, None] == row[None, :]
        if attention_mask.dtype != torch.bool:
            lowest = torch.finfo(attention_mask.dtype).min
            return torch.where(same_row, allowed, lowest)[None, None]
        # padding sees itself: what sees nothing becomes NaN in some kernels, and spreads
        itself = torch.eye(len(row), dtype=torch.bool, device=row.device)
        return (allowed & same_row | itself)[None, None]

    def put_back(self, states: Tensor) -> Tensor:
        """From (1, N, D) to (B, T, D), with anything in the place of padding."""
        whole = _Gather.apply(states[0], self._slot_of, self.index, False)
        return whole.unflatten(0, (self.rows, self.length))


class _Gather(torch.autograd.Function):
    """Rows of a tensor by their number; each is there once, but for padding that no loss is of.

    So its gradient is gathered, too, where autograd would add up.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, index: Tensor, inverse: Tensor, takes: bool) -> Tensor:
        ctx.save_for_backward(index, inverse)
        ctx.takes = takes
        return states.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        index, inverse = ctx.saved_tensors
        if not ctx.takes:
            return gradient.index_select(0, inverse), None, None, None
        # padding gets none: it has no part in the loss
        whole = gradient.new_zeros(len(inverse), *gradient.shape[1:])
        return whole.index_copy_(0, index, gradient), None, None, None


@contextmanager
def without_padding(
    model: PreTrainedModel, tokens: RealTokens, *, same_draws: bool
) -> Iterator[None]:
    """Within, layers of ``model`` see ``tokens`` alone; see `can_pack` first.

    ``same_draws`` lets dropout draw what it would draw for the padded batch, which takes time.
    """
    in_one_row = not same_draws and len(tokens.index) <= _MOST_IN_A_ROW
    attend = _attend_in_one_row if in_one_row else _attend_in_rows
    layers = [m for m in model.base_model.modules() if isinstance(m, GradientCheckpointingLayer)]
    before = ALL_ATTENTION_FUNCTIONS[ATTENTION]
    with ExitStack() as stack:
        for layer in layers:
            hook = partial(_enter_layer, tokens, layer is layers[0])
            handle = layer.register_forward_pre_hook(hook, with_kwargs=True)
            stack.callback(handle.remove)
            if same_draws:
                _draw_for_padding(layer, tokens, stack)
        handle = layers[-1].register_forward_hook(lambda _, __, output: tokens.put_back(output))
        stack.callback(handle.remove)
        ALL_ATTENTION_FUNCTIONS[ATTENTION] = partial(attend, tokens, before)
        stack.callback(ALL_ATTENTION_FUNCTIONS.__delitem__, ATTENTION)
        yield


def _enter_layer(
    tokens: RealTokens, is_first: bool, layer: nn.Module, inputs: tuple, options: dict
) -> tuple[tuple, dict]:
    """Hidden states and rotations of the real tokens; the mask is for the attention."""
    states, *others = inputs
    if is_first:
        states = tokens.take(states)
    if rotations := options.get("position_embeddings"):
        rotated = tuple(tokens.once(tokens.take, part) for part in rotations)
        options = {**options, "position_embeddings": rotated}
    return (states, *others), options


def _attend_in_one_row(
    tokens: RealTokens,
    attend: Any,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    *args: Any,
    **kwargs: Any,
) -> tuple[Tensor, Any]:
    """Attention of (1, heads, N, head_size), in which tokens see those of their row."""
    mask = tokens.once(tokens.apart, attention_mask)
    output: tuple[Tensor, Any] = attend(module, query, key, value, mask, *args, **kwargs)
    return output


def _attend_in_rows(
    tokens: RealTokens,
    attend: Any,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *args: Any,
    **kwargs: Any,
) -> tuple[Tensor, Any]:
    """Attention of the padded batch, of (1, heads, N, head_size)."""
    whole = (tokens.put_back(part.transpose(1, 2)).transpose(1, 2) for part in (query, key, value))
    output, weights = attend(module, *whole, *args, **kwargs)  # (B, T, heads, head_size)
    return tokens.take(output), weights


def _draw_for_padding(layer: nn.Module, tokens: RealTokens, stack: ExitStack) -> None:
    """Let each dropout in ``layer`` be that of the padded batch."""
    for module in layer.modules():
        if isinstance(module, nn.Dropout) and module.p and module.training:
            before = module.register_forward_pre_hook(lambda _, args: tokens.put_back(args[0]))
            after = module.register_forward_hook(lambda _, __, output: tokens.take(output))
            stack.callback(before.remove)
            stack.callback(after.remove)
