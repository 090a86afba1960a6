"""Hashes: of a model's weights, whatever the file that they are in, and of files."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def hash_tensors(tensors: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a state dictionary: each tensor's name, shape and bytes, by name.

    Other processes run the source of this function, without hfbench.
    """
    import hashlib

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().float().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).numpy())  # its memory as it is, without a copy
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    return _hash_bytes([path])


def hash_files(folder: Path, suffixes: tuple[str, ...]) -> str:
    """SHA-256 (hex) of the bytes of a folder's files that end in ``suffixes``, one after another.

    In the order of their names; files of folders in it do not count.
    """
    return _hash_bytes([path for path in sorted(folder.iterdir()) if path.suffix in suffixes])


def _hash_bytes(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def hash_texts(texts: Iterable[str]) -> str:
    """SHA-256 of the texts, each with a zero byte after it."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()
