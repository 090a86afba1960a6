import numpy as np
import pytest
from scipy.stats import norm, ttest_rel
from two_way_anova import accuracy_interval, paired_difference

import hfbench
from hfbench.errors import UserError
from hfbench.evidence.judge import judge
from hfbench.evidence.stats import holm


def latent(rng, accuracies, *, runs, examples, seed_sd, shared=0.5):
    """Correct or not, of rows that share the difficulty of the examples: (rows, runs, examples)."""
    everyone = rng.normal(size=examples)
    tables = []
    for accuracy in accuracies:
        own = rng.normal(size=examples)
        value = np.sqrt(shared / 2) * (everyone + own)
        value = value + np.sqrt(1 - shared) * rng.normal(size=(runs, examples))
        shift = seed_sd / norm.pdf(norm.ppf(accuracy))
        value = value + shift * rng.normal(size=(runs, 1))
        tables.append(value + norm.ppf(accuracy) * np.sqrt(1 + shift**2) > 0)
    return np.stack(tables)


@pytest.fixture
def table():
    rng = np.random.default_rng(5)
    right = latent(rng, [0.9, 0.75, 0.75, 0.6], runs=4, examples=600, seed_sd=0.02)
    return dict(zip("abcd", right, strict=True))


def test_it_is_public_and_gives_what_its_names_say(table):
    judged = hfbench.judge(table, questions=[("b", "c")], margin=0.05)
    assert [row.name for row in judged.rows] == sorted(table, key=lambda n: -table[n].mean())
    for row in judged.rows:
        assert row.mean == pytest.approx(table[row.name].mean())
        assert row.low < row.mean < row.high
        assert (row.runs, row.collapsed, row.failed) == (4, 0, 0)
    assert len(judged.pairs) == 6
    assert [p.adjusted_p for p in judged.pairs] == pytest.approx(
        holm([p.p_value for p in judged.pairs])
    )
    (question,) = judged.questions
    assert (question.first, question.second) == ("b", "c")
    assert question.adjusted_p == question.p_value
    assert judged.best == ["a"]
    frame = judged.to_dataframe()
    assert list(frame["name"]) == [row.name for row in judged.rows]
    assert {"mean", "low", "high", "group", "collapsed"} <= {*frame.columns}


def test_letters_and_intervals_follow_the_pairs(table):
    judged = judge(table)
    groups = {row.name: set(row.group) for row in judged.rows}
    for pair in judged.pairs:
        assert pair.differ == (not groups[pair.first] & groups[pair.second])
        assert pair.differ == (not pair.family_low <= 0 <= pair.family_high)
        assert (pair.p_value < 0.05) == (not pair.low <= 0 <= pair.high)
        assert pair.family_low <= pair.low <= pair.mean <= pair.high <= pair.family_high


def test_with_many_runs_it_is_the_two_way_analysis_of_variance():
    rng = np.random.default_rng(1)
    first, second = latent(rng, [0.75, 0.7], runs=60, examples=800, seed_sd=0.03)
    (pair,) = judge({"first": first, "second": second}).pairs
    expected = paired_difference(first, second)
    width = expected.high - expected.low
    assert (pair.low, pair.high) == pytest.approx((expected.low, expected.high), abs=0.02 * width)
    for row, correct in zip(judge({"first": first}).rows, [first], strict=True):
        low, high = accuracy_interval(correct)
        assert (row.low, row.high) == pytest.approx((low, high), abs=0.02 * (high - low))


def test_two_controls_have_the_adjusted_interval_of_their_counts():
    # Bonett and Price (2012), from the counts of the 2 x 2 table
    only_first, only_second, n = 1, 7, 21
    first = np.arange(n)[None] < only_first
    second = (np.arange(n)[None] >= only_first) & (np.arange(n)[None] < only_first + only_second)
    p12, p21 = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    half = norm.ppf(0.975) * np.sqrt((p12 + p21 - (p12 - p21) ** 2) / (n + 2))
    judged = judge({"first": first, "second": second}, controls=["first", "second"])
    found = judged.table.compare([("first", "second")])[0]
    assert (found.low, found.high) == pytest.approx((p12 - p21 - half, p12 - p21 + half), abs=1e-9)
    assert found.mean == pytest.approx(-6 / 21)


def test_of_real_scores_without_seeds_it_is_the_paired_t_test():
    rng = np.random.default_rng(0)
    hard = rng.normal(size=400)
    first, second = hard + rng.normal(0.1, 1, 400), hard + rng.normal(0, 1, 400)
    judged = judge({"first": [first], "second": [second]}, controls=["first", "second"])
    found = judged.table.compare([("first", "second")])[0]
    expected = ttest_rel(first, second)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=0.01)
    assert found.p_value == pytest.approx(expected.pvalue, rel=0.02)


def test_scores_in_other_units_have_the_same_p_values(table):
    rng = np.random.default_rng(0)
    scores = {name: right + 0.1 * rng.normal(size=right.shape) for name, right in table.items()}
    plain, other = judge(scores), judge({n: 1000 * s + 7 for n, s in scores.items()})
    for one, two in zip(plain.pairs, other.pairs, strict=True):
        assert two.p_value == pytest.approx(one.p_value, rel=1e-6)
        assert two.low == pytest.approx(1000 * one.low, rel=1e-6)


@pytest.mark.parametrize("number", [6, 80])
def test_clusters_have_the_robust_variance_and_the_t_test_of_statsmodels(number):
    import statsmodels.api as sm  # takes a second

    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(number), 400 // number)
    of_cluster = rng.normal(size=number)[clusters]
    first = of_cluster + rng.normal(0.2, 1, len(clusters))
    second = rng.normal(size=len(clusters))
    judged = judge({"a": [first], "b": [second]}, controls=["a", "b"], clusters=clusters)
    found = judged.table.compare([("a", "b")])[0]
    fit = sm.OLS(first - second, np.ones(len(first))).fit(
        cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True
    )
    (low, high), *_ = fit.conf_int()
    assert (found.low, found.high) == pytest.approx((low, high), rel=2e-3)
    assert found.p_value == pytest.approx(fit.pvalues[0], rel=5e-3)
    alone = judge({"a": [first], "b": [second]}, controls=["a", "b"]).pairs[0]
    assert alone.high - alone.low < 0.8 * (found.high - found.low)


def test_failed_and_collapsed_runs_are_told_and_not_averaged(table):
    runs = [*table["b"], None]
    flags = [False, True, False, False]
    judged = judge({**table, "b": runs}, collapsed={"b": flags})
    (row,) = [row for row in judged.rows if row.name == "b"]
    assert (row.runs, row.collapsed, row.failed) == (4, 1, 1)
    assert row.mean == pytest.approx(table["b"][[0, 2, 3]].mean())
    all_down = judge(table, collapsed={"b": [True] * 4})
    (row,) = [row for row in all_down.rows if row.name == "b"]
    assert (row.collapsed, row.mean) == (4, pytest.approx(table["b"].mean()))


def test_a_row_whose_runs_all_failed_stands_last_without_numbers(table):
    judged = judge({"gone": [None, None], **table}, reference="gone")
    last = judged.rows[-1]
    assert (last.name, last.runs, last.failed, last.group) == ("gone", 0, 2, "")
    assert np.isnan(last.mean)
    assert judged.questions == []
    nothing = judge({"gone": [None]})
    assert (len(nothing.rows), nothing.pairs, nothing.best) == (1, [], [])


def test_a_margin_turns_intervals_into_verdicts(table):
    def verdicts(margin):
        judged = judge(table, margin=margin, questions=[("b", "c"), ("a", "d"), ("d", "b")])
        return [(q.verdict, q.not_worse) for q in judged.questions]

    assert verdicts(None) == [("undecided", None), ("better", None), ("worse", None)]
    assert verdicts(0.2) == [("equivalent", True), ("better", True), ("worse", False)]
    assert verdicts(0.001)[0] == ("undecided", False)
    assert [verdict for verdict, _ in verdicts(0.99)] == ["equivalent"] * 3


def test_a_loss_or_a_gain_of_the_margin_may_be_all_that_is_excluded(table):
    ends = [judge(table, questions=[pair]).questions[0] for pair in (("b", "c"), ("c", "b"))]
    assert ends[0].family_low < 0 < ends[0].family_high  # not distinguished
    for found in ends:
        margin = (found.family_high - found.family_low) / 2  # between the two ends
        asked = judge(table, questions=[(found.first, found.second)], margin=margin).questions[0]
        assert asked.words == (
            "not worse" if -found.family_low < found.family_high else "not better"
        )
    assert {-found.family_low < found.family_high for found in ends} == {True, False}


def test_the_chance_of_a_new_run_is_that_of_new_runs():
    rng = np.random.default_rng(0)
    first, second = latent(rng, [0.72, 0.68], runs=40, examples=3000, seed_sd=0.02)
    found = judge({"first": first, "second": second}).table.chance("first", "second", 120)
    new = [
        latent(rng, [0.72, 0.68], runs=1, examples=120, seed_sd=0.02).sum(-1) for _ in range(3000)
    ]
    gaps = np.array([one[0, 0] - one[1, 0] for one in new], dtype=float)
    true = np.mean(gaps > 0) + np.mean(gaps == 0) / 2
    assert found.low <= true <= found.high
    assert found.probability == pytest.approx(true, abs=0.05)
    back = judge({"first": first, "second": second}).table.chance("second", "first", 120)
    assert back.probability == pytest.approx(1 - found.probability, abs=1e-6)


def test_rows_do_not_depend_on_their_order_or_on_a_control(table):
    plain = judge(table)
    other = judge(dict(reversed(table.items())))
    assert [row.name for row in other.rows] == [row.name for row in plain.rows]
    assert [p.p_value for p in other.pairs] == pytest.approx([p.p_value for p in plain.pairs])
    with_control = judge({**table, "z": np.ones((1, 600)) * (np.arange(600) % 2)}, controls=["z"])
    kept = [row for row in with_control.rows if row.name != "z"]
    for name in ("low", "high", "seed_sd"):
        found = [getattr(row, name) for row in kept]
        assert found == pytest.approx([getattr(row, name) for row in plain.rows])


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        ({"a": [[1, 0]], "b": [[1, 0, 1]]}, {}, "b has 3 examples and a 2"),
        ({"a": [[1, 0], [1, 0, 1]]}, {}, "a: runs must be of one length"),
        ({"a": [[1, float("nan")]]}, {}, "a: scores must be finite numbers"),
        ({"a": [[1e200, 0]]}, {}, "a: scores must be finite numbers of at most 1e\\+100"),
        ({"a": [[10**400, 0]]}, {}, "a: scores must be finite numbers"),
        ({"a": [["right", 0]]}, {}, "a: scores must be finite numbers"),
        ({"a": [[1]]}, {}, "two examples or more"),
        ({"a": [[1, 0]]}, {"questions": [("a", "c")]}, "questions: no row 'c'"),
        ({"a": [[1, 0]]}, {"questions": [("a", "a")]}, "two different rows"),
        ({"a": [[1, 0]]}, {"reference": "aa"}, "no row 'aa'; did you mean 'a'"),
        ({"a": [[1, 0]]}, {"controls": ["x"]}, "controls: no row 'x'"),
        ({"a": [[1, 0]]}, {"margin": 0}, "margin must be above 0"),
        ({"a": [[1, 0]]}, {"collapsed": {"a": [True, False]}}, "collapsed has 2 values for 1"),
        ({"a": [[1, 0]]}, {"clusters": [1]}, "clusters has shape"),
        ({"a": [[1, 0]]}, {"clusters": [1, 1]}, "all examples are of one cluster"),
    ],
)
def test_what_does_not_fit_is_refused(scores, options, message):
    with pytest.raises(UserError, match=message):
        judge(scores, **options)


def real_scores(rng, means, runs):
    return {name: rng.normal(mean, 0.3, (runs, 300)) for name, mean in means.items()}


def test_of_real_scores_with_one_run_each_nothing_is_claimed():
    """How much seeds matter is unknown then, and could explain any difference."""
    rng = np.random.default_rng(0)
    scores = real_scores(rng, {"a": 3.0, "b": 2.0, "c": 1.0}, runs=1)
    judged = judge(scores, margin=10.0, questions=[("a", "c")])
    assert {row.group for row in judged.rows} == {"a"}
    assert judged.best == ["a", "b", "c"]
    for pair in [*judged.pairs, *judged.questions]:
        assert pair.withheld
        assert (pair.p_value, pair.adjusted_p, pair.differ) == (1.0, 1.0, False)
        assert (pair.verdict, pair.not_worse) == ("undecided", False)
        assert (pair.family_low, pair.family_high) == (-np.inf, np.inf)
        assert pair.low < pair.mean < pair.high


@pytest.mark.parametrize("change", ["a second run of one row", "right and wrong", "controls"])
def test_a_claim_needs_no_second_run_where_seeds_are_known(change):
    rng = np.random.default_rng(0)
    scores = real_scores(rng, {"a": 3.0, "b": 2.0, "c": 1.0}, runs=1)
    known = {}
    if change == "controls":
        known["controls"] = ["a", "b"]
    if change == "right and wrong":
        scores = {name: table > 1.5 for name, table in scores.items()}
    if change == "a second run of one row":
        scores["c"] = rng.normal(1.0, 0.3, (2, 300))
    judged = judge(scores, **known)
    told = {(p.first, p.second) for p in judged.pairs if p.differ}
    expected = {("a", "b"), ("a", "c"), ("b", "c")}
    if change == "controls":  # the third still has its seed
        assert {(p.first, p.second) for p in judged.pairs if p.withheld} == expected - {("a", "b")}
        expected = {("a", "b")}
    if change == "right and wrong":
        expected -= {("a", "b")}  # both are nearly always right
    assert expected <= told
    assert not any(pair.withheld and pair.differ for pair in judged.pairs)


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize(("weight", "is_told"), [(1, False), (3, False), (40, True)])
def test_a_perfect_recall_of_a_class_is_known_from_its_examples_alone(runs, weight, is_told):
    """Of a class that one row always finds and the other never, pseudo-values are all 1 or 0."""
    scores = {"a": np.ones((runs, 200)), "b": np.zeros((runs, 200))}
    (pair,) = judge(scores, bounds=(0, 1), weight=weight).pairs
    assert pair.withheld == (runs == 1)
    assert pair.differ == (is_told and runs == 3)
