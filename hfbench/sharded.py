"""Models that FSDP2 shards over processes, with checkpoints as those of a model that is whole.

So a checkpoint goes on under another number of processes, or without FSDP, and weights are always
safetensors. All functions are called in every process; the first one holds what is whole.
"""

from typing import Any

import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import Optimizer

State = dict[str, Any]

_GATHER = StateDictOptions(full_state_dict=True, cpu_offload=True)
_SCATTER = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)


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
