"""Gradients that outlast a backward pass: of several batches, or of several processes.

Processes add theirs up in a few pieces, each as soon as the backward pass has filled it, so that
most of that takes no time. `DistributedDataParallel` does the same, but cannot be recorded in a
CUDA graph, and compiles a model in parts.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_PIECE_BYTES = 2**26  # large enough for the bandwidth between GPUs, of which a model has several
_ALIGNMENT = 64  # elements: kernels read several at once where a tensor begins at such a place


class Gradients:
    """Memory for the gradients of parameters, which are of one type."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        """Of ``parameters`` in the order of the model: a backward pass begins with the last."""
        self._pieces = [_Piece(part) for part in _cut(parameters[::-1])]

    def take(self, *, adds: bool) -> None:
        """Take the gradients from the parameters; ``adds`` them to what is there."""
        for piece in self._pieces:
            piece.take(adds=adds)

    def give(self) -> None:
        """Let the parameters have them."""
        for piece in self._pieces:
            piece.give()

    def add_up(self) -> None:
        """Let each process have the sum of what all have."""
        for piece in self._pieces:
            piece.add_up().wait()

    @contextmanager
    def added_up_as_they_come(self) -> Iterator[None]:
        """Within, a backward pass; after it each process has the sums of all gradients.

        Pieces go in their order, in whatever order they are filled: the same in each process.
        """
        missing = [len(piece.parameters) for piece in self._pieces]
        works: list[Any] = []

        def go(number: int) -> None:
            self._pieces[number].take(adds=False)
            works.append(self._pieces[number].add_up())

        def arrives(number: int, parameter: Tensor) -> None:
            missing[number] -= 1
            while len(works) < len(missing) and missing[len(works)] == 0:
                go(len(works))

        with ExitStack() as stack:
            for number, piece in enumerate(self._pieces):
                for parameter in piece.parameters:
                    hook = parameter.register_post_accumulate_grad_hook(partial(arrives, number))
                    stack.callback(hook.remove)
            yield
        for number in range(len(works), len(missing)):
            go(number)
        for work in works:
            work.wait()


class _Piece:
    """Some of the parameters, and one tensor for the gradients of all of them."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = parameters
        sizes = [-(-p.numel() // _ALIGNMENT) * _ALIGNMENT for p in parameters]
        self._whole = parameters[0].new_zeros(sum(sizes))
        self._parts = [
            part[: parameter.numel()].view(parameter.shape)
            for part, parameter in zip(self._whole.split(sizes), parameters, strict=True)
        ]

    def take(self, *, adds: bool) -> None:
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        assert len(gradients) == len(self._parts), "a parameter that had a gradient has none"
        (torch._foreach_add_ if adds else torch._foreach_copy_)(self._parts, gradients)
        for parameter in self.parameters:
            parameter.grad = None

    def give(self) -> None:
        for parameter, part in zip(self.parameters, self._parts, strict=True):
            parameter.grad = part

    def add_up(self) -> Any:
        """What is to be waited for."""
        return dist.all_reduce(self._whole, async_op=True)


def _cut(parameters: Sequence[Tensor]) -> list[Sequence[Tensor]]:
    """Those of neighbours whose gradients have so many bytes, or one that has more."""
    pieces: list[list[Tensor]] = [[]]
    size = 0
    for parameter in parameters:
        size += parameter.nbytes
        if pieces[-1] and size > _PIECE_BYTES:
            pieces.append([])
            size = parameter.nbytes
        pieces[-1].append(parameter)
    return [*pieces]
