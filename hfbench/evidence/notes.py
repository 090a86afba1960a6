"""How to read what a comparison found: what columns mean, and what cannot be concluded."""

import itertools
from collections.abc import Sequence

import numpy as np

from hfbench.evidence.answer import turn_text
from hfbench.evidence.classes import ENOUGH, FEW, MOST, too_small
from hfbench.evidence.compared import ComparedModels, Floor
from hfbench.evidence.data_notes import trained_on
from hfbench.evidence.fairness import evaluation_hash
from hfbench.evidence.folds import inflation
from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.slices import Part, Turn
from hfbench.evidence.words import enumerate_names, few_names, gap_text, list_labels, percent
from hfbench.metrics.calibration import error_if_calibrated
from hfbench.metrics.registry import METRICS, Metric
from hfbench.recipe.types import Selection
from hfbench.records.asked import Asked
from hfbench.records.schema import ClassificationRecord, PredictionsRecord

_BULLET = 200
"""Letters of short sentences that stand in one line of notes."""


def notes_of(comparison: ComparedModels) -> list[str]:
    """On the columns of the table, on what was trained, and over what it generalises."""
    finished = comparison.finished
    if not finished:
        return []
    rules = {record.training.selection for record in _trained(finished)}
    selected = enumerate_names([_selection(rule) for rule in sorted(rules, reverse=True)])
    metric, floor = comparison.metric, comparison.floors[finished[0].name]
    what = f" ({metric.note.removesuffix('.').partition(': ')[2]})" if metric.note else ""
    lines = [
        f"{metric.label}: mean over the runs that trained{', ' if selected else ''}{selected}"
        f"{what}.",
        f"95 % interval: for the {metric.label} over examples and seeds; how much seeds matter is "
        f"learnt from all rows{_seed_sds(metric, finished)}.",
        "group: models that share a letter cannot be distinguished, which does not say that they "
        "are equal (paired differences; Holm's correction, error 5 % for all "
        f"{len(comparison.pairs)} pairs together).{_letters_and_best(comparison)}",
        *_about_majority(metric, floor),
        _estimand(finished),
    ]
    if len(comparison.curve) > 1:
        *fewer, most = (f"{size:,}" for size in comparison.curve)
        lines.append(
            f"Models and questions are of {most} training examples; of {enumerate_names(fewer)} "
            "see the learning curve."
        )
    lines += filter(None, [trained_on(finished), _stopped_early(finished)])
    once = [model for model in finished if model.seeds == [None]]
    ran = [m for m in once if not isinstance(m.finished[0], PredictionsRecord)]
    if ran:
        what = "A control" if all(model.is_control for model in ran) else "What has no seed"
        lines.append(f"{what} runs once: nothing in it is random.")
    of_files = [m.name for m in once if isinstance(m.finished[0], PredictionsRecord)]
    if of_files:
        lines.append(
            f"Of one set of answers each: {few_names(of_files)}. What is said is about these, not "
            "about a new run of what gave them."
        )
    guessing = [m.name for m in finished if not comparison.floors[m.name].above_chance]
    if guessing and floor.chance is not None:
        chance = percent(floor.chance)  # the labels are the same for all
        lines.append(f"Not shown to be better than guessing ({chance}): {few_names(guessing)}.")
    lines += filter(None, [_single_runs(finished), *_late_questions(comparison.asked)])
    lines += _about_folds(comparison)
    return lines


def _letters_and_best(comparison: ComparedModels) -> str:
    """Which models share a letter with the best and are shown to be none, and why that can be."""
    best, *others = comparison.finished
    shared = {*comparison.letters[best.name]}
    beaten = [
        model.name
        for model in others
        if comparison.best_set
        and model.name not in comparison.best_set
        and shared & {*comparison.letters[model.name]}
    ]
    if not beaten:
        return ""
    verb, is_not = ("shares", "is not") if len(beaten) == 1 else ("share", "are not")
    return (
        f" {few_names(beaten)} {verb} a letter with {best.name}, and yet {is_not} among those that "
        f"may be the best: for that {len(others)} pairs are tested, and less is corrected for."
    )


def _about_folds(comparison: ComparedModels) -> list[str]:
    """How the answers of folds are taken together, and which runs lack some."""
    lines = []
    if folds := comparison.finished[0].folds:
        lines.append(
            f"A run is {folds} trainings, each on the other folds, and answers every example once. "
            "Their training sets overlap, so that answers are not independent: the variance over "
            f"examples is taken to be {inflation(folds):g} times what it seems."
        )
    if comparison.unfinished:
        told = [f"{name} ({number})" for name, number in comparison.unfinished.items()]
        lines.append(f"Runs left out because folds are missing: {list_labels(told)}.")
    return lines


def _stopped_early(models: Sequence[ModelRuns]) -> str | None:
    """How much was trained of what was planned; None without early stopping."""
    runs = [record.training for record in _trained(models) if record.training.patience]
    if not runs:
        return None
    shares = [run.steps / run.planned_steps for run in runs if run.planned_steps]
    patience = enumerate_names([str(number) for number in sorted({r.patience or 0 for r in runs})])
    ended = sum(share < 1 for share in shares)
    return (
        f"Early stopping after {patience} evaluations without a better one: {ended} of "
        f"{len(runs)} runs ended early, after {100 * min(shares):.0f} to {100 * max(shares):.0f} % "
        "of their planned steps; cost counts what was trained."
    )


def on_the_same_examples(comparison: ComparedModels) -> list[ModelRuns]:
    """The models with a result, where all answered the same examples; else none."""
    hashes = {evaluation_hash(model.finished[0]) for model in comparison.finished}
    return comparison.finished if len(hashes) == 1 else []


def class_notes(models: Sequence[ModelRuns]) -> list[str]:
    """On the table of classes of models that answered the same examples."""
    lines = ["95 % intervals, over examples and seeds; each of one class by itself."]
    if models and (classes := len(models[0].finished[0].task.labels)) > FEW:
        lines[0] += (
            f" Of {classes} classes the {min(MOST, classes)} with the lowest F1 are measured."
        )
    if small := too_small(models):
        lines.append(
            f"Fewer than {ENOUGH} evaluation examples, too few for an interval that says much: "
            f"{list_labels(small)}."
        )
    return lines


def slice_notes(metric: Metric, parts: Sequence[Part], turns: Sequence[Turn]) -> list[str]:
    """On the tables of slices, and where the order of models turns; empty without any."""
    if not parts:
        return []
    told = [turn_text(metric, turn) for turn in turns]
    lines = [f"{text[:1].upper()}{text[1:]}." for text in told]
    if not turns:
        lines.append("On no part is another model shown to be better than the best one.")
    lines.append(
        "Intervals are of each part by itself; that the order turns is claimed with 5 % error for "
        "all parts and models together (Holm's method)."
    )
    if small := [f"{part.slice} {part.value}" for part in parts if not part.measured]:
        lines.append(f"Without a number, or too small: {list_labels(small)}.")
    return lines


def _selection(rule: Selection) -> str:
    """Which weights are evaluated."""
    if rule == "last":
        return "after the last step"
    name = rule.removeprefix("best_")
    known = METRICS.get(name.partition(":")[0])
    lowest = name == "loss" or (known is not None and not known.higher_is_better)
    label = known.label if known else name
    return f"with the weights that had the {'lowest' if lowest else 'highest'} validation {label}"


def _about_majority(metric: Metric, floor: Floor) -> list[str]:
    """What the column says of the floor; nothing where it has no number."""
    if floor.value is None:
        return []
    if metric.is_percentage:
        return [
            f'vs majority: points above always answering "{floor.label}", with p after Holm for '
            "all rows."
        ]
    return [
        f"vs majority: how much better the {metric.label} is than that of always answering "
        f'"{floor.label}", with p after Holm for all rows.'
    ]


def _late_questions(asked: Sequence[Asked]) -> list[str]:
    """That something was asked, or seeds were added, when results were there already."""
    lines = []
    if asked and asked[-1].looks:
        looks = enumerate_names([str(number) for number in asked[-1].looks])
        lines.append(
            f"Looks were planned at {looks} seeds: models that are decided run no more, and the "
            f"error of 5 % is shared by all {len(asked[-1].looks)} looks."
        )
    if asked and asked[-1].about_something and asked[-1].finished:
        lines.append(
            f"The questions were asked when {asked[-1].finished:,} runs had a result: whoever has "
            "seen it may ask for what is there by chance."
        )
    measures = list(dict.fromkeys(entry.metric or "the default" for entry in asked))
    if len(measures) > 1 and asked[-1].finished:
        lines.append(
            f"The measure was changed when results were there ({' to '.join(measures)}): whoever "
            "chooses among measures finds a difference more often than 5 %."
        )
    later = [entry for entry in asked[1:] if entry.finished]
    numbers = [len(entry.seeds) for entry in [*asked[:1], *later]]
    if any(after > before for before, after in itertools.pairwise(numbers)):
        told = enumerate_names([str(number) for number in dict.fromkeys(numbers)])
        lines.append(
            f"Seeds were added after results were there (to have {told}): whoever goes on until "
            "models can be distinguished is wrong more often than 5 %."
        )
    return lines


def _seed_sds(metric: Metric, models: Sequence[ModelRuns]) -> str:
    """What is believed of them: `` (standard deviations of 0.9 to 1.4 points)``."""
    learnt = [m for m in models if len(m.counted) > 1 and m.trained and not m.collapsed.all()]
    rows = [model.judged for model in learnt if model.judged]
    sds = [row.seed_sd for row in rows if not row.pretrainings]  # of others a footnote tells it
    if not sds:
        return ""
    low, high = gap_text(metric, min(sds)), gap_text(metric, max(sds))
    both = f"{low.removesuffix(' points')} to {high}"
    return f" (standard deviations of {low if low == high else both})"


def _estimand(models: Sequence[ModelRuns]) -> str:
    """Over what the figures generalise, and over what not."""
    trained = _trained(models)
    subsets = any(record.train_size is not None for record in trained)
    if models[0].folds:
        training = "new training sets of this size, as far as folds tell"
    else:
        training = "a subset of the training set for each seed" if subsets else "this training set"
    parts = [training]
    if pretrained := [len({*model.pretrainings}) for model in models if model.pretrainings]:
        weights = "these pretrained weights" if min(pretrained) == 1 else "new pretrainings"
        both = min(pretrained) == 1 < max(pretrained)
        parts.append(f"{weights}, where there are several new pretrainings" if both else weights)
    groups = models[0].groups
    examples = (
        "examples" if groups is None else f"groups of examples ({len({*groups.tolist()})} here)"
    )
    return f"What it is about: new seeds and new {examples} of this kind; {'; '.join(parts)}."


def _single_runs(models: Sequence[ModelRuns]) -> str | None:
    """On what the intervals of rows with a single run rest."""
    single = _of_one_run(models)
    if not single or assumption(models):
        return None
    return (
        f"One run only ({enumerate_names(single)}): taken to vary with its seed as the other rows "
        "do."
    )


def assumption(models: Sequence[ModelRuns]) -> str | None:
    """That no row shows how much seeds matter, and what intervals assume; None where one does."""
    single = _of_one_run(models)
    if not single or any(len(model.counted) > 1 for model in models):
        return None
    what = f"One run only ({few_names(single)}): no row shows how much seeds matter."
    if all(np.isin(model.pseudo_values, (0, 1)).all() for model in models):
        return (
            f"{what} Intervals and groups assume what is usual elsewhere, accuracies that vary by "
            "0.6 to 6 points over seeds; two runs of each say more."
        )
    return (
        f"{what} Intervals assume that they add 1 to 13 % of the standard deviation of one "
        "example, and may be too narrow; nothing is claimed: that takes two runs of a model."
    )


def _of_one_run(models: Sequence[ModelRuns]) -> list[str]:
    return [m.name for m in models if m.seeds != [None] and len(m.counted) == 1]


def cost_notes(comparison: ComparedModels) -> list[str]:
    """On the table of what training cost."""
    trainings = [record.training for record in _trained(comparison.finished)]
    devices = sorted({training.device for training in trainings})
    memory = sorted({training.peak_memory_of for training in trainings})
    return [
        "Means over the runs of one training each; pretraining is not included.",
        "training tokens: seen in all epochs, padding apart; TFLOP: forward and backward passes "
        "for them, counted operator by operator.",
        f"train s: evaluations apart{', on ' if devices else ''}{enumerate_names(devices)}; "
        f"peak MiB: of {enumerate_names(memory) or 'nothing trained'}.",
        *_not_recorded(comparison.finished),
    ]


def _not_recorded(models: list[ModelRuns]) -> list[str]:
    """What records lack, a line for each reason."""
    rows: dict[str, list[str]] = {}
    for model in models:
        reasons = {f"{k} ({why})" for r in model.finished for k, why in r.not_recorded.items()}
        for reason in sorted(reasons):
            rows.setdefault(reason, []).append(model.name)
    return [f"Not recorded of {enumerate_names(names)}: {why}." for why, names in rows.items()]


def curve_note(comparison: ComparedModels) -> str:
    """On the table of a learning curve."""
    metric = comparison.metric
    title = f"{metric.title[:1].upper()}{metric.title[1:]}"
    return (
        f"{title}, 95 % interval and group by number of training examples: nested subsets, "
        "stratified by label, others for each seed; groups hold within a column."
        + (" Intervals of questions are for all those of a column." if comparison.questions else "")
    )


def confidence_notes(comparison: ComparedModels) -> list[str]:
    """On the table of further measures, and which have no number and why."""
    lines = ["Means over the runs that trained, with 95 % intervals over examples and seeds."]
    for note in filter(None, [metric.note for metric in comparison.columns]):
        if len(lines[-1]) + len(note) < _BULLET:
            lines[-1] += f" {note}"
        else:
            lines.append(note)
    lines += filter(None, [_by_chance(comparison)])
    missing: dict[tuple[str, str], list[str]] = {}
    for metric in comparison.columns:
        names: dict[str, list[str]] = {}
        for model in comparison.finished:
            if reason := model.left_out.get(metric.name):
                names.setdefault(reason, []).append(model.name)
        for reason, of in names.items():
            missing.setdefault((reason, few_names(of)), []).append(metric.title)
    told = [
        f"{enumerate_names(titles)}: no number of {of} ({reason})."
        for (reason, of), titles in missing.items()
    ]
    return [*lines, *told]


def _by_chance(comparison: ComparedModels) -> str | None:
    """What an ECE is at least on so few examples; None where it is no column."""
    if "ece" not in {metric.name for metric in (comparison.metric, *comparison.columns)}:
        return None
    models = on_the_same_examples(comparison)
    if not models:
        return None
    found = [np.mean([error_if_calibrated(run) for run in model.logits]) for model in models]
    low, high = (f"{value:.3f}" for value in (min(found), max(found)))
    return (
        f"An ECE is too high with few examples: with {len(models[0].labels):,} these models would "
        f"have about {low if low == high else f'{low} to {high}'} if they were calibrated."
    )


def _trained(models: Sequence[ModelRuns]) -> list[ClassificationRecord]:
    return [record for model in models for record in model.trained]
