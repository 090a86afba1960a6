"""Of what family a model is: where its weights come from, which colours tell in all figures."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hfbench.evidence.model_runs import ModelRuns


@dataclass(frozen=True)
class Family:
    """Models whose weights come from the same kind of place."""

    name: str
    """In one word, as the page's style calls its colour."""
    title: str
    color: str
    """On white it has a contrast of 4.5 and more; a page may put its own colour in its place."""


# hues of Okabe and Ito's palette, which people with any kind of colour vision can distinguish,
# darkened until letters and thin lines of them can be read on white
SCRATCH = Family("scratch", "trained from scratch", "#c04800")
PRETRAINED = Family("pretrained", "pretrained here", "#007a59")
CHECKPOINT = Family("checkpoint", "pretrained checkpoint", "#0067a8")
FROZEN = Family("frozen", "probe or prompt", "#a03d86")
CONTROL = Family("control", "control", "#666666")
OUTSIDE = Family("outside", "answers from elsewhere", "#7d6200")
FAMILIES = (SCRATCH, PRETRAINED, CHECKPOINT, FROZEN, CONTROL, OUTSIDE)
_OF_KINDS: dict[str, Family] = {
    "control": CONTROL,
    "predictions": OUTSIDE,
    "probe": FROZEN,
    "prompt": FROZEN,
}


def family_of(model: ModelRuns) -> Family:
    """By the first of its records."""
    record = [*model.finished, *model.failed][0]
    if record.kind in _OF_KINDS:
        return _OF_KINDS[record.kind]
    entry: dict[str, Any] = record.settings["models"][0]
    if entry.get("pretrain"):
        return PRETRAINED
    brings_weights = entry.get("model_name_or_path") and not entry.get("random_init")
    return CHECKPOINT if brings_weights else SCRATCH


def families_of(models: Iterable[ModelRuns]) -> list[Family]:
    """Those that there are, always in the same order."""
    found = {family_of(model) for model in models}
    return [family for family in FAMILIES if family in found]
