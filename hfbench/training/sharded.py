"""Models that FSDP2 shards over processes, with checkpoints as those of a model that is whole.

So a checkpoint goes on under another number of processes, or without FSDP, and weights are always
safetensors. All of this is called in every process; the first one holds what is whole.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate.utils import DistributedType
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from transformers import TrainingArguments
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME
from transformers.utils import SAFE_WEIGHTS_NAME

from hfbench.system.launch import shards_models
from hfbench.training.skipping import SkippingTrainer

State = dict[str, Any]

_GATHER = StateDictOptions(full_state_dict=True, cpu_offload=True)
_SCATTER = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)


class ShardingTrainer(SkippingTrainer):
    """A Trainer for whose user a sharded model is as any other, its checkpoints and precision too.

    Precision is mixed by autocast, as without FSDP, so that the numbers are those of one device.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # by default it rounds all weights, gradients and outputs
        self.accelerator.state.fsdp_plugin.mixed_precision_policy = None
        if self.args.optim in ("adamw_torch", "adamw_torch_fused"):
            _, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            self.optimizer_cls_and_kwargs = (AdamWOfParts, options)

    def compute_loss_context_manager(self) -> ExitStack:
        """Around each forward pass."""
        stack = super().compute_loss_context_manager()
        stack.enter_context(self.accelerator.autocast())
        return stack

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        self.accelerator.unscale_gradients()
        return clip_parts(model, self.args.max_grad_norm)

    def weights(self) -> State:
        """All weights by name; called in every process, and empty but in the first."""
        return self._with_tied(whole_weights(self.model))

    def _with_tied(self, weights: State) -> State:
        """``weights``, in which a shared one is the same under each of its names."""
        tied = self.model.all_tied_weights_keys.items() if weights else ()
        return weights | {name: weights[source] for name, source in tied}

    def save_model(self, output_dir: str | None = None, **kwargs: Any) -> None:
        """Write the weights, which FSDP has in parts, as of any model."""
        weights = self.weights()
        if self.args.should_save:
            # what `save_model` calls in the end, and the only way to hand it a state dict
            self._save(output_dir, state_dict=weights)

    # Of these three the Trainer has no public form: it writes and reads an FSDP model's parts.

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        state = whole_optimizer_state(self.model, self.optimizer.optimizer)
        if self.args.should_save:
            torch.save(state, Path(output_dir) / OPTIMIZER_NAME)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        weights = {}
        if self.accelerator.is_main_process:
            weights = self._with_tied(load_file(Path(resume_from_checkpoint) / SAFE_WEIGHTS_NAME))
        load_weights(self.model, weights)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        state = {}
        if self.accelerator.is_main_process:
            state = torch.load(Path(checkpoint) / OPTIMIZER_NAME, "cpu", weights_only=True)
        load_optimizer_state(self.model, self.optimizer.optimizer, state)
        schedule = torch.load(Path(checkpoint) / SCHEDULER_NAME, weights_only=True)
        self.lr_scheduler.load_state_dict(schedule)


class AdamWOfParts(torch.optim.AdamW):
    """AdamW that each process computes on its parts.

    An operation on distributed tensors is dispatched by Python, tensor by tensor: those of a large
    model take longer than the GPU takes for the update.
    """

    def _init_group(self, group: State, params: list[Tensor], *others: list[Tensor]) -> bool:
        # what is collected here, all of it sharded alike, is what the update is computed on
        has_complex: bool = super()._init_group(group, params, *others)
        for tensors in (params, *others):
            tensors[:] = [_part(tensor) for tensor in tensors]
        return has_complex


@torch.no_grad()
def clip_parts(model: nn.Module, max_norm: float) -> Tensor:
    """Clip the gradients, all of which are in parts, by the norm of the whole, which is returned.

    As `torch.nn.utils.clip_grad_norm_` does it, but on the parts, see `AdamWOfParts`.
    """
    gradients = [_part(p.grad) for p in model.parameters() if p.grad is not None]
    squares = torch.stack(torch._foreach_norm(gradients)).square().sum()
    dist.all_reduce(squares)
    norm = squares.sqrt()
    torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm


def _part(tensor: Tensor) -> Tensor:
    """What this process has of a distributed tensor; any other is what it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def will_shard(args: TrainingArguments) -> bool:
    """Whether accelerate will shard the model of a Trainer with these ``args``.

    It does where its launcher was told to, and each process has an accelerator.
    """
    kind = args.distributed_state.distributed_type
    has_accelerators = kind.startswith("MULTI_") and kind != DistributedType.MULTI_CPU
    return shards_models() and has_accelerators


def whole_weights(model: nn.Module) -> State:
    """The state dict of the whole model, on the CPU; empty but in the first process."""
    return get_model_state_dict(model, options=_GATHER)


def load_weights(model: nn.Module, weights: State) -> None:
    """Give each process its part of ``weights``, which is read in the first alone."""
    set_model_state_dict(model, weights, options=_SCATTER)


def whole_optimizer_state(model: nn.Module, optimizer: Optimizer) -> State:
    """What ``optimizer.state_dict()`` would be of a whole model; empty but in the first process."""
    state: State = get_optimizer_state_dict(model, optimizer, options=_GATHER)
    names = _parameter_names(model, optimizer)
    return _renamed(state, {name: n for n, name in enumerate(names)}) if _is_first() else {}


def load_optimizer_state(model: nn.Module, optimizer: Optimizer, state: State) -> None:
    """The reverse of `whole_optimizer_state`; ``state`` is read in the first process alone."""
    names = _parameter_names(model, optimizer)
    if _is_first():
        state = _renamed(state, dict(enumerate(names)))
    set_optimizer_state_dict(model, optimizer, state, options=_SCATTER)


def _parameter_names(model: nn.Module, optimizer: Optimizer) -> list[str]:
    """In the order of the optimizer, whose own state knows a parameter by its place there."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return [
        names[parameter].replace("_orig_mod.", "")  # a compiled module's prefix
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]


def _renamed(state: State, names: dict) -> State:
    groups = [
        {**group, "params": [names[old] for old in group["params"]]}
        for group in state["param_groups"]
    ]
    values = {names[old]: value for old, value in state["state"].items()}
    return {"state": values, "param_groups": groups}


def _is_first() -> bool:
    return dist.get_rank() == 0
