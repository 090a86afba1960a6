"""What loading from the Hub has in common: the commit that a name stands for, and clear errors."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from pickle import UnpicklingError

import huggingface_hub
from datasets.exceptions import DatasetsError
from huggingface_hub.errors import HTTPError, RevisionResolutionError, StrictDataclassError
from safetensors import SafetensorError

from hfbench.errors import UserError
from hfbench.system.code_references import DATA_FILES, find_code_files
from hfbench.system.hashes import hash_file
from hfbench.system.redaction import redact

_WEIGHTS = ["*.safetensors", "*.bin"]


def resolve_revision(
    name: str | None, revision: str | None, repo_type: str, key: str
) -> str | None:
    """The commit of a Hub repo that ``revision`` (default: its main branch) stands for.

    A local folder or no name at all has none. Loading everything of a run by this commit means
    that a repo which moves meanwhile cannot mix two versions.

    Raises:
        UserError: naming ``key``, if the Hub has no such repo or cannot be reached.
    """
    if name is None or Path(name).is_dir():
        return None
    if Path(name).is_file():
        raise UserError(f"{key}: {name!r} is a file; its folder is wanted")
    if not re.fullmatch(r"([\w.-]+/)?[\w.-]+", name, re.ASCII) or ".." in name:
        raise UserError(
            f"{key}: {name!r} is no folder here, and no name on the Hub, which is user/name"
        )
    with user_errors(f"{key}: {name}" + (f" at revision {revision!r}" if revision else "")):
        return huggingface_hub.resolve_revision(
            name, repo_type=repo_type, revision=revision
        ).resolved


def refuse_adapter(name: str, revision: str | None, key: str) -> None:
    """Refuse adapters, for which transformers would load whatever model they name as their base.

    Raises:
        UserError: naming ``key``, if there is an adapter in this repo or folder.
    """
    from transformers.utils import find_adapter_config_file  # who reads data alone needs it not

    if find_adapter_config_file(name, revision=revision):
        raise UserError(
            f"{key}: {name} holds an adapter (adapter_config.json), which stands on another model "
            "that it names; merge the two and save the result as one model"
        )


def refuse_code_elsewhere(name: str, revision: str | None, key: str) -> None:
    """Refuse a checkpoint whose settings name code that does not lie beside them.

    To be asked before its own code may run: that code was read, the other was not.

    Raises:
        UserError: naming ``key``, file and key of the checkpoint.
    """
    folder = Path(name)
    with user_errors(f"{key}: the settings of {name}"):
        if not folder.is_dir():
            wanted = ["*.json", "*.py"]
            folder = Path(
                huggingface_hub.snapshot_download(
                    name, revision=revision, allow_patterns=wanted, ignore_patterns=[*DATA_FILES]
                )
            )
        find_code_files(folder)


@cache
def refuse_damaged_download(name: str, revision: str, key: str) -> None:
    """Refuse weights of the Hub that are not those of which its commit speaks.

    The client names a large file in its cache by the SHA-256 that the Hub gave, and checks its
    size alone. What lies there without such a name, as where links are not possible, is not asked.

    Raises:
        UserError: naming ``key`` and the file.
    """
    with user_errors(f"{key}: the weights of {name}"):
        folder = huggingface_hub.snapshot_download(
            name, revision=revision, allow_patterns=_WEIGHTS, local_files_only=True
        )
    for link in sorted(path for pattern in _WEIGHTS for path in Path(folder).rglob(pattern)):
        file = link.resolve()
        if re.fullmatch("[0-9a-f]{64}", file.name) and hash_file(file) != file.name:
            raise UserError(
                f"{key}: {link.name} of {name} was damaged when it was downloaded, or since: its "
                f"SHA-256 is not {file.name}; remove {file} and run the same command again"
            )


@contextmanager
def user_errors(what: str) -> Iterator[None]:
    """A loader's error as a UserError that says ``what`` was to be loaded, and the reason."""
    try:
        yield
    except UserError:
        raise
    except UnpicklingError as error:  # its own message tells how to let the file run code
        raise UserError(
            f"{what} cannot be loaded: its weights are a pickle that asks for more than tensors, "
            "by which it could run any code; take a checkpoint whose weights are safetensors"
        ) from error
    # HTTP errors and offline mode are OSErrors; bad repo names and Arrow's complaints ValueErrors;
    # a data set that is a script is a RuntimeError, a library that is not there an ImportError,
    # a pickle that was cut off an EOFError, JSON of another form a TypeError or a KeyError
    except (
        OSError,
        ValueError,
        RuntimeError,
        ImportError,
        EOFError,
        TypeError,
        LookupError,
        SafetensorError,
        DatasetsError,
        RevisionResolutionError,
        StrictDataclassError,
    ) as error:
        # of a file that is not what it should be, datasets says no more than that it failed
        cause = error.__cause__ if isinstance(error, DatasetsError) else None
        # of a download that was cut off, transformers says that there is no such model
        cause = cause or next((e for e in _chain(error) if isinstance(e, HTTPError)), None)
        reason = redact(" ".join(str(cause or error).split()))[:600]
        if not reason or isinstance(error, LookupError):  # whose text is the key alone
            reason = f"{type(error).__name__} {reason}".strip()
        endpoint = os.environ.get("HF_ENDPOINT")
        asked = f" (HF_ENDPOINT is {redact(endpoint)})" if endpoint else ""
        raise UserError(f"{what} cannot be loaded{asked}: {reason}") from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those on whose way it arose."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
