"""Training steps as CUDA graphs: the kernels of a step are recorded once and launched at once.

A step of a small model is some 200 kernels of a few microseconds, and Python needs longer to ask
for each than the GPU to run it. The graph holds the same kernels, so that the numbers are the same;
random numbers go on from replay to replay as they would without it. Nothing in a recorded function
may look at a value on the device, and what it reads and writes must stay where it is.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from transformers import PreTrainedModel, TrainingArguments

_ALIGNMENT = 64  # elements: kernels read several at once where a tensor begins at such a place

# Recording takes as long as a few plain calls: who stops right after the first one lost little.
# Then what was called once is likely to come again; once it must have run, to load its kernels.
_PLAIN_CALLS = 10
_PLAIN_CALLS_OF_A_KEY = 1


def can_replay(model: PreTrainedModel, args: TrainingArguments) -> bool:
    """Whether it is worth trying to replay steps from CUDA graphs.

    It takes a GPU for each process, a model whose parameters are of one type, and nothing between
    forward pass and update but clipping and the scaling of losses. Whether the model's passes can
    be recorded is found by trying, see `replay_trial`.
    """
    return (
        args.device.type == "cuda"
        and args.n_gpu == 1
        and args.optim == "adamw_torch_fused"
        and args.neftune_noise_alpha is None
        and args.include_num_input_tokens_seen == "no"
        and args.lr_scheduler_type not in ("reduce_lr_on_plateau", "greedy")
        and len({parameter.dtype for parameter in model.parameters()}) == 1
    )


class ReplayedFunction:
    """A function that runs as it is at first and is replayed from a CUDA graph later.

    Its arguments choose a graph; its data are in tensors that it finds in place.
    """

    def __init__(
        self, function: Callable[..., None], refuse: Callable[..., str | None] | None = None
    ) -> None:
        """``refuse`` of the arguments says why it cannot be recorded; asked before it is."""
        self.function = function
        self.refusal: str | None = None
        """Why it is never replayed, if so."""
        self._refuse = refuse
        self._calls: Counter[Hashable] = Counter()
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph] = {}
        self._pool = torch.cuda.graph_pool_handle()  # one is replayed at a time: memory is shared

    def __call__(self, *key: Hashable) -> None:
        self._calls[key] += 1
        if key not in self._graphs and self._is_time(key):
            self.refusal = self._refuse(*key) if self._refuse else None
            if self.refusal is None:
                self._graphs[key] = record(partial(self.function, *key), self._pool)
        if key in self._graphs:
            self._graphs[key].replay()
        else:
            self.function(*key)

    def _is_time(self, key: Hashable) -> bool:
        return (
            self.refusal is None
            and self._calls[key] > _PLAIN_CALLS_OF_A_KEY
            and self._calls.total() > _PLAIN_CALLS
        )


def record(function: Callable[[], object], pool: Any = None) -> torch.cuda.CUDAGraph:
    """A graph of what ``function`` would do; it does not run.

    Raises:
        RuntimeError: if it cannot be recorded, as where it looks at a value on the device.
    """
    graph = torch.cuda.CUDAGraph()
    try:
        # of other threads NCCL's may meanwhile ask for events
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            function()
    except BaseException:
        # broken off it does not let go of the generator of random numbers; one more does
        with torch.cuda.graph(torch.cuda.CUDAGraph(), capture_error_mode="thread_local"):
            torch.zeros(1, device="cuda")
        raise
    return graph


class ReplayedAdamW(torch.optim.AdamW):
    """Clipping and AdamW, as a part of a replayed step.

    A backward pass in a graph leaves its gradients in that graph's memory. Where a step is one
    batch of one process, `update` follows in the same graph, and `step` has nothing to do. Where it
    is several, each is followed by `collect`, which copies gradients to where `add_up` and the
    `update` of `step` find them.
    """

    def __init__(
        self,
        params: Any,
        max_grad_norm: float,
        scaler: "ReplayedScaler | None" = None,
        **kwargs: Any,
    ) -> None:
        """As AdamW, fused; ``max_grad_norm`` of 0 does not clip; ``scaler`` scaled the losses."""
        super().__init__(params, **{**kwargs, "fused": True})
        self.max_grad_norm = max_grad_norm or float("inf")
        self.scaler = scaler
        self.found_inf: Tensor | None = None
        """As `GradScaler` tells a fused optimizer; after an overflow it changes nothing."""
        self._parameters = [p for group in self.param_groups for p in group["params"]]
        self._trained: list[Tensor] = []
        self._gradients: list[Tensor] = []
        self._all_gradients = torch.empty(0)  # which are parts of this
        device = self._parameters[0].device
        self.grad_norm = torch.zeros((), device=device)
        """Before clipping, of the last step."""
        self._rates = [torch.zeros((), device=device) for _ in self.param_groups]
        self._last_rates: list[float | None] = [None] * len(self._rates)
        self._replayed_update = ReplayedFunction(self._update_from_collected)

    def update_rates(self) -> None:
        """Let the next `update` have the learning rates that the scheduler has set."""
        for number, group in enumerate(self.param_groups):
            if group["lr"] != self._last_rates[number]:
                self._rates[number].fill_(group["lr"])
                self._last_rates[number] = group["lr"]

    def update(self) -> None:
        """Clip the gradients, update the parameters, and let go of the gradients."""
        trained = [p for p in self._parameters if p.grad is not None]
        if self.scaler:
            self.found_inf = self.scaler.unscale([p.grad for p in trained])
        norm = torch.nn.utils.clip_grad_norm_(trained, self.max_grad_norm, foreach=True)
        self.grad_norm.copy_(norm)
        with self._rates_on_device():
            super().step()
        if self.scaler and self.found_inf is not None:
            self.scaler.adapt(self.found_inf)
        self._let_go()

    def collect(self, *, adds: bool) -> None:
        """Take the gradients of a backward pass, and ``adds`` them to those of the last ones.

        A parameter that has none in the first step never gets one.
        """
        if not self._trained:
            self._trained = [p for p in self._parameters if p.grad is not None]
            self._all_gradients, self._gradients = _in_one(self._trained)
        gradients = [p.grad for p in self._trained if p.grad is not None]
        (torch._foreach_add_ if adds else torch._foreach_copy_)(self._gradients, gradients)
        self._let_go()

    def add_up(self) -> None:
        """Let each process have the sum of the gradients that they collected."""
        dist.all_reduce(self._all_gradients)

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update from the gradients that were collected, if any were."""
        if self._trained:
            self._replayed_update()

    def _update_from_collected(self) -> None:
        for parameter, gradient in zip(self._trained, self._gradients, strict=True):
            parameter.grad = gradient
        self.update()

    def _let_go(self) -> None:
        """Of the gradients, so that the next backward pass writes and does not add."""
        for parameter in self._parameters:
            parameter.grad = None

    @contextmanager
    def _rates_on_device(self) -> Iterator[None]:
        """The scheduler and checkpoints see learning rates as numbers, a graph must not."""
        rates = [group["lr"] for group in self.param_groups]
        for group, rate in zip(self.param_groups, self._rates, strict=True):
            group["lr"], group["capturable"] = rate, torch.cuda.is_current_stream_capturing()
        try:
            yield
        finally:
            for group, rate in zip(self.param_groups, rates, strict=True):
                group["lr"], group["capturable"] = rate, False


class ReplayedScaler(torch.amp.GradScaler):
    """Scales losses in float16, where `ReplayedAdamW` unscales gradients and lets the scale adapt.

    What `GradScaler` does for a fused optimizer; nothing of it is decided on the host.
    """

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Of the optimizer, which knows the scale."""
        optimizer.step(*args, **kwargs)

    def update(self, new_scale: Any = None) -> None:
        """Nothing: the optimizer has let the scale adapt."""

    def unscale(self, gradients: list[Tensor]) -> Tensor:
        """Divide them by the scale; 1.0 if one is not finite, else 0.0."""
        assert self._scale is not None  # a loss was scaled
        overflow = torch.zeros_like(self._scale)
        inverse = self._scale.double().reciprocal().float()
        torch._amp_foreach_non_finite_check_and_unscale_(gradients, overflow, inverse)
        return overflow

    def adapt(self, overflow: Tensor) -> None:
        """Halve the scale after an overflow, double it after many steps without one."""
        assert self._scale is not None
        assert self._growth_tracker is not None
        torch._amp_update_scale_(
            self._scale,
            self._growth_tracker,
            overflow,
            self._growth_factor,
            self._backoff_factor,
            self._growth_interval,
        )


def _in_one(tensors: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """A tensor of zeros, and parts of it with the shapes of ``tensors``, which are of one type."""
    sizes = [-(-tensor.numel() // _ALIGNMENT) * _ALIGNMENT for tensor in tensors]
    whole = tensors[0].new_zeros(sum(sizes))
    parts = [
        part[: tensor.numel()].view(tensor.shape)
        for part, tensor in zip(whole.split(sizes), tensors, strict=True)
    ]
    return whole, parts
