"""A YAML file and overrides -> a checked recipe, or errors that name file, key and value."""

import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import Node, ScalarNode

from hfbench.errors import UserError, nearest
from hfbench.recipe.fields import shown
from hfbench.recipe.schema import Recipe
from hfbench.recipe.section import Section
from hfbench.recipe.shipped import shipped_recipes
from hfbench.system.redaction import find_secrets

Made = TypeVar("Made")

# Fifty times what a long recipe has; of such a file the YAML parser, which is Python, makes a
# mapping in a few seconds, and data given for a recipe by mistake are refused unread.
_MOST_BYTES = 128 << 10
# Aliases written out; without any, a file of _MOST_BYTES has less.
_MOST_VALUES = 100_000
_DEEPEST = 30
_MOST_DIGITS = 100
# Control characters and lone halves of a surrogate pair, which "\0" and "\ud800" stand for.
_NO_CHARACTERS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_DATA = (".csv", ".tsv", ".jsonl", ".parquet")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(?<!\.yaml)(?<!\.yml)")
_KINDS = ("str", "int", "float", "bool", "null", "seq", "map", "merge")


def load_recipe(path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """Read and check a recipe.

    ``overrides`` are ``key=value`` pairs with dotted keys and YAML values; models are addressed
    by name: ``models.tiny-gpt2.training_arguments.learning_rate=1e-4``, tasks of several, too, and
    ``tasks.*.first=200`` is for each of them.

    Raises:
        UserError: for each mistake, with the file, the key path, the value and what would be right.
    """
    path = _find(Path(path))
    return check_recipe(_read_yaml(path), overrides or [], path)


def _find(path: Path) -> Path:
    """The file itself or, where there is none of this name, the recipe that comes with hfbench.

    Raises:
        UserError: if it is data, or there is no such recipe.
    """
    try:
        is_there = path.exists() or "\0" in str(path)
    except OSError:
        is_there = True
    if is_there and path.suffix.lower() in _DATA:
        raise UserError(
            f"{path} holds data and is no recipe: `hfbench init {path}` writes one for it"
        )
    if is_there:  # or reading it says what is wrong with its name
        return path
    if str(path) in shipped_recipes():
        return shipped_recipes()[str(path)]
    siblings = [file.name for file in path.parent.glob("*.yaml")]
    hint = nearest(path.name, siblings) or nearest(str(path), shipped_recipes())
    if not hint and _HUB_ID.fullmatch(str(path)):
        hint = f"; for the data set {path} of the Hub `hfbench init {path}` writes one"
    raise UserError(f"there is no recipe {str(path)!r}{hint}")


def parse_recipe(text: str, path: Path) -> Recipe:
    """A recipe from the text that a file at ``path`` would hold.

    Raises:
        UserError: as `load_recipe`.
    """
    return check_recipe(_parse_yaml(text, str(path)), [], path)


def parse_override(override: str) -> tuple[str, Any]:
    """``key=value`` of one level as key and YAML value.

    Raises:
        UserError: if it is nothing like that.
    """
    values: dict[str, Any] = {}
    _apply_override(values, override)
    return next(iter(values.items()))


def check_recipe(values: dict[str, Any], overrides: list[str], path: Path) -> Recipe:
    """A recipe of ``values``, changed by ``overrides``; relative paths start where ``path`` lies.

    Raises:
        UserError: as `load_recipe`.
    """
    for override in overrides:
        _apply_override(values, override)
    recipe = checked_recipe(partial(Recipe.from_values, values, path.parent), values, str(path))
    for key, file in recipe.file_paths.items():
        if file.is_dir() and ".data_files." not in key:
            raise UserError(f"{path}: {key}: {str(file)!r} is a folder; a file is wanted")
        if not file.exists():
            raise UserError(f"{path}: {key}: there is no file {str(file)!r}")
    return recipe


def checked_recipe(make: Callable[[], Made], values: dict[str, Any], source: str) -> Made:
    """What ``make`` makes of ``values``, or a message with every mistake.

    Raises:
        UserError: beginning each line with ``source``; also for a secret in the values.
    """
    try:
        made = make()
    except ValidationError as error:
        raise UserError("\n".join(describe_mistakes(source, error))) from None
    if secrets := [f"{source}: {key}: holds {what}" for key, what in find_secrets(values)]:
        raise UserError(
            "\n".join(secrets) + "\nA secret never belongs into a recipe, which is copied into "
            "records; for the Hub log in with `hf auth login`"
        )
    return made


def _read_yaml(path: Path) -> dict[str, Any]:
    values = _parse_yaml(_read_text(path), str(path))
    if values is None:
        raise UserError(f"{path}: this recipe is empty")
    if not isinstance(values, dict):
        raise UserError(f"{path}: a recipe is a mapping of keys; this is a {type(values).__name__}")
    return values


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # a name with a NUL byte is a ValueError
        raise UserError(f"{shown(str(path))} cannot be read: {error}") from None
    if len(start) > _MOST_BYTES:
        raise UserError(f"{path}: more than {_MOST_BYTES:,} bytes are no recipe; are they data?")
    try:
        return start.decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text; save it as UTF-8 ({error})") from None


def _parse_yaml(text: str, where: str) -> Any:
    """What the YAML holds: text, numbers, true and false, null, lists and mappings of these.

    Raises:
        UserError: beginning with ``where``, if it is not valid, if it is a bomb (values that hold
            each other many times by anchors, or without end), or if it holds anything else.
    """
    # YAML 1.2: `2e-5` is a number and `no` is a word, which YAML 1.1 has the other way round
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
        for number, (depth, node) in enumerate(_nodes(root)):
            if number >= _MOST_VALUES:
                raise UserError(
                    f"{where}: more than {_MOST_VALUES:,} values when its aliases are written out"
                )
            _check_node(node, depth, where)
        return _without_sharing(yaml.load(text))
    except UserError:
        raise
    except RecursionError:
        raise UserError(f"{where}: values are nested more than {_DEEPEST} deep") from None
    # what is no `!!int` in spite of its tag is a ValueError, KeyError or IndexError
    except (YAMLError, ValueError, LookupError) as error:
        raise UserError(f"{where}: not valid YAML: {error}") from None


def _without_sharing(value: Any) -> Any:
    """A copy in which what an alias stands for is apart: an override of one is for one alone."""
    if isinstance(value, dict):
        return {key: _without_sharing(item) for key, item in value.items()}
    return [_without_sharing(item) for item in value] if isinstance(value, list) else value


def _nodes(node: Node | None, depth: int = 0) -> Iterator[tuple[int, Node]]:
    """All nodes with their depths; what an alias stands for comes each time anew."""
    if node is None:
        return
    yield depth, node
    if isinstance(node, ScalarNode):
        return
    for item in node.value:
        for child in item if isinstance(item, tuple) else (item,):  # of a mapping: key and value
            yield from _nodes(child, depth + 1)


def _check_node(node: Node, depth: int, where: str) -> None:
    line = node.start_mark.line + 1
    if depth > _DEEPEST:
        raise UserError(
            f"{where}: line {line}: values are nested more than {_DEEPEST} deep, or an anchor "
            "holds itself"
        )
    kind = str(node.tag).removeprefix("tag:yaml.org,2002:")
    if kind == "int" and len(node.value) > _MOST_DIGITS:
        raise UserError(f"{where}: line {line}: a number of {len(node.value):,} digits")
    if isinstance(node, ScalarNode) and (bad := _NO_CHARACTERS.search(node.value)):
        raise UserError(f"{where}: line {line}: a recipe holds no character {bad[0]!r}")
    if kind not in _KINDS:
        raise UserError(
            f"{where}: line {line}: a recipe holds no value of the kind {kind!r}; write text (in "
            "quotes where it looks like a date), a number, true, false, null, a list or a mapping"
        )


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise UserError(f"override {shown(override)}: write it as key=value, with dots in the key")
    *parents, last = _split_key(key, values)
    targets: list[Any] = [values]
    for number, part in enumerate(parents):
        what = parents[number - 1].removesuffix("s")
        targets = [one for target in targets for one in _descend(target, part, override, what)]
    for target in targets:
        if not isinstance(target, dict):
            raise UserError(f"override {shown(override)}: {key.rpartition('.')[0]!r} has no keys")
        # parsed for each: an override of one is for one alone
        target[last] = _parse_yaml(text, f"override {shown(override)}")


def _split_key(key: str, values: dict[str, Any]) -> list[str]:
    """Split at dots, but keep the name of a model or task whole: it may hold dots itself."""
    for owner in ("models", "tasks"):
        items = values.get(owner)
        names = [str(m.get("name")) for m in items if isinstance(m, dict)] if items else []
        for name in sorted(names, key=len, reverse=True):
            if key.startswith(f"{owner}.{name}."):
                return [owner, name, *key.removeprefix(f"{owner}.{name}.").split(".")]
    return key.split(".")


def _descend(target: Any, part: str, override: str, what: str) -> list[Any]:
    """What is under a key; of a list of ``what`` the one of this name, or all for ``*``."""
    if isinstance(target, list):
        named = {str(item.get("name")): item for item in target if isinstance(item, dict)}
        if part == "*":
            return list(named.values())
        if part not in named:
            known = ", ".join(named)
            raise UserError(
                f"override {shown(override)}: no {what} {part!r}{nearest(part, named)} "
                f"({what}s: {known})"
            )
        return [named[part]]
    if not isinstance(target, dict):
        raise UserError(f"override {shown(override)}: {part!r} is not inside a mapping")
    if target.get(part) is None:
        target[part] = {}
    return [target[part]]


def describe_mistakes(source: str, error: ValidationError) -> list[str]:
    """One line a mistake: ``source``, key path, what was wrong with which value."""
    details = error.errors(include_url=False)
    keys = [_key(_parts(detail)) for detail in details]
    # a value of the right type is no news of what else it might have been
    typed = {key for key, d in zip(keys, details, strict=True) if not d["type"].endswith("_type")}
    lines = [
        f"{source}: {key + ': ' if key else ''}{_message(detail)}"
        for key, detail in zip(keys, details, strict=True)
        if key not in typed or not detail["type"].endswith("_type")
    ]
    return list(dict.fromkeys(lines))


def _parts(detail: ErrorDetails) -> list[int | str]:
    """The key path of a mistake, without the names that pydantic adds for members of a union."""
    return [part for part in detail["loc"] if not _is_union_member(part)]


def _key(parts: list[int | str]) -> str:
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts).lstrip(".")


def _message(detail: ErrorDetails) -> str:
    """What was wrong, with the value, and what would be right."""
    kind, message = detail["type"], detail["msg"].removeprefix("Value error, ")
    value, parts = detail["input"], _parts(detail)
    if kind == "missing":
        return "this key is required"
    if kind == "extra_forbidden":
        known = _section_at(parts[:-1]).model_fields
        return f"unknown key{nearest(str(parts[-1]), known)} (known: {', '.join(known)})"
    if kind in ("dict_type", "model_type"):
        return f"this must be a mapping of keys, not {shown(value)}"
    if kind == "too_short":
        return "List should have at least 1 item" if value == [] else "this is empty"
    if kind == "literal_error":
        expected = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected")))
        hint = get_close_matches(str(value), expected, n=1)
        return f"{message}, not {shown(value)}" + (f"; did you mean {hint[0]!r}?" if hint else "")
    return message if kind == "value_error" else f"{message}, not {shown(value)}"


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
        or part.startswith(("list[", "dict[", "literal[", "function-", "constrained"))
    )
