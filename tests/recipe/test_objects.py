"""A recipe of keywords and objects: what it becomes, and what it refuses."""

import importlib
import sys

import pytest
from datasets import Dataset, DatasetDict
from transformers import AutoModelForSequenceClassification, GPT2Config, PreTrainedConfig

from hfbench import Recipe, UserError, compare, load_comparison, load_records
from hfbench.data.task import load_task
from hfbench.metrics.registry import METRICS
from hfbench.models.tokenizer import train_tokenizer
from hfbench.system.terminal import Console

FLOOR = {"name": "floor", "control": "majority"}
SMALL = GPT2Config(n_layer=1, n_head=2, n_embd=8, n_positions=32)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "hub"))
    return tmp_path / "hub" / "hfbench"


def sentences(number, start=0):
    numbers = range(start, start + number)
    return Dataset.from_dict(
        {
            "text": [f"{'good' if n % 2 else 'bad'} word{n} w{n % 7}" for n in numbers],
            "label": [n % 2 for n in numbers],
        }
    )


def recipe(models=(FLOOR,), **task):
    data = DatasetDict(train=sentences(60), test=sentences(40, 100))
    task = {"data_files": data, "validation_size": 0.25, "test_split": "test", **task}
    return Recipe(
        name="mine", task=task, models=list(models), seeds=[0, 1],
        tokenizer={"train_on": "task", "vocab_size": 300},
        training_arguments={"num_train_epochs": 1, "per_device_train_batch_size": 16},
    )  # fmt: skip


def test_mistakes_are_said_as_those_of_a_file():
    with pytest.raises(UserError) as caught:
        Recipe(name="a b", task={"builtin": "sentimen"}, models=[FLOOR], seedz=[0])
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("Recipe: name: 'a b' is not a name")
    assert "Recipe: task.builtin: " in lines[1]
    assert "did you mean 'seeds'?" in lines[2]
    with pytest.raises(UserError, match=r"description: holds what looks like|description: holds"):
        Recipe(name="a", description="hf_" + "a1B2" * 9, models=[FLOOR], task={
            "builtin": "sentiment", "validation_split": "validation"})  # fmt: skip


def test_data_in_memory_are_kept_by_their_content(cache):
    first, again = recipe(), recipe()
    assert first.task.data_files == again.task.data_files
    assert len(list((cache / "data").iterdir())) == 2
    loaded = load_task(first.task, first.folder)
    assert {name: len(split) for name, split in loaded.splits.items()} == {
        "train": 45, "validation": 15, "test": 40,
    }  # fmt: skip
    other = recipe(data_files=sentences(50), test_split=None)
    assert other.task.data_files["train"] not in first.task.data_files.values()
    assert first.task.source == "a Dataset in memory"


def test_a_model_is_kept_with_its_weights_and_its_tokenizer(cache):
    tokenizer = train_tokenizer([f"good bad word{n}" for n in range(60)], 300)
    config = GPT2Config(**{**SMALL.to_diff_dict(), "vocab_size": len(tokenizer)})
    model = AutoModelForSequenceClassification.from_config(config)
    entry = recipe([{"name": "mine", "model": model, "tokenizer": tokenizer}]).models[0]
    assert entry.model is entry.tokenizer is None
    read = AutoModelForSequenceClassification.from_pretrained(entry.model_name_or_path)
    assert read.score.weight.equal(model.score.weight)
    assert (cache / "models" / entry.model_name_or_path / "tokenizer.json").exists()
    with pytest.raises(UserError, match="give exactly one of"):
        recipe([{"name": "mine", "model": model, "preset": "gpt-nano"}])


def test_a_configuration_is_an_architecture_from_scratch():
    entry = recipe([{"name": "mine", "model": SMALL, "config": {"n_head": 4}}]).models[0]
    assert (entry.model_type, entry.config["n_embd"], entry.config["n_head"]) == ("gpt2", 8, 4)
    assert "vocab_size" not in entry.config


def test_a_class_of_a_notebook_is_refused():
    class Own(PreTrainedConfig):
        model_type = "own"

    Own.__module__ = "__main__"
    with pytest.raises(UserError, match="put its class into a module"):
        recipe([{"name": "mine", "model": Own()}])


def test_a_comparison_of_objects_runs_in_this_process(tmp_path, monkeypatch):
    def errors(logits, labels):
        return float((logits.argmax(-1) != labels).mean())

    monkeypatch.setitem(METRICS, "errors", None)  # so that it is taken out afterwards
    del METRICS["errors"]
    mine = recipe([{"name": "mine", "model": SMALL}, FLOOR], metrics=[errors])
    quiet = Console(quiet=True)
    with pytest.raises(UserError, match="errors is a function of this process, which no worker"):
        compare(mine, tmp_path, jobs=2, console=quiet)
    outcome = compare(mine, str(tmp_path), jobs=None, console=quiet)
    assert repr(outcome) == f"<Outcome of cells: 3 ran, 0 kept, 0 failed; {outcome.folder}>"
    table = load_comparison(str(outcome.folder)).to_dataframe()
    assert table["errors"].tolist() == pytest.approx((1 - table["accuracy"]).tolist())
    # what a record names is there, so that it can be run again
    settings = load_records(outcome.folder)[0].settings
    again = Recipe.from_values({"name": "again", **settings}, tmp_path)
    assert compare(again, tmp_path, console=quiet).kept == 1


OWN = """
import torch.nn.functional as F
from transformers import TrainerCallback

STEPS = []


def doubled(logits, labels):
    return 2 * F.cross_entropy(logits, labels, reduction="none")


def mean(logits, labels):
    return F.cross_entropy(logits, labels)


class Stop(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        STEPS.append(state.global_step)
        control.should_training_stop = state.global_step == 2
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_code_of_a_test.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("own_code_of_a_test")
    del sys.modules["own_code_of_a_test"]


def test_a_loss_and_callbacks_train_and_are_in_the_record(own, tmp_path):
    quiet, models = Console(quiet=True), [{"name": "mine", "model": SMALL}]
    values = recipe(models).model_dump(exclude_unset=True) | {"seeds": [0]}
    plain, changed = Recipe(**values), Recipe(**values, loss=own.doubled, callbacks=[own.Stop])
    records = [compare(one, tmp_path / "r", console=quiet).ran[0] for one in (plain, changed)]
    assert [record.training.steps for record in records] == [3, 2]
    assert own.STEPS == [1, 2]
    first = [record.curves["train"][0]["loss"] for record in records]
    assert first[1] == pytest.approx(2 * first[0], rel=0.2)
    assert records[1].settings["loss"] == "own_code_of_a_test:doubled"
    assert records[1].settings["callbacks"] == ["own_code_of_a_test:Stop"]
    assert records[0].cell_id != records[1].cell_id
    assert "loss" not in records[0].settings
    (failed,) = compare(Recipe(**values, loss=own.mean), tmp_path / "r", console=quiet).ran
    assert "must return a loss for each" in failed.failure.message


def test_what_no_record_could_find_again_is_refused(own):
    for values, said in [
        ({"loss": lambda logits, labels: labels}, "is defined in a notebook, a script or another"),
        ({"callbacks": [own.Stop()]}, "give its class"),
        (
            {"loss": own.doubled, "training_arguments": {"label_smoothing_factor": 0.1}},
            "no meaning",
        ),
    ]:
        with pytest.raises(UserError, match=said):
            Recipe(name="a", task={"builtin": "sentiment", "validation_split": "validation"},
                   models=[FLOOR], **values)  # fmt: skip
