"""The documentation as a site: it builds, its links lead somewhere, and it fetches nothing."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from ruamel.yaml import YAML

from hfbench.recipe.load import load_recipe
from hfbench.recipe.schema import Recipe
from hfbench.records import schema as records

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_the_ten_keys_are_ten_and_make_a_recipe(tmp_path):
    page = (DOCS / "recipes.md").read_text("utf-8")
    (text,) = re.findall(r"```yaml\n(name: .*?)```", page, re.S)
    (tmp_path / "reviews.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "reviews.csv").write_text("text,label\n", encoding="utf-8")
    recipe = load_recipe(tmp_path / "reviews.yaml")
    keys = {f"recipe.{key}" for key in recipe.model_fields_set - {"task", "models"}}
    keys |= {f"task.{key}" for key in recipe.task.model_fields_set}
    keys |= {f"model.{key}" for model in recipe.models for key in model.model_fields_set}
    assert len(keys) == 10
    assert re.findall(r"# (\d+)", text) == [str(number) for number in range(1, 11)]


class Links(HTMLParser):
    """What a page leads to, what it loads, and the names of its places."""

    def __init__(self, html):
        super().__init__()
        self.leads, self.loads, self.places = [], [], set()
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.places |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and values.get("href"):
            self.leads.append(values["href"])
        elif tag == "link" and "canonical" not in values.get("rel", ""):
            self.loads.append(values["href"])
        elif values.get("src"):
            self.loads.append(values["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if not find_spec("mkdocs") or not find_spec("mkdocstrings"):
        pytest.skip("mkdocs is not installed: extra 'docs'")
    folder = tmp_path_factory.mktemp("site")
    # whatever would be fetched is refused: nobody listens there
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert built.returncode == 0, built.stderr[-3000:]
    assert "WARNING" not in built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path: Links(path.read_text("utf-8")) for path in site.rglob("*.html")}


@pytest.mark.slow
def test_every_link_leads_to_a_page_and_a_place_of_it(site, pages):
    lost = []
    for path, links in pages.items():
        if path.name == "404.html":  # its links begin at the root of a server
            continue
        for link in [*links.leads, *links.loads]:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            places = pages[target].places if target in pages else set()
            is_there = target.is_file() and target.is_relative_to(site)
            if not (is_there and unquote(parts.fragment) in {"", *places}):
                lost.append(f"{path.relative_to(site)}: {link}")
    assert lost == []
    assert len(pages) > 30


@pytest.mark.slow
def test_nothing_is_fetched_from_elsewhere(site, pages):
    for path, links in pages.items():
        assert {urlsplit(link).scheme for link in links.loads} <= {"", "data"}, path
    for path in site.rglob("*.css"):
        assert "url(http" not in path.read_text("utf-8").replace("url(http://www.w3.org", "")


@pytest.mark.slow
def test_every_key_of_a_recipe_and_every_field_of_a_record_is_explained(site):
    recipe = (site / "reference" / "recipe.html").read_text("utf-8")
    for key, _ in Recipe.model_fields.items():
        assert f"<code>{key}</code>" in recipe, key
    assert recipe.index("<code>name</code>") < recipe.index("<code>task</code>")
    assert recipe.index("<code>models</code>") < recipe.index("<code>seeds</code>")
    assert "Pairs of models that are to be compared" in recipe
    record = (site / "reference" / "record.html").read_text("utf-8")
    for key in records.ClassificationRecord.model_fields:
        assert f"<code>{key}</code>" in record, key
    assert "by this a result is known again" in record


def test_every_page_has_its_place_in_the_navigation():
    # of tags that are meant for other plugins nothing is made
    text = (ROOT / "mkdocs.yml").read_text("utf-8")
    nav = YAML(typ="safe", pure=True).load(text)["nav"]
    named = {*re.findall(r"[\w/-]+\.(?:md|ipynb)", str(nav))}
    written = {path.name for path in DOCS.glob("*.md")}
    assert written <= named
    assert {name for name in named if "/" not in name} - {"index.md"} <= written
