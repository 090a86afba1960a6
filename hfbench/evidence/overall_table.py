"""Several tasks as tables: on the terminal, as Markdown, CSV and LaTeX. No torch here."""

import csv
import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from hfbench.evidence import markdown
from hfbench.evidence.difference import Difference
from hfbench.evidence.judge import letters_of
from hfbench.evidence.latex import latex
from hfbench.evidence.overall import Interval, Overall, PooledPair, TaskResults
from hfbench.evidence.overall_findings import (
    FAILED,
    NOT_RUN,
    OverallFindings,
    mean_title,
    told_apart,
)
from hfbench.evidence.text_table import TextTable
from hfbench.evidence.words import decimal, p_text
from hfbench.metrics.registry import Metric
from hfbench.records.store import ResultsFolder

_SHORT = 5  # characters in a line of a heading on the terminal, where a word is not longer
PAIRS = 30
"""That fit a page; of more, those of the best model."""


def overall_table(overall: Overall) -> TextTable:
    """A line for each model that has a result on every task."""
    header = ["model"]
    if overall.has_mean:
        header += [mean_title(overall), "95 % interval", "group"]
    groups = _groups(overall)
    lines = []
    for row in overall.rows:
        if row.rank is None:
            continue
        line = [row.model]
        if row.mean:
            low, high = decimal(row.mean.low), decimal(row.mean.high)
            line += [decimal(row.mean.value), f"{low}-{high}", groups[row.model]]
        interval = f"{row.rank.low:.2f}-{row.rank.high:.2f}"
        line += [f"{row.rank.value:.2f}", interval, f"{row.best_in} ({row.may_be_best_in})"]
        lines.append(line)
    return TextTable([*header, "average rank", "95 % interval", "best in"], lines)


def matrix(overall: Overall, *, intervals: bool) -> TextTable:
    """A line for each model, a column for each task."""
    header = ["model", *(f"{task.name}: {task.metric.title}" for task in overall.tasks)]
    lines = [
        [row.model, *(_value(task, row.model, intervals=intervals) for task in overall.tasks)]
        for row in overall.rows
    ]
    return TextTable(header, lines)


def pairs_table(pairs: Sequence[PooledPair], *, verdicts: bool = False) -> TextTable:
    """A line for each pair; ``verdicts``: with what is shown of these tasks in a word or two."""
    header = ["pair", "these tasks", "interval", "p", *(["verdict"] if verdicts else [])]
    if has_like := any(pair.like_these for pair in pairs):
        header += ["tasks like these", "interval", "p", "tau"]
    header.append("better on")
    lines = []
    for pair in pairs:
        line = [f"{pair.first} minus {pair.second}", *_difference_texts(pair.these)]
        if verdicts:
            line.append(pair.these.words if pair.these else "")
        if has_like:
            tau = decimal(pair.effects.tau) if pair.effects else ""
            line += [*_difference_texts(pair.like_these), tau]
        lines.append([*line, told_apart(pair)])
    return TextTable(header, lines)


def shown_pairs(overall: Overall) -> list[PooledPair]:
    """All, or those of the best model where there are more than `PAIRS`."""
    if len(overall.pairs) <= PAIRS:
        return overall.pairs
    return [pair for pair in overall.pairs if pair.first == overall.rows[0].model]


def write_overall(findings: OverallFindings, folder: Path) -> list[Path]:
    """Write README.md, overall.csv, differences.csv and overall.tex; the same bytes each time."""
    texts = {
        "README.md": as_markdown(findings, folder),
        "overall.csv": as_csv(findings.overall),
        "differences.csv": differences_csv(findings.overall),
        "overall.tex": as_latex(findings),
    }
    return ResultsFolder(folder).write_pages(texts)


def as_markdown(findings: OverallFindings, folder: Path) -> str:
    """A page for people; tasks whose results are below ``folder`` are linked."""
    overall = findings.overall
    lines = [
        f"# {markdown.escape(overall.name)}",
        "<!-- generated from the tasks' records by `hfbench table`; do not edit -->",
        markdown.escape(" ".join(findings.answer)),
        _markdown(overall_table(overall)),
        "## Each task",
        _markdown(matrix(overall, intervals=True)),
        *_links(overall, folder),
        markdown.bullets(findings.notes),
    ]
    if findings.questions:
        lines += ["## Questions", markdown.escape(findings.questions)]
    if overall.questions:
        lines.append(_markdown(pairs_table(overall.questions, verdicts=True)))
    if overall.pairs:
        lines += ["## Differences", _markdown(pairs_table(shown_pairs(overall)))]
        lines += [markdown.bullets(findings.pooled)] if findings.pooled else []
    lines += ["## Ranks", markdown.bullets(findings.ranks)]
    return "\n\n".join(lines) + "\n"


def tasks_below(overall: Overall, folder: Path) -> list[str]:
    """Those whose results are in ``folder``, packed or not."""
    names = [task.name for task in overall.tasks]
    return [name for name in names if ResultsFolder(folder / name).holds_records()]


def _links(overall: Overall, folder: Path) -> list[str]:
    below = tasks_below(overall, folder)
    if not below:
        return []
    pages = ", ".join(f"[{markdown.escape(name)}]({name}/README.md)" for name in below)
    return [f"The page of each: {pages}."]


def as_csv(overall: Overall) -> str:
    """For programs: a line for each model, six decimals; an empty field where there is no value."""
    header = ["model", "mean", "low", "high", "rank", "rank_low", "rank_high"]
    header += ["best_in", "may_be_best_in"]
    for task in overall.tasks:
        header += [task.name, f"{task.name}_low", f"{task.name}_high", f"{task.name}_runs"]
    lines = []
    for row in overall.rows:
        line: list[object] = [row.model, *_ends(row.mean), *_ends(row.rank)]
        line += [row.best_in, row.may_be_best_in]
        for task in overall.tasks:
            line += _cells(task, row.model)
        lines.append(line)
    return _csv([header, *lines])


def differences_csv(overall: Overall) -> str:
    """For programs: a line for each pair, six decimals."""
    header = ["first", "second", "wins", "losses", "told_apart_up", "told_apart_down"]
    names = ["mean", "low", "high", "p_value", "adjusted_p", "family_low", "family_high"]
    header += [f"{over}_{name}" for over in ("these", "like_these") for name in names]
    lines = []
    for pair in overall.pairs:
        line: list[object] = [pair.first, pair.second, pair.wins, pair.losses]
        line += [pair.told_apart.count(1), pair.told_apart.count(-1)]
        for found in (pair.these, pair.like_these):
            line += [getattr(found, name) if found else None for name in names]
        lines.append([*line, pair.effects.tau if pair.effects else None])
    return _csv([[*header, "tau"], *lines])


def _csv(lines: list[list]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for line in lines:
        writer.writerow([f"{v:.6f}" if isinstance(v, float) else v for v in line])
    return text.getvalue()


def as_latex(findings: OverallFindings) -> str:
    r"""Two ``table`` environments for ``\usepackage{booktabs}``: over all tasks, and of each."""
    overall = findings.overall
    tables = [
        (f"{overall.name}: over {len(overall.tasks)} tasks", overall_table(overall)),
        (f"{overall.name}: each task", matrix(overall, intervals=True)),
    ]
    lines = ["% generated from the tasks' records by `hfbench table`; needs \\usepackage{booktabs}"]
    rule = " \\\\"
    for number, (caption, table) in enumerate(tables):
        lines += [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{latex(caption)}}}",
            f"\\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
            "\\toprule",
            " & ".join(map(latex, table.header)) + rule,
            "\\midrule",
            *(" & ".join(map(latex, texts)) + rule for texts in table.rows),
            "\\bottomrule",
            "\\end{tabular}",
        ]
        if number == 0:
            lines.append("\\par\\smallskip\\footnotesize\\raggedright")
            lines += [f"{latex(note)}\\par" for note in findings.notes]
        lines.append("\\end{table}")
    return "\n".join(lines) + "\n"


def print_overall(findings: OverallFindings, console: Console) -> None:
    """The answer, the models over all tasks and on each; many tasks in tables one below another."""
    overall = findings.overall
    console.print()
    of_tasks = _blocks(matrix(overall, intervals=False), console.width)
    for table in (overall_table(overall), *of_tasks):
        shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
        shown.add_column("model", overflow="fold", min_width=12)
        for title in table.header[1:]:
            # a line for the task, one for its measure
            shown.add_column("\n".join(_in_lines(title)), justify="right", overflow="fold")
        for texts in table.rows:
            shown.add_row(*texts)
        console.print(shown)
        console.print()
    for line in findings.answer:
        console.print(line, markup=False, highlight=False)


def _in_lines(title: str) -> list[str]:
    return (
        title.split(": ") if ": " in title else textwrap.wrap(title, _SHORT, break_long_words=False)
    )


def _blocks(table: TextTable, width: int) -> list[TextTable]:
    """The table in parts, each with as many columns as fit beside the first."""
    widths = [
        max(map(len, [*_in_lines(title), *texts])) + 2
        for title, *texts in zip(table.header, *table.rows, strict=True)
    ]
    parts: list[list[int]] = [[]]
    for column in range(1, len(widths)):
        used = widths[0] + sum(widths[other] for other in parts[-1])
        if parts[-1] and used + widths[column] > width:
            parts.append([])
        parts[-1].append(column)
    return [
        TextTable(
            [table.header[0], *(table.header[column] for column in part)],
            [[row[0], *(row[column] for column in part)] for row in table.rows],
        )
        for part in parts
    ]


def _groups(overall: Overall) -> dict[str, str]:
    pairs = [pair.these for pair in overall.pairs if pair.these]
    names = overall.complete
    return dict(zip(names, letters_of(names, pairs), strict=True)) if overall.has_mean else {}


def _difference_texts(found: Difference | None) -> list[str]:
    if found is None:
        return ["", "", ""]
    if found.withheld:
        return [decimal(found.mean, "+.1f"), "not known", ""]
    interval = f"{decimal(found.family_low, '+.1f')} to {decimal(found.family_high, '+.1f')}"
    return [decimal(found.mean, "+.1f"), interval, p_text(found.adjusted_p).removeprefix("p ")]


def value_text(metric: Metric, value: float) -> str:
    """A value as the matrix shows it: one decimal of a percentage."""
    return decimal(value) if metric.is_percentage else metric.text(value)


def _value(task: TaskResults, name: str, *, intervals: bool) -> str:
    if name not in task.models:
        return NOT_RUN
    model = task.models[name]
    if not model.finished:
        return FAILED
    texts = [value_text(task.metric, v) for v in (model.value, *model.interval)]
    return f"{texts[0]} ({texts[1]}-{texts[2]})" if intervals else texts[0]


def _cells(task: TaskResults, name: str) -> list[object]:
    if name not in task.models:
        return [None, None, None, 0]
    model = task.models[name]
    if not model.finished:
        return [None, None, None, 0]
    return [model.value, *model.interval, len(model.finished)]


def _ends(found: Interval | None) -> list[object]:
    return [found.value, found.low, found.high] if found else [None] * 3


def _markdown(table: TextTable) -> str:
    return markdown.table(table.header, table.rows)
