"""What transformers computes by many kernels, by few; the numbers are the same within rounding.

A replayed step of a small batch takes as long as its kernels are many, whatever they compute.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import NewGELUActivation

_MODERN_BERT = "transformers.models.modernbert.modeling_modernbert"
_ROTATION = "apply_rotary_pos_emb"


@contextmanager
def fewer_kernels(model: nn.Module) -> Iterator[None]:
    """Within, tanh GELUs of ``model`` are one kernel, and a ModernBERT's rotations eight.

    For a forward pass whose layers are not computed again in the backward pass.
    """
    with ExitStack() as stack:
        for module in model.modules():
            if type(module) is NewGELUActivation:
                module.forward = partial(F.gelu, approximate="tanh")
                stack.callback(delattr, module, "forward")  # that of its class shows again
        source: Any = sys.modules.get(_MODERN_BERT)  # there if the model is one
        if source and type(getattr(model, "base_model", None)) is source.ModernBertModel:
            stack.callback(setattr, source, _ROTATION, getattr(source, _ROTATION))
            setattr(source, _ROTATION, rotate)
        yield


def rotate(
    query: Tensor, key: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1
) -> tuple[Tensor, Tensor]:
    """Rotary position embedding as ModernBERT has it (https://arxiv.org/abs/2104.09864).

    Shapes:
        B: batch
        H: heads
        T: tokens
        D: head size; the first half of its numbers is rotated with the second

    Args:
        query: (B, H, T, D).
        key: (B, H, T, D).
        cos: (B, T, D), with two equal halves.
        sin: (B, T, D), likewise.
        unsqueeze_dim: where ``cos`` and ``sin`` have no heads.
    """
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    return _Rotation.apply(query, cos, sin), _Rotation.apply(key, cos, sin)


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotated(states, cos, sin, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        cos, sin = ctx.saved_tensors
        return _rotated(gradient, cos, sin, -1), None, None


def _rotated(states: Tensor, cos: Tensor, sin: Tensor, way: int) -> Tensor:
    """By the angles, or for -1 back; computed in float32, as the model does."""
    out = states * cos.to(torch.promote_types(cos.dtype, torch.float32))
    for part, other, sines, sign in zip(
        out.chunk(2, -1), states.chunk(2, -1)[::-1], sin.chunk(2, -1), (-way, way), strict=True
    ):
        part.addcmul_(other, sines, value=sign)
    return out.to(states.dtype)
