"""Training without dropout, also where it is no field of the configuration but a number in code."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from torch import Tensor
from torch.nn import functional as F

_DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout")


@contextmanager
def no_dropout() -> Iterator[None]:
    """Within, dropout leaves things as they are, and that of sdpa, too.

    The functions themselves are replaced: a torch function mode would not reach what activation
    checkpointing computes again in the backward pass.
    """
    attend = F.scaled_dot_product_attention

    def keep(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return input

    def attend_to_all(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **kwargs: Any,
    ) -> Tensor:
        return attend(query, key, value, attn_mask, 0.0, is_causal, **kwargs)

    with ExitStack() as stack:
        for name in _DROPOUTS:
            stack.enter_context(mock.patch.object(F, name, keep))
        stack.enter_context(mock.patch.object(F, "scaled_dot_product_attention", attend_to_all))
        yield
