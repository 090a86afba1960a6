import numpy as np
import pytest
from rich.console import Console
from scipy.stats import norm

from hfbench import compare, load_comparison, load_recipe, load_records
from hfbench.evidence.comparison import compare_records
from hfbench.evidence.findings import Findings
from hfbench.evidence.judge import judge
from hfbench.evidence.looks import still_open
from hfbench.records.asked import Asked


def standing(folder, **asked):
    return compare_records(load_records(folder), folder, [Asked(**asked)])


@pytest.fixture
def results(tmp_path, write_record):
    hard = np.random.default_rng(0).random(300)
    for name, share in (("good", 0.9), ("as-good", 0.9), ("bad", 0.5)):
        for seed in range(3):
            noise = np.random.default_rng([seed, len(name)]).normal(0, 0.05, 300)
            write_record(tmp_path, name, seed, hard + noise < share)
    return tmp_path


def test_without_questions_those_go_on_that_may_be_the_best(results, write_record):
    assert still_open(standing(results)) == {"good", "as-good"}
    for path in (results / "records").glob("as-good*"):
        path.unlink()
    assert still_open(standing(results)) == set()


def test_with_questions_those_of_undecided_pairs_go_on(results):
    questions = [("good", "bad"), ("good", "as-good")]
    assert still_open(standing(results, questions=questions)) == {"good", "as-good"}
    assert still_open(standing(results, questions=questions[:1])) == set()
    equal = standing(results, questions=questions, margin=0.3)
    assert still_open(equal) == set()  # equivalent is decided, too


def test_looks_share_the_error_and_leave_a_pair_s_own_interval(results):
    once, thrice = standing(results), standing(results, looks=[3, 5, 10])
    for one, other in zip(once.pairs, thrice.pairs, strict=True):
        assert other.p_value == pytest.approx(min(1, 3 * one.p_value))
        assert other.difference.low == one.difference.low
        assert other.difference.family_high >= one.difference.family_high
        found = other.difference
        assert other.differ == (not found.family_low <= 0 <= found.family_high)
    assert any("Looks were planned at 3, 5 and 10 seeds" in n for n in Findings.of(thrice).notes)


def test_a_recipe_with_looks_runs_more_seeds_only_of_what_is_open(write_recipe, tmp_path):
    small = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
    learns = {"num_train_epochs": 4, "learning_rate": 2e-3}
    models = [
        {"name": "mine", **small, "training_arguments": learns},
        {"name": "same", **small, "training_arguments": {**learns, "adam_beta2": 0.998}},
        {"name": "floor", "control": "majority"},
    ]
    recipe = load_recipe(
        write_recipe(
            models=models,
            seeds={"at_most": 3, "looks": [2, 3]},
            questions=[["mine", "same"], ["mine", "floor"]],
        )
    )
    assert (recipe.seeds, recipe.looks) == ([0, 1, 2], [2, 3])
    outcome = compare(recipe, tmp_path / "results", console=Console(quiet=True))
    assert (len(outcome.ran), outcome.kept, outcome.not_run) == (7, 0, 0)
    comparison = load_comparison(outcome.folder)
    assert {model.name: len(model.finished) for model in comparison.models} == {
        "mine": 3, "same": 3, "floor": 1
    }  # fmt: skip
    again = compare(recipe, tmp_path / "results", console=Console(quiet=True))
    assert (again.ran, again.kept) == ([], 7)
    decided = load_recipe(
        write_recipe(
            name="decided", models=models, seeds={"at_most": 3, "looks": [2, 3]},
            questions=[["mine", "floor"]], margin=0.01,
        )
    )  # fmt: skip
    outcome = compare(decided, tmp_path / "results", console=Console(quiet=True))
    runs = {m.name: len(m.finished) for m in load_comparison(outcome.folder).models}
    assert runs["same"] == 2  # nothing is asked of it


@pytest.mark.slow
@pytest.mark.parametrize("planned", [True, False])
def test_looking_until_decided_keeps_its_error_only_if_it_is_planned(planned, capsys):
    """Two equal models; seeds are added until they part, at most to ten."""
    rng, looks, wrong, draws = np.random.default_rng(0), [2, 3, 5, 10], 0, 400
    shift = 0.02 / norm.pdf(norm.ppf(0.7))
    for _ in range(draws):
        hard = rng.normal(size=872)
        rows = {
            name: hard + rng.normal(size=872) / 2 + rng.normal(size=(10, 872))
            + shift * 1.5 * rng.normal(size=(10, 1)) > -0.8
            for name in "ab"
        }  # fmt: skip
        for look in looks:
            few = {name: right[:look] for name, right in rows.items()}
            if judge(few, looks=len(looks) if planned else 1).pairs[0].differ:
                wrong += 1
                break
    with capsys.disabled():
        print(f"\nlooks {'planned' if planned else 'not planned'}: {wrong / draws:.3f}")
    assert (wrong / draws <= 0.05) if planned else (wrong / draws > 0.05)
