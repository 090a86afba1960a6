"""Answers of a file: which row answers which example, and what numbers an answer becomes."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, softmax

from hfbench.data.answers import load_answers
from hfbench.data.task import load_task
from hfbench.errors import UserError
from hfbench.recipe.model import Model
from hfbench.recipe.task import Task

WORDS = ["cold", "hot"]


@pytest.fixture
def data(tmp_path):
    """A task whose test split has 6 examples, with ids of its own, and its folder."""
    for split, start, number in (("train", 0, 20), ("dev", 100, 8), ("test", 200, 6)):
        frame = pd.DataFrame(
            {
                "key": [f"k{start + i}" for i in range(number)],
                "text": [f"Text, number {start + i}." for i in range(number)],
                "label": [WORDS[i % 2] for i in range(number)],
            }
        )
        frame.to_csv(tmp_path / f"{split}.csv", index=False)
    files = {split: f"{split}.csv" for split in ("train", "dev", "test")}
    return Task(data_files=files, validation_split="dev", test_split="test"), tmp_path


def load(data, frame, seeds=(0,), ending="csv", **entry):
    task, folder = data
    path = folder / f"answers.{ending}"
    frame = pd.DataFrame(frame)
    if ending == "csv":
        frame.to_csv(path, index=False)
    elif ending == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_json(path, orient="records", lines=True)
    given = {"file": path.name, **entry} if entry else path.name
    model = Model.model_validate({"name": "theirs", "predictions": given})
    loaded = load_task(task, folder)
    return load_answers(model.predictions, "predictions", task, loaded, folder, seeds)


def ids(number=6, split="test"):
    return [f"{split}/{row}" for row in range(number)]


GIVEN = ["cold", "hot", "cold", "hot", "hot", "hot"]  # all right but one
RIGHT = [0, 1, 0, 1, 1, 1]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("known_by", ["id", "key", "text"])
def test_rows_in_any_order_are_found_by_id_or_text(data, ending, known_by):
    own = {
        "id": ids(),
        "key": [f"k{200 + i}" for i in range(6)],
        "text": [f"text number {200 + i}" for i in range(6)],  # but for case and punctuation
    }
    frame = pd.DataFrame({known_by: own[known_by], "prediction": GIVEN}).iloc[[3, 0, 5, 1, 4, 2]]
    entry = {"id_column": "key"} if known_by == "key" else {}
    found = load(data, frame, ending=ending, **entry)
    assert found.logits[None]["test"].argmax(1).tolist() == RIGHT
    assert (found.file.form, found.file.answered) == ("labels", {"test": 6})
    said = {"id": "hfbench's ids", "key": "the data's column 'key'", "text": "6 but for case"}
    assert said[known_by] in found.file.matched_by


def test_the_exact_text_comes_before_one_that_is_alike(data):
    texts = [f"Text, number {200 + i}." for i in range(6)]
    frame = {"text": [*texts, "TEXT NUMBER 200"], "prediction": [*GIVEN, "hot"]}
    with pytest.raises(UserError, match=r"1 of 7 rows are no example of the task \(rows 6;"):
        load(data, frame)


def test_other_splits_are_taken_where_they_are_whole_and_training_rows_are_counted(data):
    every = [*ids(20, "train"), *ids(8, "dev"), *ids()]
    answers = [WORDS[i % 3 == 0] for i in range(28)] + GIVEN
    found = load(data, {"id": every, "prediction": answers})
    assert found.file.answered == {"validation": 8, "test": 6}
    assert found.file.ignored == {"of training examples": 20}
    with pytest.raises(UserError, match=r"7 of 8 validation examples have no answer \(dev/0, dev/"):
        load(data, {"id": every[20:22][1:] + ids(), "prediction": ["hot", *GIVEN]})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.iloc[:4], r"2 of 6 test examples have no answer \(test/4, test/5;"),
        (
            lambda f: pd.concat([f, f.iloc[:1]]),
            r"1 of 7 rows are known as another row is",
        ),
        (lambda f: f.replace("test/5", "test/77"), r"1 of 6 rows are no example.*'test/77'"),
        (lambda f: f.replace("hot", "warm"), r"4 of 6 answers .* one of the classes cold, hot"),
        (lambda f: f.replace("hot", None), r"4 of 6 answers in column .* are not one of"),
        (
            lambda f: f.rename(columns={"id": "number"}),
            "no column says which example a row",
        ),
        (lambda f: f.rename(columns={"prediction": "said"}), "no column has the answers"),
        (lambda f: f.assign(seed=1), "there is a column 'seed': give `seed_column: seed`"),
        (lambda f: f.replace("test/0", None), "1 of 6 rows have no id in column 'id'"),
        (lambda f: f.assign(id=range(6)), "are not hfbench's, as 'test/0' is.*no column 'id'"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_number(data, change, said):
    frame = pd.DataFrame({"id": ids(), "prediction": GIVEN})
    with pytest.raises(UserError, match=said):
        load(data, change(frame))


def test_the_same_text_with_two_answers_is_refused_and_with_one_answer_taken(data):
    texts = [f"Text, number {200 + i}." for i in range(6)]
    again = {"text": [*texts, texts[0]], "prediction": [*GIVEN, GIVEN[0]]}
    assert load(data, again).logits[None]["test"].argmax(1).tolist() == RIGHT
    with pytest.raises(UserError, match=r"1 of 7 rows .* and another answer"):
        load(data, {**again, "prediction": [*GIVEN, "hot"]})


def test_no_message_holds_a_text_of_the_data(data):
    texts = ["a secret sentence", *(f"Text, number {200 + i}." for i in range(1, 6))]
    with pytest.raises(UserError) as error:
        load(data, {"text": texts, "prediction": GIVEN})
    assert "secret" not in str(error.value)
    with pytest.raises(UserError) as error:
        load(data, {"text": texts[1:], "prediction": GIVEN[1:]})
    assert "number 200" not in str(error.value)
    assert "test/0" in str(error.value)


def test_the_data_sets_own_labels_are_not_taken_for_answers(data):
    right = {"id": ids(), "label": [WORDS[i % 2] for i in range(6)]}
    with pytest.raises(UserError, match="has the right answer to every example"):
        load(data, right)
    said = load(data, right, label_column="label")
    assert said.logits[None]["test"].argmax(1).tolist() == [0, 1] * 3


def test_classes_may_be_given_by_number_and_that_is_told(data):
    found = load(data, {"id": ids(), "prediction": RIGHT})
    assert found.logits[None]["test"].argmax(1).tolist() == RIGHT
    assert "classes by their numbers" in found.file.inferred


PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.0, 1.0], [0.3, 0.7], [0.6, 0.4]])


def of_classes(values):
    return {"id": ids(), "hot": values[:, 1], "cold": values[:, 0]}


def as_objects(values):
    rows = [dict(zip(WORDS, row, strict=True)) for row in values.tolist()]
    return {"id": ids(), "probabilities": rows}


@pytest.mark.parametrize(
    ("frame", "ending", "entry"),
    [
        (of_classes(PROBABILITIES), "csv", {}),
        (of_classes(PROBABILITIES), "parquet", {"scores": "probabilities"}),
        (as_objects(PROBABILITIES), "jsonl", {}),
        ({"id": ids(), "probabilities": PROBABILITIES.tolist()}, "parquet", {}),
        ({"id": ids(), "p": list(map(json.dumps, PROBABILITIES.tolist()))}, "csv",
         {"score_columns": "p"}),
        ({"id": ids(), "p": PROBABILITIES[:, 1]}, "csv", {"score_columns": "p"}),
        ({"id": ids(), "a": PROBABILITIES[:, 1], "b": PROBABILITIES[:, 0]}, "csv",
         {"score_columns": {"hot": "a", "cold": "b"}}),
        ({"id": ids(), "a": PROBABILITIES[:, 1], "b": PROBABILITIES[:, 0]}, "csv",
         {"score_columns": ["b", "a"], "scores": "probabilities"}),
    ],
)  # fmt: skip
def test_probabilities_come_back_from_the_logits_whatever_their_columns(data, frame, ending, entry):
    found = load(data, frame, ending=ending, **entry)
    logits = found.logits[None]["test"]
    assert found.file.form == "probabilities"
    assert logits.dtype == np.float32
    assert softmax(logits, axis=1) == pytest.approx(PROBABILITIES, abs=1e-6)


def test_logits_stay_as_they_are_and_are_known_by_what_cannot_be_a_probability(data):
    values = np.array([[1.5, -2.0], [0.1, 0.2], [0.0, 3.0], [2.0, 2.5], [-1.0, 0.5], [0.3, 0.3]])
    found = load(data, of_classes(values))
    assert found.file.form == "logits"
    assert "scores taken for logits" in found.file.inferred
    assert found.logits[None]["test"] == pytest.approx(values)
    with pytest.raises(UserError, match=r"6 of 6 rows have no probabilities .* their sum 1"):
        load(data, of_classes(values), scores="probabilities")


def test_scores_of_0_and_1_alone_are_labels(data):
    found = load(data, of_classes(np.eye(2)[RIGHT]))
    assert found.file.form == "labels"
    assert found.logits[None]["test"].argmax(1).tolist() == RIGHT


def test_runs_are_told_apart_by_their_seed(data):
    frame = {
        "id": ids() * 3,
        "run": [7] * 6 + [8] * 6 + [9] * 6,
        "prediction": GIVEN + GIVEN[::-1] + GIVEN,
    }
    found = load(data, frame, seed_column="run", seeds=(8, 7))
    assert list(found.logits) == [8, 7]
    assert found.logits[8]["test"].argmax(1).tolist() == RIGHT[::-1]
    assert found.file.ignored == {"of other seeds": 6}
    with pytest.raises(UserError, match=r"no row has the seed 0; there are 7, 8, 9\. Give `pred"):
        load(data, frame, seed_column="run")
    with pytest.raises(UserError, match="18 of 18 rows have no seed in column 'id'"):
        load(data, frame, seed_column="id")


def write_task(tmp_path, labels, **task):
    rows = [{"text": f"text {i}", "label": label} for i, label in enumerate(labels)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return Task(
        data_files={"train": "rows.jsonl"}, validation_size=4, split="last", **task
    ), tmp_path


SETS = [["a", "c"], ["b"], [], ["a", "b"], ["b", "c"], ["c"], ["a"], []]


@pytest.mark.parametrize("form", ["lists", "columns", "separated"])
def test_sets_of_labels_are_read_as_lists_columns_or_parts(tmp_path, form):
    separator = {"label_separator": ";"} if form == "separated" else {}
    own = [";".join(labels) for labels in SETS] if separator else SETS
    data = write_task(tmp_path, own, problem_type="multi_label_classification", **separator)
    given = [["b", "c"], ["a"], [], ["c"]]
    frame = {
        "lists": {"prediction": given},
        "columns": {name: [int(name in labels) for labels in given] for name in "abc"},
        "separated": {"prediction": [";".join(labels) for labels in given]},
    }[form]
    frame = {"id": [f"train/{i}" for i in range(4, 8)], **frame}
    found = load(data, frame, ending="csv" if form == "separated" else "jsonl")
    wanted = [[name in labels for name in "abc"] for labels in given]
    assert found.file.form == "labels"
    assert (found.logits[None]["validation"] > 0).tolist() == wanted


def test_probabilities_of_labels_become_finite_log_odds(tmp_path):
    data = write_task(tmp_path, SETS)
    values = np.array([[0.0, 1.0, 0.5], [0.2, 0.9, 0.1], [0.4, 0.4, 0.4], [0.7, 0.0, 1.0]])
    frame = {"id": [f"train/{i}" for i in range(4, 8)], "probabilities": values.tolist()}
    logits = load(data, frame, ending="jsonl").logits[None]["validation"]
    assert np.isfinite(logits).all()
    assert expit(logits) == pytest.approx(values, abs=1e-6)


def test_numbers_of_a_regression_are_taken_as_they_are(tmp_path):
    data = write_task(tmp_path, [0.5, 1.25, 2.0, 3.5, 0.25, 4.5, 1.5, 2.75])
    frame = {"id": [f"train/{i}" for i in range(4, 8)], "prediction": [0.5, 4.25, 1.5, -2.0]}
    found = load(data, frame)
    assert found.file.form == "numbers"
    assert found.logits[None]["validation"][:, 0].tolist() == frame["prediction"]
    with pytest.raises(UserError, match="1 of 4 answers in column 'prediction' are not a number"):
        load(data, {**frame, "prediction": [0.5, "nan", 1.5, -2.0]})
