"""Whether a model is a good citizen of transformers and compares fairly: `hfbench check`.

A check is a short function over a `CheckedModel` in a module beside this one, and an entry
of the `catalogue`. An `Examination` asks them, and says of a failure what it follows from.
"""

from rich.progress import track

from hfbench.checks.catalogue import CHECKS
from hfbench.checks.checked_model import CheckedModel, find_checked_model
from hfbench.checks.examination import Examination
from hfbench.checks.outcome import Check, Level, Verdict
from hfbench.errors import UserError
from hfbench.models.prepare import PreparedModel
from hfbench.recipe.types import Head
from hfbench.system.terminal import Console


def run_checks(checked: CheckedModel, *, show_progress: bool = False) -> dict[str, list[Verdict]]:
    """Check -> what it says of each head that it is asked of; others are left out."""
    console = Console(stderr=True)  # the report alone is on standard output
    hidden = not (show_progress and console.is_terminal)
    checks = track(CHECKS, "checking", console=console, transient=True, disable=hidden)
    examination = Examination(checked, CHECKS)
    found = {check.name: examination.ask(check) for check in checks}
    return {name: verdicts for name, verdicts in found.items() if verdicts}


def quick_check(prepared: PreparedModel, head: Head) -> None:
    """Refuse a model of a recipe that cannot be compared fairly.

    Raises:
        UserError: naming the model and the first check that it fails.
    """
    examination = Examination(CheckedModel(prepared), CHECKS)
    for check in CHECKS:
        if not check.quick or head not in check.heads:
            continue
        verdict = examination.verdict(check, head)
        if verdict.status == "FAIL":
            raise UserError(
                f"models.{prepared.entry.name}: the check {check.name!r} fails: {verdict.note} "
                f"(`hfbench check {_argument(prepared)}` tells more; unfair: true has it "
                "compared all the same)"
            )


def _argument(prepared: PreparedModel) -> str:
    """By which `hfbench check` finds the model."""
    config_class = type(prepared.config)
    path = f"{config_class.__module__}:{config_class.__name__}"
    return prepared.entry.model_name_or_path or path


__all__ = [
    "CHECKS",
    "Check",
    "CheckedModel",
    "Examination",
    "Level",
    "Verdict",
    "find_checked_model",
    "quick_check",
    "run_checks",
]
