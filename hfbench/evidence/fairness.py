"""Whether the rows of a table differ in the model and in nothing else."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hfbench.errors import UserError
from hfbench.records.identity import cell_id, differences
from hfbench.records.schema import ClassificationRecord, Compared, FailedRecord

_OPTIMIZER_ARGUMENTS = (
    "learning_rate",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "warmup_steps",
    "optim",
    "optim_args",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "max_grad_norm",
    "label_smoothing_factor",
    "neftune_noise_alpha",
)
_STEPS_ARGUMENTS = ("num_train_epochs", "max_steps", "per_device_train_batch_size")
_PRECISION_ARGUMENTS = ("bf16", "fp16", "tf32", "bf16_full_eval", "fp16_full_eval")

_OF_A_RUN = ("seed", "task", "training", "code", "libraries")
"""Of an identity, what differs within a row for a reason, or is among the facts of all rows."""
_MOST_TOLD = 3

# of each fact: its name, the seed where it is compared within a seed, and its value in words
_Facts = tuple[tuple[str, int | None, str], ...]


def unlike(records: Iterable[Compared | FailedRecord]) -> dict[str, list[str]]:
    """Model -> what differs from what most runs have, apart from the model, in words.

    Runs are compared with those of the same seed where a learning curve gives each seed a subset
    of its own. What has no meaning for a control (steps, say) is not held against it. Runs of one
    model that are of other models in truth (the recipe was changed, and only some ran again) differ
    from most of their own row.
    """
    records = list(records)
    numbers: dict[_Facts, int] = {}  # of the kinds of run: most runs are of the same
    kind_of = [numbers.setdefault(_facts(record), len(numbers)) for record in records]
    odd = _unusual(list(numbers), Counter(kind_of))
    found: dict[str, dict[str, list[str]]] = {}
    for record, kind in zip(records, kind_of, strict=True):
        for text in odd[kind]:
            found.setdefault(record.model, {}).setdefault(text, []).append(record.stem)
    for record, text in _of_other_models(records):
        found.setdefault(record.model, {}).setdefault(text, []).append(record.stem)
    runs = Counter(record.model for record in records)
    return {
        model: [
            text if len(stems) == runs[model] else f"{text} ({len(stems)} of {runs[model]} runs)"
            for text, stems in texts.items()
        ]
        for model, texts in found.items()
    }


def _of_other_models(
    records: list[Compared | FailedRecord],
) -> list[tuple[Compared | FailedRecord, str]]:
    """Runs that are not of the same model as most of their row, and in what they differ."""
    rows: dict[str, list[tuple[Compared | FailedRecord, dict[str, Any], str]]] = {}
    for record in records:
        if record.identity:
            model = _model_of(record.identity)
            rows.setdefault(record.model, []).append((record, model, cell_id(model)))
    found = []
    for runs in rows.values():
        usual = Counter(known for _, _, known in runs).most_common(1)[0][0]
        model_of_most = next(model for _, model, known in runs if known == usual)
        for record, model, known in runs:
            if known != usual:
                lines = differences(model_of_most, model)
                more = f"; and {len(lines) - _MOST_TOLD} more" if len(lines) > _MOST_TOLD else ""
                told = "; ".join(lines[:_MOST_TOLD])
                found.append((record, f"another model than in most of its runs ({told}{more})"))
    return found


def _model_of(identity: dict[str, Any]) -> dict[str, Any]:
    """What all runs of a row have in common; several pretrainings differ in their seed."""
    model = {name: value for name, value in identity.items() if name not in _OF_A_RUN}
    if pretraining := model.get("pretraining"):
        model["pretraining"] = {n: value for n, value in pretraining.items() if n != "seed"}
    return model


def evaluation_hash(record: Compared) -> str:
    """The content hash of the examples that a run was evaluated on."""
    return record.task.splits[record.task.evaluation_split].content_hash


def refuse_different_examples(records: Iterable[Compared], results: Path) -> None:
    """Models can be compared on the same evaluation examples only.

    Raises:
        UserError: naming two runs that were evaluated on different examples.
    """
    by_hash: dict[str, Compared] = {}
    for record in records:
        by_hash.setdefault(evaluation_hash(record), record)
    if len(by_hash) > 1:
        first, second = list(by_hash.values())[:2]
        raise UserError(
            f"{results}: {first.stem} was evaluated on other examples ({_evaluation(first)}) than "
            f"{second.stem} ({_evaluation(second)}); they cannot be compared. Run the older one "
            "again (--rerun), or show them without comparing them (--different-examples)"
        )


def _unusual(kinds: list[_Facts], runs: Counter[int]) -> list[list[str]]:
    """What each of ``kinds`` has else than most runs; ``runs``: of each kind, by its number."""
    values: dict[tuple[str, int | None], Counter[str]] = {}
    for number, facts in enumerate(kinds):
        for name, seed, value in facts:
            values.setdefault((name, seed), Counter())[value] += runs[number]
    # the first among equals
    usual = {key: counts.most_common(1)[0][0] for key, counts in values.items()}
    return [
        [
            f"{name} {value}, not {usual[name, seed]}"
            for name, seed, value in facts
            if value != usual[name, seed]
        ]
        for facts in kinds
    ]


def _facts(record: Compared | FailedRecord) -> _Facts:
    facts: dict[str, Any] = {}
    if isinstance(record, Compared):
        train = record.task.splits["train"]
        facts["task"] = record.task.source
        facts["data revision"] = record.task.revision
        facts["evaluation examples"] = _evaluation(record)
        facts["training examples"] = f"{train.examples:,}"
        facts["training data"] = train.content_hash[:8]
    environment = record.environment
    facts |= environment["packages"]
    facts["Python"] = environment["python"]
    facts["hfbench commit"] = (environment["commit"] or "unknown")[:8]
    if isinstance(record, ClassificationRecord):
        facts |= _training_facts(record)
    seed = record.seed if record.train_size is not None else None
    own = {"training data": seed}
    return tuple((name, own.get(name), str(value)) for name, value in facts.items())


def _training_facts(record: ClassificationRecord) -> dict[str, Any]:
    training = record.training
    precision = [name for name in _PRECISION_ARGUMENTS if training.arguments.get(name)]
    arguments = {name: training.arguments.get(name) for name in _OPTIMIZER_ARGUMENTS}
    tuned = record.settings["models"][0].get("tuned", {})
    arguments |= {name: "tuned" for name in tuned if name in arguments}
    steps = f"{training.planned_steps or training.steps:,}"
    return {
        "optimizer steps": "tuned" if {*tuned} & {*_STEPS_ARGUMENTS} else steps,
        "early stopping": f"patience {training.patience}" if training.patience else "none",
        "batch": "tuned" if "per_device_train_batch_size" in tuned else training.batch,
        "truncation": _truncation(record),
        "precision": ", ".join(precision) or "float32",
        "selection": training.selection,
        "optimizer": training.optimizer,
        **arguments,
        "trained parameters": _trained(record),
        "processes": training.world_size,
        "device": training.device,
    }


def _trained(record: ClassificationRecord) -> str:
    """All parameters, or those that LoRA trains."""
    return "all" if record.model_facts.trainable_parameters is None else "LoRA's and the head's"


def _truncation(record: ClassificationRecord) -> str:
    """Which texts of which split were cut; most often none."""
    cut = [
        f"of {tokens.truncated_examples:,} of {record.task.splits[split].examples:,} {split} texts"
        for split, tokens in record.training.tokens.items()
        if tokens.truncated_examples
    ]
    return f"{' and '.join(cut)} at {record.model_facts.max_length} tokens" if cut else "of no text"


def _evaluation(record: Compared) -> str:
    split = record.task.evaluation_split
    return f"{record.task.splits[split].examples:,} {split}, {evaluation_hash(record)[:8]}"
