"""From data to a recipe that runs."""

import csv
import random
from pathlib import Path

import pytest

from hfbench import load_recipe
from hfbench.data.guess import guess
from hfbench.recipe.shipped import shipped_recipes

RNG = random.Random(0)
WORDS = ["the", "a", "film", "meal", "was", "so", "good", "bad"]
TEXTS = [" ".join(RNG.choices(WORDS, k=6)) for _ in range(60)]


def test_columns_and_kind_are_guessed():
    stars = [str(n % 5 + 1) for n in range(60)]
    single = guess({"id": [str(n) for n in range(60)], "review": TEXTS, "stars": stars})
    assert (single.text_column, single.label_column) == ("review", "stars")
    assert single.problem_type == "single_label_classification"
    pair = guess({"premise": TEXTS, "hypothesis": TEXTS[::-1], "label": ["0", "1"] * 30})
    assert pair.text_column == ["premise", "hypothesis"]
    several = guess({"comment": TEXTS, "toxic": ["0", "1"] * 30, "insult": ["1", "1", "0"] * 20})
    assert several.label_column == ["toxic", "insult"]
    assert several.problem_type == "multi_label_classification"
    joined = guess({"text": TEXTS, "label": ["a|b", "b", "a|c"] * 20})
    assert joined.label_separator == "|"
    lists = guess({"text": TEXTS, "labels": [["a"], ["a", "b"]] * 30})
    assert lists.problem_type == "multi_label_classification"
    numbers = guess({"text": TEXTS, "score": [f"{n / 7:.2f}" for n in range(60)]})
    assert numbers.problem_type == "regression"
    many = guess({"text": TEXTS, "score": [str(n) for n in range(60)]})
    assert many.problem_type == "regression"
    assert "amounts" in many.notes[0]
    assert guess({"text": TEXTS}) is None


@pytest.fixture
def reviews(tmp_path, rows, monkeypatch):
    monkeypatch.chdir(tmp_path)
    authors = [f"author{n // 3}" for n in range(len(rows))]  # of whom each has an opinion
    with (tmp_path / "reviews.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["author", "review", "opinion"])
        writer.writerows(
            [author, row["text"], "yes" if int(author[6:]) % 2 else "no"]
            for author, row in zip(authors, rows, strict=True)
        )


def test_the_recipe_that_is_written_runs(reviews, tmp_path, call):
    code, shown, error = call("init", "reviews.csv")
    assert code == 0, error
    assert "text: review; label: opinion, one of 2 classes" in shown
    assert "cost: " in shown
    recipe = load_recipe(tmp_path / "reviews.yaml")
    assert recipe.task.text_column == "review"
    assert [model.name for model in recipe.models] == ["majority", "tfidf-logreg", "gpt-nano"]
    text = (tmp_path / "reviews.yaml").read_text("utf-8")
    assert "# group_column: author" in text
    assert "model_name_or_path: sentence-transformers/all-MiniLM-L6-v2" in text
    assert "the Hub does not answer" in text  # the tests ask nobody
    again = call("init", "reviews.csv")
    assert again[0] == 2
    assert "reviews.yaml is there already" in again[2]
    few = ["seeds=[0]", "models.gpt-nano.training_arguments.num_train_epochs=1"]
    code, shown, error = call("compare", "reviews.yaml", *few, "--jobs", "1")
    assert code == 0, error
    assert "3 cells ran" in shown


def test_keys_that_are_known_are_given(reviews, tmp_path, call):
    keys = ["label_column=author", "folds=4"]
    code, _, error = call("init", "reviews.csv", *keys, "--output", "a.yaml")
    assert code == 0, error
    task = load_recipe(tmp_path / "a.yaml").task
    assert (task.label_column, task.folds.folds) == ("author", 4)
    assert call("init", "nowhere.csv")[0] == 2
    (tmp_path / "one.csv").write_text("text\na\nb\n")
    code, _, error = call("init", "one.csv")
    assert (code, "one column, 'text', cannot hold text and label" in error) == (2, True)


def test_recipes_travel_with_the_package(call):
    tomllib = pytest.importorskip("tomllib")
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    packed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    for path in [*(root / "recipes").glob("*.yaml"), root / "recipes" / "rivals_answers.csv"]:
        assert packed[f"recipes/{path.name}"] == f"hfbench/recipes/{path.name}"
    assert all((root / name).exists() for name in packed)
    assert "quickstart" in shipped_recipes()
    assert load_recipe("quickstart").name == "quickstart"
