"""The verbs that publish. Heavy imports are inside them, as in `cli.app`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hfbench.errors import UserError
from hfbench.system.terminal import Console, note, show, tell

if TYPE_CHECKING:
    from hfbench.publish.push import Pushed, Staged

RepoId = Annotated[str, typer.Option("--repo-id", help="Where to on the Hub: user/name.")]
Private = Annotated[
    bool | None,
    typer.Option(
        "--private/--public",
        help="Who can see a new repo; without either it is private. One that exists stays as it "
        "is.",
        show_default=False,
    ),
]
Revision = Annotated[
    str | None, typer.Option(help="The branch; made if it does not exist.", show_default="main")
]
CreatePr = Annotated[bool, typer.Option("--create-pr", help="Propose it as a pull request.")]
License = Annotated[
    str | None, typer.Option("--license", help="As the Hub names it, e.g. apache-2.0.")
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run the code that comes with the model.")
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Only write the folder that would go up, to RESULTS/push, and list it."
    ),
]
ResultsFolder = Annotated[
    Path, typer.Argument(help="A results folder, e.g. results/quickstart.", metavar="RESULTS")
]


def push(
    results: ResultsFolder,
    repo_id: RepoId,
    model: Annotated[
        str | None,
        typer.Argument(
            help="A model of the recipe; without it the results themselves are published.",
            metavar="[MODEL]",
        ),
    ] = None,
    seed: Annotated[
        str | None,
        typer.Option(
            help="Which run of MODEL: a seed, or the best on the validation examples.",
            show_default="best-of-validation",
        ),
    ] = None,
    private: Private = None,
    revision: Revision = None,
    create_pr: CreatePr = False,
    licence: License = None,
    trust_remote_code: TrustRemoteCode = False,
    space: Annotated[
        bool,
        typer.Option("--space", help="Of results: also publish the report as a static Space."),
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Publish a trained model with its card, or the results as a data set.

    A model must give, bit for bit, the logits of the process that trained it, in a process of its
    own before the upload and after it. Of results the records, predictions, tables and report are
    published, which load_dataset and `hfbench table hf://datasets/USER/NAME` read.
    """
    quiet_client()
    if model is None:
        of_a_model = {"--seed": seed is not None, "--trust-remote-code": trust_remote_code}
        for option, is_given in of_a_model.items():
            if is_given:
                raise UserError(f"{option} is of a MODEL: hfbench push {results} MODEL ...")
        _push_results(
            results,
            repo_id,
            private=private,
            revision=revision,
            create_pr=create_pr,
            licence=licence,
            space=space,
            dry_run=dry_run,
        )
        return
    if space:
        raise UserError("--space is of results: leave MODEL out")
    from hfbench.publish.push import BEST_OF_VALIDATION, push_model, stage_model

    seed = seed or BEST_OF_VALIDATION
    if dry_run:
        folder = _empty(results, repo_id)
        staged = stage_model(
            results,
            model,
            folder,
            repo_id,
            seed=seed,
            licence=licence,
            trust_remote_code=trust_remote_code,
        )
        assert staged.probe is not None
        show(f"{staged.what}\n{staged.listing()}\nproven: {staged.probe.hash}")
        _say_unpublished(folder, private, staged)
        return
    pushed = push_model(
        results,
        model,
        repo_id,
        seed=seed,
        private=private,
        revision=revision,
        create_pr=create_pr,
        licence=licence,
        trust_remote_code=trust_remote_code,
        say=note,
    )
    show(f"proven after the upload: {pushed.proof}")
    _say_published(pushed)


def _push_results(
    results: Path,
    repo_id: str,
    *,
    private: bool | None,
    revision: str | None,
    create_pr: bool,
    licence: str | None,
    space: bool,
    dry_run: bool,
) -> None:
    from hfbench.publish.results import push_results, stage_results

    if dry_run:
        folder = _empty(results, repo_id, prefix="datasets--")
        staged = stage_results(results, folder, repo_id, licence=licence)
        show(f"{staged.what}\n{staged.listing()}")
        _say_unpublished(folder, private, staged)
        return
    for pushed in push_results(
        results,
        repo_id,
        private=private,
        revision=revision,
        create_pr=create_pr,
        licence=licence,
        space=space,
        say=note,
    ):
        _say_published(pushed)


def print_remote_table(address: str, columns: Sequence[str], console: Console) -> None:
    """The table of results on the Hub, made from the records there.

    Raises:
        HubError: if the tables there are, byte for byte, not those of their records.
    """
    from hfbench.cli.results import result_of
    from hfbench.errors import HubError
    from hfbench.evidence.comparison import load_comparison
    from hfbench.evidence.findings import Findings
    from hfbench.evidence.rows import check_columns
    from hfbench.evidence.table import print_table
    from hfbench.publish.results import differing_tables, fetched_results, rebuilt

    quiet_client()

    with fetched_results(address) as (folder, commit):
        differing = differing_tables(folder, Findings.of(load_comparison(folder)))
        comparison = load_comparison(folder, measures=check_columns(columns))
        findings = Findings.of(comparison)
    print_table(findings, console, columns)
    tell({**result_of(findings, address), "commit": commit})
    if differing:
        raise HubError(f"{address}: {', '.join(differing)} there are not those of its records")
    same = f"{', '.join(rebuilt(findings))} there are those of its records, byte for byte."
    console.print(f"{address} at {commit}: {same}", highlight=False, soft_wrap=True)


def quiet_client() -> None:
    """Bars of uploads and downloads only where somebody watches, and no notices between lines."""
    import huggingface_hub

    huggingface_hub.logging.set_verbosity_error()
    if not sys.stderr.isatty():
        huggingface_hub.utils.disable_progress_bars()


def _empty(results: Path, repo_id: str, prefix: str = "") -> Path:
    """A new folder for what would go up to ``repo_id``.

    Raises:
        UserError: if that is no name of a repo, before anything is removed.
        StorageError: if it cannot be made.
    """
    import shutil

    from hfbench.publish.repos import check_repo_id
    from hfbench.records.store import ResultsFolder
    from hfbench.system.files import make_folder

    check_repo_id(repo_id)
    folder = ResultsFolder(results).push(f"{prefix}{repo_id.replace('/', '--')}")
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
    return folder


def _say_unpublished(folder: Path, private: bool | None, staged: "Staged") -> None:
    who = "public" if private is False else "private"
    show(f"Nothing was uploaded; a new repo would be {who}. The folder: {folder}")
    tell({"uploaded": False, "folder": folder, "files": staged.sizes})


def _say_published(pushed: "Pushed") -> None:
    destination = pushed.destination
    tell(
        {
            "uploaded": True,
            "repo_id": destination.repo_id,
            "private": destination.private,
            "commit": pushed.commit.oid,
            "url": pushed.commit.url,
            "logits": pushed.proof,
        }
    )
    show(f"Published ({'private' if destination.private else 'PUBLIC'}): {pushed.commit.url}")
