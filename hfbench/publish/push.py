"""A trained model to the Hub: staged, searched, proven, uploaded by one commit, proven again."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from hfbench.errors import HubError, UserError
from hfbench.evidence.comparison import compare_records
from hfbench.evidence.findings import Findings
from hfbench.evidence.flips import find_model
from hfbench.publish.bundle import (
    CARD,
    EVAL_RESULTS,
    RECORD,
    choose_run,
    foreign_code,
    is_ours,
    is_published_model,
    stage_files,
)
from hfbench.publish.card import eval_results_yaml, mark_broken, render_model_card
from hfbench.publish.leaks import refuse_leaks, shorten_paths
from hfbench.publish.proof import NotTheModelError, Source, prove
from hfbench.publish.published_run import PublishedRun
from hfbench.publish.repos import Commit, Destination, check_repo_id, hub_errors, look_at, upload
from hfbench.records.asked import load_asked
from hfbench.records.record_file import as_json, load_record
from hfbench.records.schema import ClassificationRecord, Probe, Record
from hfbench.records.store import ResultsFolder, load_records
from hfbench.system.files import make_folder, writing
from hfbench.system.hub import refuse_code_elsewhere
from hfbench.system.sandbox import no_sandbox

BEST_OF_VALIDATION = "best-of-validation"

Say = Callable[[str], None]
"""Tells how far a push is."""


@dataclass(frozen=True)
class Staged:
    """A folder as it would go up, searched for leaks."""

    folder: Path
    what: str
    """In words: which run, or how many records."""
    left_out: list[str]
    """Files beside the published ones that are not on the allow-list."""

    @property
    def sizes(self) -> dict[str, int]:
        """Path -> bytes."""
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in paths}

    def listing(self) -> str:
        """The files with their sizes, and what stays behind."""
        sizes = self.sizes
        lines = [f"  {size:>12,}  {name}" for name, size in sizes.items()]
        lines.append(f"  {sum(sizes.values()):>12,}  bytes in {len(sizes)} files")
        if self.left_out:
            lines.append(f"  stays behind: {', '.join(self.left_out)}")
        return "\n".join(lines)


@dataclass(frozen=True)
class StagedModel(Staged):
    """The folder of a model, proven."""

    record: ClassificationRecord
    """Of the run, as it is published."""
    probe: Probe
    """By which it was proven."""


@dataclass(frozen=True)
class Pushed:
    """What was published and where."""

    destination: Destination
    commit: Commit
    proof: str | None = None
    """SHA-256 of a model's logits, as `Probe.hash`."""


def stage_model(
    results: Path,
    model: str,
    folder: Path,
    repo_id: str,
    *,
    seed: str = BEST_OF_VALIDATION,
    licence: str | None = None,
    trust_remote_code: bool = False,
) -> StagedModel:
    """Write into ``folder`` what is published of a trained model, and prove it there.

    Args:
        results: a results folder.
        model: its name in the recipe.
        folder: where to; new or empty.
        repo_id: for which repo; the card names it.
        seed: the seed of the run, or ``best-of-validation``.
        licence: as the Hub names it.
        trust_remote_code: run code beside the weights that is not hfbench's, too.

    Raises:
        UserError: if there is no such run, its weights were not kept or are not those of the
            record, something would leak, it brings code that may not run, or it does not load by
            itself.
        StorageError: if the folder cannot be written.
    """
    check_repo_id(repo_id)
    records = [shorten_paths(record) for record in load_records(results)]
    findings = Findings.of(compare_records(records, results, load_asked(results)))
    runs = find_model(findings.comparison.models, model, results)
    choice = choose_run(runs, seed, results)
    record, checkpoint = choice.record, ResultsFolder(results).weights(choice.record.stem)
    with writing(str(folder)):
        left_out = stage_files(checkpoint, folder)
    if record.probe is None:
        raise UserError(
            f"{results / 'records' / record.stem}.json has no logits by which the weights could be "
            "proven; run `hfbench compare RECIPE save_models=true --rerun`"
        )
    brings_code = any(folder.glob("*.py"))
    if not trust_remote_code and (foreign := foreign_code(folder)):
        raise UserError(
            f"{checkpoint} brings code that is not hfbench's ({', '.join(foreign)}) and would be "
            "run: read it, then allow it with --trust-remote-code"
        )
    run = PublishedRun(findings, runs, choice, repo_id, licence, brings_code)
    texts = {CARD: render_model_card(run), RECORD: as_json(choice.record)}
    if entries := eval_results_yaml(run):
        texts[EVAL_RESULTS] = entries
    for name, text in texts.items():
        make_folder((folder / name).parent)
        with writing(str(folder / name)):
            (folder / name).write_text(text, encoding="utf-8")
    refuse_leaks(folder, repo_id)
    try:
        prove(Source(str(folder.resolve()), trust_remote_code=brings_code), record.probe)
    except NotTheModelError as error:
        raise UserError(f"{checkpoint} is not published: {error}") from None
    what = f"{model}, seed {record.seed} ({choice.reason})"
    return StagedModel(folder, what, left_out, record, record.probe)


def push_model(
    results: str | Path,
    model: str,
    repo_id: str,
    *,
    seed: str = BEST_OF_VALIDATION,
    private: bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    licence: str | None = None,
    trust_remote_code: bool = False,
    say: Say = lambda message: None,
) -> Pushed:
    """Publish the weights of one run, with its card and record, proven before and after.

    Args:
        results: a results folder.
        model: its name in the recipe.
        repo_id: ``user/name``.
        seed: the seed of the run, or ``best-of-validation``.
        licence: as the Hub names it.
        trust_remote_code: run code beside the weights that is not hfbench's, too.
        private: of a new repo, by default True.
        revision: the branch to publish to; default: main.
        create_pr: propose it as a pull request instead.
        say: is told each step.

    Raises:
        UserError: before anything is uploaded, if it may not or should not be.
        HubError: if the Hub failed, or what it holds now did not pass the proof.
    """
    destination = look_at(repo_id, "model", private=private, revision=revision, create_pr=create_pr)
    say(f"{repo_id}: {destination.visibility}")
    with tempfile.TemporaryDirectory(prefix="hfbench-push-") as temporary:
        folder = Path(temporary) / "model"
        staged = stage_model(
            Path(results), model, folder, repo_id, seed=seed, licence=licence,
            trust_remote_code=trust_remote_code,
        )  # fmt: skip
        say(f"{staged.what}\n{staged.listing()}\nproven before the upload: {staged.probe.hash}")
        if any(folder.glob("*.py")) and (reason := no_sandbox()):
            say(f"its code ran outside a sandbox: {reason}")
        _refuse_closed_base(staged.record, destination, licence)
        stale = [name for name in destination.files if is_ours(name)]
        commit = upload(destination, folder, f"Publish {model} with hfbench", stale)
        say(f"uploaded: commit {commit.oid}")
        try:
            brings_code = any(folder.glob("*.py"))
            source = Source(repo_id, commit.oid, trust_remote_code=brings_code)
            proof = prove(source, staged.probe)
        except NotTheModelError as error:
            raise _mark_broken(destination, commit, folder, str(error)) from None
    return Pushed(destination, commit, proof)


def verify_push(
    model: str | Path, revision: str | None = None, *, trust_remote_code: bool = False
) -> tuple[str | None, str]:
    """Repeat the proof of a published model; gives the commit and the hash of its logits.

    Args:
        model: ``user/name`` of the Hub, or a folder, such as a download or what a dry run wrote;
            of a folder there is no commit.
        revision: a branch, tag or commit of the Hub.
        trust_remote_code: run the code that comes with it.

    Raises:
        UserError: if there is no such repo, hfbench did not publish it, or it brings code that may
            not run.
        NotTheModelError: if it is not the model that its record is of.
        HubError: if the Hub cannot be asked.
    """
    name = str(model)
    if is_published_model(Path(model)):
        if revision is not None:
            raise UserError(f"--revision is of a model of the Hub, and {name} is a folder")
        commit, names = None, {path.name for path in Path(model).iterdir()}
        record = load_record(Path(model) / RECORD)
        source = Source(str(Path(model).resolve()), None, trust_remote_code=trust_remote_code)
    else:
        commit, names, record = _published(name, revision)
        source = Source(name, commit, trust_remote_code=trust_remote_code)
    if any(file.endswith(".py") for file in names) and not trust_remote_code:
        raise UserError(
            f"{name} brings code of its own: read it, then allow it with --trust-remote-code"
        )
    if not isinstance(record, ClassificationRecord) or record.probe is None:
        raise UserError(f"{name}: its {RECORD} has no logits to compare with")
    if trust_remote_code:
        refuse_code_elsewhere(name, commit, name)
    return commit, prove(source, record.probe)


def _published(repo_id: str, revision: str | None) -> tuple[str, set[str], Record]:
    """The commit of a model on the Hub, the names of its files and its record."""
    check_repo_id(repo_id, "verify")
    with tempfile.TemporaryDirectory() as folder:
        with hub_errors(repo_id):
            info = HfApi().model_info(repo_id, revision=revision)
            names = {sibling.rfilename for sibling in info.siblings or []}
            if RECORD not in names:
                raise UserError(f"{repo_id}: there is no {RECORD}: hfbench did not publish it")
            HfApi().hf_hub_download(repo_id, RECORD, revision=info.sha, local_dir=folder)
        record = load_record(Path(folder) / RECORD)
    assert info.sha is not None
    return info.sha, names, record


def _refuse_closed_base(
    record: ClassificationRecord, destination: Destination, licence: str | None
) -> None:
    """What is made of a private or gated model must not become public by an oversight.

    Raises:
        UserError: if the base model is private, or gated and no licence is named.
    """
    entry = record.settings["models"][0]
    base = entry.get("model_name_or_path")
    if destination.private or not base or record.model_facts.revision is None:
        return
    advice = "publish it with --private"
    with hub_errors(base):
        try:
            info = HfApi().model_info(base)
        except GatedRepoError:
            raise UserError(f"the base model {base} is gated: {advice}") from None
        except RepositoryNotFoundError:
            raise UserError(
                f"the base model {base} is not on the Hub, or private: {advice}"
            ) from None
    if info.private:
        raise UserError(f"the base model {base} is private: {advice}")
    if info.gated and licence is None:
        raise UserError(
            f"the base model {base} is gated: {advice}, or name the licence that lets you publish "
            "what is made of it: --license"
        )


def _mark_broken(destination: Destination, commit: Commit, folder: Path, reason: str) -> HubError:
    """Put a warning on the published card; gives the error to raise."""
    card = folder / CARD
    text = mark_broken(card.read_text("utf-8"), reason)
    with hub_errors(destination.repo_id):
        HfApi().upload_file(
            path_or_fileobj=text.encode(),
            path_in_repo=CARD,
            repo_id=destination.repo_id,
            revision=commit.branch,
            commit_message="Mark as broken: it did not pass its proof",
        )
    return HubError(
        f"{destination.repo_id} was uploaded (commit {commit.oid}), but did not pass its proof: "
        f"{reason}. Its card says so now; push it again, or delete it"
    )
