"""What a comparison can show before it runs: differences, and what it takes to show one."""

import itertools
import math
from dataclasses import dataclass, replace
from pathlib import Path

from hfbench.evidence.classes import ENOUGH
from hfbench.evidence.comparison import compare_records
from hfbench.evidence.folds import inflation, whole_runs
from hfbench.evidence.power import (
    Discordance,
    detectable_difference,
    measure_discordance,
    needed_examples,
    needed_seeds,
)
from hfbench.evidence.stats import ALPHA
from hfbench.evidence.words import gap_text, list_labels
from hfbench.execution.inputs import Inputs
from hfbench.execution.survey import Survey
from hfbench.metrics.registry import Metric
from hfbench.recipe.schema import Recipe
from hfbench.records.asked import Asked
from hfbench.records.schema import Record

_OF_SHARES = ("accuracy", "subset_accuracy")
"""Measures of which single runs are compared, see `evidence.crossed.Table.seeds_unknown`."""


@dataclass(frozen=True)
class Target:
    """What the comparison is to show, and what is assumed of it."""

    difference: float | None = None
    """Of the measure, of accuracies a fraction; default: the recipe's margin, or 0.05 where it is
    from 0 to 1."""
    discordance: float | None = None
    """Share of the examples that one of two runs answers rightly; default: as measured."""


def small_classes(inputs: Inputs) -> list[str]:
    """Which classes have too few evaluation examples for an interval of their own."""
    facts = inputs.task.facts
    counts = facts.splits[facts.evaluation_split].label_counts
    small = [f"{name} ({count})" for name, count in counts.items() if count < ENOUGH]
    if not small:
        return []
    return [
        f"Classes with fewer than {ENOUGH} evaluation examples, too few for an interval of their "
        f"own: {list_labels(small)}"
    ]


def design(survey: Survey, records: list[Record], target: Target) -> list[str]:
    """What differences of two trained models the comparison can show, with 80 % power."""
    recipe, facts = survey.inputs.recipe, survey.inputs.task.facts
    examples, of_task = facts.splits[facts.evaluation_split].examples, recipe.task_name
    wider, in_folds = 1.0, ""
    if fold := facts.fold:
        examples, wider = fold.whole.examples, inflation(fold.folds)
        in_folds = f" in {fold.folds} folds"
    begins, metric = f"{of_task}: what" if of_task else "What", survey.inputs.metric
    repeats = facts.fold.repeats if facts.fold else 1
    runs, models = len(recipe.seeds) * repeats, len(recipe.models)
    pairs = models * (models - 1) // 2
    rows = max(sum(model.is_random for model in recipe.models), 2)
    discordance, source = _discordance(recipe, records, survey.folder.path, target)
    is_share = metric.bounds == (0.0, 1.0)
    # nobody can say what is much of another measure
    difference = target.difference or recipe.margin or (0.05 if is_share else None)
    if source == "assumed" and not is_share:
        return [
            "",
            f"{begins} can be shown of the {metric.label} is known once two models have run, each "
            "with two seeds.",
        ]
    if runs == 1 and metric.name not in _OF_SHARES:
        return [
            "",
            f"{begins} can be shown of the {metric.label}: nothing with one seed, of which nobody "
            "knows how much it matters. Run two or more of each model.",
        ]
    if runs == 1:
        source += "; with one seed, how much seeds matter is only known from elsewhere"
    shown = {
        f"{count} pair{'s' if count > 1 else ''}": detectable_difference(
            runs, round(examples / wider), discordance, ALPHA / count, rows
        )
        for count in sorted({1, pairs})
    }
    smallest = ", ".join(
        f"{gap_text(metric, value)} ({name})" if value else f"none at all ({name})"
        for name, value in shown.items()
    )
    lines = [
        "",
        f"{begins} {examples:,} examples{in_folds} and {_of_runs(runs, repeats)} "
        "can show, with 80 % power and 5 % error for all pairs together:",
        f"  {source}: {_discordant(metric, discordance)}, "
        f"{100 * discordance.of_examples:.0f} % of that whatever the seed; the difference varies "
        f"by {gap_text(metric, discordance.seed_sd)} from seed to seed",
        f"  smallest difference of two trained models: {smallest}",
    ]
    pretrainings = [len(m.pretrain.all_seeds) for m in recipe.models if m.pretrain]
    if several := [min(number, runs) for number in pretrainings if number > 1]:
        draws = min(several)
        of_draws = detectable_difference(draws, round(examples / wider), discordance, rows=rows)
        shown_of_draws = gap_text(metric, of_draws) if of_draws else "none at all"
        lines.append(
            f"  of two that start from {draws} pretrainings each, if these vary as much as single "
            f"runs: {shown_of_draws} (1 pair), however many seeds"
        )
    if difference:
        needed = _needed(difference, runs, examples, discordance, rows, wider)
        lines.append(f"  to show {gap_text(metric, difference)} (1 pair): {needed}")
    return lines


def _of_runs(runs: int, repeats: int) -> str:
    name = "seed" if repeats == 1 else "run"
    return f"{runs} {name}{'s' if runs > 1 else ''}"


def _discordant(metric: Metric, discordance: Discordance) -> str:
    if discordance.of_shares:
        return f"{100 * discordance.share:.0f} % of the examples discordant"
    varies = gap_text(metric, math.sqrt(discordance.share))
    return f"the {metric.label} of two models differs by {varies} on one example"


def _discordance(
    recipe: Recipe, records: list[Record], folder: Path, target: Target
) -> tuple[Discordance, str]:
    """Measured on what is finished, else assumed; and which of the two."""
    measured = None
    compared: list[Record] = [record for record in records if record.kind != "pretraining"]
    if whole_runs([record for record in records if record.kind != "pretraining"])[0]:
        asked = [Asked.by(recipe)] if recipe.task else []
        models = compare_records(compared, folder, asked).finished
        pairs = itertools.combinations([model.counted for model in models], 2)
        measured = measure_discordance(list(pairs))
    found, source = Discordance(), "assumed"
    if measured:
        found, source = measured, "measured on the finished runs"
    if target.discordance is not None:
        found, source = replace(found, share=target.discordance), "given and assumed"
    return found, source


def _needed(
    difference: float,
    runs: int,
    examples: int,
    discordance: Discordance,
    rows: int,
    wider: float,
) -> str:
    if difference >= discordance.largest:
        if discordance.of_shares:
            return "impossible, where fewer examples than that are discordant"
        return "not known: single answers of the finished models differ by less"
    number = needed_examples(difference, max(runs, 2), discordance, rows=rows)
    by_examples = (
        f"{math.ceil(wider * number):,} examples with {max(runs, 2)} seeds"
        if number
        else f"no number of examples suffices with {max(runs, 2)} seeds"
    )
    seeds = needed_seeds(difference, round(examples / wider), discordance, rows=rows)
    by_seeds = f"{seeds} seeds" if seeds else "no number of seeds suffices"
    return f"{by_examples}; {by_seeds} with {examples:,} examples"
