import io
import json
import re

import pytest
from rich.console import Console

from hfbench import UserError, compare, load_recipe
from hfbench.cli.design import Target
from hfbench.cli.plan import print_plan
from hfbench.evidence.power import Discordance, detectable_difference, needed_examples, needed_seeds
from hfbench.execution.inputs import Inputs
from hfbench.recipe.cells import Shard, plan_comparison


def plan(recipe, results, **options):
    console = Console(file=io.StringIO(), width=200)
    print_plan(recipe, results, console, **options)
    return console.file.getvalue()


def test_the_design_is_that_of_the_power_analysis(write_recipe, tmp_path):
    recipe = load_recipe(write_recipe(seeds=[0, 1, 2, 3]))
    shown = plan(recipe, tmp_path / "results", target=Target(difference=0.2))
    assert "finished runs" not in shown
    found = detectable_difference(4, 24, Discordance())
    assert "What 24 examples and 4 seeds can show, with 80 % power" in shown
    assert "assumed: 30 % of the examples discordant, 50 % of that whatever the seed" in shown
    assert f"smallest difference of two trained models: {100 * found:.1f} points (1 pair)" in shown
    examples, seeds = needed_examples(0.2, 4, Discordance()), needed_seeds(0.2, 24, Discordance())
    assert seeds is None
    needed = f"{examples} examples with 4 seeds; no number of seeds suffices with 24 examples"
    assert f"to show 20.0 points (1 pair): {needed}" in shown


def test_the_margin_of_the_recipe_is_the_difference_to_show(write_recipe, tmp_path):
    shown = plan(load_recipe(write_recipe(margin=0.07)), tmp_path)
    assert "to show 7.0 points (1 pair)" in shown


def test_given_discordance_is_used(write_recipe, tmp_path):
    recipe = load_recipe(write_recipe(seeds=[0]))
    shown = plan(recipe, tmp_path, target=Target(0.3, discordance=0.25))
    assert (
        "given and assumed; with one seed, how much seeds matter is only known from elsewhere: 25 %"
        in shown
    )
    assert "impossible, where fewer examples than that are discordant" in shown


def test_one_seed_can_show_nothing_by_a_measure_other_than_the_accuracy(write_recipe, tmp_path):
    recipe = load_recipe(write_recipe(seeds=[0]), ["task.metric=f1_macro"])
    shown = plan(recipe, tmp_path)
    assert "can be shown of the macro F1: nothing with one seed" in shown
    assert "smallest difference" not in shown


def test_time_and_discordance_are_those_of_finished_runs(write_recipe, tmp_path, monkeypatch):
    """Also those of a shard, which are by all that is finished."""
    monkeypatch.setattr("hfbench.cli.plan.choose_jobs", lambda *_: 1)
    small = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
    models = [{"name": name, **small} for name in ("mine", "other")]
    models[0]["training_arguments"] = {"num_train_epochs": 3, "learning_rate": 5e-3}  # both learn
    models[1]["training_arguments"] = {"num_train_epochs": 4, "learning_rate": 1e-3}
    recipe = load_recipe(write_recipe(models=models))
    outcome = compare(recipe, tmp_path, console=Console(quiet=True))
    more = load_recipe(write_recipe(models=models, seeds=list(range(22))))  # more than a second
    shown = plan(more, tmp_path)
    assert "40 of 44 cells to run" in shown
    assert "measured on the finished runs" in shown
    seconds = 10 * sum(record.cell_seconds for record in outcome.ran)
    said = float(re.search(r"about (\d+) s, by finished runs", shown).group(1))
    assert said == pytest.approx(seconds, abs=1)
    shown = plan(more, tmp_path, shard=Shard(2, 2))
    assert "shard 2/2: 20 of 22 cells to run" in shown
    assert "measured on the finished runs" in shown
    assert "s, by finished runs" in shown


def stems(shown):
    """The cells of the table, each with its state."""
    return re.findall(r"^([\w-]+) .* (to run|finished) *$", shown, re.MULTILINE)


def test_a_shard_shows_what_its_run_runs(write_recipe, tmp_path):
    models = [
        {"name": f"words-{c}", "control": "tfidf-logreg", "config": {"C": c}} for c in (1, 2, 3)
    ]
    recipe = load_recipe(write_recipe(models=models))
    for number, count in ((2, 2), (5, 5)):
        shard, results = Shard(number, count), tmp_path / f"{number}-of-{count}"
        shown = plan(recipe, results, shard=shard)
        part = f"{number}/{count}"
        outcome = compare(recipe, results, shard=part, console=Console(quiet=True))
        ran = [record.stem for record in outcome.ran]
        assert stems(shown) == [(stem, "to run") for stem in ran]
        assert f"shard {number}/{count}: {len(ran)} of {len(ran)} cells to run" in shown
        again = plan(recipe, results, shard=shard)
        assert stems(again) == [(stem, "finished") for stem in ran]
        assert f"shard {number}/{count}: 0 of {len(ran)} cells to run" in again


def test_a_shard_whose_pretraining_is_missing_is_refused_as_its_run_is(write_recipe, tmp_path):
    small = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
    pretrain = {"corpus": {"builtin": "pets", "first": 200}}
    recipe = load_recipe(write_recipe(models=[{"name": "mine", **small, "pretrain": pretrain}]))
    assert "pretrain--mine" in plan(recipe, tmp_path)
    with pytest.raises(UserError, match=r"--shard: mine must be pretrained before"):
        plan(recipe, tmp_path, shard=Shard(1, 2))


@pytest.mark.parametrize(("shard", "code"), [("2/3", 0), ("3/2", 2)])
def test_the_command_line_plans_a_shard(write_recipe, tmp_path, call, shard, code):
    arguments = ["compare", write_recipe(), "--results-dir", tmp_path / "results", "--dry-run"]
    ended, shown, error = call(*arguments, "--shard", shard)
    assert ended == code
    if code:
        assert "--shard: 3/2 is none of 1/2 to 2/2" in error
    else:
        assert stems(shown) == [("mine--seed1", "to run")]
        assert "shard 2/3: 1 of 1 cells to run" in shown


def test_the_plan_says_how_many_texts_each_model_would_cut(write_recipe, tmp_path, rows):
    small = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
    models = [{"name": name, **small} for name in ("mine", "other")]
    models.append({"name": "long", "preset": "gpt-nano", "config": {"n_positions": 256}})
    models.append({"name": "floor", "control": "majority"})
    task = {"data_files": {"train": "train.jsonl"}, "validation_size": 0.25, "max_length": 4}
    recipe = load_recipe(write_recipe(models=models, task=task))
    tokens = Inputs(recipe, plan_comparison(recipe)).tokenized_whole(recipe.models[0]).tokens
    counts = {split: found.truncated_examples for split, found in tokens.items()}
    assert 0 < counts["validation"] <= 24
    left, cut = (sum(getattr(f, name) for f in tokens.values()) for name in ("total", "cut"))
    line = (
        f"Truncation: {counts['train']} of 72 train and {counts['validation']} of 24 validation "
        f"texts cut at 4 tokens, {100 * cut / (left + cut):.1f} % of all tokens cut off "
        "(mine, other and long)"
    )
    assert line in plan(recipe, tmp_path)
    del task["max_length"]
    models[0]["config"] = {"n_positions": 3}
    shown = plan(load_recipe(write_recipe(models=models, task=task)), tmp_path)
    assert "texts cut at 3 tokens" in shown
    assert "Truncation: no text cut (other and long)" in shown


def test_the_plan_of_77_classes_does_not_fill_the_terminal(write_recipe, tmp_path):
    lines = [json.dumps({"text": f"text {n}", "label": f"class_{n % 77}"}) for n in range(77 * 4)]
    (tmp_path / "many.jsonl").write_text("\n".join(lines), encoding="utf-8")
    task = {"data_files": {"train": "many.jsonl"}, "validation_size": 0.5}
    models = [{"name": "floor", "control": "majority"}]
    shown = plan(load_recipe(write_recipe(models=models, task=task)), tmp_path)
    assert "Data: many.jsonl: 154 train, 154 validation examples; labels class_0, " in shown
    assert ", ... (77 in all)" in shown
    assert "class_76" not in shown


def test_nothing_is_assumed_of_a_measure_whose_size_nobody_knows(write_recipe, tmp_path):
    task = {"builtin": "sentiment", "first": 40, "validation_split": "validation", "metric": "mcc"}
    shown = plan(load_recipe(write_recipe(task=task)), tmp_path)
    assert "What can be shown of the MCC is known once two models have run, each with two" in shown
    assert "to show" not in shown


def test_the_plan_counts_pretrainings_and_says_what_one_cannot_tell(write_recipe, tmp_path, call):
    small = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
    corpus = {"builtin": "pets", "first": 200}
    models = [
        {"name": "once", **small, "pretrain": {"corpus": corpus}},
        {"name": "thrice", **small, "pretrain": {"corpus": corpus, "seeds": [0, 1, 2]}},
        {"name": "also-thrice", **small, "pretrain": {"corpus": corpus, "seeds": [4, 5, 6]}},
    ]
    path = write_recipe(models=models, seeds=[0, 1, 2, 3])
    shown = plan(load_recipe(path), tmp_path)
    # that of seed 0 is the same content for two of them
    assert "Pretrainings: 1 of once; 3 each of thrice and also-thrice; 6 to run (" in shown
    assert "once starts from one pretraining: what is found is about these weights" in shown
    found = detectable_difference(3, 24, Discordance(), rows=3)
    said = "of two that start from 3 pretrainings each, if these vary as much as single runs: "
    assert f"{said}{100 * found:.1f} points (1 pair)" in shown
    several = plan(load_recipe(path).only({"thrice", "also-thrice"}, [0, 1, 2, 3]), tmp_path)
    assert "starts from one" not in several
    assert re.search(r"^pretrain--thrice--seed0-2 .* to run *$", several, re.MULTILINE)
    assert re.search(r"^also-thrice--seed0-3 .* to run *$", several, re.MULTILINE)
    _, told, _ = call("--json", "plan", path, "--results-dir", tmp_path)
    counted = json.loads(told.splitlines()[-1])["pretrainings"]
    assert counted == {"once": 1, "thrice": 3, "also-thrice": 3}


def test_a_part_of_the_models_is_planned_and_named(write_recipe, tmp_path, call):
    models = [{"name": name, "control": "majority"} for name in ("one", "other", "third")]
    path = write_recipe(models=models)
    arguments = ["plan", path, "--results-dir", tmp_path]
    _, shown, _ = call(*arguments, "--only", "o*", "--only", "third")
    assert stems(shown) == [("one", "to run"), ("other", "to run"), ("third", "to run")]
    _, shown, _ = call(*arguments, "--only", "t*")
    assert stems(shown) == [("third", "to run")]
    code, _, error = call(*arguments, "--only", "ohter")
    assert (code, "--only: no model 'ohter'; did you mean 'other'" in error) == (2, True)
