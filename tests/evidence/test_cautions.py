"""What a table says of texts that were cut, and of what models had seen before or never."""

import io

import numpy as np
import pytest
from rich.console import Console

from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import Findings
from hfbench.evidence.latex import as_latex
from hfbench.evidence.page import render_report
from hfbench.evidence.table import as_markdown, print_table
from hfbench.evidence.words import list_labels
from hfbench.records.data import Overlap, SplitData, TaskData
from hfbench.records.schema import Tokens

RIGHT = np.arange(60) % 3 > 0


def findings(folder):
    return Findings.of(load_comparison(folder))


def said_everywhere(folder, line):
    """On the terminal, in Markdown, LaTeX and the report."""
    found = findings(folder)
    console = Console(file=io.StringIO(), width=1000)
    print_table(found, console)
    texts = [console.file.getvalue(), as_markdown(found), as_latex(found), render_report(found)]
    return ["".join(text.split("\\")).count(line) for text in texts] == [1] * 4


def cut(train=0, validation=0, tokens=0, total=100):
    """What a training says of its tokens."""
    counts = {"train": train, "validation": validation}
    return {
        "tokens": {
            split: Tokens(total=total, truncated_examples=number, cut=tokens if number else 0)
            for split, number in counts.items()
        }
    }


def test_texts_that_every_row_cuts_alike_are_told_with_their_share(tmp_path, write_record):
    for model in ("one", "two"):
        for seed in (0, 1):
            write_record(tmp_path, model, seed, RIGHT, training=cut(60, 59, 150))
    write_record(tmp_path, "floor", None, RIGHT, control=True)
    line = "truncation: 60 of 60 train and 59 of 60 validation texts cut at 8 tokens, 60.0 "
    assert findings(tmp_path).cautions == [
        f"{line}% of all tokens cut off (one and two); controls read whole texts (floor)."
    ]
    assert said_everywhere(tmp_path, line)
    assert load_comparison(tmp_path).differences == {}


def test_rows_that_cut_otherwise_are_told_apart(tmp_path, write_record):
    for seed in (0, 1):
        write_record(tmp_path, "one", seed, RIGHT, training=cut(3, 0, 50))
        write_record(tmp_path, "two", seed, RIGHT, training=cut())
    assert findings(tmp_path).cautions == [
        "truncation: 3 of 60 train texts cut at 8 tokens, 20.0 % of all tokens cut off (one); "
        "no text (two)."
    ]


def test_what_is_kept_of_a_text_is_told_where_it_is_not_the_beginning(tmp_path, write_record):
    settings = {"models": [{"name": "one"}], "task": {"truncation": "tail"}}
    write_record(tmp_path, "one", 0, RIGHT, training=cut(3, 0, 50), settings=settings)
    assert "cut off; kept: the end (one)" in findings(tmp_path).cautions[0]


def test_where_no_text_is_cut_nothing_is_said(tmp_path, write_record):
    for seed in (0, 1):
        write_record(tmp_path, "one", seed, RIGHT, training=cut())
    assert findings(tmp_path).cautions == []


def test_records_from_before_tokens_were_counted_have_no_share(tmp_path, write_record):
    tokens = {"train": Tokens(total=9, truncated_examples=3)}
    for seed in (0, 1):
        write_record(tmp_path, "one", seed, RIGHT, training={"tokens": tokens})
    assert findings(tmp_path).cautions == ["truncation: 3 of 60 train texts cut at 8 tokens (one)."]


@pytest.fixture
def write_overlap(tmp_path, write_record):
    """A function that writes a run with what its evaluation examples share with training."""

    def write(model, seed, correct=RIGHT, *, task=None, **overlap):
        settings = {"models": [{"name": model}], "task": task or {"validation_split": "dev"}}
        record = write_record(tmp_path, model, seed, correct)
        counts = Overlap(examples=60, exact=0, near=0, short=0, **overlap)
        task = record.task.model_copy(update={"overlap": {"validation": counts}})
        return write_record(tmp_path, model, seed, correct, task=task, settings=settings)

    return write


def test_texts_of_pairs_and_groups_that_training_has_are_told(tmp_path, write_overlap):
    write_overlap("one", 0, parts={"text": 57, "text_pair": 0}, groups=4)
    write_overlap("one", 1, parts={"text": 50, "text_pair": 0}, groups=0)
    assert findings(tmp_path).cautions == [
        "57 of 60 evaluation examples have the first text of a training example, beside another.",
        "4 of 60 evaluation examples are of a group that training has, too.",
    ]
    size = {"validation_size": 0.2}
    write_overlap("two", 0, task=size, parts={"text": 0, "text_pair": 9}, groups=None)
    assert findings(tmp_path).cautions[1] == (
        "9 of 60 evaluation examples have the second text of a training example, beside another: "
        "`task.group_column` keeps such examples together."
    )


def test_no_shared_text_is_no_caution(tmp_path, write_overlap):
    for seed in (0, 1):
        write_overlap("one", seed, parts={"text": 0, "text_pair": 0}, groups=0)
        write_overlap("two", seed, parts=None, groups=None)
    assert findings(tmp_path).cautions == []


WRONG = np.arange(60) % 10 == 0


def test_a_model_far_below_chance_has_a_footnote_with_the_likely_cause(tmp_path, write_overlap):
    write_overlap("good", 0, RIGHT)
    write_overlap("odd", 0, WRONG, parts={"text": 57, "text_pair": 0})
    found = findings(tmp_path)
    assert (
        "odd: right far less often than guessing (50.0 %): likely because"
        in (found.footnotes["odd"])
    )
    assert "task.group_column keeps them together" in found.footnotes["odd"]
    assert "good" not in found.footnotes
    assert said_everywhere(tmp_path, "odd: right far less often than guessing")


def test_without_shared_texts_the_cause_is_asked_for(tmp_path, write_overlap, write_record):
    write_overlap("odd", 0, WRONG)
    write_record(tmp_path, "weak", 0, np.arange(60) % 3 == 0)
    footnotes = findings(tmp_path).footnotes
    assert "guessing (50.0 %): are labels swapped between the splits" in footnotes["odd"]
    assert "weak" not in footnotes  # a third: below, but not far


def test_few_wrong_answers_are_not_far_below_chance(tmp_path, write_record):
    write_record(tmp_path, "odd", 0, np.array([True, False, False, False, False]))
    assert findings(tmp_path).footnotes == {}


def test_a_control_that_knows_nothing_of_some_texts_says_so(tmp_path, write_record):
    options = {"control": True, "unknown_texts": {"validation": 7}}
    write_record(tmp_path, "tfidf", None, RIGHT, **options)
    write_record(tmp_path, "floor", None, RIGHT, control=True)
    write_record(tmp_path, "knows", None, RIGHT, control=True, unknown_texts={"validation": 0})
    assert findings(tmp_path).footnotes == {
        "tfidf": "[1] tfidf: 7 of 60 evaluation texts (11.7 %) have nothing that training texts "
        "have"
    }


def test_77_classes_do_not_fill_the_terminal(tmp_path, write_record):
    labels = [f"class_{n}" for n in range(77)]
    assert list_labels(labels[:12]) == ", ".join(labels[:12])
    assert list_labels(labels) == f"{', '.join(labels[:10])}, ... (77 in all)"
    counts = {"x": 30, "y": 31, **dict.fromkeys(labels, 0)}
    split = SplitData(examples=60, content_hash="b" * 64, label_counts=counts)
    task = TaskData(
        source="d/s", revision=None, labels=[*counts], evaluation_split="validation",
        splits={"train": split, "validation": split}, left_out={"a": 2, "b": 1},
    )  # fmt: skip
    record = write_record(tmp_path, "one", 0, RIGHT)
    assert findings(tmp_path).data.endswith("labels x, y. Accuracy is on the validation examples.")
    comparison = load_comparison(tmp_path)
    comparison.models[0].finished[0] = record.model_copy(update={"task": task})
    assert Findings.of(comparison).data.endswith(
        "labels x, y, class_0, class_1, class_2, class_3, class_4, class_5, class_6, class_7, ... "
        "(79 in all). Accuracy is on the validation examples. Left out, as too small: 2 classes of "
        "3 rows (a, b)."
    )
