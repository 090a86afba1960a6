"""The same training as transformers' run_glue.py at equal settings: its steps, beside a comparison.

What differs on purpose is given to the stock Trainer as a comparison has it: seeds of streams in
place of one seed for all, and the order of the examples (`training.seeds`, `sampler`).
"""

import io
import json
import random

import datasets
import numpy as np
import pytest
from rich.console import Console
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertModel,
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)

from hfbench.execution.compare import compare
from hfbench.recipe.load import load_recipe
from hfbench.records.predictions import load_predictions
from hfbench.training.sampler import EpochSampler
from hfbench.training.seeds import derive_streams

WORDS = ["good", "fine", "bad", "poor", "the", "a", "film", "meal", "was", "so", "not", "very"]
TRAIN, VALIDATION = 64, 24
SETTINGS = {
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 8,
    "learning_rate": 1e-3,
    "num_train_epochs": 3,
    "logging_strategy": "steps",
    "logging_steps": 1,
    "eval_strategy": "no",
    "use_cpu": True,
}
FORMS = {
    "sst2": (["sentence"], lambda texts: int("good" in texts[0] or "fine" in texts[0])),
    "mrpc": (["sentence1", "sentence2"], lambda texts: int(texts[0].split()[0] in texts[1])),
    "stsb": (["sentence1", "sentence2"], lambda texts: float(len({*texts[0].split()}) / 2)),
}
"""Task -> its text columns and what its label is, in GLUE's form."""


def make_rows(form, number, seed):
    columns, label = FORMS[form]
    rng = random.Random(seed)
    rows = []
    for place in range(number):
        texts = [" ".join(rng.choices(WORDS, k=rng.randint(3, 9))) for _ in columns]
        rows.append(dict(zip(columns, texts, strict=True)) | {"label": label(texts), "idx": place})
    return rows


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small BERT without dropout, and without a classifier's head, which is new for each task."""
    folder = tmp_path_factory.mktemp("bert")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: place for place, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", model_max_length=32,
    ).save_pretrained(folder)  # fmt: skip
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=32, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    set_seed(0)
    BertModel(config).save_pretrained(folder)
    return folder


class InOrder(Trainer):
    """The stock Trainer; the order of the examples is a comparison's."""

    def _get_train_sampler(self, train_dataset=None):
        return EpochSampler(TRAIN, 16, derive_streams(0).order)


def run_glue(checkpoint, form, rows, folder):
    """The steps of run_glue.py's main; its losses of each step and its logits."""
    is_regression = form == "stsb"
    data = {split: datasets.Dataset.from_list(found) for split, found in rows.items()}
    set_seed(derive_streams(0).init)
    config = AutoConfig.from_pretrained(checkpoint, num_labels=1 if is_regression else 2)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, config=config)

    def preprocess(examples):
        texts = [examples[column] for column in FORMS[form][0]]
        return tokenizer(*texts, max_length=32, truncation=True) | {"label": examples["label"]}

    data = {split: found.map(preprocess, batched=True) for split, found in data.items()}
    trainer = InOrder(
        model=model,
        args=TrainingArguments(output_dir=str(folder), report_to="none", **SETTINGS),
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return losses, trainer.predict(data["validation"]).predictions


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_losses_and_logits_are_those_of_run_glue(checkpoint, form, tmp_path):
    rows = {"train": make_rows(form, TRAIN, 1), "validation": make_rows(form, VALIDATION, 2)}
    for split, found in rows.items():
        text = "\n".join(map(json.dumps, found))
        (tmp_path / f"{split}.jsonl").write_text(text, encoding="utf-8")
    columns = FORMS[form][0]
    task = {
        "data_files": {split: f"{split}.jsonl" for split in rows},
        "text_column": columns if len(columns) > 1 else columns[0],
        "validation_split": "validation",
        "max_length": 32,
    }
    task |= {"problem_type": "regression"} if form == "stsb" else {}
    recipe = {
        "name": form,
        "task": task,
        "models": [{"name": "bert", "model_name_or_path": str(checkpoint)}],
        "training_arguments": SETTINGS,
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    outcome = compare(load_recipe(path), tmp_path / "results", console=Console(file=io.StringIO()))
    (record,) = outcome.ran
    assert record.status == "finished", record
    losses, logits = run_glue(checkpoint, form, rows, tmp_path / "stock")
    mine = [point["loss"] for point in record.curves["train"]]
    assert len(mine) == len(losses) == 12
    assert mine == pytest.approx(losses, rel=2e-5)
    assert max(losses) - min(losses) > 0.005, "no two steps are alike by chance"
    found = load_predictions(record, outcome.folder, "validation")["logits"]
    assert np.abs(found - logits).max() < 1e-5
