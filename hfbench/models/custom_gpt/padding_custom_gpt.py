"""Padding: which tokens of a batch are real, where they stand, and a batch of them alone."""

import torch
from torch import Tensor


class RealTokens:
    """Which tokens of a batch are real: takes them out of it and puts them back.

    Shapes:
        B: batch
        T: tokens of a row, padding included
        N: real tokens of all rows
        D: any number of features
    """

    def __init__(self, attention_mask: Tensor, index: Tensor | None = None) -> None:
        """Take the mask (B, T), 0 for padding on whichever side.

        The ``index`` (N,) of what it calls real among the B * T tokens, each once, is found if it
        is not given. It may hold some padding, too.
        """
        self.batch_shape = attention_mask.shape
        self.index = attention_mask.flatten().nonzero().squeeze(1) if index is None else index

    def take(self, states: Tensor) -> Tensor:
        """From (B, T, D) to (1, N, D), row after row."""
        return states.flatten(0, 1).index_select(0, self.index).unsqueeze(0)

    def put_back(self, states: Tensor) -> Tensor:
        """From (1, N, D) to (B, T, D), with zeros in the place of padding."""
        whole = states.new_zeros(self.batch_shape.numel(), states.shape[-1])
        return whole.index_copy(0, self.index, states[0]).view(*self.batch_shape, -1)


def count_positions(
    inputs_embeds: Tensor, attention_mask: Tensor | None, num_past: int | Tensor
) -> Tensor:
    """Positions of shape (B, T), or (1, T) without a 2-D mask.

    A row counts its real tokens only, so that padding on either side moves no real token.
    """
    num_tokens = inputs_embeds.shape[1]
    if attention_mask is not None and attention_mask.ndim == 2:
        real = (attention_mask != 0).long()  # (B, S)
        return (real.cumsum(dim=-1) - 1).clamp(min=0)[:, -num_tokens:]
    return (torch.arange(num_tokens, device=inputs_embeds.device) + num_past).unsqueeze(0)


def pool_last_real_token(hidden_states: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Of (B, T, n_embd), the last position that the mask (B, S) calls real: (B, n_embd).

    Without a mask, the last position.

    Raises:
        ValueError: if the mask is not 2-D.
    """
    if attention_mask is None:
        return hidden_states[:, -1]
    if attention_mask.ndim != 2:
        raise ValueError(
            "the classifier finds a row's last token by an attention mask of shape "
            f"(batch, tokens), not {tuple(attention_mask.shape)}"
        )
    num_rows, num_tokens, _ = hidden_states.shape
    device = hidden_states.device
    is_real = attention_mask[:, -num_tokens:].to(device) != 0  # (B, T)
    last = (torch.arange(num_tokens, device=device) * is_real).amax(dim=-1)  # (B,)
    return hidden_states[torch.arange(num_rows, device=device), last]
