"""Settings are chosen by trials that are cells, and the comparison runs with them."""

import importlib.util
import json
import shutil

import optuna
import pytest

from hfbench import compare, load_comparison, load_recipe, load_records, plan
from hfbench.evidence.findings import Findings
from hfbench.evidence.table import as_markdown, write_table
from hfbench.execution.tuning import look_at_tuning
from hfbench.records.store import ResultsFolder
from hfbench.records.trials import load_trials

PRUNED = optuna.trial.TrialState.PRUNED
MINE = {"name": "mine", "preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
TFIDF = {"name": "tfidf", "control": "tfidf-logreg"}
C = {"config.C": {"log": [0.01, 100]}}
FLOOR = {"name": "floor", "control": "majority"}


@pytest.fixture
def with_exam(write_recipe, tmp_path, rows):
    """A function that writes a recipe whose test has the labels the wrong way round."""
    wrong = [{**row, "label": {"no": "yes", "yes": "no"}[row["label"]]} for row in rows]
    exam = tmp_path / "exam.jsonl"
    exam.write_text("\n".join(map(json.dumps, wrong)), encoding="utf-8")
    task = {
        "data_files": {"train": "train.jsonl", "exam": "exam.jsonl"},
        "validation_size": 0.25,
        "test_split": "exam",
    }
    return lambda **changes: write_recipe(**{"task": task, **changes})


def settings_of(results):
    """Model -> the settings of its trials, in order, and their values."""
    trials = load_trials(ResultsFolder(results / "tiny"))
    return {
        model: [(trial.number, trial.settings, trial.value) for trial in own]
        for model, own in trials.items()
    }


def test_settings_are_chosen_by_validation_and_then_run_with_all_seeds(with_exam, tmp_path):
    # by the test, whose labels are wrong, the rate that learns nothing is the better
    grid = {"sampler": "grid", "space": {"learning_rate": [1e-9, 1e-2]}, "seeds": 2}
    models = [MINE, {**TFIDF, "tune": {"config.C": [10.0, 1e-4]}}, FLOOR]
    recipe = load_recipe(with_exam(tune=grid, models=models))
    assert {status.cell.model.name for status in plan(recipe, tmp_path)} == {
        "mine",
        "tfidf",
        "floor",
    }
    assert (look_at_tuning(recipe, tmp_path).planned) == 2 * 2 + 2

    outcome = compare(recipe, tmp_path)

    folder = tmp_path / "tiny"
    trials = load_records(folder / "tuning")
    assert len(trials) == 2 * 2 + 2
    assert {key for record in trials for key in record.metrics} == {"validation"}
    assert not {record.seed for record in trials} & {0, 1}
    assert len({record.predictions_hash for record in trials}) == 6  # each setting has its effect
    runs = {record.stem: record for record in load_records(folder)}
    assert [*runs] == ["floor", "mine--seed0", "mine--seed1", "tfidf"]
    for stem in ("mine--seed0", "mine--seed1"):
        assert runs[stem].training.arguments["learning_rate"] == 1e-2
        assert runs[stem].settings["models"][0]["tuned"] == {"learning_rate": 1e-2}
    assert runs["tfidf"].model_facts.config == {"C": 10.0}
    assert len(outcome.ran) == 4
    # it is all there: a second start trains nothing and chooses the same
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    assert compare(recipe, tmp_path).ran == []
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")} == before
    look = look_at_tuning(recipe, tmp_path)
    assert len(look.finished) == 6
    assert [model.tuned for model in look.chosen.models] == [
        {"learning_rate": 1e-2},
        {"config.C": 10.0},
        {},
    ]
    page = as_markdown(Findings.of(load_comparison(folder)))
    assert "a grid, all combinations for each model, each of 2 runs, on the validation" in page
    assert "mine: tuned: learning_rate 0.01 (validation " in page
    assert "best of 2 trials)" in page


def test_without_a_test_settings_are_chosen_within_the_train_split(write_recipe, tmp_path):
    tune = {"trials": 2, "sampler": "random", "folds": 3}
    recipe = load_recipe(write_recipe(tune=tune, models=[{**TFIDF, "tune": C}, FLOOR]))
    compare(recipe, tmp_path)
    folder = ResultsFolder(tmp_path / "tiny")
    assert [one.path.name for one in folder.tuning] == ["fold-1", "fold-2", "fold-3"]
    run = next(r for r in load_records(folder.path) if r.model == "tfidf")
    train, reported = (run.task.splits[split].examples for split in ("train", "validation"))
    ids = set()
    for one in folder.tuning:
        records = load_records(one.path)
        assert len(records) == 2
        splits = records[0].task.splits
        assert splits["train"].examples + splits["validation"].examples == train
        predictions = records[0].predictions
        ids |= {*_ids(one.records / predictions)}
    assert len(ids) == train
    assert not ids & {*_ids(folder.records / run.predictions)}
    assert train + reported == 96
    page = as_markdown(Findings.of(load_comparison(folder.path)))
    assert "random search (Optuna), 2 trials for each model, each of one run, on 3 parts" in page


def _ids(path):
    import pyarrow.parquet as pq

    return pq.read_table(path)["id"].to_pylist()


def test_a_tuning_that_lost_records_goes_on_to_the_same_choice(with_exam, tmp_path):
    """Trials of later rounds follow from the results of earlier ones."""
    tune = {"trials": 13}  # a round of 10 that are drawn, and one that follows from them
    recipe = load_recipe(with_exam(tune=tune, models=[{**TFIDF, "tune": C}, FLOOR]))
    compare(recipe, tmp_path / "whole")
    compare(recipe, tmp_path / "again")
    for number in (4, 11, 12):
        for path in (tmp_path / "again/tiny/tuning/records").glob(f"tfidf.t{number:03}.*"):
            path.unlink()
    assert look_at_tuning(recipe, tmp_path / "again").chosen is None
    compare(recipe, tmp_path / "again")
    assert settings_of(tmp_path / "whole") == settings_of(tmp_path / "again")
    assert len(settings_of(tmp_path / "whole")["tfidf"]) == 13


def test_a_trial_that_diverges_is_not_chosen_and_is_not_run_again(with_exam, tmp_path):
    grid = {"sampler": "grid", "space": {"learning_rate": [1e30, 1e-2]}}
    recipe = load_recipe(with_exam(tune=grid, models=[MINE, FLOOR], seeds=[0]))
    outcomes = [compare(recipe, tmp_path), compare(recipe, tmp_path)]
    assert [outcome.failed for outcome in outcomes] == [[], []]
    folder = ResultsFolder(tmp_path / "tiny")
    trials = load_trials(folder)["mine"]
    assert [trial.value is None for trial in trials] == [True, False]
    assert not [*folder.path.glob("tuning/records/superseded")]
    found = {record.model: record for record in load_records(tmp_path / "tiny")}
    assert found["mine"].training.arguments["learning_rate"] == 1e-2


def test_trials_that_are_not_asked_for_any_more_are_set_aside(with_exam, tmp_path):
    models = [{**TFIDF, "tune": C}, FLOOR]
    for number in (3, 2):
        tune = {"trials": number, "sampler": "random"}
        compare(load_recipe(with_exam(tune=tune, models=models)), tmp_path)
    folder = tmp_path / "tiny"
    assert len(load_trials(ResultsFolder(folder))["tfidf"]) == 2
    assert len([*folder.glob("tuning/records/superseded/*/*.json")]) == 1
    written = {path.name for path in write_table(Findings.of(load_comparison(folder)), folder)}
    assert "trials.csv" in written


def test_a_budget_of_flops_counts_what_trials_took(with_exam, tmp_path):
    space = {"learning_rate": {"log": [1e-4, 1e-2]}}
    few = {"models": [MINE], "seeds": [0], "training_arguments": {"max_steps": 2}}
    once = load_recipe(with_exam(tune={"space": space, "trials": 1}, **few))
    compare(once, tmp_path)
    ((trial,),) = load_trials(ResultsFolder(tmp_path / "tiny")).values()
    assert trial.flops > 0
    tune = {"space": space, "flops": 2.5 * trial.flops, "trials": 50}
    compare(load_recipe(with_exam(tune=tune, **few)), tmp_path)
    comparison = load_comparison(tmp_path / "tiny")
    trials = comparison.tuning.searches["mine"].trials
    assert sum(one.flops for one in trials) >= tune["flops"]
    assert sum(one.flops for one in trials[:-1]) < tune["flops"]


@pytest.mark.slow
def test_each_task_has_settings_of_its_own(with_exam, tmp_path):
    task = {"data_files": {"train": "train.jsonl"}, "validation_size": 0.25}
    tasks = [{"name": "one", **task}, {"name": "two", **task, "split_seed": 5}]
    tune = {"trials": 3, "sampler": "random", "folds": 2}
    models = [{**TFIDF, "tune": C}, FLOOR]
    compare(load_recipe(with_exam(task=None, tasks=tasks, tune=tune, models=models)), tmp_path)
    for name in ("one", "two"):
        folder = ResultsFolder(tmp_path / "tiny" / name)
        trials = load_trials(folder)["tfidf"]
        best = max(trials, key=lambda trial: trial.value)
        run = next(r for r in load_records(folder.path) if r.model == "tfidf")
        assert run.model_facts.config["C"] == best.settings["config.C"]
    assert [one.name for one in ResultsFolder(tmp_path / "tiny").tasks] == ["one", "two"]


BOTH = {
    "tune": {"space": {"learning_rate": {"log": [1e-4, 1e-1]}}, "trials": 12},
    "models": [MINE, {**TFIDF, "tune": C}, FLOOR],
    "seeds": [0],
}


@pytest.mark.slow
@pytest.mark.parametrize("call", [3, 25, 70])
def test_killed_within_tuning_it_ends_as_if_it_had_not_been(
    with_exam, tmp_path, start_hfbench, timeless, call
):
    path = with_exam(**BOTH)
    moment = ("hfbench.training.trainer", "FairTrainer.training_step", call)
    for results, kill_at in (("whole", ()), ("killed", moment), ("killed", ())):
        arguments = ["compare", path, "--results-dir", tmp_path / results, "--jobs", 1]
        process = start_hfbench(*arguments, kill_at=kill_at)
        process.join(300)
        assert (process.exitcode == 0) == (not kill_at)
    for part in ("", "tuning"):
        whole, killed = (
            {
                record.stem: timeless(record)
                for record in load_records(tmp_path / name / "tiny" / part)
            }
            for name in ("whole", "killed")
        )
        assert whole == killed
    assert settings_of(tmp_path / "whole") == settings_of(tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.parametrize("other", ["two workers", "ray"])
def test_who_runs_the_trials_does_not_matter(with_exam, tmp_path, other):
    if other == "ray" and not importlib.util.find_spec("ray"):
        pytest.skip("Ray is not installed")
    path = with_exam(**BOTH)
    compare(load_recipe(path), tmp_path / "one")
    options = {"engine": "ray"} if other == "ray" else {"jobs": 2}
    compare(load_recipe(path), tmp_path / "other", **options)
    assert settings_of(tmp_path / "one") == settings_of(tmp_path / "other")
    runs = [
        {record.stem: record.metrics for record in load_records(tmp_path / name / "tiny")}
        for name in ("one", "other")
    ]
    assert runs[0] == runs[1]
    shutil.rmtree(tmp_path / "other")


def test_a_trial_behind_the_median_of_those_before_ends_early(with_exam, tmp_path):
    """Which ones, Optuna's own pruner says as well."""
    rates = [1e-2, 9e-3, 8e-3, 7e-3, 6e-3, 1e-9, 1e-8, 5e-3]
    tune = {"sampler": "grid", "pruner": "median", "space": {"learning_rate": rates}}
    arguments = {"num_train_epochs": 3, "per_device_train_batch_size": 8}
    task = {"metric": "mcc"}  # no usual column of a curve
    recipe = load_recipe(
        with_exam(tune=tune, models=[MINE, FLOOR], seeds=[0], training_arguments=arguments)
    )
    recipe = recipe.model_copy(update={"task": recipe.task.model_copy(update=task)})
    compare(recipe, tmp_path)
    trials = load_trials(ResultsFolder(tmp_path / "tiny"))["mine"]
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(5))
    for trial in trials:
        training, curves = trial.trained[0].training, trial.trained[0].curves["validation"]
        asked, pruned_at = study.ask(), None
        for number, point in enumerate(curves, start=1):
            asked.report(point["mcc"], number)
            if asked.should_prune() and number < 3:
                pruned_at = number
                break
        assert training.pruned_at == pruned_at
        assert training.planned_steps in (None, 3 * training.steps / len(curves))
        state = optuna.trial.TrialState.COMPLETE if pruned_at is None else None
        study.tell(asked, trial.value if state else None, state=state or PRUNED)
    ended = [trial.number for trial in trials if trial.is_pruned]
    assert set(ended) >= {5, 6}
    page = as_markdown(Findings.of(load_comparison(tmp_path / "tiny")))
    assert f"behind the median of those before: {len(ended)} of mine." in page
    assert compare(recipe, tmp_path).ran == []  # known again, with the hurdles they had
