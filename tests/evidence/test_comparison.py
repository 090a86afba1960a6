import itertools

import numpy as np
import pytest

from hfbench.errors import UserError
from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import Findings
from hfbench.evidence.stats import accuracy_interval, holm, paired_difference


def draw(seed, share, runs=1, n=200):
    """Answers that share the difficulty of the examples, so that pairs can be told apart."""
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


def test_models_are_sorted_and_have_their_intervals(results):
    comparison = load_comparison(results)
    accuracies = [model.accuracy for model in comparison.models]
    assert accuracies == sorted(accuracies, reverse=True)
    for model in comparison.models:
        assert model.interval == accuracy_interval(model.correct)
        assert model.accuracy == pytest.approx(model.correct.mean())


def test_pairs_have_holm_over_all_of_them_and_letters_follow(results):
    comparison = load_comparison(results)
    models = comparison.models
    assert len(comparison.pairs) == 6
    raw = [
        paired_difference(a.correct, b.correct).p_value
        for a, b in itertools.combinations(models, 2)
    ]
    assert [pair.p_value for pair in comparison.pairs] == pytest.approx(holm(raw))
    for pair in comparison.pairs:
        shared = set(comparison.letters[pair.first.name]) & set(
            comparison.letters[pair.second.name]
        )
        assert bool(shared) != pair.differ
    assert comparison.letters["good"] == "a"
    assert set(comparison.letters["fair"]) & set(comparison.letters["alike"])


def test_the_floor_in_the_table_is_tested_once(results):
    comparison = load_comparison(results)
    floor = comparison.floors["good"]
    (pair,) = [p for p in comparison.pairs if p.second.name == "floor" and p.first.name == "good"]
    assert (floor.label, floor.chance) == ("y", 0.5)
    assert (floor.majority, floor.p_majority) == (pair.difference, pair.p_value)
    assert floor.above_majority
    assert floor.above_chance
    assert comparison.floors["floor"].majority is None
    assert not comparison.floors["floor"].above_chance


def test_the_floor_is_tested_where_it_is_no_row(results, write_record):
    for path in (results / "records").glob("floor*"):
        path.unlink()
    comparison = load_comparison(results)
    models, floor = comparison.models, np.arange(200) % 2 == 1
    assert {pair.second.name for pair in comparison.pairs} == {"fair", "alike"}
    raw = [
        paired_difference(a.correct, b.correct).p_value
        for a, b in itertools.combinations(models, 2)
    ]
    raw += [paired_difference(model.correct, floor[None]).p_value for model in models]
    adjusted = holm(raw)
    assert [pair.p_value for pair in comparison.pairs] == pytest.approx(adjusted[:3])
    found = [comparison.floors[model.name].p_majority for model in models]
    assert found == pytest.approx(adjusted[3:])


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


def test_the_answer_names_the_best_whom_it_beats_and_who_is_no_better_than_the_floor(results):
    comparison = load_comparison(results)
    best, fair = comparison.models[0], comparison.models[1]
    (pair,) = [p for p in comparison.pairs if p.first is best and p.second is fair]
    first, second = Findings.of(comparison).answer
    assert first.startswith(
        f"good is the most accurate ({100 * best.accuracy:.1f} %); it beats fair"
    )
    assert f"by {100 * pair.difference.mean:.1f} points (95 % interval" in first
    assert "alike and floor" in first
    assert second == 'Every other model is better than always answering "y".'
    assert (
        Findings.of(comparison).question
        == "Which of these 4 models classifies d/s best, and how sure is that?"
    )


def test_the_answer_counts_those_it_cannot_name_in_a_sentence(tmp_path, write_record):
    write_record(tmp_path, "best", 0, np.arange(200) < 190)
    for number in range(8):
        write_record(tmp_path, f"other-{number}", 0, np.arange(200) < 100 - number)
        if number in (6, 7):
            first, _ = Findings.of(load_comparison(tmp_path)).answer
            assert first.startswith("best is the most accurate (95.0 %); it beats other-0 by 45.0")
            assert first.endswith(
                ["other-4, other-5 and other-6.", "and, by more, 7 others."][number - 6]
            )


def test_the_answer_says_when_nothing_can_be_told_apart(tmp_path, write_record):
    right = draw(1, 0.6)[0]
    for model in ("one", "two", "three"):
        write_record(tmp_path, model, 0, right)
    first, second = Findings.of(load_comparison(tmp_path)).answer
    assert "cannot be told from any other: three and two" in first
    assert "not shown" in second or "better than always" in second


def test_the_answer_of_a_single_model_and_of_none(tmp_path, write_record):
    from hfbench.records.schema import Failure

    failure = Failure(type="E", message="m", step=None)
    write_record(tmp_path, "one", 0, np.ones(50, bool), failure=failure)
    assert Findings.of(load_comparison(tmp_path)).answer == ["No run of any model finished."]
    write_record(tmp_path, "two", 0, np.arange(50) < 30)
    first, second = Findings.of(load_comparison(tmp_path)).answer
    assert first == "two is the most accurate (60.0 %); there is no other model to compare it with."
    assert second == 'two is not shown to be better than always answering "y".'


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
        "With 90 training examples no model is told from another."
    ]


def test_every_row_that_always_gives_the_commonest_class_is_the_floor(results, write_record):
    for seed in range(2):
        write_record(results, "collapsed", seed, np.arange(200) % 2 == 1)
    comparison = load_comparison(results)
    assert comparison.floors["collapsed"].majority is None
    assert comparison.floors["floor"].majority is None
    assert comparison.letters["collapsed"] == comparison.letters["floor"]
    assert (
        Findings.of(comparison).answer[1]
        == 'Every other model is better than always answering "y".'
    )
