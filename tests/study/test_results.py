"""results/study is what its records say; tables and reports are tested with all the others."""

import csv
import io
import itertools
import math
import re
from datetime import datetime
from pathlib import Path

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
from hfbench.records.schema import TrainedRecord

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "study"
RECIPES = sorted(path for path in RESULTS.iterdir() if path.is_dir())
FIGURES = [
    # the same bytes are asked of committed reports by default
    pytest.param(folder, marks=pytest.mark.slow, id=folder.parent.name)
    for folder in sorted(RESULTS.glob("*/plots"))
]
PINNED = (ROOT / "constraints.txt").read_text("utf-8")
FINDINGS = (RESULTS / "README.md").read_text("utf-8")
SAME_MATPLOTLIB = f"matplotlib=={matplotlib.__version__}" in PINNED


def test_every_recipe_ran_and_so_did_the_tuning():
    recipes = {f"study_{path.stem}" for path in (ROOT / "recipes" / "study").glob("[0-9]*.yaml")}
    folders = {path.name for path in RESULTS.iterdir() if path.is_dir()}
    assert folders == recipes | {"study_05_sst2_tuning"}
    for folder in folders:
        assert {record.status for record in load_records(RESULTS / folder)} == {"finished"}


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
@pytest.mark.parametrize(
    "step", ["01_small_corpus", pytest.param("02_larger_corpus", marks=pytest.mark.slow)]
)
def test_tables_of_probabilities_and_their_figures_come_from_the_listed_numbers(step, tmp_path):
    folder = RESULTS / f"study_{step}" / "generations"
    generations = read_generations(folder / "generation.csv")
    table, *others = write_generations(generations, tmp_path)
    assert (folder / table.name).read_bytes().startswith(table.read_bytes())
    others += write_generation_plot(generations, tmp_path)
    assert {table.name, *(path.name for path in others)} == {p.name for p in folder.iterdir()}
    for path in others:
        assert path.read_bytes() == (folder / path.name).read_bytes(), path.name


def test_the_grammar_stands_beside_what_the_model_expects():
    folder = RESULTS / "study_01_small_corpus" / "generations"
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


def test_findings_come_from_the_records_and_link_to_what_there_is(script):
    write_up = script("write_up")
    assert write_up.render(write_up.TEMPLATE.read_text("utf-8"), RESULTS) == FINDINGS
    linked = re.findall(r"\]\(([^)#]+)\)", FINDINGS)
    shown = re.findall(r'src="([^"]+)"', FINDINGS)
    assert (len(linked) > 10, len(shown)) == (True, 3)
    for target in linked + shown:
        assert (RESULTS / target).exists(), target


def test_the_findings_count_what_was_trained():
    records = [record for folder in RECIPES for record in load_records(folder)]
    trained = {
        (record.recipe, record.model, record.seed, record.train_size)
        for record in records
        if isinstance(record, TrainedRecord) and not record.adopted_from
    }
    begun = sorted(record.started for record in records)
    minutes = (datetime.fromisoformat(begun[-1]) - datetime.fromisoformat(begun[0])).seconds / 60
    said = re.search(r"^([\d,]+) trainings on NVIDIA H200, within (\d+) minutes", FINDINGS, re.M)
    assert int(said.group(1).replace(",", "")) == len(trained)
    assert minutes < int(said.group(2)) < minutes + 5


def test_no_test_sentence_is_in_the_unlabelled_text():
    records = load_records(RESULTS / "study_05_sst2")
    own = [r for r in records if r.model == "gpt-nano-unlabelled" and r.kind == "classification"]
    counts = [r.corpus_overlap["test"] for r in own]
    assert [(count.exact, count.near, count.examples) for count in counts] == [(0, 0, 872)] * 10
    assert "in which 0 of 872 test sentences occur" in " ".join(FINDINGS.split())


def test_the_report_is_small():
    assert (RESULTS / "study_05_sst2" / "report.html").stat().st_size < 3e6
