"""The table of a comparison that still runs: what is finished, with intervals that shrink."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hfbench.errors import UserError
from hfbench.evidence.comparison import Comparison, compare_records
from hfbench.evidence.words import ends_text
from hfbench.records.asked import load_asked
from hfbench.records.schema import Record


def table_so_far(
    records: Sequence[Record], results: Path, runs: Mapping[tuple[str, str], int], rows: int
) -> RenderableType | None:
    """The best rows by the runs that have ended, with the figures that the table would have now.

    Args:
        records: those of now and before, of one task or several.
        results: the folder that holds the recipe's.
        runs: recipe and model -> how many there will be.
        rows: at most so many in all.

    Returns:
        None as long as nothing is finished that could be shown.
    """
    by_recipe: dict[str, list[Record]] = {}
    for record in records:
        if record.kind != "pretraining":
            by_recipe.setdefault(record.recipe, []).append(record)
    parts: list[RenderableType] = []
    for recipe, found in by_recipe.items():
        folder = results / recipe
        try:
            comparison = compare_records(found, folder, load_asked(folder))
        except UserError as error:  # no run has all of its folds yet, or none can be shown at all
            parts.append(Text(f"no table yet: {error}", style="dim"))
            continue
        title = recipe.partition("/")[2]
        parts.append(_table(comparison, runs, max(1, rows // len(by_recipe) - 2), title))
    return Group(*parts) if parts else None


def _table(
    comparison: Comparison, runs: Mapping[tuple[str, str], int], rows: int, title: str
) -> Table:
    metric = comparison.metric
    unit = " %" if metric.is_percentage else ""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column(f"{title or 'so far'}", overflow="ellipsis", no_wrap=True)
    for name in (f"{metric.label}{unit}", "95 % interval", "runs"):
        table.add_column(name, justify="right", no_wrap=True)
    for model in comparison.models[:rows]:
        ended = len(model.finished) + len(model.failed)
        of = runs.get((comparison.recipe, model.name), ended)
        counted = f"{ended} of {of}" if ended < of else f"{of}"
        if not model.finished:
            table.add_row(Text(model.name), "failed", "", counted)
            continue
        interval = ends_text(metric, *model.interval)
        table.add_row(Text(model.name), metric.text(model.value), interval, counted)
    if (more := len(comparison.models) - rows) > 0:
        table.add_row(Text(f"and {more} more", style="dim"), "", "", "")
    return table
