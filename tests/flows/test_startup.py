"""What a verb imports before its work, and how long that takes beside what it must import.

Times are those of the processor, which other processes on the machine change least, and bounds are
multiples of another process's: they would be broken by an import of torch, not by a slow machine.
"""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

TORCH_SIDE = ("torch", "transformers", "datasets", "evaluate", "accelerate", "sklearn", "peft")
VERB = """
import sys
from hfbench.cli.app import main
sys.argv = ["hfbench", *sys.argv[1:]]
try:
    main()
finally:
    print(" ".join(sys.modules), file=sys.stderr)
"""
FIRST_STEP = """
import os, sys
from torch.optim.optimizer import register_optimizer_step_post_hook

def leave(*args):
    print(" ".join(sys.modules), file=sys.stderr, flush=True)
    os._exit(0)

register_optimizer_step_post_hook(leave)
"""

FORK_SERVER = """
import os, sys
from hfbench.execution import fork_server

def leave():
    print(" ".join(sys.modules), file=sys.stderr, flush=True)
    os._exit(0)

fork_server.start = leave
"""


def run(script, *arguments, code=0):
    """Standard error of a script."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr[-2000:]
    return done.stderr


def imported(script, *arguments, code=0):
    """Modules that a script has imported when it ends, by its last line."""
    return set(run(script, *arguments, code=code).splitlines()[-1].split())


def processor_seconds(script, *arguments):
    """The least of two times that a process which runs the script needs."""
    needed = []
    for _ in range(2):
        before = os.times()
        run(script, *arguments)
        after = os.times()
        needed.append(
            after.children_user + after.children_system
            - before.children_user - before.children_system
        )  # fmt: skip
    return min(needed)


@pytest.fixture(scope="module")
def results(write_record, tmp_path_factory):
    """Records and predictions of 10 models with 10 seeds each on 872 examples."""
    folder = tmp_path_factory.mktemp("results")
    rng = np.random.default_rng(0)
    for model in range(10):
        skill = 0.4 + 0.4 * rng.random(872) + 0.02 * model
        for seed in range(10):
            write_record(folder, f"model-{model}", seed, rng.random(872) < skill)
    return folder


def test_a_mistaken_recipe_is_told_without_torch(tmp_path):
    (tmp_path / "bad.yaml").write_text("nam: x")
    found = imported(VERB, "compare", tmp_path / "bad.yaml", code=2)
    assert "hfbench.recipe.schema" in found
    assert found.isdisjoint({*TORCH_SIDE})


def test_help_imports_nothing_that_computes():
    found = imported(VERB, "--help")
    assert found.isdisjoint({*TORCH_SIDE, "numpy", "scipy", "pyarrow", "hfbench.recipe.schema"})


def test_list_reads_recipes_without_numpy():
    found = imported(VERB, "list")
    assert "hfbench.recipe.schema" in found
    assert found.isdisjoint({*TORCH_SIDE, "numpy", "scipy", "pyarrow"})


def test_a_table_is_made_without_torch_and_pandas(results):
    found = imported(VERB, "table", results)
    assert "pyarrow.parquet" in found  # the predictions were read
    # scipy.stats, pandas and matplotlib take longer to import than the table to make
    assert found.isdisjoint({*TORCH_SIDE, "pandas", "scipy.stats", "matplotlib"})


@pytest.mark.slow  # of what is imported before a recipe is read, test_workers.py asks by default
def test_a_run_comes_to_its_first_step_without_what_only_other_runs_need(write_recipe, tmp_path):
    arguments = ["compare", write_recipe(), "--results-dir", tmp_path / "results", "--jobs", 1]
    found = imported(FIRST_STEP + VERB, *arguments)
    assert "hfbench.training.trainer" in found
    assert found.isdisjoint(
        {"evaluate", "sklearn", "scipy.stats", "matplotlib", "onnx", "onnxruntime", "trl"}
    )
    assert "transformers.models.electra.modeling_electra" not in found


def test_what_workers_are_forked_from_imports_while_the_command_does(write_recipe, tmp_path):
    recipe = write_recipe(seeds=[0, 1])
    found = imported(FORK_SERVER + VERB, "compare", recipe, "--results-dir", tmp_path / "results")
    assert "hfbench.recipe.cells" in found
    assert found.isdisjoint({*TORCH_SIDE, "scipy"})


def test_help_takes_little_longer_than_importing_what_prints_it():
    parser = processor_seconds("import typer, typer.rich_utils, rich.console")
    assert processor_seconds(VERB, "--help") < 2 * parser


@pytest.mark.slow
def test_a_table_of_100_records_takes_little_longer_than_the_imports(results):
    imports = "import typer.rich_utils, numpy, scipy.special, pydantic, pyarrow.parquet"
    assert processor_seconds(VERB, "table", results) < 3 * processor_seconds(imports)


@pytest.mark.slow
def test_the_first_step_comes_soon_after_importing_the_trainer(write_recipe, tmp_path):
    trainer = "import torch\nfrom transformers import Trainer"
    arguments = ["compare", write_recipe(), "--results-dir", tmp_path / "results", "--jobs", 1]
    seconds = {trainer: [], FIRST_STEP + VERB: []}
    for _ in range(3):  # in turn, so that the machine is as busy for both
        for script, taken in seconds.items():
            start = time.perf_counter()
            run(script, *([] if script == trainer else arguments))
            taken.append(time.perf_counter() - start)
    assert min(seconds[FIRST_STEP + VERB]) < 1.5 * min(seconds[trainer])


def test_results_are_read_by_public_names_without_torch(results):
    script = (
        "import sys\n"
        "from hfbench import HfbenchError, Recipe, Record, load_comparison, load_records\n"
        f"load_records({str(results)!r})\nload_comparison({str(results)!r})\n"
        "print(' '.join(sys.modules), file=sys.stderr)"
    )
    assert imported(script).isdisjoint({*TORCH_SIDE, "pandas", "scipy.stats", "matplotlib"})


def test_public_names_are_imported_lazily():
    script = "import sys, hfbench\nprint(' '.join(sys.modules), file=sys.stderr)"
    found = imported(script)
    assert {name for name in found if name.startswith("hfbench.")} == {"hfbench.version"}
    assert found.isdisjoint({*TORCH_SIDE, "numpy", "pydantic"})
