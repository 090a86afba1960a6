"""Whatever a label, a source, a message or a text holds, it comes out of each format as that."""

import csv
import io
import re
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from hfbench.evidence import markdown
from hfbench.evidence import page as report
from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import Findings
from hfbench.evidence.latex import as_latex, latex
from hfbench.evidence.table import as_csv, as_markdown
from hfbench.records.schema import Failure

quick = settings(derandomize=True, database=None)
slower = settings(quick, max_examples=quick.max_examples // 4)

FRAGMENTS = [
    *"|\\$&<>\"'`_*~[](){}!#:;-+=.,^%@ \n\t\r\0a7é", "\u2028", "\x1b[1m", "नि", "אב", "👍",
    "&amp;", "&#42;", "<b>", "a_b", "</td>", "<!--", "[x](y)", "[1]", "1. ", "12) ", "--", "```",
    "$x$", "\\|", "<script>alert(1)</script>", "%s", "{{", "{%", "\\end{table}", "^^M",
]  # fmt: skip
texts = st.lists(st.sampled_from(FRAGMENTS) | st.characters(codec="utf-8"), max_size=12).map(
    "".join
)
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(texts, min_size=width, max_size=width), min_size=1, max_size=4)
)
visible_texts = texts.filter(lambda text: text.strip())


class Page(HTMLParser):
    """The tags of a page and the texts of its elements, scripts and styles apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.data, self.cells = set(), [], []
        self._stack = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self._stack.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        while tag in self._stack and self._stack.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & {*self._stack}:
            self.data.append(data)
        if {"td", "th"} & {*self._stack}:
            self.cells[-1] += data


def render(text: str) -> Page:
    """As GitHub and the Hub do."""
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    return Page(parser.render(text))


def shown(text: str) -> str:
    return markdown.one_line(text).strip()


@quick
@given(texts)
def test_a_text_is_a_text_in_markdown(text):
    page = render(markdown.escape(text))
    assert "".join(page.data).strip() == shown(text)
    assert page.tags <= {"p"}


@quick
@given(texts, texts)
def test_texts_beside_each_other_are_texts_in_markdown(first, second):
    page = render(f"Of {markdown.escape(first)}, {markdown.escape(second)}; of.")
    assert shown("".join(page.data)) == shown(f"Of {first}, {second}; of.")
    assert page.tags == {"p"}


@quick
@given(st.lists(visible_texts, min_size=1, max_size=3))
def test_a_list_has_its_texts_in_markdown(lines):
    page = render(markdown.bullets(lines))
    assert page.tags == {"ul", "li"}
    assert [data for data in page.data if data != "\n"] == [shown(line) for line in lines]


@quick
@given(tables)
def test_a_table_has_its_cells_in_markdown(rows):
    page = render(markdown.table(rows[0], rows[1:]))
    assert page.cells == [shown(cell) for row in rows for cell in row]
    assert page.tags <= {"table", "thead", "tbody", "tr", "th", "td"}


words = st.text("abc,.()", min_size=1, max_size=14)
paragraphs = st.lists(words, min_size=1, max_size=60).map(lambda found: "a" + "\n".join(found))
others = st.sampled_from(
    ["# A title", "| a | b |\n| --- | --- |\n| 1 | 2 |", "![a](b)", "<!-- a -->", "    code  a"]
)


@quick
@given(st.lists(paragraphs | others, min_size=1, max_size=6))
def test_a_filled_page_reads_as_before(blocks):
    page = "\n\n".join(blocks)
    filled = markdown.fill(page)
    as_html = [MarkdownIt().enable("table").render(text) for text in (page, filled)]
    assert as_html[1].split() == as_html[0].split()
    assert max(map(len, filled.splitlines())) <= 100
    assert all(block in filled for block in blocks if "\n\n" not in block and block[0] in "#|!< ")


def read_latex(text: str) -> str:
    """What LaTeX shows of ``text``; an unescaped special character or a ligature is an error."""
    commands = {
        "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<",
        "textgreater": ">", "textbar": "|", "textasciigrave": "`",
    }  # fmt: skip
    token = r"\\([a-z]+)\{\}|\\([&%$#_{}])|(\{\})|(--|''|,,)|([&%$#_{}~^\\<>|`])|(.)"
    tokens = re.findall(token, text, re.S)
    read = ""
    for command, escaped, nothing, ligature, special, plain in tokens:
        assert not ligature
        assert not special
        read += commands[command] if command else "" if nothing else escaped or plain
    return read


@quick
@given(texts)
def test_a_text_is_a_text_in_latex(text):
    assert read_latex(latex(text)) == markdown.one_line(text)


@pytest.fixture(scope="module")
def compare(write_record):
    """A function that gives the findings on two models and data with these names."""

    def compare(labels, source, message):
        with tempfile.TemporaryDirectory() as folder:
            for model in ("one", "two"):
                right = np.arange(12) % (2 if model == "one" else 3) > 0
                task = write_record(Path(folder), model, 0, right).task
                counts = dict(zip(labels, (6, 7), strict=True))
                splits = {
                    name: split.model_copy(update={"label_counts": counts})
                    for name, split in task.splits.items()
                }
                changes = {"labels": labels, "source": source, "splits": splits}
                task = task.model_copy(update=changes)
                write_record(Path(folder), model, 0, right, task=task)
            failure = Failure(type="E", message=message, step=None)
            nothing = np.ones(12, bool)
            write_record(Path(folder), "one", 9, nothing, failure=failure)
            return Findings.of(load_comparison(Path(folder)))

    return compare


names = st.lists(visible_texts, min_size=2, max_size=2, unique=True)


@slower
@given(labels=names, source=visible_texts, message=texts)
def test_the_page_of_a_comparison_shows_them_in_markdown(compare, labels, source, message):
    page = render(as_markdown(compare(labels, source, message)))
    data = "".join(page.data)
    for sentence in (
        f"Data: {source}; 12 train, 12 validation examples; labels {', '.join(labels)}. Accuracy",
        f'vs majority: points above always answering "{labels[1]}", with p after Holm for all',
        f"1 run is left out: seed 9 failed (E: {message})",
    ):
        assert shown(sentence) in data
    allowed = {"h1", "h2", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td"}
    assert page.tags <= allowed
    assert len(page.cells) == 3 * (7 + 8 + 5)


@slower
@given(labels=names, source=visible_texts, message=texts)
def test_the_table_of_a_comparison_shows_them_in_latex(compare, labels, source, message):
    text = as_latex(compare(labels, source, message))
    caption = re.search(r"^\\caption\{(.*)\}$", text, re.M).group(1)
    assert markdown.one_line(f"labels {', '.join(labels)}.") in read_latex(caption)
    notes = text[text.index("\\raggedright") :].splitlines()[1:-1]
    assert f"(E: {markdown.one_line(message)})" in read_latex(notes[0].removesuffix("\\par"))


@slower
@given(labels=names, source=visible_texts, message=texts)
def test_the_csv_of_a_comparison_reads_back(compare, labels, source, message):
    findings = compare(labels, source, message)
    comparison = findings.comparison
    lines = list(csv.DictReader(io.StringIO(as_csv(findings), newline="")))
    assert [line["model"] for line in lines] == [model.name for model in comparison.models]
    assert lines[[m.name for m in comparison.models].index("one")]["notes"].endswith(
        f"(E: {message})"
    )


@slower
@given(labels=names, source=visible_texts, message=texts, text=visible_texts)
def test_the_report_of_a_comparison_shows_them(compare, labels, source, message, text):
    findings = compare(labels, source, message)
    with patch.object(report, "draw_plots", return_value=[]):  # they take a second
        html = report.render_report(findings, {f"validation/{i}": text for i in range(12)})
    page = Page(html)
    for label in labels:
        assert label in page.cells
    assert text in page.cells
    data = "".join(page.data)
    assert f"classifies {source} best" in data
    assert f"(E: {message})" in data
    assert "b" not in page.tags
    assert html.count("<script>") == 1
