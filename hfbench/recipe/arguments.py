"""Which of `TrainingArguments` a recipe may set, and to what.

Nothing here imports transformers: names and types are read from its source.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from hfbench.recipe.fields import check_field, training_arguments_fields

Optimizer = Literal["huggingface", "study"]

# The training arguments that a name of `optimizer` stands for; written-out arguments win.
OPTIMIZER_ARGUMENTS: dict[Optimizer, dict[str, Any]] = {
    "huggingface": {},
    # Weight decay on matrices that are not embeddings, besides: see `trainer.FairTrainer`.
    "study": {
        "learning_rate": 5e-4,
        "lr_scheduler_type": "constant",
        "adam_beta1": 0.9,
        "adam_beta2": 0.95,
        "weight_decay": 0.1,
        "max_grad_norm": 1.0,
    },
}

# Training arguments that would break the comparison or that another key of the recipe sets.
OWNED_ARGUMENTS = {
    "output_dir": "set by --results-dir",
    "seed": "derived from `seeds`",
    "data_seed": "derived from `seeds`",
    "do_train": "hfbench always trains and evaluates",
    "do_eval": "hfbench always trains and evaluates",
    "do_predict": "hfbench always trains and evaluates",
    "resume_from_checkpoint": "a finished cell is kept; an unfinished pretraining goes on from its "
    "newest checkpoint, if save_strategy asks for any; any other cell starts again",
    "ignore_data_skip": "a pretraining that goes on must not see examples twice",
    "auto_find_batch_size": "every model must train with the same batch",
    "train_sampling_strategy": "every model must see the same order",
    "dataloader_drop_last": "every model must see every example",
    "accelerator_config": "every model must see the same batches",
    "average_tokens_across_devices": "the loss must not depend on the number of processes",
    "logging_nan_inf_filter": "a non-finite loss must fail the run",
    "load_best_model_at_end": "set by `selection`",
    "metric_for_best_model": "set by `selection`",
    "greater_is_better": "set by `selection`",
    "remove_unused_columns": "set by hfbench",
    "label_names": "set by hfbench",
    "include_for_metrics": "set by hfbench",
    "batch_eval_metrics": "set by hfbench",
    "prediction_loss_only": "set by hfbench",
    "eval_do_concat_batches": "set by hfbench",
    "disable_tqdm": "set by hfbench",
    "deepspeed": "not supported",
    **dict.fromkeys(
        ("fsdp", "fsdp_config"),
        "the launcher shards models, for pretraining alone: recipes/accelerate/fsdp2.yaml",
    ),
    "hub_token": "a token never belongs into a file; log in with `hf auth login`",
}

# What torch would refuse at the first step of each cell, or the Trainer take for something else.
_AT_LEAST = {
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "learning_rate": 0,
    "weight_decay": 0,
    "adam_beta1": 0,
    "adam_beta2": 0,
    "adam_epsilon": 0,
    "max_grad_norm": 0,
    "warmup_steps": 0,
    "label_smoothing_factor": 0,
}
_LESS_THAN_ONE = ("adam_beta1", "adam_beta2", "label_smoothing_factor")

# The Trainer's own, for the checkpoints of a pretraining; they have no part in how it trains.
PUBLISHING_ARGUMENTS = (
    "push_to_hub",
    "hub_model_id",
    "hub_strategy",
    "hub_private_repo",
    "hub_always_push",
    "hub_revision",
)


OBSERVING_ARGUMENTS = {
    **dict.fromkeys(PUBLISHING_ARGUMENTS, "where checkpoints go"),
    **dict.fromkeys(
        ("logging_strategy", "logging_steps", "logging_first_step", "log_level",
         "log_level_replica", "log_on_each_node"),
        "how often the curve has a point",
    ),
    **dict.fromkeys(
        ("report_to", "run_name", "project", "trackio_space_id", "trackio_bucket_id",
         "trackio_static_space_id"),
        "who is told of it",
    ),
    **dict.fromkeys(
        ("save_strategy", "save_steps", "save_total_limit", "save_only_model", "save_on_each_node",
         "enable_jit_checkpoint", "restore_callback_states_from_checkpoint"),
        "a training that goes on from a checkpoint is the training that was not stopped",
    ),
    **dict.fromkeys(
        ("per_device_eval_batch_size", "eval_accumulation_steps", "eval_use_gather_object"),
        "logits do not depend on the batch, but for rounding",
    ),
    **dict.fromkeys(
        ("dataloader_num_workers", "dataloader_pin_memory", "dataloader_prefetch_factor",
         "dataloader_multiprocessing_context"),
        "batches come in the sampler's order, whoever fetches them",
    ),
    **dict.fromkeys(
        ("use_cpu", "ddp_backend", "ddp_timeout", "ddp_find_unused_parameters",
         "ddp_bucket_cap_mb", "ddp_broadcast_buffers", "ddp_static_graph", "local_rank",
         "torch_empty_cache_steps"),
        "on what it runs; the record says it beside",
    ),
    **dict.fromkeys(
        ("debug", "skip_memory_metrics", "include_num_input_tokens_seen"), "what is measured",
    ),
}  # fmt: skip
"""Training arguments that have no part in a cell's identity, each with the reason.

All others have, also those that a newer transformers brings. That is meant for some that look as if
they only observed. Each start of a data loader draws from the random stream of dropout: once an
evaluation (`eval_strategy`, `eval_steps`, `eval_delay`, `eval_on_start`) and once an epoch, but for
`dataloader_persistent_workers`, which start once. Without `dataloader_in_order` the batch of the
fastest worker comes first. With `torch_compile` dropout is drawn otherwise. `full_determinism`
chooses other kernels, whose numbers need not be the same within rounding.
"""


def deciding_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of ``arguments`` that decide what comes out of a training."""
    return {name: v for name, v in arguments.items() if name not in OBSERVING_ARGUMENTS}


def _check_training_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    for name, value in arguments.items():
        if name in PUBLISHING_ARGUMENTS:
            raise ValueError(
                f"{name} goes with a pretrain block, whose checkpoints it publishes; publish a "
                "classifier with `hfbench push` when it has been compared"
            )
        check_training_argument(name, value)
    return arguments


def _check_pretraining_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    for name, value in arguments.items():
        check_training_argument(name, value)
    given = [name for name in PUBLISHING_ARGUMENTS if name in arguments]
    if not arguments.get("push_to_hub"):
        if given and given != ["push_to_hub"]:
            raise ValueError(f"{given[-1]} goes with push_to_hub: true, which is not given")
        return arguments
    if "/" not in str(arguments.get("hub_model_id")):
        raise ValueError("push_to_hub needs hub_model_id: user/name")
    strategy = arguments.get("hub_strategy", "every_save")
    if strategy not in ("every_save", "end"):
        raise ValueError(
            f"hub_strategy: {strategy!r} must be 'every_save' or 'end'; the others would publish "
            "the optimizer's state, which is a pickle"
        )
    if strategy == "every_save" and arguments.get("save_strategy", "no") == "no":
        raise ValueError("push_to_hub publishes at each save: give save_strategy: steps")
    return arguments


def check_training_argument(name: str, value: Any) -> None:
    if name in OWNED_ARGUMENTS:
        raise ValueError(f"{name} cannot be set here: {OWNED_ARGUMENTS[name]}")
    if problem := check_field(name, value, training_arguments_fields()):
        raise ValueError(f"{problem} (a field of transformers.TrainingArguments)")
    if isinstance(value, (int, float)) and value < _AT_LEAST.get(name, value):
        raise ValueError(f"{name}: {value} must be at least {_AT_LEAST[name]}")
    if name in _LESS_THAN_ONE and value >= 1:
        raise ValueError(f"{name}: {value} must be less than 1")
    if name == "num_train_epochs" and value <= 0:
        raise ValueError(f"{name}: {value} must be more than 0")
    if name == "max_steps" and value < 1 and value != -1:
        raise ValueError(f"{name}: {value} must be at least 1, or -1 to go by num_train_epochs")


TrainingArgumentsDict = Annotated[dict[str, Any], AfterValidator(_check_training_arguments)]
PretrainingArgumentsDict = Annotated[dict[str, Any], AfterValidator(_check_pretraining_arguments)]
