"""What the checks found, as lines of 80 columns or as JSON."""

import json
import math
import textwrap
from typing import Any

from hfbench.checks import CHECKS
from hfbench.checks.checked_model import HEADS
from hfbench.checks.outcome import Check, Verdict
from hfbench.recipe.types import Head

_ROW = "{:<9}{:<26}{:>11}{:>16}  {}"
_WIDTH = 80


def format_report(model: str, found: dict[str, list[Verdict]], missing: dict[Head, str]) -> str:
    """A line a check, with notes below it, and a line that counts.

    Args:
        model: as it was asked for.
        found: check -> what it says.
        missing: why the model lacks a head; said once, and not at every check.
    """
    absent = [f"no {head}: {reason}" for head, reason in missing.items()]
    lines = [model, *absent, _ROW.format("", "check", *HEADS, "measured").rstrip()]
    for check in CHECKS:
        verdicts = found[check.name]
        numbers = {verdict.head: _number(verdict) for verdict in verdicts}
        cells = [numbers.get(head, "") for head in HEADS]
        lines.append(_ROW.format(_status(verdicts), check.name, *cells, check.measures))
        lines += _notes([verdict for verdict in verdicts if verdict.head not in missing], check)
    states = [_status(verdicts) for verdicts in found.values()]
    counts = [f"{states.count(status)} {status}" for status in ("ok", "FAIL", "skipped")]
    return "\n".join([*lines, f"{len(states)} checks: {', '.join(counts)}"])


def format_json(model: str, found: dict[str, list[Verdict]]) -> str:
    """``{"model", "failed", "checks"}``; an entry of the last for each check and head."""
    entries: list[dict[str, Any]] = [
        {
            "check": check.name,
            "measures": check.measures,
            "head": verdict.head,
            "status": verdict.status,
            "value": _finite(verdict.value),
            "note": verdict.note,
        }
        for check in CHECKS
        for verdict in found[check.name]
    ]
    result = {"model": model, "failed": failed_checks(found), "checks": entries}
    return json.dumps(result, indent=2)


def failed_checks(found: dict[str, list[Verdict]]) -> list[str]:
    """Names of the checks that fail for some head."""
    return [name for name, verdicts in found.items() if _status(verdicts) == "FAIL"]


def _status(verdicts: list[Verdict]) -> str:
    """Of the whole check: a failure counts most, then what was measured."""
    found = {verdict.status for verdict in verdicts}
    return next((status for status in ("FAIL", "ok") if status in found), "skipped")


def _number(verdict: Verdict) -> str:
    if verdict.status == "skipped":
        return "-"
    mark = "FAIL" if verdict.status == "FAIL" else ""
    if verdict.value is None:
        return mark
    form = ".0f" if float(verdict.value).is_integer() else ".3g"
    return f"{mark} {verdict.value:{form}}".strip()


def _notes(verdicts: list[Verdict], check: Check) -> list[str]:
    """Each note once, with the heads that it is about if the check asks each for itself."""
    notes: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.note:
            notes.setdefault(verdict.note, []).append(verdict.head)
    indent = " " * 11
    return [
        line
        for note, heads in notes.items()
        for line in textwrap.wrap(
            note if check.once else f"{', '.join(heads)}: {note}",
            _WIDTH,
            initial_indent=indent,
            subsequent_indent=indent,
            break_on_hyphens=False,
        )
    ]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
