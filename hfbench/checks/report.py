"""What the checks found, as lines of 80 columns or as values."""

import textwrap
from typing import Any, get_args

from hfbench.checks.catalogue import CHECKS
from hfbench.checks.checked_model import HEADS, CheckedModel
from hfbench.checks.outcome import Check, Level, Verdict

LEVELS: tuple[Level, ...] = get_args(Level)
EXIT_CODES: dict[Level, int] = {"unfair here": 1, "broken on the Hub": 3, "advice": 0}
"""Of the gravest level that fails; 2 is a user's mistake."""

_ROW = "{:<9}{:<26}{:>11}{:>16}  {}"
_WIDTH = 80


def format_report(checked: CheckedModel, found: dict[str, list[Verdict]]) -> str:
    """Causes by level, each with what follows from it; a line a check; and a line that counts."""
    kinds = dict.fromkeys(f"{head}: {checked.family(head)}" for head in checked.heads)
    absent = [f"no {head}: {reason}" for head, reason in checked.missing.items()]
    lines = [checked.name, *kinds, *absent, *_causes(found)]
    lines += ["", _ROW.format("", "check", *HEADS, "measured").rstrip()]
    for check in _asked(found):
        verdicts = found[check.name]
        numbers = {verdict.head: _number(verdict) for verdict in verdicts}
        cells = [numbers.get(head, "") for head in HEADS]
        lines.append(_ROW.format(_status(verdicts), check.name, *cells, check.measures))
        skipped = [verdict for verdict in verdicts if verdict.status == "skipped"]
        lines += _wrap(_notes(skipped, check), 11)
    states = [_status(verdicts) for verdicts in found.values()]
    counts = [f"{states.count(status)} {status}" for status in ("ok", "FAIL", "note", "skipped")]
    return "\n".join([*lines, f"{len(states)} checks: {', '.join(counts)}"])


def as_values(checked: CheckedModel, found: dict[str, list[Verdict]]) -> dict[str, Any]:
    """``{"model", "families", "missing", "failed", "exit_code", "checks"}``, for JSON.

    ``failed`` names the causes; the last has an entry for each check and head.
    """
    entries: list[dict[str, Any]] = [
        {
            "check": check.name,
            "measures": check.measures,
            "head": verdict.head,
            "status": verdict.status,
            "level": verdict.level,
            "follows_from": verdict.follows_from,
            "value": verdict.value,
            "note": verdict.note,
        }
        for check in _asked(found)
        for verdict in found[check.name]
    ]
    return {
        "model": checked.name,
        "families": {head: checked.family(head) for head in checked.heads},
        "missing": checked.missing,
        "failed": failed_checks(found),
        "exit_code": exit_code(found),
        "checks": entries,
    }


def failed_checks(found: dict[str, list[Verdict]]) -> list[str]:
    """Names of the checks that fail for some head with no other's failure as the cause."""
    return [
        name
        for name, verdicts in found.items()
        if any(v.status == "FAIL" and not v.follows_from for v in verdicts)
    ]


def exit_code(found: dict[str, list[Verdict]]) -> int:
    """0 if nothing fails, else that of the gravest level."""
    levels = {v.level for name in failed_checks(found) for v in found[name] if v.status == "FAIL"}
    return next((EXIT_CODES[level] for level in LEVELS if level in levels), 0)


def _causes(found: dict[str, list[Verdict]]) -> list[str]:
    """Failures and notes that follow from no other, by level, with what follows from each."""
    lines = []
    for level in LEVELS:
        for check in _asked(found):
            roots = [v for v in found[check.name] if v.level == level and not v.follows_from]
            if not roots:
                continue
            lines += ["", f"{level}: {check.name}", *_wrap(_notes(roots, check), 4)]
            follow = [
                name
                for name, verdicts in found.items()
                if any(verdict.follows_from == check.name for verdict in verdicts)
            ]
            if follow:
                lines += _wrap([f"this explains: {', '.join(follow)}"], 4)
    return lines


def _asked(found: dict[str, list[Verdict]]) -> list[Check]:
    return [check for check in CHECKS if check.name in found]


def _status(verdicts: list[Verdict]) -> str:
    """Of the whole check: a failure counts most, then a note, then what was measured."""
    found = {verdict.status for verdict in verdicts}
    return next((status for status in ("FAIL", "note", "ok") if status in found), "skipped")


def _number(verdict: Verdict) -> str:
    if verdict.status == "skipped":
        return "-"
    mark = "" if verdict.status == "ok" else verdict.status
    if verdict.value is None:
        return mark
    form = ".0f" if float(verdict.value).is_integer() else ".3g"
    return f"{mark} {verdict.value:{form}}".strip()


def _notes(verdicts: list[Verdict], check: Check) -> list[str]:
    """Each note once, with the heads that it is about if the check asks each for itself."""
    notes: dict[str, list[str]] = {}
    for verdict in verdicts:
        notes.setdefault(verdict.note, []).append(verdict.head)
    return [note if check.once else f"{', '.join(heads)}: {note}" for note, heads in notes.items()]


def _wrap(notes: list[str], indent: int) -> list[str]:
    spaces = " " * indent
    return [
        line
        for note in notes
        for line in textwrap.wrap(
            note, _WIDTH, initial_indent=spaces, subsequent_indent=spaces, break_on_hyphens=False
        )
    ]
