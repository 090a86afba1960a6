"""The real client against a stand-in of the Hub with the study's model and data."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
pytestmark = pytest.mark.skipif(
    not (SHARED / "local_hub.py").exists(), reason="../shared with its stand-in Hub is absent"
)


@pytest.fixture(scope="module")
def endpoint():
    spec = importlib.util.spec_from_file_location("local_hub", SHARED / "local_hub.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.LocalHub() as hub:
        hub.seed_root(str(SHARED / "hub"))
        yield hub.endpoint


@pytest.fixture(scope="module")
def client(endpoint, tmp_path_factory):
    """Run hfbench with an empty cache and the stand-in as its Hub."""
    home = tmp_path_factory.mktemp("hf_home")

    env = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    env |= {"HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(home)}
    env |= {"OMP_NUM_THREADS": "1", "HF_TOKEN": "hf_planted_token"}

    def run(*arguments):
        command = [sys.executable, "-m", "hfbench", *map(str, arguments)]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)

    run.environment = env
    return run


@pytest.mark.slow
def test_a_cut_down_study_runs_through_the_real_client(client, tmp_path):
    overrides = ["seeds=[0]", "training_arguments.max_steps=5"]
    recipe = ROOT / "recipes" / "sst2_1200.yaml"
    planned = client("plan", recipe, "--results-dir", tmp_path)
    assert "120 validation examples" in " ".join(planned.stdout.split()), planned.stderr[-3000:]
    run = client("compare", recipe, "--results-dir", tmp_path, *overrides)
    assert run.returncode == 0, run.stderr[-3000:]
    paths = sorted((tmp_path / "sst2_1200" / "records").glob("*.json"))
    records = {path.stem: json.loads(path.read_text()) for path in paths}
    assert list(records) == [
        "gpt-nano--seed0", "majority", "tfidf-logreg", "tiny-gpt2--seed0", "tiny-gpt2-hf--seed0",
        "tiny-gpt2-random--seed0",
    ]  # fmt: skip
    task = records["majority"]["task"]
    # SPEC: 1,080 and 120 examples; always answering "positive" scores 55.0 % of 120
    assert (task["splits"]["train"]["examples"], task["splits"]["validation"]["examples"]) == (
        1080,
        120,
    )
    assert records["majority"]["metrics"]["validation"]["accuracy"] == pytest.approx(0.55)
    assert len(task["revision"]) == 40
    tiny = records["tiny-gpt2--seed0"]["model_facts"]
    # 102,714 as on the Hub, a row for the pad token, a head of two labels
    assert tiny["parameters"] == 102_714 + 2 + 2 * 2
    assert len(tiny["revision"]) == 40
    nano = records["gpt-nano--seed0"]["model_facts"]
    assert nano["vocab_size"] == 50_257
    # the models did not all train from the same weights
    first = [r["curves"]["train"][0]["loss"] for r in records.values() if "training" in r]
    assert len(set(first)) > 1
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"hf_planted_token" not in path.read_bytes()
    assert "hf_planted_token" not in run.stdout + run.stderr


@pytest.mark.slow
def test_the_studys_models_are_pushed_and_load_for_a_stranger(client, tmp_path):
    overrides = ["seeds=[0]", "training_arguments.max_steps=5", "save_models=true"]
    recipe = ROOT / "recipes" / "sst2_1200.yaml"
    assert client("compare", recipe, "--results-dir", tmp_path, *overrides).returncode == 0
    results = tmp_path / "sst2_1200"
    for model in ("gpt-nano", "tiny-gpt2"):
        run = client("push", results, model, "--repo-id", f"tester/{model}")
        assert run.returncode == 0, run.stderr[-3000:]
        assert run.stdout.count("proven") == 2
        assert "hf_planted_token" not in run.stdout + run.stderr
    run = client("push", results, "--repo-id", "tester/results")
    assert run.returncode == 0, run.stderr[-3000:]
    run = client("table", "hf://datasets/tester/results")
    assert "byte for byte" in " ".join(run.stdout.split())
    # three lines of somebody who has never heard of hfbench
    lines = (
        "from transformers import pipeline\n"
        'classify = pipeline("text-classification", "tester/gpt-nano", trust_remote_code=True)\n'
        'print(classify("A film so good that I saw it twice."))\n'
    )
    env = client.environment | {"HF_HOME": str(tmp_path / "elsewhere")}
    run = subprocess.run(
        [sys.executable, "-I", "-c", lines], env=env, capture_output=True, text=True, timeout=300
    )
    assert "'score':" in run.stdout, run.stderr[-3000:]


@pytest.mark.slow  # the client tries again for half a minute
def test_what_the_hub_does_not_have_is_a_clear_error(client, tmp_path):
    recipe = ROOT / "recipes" / "sst2_1200.yaml"
    for override, message in [
        ("task.dataset_name=nyu-mll/gluee", "task: nyu-mll/gluee cannot be loaded"),
        ("task.revision=nowhere", "task: nyu-mll/glue at revision 'nowhere' cannot be loaded"),
        ("models.tiny-gpt2.model_name_or_path=sshleifer/tiny", "models.tiny-gpt2.model_name_or_"),
        ("task.dataset_config=sst3", "task.dataset_name: nyu-mll/glue (sst3) cannot be loaded"),
        ("task.text_column=text", "has no column 'text'"),
        ("task.validation_split=test", "-1"),
    ]:
        overrides = [override]
        if override.startswith("task.validation_split"):
            overrides.append("task.validation_size=null")
        if override.startswith("models"):  # by itself it would cost only its own row
            overrides.append("--fail-fast")
        run = client("compare", recipe, "--results-dir", tmp_path, *overrides)
        assert run.returncode == 2, run.stderr
        assert message in run.stderr, override
        assert "Traceback" not in run.stderr
        assert "hf_planted_token" not in run.stderr
