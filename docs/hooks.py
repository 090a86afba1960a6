"""What the site has beside the pages of this folder; see mkdocs.yml.

- the reference of recipe and record, from their classes and the lines that explain each field;
- the Python API, as mkdocstrings reads it;
- notebooks of this folder, with their outputs;
- the README as the first page, and the files of the repository that pages link to.
"""

import json
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel

import hfbench
from hfbench.recipe.schema import Recipe
from hfbench.records import schema as records

ROOT = Path(__file__).parents[1]
_LINK = re.compile(
    r'(?P<open>\[(?P<text>[^\]]*)\]\(|src=")(?P<target>[^)"#\s:]+)(?P<anchor>#[^)"\s]*)?(?P<end>[)"])'
)
_PART = "repository"
"""The folder of the site for what lies outside docs/."""
_LARGEST = 3_000_000
"""Bytes of a file that the site takes along."""
_NO_PAGE = {"hfbench/recipe": "reference/recipe.md"}
"""Folders that pages link to -> what the site has of them."""

FIRST = (
    "name", "task", "models", "tokenizer", "seeds", "training_arguments", "optimizer", "questions",
    "reference", "margin", "tune", "early_stopping", "selection", "train_sizes", "tasks", "imports",
)  # fmt: skip
"""Keys of a recipe in the order in which a person writes one; the others follow."""
SECTIONS = (
    "Recipe", "Task", "Model", "Tokenizer", "Pretrain", "Corpus", "Lora", "Probe", "Prompt",
    "Predictions", "EarlyStopping", "Tune", "Fold", "Folds", "NamedTask",
)  # fmt: skip


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give notebooks a place in the navigation, in its first part."""
    first = next(part for part in config.nav or [] if isinstance(part, dict))
    (pages,) = first.values()
    pages += [path.with_suffix(".md").name for path in _notebooks()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are generated, and what they and the others link to."""
    pages = {
        "index.md": (ROOT / "README.md").read_text("utf-8"),
        "reference/recipe.md": recipe_page(),
        "reference/record.md": record_page(),
        "reference/python.md": python_page(),
    }
    pages |= {path.with_suffix(".md").name: notebook_page(path) for path in _notebooks()}
    for uri, content in pages.items():
        files.append(File.generated(config, uri, content=content))
    for path in sorted(_linked()):
        target = f"{_PART}/{path.relative_to(ROOT).as_posix()}"
        files.append(File.generated(config, target, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links from the repository's places to the site's."""
    own = page.file.src_uri
    if own.startswith("reference/"):
        return markdown
    here = _place(own)

    def lead(found: re.Match[str]) -> str:
        at = posixpath.normpath(posixpath.join(posixpath.dirname(here), found["target"]))
        uri = _NO_PAGE.get(at) or _uri(at)
        if (ROOT / at).is_dir() and uri not in files.src_uris:
            uri = f"{uri}/README.md"
        if uri not in files.src_uris and (ROOT / at).is_dir():
            return found["text"]  # a folder is no page
        way = posixpath.relpath(uri, posixpath.dirname(own) or ".")  # checked by mkdocs
        return f"{found['open']}{way}{found['anchor'] or ''}{found['end']}"

    return _LINK.sub(lead, markdown)


def _place(uri: str) -> str:
    """Of a page of the site its file in the repository."""
    if uri == "index.md":
        return "README.md"
    return uri.removeprefix(f"{_PART}/") if uri.startswith(f"{_PART}/") else f"docs/{uri}"


def _uri(place: str) -> str:
    if place == "README.md":
        return "index.md"
    return place.removeprefix("docs/") if place.startswith("docs/") else f"{_PART}/{place}"


def _linked() -> set[Path]:
    """Files outside docs/ that pages lead to, over others as well."""
    found: set[Path] = set()
    waiting = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    while waiting:
        page = waiting.pop()
        for target in _targets(page):
            if target in found or target.is_relative_to(ROOT / "docs"):
                continue
            if target == ROOT / "README.md":
                continue
            if target.stat().st_size > _LARGEST:
                raise ValueError(f"{page}: {target.name} is too large for the site")
            found.add(target)
            if target.suffix == ".md":
                waiting.append(target)
    return found


def _targets(page: Path) -> Iterator[Path]:
    for found in _LINK.finditer(page.read_text("utf-8")):
        path = (page.parent / found["target"]).resolve()
        if path.is_relative_to(ROOT) and str(path.relative_to(ROOT)) in _NO_PAGE:
            continue
        path = path / "README.md" if path.is_dir() else path
        if path.is_file():  # else mkdocs says so
            yield path


def _notebooks() -> list[Path]:
    return sorted((ROOT / "docs").glob("*.ipynb"))


def notebook_page(path: Path) -> str:
    """A notebook as Markdown: text, code, and what came out when it was run."""
    notebook = json.loads(path.read_text("utf-8"))
    lines = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            lines.append(source)
            continue
        lines.append(f"```python\n{source}\n```")
        lines += [_output(output) for output in cell["outputs"]]
    return "\n\n".join(filter(None, lines)) + "\n"


def _output(output: dict[str, Any]) -> str:
    """The richest form of it that a page can show."""
    data = output.get("data", {})
    if "text/html" in data:
        # of one block for Markdown: an empty line would end it
        html = re.sub(r"\n\s*\n", "\n", "".join(data["text/html"]))
        return f'<div class="output">\n{html}\n</div>'
    if "image/png" in data:
        image = "".join(data["image/png"]).replace("\n", "")
        return f'<img alt="What the code above draws" src="data:image/png;base64,{image}">'
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""


def recipe_page() -> str:
    """Every key of a recipe: what it is, its default, and what it may be."""
    package = griffe.load("hfbench.recipe", search_paths=[str(ROOT)], submodules=True)
    explained = {
        name: member
        for module in package.modules.values()
        for name, member in module.classes.items()
        if name in SECTIONS
    }
    schema = Recipe.model_json_schema()
    parts = {"Recipe": schema, **schema["$defs"]}
    if set(parts) - set(SECTIONS):
        raise ValueError(f"SECTIONS lacks {set(parts) - set(SECTIONS)}")
    lines = [
        "# Every key of a recipe",
        "In the order in which a person writes a recipe. [Recipes](../recipes.md) begins with the "
        "ten keys that most comparisons need. A mistyped key is an error that names the nearest.",
    ]
    for name in SECTIONS:
        lines += [f"## {name}", _markdown(explained[name].docstring)]
        properties = parts[name]["properties"]
        keys = [key for key in FIRST if key in properties] if name == "Recipe" else []
        for key in dict.fromkeys([*keys, *properties]):
            if key not in explained[name].members:  # another section has it
                continue
            lines += _entry(key, properties[key], key in parts[name].get("required", []))
            lines.append(_markdown(explained[name].members[key].docstring))
    return "\n\n".join(filter(None, lines)) + "\n"


def record_page() -> str:
    """Every field of a record: what it is and what it may be."""
    kinds = [getattr(records, name) for name in _KINDS]
    common = records.RunRecord.model_json_schema()["properties"]
    lines = [
        "# Every field of a record",
        "A run leaves one JSON file in `records/`, and its predictions beside it as Parquet. "
        "A record is one of the kinds below; all have the fields of *every record*. Shares are "
        "fractions in [0, 1]. [Results and records](../results.md) says how they are kept.",
        "## Every record",
        *_fields(common, records.RunRecord.model_json_schema().get("required", [])),
    ]
    parts: dict[str, Any] = {}
    for kind in kinds:
        schema = kind.model_json_schema()
        parts |= schema.get("$defs", {})
        own = {key: value for key, value in schema["properties"].items() if key not in common}
        lines += [f"## {kind.__name__}", _paragraphs(kind), *_fields(own, schema["required"])]
    for name, part in sorted(parts.items()):
        if "properties" in part:
            lines += [f"## {name}", part.get("description", "")]
            lines += _fields(part["properties"], part.get("required", []))
    return "\n\n".join(filter(None, lines)) + "\n"


_KINDS = (
    "ClassificationRecord", "ControlRecord", "ProbeRecord", "PromptRecord", "PredictionsRecord",
    "PretrainingRecord", "FailedRecord",
)  # fmt: skip


def python_page() -> str:
    """What is promised to stay, each by its own docstring."""
    lines = [
        "# Python",
        "These names can be imported from `hfbench` and are promised to stay; the modules behind "
        "them are not. [From Python](../python.md) shows them at work.",
    ]
    names = [name for name in hfbench.__all__ if not name.startswith("__")]
    for title, chosen in (
        ("Functions", [name for name in names if name[0].islower()]),
        ("Classes", [name for name in names if name[0].isupper() and name != "Record"]),
    ):
        lines.append(f"## {title}")
        for name in chosen:
            lines.append(f"::: hfbench.{hfbench._HOMES[name]}.{name}{_members(name)}")
    lines.append("### Record\n\nOne of the kinds of [a record](record.md); `kind` says which.")
    return "\n\n".join(lines) + "\n"


def _members(name: str) -> str:
    # of a recipe the reference has the keys
    return "\n    options:\n      members: [from_values]" if name == "Recipe" else ""


def _fields(properties: dict[str, Any], required: Iterable[str]) -> list[str]:
    lines = []
    for key, value in properties.items():
        lines += _entry(key, value, key in required)
        lines.append(value.get("description", ""))
    return lines


def _entry(key: str, value: dict[str, Any], required: bool) -> list[str]:
    default = "" if required else f", default `{_shown(value.get('default'))}`"
    if not required and value.get("default") in (None, [], {}, ""):
        default = ", optional"
    return [f"### `{key}`", f"*{_kind(value)}{default}*"]


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _kind(value: dict[str, Any]) -> str:
    """A JSON schema in words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return " or ".join(f"`{one}`" for one in value["enum"])
    for key in ("anyOf", "oneOf"):
        if key in value:
            kinds = [_kind(one) for one in value[key] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    kind = value.get("type")
    if kind == "array":
        return f"list of {_kind(value['items'])}" if "items" in value else "list"
    if kind == "object":
        of = value.get("additionalProperties")
        return f"mapping to {_kind(of)}" if isinstance(of, dict) and of else "mapping"
    names = {"string": "text", "integer": "whole number", "boolean": "true or false"}
    return names.get(str(kind), str(kind or "any value")) + _limits(value)


def _limits(value: dict[str, Any]) -> str:
    words = {
        "minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"
    }  # fmt: skip
    return "".join(f" {word} {value[key]:,}" for key, word in words.items() if key in value)


def _markdown(docstring: griffe.Docstring | None) -> str:
    return "" if docstring is None else docstring.value.replace("``", "`")


def _paragraphs(kind: type[BaseModel]) -> str:
    return (kind.__doc__ or "").replace("\n    ", "\n").replace("``", "`")


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Give the theme's search a name, which it lacks for those who do not see it."""
    return output.replace('role="dialog"', 'role="dialog" aria-label="Search"')


def on_post_template(output_content: str, template_name: str, config: MkDocsConfig) -> str:
    """The same for the page that stands where there is none."""
    return output_content.replace('role="dialog"', 'role="dialog" aria-label="Search"')
