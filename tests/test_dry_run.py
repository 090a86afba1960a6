import io
import re

import pytest
from rich.console import Console

from hfbench.dry_run import Target, print_plan
from hfbench.experiment import compare
from hfbench.power import Discordance, detectable_difference, needed_examples, needed_seeds
from hfbench.recipe_file import load_recipe


def plan(recipe, results, **options):
    console = Console(file=io.StringIO(), width=200)
    print_plan(recipe, results, console, **options)
    return console.file.getvalue()


def test_the_design_is_that_of_the_power_analysis(write_recipe, tmp_path):
    recipe = load_recipe(write_recipe(seeds=[0, 1, 2, 3]))
    shown = plan(recipe, tmp_path / "results", target=Target(difference=0.2))
    found = detectable_difference(4, 24, Discordance())
    assert "What 24 examples and 4 seeds can show, with 80 % power" in shown
    assert "assumed: 30 % of the examples discordant, 50 % of that whatever the seed" in shown
    assert f"smallest difference of two trained models: {100 * found:.1f} points (1 pair)" in shown
    examples, seeds = needed_examples(0.2, 4, Discordance()), needed_seeds(0.2, 24, Discordance())
    assert seeds is None
    needed = f"{examples} examples with 4 seeds; no number of seeds suffices with 24 examples"
    assert f"to show 20.0 points (1 pair): {needed}" in shown


def test_given_discordance_is_used(write_recipe, tmp_path):
    recipe = load_recipe(write_recipe(seeds=[0]))
    shown = plan(recipe, tmp_path, target=Target(0.3, discordance=0.25))
    assert "given and assumed; with one seed, nothing is said about other seeds: 25 %" in shown
    assert "impossible, where fewer examples than that are discordant" in shown


def test_time_and_discordance_are_those_of_finished_runs(write_recipe, tmp_path):
    small = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
    models = [{"name": name, **small} for name in ("mine", "other")]
    models[1]["training_arguments"] = {"learning_rate": 1e-4}
    recipe = load_recipe(write_recipe(models=models))
    assert "no run was timed yet of mine, other" in plan(recipe, tmp_path)
    outcome = compare(recipe, tmp_path, console=Console(quiet=True))
    shown = plan(recipe, tmp_path)
    assert "0 of 4 cells to run" in shown
    assert "measured on the finished runs" in shown
    more = load_recipe(write_recipe(models=models, seeds=[0, 1, 2, 3]))
    shown = plan(more, tmp_path)
    assert "4 of 8 cells to run" in shown
    seconds = sum(record.cell_seconds for record in outcome.ran)
    said = float(re.search(r"about (\d+) s, by finished runs", shown).group(1))
    assert said == pytest.approx(seconds, abs=1)
