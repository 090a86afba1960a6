"""Repos on the Hub: looked at before anything is done, changed by one commit, errors in words."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,  # of whichever HTTP client huggingface_hub uses
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    RevisionResolutionError,
)

from hfbench.errors import HubError, UserError, one_line
from hfbench.system.redaction import redact

RepoType = Literal["model", "dataset", "space"]
_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
_NEW_TOKEN = (
    "take one that may write (https://huggingface.co/settings/tokens) and log in with "
    "`hf auth login`"
)


@dataclass(frozen=True)
class Destination:
    """Where something is to go, as it was found."""

    repo_id: str
    repo_type: RepoType
    revision: str
    """The branch; what is to be proposed as a pull request starts from it."""
    create_pr: bool
    exists: bool
    has_branch: bool
    private: bool
    """Of a repo that does not exist yet: as it will be created."""
    head: str | None
    """The branch's commit; None where there is none."""
    files: list[str]
    """What the branch holds now."""

    @property
    def visibility(self) -> str:
        """Who can see it, in words."""
        who = "private" if self.private else "PUBLIC"
        return f"{who} ({'it exists' if self.exists else 'to be created'})"


@dataclass(frozen=True)
class Commit:
    """What was published."""

    oid: str
    url: str
    """Of the repo, or of the pull request."""
    branch: str
    """Where it is: a branch, or the pull request's."""


def look_at(
    repo_id: str,
    repo_type: RepoType,
    *,
    private: bool | None,
    revision: str | None = None,
    create_pr: bool = False,
) -> Destination:
    """Whether one may publish to ``repo_id``, and what is there now.

    Args:
        repo_id: ``user/name`` or ``organisation/name``.
        repo_type: what kind of repo it is.
        private: of a new repo, by default True; an existing one stays as it is.
        revision: a branch, made where there is none; default: main.
        create_pr: whether a pull request is meant.

    Raises:
        UserError: if one may not, or the name or the visibility is wrong.
        HubError: if the Hub cannot be asked.
    """
    check_repo_id(repo_id)
    with hub_errors(repo_id):
        api = HfApi()
        account = api.whoami()
        try:
            info = api.repo_info(repo_id, repo_type=repo_type)
        except RepositoryNotFoundError:
            info = None
        _refuse_account(account, repo_id, create_pr=create_pr)
        if info is None:
            if create_pr:
                raise UserError(f"{repo_id} does not exist: there is nothing to change")
            return Destination(
                repo_id, repo_type, revision or "main", False, False, revision in (None, "main"),
                private is not False, None, [],
            )  # fmt: skip
        if private is not None and private != bool(info.private):
            is_now, wanted = ("private", "public") if info.private else ("public", "private")
            raise UserError(
                f"{repo_id} exists and is {is_now}, not {wanted}: leave out --{wanted}, take "
                "another name, or change its visibility on the Hub"
            )
        branches = {b.name: b.target_commit for b in _branches(api, repo_id, repo_type)}
        start = branches.get(revision or "main", info.sha)
        files = api.list_repo_files(repo_id, repo_type=repo_type, revision=start)
        return Destination(
            repo_id, repo_type, revision or "main", create_pr, True,
            (revision or "main") in branches, bool(info.private), start, files,
        )  # fmt: skip


def upload(destination: Destination, folder: Path, message: str, stale: list[str]) -> Commit:
    """Make the branch (or a pull request) hold the files of ``folder``, by one commit.

    The files go up first and are nothing until that commit, so that whoever looks sees all of it
    or what was there before. Where a commit came in between, it is refused.

    Args:
        destination: as `look_at` found it.
        folder: its files, by their paths.
        message: of the commit.
        stale: files to remove, where they are there.

    Raises:
        UserError, HubError: as for `look_at`; nothing was changed then, but for an empty new repo.
    """
    api = HfApi()
    kind, repo_id = destination.repo_type, destination.repo_id
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    with hub_errors(repo_id):
        if not destination.exists:
            api.create_repo(
                repo_id, repo_type=kind, private=destination.private,
                space_sdk="static" if kind == "space" else None,
            )  # fmt: skip
        if not destination.has_branch and not destination.create_pr:
            api.create_branch(repo_id, repo_type=kind, branch=destination.revision, exist_ok=True)
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(name, folder / name) for name in names
        ]
        operations += [
            CommitOperationDelete(name)
            for name in stale
            if name in destination.files and name not in names
        ]
        made = api.create_commit(
            repo_id, operations, repo_type=kind, revision=destination.revision,
            commit_message=message, parent_commit=destination.head,
            create_pr=destination.create_pr,
        )  # fmt: skip
    url = made.pr_url or f"{_endpoint()}/{'' if kind == 'model' else f'{kind}s/'}{repo_id}"
    return Commit(made.oid, url, made.pr_revision or destination.revision)


def check_repo_id(repo_id: str, given_as: str = "--repo-id") -> None:
    """Raises UserError if the Hub would not allow this name."""
    try:
        huggingface_hub.utils.validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UserError(f"{given_as} {repo_id!r}: {error}") from None
    if repo_id.count("/") != 1:
        raise UserError(f"{given_as} {repo_id!r}: write it as user/name")


@contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """Errors of the client and the Hub as a UserError or a HubError that says what to do.

    Args:
        what: the repo that is asked for.
    """
    try:
        yield
    except LocalTokenNotFoundError:
        raise UserError(f"{what}: there is no token of the Hub here: {_LOG_IN}") from None
    except OfflineModeIsEnabled:
        raise UserError(f"{what}: HF_HUB_OFFLINE is set: unset it to reach the Hub") from None
    except (HTTPError, RevisionResolutionError, ConnectionError, RuntimeError) as error:
        # an upload's error is a RuntimeError of its own, with the reason behind it
        cause = error.__cause__ if type(error) is RuntimeError else error
        if isinstance(cause, HfHubHTTPError):
            raise _explain(cause, what) from None
        if isinstance(cause, HTTPError | RevisionResolutionError | ConnectionError):
            reason = _one_line(cause) or type(cause).__name__
            raise HubError(
                f"{what}: {_endpoint()} cannot be reached ({reason}). Nothing is half-published: "
                "run the same command again when it can, or set HF_ENDPOINT to a mirror"
            ) from None
        raise


def _explain(error: HfHubHTTPError, what: str) -> UserError | HubError:
    status, said = error.response.status_code, _one_line(error.server_message or error)
    if isinstance(error, GatedRepoError):
        return UserError(
            f"{what} is gated: ask for access on {_endpoint()}/{what}, with the account of your "
            "token"
        )
    if isinstance(error, RevisionNotFoundError):
        return UserError(f"{what}: there is no such revision ({said})")
    if isinstance(error, RepositoryNotFoundError) or status == 404:
        return UserError(
            f"{what}: not on {_endpoint()}, or private and not for your token ({said}); check the "
            f"name, or {_LOG_IN}"
        )
    if status == 401:
        return UserError(f"{what}: the Hub does not accept your token ({said}): {_LOG_IN}")
    if status == 403:
        return UserError(f"{what}: your token may not write here ({said}): {_NEW_TOKEN}")
    if status in (409, 412):
        return HubError(
            f"{what} was changed by somebody else meanwhile ({said}). Nothing was published; look "
            "at the change, then run the same command again"
        )
    if status == 429:
        wait = error.response.headers.get("Retry-After")
        after = f"in {wait} seconds" if wait else "later"
        return HubError(f"{what}: the Hub's rate limit is reached; run the same command {after}")
    if 400 <= status < 500:
        return UserError(f"{what}: the Hub refuses this ({status}: {said})")
    return HubError(
        f"{what}: the Hub has a problem of its own ({status}: {said}); run the same command again "
        "later, nothing is half-published"
    )


def _refuse_account(account: dict, repo_id: str, *, create_pr: bool) -> None:
    """Raises UserError if the account or its token may not write to ``repo_id``."""
    owner = repo_id.split("/")[0]
    owners = [account["name"], *(org["name"] for org in account.get("orgs", []))]
    if owner not in owners and not create_pr:
        raise UserError(
            f"{repo_id} belongs to {owner!r}, and you are {account['name']!r}"
            + (f" (of {', '.join(owners[1:])})" if owners[1:] else "")
            + ": take a name of your own, or propose the change with --create-pr"
        )
    token = account.get("auth", {}).get("accessToken", {})
    if token.get("role") == "read":
        raise UserError(f"{repo_id}: your token may only read: {_NEW_TOKEN}")


def _branches(
    api: HfApi, repo_id: str, repo_type: RepoType
) -> list[huggingface_hub.hf_api.GitRefInfo]:
    return api.list_repo_refs(repo_id, repo_type=repo_type).branches


def _endpoint() -> str:
    return redact(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))


def _one_line(message: object) -> str:
    return one_line(redact(str(message)))
