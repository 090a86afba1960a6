"""`hfbench decide` and `hfbench gate`: what to do, given results."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hfbench.system.quiet import quiet_libraries
from hfbench.system.terminal import Console, show, tell

if TYPE_CHECKING:
    from hfbench.evidence.decision import Decision

_NOTATION = "A results folder, or hf://datasets/user/name; with :MODEL behind it that row alone."


def decide(
    results: Annotated[
        str,
        typer.Argument(
            help="A results folder, of one task or of several, or hf://datasets/user/name.",
            metavar="RESULTS",
        ),
    ],
    margin: Annotated[
        float,
        typer.Option(
            help="The loss that does not matter, as tables show the measure: 1 is a point of "
            "accuracy."
        ),
    ],
    prefer: Annotated[
        Literal["parameters", "latency", "train_seconds"],
        typer.Option(help="What is to be small."),
    ] = "parameters",
) -> None:
    """Name the cheapest row that is not worse than the best by the margin or more.

    It is wrong in at most 5 decisions of 100. Also says what would have to be run to be surer.
    """
    from hfbench.api import load_tasks
    from hfbench.evidence.decision import decide as decide_between
    from hfbench.evidence.words import as_in_tables

    quiet_libraries()
    tasks = load_tasks(results)
    first = next(iter(tasks.values()))
    found = decide_between(tasks, as_in_tables(first.metric, margin), prefer)
    console = Console()
    say = lambda text: console.print(text, markup=False, highlight=False)  # noqa: E731
    say(found.text)
    _print_options(found, console)
    say("worse by at most: than the best row, whichever that is (95 % for all rows together).")
    for line in found.cautions:
        say(line)
    rows = [
        {
            "model": option.name,
            "values": option.values,
            "cost": option.cost,
            "worse_by_at_most": option.bound,
            "standing": option.standing,
        }
        for option in found.options
    ]
    chosen = found.chosen and found.chosen.name
    tell({"take": chosen, "text": found.text, "prefer": prefer, "margin": found.margin,
          "tasks": found.tasks, "models": rows, "cautions": found.cautions})  # fmt: skip


def gate(
    base: Annotated[str, typer.Argument(help=f"What is in use. {_NOTATION}", metavar="BASE")],
    candidate: Annotated[
        str, typer.Argument(help="What is to take its place, likewise.", metavar="CANDIDATE")
    ],
    margin: Annotated[
        float,
        typer.Option(
            help="The loss that does not matter, as tables show the measure: 0.5 is half a point "
            "of accuracy."
        ),
    ],
    to_markdown: Annotated[
        Path | None,
        typer.Option("--markdown", help="Also write it for a pull request.", metavar="FILE"),
    ] = None,
    to_junit: Annotated[
        Path | None, typer.Option("--junit", help="Also write it as JUnit's XML.", metavar="FILE")
    ] = None,
) -> None:
    """Say whether a candidate may take the place of a base, on the same examples.

    Exit code 0: better, or not worse by the margin or more; 1: worse; 3: undecided, and what would
    have to be run is said.
    """
    from hfbench.api import load_side
    from hfbench.evidence.gate import gate as compare_sides
    from hfbench.evidence.words import as_in_tables
    from hfbench.system.files import atomic

    quiet_libraries()
    sides = load_side(base), load_side(candidate)
    first = next(iter(sides[0].tasks.values()))
    found = compare_sides(*sides, as_in_tables(first.metric, margin))
    written = {to_markdown: found.to_markdown, to_junit: found.to_junit}
    for path, text in written.items():
        if path is not None:
            with atomic(path) as temporary:
                temporary.write_text(text(), encoding="utf-8", newline="\n")
    show(f"{found.verdict}: {found.candidate} in place of {found.base}")
    for line in found.reasons:
        show(f"  {line}")
    tell({"verdict": found.verdict, "base": found.base, "candidate": found.candidate,
          "margin": found.margin, "reasons": found.reasons})  # fmt: skip
    if found.exit_code:
        raise SystemExit(found.exit_code)


def _print_options(found: "Decision", console: Console) -> None:
    from rich import box
    from rich.table import Table

    from hfbench.evidence.decision import COSTS
    from hfbench.evidence.words import gap_text

    cost = COSTS[found.prefer]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    measures = [
        task or metric.title for task, metric in zip(found.tasks, found.metrics, strict=True)
    ]
    for place, title in enumerate(
        ["row", *measures, cost.title, "worse by at most", "good enough"]
    ):
        table.add_column(title, justify="left" if place == 0 else "right", overflow="fold")
    for option in found.options:
        values = [
            "" if math.isnan(value) else metric.text(value)
            for metric, value in zip(found.metrics, option.values, strict=True)
        ]
        bound = "" if math.isinf(option.bound) else gap_text(found.metrics[0], option.bound)
        table.add_row(
            option.name, *values, "" if option.cost is None else cost.number(option.cost),
            bound.removesuffix(" points"),
            {"good enough": "yes", "worse": "no", "open": "open"}[option.standing],
        )  # fmt: skip
    console.print(table, markup=False)
