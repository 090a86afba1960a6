"""docs/other-tools.md: its recipe and its file are understood as it says."""

import json
import re
import sys
from pathlib import Path

import pytest

from hfbench.cli import app as cli

PAGE = (Path(__file__).parents[2] / "docs" / "other-tools.md").read_text("utf-8")
(RECIPE,) = re.findall(r"```yaml\n(# rows.yaml\n.*?)```", PAGE, re.DOTALL)
(ANSWERS,) = re.findall(r"```csv\n(.*?)```", PAGE, re.DOTALL)


def test_the_plan_understands_the_files_as_the_page_says(tmp_path, monkeypatch, capsys):
    texts = [line.rpartition(",")[0] for line in ANSWERS.splitlines()[1:]]
    labels = ("negative", "positive")
    rows = [f"review of number {i},{labels[i % 2]}" for i in range(20)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *rows]))
    right = [f"{text},{label}" for text, label in zip(texts, labels[::-1], strict=True)]
    (tmp_path / "test.csv").write_text("\n".join(["text,label", *right]))
    lines = [{"id": f"test/{i}", "run": run, "prediction": i} for run in (1, 2, 3) for i in (0, 1)]
    (tmp_path / "api.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "production.csv").write_text(ANSWERS)
    (tmp_path / "rows.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["hfbench", "plan", "rows.yaml"])
    with pytest.raises(SystemExit) as leave:
        cli.main()
    assert not leave.value.code
    said = " ".join(capsys.readouterr().out.split())
    (told,) = re.findall(r"(Predictions of production:.*?\))\n", PAGE, re.DOTALL)
    assert " ".join(told.split()) in said
    assert "api--seed1-3" in said
