"""A YAML file and overrides -> a checked recipe, or errors that name file, key and value."""

import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from hfbench.errors import UserError, nearest
from hfbench.recipe import Recipe, Section


def load_recipe(path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """Read and check a recipe.

    ``overrides`` are ``key=value`` pairs with dotted keys and YAML values; models are addressed
    by name: ``models.tiny-gpt2.training_arguments.learning_rate=1e-4``.

    Raises:
        UserError: for each mistake, with the file, the key path, the value and what would be right.
    """
    path = Path(path)
    values = _read_yaml(path)
    for override in overrides or []:
        _apply_override(values, override)
    try:
        recipe = Recipe.from_values(values, path.parent)
    except ValidationError as error:
        raise UserError("\n".join(_describe(path, error))) from None
    for key, file in recipe.file_paths.items():
        if not file.is_file():
            raise UserError(f"{path}: {key}: there is no file {str(file)!r}")
    return recipe


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        # YAML 1.2: `2e-5` is a number and `no` is a word, which YAML 1.1 has the other way round
        values = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    except FileNotFoundError:
        siblings = [file.name for file in path.parent.glob("*.yaml")]
        raise UserError(f"there is no recipe {str(path)!r}{nearest(path.name, siblings)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    except YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: a recipe is a mapping of keys; this is {type(values).__name__}")
    return values


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise UserError(f"override {override!r}: write it as key=value")
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise UserError(f"override {override!r}: not a YAML value: {error}") from None
    target: Any = values
    *parents, last = _split_key(key, values)
    for part in parents:
        target = _descend(target, part, override)
    if not isinstance(target, dict):
        raise UserError(f"override {override!r}: {key.rpartition('.')[0]!r} has no keys")
    target[last] = value


def _split_key(key: str, values: dict[str, Any]) -> list[str]:
    """Split at dots, but keep a model's name whole: it may hold dots itself."""
    models = values.get("models")
    names = [str(m.get("name")) for m in models if isinstance(m, dict)] if models else []
    for name in sorted(names, key=len, reverse=True):
        if key.startswith(f"models.{name}."):
            return ["models", name, *key.removeprefix(f"models.{name}.").split(".")]
    return key.split(".")


def _descend(target: Any, part: str, override: str) -> Any:
    if isinstance(target, list):
        named = {str(item.get("name")): item for item in target if isinstance(item, dict)}
        if part not in named:
            known = ", ".join(named)
            raise UserError(
                f"override {override!r}: no model {part!r}{nearest(part, named)} (models: {known})"
            )
        return named[part]
    if not isinstance(target, dict):
        raise UserError(f"override {override!r}: {part!r} is not inside a mapping")
    if target.get(part) is None:
        target[part] = {}
    return target[part]


def _describe(path: Path, error: ValidationError) -> list[str]:
    """One line a mistake: file, key path, what was wrong with which value."""
    lines = []
    for detail in error.errors(include_url=False):
        # strip the names that pydantic adds for the members of a union
        parts = [part for part in detail["loc"] if not _is_union_member(part)]
        key = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts).lstrip(".")
        message = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "missing":
            message = "this key is required"
        elif detail["type"] == "extra_forbidden":
            known = _section_at(parts[:-1]).model_fields
            message = f"unknown key{nearest(str(parts[-1]), known)} (known: {', '.join(known)})"
        elif detail["type"] == "literal_error":
            expected = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected")))
            hint = get_close_matches(str(detail["input"]), expected, n=1)
            message += f", not {detail['input']!r}"
            message += f"; did you mean {hint[0]!r}?" if hint else ""
        elif detail["type"] != "value_error":
            message += f", not {detail['input']!r}"
        lines.append(f"{path}: {key + ': ' if key else ''}{message}")
    return list(dict.fromkeys(lines))


def _section_at(parts: list[int | str]) -> type[Section]:
    """The section of the recipe that a key path leads to."""
    section: type[Section] = Recipe
    for part in parts:
        if isinstance(part, str):
            section = _section_in(section.model_fields[part].annotation) or section
    return section


def _section_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(_section_in, get_args(annotation))), None)


def _is_union_member(part: int | str) -> bool:
    return isinstance(part, str) and (
        part in ("str", "int", "float", "constrained-int", "constrained-float")
        or part.startswith(("list[", "function-", "constrained"))
    )
