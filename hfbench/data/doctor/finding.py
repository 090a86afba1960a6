"""What the doctor says: one sentence about the data, how bad it is, and the key that cures it."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["high", "medium", "low"]
SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low")


@dataclass(frozen=True)
class Finding:
    """Something about the data that a comparison depends on."""

    severity: Severity
    """``high``: what is compared is not what somebody means, or nothing is; ``medium``: the numbers
    may mislead; ``low``: good to know."""
    check: str
    """What was asked, in a word, e.g. ``fields``."""
    sentence: str
    """What was found, with its numbers, and what to do."""
    key: str | None = None
    """The key of the recipe's task that cures it; None where the data themselves must change."""


def worst(findings: list[Finding]) -> list[Finding]:
    """Those of severity high."""
    return [finding for finding in findings if finding.severity == "high"]


def by_severity(findings: list[Finding]) -> list[Finding]:
    """The worst first; among equals the order stays."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def some(values: list[int] | list[str], most: int = 5) -> str:
    """The first few of ``values`` in words: ``2, 3, 4, ...``."""
    return ", ".join(map(str, values[:most])) + (", ..." if len(values) > most else "")


def percent(part: float, whole: float) -> str:
    """A share of something: ``12 %``; with a decimal where it is small."""
    share = 100 * part / whole
    if 0 < share < 0.05:
        return "below 0.1 %"
    return f"{share:.0f} %" if share >= 10 or share == 0 else f"{share:.1f} %"


def short(text: str) -> str:
    """A text, or its beginning, in quotation marks."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
