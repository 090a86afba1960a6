"""The report is one page that says what the records say, to everyone, and runs nothing else."""

import base64
import hashlib
import itertools
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from hfbench.evidence import curve_plots, figures, plots
from hfbench.evidence import page as page_module
from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import Findings
from hfbench.evidence.page import render_report, write_report
from hfbench.records.schema import Failure
from hfbench.records.store import ResultsFolder

HOSTILE = "</td></script><script>alert('x')</script><img src=x onerror=alert(1)>\" $x $"


def load_findings(folder):
    return Findings.of(load_comparison(folder))


class Page(HTMLParser):
    """Elements with their attributes, and the text outside scripts and styles."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.text, self._inside = [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._inside.append(tag)

    def handle_endtag(self, tag):
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self._inside):
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def results(tmp_path_factory, write_record):
    folder, rng = tmp_path_factory.mktemp("results"), np.random.default_rng(0)
    for seed in range(3):
        write_record(folder, "better", seed, rng.random(80) < 0.9)
        write_record(folder, "worse", seed, rng.random(80) < 0.6)
    write_record(folder, "floor", None, np.arange(80) % 2 == 1, control=True)
    return folder


@pytest.fixture(scope="module")
def html(results):
    return render_report(load_findings(results))


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_the_question_and_the_answer_come_first(results, page):

    findings = load_findings(results)
    text = page.text
    first, second = findings.answer
    assert text.index(findings.question) < text.index(first) < text.index(second)
    assert text.index(second) < text.index("95 % interval: for the accuracy")


def test_it_needs_nothing_else(html, page):
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "image")
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#"), attributes
        assert (attributes.get("xlink:href") or "#").startswith("#"), attributes
    assert "url(" not in html.replace("url(#", "")
    assert len(html) < 3_000_000


def test_only_its_own_script_may_run(html, page):
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv")]
    assert policy.startswith("default-src 'none';")
    assert f"script-src 'sha256-{digest}'" in policy


def test_what_comes_from_data_cannot_run(tmp_path, write_record, quick_figures):
    counts = {"x": 40, HOSTILE: 41}
    for model in ("one", HOSTILE.replace("/", "")):
        for seed in range(2):
            record = write_record(tmp_path, model, seed, np.arange(80) % (seed + 2) > 0)
            task = record.task.model_copy(
                update={
                    "source": HOSTILE,
                    "labels": ["x", HOSTILE],
                    "splits": {
                        name: split.model_copy(update={"label_counts": counts})
                        for name, split in record.task.splits.items()
                    },
                }
            )
            write_record(tmp_path, model, seed, np.arange(80) % (seed + 2) > 0, task=task)
    failure = Failure(type="E", message=HOSTILE, step=None)
    write_record(tmp_path, "one", 9, np.ones(80, bool), failure=failure)
    texts = {f"validation/{i}": HOSTILE for i in range(80)}
    html = render_report(load_findings(tmp_path), texts)
    page = Page(html)
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
    assert page.text.count("alert('x')") > 20  # it is there, to be read


def test_texts_are_shown_on_request_only(results, html, quick_figures):
    texts = {f"validation/{i}": f"secret words {i}" for i in range(80)}
    assert "secret words" not in html
    page = Page(render_report(load_findings(results), texts))
    assert "secret words" in page.text
    assert "up to 3 words" in page.text


def test_it_is_the_same_bytes_each_time(results, html, tmp_path):
    assert write_report(load_findings(results), tmp_path).read_bytes() == html.encode()


def test_a_screen_reader_finds_headings_captions_scopes_and_descriptions(page):
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert len(page.all("table")) == len(page.all("caption")) > 6
    assert all(th.get("scope") in ("col", "row") for th in page.all("th"))
    figures = page.all("svg")
    assert len(figures) == 2 * len(page.all("figure")) >= 10  # as wide as the page, and a phone
    for figure in figures:
        assert figure["role"] == "img"
        assert len(figure["aria-label"]) > 40
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))


def test_figures_take_the_colours_of_the_page(html):
    figures = "".join(re.findall(r"<svg.*?</svg>", html, re.S))
    assert "currentColor" in figures
    assert "var(--scratch)" in figures
    assert "var(--control)" in figures
    assert set(re.findall(r"#[0-9a-f]{6}\b", figures)) <= {"#000000"}


def test_pairs_hold_the_interval_that_goes_with_the_verdict_and_their_own(results, page):
    comparison = load_comparison(results)
    found = comparison.pairs[0].difference
    for low, high in ((found.family_low, found.family_high), (found.low, found.high)):
        assert f"{100 * low:+.1f} to {100 * high:+.1f}" in page.text


def test_more_pairs_than_fit_a_page_are_folded(results, html, monkeypatch, quick_figures):
    def differences(html):
        return html[html.index('<section id="differences">') :].split("</section>")[0]

    assert "<details open>\n<summary>All 3 pairs" in differences(html)
    monkeypatch.setattr("hfbench.evidence.page.PAIRS", 2)
    folded = render_report(load_findings(results))
    assert "<details>\n<summary>All 3 pairs" in differences(folded)


def test_of_many_models_the_best_are_drawn_and_listed_and_the_page_says_so(
    tmp_path, write_record, monkeypatch
):
    for module in (curve_plots, figures, page_module, plots):
        monkeypatch.setattr(module, "DRAWN", 2)
    monkeypatch.setattr(plots, "PAIRS", 3)
    monkeypatch.setattr(page_module, "_ROWS", 4)
    rng = np.random.default_rng(0)
    for number in range(5):
        for seed in range(2):
            correct, logit = rng.random(400) < 0.5 + 0.1 * number, rng.gamma(2, size=(400, 1))
            write_record(tmp_path, f"model-{number}", seed, correct, logit=np.float32(logit))
    failure = Failure(type="ValueError", message="no", step=None)
    write_record(tmp_path, "model-0", 2, np.zeros(1, bool), failure=failure)
    html = render_report(load_findings(tmp_path))
    text = " ".join(Page(html).text.split())
    assert text.count("the best 2 of 5 models") == 2 * 4  # two widths: values, curves, bins
    assert text.count("of which the first 3 of 4 are drawn") == 2
    assert text.count("(only these have their name)") == 2  # of the front, against the cost
    assert "The 4 pairs of model-4, of 10 in all" in text
    assert "Precision, recall and F1 of each class, of the best 2 models" in text
    assert "Which class each of the best 2 models takes for which" in text
    assert "The examples of the first 2 of these models follow" in text
    assert "5 records of 11, those of the best 2 models and of what has no result" in text
    for table in ("Accuracy of each model", "Other measures", "What one training costs"):
        rows = html[html.index(f"<caption>{table}") :].partition("</table>")[0].count('scope="row"')
        assert rows == 5, table
    assert html.count('<div class="matrix">') == html.count('<details class="flips">') == 2


def test_every_record_has_its_line(results, page):
    for stem in ("better--seed0", "worse--seed2", "floor"):
        assert stem in page.text
    assert "7 records: what each run was made with" in page.text


def test_a_comparison_that_failed_altogether_has_a_report(tmp_path, write_record):
    failure = Failure(type="OSError", message="no space left", step=None)
    write_record(tmp_path, "one", 0, np.ones(8, bool), failure=failure)
    page = Page(render_report(load_findings(tmp_path)))
    assert "No run of any model finished." in page.text
    assert "no space left" in page.text


ROOT = Path(__file__).parents[2]
PINNED = re.search(
    rf"matplotlib==(\S+).*{'<' if sys.version_info < (3, 11) else '>='} '3.11'",
    (ROOT / "constraints.txt").read_text("utf-8"),
).group(1)


@pytest.mark.skipif(matplotlib.__version__ != PINNED, reason="another matplotlib draws otherwise")
@pytest.mark.parametrize(
    "report",
    [
        pytest.param(path, marks=[] if name == "quickstart" else pytest.mark.slow, id=name)
        for path in sorted(ROOT.glob("results/**/report.html"))
        if not ResultsFolder(path.parent).tasks
        for name in [path.parent.name]
    ],
)
def test_committed_reports_regenerate_byte_for_byte(report):
    assert report.read_bytes() == render_report(load_findings(report.parent)).encode()


def test_models_without_a_common_seed_have_a_report(tmp_path, write_record, quick_figures):
    rng = np.random.default_rng(0)
    for model, seed in (("one", 0), ("one", 1), ("two", 2), ("two", 3)):
        write_record(tmp_path, model, seed, rng.random(80) < 0.7)
    page = Page(render_report(load_findings(tmp_path)))
    assert "Paired differences" in page.text
    assert "Flips" not in page.text
