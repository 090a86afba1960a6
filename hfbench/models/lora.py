"""Low-rank adapters (PEFT) in a classifier: put in before training, merged into it afterwards.

The adapters are injected into the model, which stays of its class: Trainer, cost counter and weight
selection see nothing unusual. PEFT is an optional dependency, imported where it is needed.
"""

from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from hfbench.errors import UserError, nearest
from hfbench.recipe.model import Lora

VERSION = 1  # of numbers, see `execution.identity`
"""To be raised when adapters train or merge otherwise."""


def find_targets(model: PreTrainedModel, lora: Lora, key: str) -> list[str] | str:
    """The layers that get an adapter, as ``peft.LoraConfig`` takes them.

    Args:
        model: a classifier without adapters.
        lora: what the recipe says.
        key: where it says so, for messages.

    Raises:
        UserError: if PEFT is missing, or if the model has no such layers.
    """
    mapping = _import_peft(key).utils.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
    body = model.base_model
    if body is model:
        raise UserError(
            f"{key}: {type(model).__name__} does not tell its head from its body, which LoRA needs "
            "(its base_model_prefix names none of its attributes)"
        )
    # a leaf's name as it is written in a recipe, once for all blocks
    linear = [
        name for name, module in body.named_modules() if isinstance(module, nn.Linear | Conv1D)
    ]
    leaves = list(dict.fromkeys(name.rpartition(".")[2] for name in linear))
    known = f"its linear layers: {', '.join(leaves)}"
    targets = lora.target_modules or mapping.get(model.config.model_type)
    if targets is None:
        raise UserError(
            f"{key}.target_modules: PEFT has no default for {model.config.model_type}; name some "
            f"of {known}"
        )
    if isinstance(targets, str):  # a pattern, which only PEFT's own defaults are
        return targets
    for target in targets:
        if not any(f".{name}".endswith(f".{target}") for name in linear):
            raise UserError(
                f"{key}.target_modules: {type(model).__name__} has no linear layer {target!r} but "
                f"in its head{nearest(target, leaves)} ({known})"
            )
    return list(targets)


def add_adapters(model: PreTrainedModel, lora: Lora, new: set[str], key: str) -> None:
    """Put adapters into ``model``; they, its head and ``new`` train, all else is frozen.

    The adapters' weights are drawn from torch's generator. An adapter adds nothing at first.

    Args:
        model: a classifier.
        lora: what the recipe says.
        new: names of the parameters that no checkpoint brought; nobody would ever train them else.
        key: where the recipe says so, for messages.
    """
    targets = find_targets(model, lora, key)
    peft = _import_peft(key)
    body = {id(parameter) for parameter in model.base_model.parameters()}
    trained = [
        parameter
        for name, parameter in model.named_parameters()
        if name in new or id(parameter) not in body
    ]
    heads = [name for name, child in model.named_children() if child is not model.base_model]
    config = peft.LoraConfig(
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        target_modules=targets,
        exclude_modules=rf"({'|'.join(heads)})(\..*)?",  # they are trained as a whole
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
    )
    peft.LoraModel(model, config, "default")  # injects, and freezes all but the adapters
    for parameter in trained:
        parameter.requires_grad_(True)


def merge_adapters(model: PreTrainedModel) -> int:
    """Add the adapters to the weights that they adapt, in place; an ordinary model is left.

    Returns:
        How many parameters were trained.

    Raises:
        ValueError: if a merged weight is not finite.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge(safe_merge=True)
            model.set_submodule(name, module.get_base_layer())
    del model.peft_config
    return trained


def _import_peft(key: str) -> Any:
    try:
        import peft
    except ImportError:
        raise UserError(f"{key} needs peft: pip install 'hfbench[lora]'") from None
    return peft
