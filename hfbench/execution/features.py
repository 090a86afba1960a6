"""Features for probes: computed once, kept beside the records, shared by all cells and workers."""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hfbench.models.rivals.features import compute_features
from hfbench.models.rivals.pooling import Pooling
from hfbench.records.store import ResultsFolder
from hfbench.system.files import atomic, make_folder
from hfbench.system.hashes import hash_tensors
from hfbench.system.locks import wait_for


@dataclass(frozen=True)
class Features:
    """Of all splits, by one pooling."""

    rows: dict[str, np.ndarray]
    """Split -> float32 of shape (examples, width); of train its whole split."""
    seconds: float
    """Of computing them, when that was done."""
    were_there: bool
    """Whether they had been computed before."""


def find_features(
    folder: ResultsFolder,
    about: dict[str, Any],
    splits: dict[str, Any],
    poolings: Sequence[Pooling],
    load: Callable[[], Any],
    pad_token_id: int,
    say: Callable[[str], None],
) -> dict[str, Features]:
    """Features by the name of their pooling: read where they are kept, else computed and kept.

    Args:
        folder: where they are kept.
        about: all that decides them besides the texts and the pooling.
        splits: name -> (hash of its texts, its tokenised data set).
        poolings: of which.
        load: gives the network; called where something must be computed.
        pad_token_id: of its tokenizer.
        say: tells the person what was damaged.

    Raises:
        StorageError: if they cannot be written.
        RecordError: if the folder that keeps them is a link, which may lead anywhere.
    """
    found: dict[str, dict[str, np.ndarray]] = {pooling.name: {} for pooling in poolings}
    seconds, model, were_there = dict.fromkeys(found, 0.0), None, True
    for split, (content_hash, data) in splits.items():
        keys = {p.name: _key({**about, "texts": content_hash, "pooling": p.name}) for p in poolings}
        folder.refuse_links()
        # who has it computes, and others wait for what comes of it
        with wait_for(folder.features(min(keys.values())).with_suffix(".lock")):
            kept = {n: _read(folder.features(key), len(data), say) for n, key in keys.items()}
            missing = [pooling for pooling in poolings if kept[pooling.name] is None]
            if missing:
                model, were_there = model or load(), False
                columns = {name: data[name][:] for name in data.column_names if name != "labels"}
                computed = compute_features(model, columns, missing, pad_token_id)
                for pooling in missing:
                    rows = computed.rows[pooling.name]
                    _write(folder.features(keys[pooling.name]), rows, computed.seconds)
                    kept[pooling.name] = (rows, computed.seconds)
        for name, values in kept.items():
            assert values is not None
            found[name][split], spent = values
            seconds[name] += spent
    return {name: Features(rows, seconds[name], were_there) for name, rows in found.items()}


def _key(about: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _write(path: Path, rows: np.ndarray, seconds: float) -> None:
    make_folder(path.parent)
    metadata = {"seconds": repr(seconds)}
    metadata["sha256"] = _hash(path, rows, metadata["seconds"])
    with atomic(path) as temporary:
        save_file({"features": rows}, temporary, metadata)


def _read(path: Path, examples: int, say: Callable[[str], None]) -> tuple[np.ndarray, float] | None:
    """None where there are none, or not those that were written under this name."""
    if not path.exists():
        return None
    with suppress(SafetensorError, OSError, ValueError, KeyError, TypeError):
        if path.is_file() and not path.is_symlink():
            with safe_open(path, framework="numpy") as file:
                metadata, rows = file.metadata() or {}, file.get_tensor("features")
            is_fitting = rows.dtype == np.float32 and rows.ndim == 2 and len(rows) == examples
            if is_fitting and _hash(path, rows, metadata["seconds"]) == metadata["sha256"]:
                return rows, float(metadata["seconds"])
    say(f"features/{path.name} is damaged: computed again")
    return None


def _hash(path: Path, rows: np.ndarray, seconds: str) -> str:
    """Of what a file holds and of its name: two that were exchanged are noticed, too."""
    import torch

    content = hash_tensors({"features": torch.from_numpy(rows)})
    return hashlib.sha256(f"{path.stem} {seconds} {content}".encode()).hexdigest()
