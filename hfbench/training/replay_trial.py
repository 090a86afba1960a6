"""Whether passes of a model can be replayed from CUDA graphs, found by trying.

What a graph cannot hold are values that Python looks at: those on the device, at which recording
fails, and random numbers of the host, which would be those of the recording for ever. That it holds
the rest is seen from a replay beside plain passes, by loss and gradients.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hfbench.errors import one_line
from hfbench.training.cuda_graphs import record

# Largest difference of loss and of gradients, beside their size; a replay runs the same kernels,
# of which some add up in an order that changes.
_TOLERANCES = {"float32": 1e-4, "reduced": 2e-2}


def why_not_replayed(
    passes: Callable[[], Tensor],
    batches: Sequence[Callable[[], object]],
    parameters: Sequence[Tensor],
    state: Sequence[Tensor],
    *,
    is_reduced: bool,
    computes_again: bool = False,
) -> str | None:
    """The reason, or None where replays give what plain passes give.

    Args:
        passes: does forward and backward pass, gives the loss, leaves gradients in ``parameters``.
        batches: each sets data for ``passes``; the last is set in the end, too.
        parameters: have no gradients, and none afterwards.
        state: tensors that ``passes`` changes; afterwards they are as before.
        is_reduced: whether passes compute in less than float32.
        computes_again: whether the backward pass computes layers once more. What they drew is drawn
            again from a state that is kept on the host, which would be that of the recording.
    """
    with ExitStack() as stack:
        stack.callback(batches[-1])
        start = stack.enter_context(_unchanged(parameters, state))
        expected = []
        for batch in batches:
            batch()
            start()
            before, drawn = _host_state(), _device_states(parameters)
            expected.append(_run(passes, parameters))
            if _host_state() != before:
                return "its passes draw random numbers on the host"
            if computes_again and _device_states(parameters) != drawn:
                return "layers that are computed again draw random numbers"
        start()
        found = torch.full_like(expected[0], torch.nan)
        try:
            graph = record(lambda: found.copy_(_run(passes, parameters)))
        except RuntimeError as error:
            return f"its passes cannot be recorded: {_first_cause(error)}"
        tolerance = _TOLERANCES["reduced" if is_reduced else "float32"]
        for batch, plain in zip(batches, expected, strict=True):
            batch()
            start()
            graph.replay()
            if reason := _difference(found, plain, tolerance):
                return reason
    return None


def _run(passes: Callable[[], Tensor], parameters: Sequence[Tensor]) -> Tensor:
    """The loss, and the norm of the gradient of each parameter that has one."""
    loss = passes()
    norms = torch._foreach_norm([p.grad for p in parameters if p.grad is not None])
    _let_go(parameters)
    return torch.stack([loss.double(), *(norm.double() for norm in norms)])


def _let_go(parameters: Sequence[Tensor]) -> None:
    for parameter in parameters:
        parameter.grad = None


def _difference(found: Tensor, plain: Tensor, tolerance: float) -> str | None:
    """In words, if a replay gave another loss or other gradients."""
    loss, plain_loss = found[0].item(), plain[0].item()
    if not abs(loss - plain_loss) <= tolerance * max(abs(plain_loss), 1e-3):
        return f"a replay gives the loss {loss:.6g}, a plain pass {plain_loss:.6g}"
    # scaled gradients may overflow in float16, in both
    apart = torch.where(found == plain, 0.0, found - plain)[1:].norm().item()
    whole = torch.where(plain.isinf(), 0.0, plain)[1:].norm().item()
    if not apart <= tolerance * whole:
        return f"a replay's gradients have other norms than a plain pass's, by {apart:.2g}"
    return None


@contextmanager
def _unchanged(parameters: Sequence[Tensor], state: Sequence[Tensor]) -> Iterator[Any]:
    """Yields what sets ``state`` and random numbers to what they were, as is done in the end."""
    kept = [tensor.clone() for tensor in state]
    devices, drawn = _devices(parameters), _device_states(parameters)
    host = torch.get_rng_state(), random.getstate(), np.random.get_state()

    def restore() -> None:
        for tensor, value in zip(state, kept, strict=True):
            tensor.copy_(value)
        for device, numbers in zip(devices, drawn, strict=True):
            torch.cuda.set_rng_state(torch.tensor(numbers, dtype=torch.uint8), device)
        torch.set_rng_state(host[0])
        random.setstate(host[1])
        np.random.set_state(host[2])

    try:
        yield restore
    finally:
        restore()
        _let_go(parameters)


def _devices(parameters: Sequence[Tensor]) -> list[torch.device]:
    """Those with random numbers of their own."""
    device = parameters[0].device
    return [device] if device.type == "cuda" else []


def _device_states(parameters: Sequence[Tensor]) -> list[list[int]]:
    """Of their generators, to be compared."""
    return [torch.cuda.get_rng_state(device).tolist() for device in _devices(parameters)]


def _host_state() -> tuple[Any, ...]:
    """Of the generators of random numbers, to be compared."""
    return torch.get_rng_state().tolist(), random.getstate(), repr(np.random.get_state())


def _first_cause(error: BaseException) -> str:
    """What was raised first, on a line: a recording that is broken off raises more."""
    while error.__context__ is not None:
        error = error.__context__
    return one_line(error)
