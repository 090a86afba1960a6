"""What to try where a training learnt nothing, by its rate and its training loss. No torch."""

import math

import numpy as np

from hfbench.evidence.compared import Floor
from hfbench.evidence.model_runs import ModelRuns
from hfbench.records.data import TaskData
from hfbench.records.schema import ClassificationRecord

_NOTHING = 0.95
"""Of the loss of giving every text the shares of the classes: what is above has learnt nothing."""
_HIGHER = 1.02
"""Of the loss of guessing, at which training begins: a sensible rate does not make it worse."""


def advice(model: ModelRuns, floor: Floor) -> str | None:
    """What to try, of a model whose runs learnt nothing; None of one that did learn.

    A loss that fell and rose again, or is worse than that of the shares of the classes, is a sign
    of a rate that is too high; one that stays where it was of too little training.
    """
    records = model.trained
    if not records or records[0].task.problem_type != "single_label_classification":
        return None
    is_lost = (
        model.collapsed
        if model.collapsed.any()
        else np.full(len(records), not floor.above_majority and floor.majority is not None)
    )
    stuck = [r for r, lost in zip(records, is_lost, strict=True) if lost and _learnt_nothing(r)]
    if not stuck:
        return None
    rate = stuck[0].training.arguments.get("learning_rate")
    if not isinstance(rate, (int, float)):
        return None
    entry = stuck[0].settings["models"][0]
    rose = any(_rose(record) for record in stuck)
    if "learning_rate" in entry.get("tuned", {}):
        how = "rose back to" if rose else "stayed at"
        return f"its training loss {how} that of guessing, with the settings that tuning chose"
    is_pretrained = bool(entry.get("model_name_or_path")) and not entry.get("random_init")
    if rose:
        usual = "; 2e-05 to 5e-05 is usual for a pretrained model" if is_pretrained else ""
        warm = stuck[0].training.arguments.get("warmup_steps")
        warm_up = "" if warm else " and a warm-up (warmup_steps: 0.1)"
        return (
            f"its training loss rose back to that of guessing: try a lower learning_rate (it was "
            f"{rate:g}{usual}){warm_up}"
        )
    return (
        f"its training loss stayed at that of guessing: try a higher learning_rate (it was "
        f"{rate:g}) or more epochs"
    )


def _learnt_nothing(record: ClassificationRecord) -> bool:
    losses = record.training_losses
    return bool(losses) and losses[-1] >= _NOTHING * loss_of_shares(record.task)


def _rose(record: ClassificationRecord) -> bool:
    losses, guessing = record.training_losses, math.log(len(record.task.labels))
    return max(losses) > _HIGHER * guessing or min(losses) < 0.9 * losses[-1]


def loss_of_shares(task: TaskData) -> float:
    """The loss, in nats, of giving every text the classes' shares of the training examples."""
    counts = [count for count in task.splits["train"].label_counts.values() if count]
    return -sum(count / sum(counts) * math.log(count / sum(counts)) for count in counts)
