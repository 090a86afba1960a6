"""Several processes on the same recipe: each cell runs once, and a dead process holds nothing."""

import json
import os
import signal
import threading
import time

import pytest

from hfbench.execution.compare import compare
from hfbench.execution.engines import Serial
from hfbench.recipe.load import load_recipe
from hfbench.records.store import ResultsFolder, load_records

FLOOR = {"name": "floor", "control": "majority"}


@pytest.fixture
def twenty(write_recipe):
    """20 cells that take no time."""
    return write_recipe(models=[FLOOR], train_sizes=[20, 40], seeds=[*range(10)])


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def test_four_processes_share_twenty_cells_and_run_each_once(twenty, tmp_path, start_hfbench):
    results = tmp_path / "results"
    processes = [start_hfbench("compare", twenty, "--results-dir", results) for _ in range(4)]
    for process in processes:
        process.join(120)
    said = start_hfbench.output.read_text()
    assert [process.exitcode for process in processes] == [0] * 4, said
    records = load_records(results / "tiny")
    assert len(records) == 20
    assert not (results / "tiny" / "records" / "superseded").exists()  # no cell ran twice
    ran = [line for line in said.splitlines() if "validation accuracy" in line]
    assert len(ran) == 20
    assert "were run by other processes" in said
    left = {path.name for path in (results / "tiny").iterdir()}
    tables = {"README.md", "accuracy.csv", "accuracy.tex"}
    assert left == {"records", "asked.json", "hfbench.log", *tables}
    assert not list((results / "tiny" / "records").glob(".*"))


def test_a_cell_that_another_holds_is_waited_for_and_the_others_run(write_recipe, tmp_path):
    recipe = load_recipe(write_recipe(models=[FLOOR, {**FLOOR, "name": "other"}]))
    ended = {}
    with ResultsFolder(tmp_path / "tiny").lock("floor") as is_ours:
        assert is_ours
        thread = threading.Thread(target=lambda: ended.update(it=compare(recipe, tmp_path)))
        thread.start()
        wait_until((tmp_path / "tiny" / "records" / "other.json").exists)
        time.sleep(0.2)
        assert not (tmp_path / "tiny" / "records" / "floor.json").exists()
        assert thread.is_alive()
    thread.join(30)
    assert [record.stem for record in ended["it"].ran] == ["floor", "other"]


def test_two_parts_of_a_recipe_that_run_at_once_share_a_pretraining(
    write_recipe, tmp_path, start_hfbench
):
    """It has the same content under two names, of which neither process knows the other's."""
    pretrain = {
        "corpus": {"builtin": "pets"},
        "training_arguments": {"max_steps": 60, "per_device_train_batch_size": 8},
    }
    model = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
    models = [{**model, "name": name, "pretrain": pretrain} for name in ("one", "two")]
    path = write_recipe(models=models, seeds=[0])
    options = ["--results-dir", tmp_path, "--jobs", 1]
    both = [start_hfbench("compare", path, *options, "--only", name) for name in ("one", "two")]
    for process in both:
        process.join(120)
    said = start_hfbench.output.read_text()
    assert [process.exitcode for process in both] == [0, 0], said
    assert said.count("validation loss") == 1, said
    records = {record.stem: record for record in load_records(tmp_path / "tiny")}
    pretrained = {records[f"pretrain--{name}"].adopted_from for name in ("one", "two")}
    assert pretrained in ({None, "tiny/pretrain--one"}, {None, "tiny/pretrain--two"})
    assert not (tmp_path / "tiny" / "locks").exists()


def test_what_another_made_meanwhile_is_taken_even_if_it_failed(write_recipe, tmp_path, timeless):
    hot = {"name": "hot", "preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
    hot["training_arguments"] = {"learning_rate": 1e30}
    recipe = load_recipe(write_recipe(models=[hot], seeds=[0]))
    (failed,) = compare(recipe, tmp_path / "theirs").ran
    path = tmp_path / "ours" / "tiny" / "records" / "hot--seed0.json"
    ended, asked = {}, threading.Event()

    class Telling(Serial):
        def run(self, *arguments):
            asked.set()
            return super().run(*arguments)

    with ResultsFolder(tmp_path / "ours" / "tiny").lock("hot--seed0"):
        thread = threading.Thread(
            target=lambda: ended.update(it=compare(recipe, tmp_path / "ours", engine=Telling()))
        )
        thread.start()
        assert asked.wait(60)  # it has looked at what there is
        path.parent.mkdir()
        path.write_text(failed.model_dump_json())
    thread.join(30)
    assert ended["it"].ran == []
    assert ended["it"].by_others == 1
    assert ended["it"].failed == [failed]
    again = compare(recipe, tmp_path / "ours")  # a new start tries what has failed
    assert [timeless(record) for record in again.ran] == [timeless(failed)]


def test_a_lock_ends_with_its_process_however_that_ends(write_recipe, tmp_path, start_hfbench):
    endless = {"max_steps": 100_000, "eval_strategy": "no", "logging_strategy": "no"}
    model = {"name": "long", "preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
    path = write_recipe(models=[{**model, "training_arguments": endless}], seeds=[0])
    process = start_hfbench("compare", path, "--results-dir", tmp_path, "--jobs", 1)
    lock = tmp_path / "tiny" / "locks" / "long--seed0.lock"
    wait_until(lock.exists)
    time.sleep(0.5)  # from the file to its lock
    with ResultsFolder(tmp_path / "tiny").lock("long--seed0") as is_ours:
        assert not is_ours
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    with ResultsFolder(tmp_path / "tiny").lock("long--seed0") as is_ours:
        assert is_ours


def test_a_results_folder_that_cannot_be_written_is_an_error_at_once(
    write_recipe, tmp_path, capsys
):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "tiny").write_text("a file where a folder should be")
    from hfbench.errors import StorageError

    with pytest.raises(StorageError, match=r"tiny cannot be written: .*File exists"):
        compare(load_recipe(write_recipe(models=[FLOOR])), tmp_path / "results")


def test_what_a_killed_process_left_half_written_is_removed(write_recipe, tmp_path):
    records = tmp_path / "tiny" / "records"
    records.mkdir(parents=True)
    for name in (".floor.json.1234.tmp", ".floor.parquet.99.tmp", ".other.json.7.tmp"):
        (records / name).write_text(json.dumps({})[:1])
    compare(load_recipe(write_recipe(models=[FLOOR])), tmp_path)
    assert sorted(path.name for path in records.iterdir()) == [
        ".other.json.7.tmp", "floor.json", "floor.parquet",
    ]  # fmt: skip
