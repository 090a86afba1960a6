"""results/study is what its records say; tables and reports are tested with all the others."""

import csv
import io
import itertools
import math
import re
from collections import defaultdict
from pathlib import Path
from statistics import median

import matplotlib
import pytest

from hfbench import load_records
from hfbench.data.builtin import pets
from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.figures import save_figure
from hfbench.evidence.plots import draw_plots
from hfbench.generation.generate import Candidate, Generation, Step
from hfbench.generation.plot import write_generation_plot
from hfbench.generation.table import write_generations
from hfbench.records.damage import find_folders

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "study"
FIGURES = [
    # the same bytes are asked of committed reports by default
    pytest.param(folder, marks=pytest.mark.slow, id=folder.parent.name)
    for folder in sorted(RESULTS.glob("**/plots"))
]
PINNED = (ROOT / "constraints.txt").read_text("utf-8")
README = (RESULTS / "README.md").read_text("utf-8")
TASKS = ("sst2", "rotten-tomatoes", "trec")
SAME_MATPLOTLIB = f"matplotlib=={matplotlib.__version__}" in PINNED


@pytest.mark.skipif(not SAME_MATPLOTLIB, reason="another matplotlib draws otherwise")
@pytest.mark.parametrize("folder", FIGURES)
def test_figures_come_from_the_records(folder, tmp_path):
    plots = {plot.name: plot for plot in draw_plots(load_comparison(folder.parent))}
    for figure in folder.iterdir():
        save_figure(plots[figure.stem], tmp_path / figure.name, facecolor="white")
        assert figure.read_bytes() == (tmp_path / figure.name).read_bytes(), figure


def read_generations(path):
    """What a table of probabilities was made from; every chosen token is in this one."""
    lines = list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))
    generations = []
    for prompt, of_prompt in itertools.groupby(lines, lambda line: line["prompt"]):
        steps = []
        for _, of_step in itertools.groupby(of_prompt, lambda line: line["position"]):
            of_step = list(of_step)
            top = tuple(
                Candidate(int(line["token_id"]), line["token"], float(line["probability"]))
                for line in of_step
            )
            (chosen,) = [c for c, line in zip(top, of_step, strict=True) if line["chosen"] == "1"]
            steps.append(Step(chosen, top))
        text = "".join(step.chosen.text for step in steps)
        generations.append(Generation(prompt, text, tuple(steps)))
    return generations


@pytest.mark.skipif(not SAME_MATPLOTLIB, reason="another matplotlib draws otherwise")
@pytest.mark.parametrize("corpus", ["pets", pytest.param("coins", marks=pytest.mark.slow)])
def test_tables_of_probabilities_and_their_figures_come_from_the_listed_numbers(corpus, tmp_path):
    folder = RESULTS / "generations" / corpus
    generations = read_generations(folder / "generation.csv")
    table, *others = write_generations(generations, tmp_path)
    assert (folder / table.name).read_bytes().startswith(table.read_bytes())
    others += write_generation_plot(generations, tmp_path)
    assert {table.name, *(path.name for path in others)} == {p.name for p in folder.iterdir()}
    for path in others:
        assert path.read_bytes() == (folder / path.name).read_bytes(), path.name


def test_the_grammar_stands_beside_what_the_model_expects():
    folder = RESULTS / "generations" / "pets"
    text = (folder / "generation.md").read_text("utf-8")
    for generation in read_generations(folder / "generation.csv"):
        part = text.split(f'The next word after "{generation.prompt}"')[1]
        listed = {found.text.strip(): found.probability for found in generation.steps[0].top}
        grammar = pets.next_words(generation.prompt)
        rows = re.findall(r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) \|$", part, re.M)[: len(grammar)]
        for word, share, expected in rows:
            assert f"{grammar.pop(word):.3f}" == share
            # another pass over the same prompt, on a GPU, with a rounding of its own
            assert float(expected) == pytest.approx(listed[word], abs=1e-3)
        assert not grammar
        words = pets.next_words(generation.prompt)
        divergence = sum(p * math.log(p / listed[word]) for word, p in words.items())
        stated = float(re.search(r"KL divergence ([\d.]+) nats", part).group(1))
        assert stated == pytest.approx(divergence, abs=5e-4)


def test_the_page_comes_from_the_records_and_links_to_what_there_is(script):
    page = script("page")
    assert page.render(page.TEMPLATE.read_text("utf-8"), RESULTS) == README
    linked = re.findall(r"\]\(([^)#]+)\)", " ".join(README.split()))
    shown = re.findall(r'src="([^"]+)"', README)
    assert (len(linked) > 8, len(shown)) == (True, 2)
    for target in linked + shown:
        assert (RESULTS / target.replace(" ", "")).exists(), target


def test_the_page_counts_what_was_trained():
    records = [one for folder in find_folders(RESULTS) for one in load_records(folder.path)]
    trained = [r for r in records if r.kind in ("classification", "pretraining", "control")]
    trained = [r for r in trained if r.status == "finished" and not r.adopted_from]
    said = re.search(r"^([\d,]+) trainings on NVIDIA H200, ([\d.]+) hours", README, re.M)
    assert int(said[1].replace(",", "")) == len([r for r in trained if r.kind != "control"])
    hours = sum(r.cell_seconds for r in trained if r.kind != "control") / 3600
    assert float(said[2]) == pytest.approx(hours, abs=0.051)


def test_no_test_sentence_is_in_the_unlabelled_text():
    """Of each record whose row was pretrained on it."""
    own = [r for r in load_records(RESULTS / "study" / "sst2") if "unlabelled" in r.model]
    counts = [r.corpus_overlap["test"] for r in own if r.kind == "classification"]
    assert {(count.exact, count.near, count.examples) for count in counts} <= {(0, 0, 872)}
    said = "0 of 872" if counts else "not run yet"
    assert f"(test sentences that occur in it: {said})" in " ".join(README.split())


def test_what_readme_and_docs_say_of_the_study_is_what_it_found():
    readme, tuning, sure = (
        " ".join((ROOT / name).read_text("utf-8").split())
        for name in ("README.md", "docs/tuning.md", "docs/how-sure.md")
    )
    assert "worse than logistic regression on counted words and characters" in readme
    assert "pretraining it as was done there makes it no better" in readme
    overall = (RESULTS / "study" / "README.md").read_text("utf-8")
    for pair in ("gpt-nano minus tfidf-logreg", "gpt-nano-coins minus gpt-nano"):
        (row,) = re.findall(rf"^\| {pair} \|.*\|$", overall, re.M)
        assert "| worse" in row  # which is not better, either
    with (RESULTS / "study" / "sst2" / "trials.csv").open(encoding="utf-8") as file:
        trials = list(csv.DictReader(file))
    chosen = {trial["model"]: trial for trial in trials if trial["chosen"] == "True"}
    rate = chosen["gpt-nano"]["settings"].split(",")[0]
    own = [trial for trial in trials if trial["model"] == "minilm-l6"]
    (at_its,) = (trial["value"] for trial in own if trial["settings"].startswith(rate))
    told = round(float(rate.split()[1]), 4), 100 * float(at_its)
    assert "gpt-nano's rate, {:.4f}, is right about {:.0f} %".format(*told) in tuning
    assert f"rate chosen for it, {100 * float(chosen['minilm-l6']['value']):.0f} %." in tuning
    pages = [(RESULTS / "study" / task / "README.md").read_text("utf-8") for task in TASKS]
    spread = [re.search(r"standard deviations of ([\d.]+) to ([\d.]+) points", p) for p in pages]
    low, high = min(float(s[1]) for s in spread), max(float(s[2]) for s in spread)
    assert f"the study in this repository has rows from {low} to {high} points" in sure


def test_what_the_page_says_in_words_is_what_it_found(script):
    """The words around the numbers: each is of a question."""
    study = script("page").Study(RESULTS)
    assert ") better" in study.question("study-gpt", "study-tiny-gpt2", "sst2")  # ahead
    assert ") better" not in study.question("study-tiny-gpt2", "majority", "sst2")  # hardly learned
    assert "worse" in study.over_all("gpt-nano", "tfidf-logreg")  # counting is ahead
    for task in TASKS:  # no gain is shown
        assert ") better" not in study.question("gpt-nano-coins", "gpt-nano", task)
    for pretrained in ("gpt-nano-coins", "gpt-nano-unlabelled", "gpt-mini-unlabelled"):  # no help
        assert ") better" not in study.over_all(pretrained, pretrained.rpartition("-")[0])
    gains = [
        (pair.first.name, task)
        for task in TASKS
        for pair in study.of_tasks[task].questions
        if pair.second.name in ("gpt-nano", "gpt-mini")
        and pair.first.name.startswith(f"{pair.second.name}-")
        and pair.difference.words.startswith("better")
    ]
    assert gains == [("gpt-mini-novels", "trec")]  # the only one
    for name in ("gpt-nano-coins", "gpt-mini-unlabelled"):  # the marks of the summary
        assert study.over_all(name, name.rpartition("-")[0]).endswith("†")
    assert not study.over_all("gpt-nano-unlabelled", "gpt-nano").endswith("†")
    assert ") better" not in study.question("tiny-gpt2", "majority", "rotten-tomatoes")
    assert study.accuracy("gpt-nano", tuned=True) < study.accuracy("gpt-nano", tuned=False)
    for task in TASKS:  # neither a gain nor a loss
        assert ") worse" not in study.question("gpt-nano-coins", "gpt-nano", task)
    of_why = {
        (task, size, pair.first.name): pair.difference.words
        for (task, size), standing in study.why.standings.items()
        for pair in standing.questions
        if pair.second.name in ("none", "gpt-nano")
    }
    harms = [key for key, words in of_why.items() if words == "worse"]
    assert [key for key in harms if key[2] in ("all", "gpt-nano-coins")] == [("sst2", 1080, "all")]
    shown = {(pair.first, pair.second): pair.these.words for pair in study.why.overall.questions}
    assert shown["only-words-equal-norms", "only-words"].startswith("better")  # the lead
    at_1080 = [
        pair.difference.words
        for (_, size), standing in study.why.standings.items()
        for pair in standing.questions
        if size == 1080 and pair.first.name == "only-words-equal-norms"
    ]
    assert len(at_1080) == 2
    assert not any(words.startswith("better") for words in at_1080)  # with fewer, no gain
    assert not shown["all-shrunk", "all"].startswith("better")  # in the whole model neither
    assert shown["no-words", "none"] == "not worse"  # no burden
    assert "worse" in shown["all-no-decay", "none-no-decay"]  # decay is not needed
    norms = study.why.norms["mean_norm"]
    assert round(norms["all"] / norms["none"]) == 6  # times as long


def test_the_report_is_small():
    assert (RESULTS / "study" / "sst2" / "report.html").stat().st_size < 3e6


def test_what_is_said_of_mps_is_in_the_records():
    """Medians over runs and trials of a model on a task, before and while MPS ran."""
    begun, ended = "2026-11-30T19:04:20", "2026-11-30T19:05:36"
    before, during = defaultdict(list), defaultdict(list)
    for folder in find_folders(RESULTS / "study"):
        task = folder.path.relative_to(RESULTS / "study").parts[0]
        for record in load_records(folder.path):
            model = record.model.split(".")[0]
            if model in ("gpt-nano", "tiny-gpt2") and record.started < ended:
                kept = before if record.started < begun else during
                milliseconds = 1000 * record.training.train_seconds / record.training.steps
                kept[model, task].append(milliseconds)
    text = " ".join((ROOT / "docs" / "several-machines.md").read_text("utf-8").split())
    with_it, without = ([median(found) for found in kept.values()] for kept in (during, before))
    assert len(with_it) == len(without) == 6
    assert (
        f"steps took {min(with_it):.1f} to {max(with_it):.1f} ms in place of "
        f"{min(without):.1f} to {max(without):.1f}: medians"
    ) in text
