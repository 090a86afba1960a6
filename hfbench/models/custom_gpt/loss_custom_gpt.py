"""The language-model loss without the logits of all tokens at once.

Shapes:
    N: tokens that are predicted
    n: tokens of a chunk
    D: width
    V: vocabulary
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

IGNORED = -100

# Logits of a chunk in bytes. A CPU's cache should hold them; a GPU needs large matrices.
_CHUNK_BYTES = {"cpu": 13 * 2**20}
_CHUNK_BYTES_OF_ACCELERATOR = 512 * 2**20
_ALIGNMENT = 64  # matrices whose sides are multiples are multiplied faster on tensor cores


@torch.compiler.disable  # its kernels are large: compiled, they are slower
def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Sum of the cross entropies of ``hidden @ weight.T``, a scalar in float32.

    The logits are made in chunks, and with them the gradients, in the forward pass ("Cut Your
    Losses in Large-Vocabulary Language Models", https://arxiv.org/abs/2411.09009, names the cost
    of keeping them). Under autocast products are in its type, sums in float32. Backward can be
    called once only. torch's own function of this name (from 2.13) takes more than twice the time
    of plain logits on a CPU.

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
        target_logits = logits.gather(1, target).squeeze(1).float()
        weights, sums, log_sums = _exponentials(logits)
        total += ((log_sums - target_logits) * counts).sum()
        # of the loss by the logits: softmax minus one at the target, the division put off
        weights.scatter_add_(1, target, -sums.unsqueeze(1).to(weights.dtype))
        scale = (counts / sums).unsqueeze(1)  # (n, 1)
        grad_hidden[rows] = (weights @ weight) * scale
        scaled = (part * scale).to(part.dtype)
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


def _exponentials(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """In place: the exponentials (n, V) up to a factor for each row, their sums (n,), and the
    logarithm (n,) of the sums without that factor.
    """
    if logits.device.type == "cpu":
        top = logits.amax(1)
        exponentials = logits.sub_(top.unsqueeze(1)).exp_()
        sums = exponentials.sum(1)
        return exponentials, sums, top + sums.log()
    # one kernel, with sums in float32 within; then log(sum) = x - log(softmax(x)), at the largest x
    top, where = logits.max(1, keepdim=True)
    exponentials = logits.softmax(1)
    log_sums = top.float() - exponentials.gather(1, where).float().log()
    return exponentials, torch.ones_like(log_sums).squeeze(1), log_sums.squeeze(1)


def _chunk_size(weight: Tensor, hidden: Tensor) -> int:
    """Tokens of a chunk: the largest power of two whose logits fit, 1 at least."""
    most = _CHUNK_BYTES.get(hidden.device.type, _CHUNK_BYTES_OF_ACCELERATOR)
    fitting = most // (len(weight) * hidden.element_size())
    return 1 << max(fitting.bit_length() - 1, 0)


def _aligned(weight: Tensor) -> Tensor:
    """On an accelerator with rows of zeros up to a multiple of `_ALIGNMENT`."""
    missing = -len(weight) % _ALIGNMENT
    if weight.device.type == "cpu" or not missing:
        return weight
    return torch.nn.functional.pad(weight, (0, 0, 0, missing))
