"""Names and types of a class's fields, read from its source without importing it.

A recipe is checked before anything heavy is imported, yet its keys are the verbatim field names of
``transformers.TrainingArguments`` and of ``CustomGPTConfig``, and importing those takes seconds.
Parsing their source takes milliseconds and cannot fall behind the installed version.
"""

import ast
import importlib.util
import math
import reprlib
from functools import cache
from pathlib import Path
from typing import Any

from hfbench.errors import nearest

CUSTOM_GPT_CONFIG = (
    Path(__file__).parents[1] / "models" / "custom_gpt" / "configuration_custom_gpt.py"
)
_PYTHON_TYPES = {"int": int, "float": (float, int), "bool": bool, "str": str, "dict": dict}
_PYTHON_TYPES |= {"list": list, "None": type(None)}
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 100


@cache
def training_arguments_fields() -> dict[str, str]:
    """Field name -> annotation of the installed ``transformers.TrainingArguments``."""
    spec = importlib.util.find_spec("transformers")  # finds the folder, imports nothing
    assert spec is not None
    assert spec.submodule_search_locations
    source = Path(spec.submodule_search_locations[0]) / "training_args.py"
    return _class_fields(source, "TrainingArguments")


@cache
def custom_gpt_fields() -> dict[str, str]:
    """Field name -> annotation of ``CustomGPTConfig``."""
    return _class_fields(CUSTOM_GPT_CONFIG, "CustomGPTConfig")


@cache
def custom_gpt_presets() -> dict[str, dict[str, int]]:
    """Preset name -> its sizes (n_layer, n_head, n_embd)."""
    for node in ast.parse(CUSTOM_GPT_CONFIG.read_text("utf-8")).body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id="PRESETS")], value=value)
                | ast.AnnAssign(target=ast.Name(id="PRESETS"), value=ast.expr() as value)
            ):
                return ast.literal_eval(value)
    raise AssertionError(f"{CUSTOM_GPT_CONFIG} defines no PRESETS")


def check_field(name: str, value: Any, fields: dict[str, str]) -> str | None:
    """What is wrong with ``name: value`` as one of ``fields``, or None.

    Types that are not plain Python ones (enumerations, say) are given as strings in YAML; their
    values are checked by the class itself.
    """
    if name not in fields:
        return f"unknown key {name!r}{nearest(name, fields)}"
    alternatives = [part.split("[")[0].strip() for part in fields[name].split("|")]
    allowed: list[Any] = [_PYTHON_TYPES.get(part, str) for part in alternatives]
    # bool is a subclass of int: `max_steps: true` is a mistake all the same
    is_allowed = any(isinstance(value, kind) for kind in allowed)
    if not is_allowed or (isinstance(value, bool) and bool not in allowed):
        return f"{name}: {shown(value)} is not of type {fields[name]}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{name}: {value} is not a finite number"
    return None


def shown(value: Any) -> str:
    """A value of a recipe for a message: its ``repr``, and of a long or deep one the beginning."""
    return _SHORT.repr(value)


def _class_fields(source: Path, class_name: str) -> dict[str, str]:
    tree = ast.parse(source.read_text("utf-8"))
    class_node = next(
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name
    )
    return {
        node.target.id: ast.unparse(node.annotation)
        for node in class_node.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
