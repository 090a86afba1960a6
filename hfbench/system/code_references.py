"""Code that a checkpoint's JSON files name: it must lie beside them, where it is hashed and read.

transformers runs what ``auto_map`` (of a configuration, tokenizer or processor) and
``custom_pipelines`` name, from the folder or from any repo (``user/repo--module.Class``), as soon
as it may run the folder's own code; and it takes attention kernels of the Hub (``org/kernel``).
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfbench.errors import UserError

DATA_FILES = ("tokenizer.json", "vocab.json", "*.index.json", "trainer_state.json")
"""Of a checkpoint's JSON files, those that are no settings and may be large."""
_MOST_BYTES = 16_000_000
_RELATIVE_IMPORT = re.compile(r"^\s*from\s+\.(\w+)\s+import", re.MULTILINE)
_KERNELS = {"attn_implementation", "_attn_implementation", "_attn_implementation_internal"}


@dataclass(frozen=True)
class Reference:
    """A place in a JSON file that names code."""

    file: Path
    key: str
    """The dotted path of keys."""
    name: str
    """``module.Class``, or whatever else stands there."""


def find_references(folder: Path) -> list[Reference]:
    """All that the settings in a folder name.

    Raises:
        UserError: if one of its files is no JSON, or too large for settings.
    """
    found = []
    for file in sorted(folder.glob("*.json")):
        if not any(map(file.match, DATA_FILES)) and file.is_file():
            found += [Reference(file, key, name) for key, name in _named(_read(file), "")]
    return found


def find_code_files(folder: Path) -> set[str]:
    """The Python files in a folder that its settings name, and those that these import.

    Raises:
        UserError: naming file and key, if code is named that does not lie in the folder.
    """
    found, waiting = set[str](), set[str]()
    for reference in find_references(folder):
        where = f"{reference.file}: {reference.key}: {reference.name!r}"
        if "--" in reference.name:
            raise UserError(
                f"{where} is code of another repo; only what lies in the same folder may be run"
            )
        if not re.fullmatch(r"\w+\.\w+", reference.name):
            raise UserError(f"{where} is not module.Class, of a module in the same folder")
        waiting.add(f"{reference.name.partition('.')[0]}.py")
    while waiting:
        name = waiting.pop()
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path}: the model's code is not complete: this file is missing")
        found.add(name)
        imported = _RELATIVE_IMPORT.findall(path.read_text("utf-8"))
        waiting |= {f"{module}.py" for module in imported} - found
    return found


def _read(file: Path) -> Any:
    if file.stat().st_size > _MOST_BYTES:
        raise UserError(f"{file}: it has {file.stat().st_size:,} bytes: these are no settings")
    try:
        return json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not valid JSON: {error}") from None


def _named(values: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(values, list):
        for number, value in enumerate(values):
            yield from _named(value, f"{key}[{number}]")
    if not isinstance(values, dict):
        return
    for name, value in values.items():
        path = f"{key}.{name}" if key else name
        if name == "auto_map":
            yield from _strings(value, path)
        elif name == "custom_pipelines" and isinstance(value, dict):
            for task, pipeline in value.items():
                yield from _pipeline(pipeline, f"{path}.{task}")
        elif name in _KERNELS and isinstance(value, str) and "/" in value:
            yield path, value
        else:
            yield from _named(value, path)


def _pipeline(values: Any, key: str) -> Iterator[tuple[str, str]]:
    """Its code, and whatever stands where names of transformers' classes are expected."""
    for name, value in values.items() if isinstance(values, dict) else [("", values)]:
        for path, text in _strings(value, f"{key}.{name}"):
            if name == "impl" or not text.isidentifier():
                yield path, text


def _strings(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    items = value.items() if isinstance(value, dict) else enumerate(
        value if isinstance(value, list) else []
    )  # fmt: skip
    for name, item in items:
        yield from _strings(item, f"{key}.{name}")
