"""What is told while a comparison runs: times, failures, pictures."""

import io
import sys
from types import SimpleNamespace

import pytest

from hfbench.evidence.so_far import table_so_far
from hfbench.execution.live import Notebook, Terminal
from hfbench.execution.progress import Ended, Header, Reporter, View, group_failures
from hfbench.execution.timing import Clock, Expected, forecast, side_by_side
from hfbench.records.schema import Failure
from hfbench.system.terminal import Console

RIGHT = [True, False, True, True] * 10


def failure(step, message="the training loss is not finite"):
    text = f"{message} at optimizer step {step}"
    return Failure(type="NonFiniteLossError", message=text, step=step, module="m", line=1)


def test_equal_failures_are_one_line(write_record, tmp_path):
    failed = [
        write_record(tmp_path, model, seed, RIGHT, failure=failure(2 + seed % 2))
        for model in ("a", "b")
        for seed in range(3)
    ]
    other = write_record(tmp_path, "c", 0, RIGHT, failure=failure(7, "the logits are not finite"))
    lines = group_failures([*failed, other])
    assert lines[0] == (
        "6 runs failed at step 2 or 3: NonFiniteLossError: the training loss is not finite: "
        "a (3), b (3)"
    )
    assert lines[1].startswith("c--seed0: NonFiniteLossError: the logits")
    assert len(lines) == 2


def test_seconds_left_follow_what_cells_took():
    now = [0.0]
    sizes = {name: Expected(10.0, "size alone") for name in ("a0", "a1", "b0", "b1")}
    models = {name: name[0] for name in sizes}
    clock = Clock(sizes, models, jobs=1, now=lambda: now[0])
    assert clock.seconds_left(list(sizes)) is None  # nothing is known of this machine
    clock.start("a0")
    now[0] = 20.0
    clock.step("a0", 50, 100)  # 20 s more
    assert clock.seconds_left(["a1", "b0", "b1"]) == pytest.approx(20 + 3 * 40)
    now[0] = 30.0
    clock.stop("a0")
    clock.finish("a0")
    assert clock.seconds_left(["a1", "b0", "b1"]) == pytest.approx(3 * 30)
    clock.start("b0")
    now[0] = 32.0
    clock.step("b0", 1, 2)
    clock.step("b0", 2, 4)  # b takes 4 s, a is known to take 30
    assert clock.seconds_left(["a1", "b1"]) == pytest.approx(2 + 30 + 4)


def test_a_forecast_says_by_what_it_is_known():
    finished, size = Expected(100.0, "finished runs"), Expected(50.0, "size alone")
    trifle = Expected(0.1, "size alone")
    assert forecast([finished, finished, trifle], 2) == "about 100 s, by finished runs"
    assert forecast([finished, size], 1).startswith("very roughly 2 min, by the sizes")
    assert side_by_side([10, 1, 1], 3) == 10


def header(total, **more):
    values = {"recipe": "r", "cells": total, "kept": 1, "jobs": 2, "time": "about 9 s"}
    return Header(folder="results/r", seconds=9.0, **values, **more)


def test_a_picture_has_bars_a_table_and_the_failures(write_record, tmp_path):
    records = [write_record(tmp_path / "r", "good", seed, RIGHT) for seed in (0, 1)]
    failed = [write_record(tmp_path / "r", "bad", s, RIGHT, failure=failure(2)) for s in (0, 1)]
    runs = {("r", "good"): 5, ("r", "bad"): 2}
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=30)

    def so_far(header, records, rows):
        return table_so_far(records, tmp_path, header.runs, rows)

    view = Terminal(console, so_far)
    view.begin(header(6, runs=runs, finished=records[:1]))
    for number, record in enumerate([*failed, records[1]], 1):
        view.start(record.cell_name)
        view.step(record.cell_name, 3, 7)
        view.stop(record.cell_name)
        view._next_table = 0.0
        view.end(Ended(record.cell_name, number, 6, record, "words", True))
    view.start("good--seed2")
    view.left(120.0)
    text = io.StringIO()
    Console(file=text, width=80).print(view.picture(10))
    view.close()
    shown = text.getvalue()
    assert "2 of 5" in shown
    assert "75.00" in shown  # the mean of the two
    assert "2 runs failed at step 2: NonFiniteLossError" in shown
    assert "3/6 cells about 2 min left" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80
    said = console.file.getvalue()
    assert "r: 6 cells to run (1 finished before), 2 side by side; about 9 s" in said
    assert "[2/6] bad--seed1: FAILED as bad--seed0" in said


def test_a_notebook_draws_one_output_again(monkeypatch, write_record, tmp_path):
    drawn = []
    handle = SimpleNamespace(update=drawn.append)
    fake = SimpleNamespace(
        HTML=lambda text: text, display=lambda html, display_id: drawn.append(html) or handle
    )
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=fake))
    monkeypatch.setitem(sys.modules, "IPython.display", fake)
    record = write_record(tmp_path, "good", 0, RIGHT)
    view = Notebook(None)
    with Reporter(view, [record.cell_name]) as reporter:
        reporter.begin(header(1))
        with reporter.cell(record.cell_name) as bar:
            bar.show(1, 2)
        reporter.finish(record.cell_name, record, "accuracy 75 %")
    assert drawn[-1].startswith("<pre")
    assert "[1/1] good--seed0: accuracy 75 %" in drawn[-1]
    assert "1/1" in drawn[-1]


def test_a_cell_that_another_process_has_is_not_learnt_from():
    expected = {name: Expected(10.0, "finished runs") for name in ("a", "b")}
    clock = Clock(expected, {"a": "a", "b": "b"}, jobs=1)
    reporter = Reporter(View(), ["a", "b"], clock)
    with reporter.cell("a"):
        pass
    reporter.put_off("a")
    assert clock.seconds_left(["a", "b"]) == pytest.approx(20.0)
