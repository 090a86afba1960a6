"""The verbs that look at results. Heavy imports are inside them, as in `cli.app`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hfbench.cli.publish import print_remote_table
from hfbench.errors import UserError
from hfbench.system.terminal import Console, note, tell

if TYPE_CHECKING:
    from hfbench.evidence.findings import Findings
    from hfbench.evidence.model_runs import ModelRuns

ResultsFolders = Annotated[
    list[Path], typer.Argument(help="Results folders, e.g. results/quickstart.", metavar="RESULTS")
]
DifferentExamples = Annotated[
    bool,
    typer.Option(
        "--different-examples",
        help="Show models that were evaluated on different examples, without comparing them.",
    ),
]
Texts = Annotated[
    Path | None,
    typer.Option(
        help="The recipe of the results: load its data again to show the examples' texts.",
        metavar="RECIPE",
    ),
]


def table(
    results: Annotated[
        list[str],
        typer.Argument(
            help="Results folders, or hf://datasets/user/name for results on the Hub.",
            metavar="RESULTS",
        ),
    ],
    columns: Annotated[
        str | None,
        typer.Option(
            help="Columns of the first table, by name, e.g. accuracy,nll. It is only shown, unless "
            "--write is given."
        ),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write the files with these --columns.")
    ] = False,
    different_examples: DifferentExamples = False,
    overall: Annotated[
        Path | None,
        typer.Option(
            help="Also compare the models over these results, each of another task; the page goes "
            "to FOLDER.",
            metavar="FOLDER",
        ),
    ] = None,
) -> None:
    """Make the tables of results folders again from their records: Markdown, CSV and LaTeX.

    Of a recipe with several tasks those of each, and the page over all. Of results on the Hub
    nothing is written; the tables there must be those of their records. With --columns the table is
    shown and files stay as they are.
    """
    from hfbench.cli.run import write_overall_table
    from hfbench.evidence.comparison import load_comparison
    from hfbench.evidence.findings import Findings
    from hfbench.evidence.rows import MAIN, check_columns
    from hfbench.evidence.table import print_table, write_table

    chosen = columns.split(",") if columns else MAIN
    measures = check_columns(chosen)
    writes = write or not columns
    console = Console()
    folders = [Path(place) for place in results if not place.startswith("hf:")]
    if overall and len(folders) < len(results):
        raise UserError("--overall: results on the Hub are not compared over tasks; fetch them")
    for place in [place for place in results if place.startswith("hf:")]:
        print_remote_table(place, chosen, console)
    for folder in folders:
        parts, comparisons = _tasks_in(folder) or [folder], {}
        for one in parts:
            comparison = load_comparison(
                one, different_examples=different_examples, measures=measures
            )
            comparisons[one.name] = comparison
            findings = Findings.of(comparison)
            paths = write_table(findings, one, chosen) if writes else []
            if len(parts) == 1 or not writes:
                print_table(findings, console, chosen)
            say_written(paths, **result_of(findings, one))
        if len(parts) > 1 and writes:
            from hfbench.evidence.overall import compare_tasks  # here: it imports scipy.stats

            over_all = compare_tasks(comparisons, folder.resolve().name)
            say_written(write_overall_table(over_all, folder, console))
    if overall:
        from hfbench.evidence.overall import load_overall

        parts = [one for folder in folders for one in _tasks_in(folder) or [folder]]
        over_all = load_overall(parts, overall.resolve().name)
        say_written(write_overall_table(over_all, overall, console))


def report(
    results: ResultsFolders,
    plots: Annotated[
        bool,
        typer.Option(
            "--plots", help="Also write the figures as PNG and SVG, to the folder plots in RESULTS."
        ),
    ] = False,
    texts: Texts = None,
    different_examples: DifferentExamples = False,
) -> None:
    """Write report.html, one page with all figures and tables that needs nothing else.

    Of a recipe with several tasks one of each, and one over all.
    """
    from hfbench.evidence.comparison import load_comparison
    from hfbench.evidence.findings import Findings
    from hfbench.evidence.overall import compare_tasks
    from hfbench.evidence.overall_findings import OverallFindings
    from hfbench.evidence.overall_page import write_overall_report
    from hfbench.evidence.overall_plots import write_overall_plots
    from hfbench.evidence.page import write_report
    from hfbench.evidence.plots import write_plots

    for folder in results:
        parts, comparisons = _tasks_in(folder) or [folder], {}
        for one in parts:
            comparison = load_comparison(one, different_examples=different_examples)
            comparisons[one.name] = comparison
            loaded = _load_texts(texts, comparison.finished) if texts else None
            written = [write_report(Findings.of(comparison), one, loaded)]
            if plots:
                written += write_plots(comparison, one / "plots")
            say_written(written)
        if len(parts) > 1:
            overall = compare_tasks(comparisons, folder.resolve().name)
            written = [write_overall_report(OverallFindings.of(overall), folder)]
            if plots:
                written += write_overall_plots(overall, folder / "plots")
            say_written(written)


def flips(
    results: Annotated[Path, typer.Argument(help="A results folder.", metavar="RESULTS")],
    first: Annotated[str, typer.Argument(help="The model to start from.", metavar="FIRST")],
    second: Annotated[str, typer.Argument(help="The model that flips.", metavar="SECOND")],
    texts: Texts = None,
) -> None:
    """List the examples that SECOND fixes and breaks relative to FIRST."""
    from hfbench.evidence.comparison import load_comparison
    from hfbench.evidence.flips import find_flips, find_model, print_flips

    comparison = load_comparison(results)
    models = [find_model(comparison.models, name, results) for name in (first, second)]
    found = find_flips(*models)
    loaded = _load_texts(texts, models) if texts else None
    print_flips(found, Console(), loaded)
    tell(
        {
            "first": first,
            "second": second,
            "seeds": found.seeds,
            "examples": [
                {"id": found.first.ids[i], "fixed": found.fixed[i], "broken": found.broken[i]}
                for i in found.examples
            ],
        }
    )


def _tasks_in(folder: Path) -> list[Path]:
    """The results folders of a recipe's tasks, where it has several."""
    from hfbench.records.store import ResultsFolder

    return [task.path for task in ResultsFolder(folder).tasks]


def _load_texts(recipe: Path, models: "list[ModelRuns]") -> dict[str, str]:
    import datasets

    from hfbench.cli.texts import load_texts
    from hfbench.recipe.load import load_recipe

    datasets.disable_progress_bars()
    return load_texts(load_recipe(recipe), models)


def say_written(paths: list[Path], **result: Any) -> None:
    """Which files were written, and in JSON with them what is in them."""
    if paths:
        note(f"Written: {', '.join(map(str, paths))}")
    tell({**result, "written": paths})


def result_of(findings: "Findings", folder: Path | str) -> dict[str, Any]:
    """A comparison's result for JSON: a row for each model as in the CSV file, and the answer."""
    from hfbench.evidence.rows import all_values

    return {"results": folder, "answer": findings.answer, "models": all_values(findings)}
