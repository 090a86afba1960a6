import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hfbench.cli.plan import print_plan
from hfbench.data.builtin import pets
from hfbench.data.tokens import tokenize_task
from hfbench.errors import UserError
from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import describe_pretraining
from hfbench.execution.compare import compare
from hfbench.execution.identity import cell_id_of
from hfbench.execution.inputs import Inputs
from hfbench.models import CustomGPTConfig
from hfbench.recipe.cells import plan_comparison, plan_pretraining
from hfbench.recipe.load import load_recipe
from hfbench.recipe.schema import Recipe
from hfbench.records.predictions import load_predictions
from hfbench.records.schema import TrainedRecord
from hfbench.records.store import load_records

FILE = "train.jsonl"
TASK = {"data_files": {"train": FILE}, "validation_size": 0.25}
MINE = {"name": "mine", "preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
PRETRAIN = {
    "corpus": {"builtin": "pets"},
    "training_arguments": {"max_steps": 4, "per_device_train_batch_size": 8},
}


def run(path, results, *overrides, **options):
    console = Console(file=io.StringIO())
    outcome = compare(load_recipe(path, list(overrides)), results, console=console, **options)
    return outcome, console.file.getvalue()


@pytest.fixture(scope="module")
def finished(recipe_writer, tmp_path_factory):
    """A recipe's path, its outcome, which no test changes, and what was said."""
    folder = tmp_path_factory.mktemp("finished")
    path = recipe_writer(folder)(save_models=True)
    outcome, said = run(path, folder / "results")
    return path, outcome, said


def test_every_cell_leaves_a_record_with_what_it_needs(finished):
    _, outcome, said = finished
    records = load_records(outcome.folder)
    assert [record.stem for record in records] == ["floor", "mine--seed0", "mine--seed1"]
    mine = records[1]
    assert mine.status == "finished"
    assert mine.task.splits["train"].examples == 72
    assert mine.task.evaluation_split == "validation"
    assert mine.training.steps == 10  # 72 / 16, rounded up, twice
    assert mine.training.examples_seen == 144
    assert mine.training.tokens_seen == 2 * mine.training.tokens["train"].total
    assert mine.training.world_size == 1
    assert mine.training.arguments["weight_decay"] == 0.1
    assert mine.training.arguments["adam_beta2"] == 0.95
    assert [point["step"] for point in mine.curves["train"]] == [5, 10]
    assert [point["step"] for point in mine.curves["validation"]] == [5, 10]
    assert {"loss", "accuracy", "grad_norm"} <= set(mine.curves["train"][0])
    last = mine.curves["validation"][-1]
    for name in ("loss", "accuracy", "f1_macro"):
        assert mine.metrics["validation"][name] == pytest.approx(last[name], abs=1e-6)
    assert mine.model_facts.parameters > mine.model_facts.embedding_parameters > 0
    assert {"torch", "transformers", "datasets"} <= set(mine.environment["packages"])
    assert (mine.training.selection, mine.training.selected_step) == ("last", 10)
    assert mine.cell_seconds > mine.training.train_seconds > 0
    assert mine.train_size is None
    assert records[0].kind == "control"
    assert records[0].cell_seconds > records[0].fit_seconds > 0
    assert "mine--seed1: validation accuracy" in said


def test_predictions_give_the_metrics_again(finished):
    _, outcome, _ = finished
    for record in load_records(outcome.folder):
        predictions = load_predictions(record, outcome.folder, "validation")
        assert len(set(predictions["id"])) == 24
        accuracy = np.mean(predictions["logits"].argmax(1) == predictions["label"])
        assert accuracy == pytest.approx(record.metrics["validation"]["accuracy"])


def test_no_text_of_the_data_is_in_what_is_written(finished, rows):
    _, outcome, _ = finished
    for path in (outcome.folder / "records").iterdir():
        content = path.read_bytes()
        assert not any(row["text"].encode() in content for row in rows)


def test_a_terminal_shows_a_bar_that_ends_with_its_cell(write_recipe, tmp_path):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    compare(load_recipe(write_recipe()), tmp_path / "results", console=console)
    shown = screen.getvalue()
    assert "3 cells to run; " in shown
    assert "0/?" in shown  # before the number of steps is known
    assert "[1/3] mine--seed0: validation accuracy" in shown
    assert "3/3 cells" in re.sub(r"\x1b\[[\d;]*m", "", shown)


def test_flops_are_those_of_the_examples_seen_by_hand(finished, rows):
    _, outcome, _ = finished
    record = load_records(outcome.folder)[1]
    held_out = {
        i.split("/")[1] for i in load_predictions(record, outcome.folder, "validation")["id"]
    }
    tokenizer = AutoTokenizer.from_pretrained(outcome.folder / "models" / "mine--seed0")
    width = CustomGPTConfig.from_preset("gpt-nano").n_embd
    total = 0
    for number, row in enumerate(rows):
        if str(number) not in held_out:
            length = len(tokenizer(row["text"])["input_ids"])
            layer = 24 * length * width**2 + 4 * length**2 * width
            total += 3 * (layer + 2 * width * 2)  # the head sees the last token only
    assert record.training.flops == 2 * total  # two epochs


def curves(record):
    return record.curves if isinstance(record, TrainedRecord) else None


def test_what_is_finished_is_not_run_again(finished):
    path, first, _ = finished
    outcome, said = run(path, first.folder.parent)
    assert (outcome.ran, outcome.kept, said) == ([], 3, "")


def test_the_same_settings_give_the_same_numbers_and_counting_flops_changes_none(
    finished, tmp_path, monkeypatch
):
    path, first, _ = finished
    monkeypatch.setattr("hfbench.execution.kinds.train.count_flops", lambda *_: [0] * 33)
    again, _ = run(path, tmp_path / "other")
    for one, two in zip(load_records(first.folder), load_records(again.folder), strict=True):
        assert one.cell_id == two.cell_id
        assert one.metrics == two.metrics
        assert curves(one) == curves(two)


def test_other_settings_run_again_and_the_old_record_is_kept(finished, tmp_path):
    path, first, _ = finished
    shutil.copytree(first.folder, tmp_path / "results" / "tiny")
    outcome, _ = run(path, tmp_path / "results", "training_arguments.learning_rate=1e-3")
    assert [record.stem for record in outcome.ran] == ["mine--seed0", "mine--seed1"]
    kept = list((outcome.folder / "records" / "superseded").rglob("*.json"))
    assert len(kept) == 2
    again, _ = run(path, tmp_path / "results", "training_arguments.learning_rate=1e-3", rerun=True)
    assert len(again.ran) == 3


def test_a_record_holds_all_that_is_needed_to_run_it_again(finished):
    path, first, _ = finished
    record = load_records(first.folder)[1]
    recipe = Recipe.from_values({"name": "again", **record.settings}, path.parent)
    cells = plan_comparison(recipe)
    bench = Inputs(recipe, cells)
    assert [cell_id_of(cell, bench) for cell in cells] == [record.cell_id]


def test_a_kept_model_gives_the_recorded_logits(finished, rows):
    _, outcome, _ = finished
    folder = outcome.folder / "models" / "mine--seed0"
    assert not [p for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pkl")]
    record = load_records(outcome.folder)[1]
    predictions = load_predictions(record, outcome.folder, "validation")
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for number in range(5):
        text = rows[int(predictions["id"][number].split("/")[1])]["text"]
        with torch.no_grad():
            logits = model(**tokenizer(text, return_tensors="pt")).logits[0]
        np.testing.assert_allclose(logits, predictions["logits"][number], atol=1e-5)


@pytest.mark.slow  # as the proof of each push, and as test_custom_gpt.py by default
def test_a_kept_model_loads_for_a_stranger_without_hfbench(finished, tmp_path):
    _, outcome, _ = finished
    folder = outcome.folder / "models" / "mine--seed0"
    script = """
import sys
sys.modules["hfbench"] = None  # an import of it fails
import json
import os
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], trust_remote_code=True)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=True)
logits = model.eval()(**tokenizer("the film was good indeed", return_tensors="pt")).logits
label = pipeline("text-classification", model=model, tokenizer=tokenizer)("so bad")[0]["label"]
print(json.dumps([logits[0].tolist(), label]))
"""
    env = {
        "HF_HUB_OFFLINE": "1",
        "HF_MODULES_CACHE": str(tmp_path / "modules"),
        "OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"],  # sums are cut by threads
    }
    command = [sys.executable, "-c", script, str(folder.resolve())]
    done = subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    logits, label = json.loads(done.stdout)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        inputs = tokenizer("the film was good indeed", return_tensors="pt")
        assert model(**inputs).logits[0].tolist() == logits
    assert label in ("no", "yes")


def test_pretraining_is_done_once_and_its_weights_start_every_seed(write_recipe, tmp_path):
    model = {
        "name": "mine",
        "preset": "gpt-nano",
        "config": {"n_layer": 1, "n_positions": 32},
        "pretrain": PRETRAIN,
    }
    # no learning: what is saved after training is what it started from
    frozen = {"learning_rate": 0.0, "per_device_train_batch_size": 16, "max_steps": 1}
    path = write_recipe(models=[model], training_arguments=frozen, save_models=True)
    outcome, _ = run(path, tmp_path / "results")
    assert [r.stem for r in outcome.ran] == ["pretrain--mine", "mine--seed0", "mine--seed1"]
    pretraining = outcome.ran[0]
    assert pretraining.training.steps == 4
    assert pretraining.corpus.examples == {"train": 166, "validation": 42}
    perplexity = pretraining.metrics["validation"]["perplexity"]
    assert perplexity == pytest.approx(np.exp(pretraining.metrics["validation"]["loss"]))
    models = outcome.folder / "models"
    weights = {p.name: load_file(p / "model.safetensors") for p in models.iterdir()}
    for seed in (0, 1):
        for name, tensor in weights["pretrain--mine"].items():
            if not name.startswith("lm_head"):
                assert torch.equal(tensor, weights[f"mine--seed{seed}"][name]), name
    only, _ = run(path, tmp_path / "results", only_pretraining=True)
    assert only.ran == []
    (models / "pretrain--mine" / "model.safetensors").rename(tmp_path / "gone")
    (models / "pretrain--mine").rename(tmp_path / "gone2")
    assert len(run(path, tmp_path / "results", only_pretraining=True)[0].ran) == 1


def test_pretraining_starts_at_the_loss_of_a_uniform_guess(write_recipe, tmp_path):
    model = {"name": "mine", "preset": "gpt-nano", "pretrain": PRETRAIN}
    outcome, _ = run(write_recipe(models=[model]), tmp_path, only_pretraining=True)
    record = outcome.ran[0]
    start = record.curves["train"][0]
    assert start["step"] == 1
    assert start["loss"] == pytest.approx(np.log(record.model_facts.vocab_size), abs=0.05)


@pytest.mark.parametrize("corpus", [{"cut": "sentences"}, {"cut": "blocks", "block_size": 9}])
def test_bits_per_byte_of_a_uniform_model_are_those_of_its_tokens(write_recipe, tmp_path, corpus):
    """It finds all tokens equally likely: log2(V) bits for each that it predicts."""
    models = [
        {
            "name": f"v{vocab_size}",
            "preset": "gpt-nano",
            "config": {"n_layer": 1, "initializer_range": 1e-9},
            "tokenizer": {"train_on": "corpus", "vocab_size": vocab_size},
            "pretrain": {
                "corpus": {"builtin": "pets", **corpus},
                "training_arguments": {"max_steps": 1, "learning_rate": 0.0},
            },
        }
        for vocab_size in (258, 300)  # the first knows bytes only
    ]
    outcome, _ = run(write_recipe(models=models), tmp_path, only_pretraining=True)
    for record in outcome.ran:
        tokenizer = AutoTokenizer.from_pretrained(outcome.folder / "models" / record.stem)
        rows = [tokenizer(text)["input_ids"] for text in pets.sentences()[166:]]
        if corpus["cut"] == "blocks":
            stream = [token for row in rows for token in [*row, tokenizer.eos_token_id]]
            rows = [stream[start : start + 9] for start in range(0, len(stream) - 8, 9)]
        tokens = sum(len(row) - 1 for row in rows)
        text = "".join(tokenizer.decode(row[1:], skip_special_tokens=True) for row in rows)
        metrics = record.metrics["validation"]
        assert metrics["loss"] == pytest.approx(np.log(record.model_facts.vocab_size))
        expected = np.log2(record.model_facts.vocab_size) * tokens / len(text.encode())
        assert metrics["bits_per_byte"] == pytest.approx(expected)
        assert f", {expected:.3f} bits per byte); " in describe_pretraining(record)
    assert outcome.ran[0].metrics != outcome.ran[1].metrics


def test_a_pretraining_s_line_says_where_its_validation_loss_was_lowest(write_recipe, tmp_path):
    """What it has learnt by heart since then shows in the loss of training alone."""
    arguments = {"max_steps": 2, "logging_strategy": "steps", "logging_steps": 1}
    pretrain = {**PRETRAIN, "training_arguments": arguments}
    models = [{"name": "mine", "preset": "gpt-nano", "pretrain": pretrain}]
    outcome, _ = run(write_recipe(models=models), tmp_path, only_pretraining=True)
    (record,) = outcome.ran
    first, last = (f"{record.training_losses[end]:.2f}" for end in (0, -1))
    assert f"training loss from {first} to {last}, validation loss" in describe_pretraining(record)
    best = record.metrics["validation"]["loss"] - 0.2
    points = [{"step": 1.0, "epoch": 0.5, "loss": best}]
    risen = record.model_copy(update={"curves": {**record.curves, "validation": points}})
    assert f"lowest validation loss {best:.3f} at step 1, validation" in describe_pretraining(risen)


def test_a_failed_cell_is_recorded_and_the_rest_goes_on(write_recipe, tmp_path):
    hot = {
        "name": "hot",
        "preset": "gpt-nano",
        "config": {"n_layer": 1, "n_positions": 32},
        "training_arguments": {"learning_rate": 1e30},
    }
    path = write_recipe(models=[hot, {"name": "floor", "control": "majority"}])
    outcome, said = run(path, tmp_path / "results")
    assert [record.stem for record in outcome.failed] == ["hot--seed0", "hot--seed1"]
    failure = load_records(outcome.folder)[1].failure
    assert failure.type == "NonFiniteLossError"
    assert failure.step is not None
    assert f"at optimizer step {failure.step}" in failure.message
    assert "hot--seed0: FAILED: NonFiniteLossError" in said
    models = load_comparison(outcome.folder).models
    assert [(m.name, len(m.finished), len(m.failed)) for m in models] == [
        ("floor", 1, 0),
        ("hot", 0, 2),
    ]
    retried, _ = run(path, tmp_path / "results")
    assert len(retried.ran) == 2  # a failed cell is tried again, a finished one is not


def test_what_a_pretraining_that_failed_leaves_undone_is_said(write_recipe, tmp_path):
    hot = {**PRETRAIN["training_arguments"], "learning_rate": 1e30}
    model = {
        "name": "mine",
        "preset": "gpt-nano",
        "pretrain": {**PRETRAIN, "training_arguments": hot},
    }
    outcome, _ = run(write_recipe(models=[model], seeds=[0]), tmp_path)
    assert [record.status for record in outcome.ran] == ["failed", "failed"]
    assert "its pretraining failed" in outcome.ran[1].failure.message


def test_the_best_weights_are_what_is_evaluated_recorded_and_kept(write_recipe, tmp_path, rows):
    task = {**TASK, "test_split": "test", "data_files": {"train": FILE, "test": FILE}}
    path = write_recipe(task=task, selection="best_loss", save_models=True, seeds=[0])
    # so fast that the loss goes up again
    fast = ("training_arguments.learning_rate=0.05", "training_arguments.num_train_epochs=4")
    outcome, _ = run(path, tmp_path / "results", *fast)
    record = outcome.ran[0]
    points = record.curves["validation"]
    best = min(points, key=lambda point: point["loss"])
    assert best is not points[-1]
    assert record.training.selection == record.settings["selection"] == "best_loss"
    assert record.training.selected_step == best["step"]
    for name in ("loss", "accuracy", "f1_macro"):
        assert record.metrics["validation"][name] == pytest.approx(best[name], abs=1e-6)
    test = load_predictions(record, outcome.folder, "test")
    folder = outcome.folder / "models" / "mine--seed0"
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits = model(**tokenizer(rows[0]["text"], return_tensors="pt")).logits[0]
    np.testing.assert_allclose(logits, test["logits"][0], atol=1e-5)
    assert "selection" not in outcome.ran[1].settings  # it decides nothing of a control


def test_a_learning_curve_runs_every_size_with_every_seed(write_recipe, tmp_path):
    models = [MINE, {"name": "tfidf", "control": "tfidf-logreg"}]
    path = write_recipe(models=models, train_sizes=[24, 6])
    outcome, _ = run(path, tmp_path / "results")
    points = [f"n{size}--seed{seed}" for size in (6, 24) for seed in (0, 1)]
    stems = [f"{name}--{point}" for name in ("mine", "tfidf") for point in points]
    assert [record.stem for record in outcome.ran] == stems
    by_stem = {record.stem: record for record in outcome.ran}
    for record in outcome.ran:
        train = record.task.splits["train"]
        assert record.train_size == train.examples == sum(train.label_counts.values())
        assert set(train.label_counts.values()) == {record.train_size // 2}
        assert record.settings["train_sizes"] == [record.train_size]
        assert record.task.splits["validation"].examples == 24
    for point in points:  # the same examples for every model
        assert by_stem[f"mine--{point}"].task == by_stem[f"tfidf--{point}"].task
    hashes = {by_stem[f"mine--{point}"].task.splits["train"].content_hash for point in points}
    assert len(hashes) == 4
    training = by_stem["mine--n24--seed0"].training
    assert (training.steps, training.examples_seen) == (4, 48)
    assert training.tokens_seen == 2 * training.tokens["train"].total
    assert run(path, tmp_path / "results")[0].ran == []
    again = Recipe.from_values({"name": "again", **by_stem[stems[3]].settings}, path.parent)
    cells = plan_comparison(again)
    bench = Inputs(again, cells)
    assert [cell_id_of(cell, bench) for cell in cells] == [by_stem[stems[3]].cell_id]


def test_subsets_are_nested_within_a_seed_and_tokenised_once(write_recipe, monkeypatch):
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return tokenize_task(*arguments)

    monkeypatch.setattr("hfbench.execution.inputs.tokenize_task", counted)
    other = {**MINE, "name": "other"}
    recipe = load_recipe(write_recipe(models=[MINE, other], train_sizes=[6, 24, 72]))
    cells = plan_comparison(recipe)
    bench = Inputs(recipe, cells)
    ids = {cell.stem: list(bench.task_of(cell).splits["train"]["id"]) for cell in cells}
    for seed in (0, 1):
        small, middle, whole = (ids[f"mine--n{size}--seed{seed}"] for size in (6, 24, 72))
        assert set(small) < set(middle) < set(whole)
        assert whole == list(bench.task.splits["train"]["id"])
    assert set(ids["mine--n24--seed0"]) != set(ids["mine--n24--seed1"])
    for cell in cells:
        assert ids[cell.stem] == ids[cell.stem.replace("other", "mine")]
        texts = list(bench.task_of(cell).splits["train"]["text"])
        tokenizer = bench.prepared[cell.model.name].tokenizer
        data = bench.tokenized_task(cell)
        assert list(data.splits["train"]["input_ids"]) == tokenizer(texts)["input_ids"]
        assert data.splits["validation"].num_rows == 24
    assert len(calls) == 1


def test_the_settings_without_a_learning_curve_are_as_before_but_for_the_selection(write_recipe):
    cells = plan_comparison(load_recipe(write_recipe()))
    assert [cell.stem for cell in cells] == ["mine--seed0", "mine--seed1", "floor"]
    assert cells[0].settings.keys() == {"models", "task", "seeds", "selection"}
    assert cells[0].settings["selection"] == "last"
    assert cells[2].settings.keys() == {"models", "task"}


def test_pretraining_is_shared_by_the_sizes_of_a_learning_curve(write_recipe, tmp_path):
    models = [{**MINE, "pretrain": PRETRAIN}]
    path = write_recipe(models=models, train_sizes=[6, 24], seeds=[0])
    outcome, _ = run(path, tmp_path)
    stems = ["pretrain--mine", "mine--n6--seed0", "mine--n24--seed0"]
    assert [record.stem for record in outcome.ran] == stems
    assert [record.status for record in outcome.ran] == ["finished"] * 3
    whole = load_recipe(write_recipe(models=models, seeds=[0]))
    cells = plan_pretraining(whole)
    assert cell_id_of(cells[0], Inputs(whole, cells)) == outcome.ran[0].cell_id


def test_the_plan_shows_the_steps_of_each_size(write_recipe, tmp_path):
    console = Console(file=io.StringIO(), width=120)
    recipe = load_recipe(write_recipe(train_sizes=[6, 24], seeds=[0]))
    print_plan(recipe, tmp_path, console, rerun=False, only_pretraining=False)
    lines = {line.split()[0]: line.split() for line in console.file.getvalue().splitlines() if line}
    assert lines["mine--n6--seed0"][3] == "2"  # steps: one an epoch
    assert lines["mine--n24--seed0"][3] == "4"


def test_mistakes_in_the_data_show_before_anything_runs(write_recipe, tmp_path):
    path = write_recipe()
    with pytest.raises(UserError, match="no column 'texts'"):
        run(path, tmp_path / "results", "task.text_column=texts")
    with pytest.raises(UserError, match=r"train_sizes: 73 is more.*at most 72"):
        run(path, tmp_path / "results", "train_sizes=[6, 73]")
    with pytest.raises(UserError, match=r"train_sizes: a .* of 1 has no example of 'yes'.* 2"):
        run(path, tmp_path / "results", "train_sizes=[1]")
    assert not (tmp_path / "results").exists()
    with pytest.raises(UserError, match="no model is to be pretrained"):
        run(path, tmp_path / "results", only_pretraining=True)


def test_tfidf_learns_what_majority_cannot(write_recipe, tmp_path):
    controls = [{"name": name, "control": name} for name in ("tfidf-logreg", "majority")]
    outcome, _ = run(write_recipe(models=controls), tmp_path)
    tfidf, majority = (record.metrics["validation"] for record in outcome.ran)
    assert majority["accuracy"] == 0.5
    assert tfidf["accuracy"] > 0.9
    assert Path(outcome.folder / "records" / "majority.json").exists()
    assert [record.unknown_texts for record in outcome.ran] == [{"validation": 0}, None]


def test_a_control_says_of_how_many_texts_it_knows_nothing(write_recipe, tmp_path, rows):
    strange = [{"text": "\u597d\u5403", "label": "yes"}, *rows[:9]]
    (tmp_path / "dev.jsonl").write_text("\n".join(map(json.dumps, strange)), encoding="utf-8")
    task = {
        "data_files": {"train": "train.jsonl", "dev": "dev.jsonl"},
        "validation_split": "dev",
    }
    models = [{"name": "words", "control": "tfidf-logreg"}]
    outcome, _ = run(write_recipe(models=models, task=task), tmp_path)
    assert outcome.ran[0].unknown_texts == {"validation": 1}
