"""Several tasks in one table, from records made by hand and from those that are committed."""

import csv
import io
import itertools
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from hfbench.cli.run import write_tables
from hfbench.errors import UserError
from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.overall import compare_tasks, load_overall
from hfbench.evidence.overall_findings import OverallFindings
from hfbench.evidence.overall_page import render_overall
from hfbench.evidence.overall_plots import draw_overall
from hfbench.evidence.overall_table import (
    as_csv,
    as_latex,
    as_markdown,
    differences_csv,
    print_overall,
)
from hfbench.evidence.tuning import Search, Tuning
from hfbench.metrics.registry import METRICS
from hfbench.recipe.tuning import Tune
from hfbench.records.asked import Asked
from hfbench.records.pack import pack
from hfbench.records.schema import Failure
from hfbench.records.store import ResultsFolder, load_record

RESULTS = Path(__file__).parents[2] / "results"
STUDY = RESULTS / "study" / "study"
SHARES = {"good": 0.9, "fair": 0.8, "also-fair": 0.8, "poor": 0.55}


def write_task(write_record, folder, number, shares, *, seeds=3, examples=160):
    """A results folder of models that are right so often, on examples of its own."""
    rng = np.random.default_rng(number)
    ease = rng.random(examples)
    for model, share in shares.items():
        for seed in range(seeds):
            correct = 0.6 * ease + 0.4 * rng.random(examples) < share
            write_record(
                folder, model, seed, correct, recipe=f"r/{folder.name}", evaluated=f"{number:064}"
            )
    return folder


@pytest.fixture
def folders(write_record, tmp_path):
    def write(number, shares=SHARES, **options):
        return [
            write_task(write_record, tmp_path / f"task{n}", n, shares, **options)
            for n in range(number)
        ]

    return write


def test_the_mean_is_that_of_the_tasks_and_its_interval_holds_their_errors(folders):
    overall = load_overall(folders(3), "r")
    assert overall.rows[0].model == "good"
    for row in overall.rows:
        models = [task.models[row.model] for task in overall.tasks]
        assert row.mean.value == pytest.approx(np.mean([model.value for model in models]))
        of_tasks = [(high - low) / 2 for low, high in (model.interval for model in models)]
        # three errors of the same size: the mean's is smaller by the root of three
        expected = np.sqrt(np.square(of_tasks).sum()) / 3
        assert (row.mean.high - row.mean.low) / 2 == pytest.approx(expected, rel=0.1)
        assert row.rank.low <= row.rank.value <= row.rank.high


def test_a_difference_over_tasks_is_the_mean_of_those_on_each(folders):
    overall = load_overall(folders(3), "r")
    for pair in overall.pairs:
        assert pair.these.mean == pytest.approx(np.mean(pair.by_task), abs=1e-12)
        assert pair.wins + pair.losses <= 3
        of_tasks = [
            found.difference
            for task in overall.tasks
            for found in task.comparison.pairs
            if {found.first.name, found.second.name} == {pair.first, pair.second}
        ]
        halves = [(one.high - one.low) / 2 for one in of_tasks]
        expected = np.sqrt(np.square(halves).sum()) / 3
        assert (pair.these.high - pair.these.low) / 2 == pytest.approx(expected, rel=0.15)
    best = [pair for pair in overall.pairs if pair.first == "good"]
    assert all(pair.these.verdict == "better" and pair.wins == 3 for pair in best)


def test_over_tasks_like_these_takes_five(folders):
    few = OverallFindings.of(load_overall(folders(4), "r"))
    assert all(pair.like_these is None for pair in few.overall.pairs)
    assert "4 tasks do not show how much differences vary" in few.answer[1]
    assert "5 tasks or more are needed" in few.pooled[1]
    enough = OverallFindings.of(load_overall(folders(5), "r"))
    for pair in enough.overall.pairs:
        differences = np.array(pair.by_task)
        assert pair.like_these.low <= differences.mean() <= pair.like_these.high
        assert pair.effects.tasks == 5
    assert "On tasks like these, too, good is better" in enough.answer[1]


def test_what_is_missing_and_what_failed_is_shown(folders, write_record):
    one, two, three = folders(3)
    failure = Failure(type="OutOfMemory", message="no", step=None)
    for seed in range(3):
        for end in (".json", ".parquet"):
            (two / "records" / f"fair--seed{seed}{end}").unlink()
            (three / "records" / f"poor--seed{seed}{end}").unlink()
        write_record(two, "fair", seed, [True], failure=failure)
        record = load_record(two / "records" / f"fair--seed{seed}.json")
        ResultsFolder(two).keep(record.model_copy(update={"recipe": "r/task1"}))
    findings = OverallFindings.of(load_overall([one, two, three], "r"))
    assert findings.overall.complete == ["good", "also-fair"]
    page = as_markdown(findings, one.parent)
    assert re.search(r"\| fair \| [\d. ()-]+ \| failed \| [\d. ()-]+ \|", page)
    assert re.search(r"\| poor \| [\d. ()-]+ \| [\d. ()-]+ \| not run \|", page)
    assert "- fair: every run failed on task1.\n- poor: not run on task2.\n" in page
    assert "fair and poor have no result on some task" in page
    assert "[task1](task1/README.md)" in page
    lines = list(csv.DictReader(io.StringIO(as_csv(findings.overall))))
    assert [line["task1_runs"] for line in lines] == ["3", "3", "0", "3"]


def test_the_page_is_the_same_of_packed_tasks(folders):
    """With a link to each, too."""
    paths = folders(2)

    def pages():
        findings = OverallFindings.of(load_overall(paths, "r"))
        return [write(findings, paths[0].parent) for write in (as_markdown, render_overall)]

    before = pages()
    assert "[task0](task0/README.md), [task1](task1/README.md)" in before[0]
    assert 'href="task1/report.html"' in before[1]
    for path in paths:
        pack(ResultsFolder(path))
        assert not (path / "records").exists()
    assert pages() == before


def ask(folder, metric):
    entry = Asked(metric=metric).model_dump(mode="json")
    (folder / "asked.json").write_text(json.dumps([entry]), encoding="utf-8")


def test_where_a_task_has_single_runs_by_a_real_measure_nothing_is_claimed_over_the_tasks(
    folders, write_record, tmp_path
):
    shown = folders(2)
    single = write_task(write_record, tmp_path / "single", 2, SHARES, seeds=1)
    for folder in (*shown, single):
        ask(folder, "f1_macro")
    findings = OverallFindings.of(load_overall([*shown, single], "r"))
    for pair in findings.overall.pairs:
        assert pair.these.withheld
        assert (pair.these.adjusted_p, pair.these.differ) == (1.0, False)
    text = as_markdown(findings, Path())
    assert "Not known: on some task the models have one run each" in text
    assert "| not known |" in text
    assert not any(pair.these.withheld for pair in load_overall(shown, "r").pairs)


def test_measures_of_different_units_have_ranks_and_no_mean(folders):
    """One of the tasks is judged by its loss, of which the lowest is the best."""
    one, two = folders(2)
    ask(two, "nll")
    findings = OverallFindings.of(load_overall([one, two], "r"))
    overall = findings.overall
    assert not overall.has_mean
    assert all(row.mean is None and row.rank is not None for row in overall.rows)
    assert all(pair.these is None and len(pair.by_task) == 2 for pair in overall.pairs)
    ranks = {row.model: row.rank.value for row in overall.rows}
    assert (ranks["good"], ranks["poor"]) == (1.0, 4.0)
    models = overall.tasks[1].models
    assert 0 < models["good"].value < models["poor"].value
    assert "are not of one scale" in " ".join(findings.notes)
    assert "there is no mean" in findings.answer[0]
    assert "mean" not in as_markdown(findings, Path()).split("## Each task")[0].split("|")[2]


def test_different_measures_of_one_scale_are_averaged_and_said_to_be(folders):
    one, two = folders(2)
    ask(two, "mcc")
    findings = OverallFindings.of(load_overall([one, two], "r"))
    (poor,) = (row for row in findings.overall.rows if row.model == "poor")
    values = [task.models["poor"].value for task in findings.overall.tasks]
    assert values[0] - values[1] > 0.2
    assert poor.mean.value == pytest.approx(np.mean(values))
    assert "The mean is of different measures (accuracy, mcc)" in " ".join(findings.notes)
    assert "mean x 100" in as_markdown(findings, Path())


def test_the_same_examples_are_not_two_tasks(folders, write_record, tmp_path):
    one, two = folders(2)
    again = write_task(write_record, tmp_path / "again", 0, SHARES)
    with pytest.raises(UserError, match="task0 and again were evaluated on the same examples"):
        load_overall([one, two, again], "r")
    with pytest.raises(UserError, match="is there more than once"):
        load_overall([one, one], "r")
    with pytest.raises(UserError, match="two results folders or more"):
        load_overall([one], "r")


def test_models_of_different_examples_stand_side_by_side_on_a_task_alone(folders, write_record):
    one, two = folders(2)
    write_task(write_record, one, 7, {"stranger": 0.7})
    found = {path.name: load_comparison(path, different_examples=True) for path in (one, two)}
    with pytest.raises(UserError, match=r"task0: .*different examples.*--rerun"):
        compare_tasks(found, "r")


def test_models_are_the_same_where_their_names_are(folders, write_record, tmp_path):
    (one,) = folders(1)
    other = write_task(write_record, tmp_path / "other", 7, {"nobody": 0.7, "else": 0.6})
    with pytest.raises(UserError, match="no model has a result in all of task0, other"):
        load_overall([one, other], "r")


def test_it_fits_80_columns_and_every_form(folders):
    findings = OverallFindings.of(load_overall(folders(5), "r"))
    console = Console(file=io.StringIO(), width=80)
    print_overall(findings, console)
    said = console.file.getvalue()
    assert max(map(len, said.splitlines())) <= 80
    assert "good" in said
    assert "…" not in said
    narrow = Console(file=io.StringIO(), width=60)
    print_overall(findings, narrow)
    parts = [line for line in narrow.file.getvalue().splitlines() if "accuracy %" in line]
    assert len(parts) > 1
    assert sum(line.count("accuracy %") for line in parts) == 5
    tex = as_latex(findings)
    assert tex.count("\\begin{tabular}") == tex.count("\\end{tabular}") == 2
    page = render_overall(findings, Path())
    assert page.count("<svg") == 2 * len(draw_overall(findings.overall)) == 6  # and for a phone
    assert "<script>" in page
    lines = list(csv.DictReader(io.StringIO(differences_csv(findings.overall))))
    assert len(lines) == 6
    assert all(float(line["like_these_p_value"]) <= 1 for line in lines)


def test_the_tasks_of_the_study_go_together():
    paths = [STUDY / name for name in ("sst2", "rotten-tomatoes", "trec")]
    overall = load_overall(paths, "study")
    values = [{model.name: model.value for model in load_comparison(p).finished} for p in paths]
    everywhere = set.intersection(*({*of_task} for of_task in values))
    assert {*overall.complete} == everywhere >= {"majority", "gpt-nano", "minilm-l6"}
    assert {row.model for row in overall.rows} == {*itertools.chain(*values)}
    means = {model: np.mean([of_task[model] for of_task in values]) for model in everywhere}
    found = [(row.model, row.mean.value) for row in overall.rows if row.mean]
    assert dict(found) == pytest.approx(means)
    assert [value for _, value in found] == sorted(means.values(), reverse=True)
    asked = {*overall.waiting, *((pair.first, pair.second) for pair in overall.questions)}
    assert asked == {*load_comparison(paths[0]).asked[-1].questions}


@pytest.mark.parametrize(
    "folder",
    [RESULTS / "three_tasks", pytest.param(STUDY, marks=pytest.mark.slow)],
    ids=lambda p: p.name,
)
def test_committed_pages_of_several_tasks_come_out_again_byte_for_byte(folder, tmp_path):
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    pages = [path for path in sorted(copy.rglob("*")) if path.suffix in (".md", ".csv", ".tex")]
    assert len(pages) >= 4 + 3 * 3
    before = {path: path.read_bytes() for path in pages}
    for path in pages:
        path.unlink()
    console = Console(file=io.StringIO(), width=80)
    write_tables(ResultsFolder(copy), console)
    assert {path: path.read_bytes() for path in pages} == before


def ask_all(paths, questions, margin):
    entry = Asked(questions=questions, margin=margin).model_dump(mode="json")
    for path in paths:
        (path / "asked.json").write_text(json.dumps([entry]), encoding="utf-8")


def test_a_question_has_its_verdict_and_one_that_waits_is_named(folders):
    paths = folders(3)
    ask_all(paths, [("good", "poor"), ("fair", "also-fair"), ("later", "good")], 0.1)
    findings = OverallFindings.of(load_overall(paths, "r"))
    good, fair = (pair.these for pair in findings.overall.questions)
    assert good.family_low > 0.1
    assert max(-fair.family_low, fair.family_high) < 0.1
    page = as_markdown(findings, paths[0].parent).split("## Questions")[1]
    asked, rest = page.split("## Differences")
    assert "| pair | these tasks | interval | p | verdict | better on |" in asked
    assert re.search(r"^\| good minus poor \|.*\| better by the margin \|", asked, re.M)
    assert re.search(r"^\| fair minus also-fair \|.*\| equivalent \|", asked, re.M)
    assert "verdict" not in rest
    assert "A difference of 10.0 points matters" in findings.questions
    assert "1 question waits for the results of later; with" in findings.questions
    assert findings.questions in render_overall(findings, paths[0].parent)


def test_an_answer_over_tasks_may_hang_on_the_choices_of_settings(folders):
    paths = folders(3)
    ask_all(paths, [("good", "poor"), ("fair", "also-fair")], None)
    overall = load_overall(paths, "r")
    good, fair = overall.questions
    assert good.these.differ
    assert not fair.these.differ
    assert not overall.loses_by_choice(good)  # nothing was tuned
    # at the level of its family, the choices of three tasks are a mean of three draws
    half = (good.these.family_high - good.these.family_low) / 2
    level = 1.959964 * half / ((good.these.high - good.these.low) / 2)
    least = np.sqrt(3 * (good.these.mean**2 - half**2)) / level

    def with_choices(sd):
        tune = Tune(space={"learning_rate": [0.1, 0.2]}, sampler="grid")
        curve = np.array([0.5])
        search = Search("good", [], None, METRICS["accuracy"], 1.0, sd, curve, (curve, curve))
        tuned = [
            replace(
                task, comparison=replace(task.comparison, tuning=Tuning(tune, {"good": search}, []))
            )
            for task in overall.tasks
        ]
        return replace(overall, tasks=tuned)

    assert not with_choices(0.99 * least).loses_by_choice(good)
    lost = with_choices(1.01 * least)
    assert lost.loses_by_choice(good)
    assert not lost.loses_by_choice(fair)
    told = "Distinguished with the settings that were chosen, and not if they were chosen anew: "
    assert f"{told}good minus poor." in OverallFindings.of(lost).questions


def test_where_all_questions_wait_the_page_says_so(folders):
    paths = folders(2)
    ask_all(paths, [("later", "good")], None)
    findings = OverallFindings.of(load_overall(paths, "r"))
    assert findings.questions.startswith("1 question waits for the results of later")
    asked = as_markdown(findings, paths[0].parent).split("## Questions")[1].split("##")[0]
    assert asked.strip() == findings.questions
    assert 'id="questions"' in render_overall(findings, paths[0].parent)


def test_settings_that_tuning_chose_on_each_task_are_not_listed_as_differences(
    write_record, tmp_path
):
    paths = [tmp_path / name for name in ("one", "two")]
    for number, path in enumerate(paths):
        rate = 0.1 + number
        entries = {
            "tuned": {
                "tuned": {"learning_rate": rate, "config.dropout": rate},
                "training_arguments": {"learning_rate": rate},
                "config": {"dropout": rate},
            },
            "other": {"training_arguments": {"max_steps": number}},
        }
        for model, entry in entries.items():
            write_record(
                path, model, 0, [True] * 20, evaluated=f"{number:064}",
                settings={"models": [{"name": model, **entry}]},
            )  # fmt: skip
    notes = OverallFindings.of(load_overall(paths, "r")).notes
    assert "Settings were tuned on each task by itself: tuned." in notes
    assert "Not the same on every task: training_arguments.max_steps of other." in notes
    assert len([note for note in notes if note.startswith("Not the same")]) == 1


def test_the_same_pretrainings_on_several_tasks_are_no_new_ones(write_record, tmp_path):
    paths = [tmp_path / name for name in ("one", "two")]
    for number, path in enumerate(paths):
        for seed in range(4):
            for model, starts in {"pretrained": [seed % 2], "one-start": [0], "new": None}.items():
                entry = {"name": model, **({"pretrain": {"seeds": starts}} if starts else {})}
                right = np.random.default_rng([number, seed, len(model)]).random(60) < 0.7
                write_record(
                    path, model, seed, right, evaluated=f"{number:064}",
                    settings={"models": [entry]},
                )  # fmt: skip
    notes = OverallFindings.of(load_overall(paths, "r")).notes
    (note,) = [note for note in notes if note.startswith("The same pretrainings")]
    assert "count as others on each (pretrained)" in note


def test_where_models_learn_from_several_sizes_the_most_counts_and_it_is_said(
    write_record, tmp_path
):
    paths = [tmp_path / name for name in ("one", "two")]
    for number, path in enumerate(paths):
        for size in (10, 40) if number else (10,):
            train = {"examples": size, "content_hash": f"{size:064}"}
            for model in ("a", "b"):
                write_record(
                    path, model, 0, [True] * 20, evaluated=f"{number:064}",
                    train_size=size, train=train,
                )  # fmt: skip
    notes = OverallFindings.of(load_overall(paths, "r")).notes
    most = ", the most training examples of its learning curve (40)."
    assert notes[0].endswith(f"two: accuracy %, 20 validation examples{most}")
    assert "one: accuracy %, 20 validation examples; two" in notes[0]


def test_a_name_of_19_characters_stands_in_one_line_of_80(write_record, tmp_path):
    """Also among so many models that ranks and their intervals have two digits."""
    name = "gpt-mini-coins-2000"
    shares = {name: 0.2, **{f"m{number}": 0.4 + 0.04 * number for number in range(12)}}
    paths = [write_task(write_record, tmp_path / f"task{n}", n, shares) for n in range(2)]
    console = Console(file=io.StringIO(), width=80)
    print_overall(OverallFindings.of(load_overall(paths, "r")), console)
    lines = console.file.getvalue().splitlines()
    assert [line.startswith(f"{name} ") for line in lines].count(True) == 2
    assert max(map(len, lines)) <= 80


def test_what_every_task_asks_is_a_family_of_its_own(folders):
    paths = folders(3)
    asked = [("good", "fair"), ("poor", "also-fair")]
    for number, path in enumerate(paths):
        own = [("good", "poor"), *asked] if number == 0 else asked
        entry = Asked(questions=own, margin=0.02).model_dump(mode="json")
        (path / "asked.json").write_text(json.dumps([entry]), encoding="utf-8")
    overall = load_overall(paths, "r")
    assert [(pair.first, pair.second) for pair in overall.questions] == asked
    of_all = {frozenset((p.first, p.second)): p for p in overall.pairs}
    for pair in overall.questions:
        other = of_all[frozenset(asked[overall.questions.index(pair)])]
        assert abs(pair.these.mean) == pytest.approx(abs(other.these.mean))
        assert pair.these.p_value == pytest.approx(other.these.p_value)
        assert pair.these.margin == 0.02
    # Holm's method of two, and not of six
    p_values = sorted(pair.these.p_value for pair in overall.questions)
    adjusted = sorted(pair.these.adjusted_p for pair in overall.questions)
    assert adjusted == pytest.approx([min(1, 2 * p_values[0]), max(2 * p_values[0], p_values[1])])
    findings = OverallFindings.of(overall)
    shown = as_markdown(findings, paths[0].parent)
    assert "| poor minus also-fair |" in shown.split("## Questions")[1].split("## Differences")[0]
    assert 'id="questions"' in render_overall(findings, paths[0].parent)
