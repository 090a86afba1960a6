"""What all tests share: no network, and a comparison small enough to run in a second."""

import gc
import importlib
import json
import os
import random
import runpy
import sys
from pathlib import Path

import numpy as np

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported: no test asks the real Hub
# on the CPU also where there is a GPU: numbers are compared to 1e-5, between processes, too
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny tensors: more threads only wait
# processes that a test starts find this checkout, as this one does
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
)

import pytest
from hypothesis import settings

gc.disable()  # while all test files are imported
settings.register_profile("quick", deadline=None, max_examples=20)
settings.register_profile("whole", deadline=None, max_examples=100)


def pytest_configure(config):
    """Properties are asked of more examples with the slow tests."""
    marks = config.option.markexpr
    settings.load_profile("whole" if "slow" in marks and "not slow" not in marks else "quick")


def pytest_collection_finish():
    gc.freeze()
    # A comparison that ends, and records that are read, would give back all that is frozen.
    gc.unfreeze = lambda: None
    gc.enable()
    # Each model that is trained is asked for half a second to see what it costs: here a few times.
    if use := sys.modules.get("hfbench.execution.use"):
        use._SECONDS_ALONE, use._MOST_BATCHES = 0.0, 1


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """What is there outlasts the test: it is no garbage to be looked for.

    A Trainer collects garbage as it starts, and would look at all that the libraries have made,
    which takes half a second.
    """
    gc.collect()
    gc.freeze()


GOOD, BAD = ["good", "fine", "great", "lovely"], ["bad", "poor", "awful", "dull"]


@pytest.fixture(scope="session")
def rows() -> list[dict]:
    """96 texts of 3 to 9 words whose label is in one of them."""
    rng = random.Random(0)
    rows = []
    for number in range(96):
        label = number % 2
        words = [rng.choice(["the", "a", "film", "meal", "was", "so"]) for _ in range(8)]
        words = [*words[: rng.randint(1, 8)], rng.choice(GOOD if label else BAD), "indeed"]
        rows.append({"text": " ".join(words), "label": ["no", "yes"][label]})
    return rows


@pytest.fixture(scope="session")
def recipe_writer(rows):
    """A function that writes data into a folder, and gives one that writes a recipe there.

    That one gives the recipe's path; its arguments change the recipe.
    """

    def writer_of(folder: Path):
        data = "\n".join(map(json.dumps, rows))
        (folder / "train.jsonl").write_text(data, encoding="utf-8")

        def write(**changes) -> Path:
            recipe = {
                "name": "tiny",
                "task": {"data_files": {"train": "train.jsonl"}, "validation_size": 0.25},
                "tokenizer": {"train_on": "task", "vocab_size": 300},
                "models": [
                    {
                        "name": "mine",
                        "preset": "gpt-nano",
                        "config": {"n_layer": 1, "n_positions": 32},
                    },
                    {"name": "floor", "control": "majority"},
                ],
                "seeds": [0, 1],
                "optimizer": "study",
                "training_arguments": {"per_device_train_batch_size": 16, "num_train_epochs": 2},
                **changes,
            }
            path = folder / "tiny.yaml"
            path.write_text(json.dumps(recipe), encoding="utf-8")  # JSON is YAML
            return path

        return write

    return writer_of


@pytest.fixture
def write_recipe(tmp_path, recipe_writer):
    """See `recipe_writer`: of the test's folder."""
    return recipe_writer(tmp_path)


@pytest.fixture(scope="session")
def write_record():
    """A function that writes a record whose predictions are right where ``correct`` says so.

    With a ``corpus`` it is a pretraining's, with a ``failure`` that of a run without a result;
    ``evaluated`` is the hash of the evaluation examples, whose ids count from ``first``. With a
    ``fold`` (`FoldData`) it is of a cross-validation.
    """
    import pyarrow as pa

    from hfbench.recipe.types import cell_stem
    from hfbench.records.data import SplitData, TaskData
    from hfbench.records.schema import (
        ClassificationRecord,
        ControlRecord,
        FailedRecord,
        ModelFacts,
        PretrainingRecord,
        Tokens,
        TrainingFacts,
    )
    from hfbench.records.store import ResultsFolder

    def write(
        folder, model, seed, correct, *, train=None, training=None, control=False, labels=None,
        failure=None, corpus=None, logit=1, evaluated="a" * 64, first=0, fold=None, **changes,
    ):  # fmt: skip
        n = len(correct)
        labels = np.arange(n) % 2 if labels is None else labels
        predicted = np.where(correct, labels, 1 - labels)
        logits = logit * np.eye(2, dtype=np.float32)[predicted]
        # one more of y in training: always y is the majority
        counts = {"x": n // 2, "y": n // 2 + 1}
        train = {"examples": n, "content_hash": "c" * 64, "label_counts": counts, **(train or {})}
        split = SplitData(examples=n, content_hash=evaluated, label_counts=counts)
        task = TaskData(
            source="d/s", revision=None, labels=["x", "y"],
            splits={"train": SplitData(**train), "validation": split},
            evaluation_split="validation", fold=fold,
        )  # fmt: skip
        facts = ModelFacts(
            source=model, revision=None, weights_hash=None, class_name="C", parameters=12345,
            embedding_parameters=345, config={}, vocab_size=3, max_length=8,
        )  # fmt: skip
        training = {
            "arguments": {"learning_rate": 0.5, "bf16": False}, "optimizer": "study", "streams": {},
            "world_size": 1, "batch": 16, "steps": 10, "examples_seen": 1, "tokens_seen": 1000,
            "device": "chip", "train_seconds": 2.0, "selection": "last", "selected_step": 10,
            "flops": 3 * 10**12, "tokens": {"train": Tokens(total=1, truncated_examples=0)},
            "peak_memory_bytes": 2**20, "peak_memory_of": "process",
            **(training or {}),
        }  # fmt: skip
        point = {"step": 10, "epoch": 1.0, "loss": 0.5, "accuracy": 0.75}
        points = [{**point, "step": 5, "epoch": 0.5, "loss": 0.75}, point]
        run = {
            "recipe": "r", "model": model, "seed": seed, "cell_id": "0" * 64,
            "settings": {"models": [{"name": model}]}, "started": "2026-01-01T00:00:00",
            "environment": {
                "packages": {"hfbench": "0", "torch": "2", "transformers": "5"}, "python": "3",
                "commit": "f" * 40, "uncommitted_changes": False,
            },
            "cell_seconds": 3.0,
        }  # fmt: skip
        number = fold.number if fold else None
        run["fold"] = number
        size = changes.get("train_size")
        kind = "control" if control else "classification"
        if failure:
            record = FailedRecord(**{**run, "kind": kind, "failure": failure, **changes})
            ResultsFolder(folder).keep(record)
            return record
        trained = {
            "model_facts": facts, "training": TrainingFacts(**training),
            "curves": {"train": points, "validation": points},
        }  # fmt: skip
        if corpus:
            record = PretrainingRecord(**{**run, **trained, "corpus": corpus, **changes})
            ResultsFolder(folder).keep(record)
            return record
        finished = {
            **run, "task": task, "model_facts": facts,
            "predictions": f"{cell_stem(kind, model, size, seed, number)}.parquet",
            "metrics": {"validation": {"accuracy": float(np.mean(correct))}},
        }  # fmt: skip
        if control:
            record = ControlRecord(**{**finished, "fit_seconds": 0.5, **changes})
        else:
            record = ClassificationRecord(**{**finished, **trained, **changes})
        table = pa.table(
            {
                "split": ["validation"] * n,
                "id": [f"validation/{first + i}" for i in range(n)],
                "label": pa.array(labels, pa.int64()),
                "logits": pa.array(list(logits), pa.list_(pa.float32())),
            }
        )
        ResultsFolder(folder).keep(record, table)
        return record

    return write


@pytest.fixture
def start_hfbench(tmp_path):
    """A function that starts a command in a process of its own, and gives that.

    What the process says is in the file ``output``, an attribute of the function. It is a fork of a
    process that has imported everything, works in ``cwd``, and can be sent any signal.
    """
    from hfbench.execution import fork_server

    script, processes = Path(__file__).parent / "support" / "run_cli.py", []

    def start(*arguments, kill_at=(), cwd=None):
        given = {
            "arguments": [*map(str, arguments)], "output": str(start.output), "kill_at": kill_at,
            "cwd": cwd and str(cwd),
        }  # fmt: skip
        process = fork_server.context().Process(
            target=runpy.run_path, args=(str(script), {"given": given}, "__main__")
        )
        process.start()
        processes.append(process)
        return process

    start.output = tmp_path / "said.txt"
    yield start
    for process in processes:
        process.kill()
        process.join()


@pytest.fixture
def run_hfbench(start_hfbench):
    """A function that runs a command in a process of its own: its exit code and what it said."""

    def run(*arguments, cwd=None):
        start_hfbench.output.write_text("")
        process = start_hfbench(*arguments, cwd=cwd)
        process.join(300)
        return process.exitcode, start_hfbench.output.read_text()

    return run


@pytest.fixture
def quick_figures(monkeypatch):
    """Figures are drawn without being laid out, which takes most of their time.

    How they look is asked in tests/evidence.
    """
    figures = importlib.import_module("hfbench.evidence.figures")
    monkeypatch.setitem(figures.STYLE, "figure.constrained_layout.use", False)


@pytest.fixture
def timeless():
    """All of a record but what differs between two runs of the same."""

    def strip(record):
        kept = record.model_dump(exclude={"started", "cell_seconds", "fit_seconds", "use"})
        # somebody may be at work on the checkout; results go to other folders
        for name in ("commit", "uncommitted_changes", "command"):
            kept["environment"].pop(name)
        for name in ("train_seconds", "peak_memory_bytes"):
            kept.get("training", {}).pop(name, None)
        return kept

    return strip


@pytest.fixture
def script(monkeypatch):
    """A function that imports a script of recipes/study."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "recipes" / "study"))
    return importlib.import_module
