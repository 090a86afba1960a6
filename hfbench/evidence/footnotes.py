"""Footnotes of models: what differs, what it saw before, what failed and why."""

from hfbench.evidence.advice import advice
from hfbench.evidence.compared import ComparedModels, Floor
from hfbench.evidence.data_notes import describe_overlap, overlaps
from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.rivals import describe_rival
from hfbench.evidence.stats import at_most
from hfbench.evidence.tuning_words import tuned_footnote
from hfbench.evidence.words import enumerate_names, gap_text, percent
from hfbench.records.schema import ControlRecord, FailedRecord


def footnotes(comparison: ComparedModels) -> dict[str, str]:
    """Model -> its numbered footnote."""
    marks: dict[str, str] = {}
    for model in comparison.models:
        reasons = [*filter(None, [describe_rival(model)])]
        reasons += filter(None, [tuned_footnote(model, comparison.tuning)])
        reasons += comparison.differences.get(model.name, [])
        reasons += filter(None, [collapse(model), _odd_seeds(model), _pretrainings(model)])
        if model.finished and (tip := advice(model, comparison.floors[model.name])):
            reasons.append(tip)
        reasons += filter(None, [_pretrained_on(model), _unfair(model), _unknown(model)])
        reasons += dict.fromkeys(note for r in model.finished for note in r.model_facts.notes)
        # one that gives a label from another probability on is meant to be right less often
        is_usual = not any(record.thresholds for record in model.finished)
        if model.finished and is_usual and comparison.floors[model.name].below_chance:
            reasons.append(_below_chance(model, comparison.floors[model.name]))
        if model.failed:
            reasons += _about_failed(model)
        if reasons:
            marks[model.name] = f"[{len(marks) + 1}] {model.name}: {'; '.join(reasons)}"
    return marks


def _about_failed(model: ModelRuns) -> list[str]:
    why, count = "; ".join(failures(model)), len(model.failed)
    if not model.finished:
        return [f"no run finished: {why}"]
    left_out = "run is" if count == 1 else "runs are"
    return [
        f"the mean is of runs that finish (failures: {rate(count, count + len(model.finished))})",
        f"{count} {left_out} left out: {why}",
    ]


def collapse(model: ModelRuns) -> str | None:
    """That runs collapsed, and what the accuracy is of; None where none did."""
    count, runs = int(model.collapsed.sum()), len(model.finished)
    if not count:
        return None
    if count == runs:
        least = 100 * (1 - at_most(0, runs))
        which = "1 of 1 runs" if runs == 1 else f"{runs} of {runs} runs"
        return f"{which} did not train but gave one answer (rate {least:.0f} % or more)"
    return (
        f"{count} of {runs} runs did not train but gave one answer ({rate(count, runs)}), the "
        f"{model.metric.label} is of the others"
    )


def rate(count: int, runs: int) -> str:
    """How often it may happen at most: ``rate up to 63 %``."""
    return f"rate up to {100 * at_most(count, runs):.0f} %"


def _odd_seeds(model: ModelRuns) -> str | None:
    """That it varies with its seed more than the others; None where it does not."""
    if not (model.judged and model.judged.odd_seeds):
        return None
    return (
        "its runs differ more than those of the other models predict (by a standard deviation of "
        f"about {gap_text(model.metric, model.judged.seed_sd)} over seeds): run more"
    )


def _pretrainings(model: ModelRuns) -> str | None:
    """From how many pretrainings its runs start; None where it was not pretrained here."""
    if model.pretrainings is None:
        return None
    number = len({*model.pretrainings})
    if number == 1:
        return "one pretraining for all runs: about this pretrained model"
    told = f"its runs start from {number} pretrainings, each of which counts alike"
    if model.judged is None or model.judged.pretrainings < 2:
        return told
    return (
        f"{told}; their means vary by a standard deviation of about "
        f"{gap_text(model.metric, model.judged.seed_sd)}"
    )


def failures(model: ModelRuns) -> list[str]:
    """The failed runs with their reasons; those that failed for the same are told together."""
    alike: dict[tuple[str, str], list[FailedRecord]] = {}
    for record in model.failed:
        alike.setdefault(record.failure.likeness, []).append(record)
    return [_failed_alike(records) for records in alike.values()]


def _failed_alike(records: list[FailedRecord]) -> str:
    failure = records[0].failure
    steps = sorted({one.failure.step for one in records if one.failure.step is not None})
    step = f" at step {' or '.join(map(str, steps))}" if 0 < len(steps) < 3 else ""
    if len(steps) > 2:
        step = f" at steps {steps[0]} to {steps[-1]}"
    seeds = sorted(one.seed for one in records if one.seed is not None)
    whose = f"seed{'s' * (len(seeds) > 1)} {_listed(seeds)} " if seeds else ""
    reason = f"{failure.type}: {failure.message}" if len(records) == 1 else failure.what
    return f"{whose}failed{step} ({reason})"


def _listed(seeds: list[int]) -> str:
    """Sorted seeds in words, as a range where more than three follow each other."""
    if len(seeds) > 3 and seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"{seeds[0]} to {seeds[-1]}"
    return enumerate_names([str(seed) for seed in seeds])


def _pretrained_on(model: ModelRuns) -> str | None:
    """How many evaluation examples its pretraining corpus has; None where it has none."""
    counts = [
        record.corpus_overlap[record.task.evaluation_split]
        for record in model.finished
        if record.corpus_overlap
    ]
    if not any(count.exact + count.near for count in counts):
        return None
    return describe_overlap(counts, "its pretraining corpus")


def _unfair(model: ModelRuns) -> str | None:
    """That nobody looked whether its architecture compares fairly; None where hfbench did."""
    entries = [record.settings["models"][0] for record in model.finished]
    if not any(entry.get("unfair") for entry in entries):
        return None
    return "its architecture was not asked whether it compares fairly (unfair: true)"


def _unknown(model: ModelRuns) -> str | None:
    """Of a control: how many evaluation texts have nothing that it knows; None where all have."""
    counts = [
        (record.unknown_texts[record.task.evaluation_split], len(model.labels))
        for record in model.finished
        if isinstance(record, ControlRecord) and record.unknown_texts
    ]
    if not any(number for number, _ in counts):
        return None
    number, examples = max(counts)
    return (
        f"{number:,} of {examples:,} evaluation texts ({percent(number / examples)}) have nothing "
        "that training texts have"
    )


def _below_chance(model: ModelRuns, floor: Floor) -> str:
    """That it does worse than guessing, which has a cause, and where to look for it."""
    assert floor.chance is not None
    line = f"right far less often than guessing ({percent(floor.chance)})"
    if any(sum((count.parts or {}).values()) or count.groups for count in overlaps(model)):
        return (
            f"{line}: likely because evaluation examples share texts or groups with training "
            "examples of other labels (task.group_column keeps them together)"
        )
    return (
        f"{line}: are labels swapped between the splits, or are rows that belong together parted "
        "(task.group_column)?"
    )
