"""A hash of a model's weights that does not depend on the file that they are in."""

from collections.abc import Mapping
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
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
