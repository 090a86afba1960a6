"""The sentences of the answer, against the table that stands below them."""

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfbench.evidence.comparison import compare_records
from hfbench.evidence.findings import Findings
from hfbench.evidence.rows import build_rows
from hfbench.evidence.table import as_markdown
from hfbench.records.asked import Asked
from hfbench.records.schema import Failure
from hfbench.records.store import load_records

FAILURE = Failure(type="E", message="m", step=None)


def draw(seed, share, runs=1, n=200):
    """Answers that share the difficulty of the examples, so that pairs can be distinguished."""
    difficulty = np.random.default_rng(0).random(n)
    own = np.random.default_rng(seed).random((runs, n))
    return 0.7 * difficulty + 0.3 * own < share


def findings_of(folder, **asked):
    return Findings.of(compare_records(load_records(folder), folder, [Asked(**asked)]))


@pytest.fixture
def results(tmp_path, write_record):
    tables = {"good": draw(1, 0.9, 3), "fair": draw(2, 0.65, 3), "alike": draw(3, 0.64, 3)}
    for name, table in tables.items():
        for seed, correct in enumerate(table):
            write_record(tmp_path, name, seed, correct)
    write_record(tmp_path, "floor", None, np.arange(200) % 2 == 1, control=True)  # always y
    return tmp_path


def test_a_single_best_is_named_with_its_distance_to_the_next(results):
    findings = findings_of(results)
    comparison = findings.comparison
    best, second = comparison.models[:2]
    (found,) = [p.difference for p in comparison.pairs if p.first is best and p.second is second]
    assert findings.answer == [
        f"good is the most accurate ({100 * best.value:.1f} %) and, with 95 % confidence, the "
        f"best; {second.name}, the next, is {100 * found.mean:.1f} points (95 % interval "
        f"{100 * found.low:.1f} to {100 * found.high:.1f}) below.",
        'Every other model is better than always answering "y".',
    ]
    assert findings.question == "Which of these 4 models classifies d/s best, and how sure is that?"


def test_questions_that_wait_for_results_are_counted_and_named(results):
    pairs = [("good", "fair"), ("later", "good"), ("fair", "never-ran")]
    findings = findings_of(results, questions=pairs, margin=0.03)
    told, _, _ = findings.answer
    assert told == f"{findings.verdicts[0]}; 2 questions wait for results."
    assert findings.questions == (
        "Intervals are for the answered questions together (Holm's method, 5 % error), and not "
        "corrected for the other pairs. The margin, a difference that matters, is 3.0 points. "
        "2 questions wait for the results of later and never-ran; with these, the intervals of all "
        "get wider."
    )
    page = as_markdown(findings)
    assert f"- {findings.verdicts[0]}" in page
    assert findings.questions in page
    all_wait = findings_of(results, questions=pairs[1:])
    assert all_wait.answer[0] == "2 questions wait for results."
    assert "## What was asked" in as_markdown(all_wait)
    assert findings_of(results, questions=pairs[:1]).questions.startswith("Intervals are for all ")
    assert not findings_of(results).questions


def test_many_questions_are_counted_with_those_that_wait(results):
    pairs = [("good", "fair"), ("good", "alike"), ("fair", "alike"), ("good", "floor")]
    told, *_ = findings_of(results, questions=[*pairs, ("later", "good")]).answer
    assert told.startswith("Of the 5 questions, in 3 the first is better")
    assert told.endswith(" and 1 waits for results.")


def test_a_row_that_shares_a_letter_with_the_best_and_is_beaten_is_explained(
    tmp_path, write_record
):
    """The best against each other one is corrected for less than all pairs are."""
    shares = {"best": 0.75, "near": 0.62, "c": 0.55, "d": 0.55, "e": 0.55, "f": 0.55}
    for number, (name, share) in enumerate(shares.items()):
        for seed, correct in enumerate(draw(number, share, 3, n=400)):
            write_record(tmp_path, name, seed, correct)
    findings = findings_of(tmp_path)
    comparison = findings.comparison
    shared = {
        name
        for name, letters in comparison.letters.items()
        if {*letters} & {*comparison.letters["best"]} and name not in comparison.best_set
    }
    (note,) = [note for note in findings.notes if note.startswith("group: ")]
    assert shared == {"near"}
    assert note.endswith(
        "near shares a letter with best, and yet is not among those that may be the best: for that "
        "5 pairs are tested, and less is corrected for."
    )


def test_of_models_that_never_finished_nothing_is_said_but_that(results, write_record):
    write_record(results, "never", 0, np.ones(200, bool), failure=FAILURE)
    assert findings_of(results).answer[1:] == [
        'Every other model that finished is better than always answering "y".',
        "1 of 1 runs of never failed.",
    ]


def test_the_only_model_that_beats_the_floor_has_its_name(tmp_path, write_record):
    for seed, correct in enumerate(draw(1, 0.9, 3)):
        write_record(tmp_path, "good", seed, correct)
    write_record(tmp_path, "floor", None, np.arange(200) % 2 == 1, control=True)
    assert findings_of(tmp_path).answer[1] == 'good is better than always answering "y".'


def test_all_that_may_be_the_best_are_named(results, write_record):
    for seed, correct in enumerate(draw(5, 0.89, 3)):
        write_record(results, "as-good", seed, correct)
    first = findings_of(results).answer[0]
    assert re.fullmatch(
        r"(as-good|good) is the most accurate \(\d\d\.\d %\), but (as-good|good) may be the best "
        r"as well \(95 % confidence\); the other 3 are not\.",
        first,
    )


def test_a_single_model_and_none(tmp_path, write_record):
    write_record(tmp_path, "one", 0, np.ones(50, bool), failure=FAILURE)
    assert findings_of(tmp_path).answer == ["No run of any model finished."]
    write_record(tmp_path, "two", 0, np.arange(50) < 30)
    assert findings_of(tmp_path).answer == [
        'No model is shown to beat always answering "y".',
        "two is the most accurate (60.0 %); there is no other model to compare it with.",
        "1 of 1 runs of one failed.",
    ]


def test_questions_come_first_and_are_their_own_family(results):
    findings = findings_of(results, questions=[("fair", "alike")])
    (pair,) = findings.comparison.questions
    assert pair.p_value == pair.difference.p_value  # not corrected for the other pairs
    assert findings.question == "Is fair better than alike on d/s?"
    low, high = (100 * pair.difference.family_low, 100 * pair.difference.family_high)
    assert findings.answer[0] == (
        f"fair cannot be distinguished from alike: that it is worse by more than {-low:.1f} "
        f"points, or better by more than {high:.1f} points, is excluded."
    )
    assert len(findings.answer) == 3


def test_a_reference_asks_of_each_other_model(results):
    findings = findings_of(results, reference="fair")
    asked = {(p.first.name, p.second.name) for p in findings.comparison.questions}
    assert asked == {("good", "fair"), ("alike", "fair"), ("floor", "fair")}
    assert re.search(r"; good is better than fair by \d+\.\d points", findings.answer[0])


def test_a_margin_says_what_is_equal_enough(results, write_record):
    wide = findings_of(results, questions=[("fair", "alike")], margin=0.2)
    assert wide.answer[0].startswith("fair and alike differ by less than 20.0 points: ")
    assert wide.comparison.questions[0].difference.verdict == "equivalent"
    high = findings_of(results, questions=[("good", "floor")], margin=0.2)
    assert high.comparison.questions[0].difference.verdict == "better"


def test_many_questions_are_counted(results, write_record):
    for number in range(5):
        write_record(results, f"other-{number}", 0, draw(10 + number, 0.6)[0])
    first = findings_of(results, reference="good").answer[0]
    assert re.match(r"Of the 8 questions, in \d+ the second is better", first)


# the rows of a table: how many runs, how good, how many of them collapse or fail, to which answer,
# and from how many pretrainings they start
ROWS = st.lists(
    st.tuples(
        st.integers(1, 3), st.sampled_from([0.3, 0.5, 0.6, 0.7, 0.95]), st.integers(0, 2),
        st.integers(0, 1), st.booleans(), st.integers(0, 2),
    ),
    min_size=1,
    max_size=9,
)  # fmt: skip


@settings(
    derandomize=True, deadline=None, database=None,
    max_examples=settings.default.max_examples // 3,  # a table takes a third of a second
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(ROWS, st.booleans(), st.sampled_from([None, 0.05]))
def test_every_sentence_is_true_of_the_table(
    tmp_path_factory, write_record, rows, with_floor, margin
):
    folder = tmp_path_factory.mktemp("table")
    labels = np.arange(120) % 2
    for number, (runs, share, collapsed, failed, always_y, pretrainings) in enumerate(rows):
        right = draw(number, share, runs, 120)
        for seed in range(runs):
            if seed < collapsed:
                right[seed] = labels == (1 if always_y else 0)
            entry = {"name": f"m{number}"}
            if pretrainings:
                entry["pretrain"] = {"seeds": [seed % pretrainings]}
            write_record(folder, f"m{number}", seed, right[seed], settings={"models": [entry]})
        for seed in range(failed):
            write_record(folder, f"m{number}", runs + seed, right[0], failure=FAILURE)
    if with_floor:
        write_record(folder, "floor", None, labels == 1, control=True)
    questions = [("m0", "m1")] if len(rows) > 1 else []
    findings = findings_of(folder, questions=questions, margin=margin)
    comparison = findings.comparison
    table = {row.model: row for row in build_rows(findings)}
    told = {frozenset((p.first.name, p.second.name)): p.differ for p in comparison.pairs}
    assert 2 <= len(findings.answer) <= 3
    assert sum(map(len, findings.answer)) < 1200
    _check_the_best(" ".join(findings.answer), comparison, table)
    _check_the_floor(" ".join(findings.answer), comparison, table)
    for pair in comparison.questions:
        _check_a_question(findings.answer[0], pair, table)
    _check_the_notes(findings, table)
    for name, row in table.items():
        lost = [("collapsed", "did not train"), ("failed", "failed")]
        for field, what in lost:
            count = getattr(row, field)
            said = f"{count} of {row.runs + row.failed} runs of {name}"
            models = sum(bool(getattr(r, field)) for r in table.values())
            parts = [part for part in findings.answer[-1].split("; ") if what in part]
            assert any(said in part for part in parts) == (count > 0 and models <= 3)
        # a share of letters is what the pairs say
        for other, its in table.items():
            if other != name:
                assert told[frozenset((name, other))] == (not {*row.group} & {*its.group})


def _check_the_best(text, comparison, table):
    said = re.search(r"(\S+) is the most accurate \((\d+\.\d) %(.*?)\)(.*?)\.(?: |$)", text)
    name, percent, lost, rest = said.groups()
    row = table[name]
    assert (f"{row.collapsed} of {row.runs + row.failed} runs did not train" in lost) == bool(
        row.collapsed
    )
    assert table[name].value == max(row.value for row in table.values())
    assert percent == f"{100 * table[name].value:.1f}"
    in_set = [row.model for row in table.values() if row.may_be_best]
    if "and, with 95 % confidence, the best" in rest:
        assert in_set == [name]
    elif "may be the best as well" in rest:
        assert len(in_set) > 1
        assert all(other in rest for other in in_set[1:6])


def _check_a_question(text, pair, table):
    found, first, second = pair.difference, pair.first.name, pair.second.name
    gap = table[first].value - table[second].value
    assert found.mean == pytest.approx(gap, abs=1e-12)
    said = re.search(rf"{first} (is better than|is worse than|and|cannot be disting\w+ from)", text)
    match said.group(1):
        case "is better than":
            assert found.family_low > 0
            assert f"by {100 * gap:.1f} points" in text
        case "is worse than":
            assert found.family_high < 0
            assert f"by {-100 * gap:.1f} points" in text
        case "and":
            assert max(-found.family_low, found.family_high) < found.margin
        case _:
            assert found.family_low <= 0 <= found.family_high
            if not found.withheld:
                least, most = (abs(100 * end) for end in (found.family_low, found.family_high))
                assert f"worse by more than {least:.1f} points" in text
                assert f"better by more than {most:.1f} points, is excluded" in text


def _check_the_notes(findings, table):
    models = {model.name: model for model in findings.comparison.finished}
    (about,) = [line for line in findings.notes if line.startswith("What it is about")]
    numbers = [len({*m.pretrainings}) for m in models.values() if m.pretrainings]
    assert ("these pretrained weights" in about) == (1 in numbers)
    assert ("new pretrainings" in about) == (2 in numbers)
    for name, model in models.items():
        said = "one pretraining for all runs" in findings.footnotes.get(name, "")
        assert said == (len({*(model.pretrainings or [])}) == 1)
    lines = [line for line in findings.notes if line.startswith("Not shown to be better than gu")]
    guessing = {name for name in models if not table[name].above_chance}
    named = set(re.findall(r"m\d|floor", " ".join(lines)))
    assert named <= guessing
    assert bool(lines) == bool(guessing)


def _check_the_floor(text, comparison, table):
    better = {n for n, r in table.items() if (r.above_majority or 0) > 0 and r.p_majority < 0.05}
    same = {n for n, floor in comparison.floors.items() if floor.majority is None}
    trained = {model.name for model in comparison.models if model.trained}
    if "Every model is better" in text:
        assert better == {*table}
    elif only := re.search(r"(\S+) is better than always", text):
        assert better == {only.group(1)} == {*table} - same
    elif "Every other model is better" in text:
        assert better == {*table} - same
        assert same
        said = re.search(r'answering "y"; (.*?) do(?:es)? just that', text)
        named = set(re.findall(r"m\d", said.group(1))) if said else set()
        assert named == same & trained
    elif "No model is shown to beat" in text:
        assert not better
    elif "are not shown" in text or "is not shown" in text:
        said = re.search(r"\. ([^.]*?) (?:is|are) not shown", f". {text}").group(1)
        named = set(re.findall(r"m\d|floor", said))
        assert named <= {*table} - better - same
    else:
        assert "Every model does the same" in text
        assert same == {*table}
