"""What goes up of a folder, and which run."""

import json
from dataclasses import replace

import pytest

from hfbench.errors import UserError
from hfbench.evidence.comparison import load_comparison
from hfbench.publish.bundle import choose_run, is_ours, stage_files

AUTO_MAP = {
    "AutoConfig": "configuration_x.XConfig",
    "AutoModelForSequenceClassification": "modeling_x.XForSequenceClassification",
}


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    files = {
        "config.json": json.dumps({"auto_map": AUTO_MAP}),
        "configuration_x.py": "import torch\n",
        "modeling_x.py": "from .configuration_x import XConfig\nfrom .layers_x import Layer\n",
        "layers_x.py": "",
        "unused_x.py": "",
        "model-00001-of-00002.safetensors": "",
        "model-00002-of-00002.safetensors": "",
        "model.safetensors.index.json": "{}",
        "generation_config.json": "{}",
        "tokenizer.json": "{}",
        "tokenizer_config.json": "{}",
        "training_args.bin": "",
        "optimizer.pt": "",
        "rng_state.pth": "",
        "trainer_state.json": "{}",
        "pytorch_model.bin": "",
        "notes.txt": "",
        ".env": "",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "sub").mkdir()
    (folder / "sub" / "model.safetensors").write_text("")
    return folder


def test_only_what_is_allowed_goes_up(checkpoint, tmp_path):
    left_out = stage_files(checkpoint, tmp_path / "staged")
    assert sorted(path.name for path in (tmp_path / "staged").iterdir()) == [
        "config.json", "configuration_x.py", "generation_config.json", "layers_x.py",
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
        "model.safetensors.index.json", "modeling_x.py", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert left_out == [
        ".env", "notes.txt", "optimizer.pt", "pytorch_model.bin", "rng_state.pth",
        "sub/model.safetensors", "trainer_state.json", "training_args.bin", "unused_x.py",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["configuration_x.py", "modeling_x.py", "layers_x.py"])
def test_a_model_whose_code_is_not_complete_is_refused(checkpoint, tmp_path, name):
    (checkpoint / name).unlink()
    with pytest.raises(UserError, match=f"{name}: the model's code is not complete"):
        stage_files(checkpoint, tmp_path / "staged")


@pytest.mark.parametrize(
    ("auto_map", "message"),
    [
        ({"AutoConfig": AUTO_MAP["AutoConfig"]}, "has no AutoModelForSequenceClassification"),
        ({**AUTO_MAP, "AutoModel": "user/repo--modeling_x.X"}, "is code of another repo"),
    ],
)
def test_an_auto_map_that_would_not_load_is_refused(checkpoint, tmp_path, auto_map, message):
    (checkpoint / "config.json").write_text(json.dumps({"auto_map": auto_map}))
    with pytest.raises(UserError, match=message):
        stage_files(checkpoint, tmp_path / "staged")


def test_without_safetensors_nothing_goes_up(checkpoint, tmp_path):
    for path in checkpoint.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(UserError, match="no weights as safetensors"):
        stage_files(checkpoint, tmp_path / "staged")
    with pytest.raises(UserError, match=r"save_models=true --rerun"):
        stage_files(tmp_path / "nowhere", tmp_path / "staged")


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("model.safetensors", True), ("model-00001-of-00009.safetensors", True),
        ("README.md", True), ("record.json", True), ("modeling_x.py", True),
        (".eval_results/hfbench.yaml", True), (".gitattributes", False), ("notes.md", False),
        ("pytorch_model.bin", False), ("sub/model.safetensors", False),
    ],
)  # fmt: skip
def test_a_push_removes_only_what_a_push_writes(name, ours):
    assert is_ours(name) is ours


def _runs(tmp_path, write_record, rows):
    """Runs that are right on the first so many of 8 examples; all are as sure as given."""
    for seed, (right, logit) in enumerate(rows):
        write_record(tmp_path, "m", seed, [n < right for n in range(8)], logit=logit)
    write_record(tmp_path, "control", None, [True] * 8, control=True)
    return {model.name: model for model in load_comparison(tmp_path).models}


def test_the_best_run_is_that_of_the_validation_then_loss_then_seed(tmp_path, write_record):
    models = _runs(tmp_path, write_record, [(4, 1), (6, 9), (6, 1), (6, 1)])
    choice = choose_run(models["m"], "best-of-validation", tmp_path)
    assert choice.record.seed == 2
    assert "of 4 seeds" in choice.reason
    assert choose_run(models["m"], "0", tmp_path).record.seed == 0


def test_the_best_run_is_that_of_the_tasks_own_measure(tmp_path, write_record):
    (tmp_path / "asked.json").write_text('[{"metric": "nll"}]', encoding="utf-8")
    models = _runs(tmp_path, write_record, [(4, 0.1), (6, 9), (6, 1)])
    choice = choose_run(models["m"], "best-of-validation", tmp_path)
    assert choice.record.seed == 2  # the second is as often right, and surer where it is wrong
    assert choice.reason == "of 3 seeds it has the lowest NLL on the validation examples"


def test_what_a_record_says_of_its_accuracy_does_not_choose_it(tmp_path, write_record):
    """Of the validation examples, where those of the test are what is compared."""
    (model,) = (m for m in _runs(tmp_path, write_record, [(4, 1), (6, 1)]).values() if m.trained)
    first = model.finished[0]
    metrics = {"validation": {"accuracy": 0.99, "loss": 0.0}}
    edited = [first.model_copy(update={"metrics": metrics}), *model.finished[1:]]
    choice = choose_run(replace(model, finished=edited), "best-of-validation", tmp_path)
    assert choice.record.seed == 1


@pytest.mark.parametrize(
    ("model", "seed", "message"),
    [
        ("m", "7", r"no finished run of m has it \(seeds: 0, 1;"),
        ("m", "best-of-validatoin", "did you mean 'best-of-validation'"),
        ("control", "best-of-validation", "control is a control: it has no weights"),
    ],
)
def test_a_run_that_is_not_there_is_a_clear_error(tmp_path, write_record, model, seed, message):
    models = _runs(tmp_path, write_record, [(4, 1), (4, 1)])
    with pytest.raises(UserError, match=message):
        choose_run(models[model], seed, tmp_path)
