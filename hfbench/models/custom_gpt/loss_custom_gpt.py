"""The language-model loss without the logits of all tokens at once.

Shapes:
    B: batch
    T: tokens of a row
    N: tokens that are predicted
    n: tokens of a chunk
    D: width
    V: vocabulary
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

IGNORED = -100

# Logits of a chunk, in bytes. On a CPU its cache should hold them. On a GPU each chunk adds to the
# gradient of the whole weight, so that they may take as much more as that costs.
_CHUNK_BYTES_OF_CPU = 13 * 2**20
_CHUNK_BYTES = 256 * 2**20
_CHUNK_BYTES_OF_WEIGHT = 48
_ALIGNMENT = 64  # matrices whose sides are multiples are multiplied faster on tensor cores


def causal_lm_loss(
    hidden_states: Tensor,
    weight: Tensor,
    labels: Tensor,
    num_items_in_batch: Tensor | int | None,
    index: Tensor | None = None,
) -> Tensor:
    """Loss of a language model, a scalar: each position predicts the label of the next.

    Args:
        hidden_states: (B, T, D).
        weight: (V, D), of the head, which has no bias.
        labels: (B, T), not shifted; -100 does not count.
        num_items_in_batch: divides the sum; None for the number of tokens that count.
        index: (N,), among the B * T tokens those that may count, each once; None for all.
    """
    # the last position predicts nothing; without it the hidden states would have to be copied
    hidden, targets = hidden_states, F.pad(labels[:, 1:], (0, 1), value=IGNORED)
    counts = targets != IGNORED  # (B, T)
    if index is not None:
        hidden, targets = (t.flatten(0, 1).index_select(0, index) for t in (hidden, targets))
    elif hidden.device.type == "cpu" and not torch.compiler.is_compiling():
        # elsewhere the device would have to say how many there are before it goes on
        hidden, targets = hidden[counts], targets[counts]
    total = linear_cross_entropy(hidden.reshape(-1, hidden.shape[-1]), weight, targets.reshape(-1))
    return total / (counts.sum() if num_items_in_batch is None else num_items_in_batch)


@torch.compiler.disable  # its kernels are large: compiled, they are slower
def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Sum of the cross entropies of ``hidden @ weight.T``, a scalar in float32.

    The logits are made in chunks, and with them the gradients, in the forward pass ("Cut Your
    Losses in Large-Vocabulary Language Models", https://arxiv.org/abs/2411.09009, names the cost
    of keeping them). Under autocast products are in its type, sums in float32. Backward can be
    called once only. torch's own function of this name (from 2.13) takes more than twice the time
    of plain logits on a CPU. Off the CPU a token's loss is at most 87.3.

    Args:
        hidden: (N, D).
        weight: (V, D), of a layer without bias.
        targets: (N,), token ids; -100 does not count.
    """
    return _LinearCrossEntropy.apply(hidden, weight, targets)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        device = hidden.device.type
        dtype = hidden.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        with torch.autocast(device, enabled=False):
            total, grad_hidden, grad_weight = _loss_and_gradients(
                hidden.to(dtype), _aligned(weight.to(dtype)), targets, len(weight)
            )
        ctx.save_for_backward(grad_hidden.to(hidden.dtype), grad_weight[: len(weight)])
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grad.to(grad_hidden.dtype), grad_weight * grad, None


def _loss_and_gradients(
    hidden: Tensor, weight: Tensor, targets: Tensor, vocab_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, and the gradients of hidden (N, D) and, in float32, of weight (V or more, D)."""
    total = torch.zeros((), device=hidden.device)
    grad_hidden = torch.empty_like(hidden)
    grad_weight = torch.zeros_like(weight, dtype=torch.float32)
    size = _chunk_size(weight, hidden)
    for start in range(0, len(hidden), size):
        rows = slice(start, start + size)
        part, target = hidden[rows], targets[rows]
        counts = target != IGNORED  # (n,)
        target = target.clamp(min=0).unsqueeze(1)  # (n, 1)
        logits = _logits(part, weight, vocab_size)  # (n, V)
        weights, sums, losses = _exponentials(logits, target)
        total += (losses * counts).sum()
        # of the loss by the logits: softmax minus one at the target, the division put off
        weights.scatter_add_(1, target, -sums.unsqueeze(1).to(weights.dtype))
        scale = (counts / sums).unsqueeze(1)  # (n, 1)
        torch.mul(weights @ weight, scale, out=grad_hidden[rows])
        scaled = torch.mul(part, scale, out=torch.empty_like(part))  # in its type
        if scaled.dtype == grad_weight.dtype:
            grad_weight.addmm_(weights.T, scaled)
        else:
            grad_weight += weights.T @ scaled
    return total, grad_hidden, grad_weight


def _logits(hidden: Tensor, weight: Tensor, vocab_size: int) -> Tensor:
    """Logits of shape (n, V); those beyond the vocabulary are -inf."""
    if hidden.device.type == "cpu":
        return (weight @ hidden.T).T  # twice as fast as the line below
    logits = hidden @ weight.T
    logits[:, vocab_size:] = -torch.inf
    return logits


def _exponentials(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The exponentials (n, V) of the logits up to a factor for each row, their sums (n,), and the
    losses (n,) of the targets (n, 1). The logits are overwritten.
    """
    if logits.device.type == "cpu":
        exponents = logits.float()  # those that are in float32 are overwritten
        target_logits = exponents.gather(1, target).squeeze(1)
        top = exponents.amax(1)
        exponentials = exponents.sub_(top.unsqueeze(1)).exp_()
        sums = exponentials.sum(1)
        return exponentials.to(logits.dtype), sums, top + sums.log() - target_logits
    probabilities = logits.softmax(1)  # one kernel, with sums in float32 within
    # a probability below the smallest normal number would have an infinite loss: at most 87.3
    found = probabilities.gather(1, target).squeeze(1).float()
    losses = -found.clamp(min=torch.finfo(torch.float32).tiny).log()
    return probabilities, torch.ones_like(losses), losses


def _chunk_size(weight: Tensor, hidden: Tensor) -> int:
    """Tokens of a chunk: the largest power of two whose logits fit, 1 at least."""
    most = _CHUNK_BYTES + _CHUNK_BYTES_OF_WEIGHT * weight.numel()
    if hidden.device.type == "cpu":
        most = _CHUNK_BYTES_OF_CPU
    fitting = most // (len(weight) * hidden.element_size())
    return 1 << max(fitting.bit_length() - 1, 0)


def _aligned(weight: Tensor) -> Tensor:
    """On an accelerator with rows of zeros up to a multiple of `_ALIGNMENT`."""
    missing = -len(weight) % _ALIGNMENT
    if weight.device.type == "cpu" or not missing:
        return weight
    return F.pad(weight, (0, 0, 0, missing))
