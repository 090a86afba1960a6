"""By what a result is known again: the hash of its identity, and where two identities differ.

What an identity holds is `execution.identity`'s matter. Here is what a record needs of it.
"""

import hashlib
import json
from typing import Any

from hfbench.recipe.arguments import deciding_arguments
from hfbench.recipe.types import Kind

_HASH_SHOWN = 12  # hexadecimal digits, where a difference is said


def cell_id(identity: dict[str, Any]) -> str:
    """SHA-256 (hex) of an identity; equal for equal ones, whatever their key order."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def concepts(
    kind: Kind,
    *,
    control: str | None = None,
    is_custom_gpt: bool = False,
    is_pretrained: bool = False,
    has_lora: bool = False,
) -> list[str]:
    """The parts of hfbench whose versions decide the result of such a cell.

    ``control``: its name; None: an estimator. ``is_pretrained``: by hfbench, here.
    """
    if kind == "predictions":
        return ["data", "data.answers", "metrics"]
    if kind == "control":
        return [f"control.{control}" if control else "estimator", "metrics"]
    names = ["data", "metrics", "models"]
    is_trained = kind in ("classification", "pretraining")
    names += ["training"] if is_trained or is_pretrained else []
    names += [] if is_trained else [kind]
    names += ["models.custom_gpt"] if is_custom_gpt else []
    return names + (["models.lora"] if has_lora else [])


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


def upgrade(record: dict[str, Any]) -> dict[str, Any]:
    """What a record of schema 2 says, in the words of schema 3.

    There, a control was a classification, what was not known was null, and the identity had the
    hashes of hfbench's modules: all of them are version 1 of their concepts. The arguments that
    only observe were a part of it, too.

    Raises:
        LookupError, TypeError, AttributeError: if it is none of schema 2.
    """
    new = {name: value for name, value in record.items() if value is not None}
    new |= {"schema_version": 3, "seed": record["seed"]}
    if record["kind"] == "classification" and "control" in record["settings"]["models"][0]:
        new["kind"] = "control"
    if record["status"] == "failed" or new["kind"] == "control":
        new = {name: value for name, value in new.items() if value != {} or name == "identity"}
    if identity := record.get("identity"):
        new["code_hashes"] = identity["code"]
        new["identity"] = _upgrade_identity(identity)
        new["cell_id"] = cell_id(new["identity"])
    return new


def _upgrade_identity(old: dict[str, Any]) -> dict[str, Any]:
    new = _without_observers(old)
    control, training = old.get("control"), old.get("training", {})
    kind: Kind = "control" if control else old["kind"]
    names = concepts(
        kind,
        control=control,
        is_custom_gpt=old.get("model", {}).get("class") == "CustomGPTConfig",
        has_lora=bool(training.get("lora")),
    )
    return {**new, "kind": kind, "code": dict.fromkeys(names, 1)}


def _without_observers(identity: dict[str, Any]) -> dict[str, Any]:
    new = dict(identity)
    if training := identity.get("training"):
        arguments = deciding_arguments(training["arguments"])
        new["training"] = {**training, "arguments": arguments}
    if pretraining := identity.get("pretraining"):
        new["pretraining"] = _without_observers(pretraining)
    return new


def _short(value: Any) -> str:
    is_hash = isinstance(value, str) and len(value) in (40, 64)
    return value[:_HASH_SHOWN] if is_hash else json.dumps(value)
