"""The command line. Heavy imports are inside the verbs: --help and a typo answer at once."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hfbench.cli import publish as commands
from hfbench.cli.data import data
from hfbench.cli.fsck import fsck
from hfbench.cli.judge import judge
from hfbench.cli.pack import pack
from hfbench.cli.run import run_comparison, run_pretraining, run_verification
from hfbench.cli.script import exit_on_user_error
from hfbench.errors import UserError
from hfbench.system.quiet import quiet_libraries
from hfbench.system.terminal import Console, show
from hfbench.version import __version__

if TYPE_CHECKING:
    from hfbench.evidence.compared import ModelRuns
    from hfbench.recipe.schema import Recipe

app = typer.Typer(
    help="Compare text classifiers honestly: one Trainer, many seeds, tables with intervals.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RecipePath = Annotated[Path, typer.Argument(help="A recipe: a YAML file.", metavar="RECIPE")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="Keys of the recipe to change, e.g. seeds=[0,1] or "
        "models.gpt-nano.training_arguments.learning_rate=1e-3.",
        metavar="[KEY=VALUE]...",
    ),
]
ResultsDir = Annotated[Path, typer.Option(help="The folder that holds a folder for each recipe.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and run nothing.")]
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
Rerun = Annotated[bool, typer.Option("--rerun", help="Run what is finished, too.")]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Cells side by side, each in a process of its own; 1: one after another. By default "
        "as many as pay. The records do not depend on it.",
        metavar="N",
    ),
]
FailFast = Annotated[
    bool,
    typer.Option("--fail-fast", help="Stop when a cell has failed; by default the others run."),
]


def _say_version(asked: bool) -> None:
    if asked:
        show(f"hfbench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version."),
    ] = False,
    imports: Annotated[
        list[str] | None,
        typer.Option(
            "--imports",
            help="A module that registers measures of your own, imported first: tables of results "
            "need it as the recipe did. May be given again.",
            metavar="MODULE",
        ),
    ] = None,
) -> None:
    if imports:
        from hfbench.models.imports import import_modules

        import_modules(dict.fromkeys(imports, "--imports"), Path())


def compare(
    recipe: RecipePath,
    overrides: Overrides = None,
    results_dir: ResultsDir = Path("results"),
    dry_run: DryRun = False,
    rerun: Rerun = False,
    fail_fast: FailFast = False,
    jobs: Jobs = None,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Run only the I-th of N parts of the cells, which together are all: for machines "
            "that share a results folder.",
            metavar="I/N",
        ),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="What runs the cells: this machine, or a Ray cluster (extra: ray)."),
    ] = "local",
) -> None:
    """Train and evaluate every model of a recipe with every seed; write records and the table.

    What is finished is not run again.
    """
    from hfbench.recipe.load import load_recipe

    loaded = load_recipe(recipe, overrides)
    if dry_run:
        _print_plan(loaded, results_dir, rerun=rerun, shard=shard)
    else:
        run_comparison(
            loaded,
            results_dir,
            rerun=rerun,
            jobs=jobs,
            fail_fast=fail_fast,
            shard=shard,
            engine=engine,
        )


def plan(
    recipe: RecipePath,
    overrides: Overrides = None,
    results_dir: ResultsDir = Path("results"),
    difference: Annotated[
        float | None,
        typer.Option(
            min=1e-9,
            help="A difference of the measure to show, e.g. 0.03 of accuracies; by default the "
            "recipe's margin, or 0.05 of what is from 0 to 1.",
        ),
    ] = None,
    discordance: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=1,
            help="Share of the examples that just one of two models answers rightly; by default "
            "measured on finished runs, or 0.3.",
        ),
    ] = None,
) -> None:
    """Print the cells of a recipe, what differences it can show, and its time; run nothing."""
    from hfbench.recipe.load import load_recipe

    _print_plan(
        load_recipe(recipe, overrides), results_dir, difference=difference, discordance=discordance
    )


def pretrain(
    recipe: RecipePath,
    overrides: Overrides = None,
    results_dir: ResultsDir = Path("results"),
    dry_run: DryRun = False,
    rerun: Rerun = False,
    fail_fast: FailFast = False,
    jobs: Jobs = None,
) -> None:
    """Only pretrain the models of a recipe that have a pretrain block."""
    from hfbench.recipe.load import load_recipe

    loaded = load_recipe(recipe, overrides)
    if dry_run:
        _print_plan(loaded, results_dir, rerun=rerun, only_pretraining=True)
    else:
        run_pretraining(loaded, results_dir, rerun=rerun, jobs=jobs, fail_fast=fail_fast)


def convert(
    source: Annotated[
        str, typer.Argument(help="Hub id or folder of a GPT-2 or a custom GPT.", metavar="SRC")
    ],
    destination: Annotated[Path, typer.Argument(help="A new folder.", metavar="DST")],
) -> None:
    """Make a custom GPT of a GPT-2, or a GPT-2 of a custom GPT, with equal logits."""
    quiet_libraries()
    from hfbench.models.convert import convert

    made = convert(source, destination)
    lines = (
        f"{source} ({made.source_class}) -> {destination} ({made.class_name})",
        f"{made.parameters:,} parameters; "
        + ("tokenizer copied" if made.has_tokenizer else "the source has no tokenizer"),
        f"largest difference of logits on {made.probe_tokens} random tokens after reloading: "
        f"{made.difference:.2g} (largest logit: {made.largest_logit:.3g})",
    )
    for line in lines:
        show(line)


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
    from hfbench.evidence.table import MAIN, check_columns, print_table, write_table

    chosen = columns.split(",") if columns else MAIN
    measures = check_columns(chosen)
    writes = write or not columns
    console = Console()
    folders = [Path(place) for place in results if not place.startswith("hf:")]
    if overall and len(folders) < len(results):
        raise UserError("--overall: results on the Hub are not compared over tasks; fetch them")
    for place in [place for place in results if place.startswith("hf:")]:
        commands.print_remote_table(place, chosen, console)
    for folder in folders:
        tasks = _tasks_in(folder)
        for one in tasks or [folder]:
            comparison = load_comparison(
                one, different_examples=different_examples, measures=measures
            )
            findings = Findings.of(comparison)
            if not tasks or not writes:
                print_table(findings, console, chosen)
            if writes:
                _say_written(write_table(findings, one, chosen))
        if tasks and writes:
            _say_written(write_overall_table(tasks, folder, console))
    if overall:
        parts = [one for folder in folders for one in _tasks_in(folder) or [folder]]
        _say_written(write_overall_table(parts, overall, console))


def report(
    results: ResultsFolders, texts: Texts = None, different_examples: DifferentExamples = False
) -> None:
    """Write report.html, one page with all figures and tables that needs nothing else.

    Of a recipe with several tasks one of each, and one over all.
    """
    from hfbench.evidence.comparison import load_comparison
    from hfbench.evidence.findings import Findings
    from hfbench.evidence.overall import load_overall
    from hfbench.evidence.overall_findings import OverallFindings
    from hfbench.evidence.overall_page import write_overall_report
    from hfbench.evidence.page import write_report

    for folder in results:
        tasks = _tasks_in(folder)
        for one in tasks or [folder]:
            comparison = load_comparison(one, different_examples=different_examples)
            loaded = _load_texts(texts, comparison.finished) if texts else None
            _say_written([write_report(Findings.of(comparison), one, loaded)])
        if tasks:
            over_all = OverallFindings.of(load_overall(tasks, folder.resolve().name))
            _say_written([write_overall_report(over_all, folder)])


def plots(results: ResultsFolders, different_examples: DifferentExamples = False) -> None:
    """Write the figures of results folders as PNG and SVG, to their folder plots."""
    from hfbench.evidence.comparison import load_comparison
    from hfbench.evidence.overall import load_overall
    from hfbench.evidence.overall_plots import write_overall_plots
    from hfbench.evidence.plots import write_plots

    for folder in results:
        tasks = _tasks_in(folder)
        for one in tasks or [folder]:
            comparison = load_comparison(one, different_examples=different_examples)
            _say_written(write_plots(comparison, one / "plots"))
        if tasks:
            over_all = load_overall(tasks, folder.resolve().name)
            _say_written(write_overall_plots(over_all, folder / "plots"))


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


def generate(
    model: Annotated[
        str, typer.Argument(help="A language model: a Hub id or a local folder.", metavar="MODEL")
    ],
    prompt: Annotated[list[str], typer.Option(help="A text to continue; may be given again.")],
    max_new_tokens: Annotated[int, typer.Option(help="Tokens to generate, at most.")] = 10,
    top: Annotated[int, typer.Option(help="Most probable tokens to show at each step.")] = 6,
    sample: Annotated[
        bool, typer.Option("--sample", help="Draw each token; otherwise take the most probable.")
    ] = False,
    temperature: Annotated[float, typer.Option(help="Divides the logits before a draw.")] = 1.0,
    top_k: Annotated[
        int, typer.Option(help="Draw from this many most probable tokens; 0: all.")
    ] = 0,
    top_p: Annotated[
        float, typer.Option(help="Draw from the fewest tokens with this probability together.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run the code that comes with the model.")
    ] = False,
    grammar: Annotated[
        Literal["pets"] | None,
        typer.Option(help="Show the exact next word of this built-in corpus beside the model's."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Also write Markdown, CSV and a figure to here.", metavar="FOLDER"),
    ] = None,
) -> None:
    """Continue prompts and show the most probable tokens of each step, with raw probabilities."""
    quiet_libraries()
    from hfbench.generation import generate as generation
    from hfbench.generation.table import print_generations, write_generations

    loaded, tokenizer = generation.load_language_model(model, trust_remote_code=trust_remote_code)
    generations = generation.generate(
        loaded,
        tokenizer,
        prompt,
        max_new_tokens=max_new_tokens,
        top=top,
        do_sample=sample,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
    )
    next_words = []
    if grammar:
        from hfbench.generation.next_words import compare_next_words

        next_words = [compare_next_words(loaded, tokenizer, text) for text in prompt]
    print_generations(generations, Console(), next_words)
    if output:
        from hfbench.generation.plot import write_generation_plot

        paths = write_generations(generations, output, next_words)
        _say_written(paths + write_generation_plot(generations, output))


def list_known() -> None:
    """List the presets of the custom GPT, the built-in data, and the recipes in ./recipes."""
    from hfbench.recipe.fields import custom_gpt_presets
    from hfbench.recipe.load import load_recipe
    from hfbench.recipe.model import BUILTIN_CORPORA
    from hfbench.recipe.task import BUILTIN_TASKS

    console = Console(highlight=False)
    console.print("[bold]Presets of the custom GPT[/bold] (layers/heads/width)")
    for name, sizes in custom_gpt_presets().items():
        console.print(f"  {name:<12} {sizes['n_layer']}/{sizes['n_head']}/{sizes['n_embd']}")
    console.print("[bold]Built-in tasks[/bold]  " + ", ".join(BUILTIN_TASKS))
    console.print("[bold]Built-in corpora[/bold]  " + ", ".join(BUILTIN_CORPORA))
    console.print("[bold]Recipes[/bold]")
    for path in sorted(Path("recipes").glob("*.yaml")):
        description = " ".join(load_recipe(path).description.split())
        console.print(f"  {path}: {description}", markup=False)


def check(
    model: Annotated[
        str,
        typer.Argument(
            help="A Hub id, a local folder, or package.module:ConfigClass of your own.",
            metavar="MODEL",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run the code that comes with MODEL.")
    ] = False,
) -> None:
    """Check that a model is a good citizen of transformers and can be compared fairly.

    Exit code 1 if something makes a comparison unfair, 3 if the model is only broken for others.
    """
    quiet_libraries()
    from hfbench.checks import find_checked_model, run_checks
    from hfbench.checks.report import exit_code, format_json, format_report

    checked = find_checked_model(model, trust_remote_code=trust_remote_code)
    found = run_checks(checked, show_progress=not as_json)
    show(format_json(checked, found) if as_json else format_report(checked, found))
    if exit_code(found):
        raise SystemExit(exit_code(found))


def verify(
    results: Annotated[Path, typer.Argument(help="A results folder.", metavar="RESULTS")],
    cells: Annotated[
        list[str] | None,
        typer.Option(
            help="Names of records, also with * and ?; may be given again. By default all.",
            metavar="NAME",
        ),
    ] = None,
    relative_to: Annotated[
        Path, typer.Option(help="Where relative paths of the recipe start.", metavar="FOLDER")
    ] = Path(),
    trust_remote_code: Annotated[
        bool,
        typer.Option(
            "--trust-remote-code",
            help="Run code that is not hfbench's: a checkpoint's, and modules that a record names.",
        ),
    ] = False,
) -> None:
    """Run cells again from their records alone, and say whether the same comes out to the last bit.

    Exit code 1 if it does not. What is no longer as it was recorded (data, code, versions,
    hardware) is named.
    """
    run_verification(results, cells or [], relative_to, trust_remote_code=trust_remote_code)


_VERBS: dict[str, tuple[Callable[..., None], ...]] = {
    "Compare": (compare, plan, pretrain, data, judge, list_known),
    "Results": (table, report, plots, flips, verify, fsck, pack),
    "Models": (check, convert, generate),
    "Publish": (commands.push, commands.push_results, commands.verify_push),
}
"""As --help shows them, in the order in which they are wanted."""
for _group, _verbs in _VERBS.items():
    for _verb in _verbs:
        _name = "list" if _verb is list_known else None
        app.command(_name, rich_help_panel=_group)(_verb)


def main() -> None:
    """Entry point: what can be expected to go wrong is one message, never a traceback."""
    with exit_on_user_error():
        app()


def _print_plan(
    recipe: "Recipe",
    results_dir: Path,
    *,
    rerun: bool = False,
    only_pretraining: bool = False,
    shard: str | None = None,
    difference: float | None = None,
    discordance: float | None = None,
) -> None:
    quiet_libraries()
    from hfbench.cli.plan import Target, print_plan
    from hfbench.recipe.cells import Shard

    all_can_run = print_plan(
        recipe,
        results_dir,
        Console(),
        rerun=rerun,
        only_pretraining=only_pretraining,
        shard=Shard.parse(shard) if shard is not None else None,
        target=Target(difference, discordance),
    )
    if not all_can_run:
        raise typer.Exit(1)


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


def _say_written(paths: list[Path]) -> None:
    Console().print(f"Written: {', '.join(map(str, paths))}", highlight=False, soft_wrap=True)
