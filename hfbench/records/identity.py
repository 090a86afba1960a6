"""The hash of an identity, by which a result is known again, and where two identities differ."""

import hashlib
import json
from typing import Any

_HASH_SHOWN = 12  # hexadecimal digits, where a difference is said


def cell_id(identity: dict[str, Any]) -> str:
    """SHA-256 (hex) of an identity; equal for equal ones, whatever their key order."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def differences(old: dict[str, Any], new: dict[str, Any], path: str = "") -> list[str]:
    """Where two identities differ, a line each: ``training.max_length: 64 -> 32``."""
    lines = []
    for key in dict.fromkeys((*old, *new)):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differences(before, after, f"{path}{key}.")
        elif before != after:
            lines.append(f"{path}{key}: {_short(before)} -> {_short(after)}")
    return lines


def _short(value: Any) -> str:
    is_hash = isinstance(value, str) and len(value) in (40, 64)
    return value[:_HASH_SHOWN] if is_hash else json.dumps(value)
