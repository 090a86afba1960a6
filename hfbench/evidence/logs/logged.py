"""What is kept of a log, whatever tool wrote it."""

import json
import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfbench.errors import UserError

MOST_BYTES = 64_000_000
"""Of one JSON text: a sample with all that was said, or the results of a run."""


@dataclass(frozen=True)
class LoggedRun:
    """One model, once through all examples of a task."""

    model: str
    task: str
    scores: dict[str, dict[str, float]]
    """Metric -> example -> a finite number. Of lm-evaluation-harness's filters each has a metric of
    its own, as ``exact_match,strict-match``."""
    contents: dict[str, str]
    """Example -> hash of question and answer, by which it is known to be the same."""
    prompts: dict[str, str]
    """Example -> hash of what the model was shown; empty where it is not known."""
    facts: dict[str, str]
    """What should be the same for all models, in words: version of the task, shots."""
    lower_is_better: set[str] = field(default_factory=set)
    """The metrics of which that is known."""
    source: str = ""
    """The file, for messages."""


def parse(text: str | bytes, where: str) -> Any:
    """A JSON text.

    Raises:
        UserError: if it is none, or too large.
    """
    if len(text) > MOST_BYTES:
        raise UserError(f"{where}: a JSON text of more than {MOST_BYTES:,} bytes is not read")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not valid JSON: {error}") from None


def number(value: Any) -> float | None:
    """A finite number, also true and false; None of anything else."""
    if not isinstance(value, int | float):
        return None
    with suppress(OverflowError):  # a whole number that no float can hold
        if math.isfinite(value):
            return float(value)
    return None


def text_of(values: Any, *keys: str) -> str | None:
    """The text or number at a place in mappings within mappings; None where there is none."""
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return str(values) if isinstance(values, str | int | float) else None


def files_below(folder: Path, endings: Iterable[str]) -> list[Path]:
    """Files with these endings in a folder and below it, no links, in alphabetical order."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.name.endswith(tuple(endings)) and path.is_file() and not path.is_symlink():
            found.append(path)
    return found
