import io
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from hfbench.errors import UserError, WorkerError
from hfbench.execution.compare import compare
from hfbench.execution.engines import RayCluster
from hfbench.recipe.load import load_recipe
from hfbench.records.predictions import load_predictions
from hfbench.records.schema import ComparedRecord
from hfbench.records.store import load_records

SMALL = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
PRETRAIN = {
    "corpus": {"builtin": "pets"},
    "training_arguments": {"max_steps": 4, "per_device_train_batch_size": 8},
}


def run(path, results, *overrides, **options):
    console = Console(file=io.StringIO())
    return compare(load_recipe(path, list(overrides)), results, console=console, **options)


def test_without_ray_the_extra_is_named(write_recipe, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # an import of it fails
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    with pytest.raises(UserError, match=r"pip install 'hfbench\[ray\]'"):
        run(write_recipe(), tmp_path, engine="ray")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"  # read when it is imported


def test_a_ray_that_does_not_start_is_told(write_recipe, tmp_path, monkeypatch):
    def init(*arguments, **options):
        raise Exception("The current node timed out during startup.")  # Ray's own words and class

    ray = ModuleType("ray")
    ray.is_initialized, ray.init = lambda: False, init
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(
        WorkerError, match=r"a Ray of this machine did not start .*timed out during"
    ):
        run(write_recipe(), tmp_path, engine="ray")


def test_ray_is_not_started_by_each_of_several_processes(write_recipe, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    monkeypatch.setenv("LOCAL_RANK", "0")  # as torchrun does
    recipe = load_recipe(write_recipe(models=[{"name": "floor", "control": "majority"}]))
    with pytest.raises(UserError, match="without a launcher"):
        compare(recipe, tmp_path, engine="ray")


@pytest.fixture(scope="module")
def cluster():
    """Two nodes with one CPU each, on loopback."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "include_dashboard": False}
    two = Cluster(initialize_head=True, head_node_args=node)
    two.add_node(num_cpus=1)
    ray.init(address=two.address, logging_level="error")
    yield two
    ray.shutdown()
    two.shutdown()


@pytest.mark.slow
def test_records_of_a_cluster_are_those_of_one_process(cluster, write_recipe, tmp_path, timeless):
    models = [
        {"name": "mine", **SMALL, "pretrain": PRETRAIN},
        {"name": "other", **SMALL, "training_arguments": {"num_train_epochs": 60}},
        {"name": "floor", "control": "majority"},
    ]
    path = write_recipe(models=models, save_models=True)
    here, there = run(path, tmp_path / "here"), run(path, tmp_path / "there", engine="ray")
    assert [record.stem for record in there.ran] == [record.stem for record in here.ran]
    for one, other in zip(load_records(here.folder), load_records(there.folder), strict=True):
        assert timeless(one) == timeless(other)
        if isinstance(one, ComparedRecord):
            first, second = (load_predictions(one, o.folder, "validation") for o in (here, there))
            assert first["logits"].tolist() == second["logits"].tolist()
    weights = sorted(here.folder.glob("models/*/model.safetensors"))
    assert len(weights) == 5
    for file in weights:
        assert file.read_bytes() == (there.folder / file.relative_to(here.folder)).read_bytes()
    assert run(path, tmp_path / "there", engine="ray").ran == []
    # a node has one CPU: what ran at the same time ran on both
    spans = []
    for record in (record for record in there.ran if record.model == "other"):
        start = datetime.fromisoformat(record.started)
        spans.append((start, start + timedelta(seconds=record.cell_seconds)))
    assert max(start for start, _ in spans) < min(end for _, end in spans)


@pytest.mark.slow
def test_what_is_missing_on_a_node_is_said(cluster, write_recipe, tmp_path):
    class Losing(RayCluster):
        def run(self, *arguments):  # after this process has read it
            (tmp_path / "train.jsonl").unlink()
            return super().run(*arguments)

    with pytest.raises(UserError, match=r"on the Ray node .*train\.jsonl"):
        run(write_recipe(), tmp_path / "results", engine=Losing())


@pytest.mark.slow
def test_cells_that_ray_gives_up_are_named_and_none_starts_from_them(
    cluster, write_recipe, tmp_path
):
    class Dying(RayCluster):
        there = eval("lambda *_: __import__('os')._exit(1)", {"__name__": "__main__"})  # by value

    models = [{"name": "mine", **SMALL, "pretrain": PRETRAIN}]
    with pytest.raises(WorkerError, match="pretrain--mine: WorkerCrashedError") as error:
        run(write_recipe(models=models), tmp_path, engine=Dying())
    assert "mine--seed0" not in str(error.value)
    assert not (tmp_path / "tiny" / "records").exists()


@pytest.mark.slow
def test_after_a_cell_is_lost_the_others_run(cluster, write_recipe, tmp_path):
    class Dying(RayCluster):
        there = eval(  # by value
            "lambda recipe, cell, *rest: __import__('os')._exit(1) if cell.model.name == 'bad' "
            "else __import__('importlib').import_module('hfbench.execution.engines.ray')"
            "._run_there(recipe, cell, *rest)",
            {"__name__": "__main__"},
        )

    models = [{"name": "bad", "control": "majority"}, {"name": "mine", **SMALL}]
    with pytest.raises(WorkerError, match=r"^bad: WorkerCrashedError"):
        run(write_recipe(models=models), tmp_path, engine=Dying())
    assert [one.stem for one in load_records(tmp_path / "tiny")] == ["mine--seed0", "mine--seed1"]


def processes(name):
    """Numbers of those whose command line has this."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if name.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_cell_whose_process_is_killed_is_run_again(cluster, write_recipe, tmp_path, timeless):
    killed = []

    def kill():
        while not (found := processes("ray::there")):
            time.sleep(0.1)
        time.sleep(1)
        os.kill(found[0], signal.SIGKILL)
        killed.append(found[0])

    model = {"name": "mine", **SMALL, "training_arguments": {"num_train_epochs": 30}}
    path = write_recipe(models=[model, {"name": "floor", "control": "majority"}])
    thread = threading.Thread(target=kill)
    thread.start()
    there = run(path, tmp_path / "there", engine="ray")
    thread.join()
    assert killed
    here = run(path, tmp_path / "here")
    for one, other in zip(load_records(here.folder), load_records(there.folder), strict=True):
        assert timeless(one) == timeless(other)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_head_that_is_killed_ends_it_with_a_message_and_it_goes_on(
    write_recipe, tmp_path, timeless
):
    pytest.importorskip("ray")
    model = {"name": "mine", **SMALL, "training_arguments": {"num_train_epochs": 60}}
    path = write_recipe(models=[{"name": "floor", "control": "majority"}, model])
    start = (
        "import sys; from hfbench.execution.engines import ray; ray._SECONDS_WITHOUT_HEAD = 3.0;"
        "from hfbench.cli.app import main; main()"
    )
    options = ["compare", path, "--results-dir", tmp_path / "there", "--engine", "ray"]
    command = [sys.executable, "-c", start, *map(str, options)]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    others = processes("gcs_server")
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while not list(tmp_path.glob("there/tiny/records/floor.json")):
            assert process.poll() is None
            time.sleep(0.2)
        (head,) = set(processes("gcs_server")) - set(others)
        os.kill(head, signal.SIGKILL)
        _, said = process.communicate(timeout=120)
    assert process.returncode == WorkerError.exit_code
    assert "is gone. What is finished is kept, and the same command goes on" in said
    assert "Traceback" not in said
    floor = tmp_path / "there" / "tiny" / "records" / "floor.json"
    before = floor.read_bytes()
    subprocess.run(command, env=environment, check=True)
    assert floor.read_bytes() == before
    here = run(path, tmp_path / "here")
    for one, other in zip(
        load_records(here.folder), load_records(tmp_path / "there" / "tiny"), strict=True
    ):
        assert timeless(one) == timeless(other)
