"""The comparison as tables: on the terminal, as Markdown, CSV and LaTeX. No torch here."""

import re
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from hfbench.evidence import markdown
from hfbench.evidence.answer import TOLD
from hfbench.evidence.findings import Findings
from hfbench.evidence.latex import as_latex
from hfbench.evidence.parts_table import (
    class_table,
    classes_csv,
    csv_text,
    curve_questions,
    curve_table,
    shows_classes,
    slice_names,
    slice_table,
    slices_csv,
)
from hfbench.evidence.rows import COST, MAIN, USE, all_values, build_rows, text_table
from hfbench.evidence.text_table import TextTable
from hfbench.evidence.tuning_words import trials_csv_lines, tuning_table
from hfbench.records.store import ResultsFolder


def write_table(findings: Findings, results: Path, names: Sequence[str] = MAIN) -> list[Path]:
    """Write README.md, and CSV and LaTeX files that are named by the measure (``accuracy.csv``);
    the same bytes each time. Those of a measure that was asked for before are removed.

    Args:
        findings: what to write.
        results: the folder.
        names: the columns of the first table, see `columns`.
    """
    comparison = findings.comparison
    stem = file_stem(comparison.metric.name)
    outputs = {
        "README.md": as_markdown(findings, names),
        f"{stem}.csv": as_csv(findings),
        f"{stem}.tex": as_latex(findings, names),
    }
    if shows_classes(findings):
        outputs["classes.csv"] = classes_csv(findings)
    if findings.parts:
        outputs["slices.csv"] = slices_csv(findings)
    if comparison.tuning:
        outputs["trials.csv"] = csv_text(trials_csv_lines(comparison.tuning))
    paths = ResultsFolder(results).write_pages(outputs)
    for before in {file_stem(entry.metric) for entry in comparison.asked if entry.metric} - {stem}:
        for ending in ("csv", "tex"):
            (results / f"{before}.{ending}").unlink(missing_ok=True)
    return paths


def file_stem(measure: str) -> str:
    """What the files of a table by this measure are called, without their ending."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", measure)


def as_markdown(findings: Findings, names: Sequence[str] = MAIN) -> str:
    """A page for people."""
    rows, comparison = build_rows(findings), findings.comparison
    lines = [
        f"# {markdown.escape(comparison.recipe)}",
        "<!-- generated from records/ by `hfbench table`; do not edit -->",
        markdown.escape(" ".join(findings.answer)),
        markdown.escape(findings.data),
        _markdown(text_table(rows, names, findings.footnotes)),
        markdown.bullets(findings.all_notes),
    ]
    if findings.questions:
        lines += ["## What was asked", markdown.bullets(findings.verdicts)]
        lines.append(markdown.escape(findings.questions))
    if comparison.tuning:
        table = tuning_table(comparison, comparison.tuning)
        lines += _section("Tuning", table, findings.tuning)
    if comparison.finished:
        lines += _section("Cost", text_table(rows, COST, {}), findings.cost)
        if findings.use:
            lines += _section("Cost of use", text_table(rows, USE, {}), findings.use)
        others = text_table(rows, [metric.name for metric in comparison.columns], {})
        lines += _section(comparison.title_of_others, others, findings.confidence)
    if shows_classes(findings):
        lines += _section("Classes", class_table(findings), findings.class_notes)
    if findings.parts:
        lines.append("## Slices")
        lines += [_markdown(slice_table(findings, name)) for name in slice_names(findings)]
        lines.append(markdown.bullets(findings.slice_notes))
    if comparison.curve:
        lines += ["## Learning curve", _markdown(curve_table(comparison))]
        lines += [_markdown(asked)] if (asked := curve_questions(comparison)) else []
        lines.append(markdown.bullets(findings.curve))
    if findings.pretraining:
        lines += ["## Pretraining", markdown.bullets(findings.pretraining)]
    return "\n\n".join(lines) + "\n"


def _section(title: str, table: TextTable, notes: Sequence[str]) -> list[str]:
    return [f"## {title}", _markdown(table), markdown.bullets(notes)]


def as_csv(findings: Findings) -> str:
    """For programs, all columns: fractions in [0, 1], an empty field where there is no value."""
    return csv_text(all_values(findings))


def print_table(findings: Findings, console: Console, names: Sequence[str] = MAIN) -> None:
    """The answer, the rows and their footnotes on the terminal; the default fits 80 columns."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    shown.add_column("model", overflow="fold", min_width=16)
    table = text_table(build_rows(findings), names, findings.footnotes)
    for title in table.header[1:]:
        # narrow columns leave the room to the names
        *upper, lower = title.rsplit(" ", 1)
        shown.add_column("\n".join([*upper, lower]), justify="right", no_wrap=True)
    for texts in table.rows:
        shown.add_row(*texts)
    console.print(f"\n{findings.data}\n", markup=False, highlight=False)
    console.print(shown)
    # the answer tells a few of them, and counts many
    asked = ["", *findings.verdicts] if len(findings.verdicts) > TOLD else []
    for line in [*findings.footnotes.values(), *findings.cautions, *asked, "", *findings.answer]:
        console.print(line, markup=False, highlight=False)


def _markdown(table: TextTable) -> str:
    return markdown.table(table.header, table.rows)
