"""TrainingArguments of a run, from what a recipe says."""

from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainingArguments
from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    get_available_reporting_integrations,
)

from hfbench.errors import UserError, nearest
from hfbench.system.launch import world_size
from hfbench.training.seeds import Streams


def training_arguments(
    arguments: dict[str, Any], streams: Streams, output_dir: Path, key: str
) -> TrainingArguments:
    """TrainingArguments of a run; what the recipe left open is hfbench's choice.

    The batch of a recipe, ``per_device_train_batch_size`` times ``gradient_accumulation_steps``, is
    a property of the comparison: processes share it, so that a recipe gives the same numbers on one
    device and on many.

    Raises:
        UserError: naming ``key``, if transformers refuses a value or the batch cannot be shared.
    """
    # the Trainer sets the library's verbosity; its notices would stand between hfbench's lines
    quiet = {"log_level": "error", "log_level_replica": "error"}
    values = {"save_strategy": "no", "report_to": "none", **quiet, **arguments}
    launched = world_size()
    if not torch.accelerator.is_available():
        values = {"use_cpu": True, "dataloader_pin_memory": False, **values}
        if launched > 1:  # else `torchrun` on a machine without a GPU would look for one
            values = {"ddp_backend": "gloo", **values}
    try:
        args = TrainingArguments(
            output_dir=str(output_dir),
            seed=streams.dropout,
            data_seed=streams.order,
            logging_nan_inf_filter=False,  # else a NaN is logged as the average so far
            disable_tqdm=True,
            remove_unused_columns=False,  # `FairTrainer` does it
            **values,
        )
        _refuse_missing_packages(args)
    except (ValueError, ImportError) as error:
        raise UserError(f"{key}: {error}") from None
    args.per_device_train_batch_size = share_batch(args, launched, key)
    return args


def _refuse_missing_packages(args: TrainingArguments) -> None:
    """What the Trainer would say when it is made, or at the first step of each cell.

    Raises:
        ImportError: if what the optimizer or a tracker is made of is not installed.
        ValueError: if there is none of this name.
    """
    for name in args.report_to:
        if name not in INTEGRATION_TO_CALLBACK:
            guess = nearest(name, INTEGRATION_TO_CALLBACK)
            known = ", ".join(sorted(INTEGRATION_TO_CALLBACK))
            raise ValueError(f"report_to: there is no {name!r}{guess} (known: {known})")
        if name not in get_available_reporting_integrations():
            raise ImportError(f"report_to: {name} is not installed; pip install {name}")
    Trainer.get_optimizer_cls_and_kwargs(args)


def share_batch(args: TrainingArguments, launched: int, key: str) -> int:
    """Examples for each of the processes, ``launched`` of which were started.

    Raises:
        UserError: if they cannot share the batch, or if they do not train together.
    """
    if args.world_size != launched:
        # seen with a launcher that starts processes which then train each for itself
        raise UserError(f"launched as {launched} processes, but {args.world_size} train together")
    batch, rest = divmod(args.per_device_train_batch_size, args.world_size)
    if rest:
        raise UserError(
            f"{key}.per_device_train_batch_size: {args.per_device_train_batch_size} examples "
            f"cannot be shared by {args.world_size} processes"
        )
    return batch
