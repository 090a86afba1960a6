"""`hfbench judge`: what other tools' logs say of models, with intervals and paired tests."""

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hfbench.errors import UserError
from hfbench.system.terminal import Console, tell

if TYPE_CHECKING:
    from hfbench.evidence.logs import JudgedTask, LoggedRun


def judge(
    places: Annotated[
        list[str],
        typer.Argument(
            help="Folders or files of lm-evaluation-harness (--log_samples) or inspect_ai; "
            "NAME=PATH names the model.",
            metavar="LOGS...",
        ),
    ],
    metric: Annotated[
        str | None,
        typer.Option(help="As the logs call it, e.g. acc_norm or exact_match,strict-match."),
    ] = None,
    margin: Annotated[
        float | None, typer.Option(min=1e-9, help="The difference that matters, e.g. 0.01.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="A model with which every other one is compared.")
    ] = None,
) -> None:
    """Compare models by the logs of other tools, example by example, and say how sure it is.

    Several runs of a model (files, epochs) are taken together; examples must be the same.
    """
    from hfbench.evidence.logs import judge_logs

    judged = judge_logs(_rows(places), metric=metric, margin=margin, reference=reference)
    console = Console()
    for one in judged:
        _print_task(one, console)
        tell(dataclasses.asdict(replace(one, judgement=replace(one.judgement, table=None))))


def _rows(places: list[str]) -> "dict[str, list[LoggedRun]]":
    """Name -> runs: by the model's own name, where no two places have the same."""
    from hfbench.evidence.logs import read_logs

    found: list[tuple[str | None, Path, LoggedRun]] = []
    for place in places:
        name, sep, path = place.partition("=")
        is_named = bool(sep) and not Path(place).exists()
        where = Path(path if is_named else place)
        found += [(name if is_named else None, where, run) for run in read_logs(where)]
    places_of: dict[str, set[Path]] = {}
    for _, where, run in found:
        places_of.setdefault(run.model, set()).add(where)
    rows: dict[str, list[LoggedRun]] = {}
    owner: dict[str, tuple[Path, str]] = {}
    for given, where, run in found:
        is_alone = len(places_of[run.model]) == 1
        shown = given or (run.model if is_alone else where.resolve().stem)
        if owner.setdefault(shown, (where, run.model)) != (where, run.model):
            raise UserError(
                f"two models would be called {shown!r}: name them, as in `mine={where}`"
            )
        rows.setdefault(shown, []).append(run)
    return rows


def _print_task(one: "JudgedTask", console: Console) -> None:
    from rich import box
    from rich.table import Table as RichTable

    from hfbench.evidence.logs.report import lines, table_rows, title

    say = lambda text: console.print(text, markup=False, highlight=False)  # noqa: E731
    say(f"\n{title(one)}")
    table = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    header, *rows = table_rows(one)
    for place, name in enumerate(header):
        table.add_column(name, justify="left" if place == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table, markup=False)
    for line in lines(one):
        say(line)
