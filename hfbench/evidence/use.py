"""What it costs to ask each model, and whether a cheaper one would do."""

from hfbench.evidence.compared import ComparedModels
from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.words import enumerate_names, few_names, gap_text
from hfbench.records.use import UseFacts

_CLEARLY = 0.9
"""A model is cheaper whose median latency is below this share of another's: clocks tell no more."""


def use_of(model: ModelRuns) -> UseFacts | None:
    """Of the first run that was measured; None where none was."""
    return next((record.use for record in model.finished if record.use), None)


def measured(comparison: ComparedModels) -> dict[str, UseFacts]:
    """Model -> what it costs to ask it, the best model first."""
    found = {model.name: use_of(model) for model in comparison.finished}
    return {name: use for name, use in found.items() if use}


def milliseconds(seconds: float) -> str:
    """Of a text: ``3.1 ms``."""
    return f"{three_digits(1000 * seconds)} ms"


def three_digits(value: float) -> str:
    """At least three, and never as a power of ten."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def cheaper(comparison: ComparedModels) -> str | None:
    """Whether a model that is cheaper to ask would do as well as the best; a part of a sentence.

    With a margin those would that are shown to be worse by less than it, if at all; without one
    those that may be the best. None where fewer than two were measured, or on different devices.
    """
    uses = measured(comparison)
    if not comparison.best_set or len(uses) < 2 or len({use.device for use in uses.values()}) > 1:
        return None
    best = comparison.finished[0]
    if best.name not in uses:
        return None
    own = uses[best.name].latency_p50
    against = {p.second.name: -p.difference for p in comparison.pairs if p.first is best}
    margin = next((found.margin for found in against.values()), None)
    fit = {
        name: use.latency_p50
        for name, use in uses.items()
        if name in against
        and use.latency_p50 < _CLEARLY * own
        and (against[name].not_worse if margin is not None else name in comparison.best_set)
    }
    less = None if margin is None else gap_text(best.metric, margin)
    if not fit:
        if less:
            return f"no cheaper row is shown to be worse by less than {less}"
        return "no row that may be the best is cheaper to ask"
    name = min(fit, key=lambda name: fit[name])
    costs = f"{milliseconds(fit[name])} a text, not {milliseconds(own)}"
    if less:
        return f"{name} is cheaper to ask ({costs}) and not worse by {less} or more"
    return f"of those that may be the best {name} is the cheapest to ask ({costs})"


def use_notes(comparison: ComparedModels) -> list[str]:
    """What the columns mean, and whose cost is unknown; empty where nobody's was measured."""
    uses = measured(comparison)
    if not uses:
        return []
    devices = enumerate_names(sorted({use.device for use in uses.values()}))
    threads = sorted({use.threads for use in uses.values()})
    memory = enumerate_names(sorted({use.memory_of for use in uses.values()}))
    found = cheaper(comparison)
    lines = [f"{found[:1].upper()}{found[1:]}."] if found else []
    lines += [
        "ms a text: from its characters to the answer, one text at a time, the median and the "
        "slowest in twenty; texts/s: in the batches that are best of a few sizes; evaluation texts "
        f"of one run of each model, on {devices} (threads: {', '.join(map(str, threads))}).",
        "MiB on disk: weights as safetensors, and what a control has learnt as a pickle; MiB in "
        f"use: that, and what was needed beside it ({memory}).",
    ]
    if any(not use.alone for use in uses.values()):
        crowded = [name for name, use in uses.items() if not use.alone]
        lines.append(
            f"Measured in workers, beside which other cells may have run ({few_names(crowded)}): "
            "slower than alone."
        )
    if unknown := [m.name for m in comparison.finished if m.name not in uses]:
        lines.append(f"Cost unknown: {few_names(unknown)}.")
    return lines
