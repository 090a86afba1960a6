import io
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from hfbench.errors import UserError, WorkerError
from hfbench.evidence.comparison import load_comparison
from hfbench.execution import jobs as choice
from hfbench.execution.compare import compare
from hfbench.execution.engines.workers import Worker, Workers
from hfbench.execution.estimates import estimate, torch_threads
from hfbench.execution.inputs import Inputs
from hfbench.execution.jobs import (
    CELLS_PER_GPU,
    Demand,
    Machine,
    _this_machine,
    as_many_as_pay,
    choose_jobs,
    refuse_several_gpus,
)
from hfbench.execution.schedule import SharedGpus, Waiting, line_up, ready, slots
from hfbench.execution.survey import Survey
from hfbench.models import CustomGPTConfig, lengths
from hfbench.recipe.cells import Shard, plan_comparison, plan_pretraining
from hfbench.recipe.load import load_recipe
from hfbench.records.predictions import load_predictions
from hfbench.records.schema import ComparedRecord
from hfbench.records.store import load_records
from hfbench.system.interruption import Interrupted, interruptible
from hfbench.system.launch import gpu_of_worker, visible_gpus
from hfbench.training.progress import StepBar

ROOT = Path(__file__).parents[3]
PRETRAIN = {
    "corpus": {"builtin": "pets"},
    "training_arguments": {"max_steps": 4, "per_device_train_batch_size": 8},
}
SMALL = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
MODELS = [{"name": "mine", **SMALL, "pretrain": PRETRAIN}, {"name": "floor", "control": "majority"}]


def run(path, results, *overrides, **options):
    console = Console(file=io.StringIO())
    outcome = compare(load_recipe(path, list(overrides)), results, console=console, **options)
    return outcome, console.file.getvalue()


def test_records_of_two_jobs_are_those_of_one(write_recipe, tmp_path, timeless):
    path = write_recipe(models=MODELS, save_models=True)
    one, said_by_one = run(path, tmp_path / "one", jobs=1)
    two, said_by_two = run(path, tmp_path / "two", jobs=2)
    assert [r.stem for r in two.ran] == ["pretrain--mine", "mine--seed0", "mine--seed1", "floor"]
    alone, together = load_records(one.folder), load_records(two.folder)
    assert [timeless(record) for record in alone] == [timeless(record) for record in together]
    for record in (r for r in alone if isinstance(r, ComparedRecord)):
        first, second = (load_predictions(record, o.folder, "validation") for o in (one, two))
        assert {name: values.tolist() for name, values in first.items()} == {
            name: values.tolist() for name, values in second.items()
        }
    for weights in one.folder.glob("models/*/model.safetensors"):
        others = load_file(two.folder / weights.relative_to(one.folder))
        assert all(torch.equal(tensor, others[n]) for n, tensor in load_file(weights).items())
    lines = [sorted(_endings(said)) for said in (said_by_one, said_by_two)]
    assert lines[0] == lines[1]
    counted = re.findall(r"^\[(\d)/4\]", said_by_two, re.MULTILINE)
    assert counted == ["1", "2", "3", "4"]


def test_workers_are_told_how_long_texts_may_be(write_recipe, tmp_path, monkeypatch):
    mine, once = [{"name": "mine", **SMALL}], {"max_steps": 1}
    path = write_recipe(models=mine, seeds=[0], training_arguments=once)
    recipe = load_recipe(path)
    assert Inputs(recipe, plan_comparison(recipe)).prepared["mine"].max_length == 32
    for key in lengths.FOUND:
        monkeypatch.setitem(lengths.FOUND, key, 5)
    outcome, _ = run(path, tmp_path, jobs=2)
    assert {record.model_facts.max_length for record in outcome.ran} == {5}


def _endings(said):
    """What is said of each cell, without its place and its seconds."""
    lines = [line for line in said.splitlines() if line.startswith("[")]
    return [line.partition("] ")[2].rpartition(", ")[0] for line in lines]


def test_a_model_whose_pretraining_fails_fails_with_it_in_workers_too(write_recipe, tmp_path):
    hot = {**PRETRAIN["training_arguments"], "learning_rate": 1e30}
    model = {"name": "mine", **SMALL, "pretrain": {**PRETRAIN, "training_arguments": hot}}
    outcome, _ = run(write_recipe(models=[model], seeds=[0]), tmp_path, jobs=2)
    assert [record.status for record in outcome.ran] == ["failed", "failed"]
    assert "its pretraining failed" in outcome.ran[1].failure.message


@pytest.fixture
def long_and_short(write_recipe):
    """A cell that takes long, beside one that does not; the third can only start after it."""
    endless = {"max_steps": 100_000, "eval_strategy": "no", "logging_steps": 1000}
    models = [
        {"name": "long", **SMALL, "training_arguments": endless},
        {"name": "short", **SMALL},
    ]
    return write_recipe(models=models, seeds=[0])


def once_it_trains(name, act):
    """Two workers; ``act`` is called with that of this cell when it says that it made a step.

    And the processes that there were.
    """
    processes = []

    class Watched(Worker):
        def receive(self):
            result = super().receive()
            if self.process not in processes:
                processes.append(self.process)
            if self.given and self.given.name == name:
                act(self)
            return result

    return Workers(2, Watched), processes


def test_a_worker_that_is_killed_loses_only_its_cell(long_and_short, tmp_path):
    killing, _ = once_it_trains("long--seed0", lambda worker: worker.process.kill())
    with pytest.raises(WorkerError, match="long--seed0: its worker process was killed by SIGKILL"):
        run(long_and_short, tmp_path, engine=killing)
    assert [record.stem for record in load_records(tmp_path / "tiny")] == ["short--seed0"]
    recipe = load_recipe(long_and_short)
    statuses = Survey(Inputs(recipe, plan_comparison(recipe)), tmp_path).statuses()
    assert [s.cell.stem for s in statuses if s.reasons] == ["long--seed0"]


def test_a_signal_whose_exception_was_lost_ends_the_comparison_all_the_same(
    long_and_short, tmp_path
):
    """As in a finalizer, where Python prints what is raised and goes on."""

    def receive_signal(worker):
        with suppress(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)

    losing, processes = once_it_trains("long--seed0", receive_signal)
    with pytest.raises(Interrupted), interruptible(signal.SIGTERM):
        run(long_and_short, tmp_path, engine=losing)
    assert not any(process.is_alive() for process in processes)


def test_after_a_worker_was_killed_the_cells_that_had_not_started_run(write_recipe, tmp_path):
    killing, _ = once_it_trains("mine--seed0", lambda worker: worker.process.kill())
    path = write_recipe(models=[{"name": "mine", **SMALL}], seeds=list(range(5)))
    with pytest.raises(WorkerError, match="mine--seed0: its worker process was killed by SIGKILL"):
        run(path, tmp_path, engine=killing)
    stems = [record.stem for record in load_records(tmp_path / "tiny")]
    assert stems == [f"mine--seed{seed}" for seed in range(1, 5)]


def test_a_worker_that_died_before_its_cell_is_said_to_have_lost_it(write_recipe, tmp_path):
    class TooLate(Worker):
        def start(self, chosen, cell):
            if chosen.name == "mine--seed0":
                self.process.start()
                self.process.kill()
                self.process.join()
            super().start(chosen, cell)

    with pytest.raises(WorkerError, match="mine--seed0: its worker process was killed"):
        run(write_recipe(), tmp_path, engine=Workers(2, TooLate))
    stems = [record.stem for record in load_records(tmp_path / "tiny")]
    assert "mine--seed0" not in stems
    assert "mine--seed1" in stems


@pytest.mark.parametrize("where", ["while it waits", "between two cells"])
def test_an_interruption_ends_the_workers_at_once(long_and_short, tmp_path, where):
    def interrupt(said, **_):
        if not isinstance(said, str) or said.startswith("["):
            raise KeyboardInterrupt

    console = Console(file=io.StringIO())
    if where == "while it waits":
        engine, processes = once_it_trains("long--seed0", interrupt)
    else:
        engine, processes = once_it_trains("nothing", interrupt)
        console.print = interrupt  # when it says that a cell has ended
    with pytest.raises(KeyboardInterrupt):
        compare(load_recipe(long_and_short), tmp_path, engine=engine, console=console)
    assert processes
    assert not any(process.is_alive() for process in processes)


@pytest.mark.parametrize("moment", ["__init__", "start"])
def test_an_interruption_while_a_worker_starts_leaves_none_behind(write_recipe, tmp_path, moment):
    processes = []

    def interrupted(worker, *given):
        getattr(Worker, moment)(worker, *given)
        processes.append(worker.process)
        raise KeyboardInterrupt

    engine = Workers(2, type("Interrupted", (Worker,), {moment: interrupted}))
    with pytest.raises(KeyboardInterrupt):  # whose traceback keeps the pipe of the worker open
        run(write_recipe(), tmp_path, engine=engine)
    (process,) = processes
    assert process.pid is None or not process.is_alive()


def test_what_cannot_be_loaded_shows_before_a_worker_starts(write_recipe, tmp_path):
    class Never(Worker):
        def __init__(self, *_):
            pytest.fail("a worker was started")

    with pytest.raises(UserError, match="no column 'texts'"):
        run(write_recipe(), tmp_path, "task.text_column=texts", engine=Workers(2, Never))


def order_of_starts(tasks, seconds, slots):
    """Play a schedule: when each task starts, if it takes so many seconds."""
    waiting, running, starts, now = list(tasks), {}, {}, 0
    while waiting or running:
        for task in ready(waiting, list(running), slots):
            waiting.remove(task)
            running[task] = now + seconds[task.name]
            starts[task.name] = now
        assert sum(task.slots for task in running) <= slots
        now = min(running.values())
        running = {task: end for task, end in running.items() if end > now}
    return starts


def test_cells_start_in_their_order_as_far_as_there_are_slots():
    tasks = [Waiting(name, 1) for name in "abc"]
    assert order_of_starts(tasks, {"a": 5, "b": 2, "c": 1}, 2) == {"a": 0, "b": 0, "c": 2}
    assert order_of_starts(tasks, {"a": 5, "b": 2, "c": 1}, 1) == {"a": 0, "b": 5, "c": 7}


def test_a_cell_waits_for_its_pretraining_and_others_pass_it():
    tasks = [Waiting("pre", 1), Waiting("tuned", 1, after="pre"), Waiting("other", 1)]
    starts = order_of_starts(tasks, {"pre": 4, "tuned": 1, "other": 1}, 2)
    assert starts == {"pre": 0, "other": 0, "tuned": 4}


def test_a_cell_that_uses_all_cores_runs_alone():
    tasks = [
        Waiting("a", 1),
        Waiting("wide", 2),
        Waiting("b", 1),
        Waiting("after", 1, after="wide"),
    ]
    starts = order_of_starts(tasks, {"a": 3, "wide": 4, "b": 1, "after": 1}, 2)
    assert starts == {"a": 0, "b": 0, "wide": 3, "after": 7}


def test_wider_cells_share_the_slots_as_they_fit():
    tasks = [Waiting("a", 2), Waiting("b", 3), Waiting("c", 2), Waiting("d", 1)]
    starts = order_of_starts(tasks, {"a": 2, "b": 1, "c": 3, "d": 1}, 4)
    assert starts == {"a": 0, "c": 0, "d": 2, "b": 3}


@pytest.mark.parametrize(
    ("threads", "jobs", "cores", "expected"),
    [
        (1, 8, 8, 1),
        (8, 8, 8, 8),
        (4, 8, 8, 4),
        (2, 3, 8, 1),
        (3, 3, 8, 2),
        (2, 4, 2, 4),
        (1, 9, 1, 1),
    ],
)
def test_threads_take_their_share_of_the_slots(threads, jobs, cores, expected):
    assert slots(threads, jobs, cores) == expected


def test_cells_of_a_pretrained_model_come_after_it(write_recipe):
    recipe = load_recipe(write_recipe(models=[*MODELS, {"name": "other", **SMALL}], seeds=[0]))
    cells = plan_pretraining(recipe) + plan_comparison(recipe)
    tasks = line_up(cells, Inputs(recipe, cells), 2)
    assert tasks == [
        Waiting("pretrain--mine", 1),
        Waiting("mine--seed0", 1, after="pretrain--mine"),
        Waiting("floor", 1),
        Waiting("other--seed0", 1),
    ]
    only = plan_comparison(recipe)  # the pretraining was finished before
    assert all(task.after is None for task in line_up(only, Inputs(recipe, only), 2))


def test_a_cell_that_takes_every_slot_runs_where_there_are_fewer_than_there_were():
    """As after a worker was killed."""
    large, small = Waiting("large", slots=4), Waiting("small", slots=1)
    assert ready([large, small], [], jobs=3) == [large]
    assert ready([large], [small], jobs=3) == []
    assert ready([large], [], jobs=1) == [large]


def test_threads_grow_with_the_work_up_to_the_cores():
    assert [torch_threads(flops, 8) for flops in (0, 1.3e8, 1.9e9, 4.1e9, 1e12)] == [1, 1, 1, 2, 8]
    assert torch_threads(1e12, 1) == 1


def test_work_is_six_operations_for_each_token_and_parameter_of_a_matrix(write_recipe, rows):
    recipe = load_recipe(write_recipe(models=MODELS, seeds=[0]))
    pretraining, *_ = plan_pretraining(recipe)
    classification, *_ = plan_comparison(recipe)
    inputs = Inputs(recipe, [pretraining, classification])
    width = CustomGPTConfig.from_preset("gpt-nano").n_embd
    prepared = inputs.prepared["mine"]
    block = 12 * width**2  # embeddings are looked up, not multiplied
    sentences = list(inputs.corpus(pretraining.model).texts["train"])
    reviews = list(inputs.task.splits["train"]["text"])
    for cell, head, batch, texts, passes in (
        (pretraining, len(prepared.tokenizer) * width, 8, sentences, 4),
        (classification, 2 * width, 16, reviews, 10),
    ):
        tokens = np.mean([len(ids) for ids in prepared.tokenizer(texts)["input_ids"]])
        work = estimate(cell, inputs)
        assert work.pass_flops == pytest.approx(6 * (block + head) * batch * tokens)
        assert work.passes == passes


def test_the_record_says_the_threads_of_its_cell_and_they_are_set_back(
    write_recipe, tmp_path, monkeypatch
):
    monkeypatch.setattr("hfbench.execution.cell.threads_of", lambda *_: 2)
    before = torch.get_num_threads()
    once = {"per_device_train_batch_size": 16, "max_steps": 1}
    outcome, _ = run(write_recipe(seeds=[0], training_arguments=once), tmp_path, jobs=1)
    assert before == torch.get_num_threads() == 1
    assert [record.environment["torch_threads"] for record in outcome.ran] == [2, 2]


@pytest.fixture
def tiny(write_recipe):
    recipe = load_recipe(write_recipe(seeds=[0, 1, 2, 3]))
    cells = plan_comparison(recipe)
    return cells, Inputs(recipe, cells)


def test_by_default_short_work_is_done_in_one_process(tiny):
    assert choose_jobs(None, *tiny) == 1
    assert choose_jobs(3, *tiny) == 3


LONG = Demand(device="cpu", threads=1, seconds=1000.0, parameters=10**6)


@pytest.mark.parametrize(
    ("demands", "cores", "jobs"),
    [
        ([LONG] * 4, 1, 1),
        ([LONG] * 4, 3, 3),
        ([LONG] * 4, 8, 4),
        ([LONG] * 4 + [replace(LONG, threads=5)] * 9, 8, 4),  # which would use the cores alone
        ([replace(LONG, seconds=0.1)] * 4, 8, 1),  # over before a worker has started
        ([], 8, 1),
    ],
)
def test_by_default_each_core_has_a_cell_that_cannot_use_more(demands, cores, jobs):
    assert as_many_as_pay(demands, Machine(cores, gpus=0, gpu_memory=0)) == jobs


@pytest.mark.parametrize(
    ("cores", "gpus", "parameters", "jobs"),
    [
        (16, 1, 10**6, CELLS_PER_GPU),
        (3, 1, 10**6, 2),
        (1, 1, 10**6, 1),
        (64, 3, 10**6, 3 * CELLS_PER_GPU),
        (64, 3, 10**10, 3),  # a GPU holds one
    ],
)
def test_by_default_cells_share_the_gpus(cores, gpus, parameters, jobs):
    demands = [replace(LONG, device="cuda", parameters=parameters)] * 16
    assert as_many_as_pay(demands, Machine(cores, gpus, gpu_memory=80 * 2**30)) == jobs


@pytest.mark.parametrize("has_mps", [False, True])
def test_a_gpu_that_computes_for_several_at_once_has_more(has_mps, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    if has_mps:
        os.mkfifo(tmp_path / "control")
    monkeypatch.setattr(choice, "visible_gpus", lambda: ["0", "1"])
    monkeypatch.setattr(choice, "usable_cores", lambda: 32)
    properties = SimpleNamespace(total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    demands = [replace(LONG, device="cuda", parameters=10**6)] * 40
    assert as_many_as_pay(demands, _this_machine()) == (16 if has_mps else 8)


def test_one_process_does_not_train_on_several_gpus():
    short = replace(LONG, device="cuda", seconds=0.1)
    machine = Machine(cores=8, gpus=2, gpu_memory=80 * 2**30)
    with pytest.raises(UserError, match="2 GPUs are visible to one process"):
        refuse_several_gpus([short], machine)
    assert as_many_as_pay([short] * 3, machine) == 2  # of one GPU each, however short the work
    refuse_several_gpus([], machine)  # controls alone: they demand nothing
    refuse_several_gpus([short], replace(machine, gpus=1))


# torchrun sets both; even of a single process workers would inherit rank and rendezvous
@pytest.mark.parametrize(("name", "number"), [("WORLD_SIZE", "2"), ("LOCAL_RANK", "0")])
def test_processes_that_train_together_have_no_jobs(tiny, monkeypatch, name, number):
    monkeypatch.setenv(name, number)
    with pytest.raises(UserError, match="--jobs 2: the processes of a launcher"):
        choose_jobs(2, *tiny)
    assert choose_jobs(None, *tiny) == choose_jobs(1, *tiny) == 1


def test_workers_take_the_visible_gpus_in_turn(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-ab")
    assert [gpu_of_worker(n, visible_gpus()) for n in range(4)] == ["5", "GPU-ab", "5", "GPU-ab"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert [gpu_of_worker(n, visible_gpus()) for n in range(3)] == ["0", "1", "0"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert visible_gpus() == []


@pytest.mark.parametrize(
    ("code", "method"), [("", "forkserver"), ("torch.cuda._is_in_bad_fork = lambda: True", "spawn")]
)
def test_workers_are_not_forked_from_a_process_that_has_started_cuda(tmp_path, code, method):
    """As one has that imported torchao, which transformers does where it is installed."""
    (tmp_path / "preloaded.py").write_text(f"import torch\n{code}\n")
    script = (
        "from hfbench.execution import fork_server as server; server._PRELOADED = ['preloaded'];"
        "print([server.context(uses_gpus=uses).get_start_method() for uses in (True, False)])"
    )
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    said = subprocess.check_output(command, env=environment, text=True)
    assert said == f"{[method, 'forkserver']}\n"


def seconds_of(cells, gpus, each):
    """Until as many equal cells end that take a second alone, ``each`` at once on a GPU.

    Those side by side on a GPU take turns. Of those that end together, one GPU's come free first.
    """
    jobs = gpus * each
    shared = SharedGpus([str(number) for number in range(gpus)], cells)
    left, waiting, now = {}, cells, 0.0  # worker -> what its cell still needs of a GPU alone
    while waiting or left:
        for worker in sorted(range(jobs), key=lambda worker: worker % gpus):
            if worker in left or not waiting:
                continue
            if (taken := shared.choose([worker], list(left), waiting)) is not None:
                left[taken], waiting = 1.0, waiting - 1
        number = Counter(worker % gpus for worker in left)
        step = min(needs * number[worker % gpus] for worker, needs in left.items())
        left = {w: needs - step / number[w % gpus] for w, needs in left.items()}
        left = {worker: needs for worker, needs in left.items() if needs > 1e-9}
        now += step
    return now


@pytest.mark.parametrize("gpus", [1, 2, 4, 8])
def test_the_last_cells_are_shared_by_all_gpus(gpus):
    assert seconds_of(40, gpus, each=4) == pytest.approx(40 / gpus)


def test_a_gpu_that_is_ahead_takes_more_than_its_share():
    shared = SharedGpus(["0", "1"], cells=4)
    assert [shared.choose([worker], [], 4) for worker in (0, 2)] == [0, 2]
    assert shared.choose([0, 2], [], 5) == 0  # others come back that another process did not run
    assert shared.choose([2], [0], 4) == 2
    assert shared.choose([4], [0, 2], 4) is None  # two of four for each GPU
    assert shared.choose([4, 1], [0, 2], 4) == 1


def test_a_cell_goes_to_the_gpu_with_the_fewest():
    shared = SharedGpus(["0", "1"], cells=10)
    assert shared.choose([2, 3], [0], 10) == 3


def test_what_workers_import_first_asks_for_no_gpu_and_starts_no_thread():
    """A fork of a process that has done one or the other cannot use CUDA, or waits for ever.

    And what a run imports is without what its first step does not need.
    """
    code = """
import sys, threading, torch

def asked(*_):
    raise AssertionError("CUDA is asked")

torch.cuda.is_available = torch.cuda.device_count = torch.cuda._lazy_init = asked
torch.accelerator.is_available = torch.accelerator.device_count = asked
import hfbench.execution.compare, hfbench.execution.engines.workers
late = {"evaluate", "sklearn", "scipy.stats", "matplotlib", "onnx", "onnxruntime", "trl"}
assert not late & {*sys.modules}, late & {*sys.modules}
import hfbench.execution.forked
assert threading.active_count() == 1
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
def test_shards_share_the_cells(write_recipe, count):
    cells = plan_comparison(load_recipe(write_recipe(seeds=[0, 1, 2])))
    parts = [Shard(number, count).of(cells) for number in range(1, count + 1)]
    assert sorted(cell.stem for part in parts for cell in part) == sorted(c.stem for c in cells)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["0/2", "3/2", "1/0", "1", "a/b", "-1/2", "1/2/3", ""])
def test_a_shard_that_does_not_exist_is_refused(text):
    with pytest.raises(UserError, match="--shard"):
        Shard.parse(text)


def test_two_shards_make_the_whole_comparison(write_recipe, tmp_path):
    path = write_recipe()
    first, _ = run(path, tmp_path, shard=Shard.parse("1/2"))
    assert [record.stem for record in first.ran] == ["mine--seed0", "floor"]
    assert load_comparison(first.folder).models  # a table of what there is
    second, _ = run(path, tmp_path, shard=Shard.parse("2/2"))
    assert [record.stem for record in second.ran] == ["mine--seed1"]
    whole, _ = run(path, tmp_path)
    assert (whole.ran, whole.kept) == ([], 3)


def test_a_shard_that_needs_a_pretraining_says_what_comes_before(write_recipe, tmp_path):
    path = write_recipe(models=MODELS)
    with pytest.raises(UserError, match=r"mine must be pretrained before.*hfbench pretrain"):
        run(path, tmp_path, shard=Shard(1, 2))
    assert run(path, tmp_path, shard=Shard(3, 3))[0].ran[0].stem == "floor"  # it needs none
    run(path, tmp_path, only_pretraining=True)
    outcome, _ = run(path, tmp_path, shard=Shard(1, 3))
    assert [record.status for record in outcome.ran] == ["finished"]


def test_the_slurm_example_gives_each_task_its_shard(tmp_path):
    stub = tmp_path / "bin" / "hfbench"
    stub.parent.mkdir()
    stub.write_text('#!/bin/sh\necho "$@"\n')
    stub.chmod(0o755)
    slurm = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_CPUS_PER_TASK": "2"}
    env = {**os.environ, **slurm, "PATH": f"{stub.parent}{os.pathsep}{os.environ['PATH']}"}
    script = ROOT / "recipes" / "slurm" / "array.sbatch"
    command = ["bash", str(script), "recipes/quickstart.yaml", "seeds=[0,1]"]
    done = subprocess.run(
        command, env=env, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["compare", *command[2:], "--shard", "3/4"]
    first = next(line for line in script.read_text().splitlines() if "--array" in line)
    assert first.startswith("#SBATCH --array=1-")  # shards count from 1


def test_a_bar_moves_a_few_times_a_second_however_short_the_steps(monkeypatch):
    shown, now = [], [0.0]
    monkeypatch.setattr("hfbench.training.progress.time.monotonic", lambda: now[0])
    bar = StepBar(lambda step, total: shown.append((step, total)), print)
    for step in range(1, 1001):
        state = type("State", (), {"global_step": step, "max_steps": 1000})
        bar.on_step_end(None, state, None)
        now[0] += 0.001
    assert shown[0] == (1, 1000)
    assert 4 <= len(shown) <= 10


def test_a_terminal_shows_a_bar_for_each_running_cell(write_recipe, tmp_path):
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    compare(load_recipe(write_recipe()), tmp_path, jobs=2, console=console)
    shown = console.file.getvalue()
    assert "3 cells to run, 2 side by side; " in shown
    both = re.search(r"mine--seed0 .*steps.*\n.*mine--seed1 .*steps", shown)
    assert both, "at once"
    assert "validation accuracy" in shown


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_ends_the_command_and_its_workers(long_and_short, tmp_path):
    command = [sys.executable, "-m", "hfbench", "compare", str(long_and_short), "--jobs", "2"]
    command += ["--results-dir", str(tmp_path)]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert any("short--seed0" in line for line in started.stdout)
    os.killpg(started.pid, signal.SIGINT)  # what a terminal does
    assert started.wait(20) != 0
    for _ in range(50):
        if not _group_lives(started.pid):
            return
        time.sleep(0.1)
    pytest.fail("processes are left")


def _group_lives(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
