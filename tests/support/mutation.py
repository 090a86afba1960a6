"""Models of one's own with one fault each, and variants that have none: how good the checks are.

A mutant is one of the models in `checks/models/`, which share no code with the custom GPT, with
some text replaced, as `checks/mutants/` says, and the check that has to find it. It counts as
caught where that check alone is blamed: what follows from the fault has to be shown as following
from it. A variant that is right names no check, and none may fail.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from ruamel.yaml import YAML

from hfbench.checks import CHECKS, Examination, find_checked_model

_CHECKS = Path(__file__).parents[1] / "checks"
CONFIGS = {
    "rotary": "RotaryConfig",
    "alibi": "AlibiConfig",
    "gated": "GatedConfig",
    "encoder": "OwnEncoderConfig",
}
# They start processes, which takes 15 s; what they would find in a mutant, others find, too.
ELSEWHERE = {"loads elsewhere", "two processes"}


@dataclass(frozen=True)
class Mutant:
    model: str
    """Its file in `checks/models/`."""
    fault: str
    caught_by: str | None
    """The check; None for a variant that is right."""
    changes: list[dict[str, str]]
    """The text ``old`` of the model's file, and the ``new`` one in its place wherever it stands."""
    first_outcome: str | None = None
    """Of one that was written when the checks seemed done: what they said of it then."""

    @property
    def name(self) -> str:
        return f"{self.model}: {self.fault}"


@dataclass(frozen=True)
class Blamed:
    """Checks that fail, and that note something, with no other check as the cause."""

    failed: set[str]
    noted: set[str]


def load_mutants() -> list[Mutant]:
    return [
        Mutant(model, **entry)
        for model in CONFIGS
        for entry in YAML(typ="safe").load(_CHECKS / "mutants" / f"{model}.yaml")
    ]


@contextmanager
def written(mutant: Mutant, folder: Path, name: str) -> Iterator[str]:
    """The mutant as a module of this name in ``folder``; gives by which `hfbench check` finds it.

    The name is to be one that no other mutant of the process had, lest the Auto classes know it.
    """
    code = (_CHECKS / "models" / f"{mutant.model}.py").read_text("utf-8")
    for change in mutant.changes:
        assert change["old"] in code, f"{mutant.name}: the model has no {change['old']!r}"
        code = code.replace(change["old"], change["new"])
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    importlib.invalidate_caches()
    sys.path.insert(0, str(folder))
    try:
        yield f"{name}:{CONFIGS[mutant.model]}"
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(name, None)


def ask_all(mutant: Mutant, folder: Path, name: str) -> Blamed:
    """What all checks but those that start processes blame."""
    with written(mutant, folder, name) as model:
        examination = Examination(find_checked_model(model), CHECKS)
        verdicts = [
            (check.name, verdict)
            for check in CHECKS
            if check.name not in ELSEWHERE
            for verdict in examination.ask(check)
            if verdict.status in ("FAIL", "note") and not verdict.follows_from
        ]
    return Blamed(
        {name for name, verdict in verdicts if verdict.status == "FAIL"},
        {name for name, verdict in verdicts if verdict.status == "note"},
    )


def outcome(mutant: Mutant, blamed: Blamed) -> str:
    """In the table's words: whether the right check is blamed, and no other fails."""
    if mutant.caught_by is None:
        return f"accused: {', '.join(sorted(blamed.failed))}" if blamed.failed else "passes"
    advised = not blamed.failed and mutant.caught_by in blamed.noted
    if blamed.failed == {mutant.caught_by} or advised:
        return "caught"
    if not blamed.failed:
        return "missed"
    return f"blamed: {', '.join(sorted(blamed.failed))}"


def format_table(mutants: list[Mutant], outcomes: list[str]) -> str:
    """Markdown: how many are caught, and each."""
    held_out = [mutant for mutant in mutants if mutant.first_outcome]
    lines = [
        f"- Now: {_count(mutants, outcomes)}",
        "- Of those that were held out, when they were first asked: "
        f"{_count(held_out, [str(mutant.first_outcome) for mutant in held_out])}",
    ]
    for model, entries in groupby(zip(mutants, outcomes, strict=True), lambda pair: pair[0].model):
        lines += ["", f"| {model} | to be caught by | now | first |", "| --- | --- | --- | --- |"]
        for mutant, found in entries:
            cells = [mutant.fault, mutant.caught_by or "", found, mutant.first_outcome or ""]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _count(mutants: list[Mutant], outcomes: list[str]) -> str:
    found = list(zip(mutants, outcomes, strict=True))
    faults = [outcome for mutant, outcome in found if mutant.caught_by]
    right = [outcome for mutant, outcome in found if not mutant.caught_by]
    return (
        f"{faults.count('caught')} of {len(faults)} faults are caught for the right reason, and "
        f"{right.count('passes')} of {len(right)} variants without a fault pass."
    )
