"""From a recipe to its results, said in the end; the body of the verbs and of the scripts.

Heavy imports are inside the functions, for the sake of --help.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hfbench import api
from hfbench.errors import UserError
from hfbench.system.garbage import no_garbage_collection
from hfbench.system.launch import is_launched, is_main_process
from hfbench.system.quiet import quiet_libraries
from hfbench.system.terminal import SPEECH, Console, note, show, tell

if TYPE_CHECKING:
    from hfbench.evidence.overall import Overall
    from hfbench.execution.compare import Outcome
    from hfbench.execution.progress import View
    from hfbench.recipe.cells import Cell
    from hfbench.recipe.schema import Recipe
    from hfbench.records.store import ResultsFolder


def run_comparison(
    recipe: "Recipe",
    results_dir: Path,
    *,
    rerun: bool = False,
    jobs: int | None = None,
    fail_fast: bool = False,
    shard: str | None = None,
    engine: Literal["local", "ray"] = "local",
) -> None:
    """Compare, write and print the table, and say where it is.

    Raises:
        SystemExit: with code 1, if a cell failed.
    """
    from hfbench.recipe.cells import Shard

    if shard is not None:
        Shard.parse(shard)  # here: a mistake is told before torch is imported
    if engine == "ray" and jobs is not None:
        raise UserError(
            "--jobs is for this machine; with --engine ray, Ray decides where cells run"
        )
    say_loading(recipe)
    new = _new_networks(recipe, results_dir) if engine == "local" else []
    _expect_workers(new, jobs)
    _import_what_trains()
    _expect_gpu(recipe, new, jobs)
    with _stoppable(), _process_group():
        outcome = api.compare(
            recipe,
            results_dir,
            view=_events(),
            rerun=rerun,
            jobs=jobs,
            fail_fast=fail_fast,
            shard=shard,
            engine=engine,
        )
    tables: list[str] = []
    if is_main_process() and (outcome.results or outcome.kept):  # more shards than cells
        tables = [path.name for path in write_tables(outcome.results_folder, Console())]
    shown = f"tables: {', '.join(tables)}; " if tables else ""
    where = "each task: a folder of its own" if recipe.tasks else "evidence: records/"
    _summarise(outcome, f"{shown}{where}")


def write_tables(folder: "ResultsFolder", console: Console) -> list[Path]:
    """Write the tables of a recipe, of each task and over all; print those that are above.

    Returns:
        Their paths.
    """
    from hfbench.evidence.comparison import load_comparison
    from hfbench.evidence.findings import Findings
    from hfbench.evidence.table import print_table, write_table

    tasks, comparisons = folder.tasks, {}
    for one in tasks or [folder]:
        comparison = load_comparison(one.path)
        comparisons[one.path.name] = comparison
        findings = Findings.of(comparison)
        paths = write_table(findings, one.path)
        if not tasks:
            print_table(findings, console)
            return paths
    if len(tasks) < 2:  # a part of the cells has run, of the first task
        return []
    from hfbench.evidence.overall import compare_tasks  # here: it imports scipy.stats

    overall = compare_tasks(comparisons, folder.path.resolve().name)
    return write_overall_table(overall, folder.path, console)


def write_overall_table(overall: "Overall", folder: Path, console: Console) -> list[Path]:
    """Write and print the page over several tasks."""
    from hfbench.evidence.overall_findings import OverallFindings
    from hfbench.evidence.overall_table import print_overall, write_overall
    from hfbench.system.files import make_folder

    findings = OverallFindings.of(overall)
    make_folder(folder)
    paths = write_overall(findings, folder)
    print_overall(findings, console)
    return paths


def run_pretraining(
    recipe: "Recipe",
    results_dir: Path,
    *,
    rerun: bool = False,
    jobs: int | None = None,
    fail_fast: bool = False,
) -> None:
    """Pretrain the recipe's models and say where they are.

    Raises:
        SystemExit: with code 1, if one failed.
    """
    say_loading(recipe)
    new = _new_networks(recipe, results_dir, only_pretraining=True)
    _expect_workers(new, jobs)
    _import_what_trains()
    _expect_gpu(recipe, new, jobs)
    with _stoppable(), _process_group():
        outcome = api.pretrain(
            recipe, results_dir, rerun=rerun, jobs=jobs, fail_fast=fail_fast, view=_events()
        )
    _summarise(outcome, "weights: models/; evidence: records/", only_pretraining=True)


def run_verification(
    results: Path, cells: list[str], relative_to: Path, *, trust_remote_code: bool = False
) -> None:
    """Run cells again and say of each whether the same came out.

    Raises:
        SystemExit: with code 1, if one differs.
    """
    quiet_libraries()
    console = Console(highlight=False)
    say = partial(console.print, markup=False, soft_wrap=True)
    equal: list[bool] = []
    with _stoppable():
        for verdict in api.verify(
            results,
            cells,
            relative_to=relative_to,
            trust_remote_code=trust_remote_code,
            console=console,
        ):
            equal.append(verdict.difference is None)
            found = (
                f"differs first at {verdict.difference}" if verdict.difference else "bit-identical"
            )
            tell(
                {
                    "cell": verdict.record.stem,
                    "identical": verdict.difference is None,
                    "difference": verdict.difference,
                    "changes": verdict.changes,
                }
            )
            say(f"{verdict.record.stem}: {found}")
            for change in verdict.changes:
                say(f"  not as recorded: {change}")
    say(f"{sum(equal)} of {len(equal)} cells are bit-identical.")
    if not all(equal):
        raise SystemExit(1)


def say_loading(recipe: "Recipe") -> None:
    """Say at once what takes seconds: torch is imported, data and tokenizers are read."""
    if is_main_process():
        note(f"{recipe.name}: loading libraries, data and models ...")


def _events() -> "View | None":
    """What shows the events of a comparison, where JSON is wanted."""
    if not SPEECH.json:
        return None
    from hfbench.cli.events import Events

    return Events()


def _new_networks(
    recipe: "Recipe", results_dir: Path, *, only_pretraining: bool = False
) -> "list[Cell]":
    """The cells with a network that have no record: what will run, roughly.

    Whether a record can be read, and is still a result, is seen when everything is loaded.
    """
    from hfbench.recipe.cells import plan_comparison, plan_pretraining
    from hfbench.records.store import ResultsFolder

    cells = plan_pretraining(recipe) if only_pretraining else plan_comparison(recipe)
    folder = ResultsFolder(results_dir / recipe.name)
    networks = [cell for cell in cells if cell.has_network]
    return [cell for cell in networks if not folder.of_task(cell.task).has_record(cell.stem)]


def _expect_workers(new: "list[Cell]", jobs: int | None) -> None:
    """Let what workers are forked from import while this process does, if there may be any."""
    from hfbench.execution import fork_server

    if jobs != 1 and not is_launched() and len(new) > 1:
        fork_server.start()


def _expect_gpu(recipe: "Recipe", new: "list[Cell]", jobs: int | None) -> None:
    """Let CUDA start while data are loaded, if this process will surely train on its one GPU."""
    from hfbench.system.launch import visible_gpus
    from hfbench.training.process import start_cuda

    # of a single cell, before which nothing runs
    alone = len(new) == 1 and not recipe.tune and not (new[0].is_compared and new[0].model.pretrain)
    trains_here = new and not is_launched() and (jobs == 1 or (alone and jobs is None))
    asks_for_cpu = any(cell.training_arguments.get("use_cpu") for cell in new)
    if trains_here and not asks_for_cpu and len(visible_gpus()) == 1:
        start_cuda()


def _import_what_trains() -> None:
    """All at once, for it takes seconds, and a quarter more while garbage is looked for."""
    with no_garbage_collection():
        quiet_libraries()
        import hfbench.execution.compare  # noqa: F401
    gc.freeze()  # it is never garbage, and each search would take half a second for it


@contextmanager
def _stoppable() -> Iterator[None]:
    """Leave on a signal that asks for it, saying how to go on, with the shell's exit code for it.

    A launcher sends its processes more than one, and kills those that do not end in half a minute.
    """
    from hfbench.system.interruption import STOPPING, Interrupted, interruptible

    try:
        with interruptible(*STOPPING, second_ends=not is_launched()):
            yield
    except Interrupted as stop:
        if not is_main_process():
            raise SystemExit(128 + stop.number) from None
        said = f"stopped by {stop}: what is finished is kept, and the same command goes on from"
        with suppress(OSError):  # of a terminal that was closed
            show(f"{said} there", file=sys.stderr)
        raise SystemExit(128 + stop.number) from None


@contextmanager
def _process_group() -> Iterator[None]:
    """Take leave of the other processes.

    A trainer that still holds the group when Python ends makes torch abort the process.
    """
    import torch.distributed

    try:
        yield
    finally:
        if torch.distributed.is_initialized():
            gc.collect()
            torch.distributed.destroy_process_group()


def _were(number: int) -> str:
    return f"{number:,} {'was' if number == 1 else 'were'}"


def _tables_of(outcome: "Outcome") -> dict[str, Any]:
    """For JSON: the result of the comparison, or that of each task."""
    if not SPEECH.json or not (outcome.results or outcome.kept):
        return {}
    from hfbench.cli.results import result_of
    from hfbench.evidence.comparison import load_comparison
    from hfbench.evidence.findings import Findings

    folders = outcome.results_folder.tasks or [outcome.results_folder]
    found = [result_of(Findings.of(load_comparison(one.path)), one.path) for one in folders]
    return {"tasks": found} if outcome.results_folder.tasks else found[0]


def _summarise(outcome: "Outcome", what: str, *, only_pretraining: bool = False) -> None:
    from hfbench.execution.progress import cells_in_words, group_failures

    failed = outcome.failed
    if is_main_process():
        ran = [record for record in outcome.ran if record.status == "finished"]
        counts = [f"{cells_in_words(len(ran))} ran", f"{_were(outcome.kept)} finished before"]
        if outcome.by_others:
            counts.append(f"{_were(outcome.by_others)} run by other processes")
        if failed:
            counts.append(f"{len(failed)} FAILED")
        if outcome.not_run:
            counts.append(f"{_were(outcome.not_run)} not run")
        for line in group_failures(failed):
            show(f"  {line}")
        for problem in outcome.unpublished:
            show(f"  {problem}")
        if not SPEECH.quiet:
            say = Console(highlight=False).print
            say(f"Results in {outcome.folder} ({what}).", markup=False)
        show(f"{', '.join(counts)}.")
        tell(
            {
                "event": "result",
                "results": outcome.folder,
                "ran": len(ran),
                "finished_before": outcome.kept,
                "run_by_others": outcome.by_others,
                "failed": [record.cell_name for record in failed],
                "not_run": outcome.not_run,
                "unpublished": outcome.unpublished,
                **(_tables_of(outcome) if not only_pretraining else {}),
            }
        )
    if failed or outcome.unpublished:
        raise SystemExit(1)
