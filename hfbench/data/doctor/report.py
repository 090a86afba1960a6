"""A diagnosis as lines of 80 columns."""

import dataclasses
import json
import textwrap

from hfbench.data.doctor.diagnosis import Diagnosis, SplitFacts
from hfbench.data.doctor.files import FileFacts
from hfbench.data.doctor.finding import SEVERITIES, Finding, percent

_WIDTH = 80
_MOST_CLASSES = 6


def format_report(found: Diagnosis) -> str:
    """Files, splits, lengths, and a paragraph a finding, the worst first."""
    lines = [found.target]
    for split, files in found.files.items():
        lines += ["", *(line for file in files for line in _wrapped(f"{split}: {_file(file)}"))]
        for name, kind in found.types[split].items():
            lines += _wrapped(f"column {name}: {kind}", "  ")
    for split, numbers in found.splits.items():
        lines += ["", *_wrapped(f"{split}: {_split(numbers)}")]
        for column, lengths in numbers.lengths.items():
            for unit, (half, most, longest) in dataclasses.asdict(lengths).items():
                said = f"{column}: half have up to {half:,} {unit}, 95 % {most:,}, all {longest:,}"
                lines += _wrapped(said, "  ")
    for cut in found.cuts:
        if cut.limit is None:
            said = f"{cut.model}: how much it takes is known when it is built (`hfbench plan`)"
        else:
            said = (
                f"{cut.model}: cuts about {percent(cut.examples, 1)} of the training texts at "
                f"{cut.limit:,} tokens, about {percent(cut.tokens, 1)} of all tokens"
                f" ({'counted' if cut.counted else 'estimated'})"
            )
        lines += ["", *_wrapped(said)]
    lines.append("")
    for finding in found.findings:
        lines += format_finding(finding)
    severities = [finding.severity for finding in found.findings]
    counts = ", ".join(f"{severities.count(severity)} {severity}" for severity in SEVERITIES)
    return "\n".join([*lines, f"findings: {counts}"])


def format_finding(finding: Finding) -> list[str]:
    """The finding as lines, beginning with its severity; the key that cures it comes last."""
    key = f" [key: {finding.key}]" if finding.key else ""
    return _wrapped(f"{finding.severity.upper():<7}{finding.sentence}{key}", after=" " * 7)


def _file(facts: FileFacts) -> str:
    parts = [facts.name, f"{facts.rows:,} rows"]
    if facts.lines is not None:
        parts[-1] += f" in {facts.lines:,} lines"
    if facts.encoding:
        parts.append(facts.encoding)
    if facts.separator:
        quoted = "quoted where needed" if facts.quoted else "quotation marks are text"
        parts += [f"separator {json.dumps(facts.separator)}", quoted]
    return ", ".join(parts)


def _split(facts: SplitFacts) -> str:
    shown = [f"{name} {count:,}" for name, count in facts.classes.items()][:_MOST_CLASSES]
    if more := len(facts.classes) - len(shown):
        shown.append(f"and {more} more")
    total = sum(facts.letters.values())
    scripts = [
        f"{script.lower()} {percent(count, total)}"
        for script, count in facts.letters.items()
        if count >= 0.01 * total
    ]
    letters = f"; letters: {', '.join(scripts)}" if scripts else ""
    kinds = f"{len(facts.classes)} {facts.kinds_of_label}"
    return f"{facts.examples:,} examples; {kinds}: {', '.join(shown)}{letters}"


def _wrapped(text: str, before: str = "", after: str | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=before,
        subsequent_indent=before + "  " if after is None else after,
        break_on_hyphens=False,
    )
