"""Models of one's own with one fault each, and variants that have none: how good the checks are.

A mutant is one of the models in `checks/models/`, which share no code with the custom GPT, with
some text replaced, as `checks/mutants/` says, and the check that has to find it. It counts as
caught where that check alone is blamed: what follows from the fault has to be shown as following
from it. A variant that is right names no check, and none may fail.

``python tests/support/mutation.py`` asks all and writes the table of docs/checks.md, in minutes.
"""

import gc
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from ruamel.yaml import YAML

_ROOT = Path(__file__).parents[2]
_CHECKS = _ROOT / "tests" / "checks"
DOCS = _ROOT / "docs" / "checks.md"
START, END = "<!-- mutants -->\n", "<!-- end -->\n"
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
    held_out: bool = False
    """Written when the checks were done, and asked once."""

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
        for entry in YAML(typ="safe").load((_CHECKS / "mutants" / f"{model}.yaml"))
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
    from hfbench.checks import CHECKS, Examination, find_checked_model

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
    lines = []
    for title, held_out in (("developed with the checks", False), ("held out", True)):
        chosen = [
            (mutant, found)
            for mutant, found in zip(mutants, outcomes, strict=True)
            if mutant.held_out == held_out
        ]
        faults = [found for mutant, found in chosen if mutant.caught_by]
        right = [found for mutant, found in chosen if not mutant.caught_by]
        caught, passed = faults.count("caught"), right.count("passes")
        lines.append(f"- {title}: {caught} of {len(faults)} faults caught, ")
        lines[-1] += f"{passed} of {len(right)} variants without a fault pass."
    for model, entries in groupby(zip(mutants, outcomes, strict=True), lambda pair: pair[0].model):
        lines += ["", f"| {model} | asked by | |", "| --- | --- | --- |"]
        for mutant, found in entries:
            mark = " (held out)" if mutant.held_out else ""
            lines.append(f"| {mutant.fault}{mark} | {mutant.caught_by or ''} | {found} |")
    return "\n".join(lines) + "\n"


def table_in_docs() -> str:
    return DOCS.read_text("utf-8").partition(START)[2].partition(END)[0]


def main() -> None:
    """Ask all, and write the table."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    gc.freeze()  # the Trainer collects garbage as it starts
    mutants, outcomes = load_mutants(), []
    with tempfile.TemporaryDirectory() as folder:
        for number, mutant in enumerate(mutants):
            blamed = ask_all(mutant, Path(folder), f"mutant_{number}")
            outcomes.append(outcome(mutant, blamed))
            print(f"{mutant.name}: {outcomes[-1]} {sorted(blamed.noted)}", flush=True)
    before, _, rest = DOCS.read_text("utf-8").partition(START)
    _, _, after = rest.partition(END)
    DOCS.write_text(f"{before}{START}{format_table(mutants, outcomes)}{END}{after}", "utf-8")


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
