"""`hfbench data`, and what `compare` says of its findings."""

import json
import subprocess
import sys

import pytest


@pytest.fixture
def bad(tmp_path):
    """A file whose texts hold a comma and no quotation marks."""
    rows = [f"good or bad, number {i},{('neg', 'pos')[i % 2]}" for i in range(40)]
    path = tmp_path / "bad.csv"
    path.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    return path


def test_a_file_is_looked_at_with_columns_that_are_guessed(tmp_path, call):
    rows = [f"text of number {i};{1 + i % 5}" for i in range(100)]
    path = tmp_path / "reviews.csv"
    path.write_text("\n".join(["review;stars", *rows]), encoding="utf-8")
    code, shown, error = call("data", path)
    assert code == 1
    assert 'give `sep: ";"` [key: sep]' in " ".join(shown.split())
    assert "column review: words (100 different)" in shown
    assert "5 classes: 1 20, 2 20, 3 20, 4 20, 5 20" in shown
    assert error == ""


def test_healthy_files_and_recipes_end_with_0(write_recipe, tmp_path, call):
    path = write_recipe(models=[{"name": "floor", "control": "majority"}])
    for target in (path, tmp_path / "train.jsonl"):
        code, shown, _ = call("data", target)
        assert "train: 72 examples; 2 classes" in shown
        assert code == 0, shown


def test_json_holds_files_splits_and_findings(bad, call):
    code, shown, _ = call("data", bad, "--json")
    found = json.loads(shown)
    assert code == 1
    assert found["files"]["train"][0]["rows"] == 40
    assert found["types"]["train"]["label"] == "words (40 different)"
    assert found["findings"][0] == {
        "severity": "high",
        "check": "fields",
        "sentence": found["findings"][0]["sentence"],
        "key": "quoting",
    }
    assert set(found) == {"target", "files", "types", "refusal", "splits", "cuts", "findings"}


def test_keys_can_be_given(write_recipe, tmp_path, call):
    rows = [{"a": f"text {i}", "b": f"other text {i} indeed", "c": i % 2} for i in range(40)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert "  b: half have" in call("data", path)[1]
    assert "  a: half have" in call("data", path, "text_column=a", "label_column=c")[1]
    shown = call("data", write_recipe(), "task.validation_size=0.5")[1]
    assert "validation: 48 examples" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv"], "there is no file 'nowhere.csv'; did you mean 'somewhere.csv'?"),
        (["nowhere.yaml"], "there is no recipe 'nowhere.yaml'"),
        (["somewhere.csv", "text_colum=a"], "task.text_colum: unknown key; did you mean"),
        (["corpus.yaml"], "corpus.yaml: it has no task"),
    ],
)
def test_a_users_mistake_is_one_message(arguments, message, tmp_path, monkeypatch, call):
    (tmp_path / "somewhere.csv").write_text("a,b\n1,2\n")
    pretrain = {"corpus": {"builtin": "pets"}}
    models = [{"name": "m", "preset": "gpt-nano", "pretrain": pretrain}]
    recipe = {"name": "c", "models": models, "tokenizer": {"train_on": "corpus"}}
    (tmp_path / "corpus.yaml").write_text(json.dumps(recipe))
    monkeypatch.chdir(tmp_path)
    code, _, error = call("data", *arguments)
    assert code == 2
    assert message in error


def test_the_doctor_needs_no_torch(write_recipe):
    script = (
        "import sys\n"
        f"sys.argv = ['hfbench', 'data', {str(write_recipe())!r}]\n"
        "from hfbench.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "sys.exit(' '.join({'torch', 'transformers', 'sklearn'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "train: 72 examples" in done.stdout
    assert done.returncode == 0, done.stderr


def test_compare_says_the_worst_findings_before_the_first_cell(write_recipe, tmp_path, rows, call):
    # three rows of an author, who writes of one kind
    changed = [{**row, "author": f"a{i // 6}-{i % 2}"} for i, row in enumerate(rows)]
    path = write_recipe(models=[{"name": "floor", "control": "majority"}])
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, changed)), encoding="utf-8")
    code, shown, _ = call("compare", path, "--results-dir", tmp_path / "r")
    assert code == 0
    said, cell = shown.index("HIGH   "), shown.index("floor: ")
    assert said < cell
    assert "`group_column: author` [key: group_column]" in " ".join(shown.split())
    assert "LOW" not in shown
    # nothing runs: nothing to say
    assert "HIGH" not in call("compare", path, "--results-dir", tmp_path / "r")[1]
