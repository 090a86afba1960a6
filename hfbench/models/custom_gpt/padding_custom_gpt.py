"""A batch without its padding, for all that looks at each token by itself."""

from torch import Tensor


class RealTokens:
    """Which tokens of a batch are real: takes them out of it and puts them back.

    Shapes:
        B: batch
        T: tokens of a row, padding included
        N: real tokens of all rows
        D: any number of features
    """

    def __init__(self, attention_mask: Tensor) -> None:
        """Take the mask (B, T), 0 for padding on whichever side."""
        self.batch_shape = attention_mask.shape
        self.index = attention_mask.flatten().nonzero().squeeze(1)  # (N,)

    def take(self, states: Tensor) -> Tensor:
        """From (B, T, D) to (1, N, D), row after row."""
        return states.flatten(0, 1).index_select(0, self.index).unsqueeze(0)

    def put_back(self, states: Tensor) -> Tensor:
        """From (1, N, D) to (B, T, D), with zeros in the place of padding."""
        whole = states.new_zeros(self.batch_shape.numel(), states.shape[-1])
        return whole.index_copy(0, self.index, states[0]).view(*self.batch_shape, -1)
