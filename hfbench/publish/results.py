"""Results as a data set of the Hub, there and back: records, predictions, tables, report."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import HfApi
from huggingface_hub.utils import filter_repo_objects

from hfbench.errors import HfbenchError, HubError, UserError
from hfbench.evidence.compared import ComparedModels
from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import Findings
from hfbench.evidence.page import write_report
from hfbench.evidence.table import file_stem, write_table
from hfbench.metrics.registry import metrics_of
from hfbench.publish.card import render_results_card, render_space_card
from hfbench.publish.leaks import refuse_leaks, shorten_paths
from hfbench.publish.push import Pushed, Say, Staged
from hfbench.publish.repos import check_repo_id, hub_errors, look_at, upload
from hfbench.records.predictions import read_predictions_table
from hfbench.records.schema import (
    Compared,
    FailedRecord,
    Record,
    TrainedRecord,
)
from hfbench.records.store import ResultsFolder, load_records
from hfbench.system.files import atomic, make_folder

CARD, TABLE = "README.md", "table.md"

_SCHEME = "hf://datasets/"
_FETCHED = ["records/*.json", "records/*.parquet", "asked.json", TABLE, "*.csv", "*.tex"]
_MOST_FILES, _MOST_BYTES = 50_000, 4 * 2**30
"""Of results that are fetched unseen: 5,000 runs on 100,000 examples have less."""


def stage_results(
    results: Path, folder: Path, repo_id: str, *, licence: str | None = None
) -> Staged:
    """Write into ``folder`` what is published of a results folder.

    Raises:
        UserError: if there is nothing to publish, or something would leak.
        StorageError: if the folder cannot be written.
    """
    check_repo_id(repo_id)
    source, there = ResultsFolder(results), ResultsFolder(folder)
    records = [shorten_paths(record) for record in load_records(results)]
    for record in records:
        table = None
        if isinstance(record, Compared):
            table = read_predictions_table(record, source)
        there.keep(record, table)
    if source.asked_path.exists():
        shutil.copyfile(source.asked_path, there.asked_path)
    records = load_records(folder)
    findings = Findings.of(load_comparison(folder))
    rebuild(findings, folder)
    write_report(findings, folder)
    predicted = [record for record in records if isinstance(record, Compared)]
    if predicted:
        together = pa.concat_tables([_with_run(record, there) for record in predicted])
        _write_parquet(together, folder / "data" / "predictions.parquet")
    scores = _scores(findings.comparison)
    rows = [_run_row(record, scores.get(record.stem, {})) for record in records]
    runs = pa.Table.from_pylist(rows, _run_schema(scores))
    _write_parquet(runs, folder / "data" / "runs.parquet")
    card = render_results_card(findings, repo_id, licence)
    with atomic(folder / CARD) as temporary:
        temporary.write_text(card, encoding="utf-8")
    refuse_leaks(folder, repo_id)
    return Staged(folder, f"{len(records)} records of {findings.comparison.recipe}", [])


def push_results(
    results: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    licence: str | None = None,
    space: bool = False,
    say: Say = lambda message: None,
) -> list[Pushed]:
    """Publish records, predictions, tables and report as a data set; read back and rebuilt.

    Args:
        results: a results folder.
        repo_id: ``user/name``, of the data set and of the Space.
        private: of a new repo, by default True.
        revision: the branch to publish to; default: main.
        create_pr: propose it as a pull request instead.
        licence: as the Hub names it.
        space: also publish the report as a static Space.
        say: is told each step.

    Raises:
        UserError: before anything is uploaded, if it may not or should not be.
        HubError: if the Hub failed, or the tables cannot be rebuilt from what it holds now.
    """
    destination = look_at(
        repo_id, "dataset", private=private, revision=revision, create_pr=create_pr
    )
    say(f"data set {repo_id}: {destination.visibility}")
    place = look_at(repo_id, "space", private=private) if space else None
    with tempfile.TemporaryDirectory(prefix="hfbench-push-") as temporary:
        folder = Path(temporary) / "results"
        staged = stage_results(Path(results), folder, repo_id, licence=licence)
        say(f"{staged.what}\n{staged.listing()}")
        stale = [name for name in destination.files if name.startswith(("records/", "data/"))]
        commit = upload(destination, folder, "Publish results with hfbench", stale)
        say(f"uploaded: commit {commit.oid}")
        address = f"{_SCHEME}{repo_id}@{commit.oid}"
        back = Path(temporary) / "back"
        fetch_results(address, back)
        if differing := differing_tables(back, Findings.of(load_comparison(back))):
            raise HubError(f"{address}: {', '.join(differing)} cannot be rebuilt from its records")
        pushed = [Pushed(destination, commit)]
        if place:
            say(f"Space {repo_id}: {place.visibility}")
            page = Path(temporary) / "space"
            stage_space(folder / "report.html", page, repo_id)
            pushed.append(Pushed(place, upload(place, page, "Publish the report", [])))
    return pushed


def stage_space(report: Path, folder: Path, repo_id: str) -> None:
    """Write into ``folder`` a static Space that shows the report."""
    folder.mkdir()
    shutil.copyfile(report, folder / "index.html")
    (folder / CARD).write_text(render_space_card(repo_id), encoding="utf-8")


def rebuilt(findings: Findings) -> list[str]:
    """What must come out of the records byte for byte."""
    stem = file_stem(findings.comparison.metric.name)
    return [TABLE, f"{stem}.csv", f"{stem}.tex"]


def rebuild(findings: Findings, folder: Path) -> None:
    """Write into ``folder`` what must come out of the records byte for byte."""
    markdown, *_ = write_table(findings, folder)
    markdown.rename(folder / TABLE)  # README.md is the card


def fetch_results(address: str, folder: Path) -> str:
    """Download published results into ``folder``; gives the commit.

    Args:
        address: ``hf://datasets/user/name``, with ``@revision`` at will.
        folder: where ``records/`` and the tables will be.

    Raises:
        UserError: if the address is not of that form, or there is no such repo.
        HubError: if the Hub cannot be asked.
    """
    match = re.fullmatch(rf"{_SCHEME}([^@]+?)(?:@(.+))?/?", address)
    if not match:
        raise UserError(f"{address}: write it as {_SCHEME}user/name or {_SCHEME}user/name@revision")
    repo_id, revision = match.groups()
    check_repo_id(repo_id, _SCHEME)
    with hub_errors(f"{_SCHEME}{repo_id}"):
        api = HfApi()
        info = api.dataset_info(repo_id, revision=revision, files_metadata=True)
        siblings = info.siblings or []
        for sibling in siblings:
            if {"", ".."} & {*re.split(r"[/\\]", sibling.rfilename)}:
                raise HubError(f"{address}: {sibling.rfilename!r} is not a file in it")
        wanted = [
            *filter_repo_objects(siblings, allow_patterns=_FETCHED, key=lambda one: one.rfilename)
        ]
        size = sum(sibling.size or 0 for sibling in wanted)
        if len(wanted) > _MOST_FILES or size > _MOST_BYTES:
            raise HubError(
                f"{address}: {len(wanted):,} files with {size:,} bytes, and at most "
                f"{_MOST_FILES:,} with {_MOST_BYTES:,} are downloaded; fetch it yourself with "
                "`hf download` and give the folder"
            )
        api.snapshot_download(
            repo_id,
            repo_type="dataset",
            revision=info.sha,
            local_dir=folder,
            allow_patterns=_FETCHED,
        )
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's notes on its downloads
    assert info.sha is not None
    return info.sha


@contextmanager
def fetched_results(address: str) -> Iterator[tuple[Path, str]]:
    """Within, published results are in this folder; and their commit.

    What is wrong with a file there is said of the address.

    Raises:
        UserError, HubError: see `fetch_results`.
    """
    with tempfile.TemporaryDirectory() as folder:
        commit = fetch_results(address, Path(folder))
        try:
            yield Path(folder), commit
        except HfbenchError as error:
            raise type(error)(str(error).replace(folder, address)) from None


def differing_tables(folder: Path, findings: Findings) -> list[str]:
    """Which of the tables in ``folder`` are not, byte for byte, what its records give."""
    made = folder / "made"
    made.mkdir()
    rebuild(findings, made)
    return [
        name
        for name in rebuilt(findings)
        if not (folder / name).is_file()
        or (folder / name).read_bytes() != (made / name).read_bytes()
    ]


def _write_parquet(table: pa.Table, path: Path) -> None:
    make_folder(path.parent)
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _with_run(record: Compared, folder: ResultsFolder) -> pa.Table:
    """The predictions of a run with columns that name it."""
    table = read_predictions_table(record, folder)
    size = table.num_rows
    columns = {
        "model": pa.array([record.model] * size, pa.string()),
        "seed": pa.array([record.seed] * size, pa.int64()),
        "train_size": pa.array([record.train_size] * size, pa.int64()),
    }
    for number, (name, values) in enumerate(columns.items()):
        table = table.add_column(number, name, values)
    return table


def _run_schema(scores: dict[str, dict[str, float]]) -> pa.Schema:
    """Of the table of runs; ``scores``: of each run those metrics that have a number."""
    found = dict.fromkeys(name for values in scores.values() for name in values)
    known = [metric.name for metric in metrics_of("single_label_classification")]
    return pa.schema(
        {
            "kind": pa.string(),
            "model": pa.string(),
            "seed": pa.int64(),
            "train_size": pa.int64(),
            "status": pa.string(),
            "failure": pa.string(),
            "evaluation_split": pa.string(),
            **dict.fromkeys(found or known, pa.float64()),
            "steps": pa.int64(),
            "train_seconds": pa.float64(),
            "flops": pa.float64(),  # of a long training more than 64 bits count
            "parameters": pa.int64(),
            "started": pa.string(),
            "record": pa.string(),
        }
    )


def _scores(comparison: ComparedModels) -> dict[str, dict[str, float]]:
    """Stem of a record -> metric -> value, of every run with predictions."""
    return {
        record.stem: scores.values
        for standing in (comparison, *comparison.curve.values())
        for model in standing.finished
        for record, scores in zip(model.finished, model.scores_with(standing.columns), strict=True)
    }


def _run_row(record: Record, scores: dict[str, float]) -> dict[str, Any]:
    """What a record says, by column; a column that it does not name is null."""
    row: dict[str, Any] = {
        "kind": record.kind,
        "model": record.model,
        "seed": record.seed,
        "train_size": record.train_size,
        "status": record.status,
        **scores,
        "started": record.started,
        "record": f"records/{record.stem}.json",
    }
    if isinstance(record, FailedRecord):
        return {**row, "failure": record.failure.message}
    row["parameters"] = record.model_facts.parameters
    if isinstance(record, Compared):
        row["evaluation_split"] = record.task.evaluation_split
        row["train_seconds"] = record.learning_seconds
    if isinstance(record, TrainedRecord):
        training = record.training
        row |= {"steps": training.steps, "flops": training.flops}
        row["train_seconds"] = training.train_seconds
    return row
