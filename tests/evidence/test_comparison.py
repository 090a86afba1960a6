import numpy as np
import pytest

from hfbench.errors import UserError
from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import Findings
from hfbench.evidence.judge import judge
from hfbench.evidence.stats import holm


def draw(seed, share, runs=1, n=200):
    """Answers that share the difficulty of the examples, so that pairs can be distinguished."""
    difficulty = np.random.default_rng(0).random(n)
    own = np.random.default_rng(seed).random((runs, n))
    return 0.7 * difficulty + 0.3 * own < share


@pytest.fixture
def results(tmp_path, write_record):
    tables = {"good": draw(1, 0.9, 3), "fair": draw(2, 0.65, 3), "alike": draw(3, 0.64, 3)}
    for name, table in tables.items():
        for seed, correct in enumerate(table):
            write_record(tmp_path, name, seed, correct)
    write_record(tmp_path, "floor", None, np.arange(200) % 2 == 1, control=True)  # always y
    return tmp_path


def judged(comparison, **asked):
    """The same models by the public function."""
    return judge(
        {model.name: model.correct for model in comparison.models},
        controls=[model.name for model in comparison.models if model.seeds == [None]],
        **asked,
    )


def test_the_table_is_what_judge_says_of_the_answers(results):
    comparison = load_comparison(results)
    expected = judged(comparison)
    assert [model.judged for model in comparison.models] == expected.rows
    assert [pair.difference for pair in comparison.pairs] == expected.pairs
    assert comparison.best == expected.best == ["good"]
    assert comparison.letters == {row.name: row.group for row in expected.rows}
    accuracies = [model.value for model in comparison.models]
    assert accuracies == sorted(accuracies, reverse=True)
    for model in comparison.models:
        assert model.value == pytest.approx(model.correct.mean())


def test_pairs_have_holm_over_all_of_them_and_letters_follow(results):
    comparison = load_comparison(results)
    assert len(comparison.pairs) == 6
    raw = [pair.difference.p_value for pair in comparison.pairs]
    assert [pair.p_value for pair in comparison.pairs] == pytest.approx(holm(raw))
    for pair in comparison.pairs:
        shared = set(comparison.letters[pair.first.name]) & set(
            comparison.letters[pair.second.name]
        )
        assert bool(shared) != pair.differ
        found = pair.difference
        assert pair.differ == (not found.family_low <= 0 <= found.family_high)
    assert comparison.letters["good"] == "a"
    assert set(comparison.letters["fair"]) & set(comparison.letters["alike"])


def test_the_floor_in_the_table_is_tested_once(results):
    comparison = load_comparison(results)
    floor = comparison.floors["good"]
    (pair,) = [p for p in comparison.pairs if p.second.name == "floor" and p.first.name == "good"]
    assert (floor.label, floor.chance) == ("y", 0.5)
    for name in ("mean", "low", "high", "p_value"):
        assert getattr(floor.majority, name) == pytest.approx(getattr(pair.difference, name))
    assert floor.above_majority
    assert floor.above_chance
    assert comparison.floors["floor"].majority is None
    assert not comparison.floors["floor"].above_chance


def test_the_floor_is_a_family_of_its_own_whether_or_not_it_is_a_row(results):
    with_row = load_comparison(results)
    for path in (results / "records").glob("floor*"):
        path.unlink()
    comparison = load_comparison(results)
    assert {pair.second.name for pair in comparison.pairs} == {"fair", "alike"}
    floor = np.arange(200) % 2 == 1
    table = judged(comparison).table.and_control("floor", floor.astype(float))
    names = [model.name for model in comparison.models]
    against = table.compare([(name, "floor") for name in names])
    for name, expected in zip(names, against, strict=True):
        found = comparison.floors[name]
        assert found.majority.mean == expected.mean
        assert found.p_majority == pytest.approx(expected.adjusted_p)
        # further pairs do not change it
        assert with_row.floors[name].p_majority == pytest.approx(found.p_majority)


def test_a_model_below_the_floor_has_a_negative_difference(results, write_record):
    for seed, correct in enumerate(draw(4, 0.2, 3)):
        write_record(results, "bad", seed, correct)
    floor = load_comparison(results).floors["bad"]
    assert floor.majority.low < floor.majority.mean < floor.majority.high < 0
    assert not floor.above_majority
    assert not floor.above_chance


def test_no_records_or_only_pretraining_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no records here"):
        load_comparison(tmp_path)


def test_a_learning_curve_says_from_how_many_examples_on_which_model_wins(tmp_path, write_record):
    shares = {10: (0.5, 0.5), 30: (0.9, 0.5), 90: (0.5, 0.5), 270: (0.9, 0.5), 810: (0.9, 0.5)}
    for size, (mine, theirs) in shares.items():
        for seed in range(3):
            for model, share, salt in (("mine", mine, 0), ("theirs", theirs, 10)):
                correct = draw(seed + salt, share)[0]
                write_record(tmp_path, model, seed, correct, train_size=size)
    comparison = load_comparison(tmp_path)
    # at 30 by itself, but not at 90
    assert Findings.of(comparison).curve[:-1] == [
        "mine beats theirs from 270 training examples on."
    ]
    for path in (tmp_path / "records").glob("*n270*"):
        path.unlink()
    for path in (tmp_path / "records").glob("*n810*"):
        path.unlink()
    assert Findings.of(load_comparison(tmp_path)).curve[:-1] == [
        "With 90 training examples no two models can be distinguished."
    ]


def test_every_row_that_always_gives_the_commonest_class_is_the_floor(results, write_record):
    for seed in range(2):
        write_record(results, "collapsed", seed, np.arange(200) % 2 == 1)
    comparison = load_comparison(results)
    assert comparison.floors["collapsed"].majority is None
    assert comparison.floors["floor"].majority is None
    assert comparison.letters["collapsed"] == comparison.letters["floor"]
    # its table has three models that are distinguished from the floor, and one that is the floor
    assert Findings.of(comparison).answer[1:] == [
        'Every other model is better than always answering "y"; collapsed does just that.',
        "2 of 2 runs of collapsed did not train.",
    ]
