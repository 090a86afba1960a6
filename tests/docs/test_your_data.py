"""The samples of docs/your-data.md give what their first lines say, and they are about each key."""

import gzip
import json
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from hfbench.data.task import load_task
from hfbench.recipe.task import Task

PAGE = (Path(__file__).parents[2] / "docs" / "your-data.md").read_text("utf-8")
SAMPLES = re.findall(r"```yaml\n# ([^\n]*)\n(task:\n.*?)```", PAGE, re.DOTALL)
# named by the page, and waited for: a sample with one that Task does not have yet is not run


def task_of(sample):
    return YAML(typ="safe", pure=True).load(sample)["task"]


def rows(number, start=0):
    return [(f"review of number {i}", ("pos", "neg")[i % 2]) for i in range(start, start + number)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files that samples name."""
    folder = tmp_path_factory.mktemp("data")

    def write(name, rows, header="text,label", encoding="utf-8"):
        lines = [*([header] if header else []), *rows]
        (folder / name).write_text("\n".join(lines) + "\n", encoding=encoding)

    def write_jsonl(name, rows):
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
        content = "\n".join(lines).encode()
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)

    lines = [",".join(row) for row in rows(40)]
    write("reviews.csv", lines)
    write("part-1.csv", lines[:20])
    write("part-2.csv", lines[20:])
    write_jsonl("first.jsonl", rows(20, 100))
    write_jsonl("second.jsonl.gz", rows(20, 200))
    write_jsonl("more.jsonl", rows(20, 300))
    write("windows.csv", [line.replace("review", "café") for line in lines], encoding="cp1252")
    write("semicolons.csv", [line.replace(",", ";") for line in lines], "text;label")
    write("stray_quotes.csv", [f'"{line}' if i == 9 else line for i, line in enumerate(lines)])
    write("bare.tsv", [f"{label}\t{text}" for text, label in rows(40)], None)
    pairs = [f"premise {i // 2},hypothesis {i},{('yes', 'no')[i % 2]}" for i in range(40)]
    write("pairs.csv", pairs, "premise,hypothesis,label")
    write("numbers.csv", [f"number {i},{i % 2}" for i in range(40)], "text,sentiment")
    write("stars.csv", [f"text {i},{1 + i % 5}" for i in range(40)], "text,stars")
    tags = ("funny", "sad", "funny;sad", "")
    write("tagged.csv", [f"text {i},{tags[i % 4]}" for i in range(40)], "text,tags")
    write("toxic.csv", [f"text {i},{i % 2},{i % 3 % 2}" for i in range(40)], "text,toxic,insult")
    write("with_rare.csv", [*lines, "a rare review,rare"])
    for i, (text, label) in enumerate(rows(40)):
        (folder / "films" / label).mkdir(parents=True, exist_ok=True)
        (folder / "films" / label / f"{i}.txt").write_text(text)
    return folder


@pytest.mark.parametrize(("said", "sample"), SAMPLES)
def test_a_sample_gives_what_it_says(said, sample, folder):
    values = task_of(sample)
    task = Task.model_validate(values)
    if task.dataset_name:
        assert said == "of the Hub"
        return
    facts = load_task(task, folder).facts
    sizes = ", ".join(f"{data.examples:,} {split}" for split, data in facts.splits.items())
    kind = {"regression": "regression: ", "multi_label_classification": "multi-label: "}
    of = f"{sizes} examples of {', '.join(facts.labels)}"
    assert kind.get(facts.problem_type, "") + of == said


def test_each_key_of_a_task_has_a_sample_and_a_word():
    sampled = set().union(*(task_of(sample) for _, sample in SAMPLES))
    for name in Task.model_fields.keys() - {"trial"}:  # which hfbench itself writes
        assert name in sampled
        assert f"**`{name}`**" in PAGE
    assert sampled <= set(Task.model_fields)
