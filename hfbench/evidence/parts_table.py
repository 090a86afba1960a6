"""The tables of classes, of slices and of a learning curve. No torch here."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from hfbench.evidence.classes import FEW, MEASURES
from hfbench.evidence.compared import ComparedModels, Standing
from hfbench.evidence.difference import Difference, Interval
from hfbench.evidence.findings import Findings
from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.rows import with_interval
from hfbench.evidence.text_table import TextTable
from hfbench.evidence.words import ends_text, signed_gap, value_text
from hfbench.metrics.registry import METRICS, Metric


def shows_classes(findings: Findings) -> bool:
    """Whether classes have a section of their own: a few, of more than two; or they are asked for.

    All are in the report in any case.
    """
    comparison = findings.comparison
    if comparison.task is None or comparison.task.problem_type == "regression":
        return False
    asked = {metric.name.partition(":")[0] for metric in (comparison.metric, *comparison.columns)}
    labels = len(comparison.task.labels)
    is_few = labels <= FEW and (
        labels > 2 or comparison.task.problem_type == "multi_label_classification"
    )
    return bool((is_few or {*MEASURES} & asked) and findings.classes)


def class_table(findings: Findings) -> TextTable:
    """F1 of each class by model: of many classes the worst ones."""
    labels = list(dict.fromkeys(row.label for row in findings.classes))[:FEW]
    counts = {row.label: row.examples for row in findings.classes}
    found = {(row.model, row.label): row.measured for row in findings.classes}
    metric = METRICS["f1"]
    header = ["F1 of", *(f"{label} (n {counts[label]:,})" for label in labels)]
    names = [model.name for model in findings.comparison.finished]
    return TextTable(
        header,
        [
            [n, *(with_interval(metric, found[n, label].get("f1")) for label in labels)]
            for n in names
        ],
    )


def slice_table(findings: Findings, name: str) -> TextTable:
    """The measure by part of one slice: a line for each model."""
    comparison = findings.comparison
    parts = [part for part in findings.parts if part.slice == name]
    header = [name, *(f"{part.value} (n {part.examples:,})" for part in parts)]
    return TextTable(
        header,
        [
            [m.name, *(with_interval(comparison.metric, p.measured.get(m.name)) for p in parts)]
            for m in comparison.finished
        ],
    )


def slice_names(findings: Findings) -> list[str]:
    return list(dict.fromkeys(part.slice for part in findings.parts))


def classes_csv(findings: Findings) -> str:
    """A line for each model and class: precision, recall and F1 with their intervals."""
    lines = [
        {"label": row.label, "examples": row.examples, "model": row.model, **_three(row.measured)}
        for row in findings.classes
    ]
    return csv_text(lines)


def slices_csv(findings: Findings) -> str:
    """A line for each part and model: the measure with its interval, and what it is below the best.

    ``below_best`` is by how much the model that is best overall is better on this part.
    """
    name, lines = findings.comparison.metric.name, []
    for part in findings.parts:
        below = {found.second: found for found in part.against_best}
        for model, found in part.measured.items():
            gap = below.get(model)
            values: dict[str, Any] = {
                "slice": part.slice, "value": part.value, "examples": part.examples,
                "model": model, name: found.mean, "low": found.low, "high": found.high,
                "below_best": gap and gap.mean, "below_best_low": gap and gap.low,
                "below_best_high": gap and gap.high, "p_value": gap and gap.p_value,
            }  # fmt: skip
            lines.append(values)
    return csv_text(lines)


def _three(measured: Mapping[str, Interval]) -> dict[str, float | None]:
    values: dict[str, float | None] = {}
    for name in MEASURES:
        found = measured.get(name)
        values[name] = found.mean if found else None
        values[f"{name}_low"] = found.low if found else None
        values[f"{name}_high"] = found.high if found else None
    return values


def csv_text(lines: Sequence[Mapping[str, Any]]) -> str:
    """Six decimals: further ones differ between versions of NumPy and SciPy."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(lines[0] if lines else [])
    for line in lines:
        writer.writerow([f"{v:.6f}" if isinstance(v, float) else v for v in line.values()])
    return text.getvalue()


def curve_table(comparison: ComparedModels) -> TextTable:
    """The texts of a learning curve: a line for each model, a column for each size."""
    columns = []
    for standing in comparison.curve.values():
        found = {model.name: model for model in standing.finished}
        columns.append(
            [
                _curve_text(found[model.name], standing) if model.name in found else ""
                for model in comparison.models
            ]
        )
    names = [model.name for model in comparison.models]
    lines = [list(line) for line in zip(names, *columns, strict=True)]
    return TextTable(["model", *map("{:,} examples".format, comparison.curve)], lines)


def curve_questions(comparison: ComparedModels) -> TextTable | None:
    """What is shown of each question at each size; None where nothing is asked."""
    if not comparison.questions:
        return None
    lines = []
    for asked in comparison.questions:
        names = (asked.first.name, asked.second.name)
        line = [" minus ".join(names)]
        for standing in comparison.curve.values():
            found = [p for p in standing.questions if (p.first.name, p.second.name) == names]
            line += [_question_text(comparison.metric, p.difference) for p in found] or [""]
        lines.append(line)
    return TextTable(["question", *map("{:,} examples".format, comparison.curve)], lines)


def _question_text(metric: Metric, found: Difference) -> str:
    low, high = (signed_gap(metric, end) for end in (found.family_low, found.family_high))
    interval = "not known" if found.withheld else f"{low} to {high}"
    return f"{signed_gap(metric, found.mean)} ({interval}) {found.words}".rstrip()


def _curve_text(model: ModelRuns, standing: Standing) -> str:
    value = value_text(model.metric, model.value).removesuffix(" %")
    interval = ends_text(model.metric, *model.interval)
    return f"{value} ({interval}) {standing.letters[model.name]}"
