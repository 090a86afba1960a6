"""What must not be published: tokens, paths of this machine, its name and its user's.

Two nets. Records are shortened where it is known that they hold paths; then every byte of what is
to go up is searched, and anything found refuses the push.
"""

import getpass
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hfbench.errors import UserError
from hfbench.records.schema import Record, record_class
from hfbench.system.redaction import SECRET_PATTERNS, own_secrets

_OFFICIAL = "https://huggingface.co"
_ROOTS = r"/(?:home|Users|root|mnt|media|srv|opt|tmp|var|private|scratch|data|workspace)/"
_POSIX_PATH = r"(?<![\w.:/~-])(?:~/|/[\w.@+-]+/)[^\s'\"`,;:()\[\]{}<>|]*"
_WINDOWS_PATH = r"(?<!\w)[A-Za-z]:[\\/](?![\\/])[^\s'\"`,;()\[\]{}<>|]*"
_PATH = re.compile(f"{_POSIX_PATH}|{_WINDOWS_PATH}")
_WHOLE_PATH = re.compile(r"(?:~?/[^/\n]|~$|[A-Za-z]:[\\/])[^\n]*")
# Vocabularies hold any word and weights any bytes; names are looked for in what is written for it.
_NAMELESS = {"tokenizer.json", "vocab.json", "vocab.txt", "merges.txt"}
_BINARY = {".safetensors", ".parquet", ".png", ".model"}
# User and machine names that say nothing about anybody.
_ANYBODY = {"root", "user", "admin", "ubuntu", "debian", "runner", "jovyan", "localhost", "docker"}


def shorten_paths(record: Record) -> Record:
    """The record without folders of the machine it was made on and without its mirror's address.

    Of each absolute path the last part is left, after an ellipsis.
    """
    values = _shorten(record.model_dump(mode="json"))
    if values["environment"].get("hub_endpoint", _OFFICIAL) != _OFFICIAL:
        values["environment"]["hub_endpoint"] = "a mirror of the Hub"
    return record_class(values).model_validate(values)


def refuse_leaks(folder: Path, repo_id: str) -> None:
    """Search every byte of every file in ``folder``.

    Raises:
        UserError: naming each file and what is in it, never the secret itself.
    """
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        found += [f"{name}: {what}" for what in find_leaks(path, repo_id)]
    if found:
        raise UserError(
            "nothing was uploaded, because it would publish\n  "
            + "\n  ".join(found)
            + "\nTake it out of the recipe, the data's labels or the model's files, and run the "
            "cell again"
        )


def find_leaks(path: Path, repo_id: str) -> Iterator[str]:
    """What a file would give away, in words."""
    content = path.read_bytes()
    for what, secret in own_secrets():
        if secret.encode() in content:
            yield what
    for what, pattern in SECRET_PATTERNS.items():
        if re.search(pattern.encode(), content):
            yield what
    for place in _own_places():
        if f"{place}{os.sep}".encode() in content or content.rstrip().endswith(place.encode()):
            yield f"the path {place}"
    if path.name in _NAMELESS or path.suffix in _BINARY:
        return
    text = content.decode("utf-8", "replace")
    for match in re.finditer(rf"(?<![\w.:/-]){_ROOTS}[^\s'\"`<>)]+", text):
        yield f"the path {match[0]}"
    for what, name in _own_names(repo_id):
        if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text):
            yield f"{what} ({name})"


def _shorten(value: Any) -> Any:
    if isinstance(value, dict):
        return {_shorten(key): _shorten(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shorten(item) for item in value]
    if not isinstance(value, str):
        return value
    if _WHOLE_PATH.fullmatch(value):  # it may hold blanks
        return _last_part(value)
    return _PATH.sub(lambda match: _last_part(match[0]), value)


def _last_part(path: str) -> str:
    return "…/" + re.split(r"[\\/]", path.rstrip("\\/"))[-1]


def _own_places() -> set[str]:
    """Folders of this machine in which work is done."""
    places = [Path.home(), Path.cwd(), Path(sys.prefix)]
    if home := os.environ.get("HF_HOME"):
        places.append(Path(home))
    return {str(place) for place in places if len(place.parts) > 1}


def _own_names(repo_id: str) -> Iterator[tuple[str, str]]:
    public = {*_ANYBODY, *re.split(r"[/._-]", repo_id), repo_id.split("/")[0]}
    host = socket.gethostname()
    names = {"this machine's name": {host, host.split(".")[0]}}
    try:
        names["your user name"] = {getpass.getuser()}
    except (KeyError, OSError):  # a container's user may have no name
        names["your user name"] = set()
    for what, candidates in names.items():
        for name in sorted(candidates):
            if len(name) >= 4 and name.lower() not in public:
                yield what, name
