"""The numbers of each concept that has a version, from inputs so small that all take seconds.

Texts are made by arithmetic, and networks have no dropout but in one case, so that nothing is drawn
but by what is measured. A concept leans on those that `concepts` names and on nothing else of
hfbench: what it needs besides is written out here.
"""

import io
import json
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import ClassLabel, Dataset, DatasetDict
from rich.console import Console
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer, PreTrainedModel

from hfbench.data.batches import PackedRows, round_length
from hfbench.data.corpus import load_corpus
from hfbench.data.strata import strata
from hfbench.data.subsets import nested_order
from hfbench.data.tables import labels_of
from hfbench.data.task import load_task
from hfbench.data.tokens import TokenizedData, predicted_bytes, tokenize_corpus, tokenize_task
from hfbench.execution.compare import compare
from hfbench.metrics.measure import classification_metrics
from hfbench.metrics.scores import bits_per_byte
from hfbench.models import (
    PRESETS,
    CustomGPTConfig,
    CustomGPTForCausalLM,
    CustomGPTForSequenceClassification,
)
from hfbench.models.load import load_causal_lm, load_classifier
from hfbench.models.prepare import PreparedModel, prepare_model
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.load import load_recipe
from hfbench.recipe.model import Corpus, Model
from hfbench.recipe.task import Task
from hfbench.records.predictions import load_predictions
from hfbench.records.schema import FailedRecord, PretrainingRecord, Record, TrainedRecord
from hfbench.training.arguments import training_arguments
from hfbench.training.limits import divide_batch
from hfbench.training.sampler import EpochSampler
from hfbench.training.seeds import derive_streams

Numbers = dict[str, Any]
"""Names -> numbers, texts, lists and dicts of them."""
UNMEASURED = "cannot be measured here"

LABELS = ["bad", "good"]
WORDS = {
    "bad": ["bad", "poor", "awful", "dull"],
    "good": ["good", "fine", "great", "lovely"],
    "other": ["the", "a", "film", "meal", "was", "so"],
}
TOKENIZER = {"train_on": "task", "vocab_size": 300}
GPT2 = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 32}
STILL = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}
BERT = {
    "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32,
    "max_position_embeddings": 32, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
TRAINING = {
    "per_device_train_batch_size": 8,
    "num_train_epochs": 3,
    "logging_strategy": "steps",
    "logging_steps": 1,
}


def make_rows(number: int, first: int = 0) -> list[dict[str, str]]:
    """Texts of 3 to 9 words whose label is in one of them."""
    rows = []
    for n in range(first, first + number):
        label, length = LABELS[n % 2], 1 + n * 5 % 7
        words = [WORDS["other"][(n * n + 3 * k + k * k) % 6] for k in range(length)]
        text = " ".join([*words, WORDS[label][n * 7 % 4], "indeed"])
        labels = [name for name in ("a", "the", label) if name in words or name == label]
        row = {"text": text, "label": label, "labels": labels, "score": n * 7 % 13 / 4 - 1}
        rows.append(row)
    return rows


TEXTS = [row["text"] for row in make_rows(48)]


MULTI_LABEL = {"label_column": "labels"}
REGRESSION = {"label_column": "score"}


def measure_metrics() -> Numbers:
    """Of logits and labels that are made by arithmetic."""
    logits = (1.5 * np.sin(1.7 * np.arange(72))).reshape(24, 3).astype(np.float32)
    logits[0] = 1.0  # no class is the highest
    labels = np.where(np.arange(24) % 3 == 0, 1, logits.argmax(-1))
    labels[labels == 2] = 0  # a class that is predicted and never right
    return {
        "classifier": classification_metrics(logits, labels),
        "bits_per_byte": bits_per_byte(1.5, 1000, 4321),
    }


def measure_data() -> Numbers:
    """Rows, hashes, ids and batches, all of them exact."""
    tokenizer = bytes_tokenizer()
    builtin = load_task(Task(builtin="sentiment", validation_split="validation"), Path())
    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder) / "train.jsonl", make_rows(40))
        files = {"train": "train.jsonl"}
        held_out, label_sets, targets = (
            load_task(Task(data_files=files, validation_size=0.25, **keys), Path(folder))
            for keys in ({}, {"label_column": "labels"}, {"label_column": "score"})
        )
    corpora = {
        cut: load_corpus(Corpus(builtin="pets", cut=cut, block_size=48), Path(), "corpus").texts
        for cut in ("sentences", "blocks")
    }
    pets = {
        cut: tokenize_corpus(texts, tokenizer, Corpus(builtin="pets", cut=cut, block_size=48), 40)
        for cut, texts in corpora.items()
    }
    task = tokenize_task(a_task(), tokenizer, 24)
    padded = {}
    for side in ("right", "left"):
        tokenizer.padding_side = side
        for name, data in {"task": task, "corpus": pets["sentences"]}.items():
            rows = PackedRows(data.splits["train"], tokenizer, round_lengths=False)
            batch = rows.__getitems__([4, 0, 3])
            padded[f"{name}, {side}"] = {key: values.tolist() for key, values in batch.items()}
    labels = np.arange(24) % 3
    return {
        "builtin": {name: facts.content_hash for name, facts in builtin.facts.splits.items()},
        "held out": list(held_out.splits["validation"]["id"][:]),
        "hashes": {name: facts.content_hash for name, facts in held_out.facts.splits.items()},
        "label sets": {name: facts.model_dump() for name, facts in label_sets.facts.splits.items()},
        "targets": {name: facts.model_dump() for name, facts in targets.facts.splits.items()},
        "strata": {
            name: strata(labels_of(task.splits["train"])).tolist()
            for name, task in {"label sets": label_sets, "targets": targets}.items()
        },
        "ids": task.splits["train"][:3]["input_ids"],
        "tokens": counts_of(task),
        "part": task.with_train_rows(np.array([1, 4])).splits["train"]["labels"][:],
        "batches": padded,
        "corpora": {cut: of_corpus(data) for cut, data in pets.items()},
        "predicted bytes": {
            cut: predicted_bytes(
                texts["validation"],
                tokenizer,
                Corpus(builtin="pets", cut=cut, block_size=48),
                40,
            )
            for cut, texts in corpora.items()
        },
        "subset": nested_order(labels, seed=3)[:9].tolist(),
        "lengths": [round_length(length) for length in (1, 9, 65, 130, 1000)],
    }


def measure_models() -> Numbers:
    """Weights and logits of networks that are made, loaded, resized and given a head."""
    tokens = train_tokenizer(TEXTS, 300)(TEXTS[:2])["input_ids"]
    gpt2 = prepare({"model_type": "gpt2", "config": {**GPT2, **STILL}})
    bert = prepare({"model_type": "bert", "config": BERT})
    language_model = load_causal_lm(gpt2, 2)
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder))
        checkpoint = prepare({"model_name_or_path": folder, "tokenizer": None})
        twin = prepare({"model_name_or_path": folder, "tokenizer": None, "random_init": True})
        loaded, untrained = (load_classifier(one, LABELS, 4) for one in (checkpoint, twin))
    return {
        "tokenizer": tokens,
        "gpt2": describe(load_classifier(gpt2, LABELS, 1), gpt2),
        "bert": describe(load_classifier(bert, ["a", "b", "c"], 1), bert),
        "language model": {
            "loss_type": language_model.loss_type,
            "norms": norms(language_model),
            "logits": logits_of(language_model, gpt2)[:, -1, :4].tolist(),
        },
        "checkpoint": {
            "pad": [checkpoint.tokenizer.pad_token, checkpoint.tokenizer.pad_token_id],
            "embedding": list(loaded.get_input_embeddings().weight.shape),
            **describe(loaded, checkpoint),
        },
        "untrained twin": describe(untrained, twin),
    }


def measure_training() -> Numbers:
    """Curves, metrics and logits of whole cells, of architectures of transformers."""
    gpt2 = {"name": "gpt2", "model_type": "gpt2", "config": {**GPT2, **STILL}}
    arguments = {"learning_rate": 5e-3, "logging_steps": 2, "max_steps": 8}
    pretrain = {
        "corpus": {"text_file": "corpus.txt", "cut": "rows"},
        "training_arguments": {**TRAINING, **arguments, "eval_strategy": "epoch"},
        "seed": 3,
    }
    schedule = {"learning_rate": 1e-2, "lr_scheduler_type": "cosine", "warmup_steps": 2}
    bert = {"name": "bert", "model_type": "bert", "config": BERT, "optimizer": "huggingface"}
    in_parts = {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4}
    cells = run_cells(
        [
            {**gpt2, "pretrain": pretrain},
            {**bert, "training_arguments": {**schedule, **in_parts, "weight_decay": 0.1}},
        ],
        train_sizes=[20],
        seeds=[1],
    )
    cells |= run_cells(
        [{**gpt2, "name": "selected", "training_arguments": {"learning_rate": 1e-2}}],
        selection="best_loss",
        task={"validation_split": "contrary", "test_split": "validation"},
    )
    # a CPU draws dropout by MKL where it has it, and otherwise by torch
    with_mkl = torch.backends.mkl.is_available()
    dropout = {**gpt2, "name": "dropout", "config": GPT2}
    cells |= run_cells([dropout]) if with_mkl else {"dropout--seed0": UNMEASURED}
    smoothed = {"training_arguments": {"label_smoothing_factor": 0.1}}
    for name, entry, task in (
        ("multi", {**gpt2, **smoothed}, {**MULTI_LABEL, "class_weights": "balanced"}),
        ("regression", bert, REGRESSION),
        ("weighted", {**gpt2, **smoothed}, {"class_weights": {"bad": 3.0}}),
    ):
        cells |= run_cells([{**entry, "name": name}], task=task)
    sampler = EpochSampler(num_examples=10, batch=4, seed=5)
    return {
        "streams": vars(derive_streams(7)),
        "order": [list(sampler), sampler.order(epoch=1).tolist()],
        "parts": parts_of_batches(),
        **cells,
    }


def measure_custom_gpt() -> Numbers:
    """Weights, logits and losses of the custom GPT, and how it is trained."""
    # weights so large that activation and normalisation are seen
    sizes = {"n_layer": 2, "n_positions": 32, "vocab_size": 300, "initializer_range": 0.2}
    config = CustomGPTConfig.from_preset("gpt-nano", num_labels=3, pad_token_id=1, **sizes, **STILL)
    ids = torch.tensor([[5, 9, 20, 7, 11, 30], [8, 40, 21, 1, 1, 1]])
    mask = (ids != 1).long()
    torch.manual_seed(1)
    classifier = CustomGPTForSequenceClassification(config).eval()
    torch.manual_seed(1)
    language_model = CustomGPTForCausalLM(config).eval()
    labels = ids.masked_fill(mask == 0, -100)
    with torch.no_grad():
        logits = {
            "right": classifier(input_ids=ids, attention_mask=mask).logits.tolist(),
            "left": classifier(input_ids=ids.flip(1), attention_mask=mask.flip(1)).logits.tolist(),
            "no padding": classifier(ids, mask, skip_padding=True).logits.tolist(),
        }
        plain = language_model(ids, mask, labels=labels)
        short = language_model(ids, mask, labels=labels, skip_logits=True)
        classifier.set_attn_implementation("eager")
        logits["eager"] = classifier(input_ids=ids, attention_mask=mask).logits.tolist()
    small = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32, **STILL}}
    pretrain = {
        "corpus": {"text_file": "corpus.txt", "cut": "blocks", "block_size": 16},
        "training_arguments": {**TRAINING, "max_steps": 8, "logging_steps": 2},
    }
    return {
        "presets": PRESETS,
        "norms": norms(language_model),
        "logits": logits,
        "next": plain.logits[:, -1, :4].tolist(),
        "loss": [plain.loss.item(), short.loss.item()],
        **run_cells([{"name": "custom", **small, "pretrain": pretrain}]),
    }


def measure_lora() -> Numbers:
    """How adapters in a checkpoint are trained and merged, where PEFT is installed."""
    if find_spec("peft") is None:
        return {"lora--seed0": UNMEASURED}
    lora = {"r": 2, "lora_alpha": 6, "target_modules": ["c_attn"]}
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder))
        source = {"model_name_or_path": folder, "training_arguments": {"learning_rate": 2e-2}}
        return run_cells([{"name": "lora", **source, "lora": lora}])


def measure_probe() -> Numbers:
    """What heads on a checkpoint's frozen features say, whatever is asked of a text."""
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder), n_positions=128)
        source = {"model_name_or_path": folder, "tokenizer": None}
        heads = [
            {**source, "name": head, "probe": {"head": head, "pooling": pooling}}
            for head, pooling in (("linear", "mean"), ("knn", "last"), ("mlp", "cls"))
        ]
        cells = run_cells(heads)
        for kind, task in {"multi": MULTI_LABEL, "regression": REGRESSION}.items():
            cells |= run_cells([{**heads[0], "name": kind}], task=task)
    return cells


def measure_prompt() -> Numbers:
    """What a checkpoint of random weights says is likelier, with and without examples."""
    words = {"bad": " is sad", "good": " is a hit"}
    prompt = {"template": "{text}, it", "labels": words, "separator": " and "}
    shown = {**prompt, "shots": 2, "calibrate": True, "likelihood": "mean"}
    del prompt["separator"]
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder), n_positions=256)
        source = {"model_name_or_path": folder, "tokenizer": None}
        return run_cells(
            [
                {**source, "name": "zero", "prompt": prompt},
                {**source, "name": "two", "prompt": shown},
            ]
        )


def measure_answers() -> Numbers:
    """What becomes of a file's answers: scores known by text, and labels known by id."""
    rows = make_rows(40)[27:]
    with tempfile.TemporaryDirectory() as name:
        scores, labels = Path(name) / "scores.jsonl", Path(name) / "labels.jsonl"
        shares = [(1 + n % 7) / 9 for n in range(len(rows))]
        write_rows(
            scores,
            [
                {"text": row["text"].upper(), LABELS[0]: share, LABELS[1]: 1 - share}
                for row, share in zip(rows, shares, strict=True)
            ],
        )
        write_rows(
            labels,
            [
                {"id": f"validation/{n}", "prediction": LABELS[share > 0.5]}
                for n, share in enumerate(shares)
            ],
        )
        return run_cells(
            [{"name": path.stem, "predictions": str(path)} for path in (scores, labels)]
        )


def measure_estimator() -> Numbers:
    """What an estimator says of a text."""
    return run_cells([{"name": "estimator", "estimator": "golden.estimator:make"}])


def measure_control(name: str) -> Numbers:
    """What a control says of pairs of texts, and where something else is asked of a text."""
    control = {"name": "control", "control": name}
    cells = run_cells([control], task={"text_column": ["text", "more"]})
    for kind, task in {"multi": MULTI_LABEL, "regression": REGRESSION}.items():
        cells |= run_cells([{**control, "name": kind}], task=task)
    return cells


def run_cells(
    models: list[dict], task: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Numbers]:
    """Run a comparison of the texts above; by its cells' names what their records say."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [{**row, "more": WORDS["other"][n * n % 6]} for n, row in enumerate(make_rows(40))]
        write_rows(folder / "train.jsonl", rows[:27])
        write_rows(folder / "validation.jsonl", rows[27:])
        # a third with the label of the other class: what is learned makes the loss higher
        turned = [
            {**row, "label": LABELS[(row["label"] == LABELS[1]) != (n % 3 == 0)]}
            for n, row in enumerate(rows[27:])
        ]
        write_rows(folder / "contrary.jsonl", turned)
        (folder / "corpus.txt").write_text("\n".join(TEXTS), encoding="utf-8")
        splits = ("train", "validation", "contrary")
        recipe = {
            "name": "golden",
            "task": {
                "data_files": {split: f"{split}.jsonl" for split in splits},
                "validation_split": "validation",
                **(task or {}),
            },
            "tokenizer": TOKENIZER,
            "optimizer": "study",
            "training_arguments": TRAINING,
            "models": models,
            **changes,
        }
        path = folder / "golden.yaml"
        path.write_text(json.dumps(recipe), encoding="utf-8")  # JSON is YAML
        outcome = compare(
            load_recipe(path), folder / "results", console=Console(file=io.StringIO())
        )
        return {record.stem: numbers_of(record, outcome.folder) for record in outcome.ran}


def numbers_of(record: Record, folder: Path) -> Numbers:
    """Of a finished cell all that is compared with others, but for most of its logits."""
    assert not isinstance(record, FailedRecord), record.failure
    numbers: Numbers = {"metrics": record.metrics}
    if not isinstance(record, PretrainingRecord):
        numbers["logits"] = {
            split: load_predictions(record, folder, split)["logits"][:3].tolist()
            for split in record.metrics
        }
    if isinstance(record, TrainedRecord):
        facts = ("steps", "batch", "selected_step", "examples_seen", "tokens_seen")
        numbers |= {name: getattr(record.training, name) for name in facts}
        numbers["curves"] = {name: columns_of(points) for name, points in record.curves.items()}
    return numbers


def columns_of(points: list[dict[str, float]]) -> dict[str, list[float]]:
    return {name: [point[name] for point in points] for name in points[0]}


def parts_of_batches() -> dict[str, list[int]]:
    """By the number of parts: examples of a pass, and passes of a step."""
    found = {}
    for parts in (1, 2, 4):
        args = training_arguments(TRAINING, derive_streams(0), Path(), "")
        divide_batch(args, parts)
        found[str(parts)] = [args.per_device_train_batch_size, args.gradient_accumulation_steps]
    return found


def prepare(source: dict[str, Any]) -> PreparedModel:
    """A model that is described as in a recipe, with a tokenizer of the texts above."""
    entry = Model.model_validate({"name": "m", "tokenizer": TOKENIZER, **source})
    return prepare_model(entry, lambda _: TEXTS)


def save_checkpoint(folder: Path, **changes: int) -> None:
    """A GPT-2 as on the Hub: a language model whose tokenizer has no pad token."""
    tokenizer = bytes_tokenizer()
    tokenizer.pad_token = None
    torch.manual_seed(5)
    config = GPT2Config(vocab_size=len(tokenizer), **{**GPT2, **STILL, **changes})
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def bytes_tokenizer() -> GPT2Tokenizer:
    """One token a letter, and "th" and "in"."""
    letters = ["<|endoftext|>", "<|unk|>", *"abcdefghijklmnopqrstuvwxyzĠ.HIS", "th", "in"]
    vocab = {token: number for number, token in enumerate(letters)}
    tokenizer = GPT2Tokenizer(vocab=vocab, merges=[("t", "h"), ("i", "n")])
    tokenizer.pad_token = "<|unk|>"
    return tokenizer


def a_task() -> DatasetDict:
    """Pairs of texts."""
    rows = make_rows(6)
    columns = {
        "text": [row["text"] for row in rows],
        "text_pair": [row["label"] for row in rows],
        "label": [LABELS.index(row["label"]) for row in rows],
    }
    split = Dataset.from_dict(columns).cast_column("label", ClassLabel(names=LABELS))
    return DatasetDict(train=split, validation=split.select([1, 2]))


def of_corpus(data: TokenizedData) -> Numbers:
    return {
        "tokens": counts_of(data),
        "second": data.splits["train"]["input_ids"][1],
    }


def counts_of(data: TokenizedData) -> Numbers:
    """What decides how a model is trained; how much was cut off only tells of it."""
    kept = {"total", "truncated_examples"}
    return {name: tokens.model_dump(include=kept) for name, tokens in data.tokens.items()}


def describe(model: PreTrainedModel, prepared: PreparedModel) -> Numbers:
    """A classifier's weights, and its logits of a padded batch."""
    return {
        "accepts_loss_kwargs": model.accepts_loss_kwargs,
        "pad_token_id": model.config.pad_token_id,
        "norms": norms(model),
        "logits": logits_of(model, prepared).tolist(),
    }


def logits_of(model: PreTrainedModel, prepared: PreparedModel) -> torch.Tensor:
    batch = prepared.tokenizer(TEXTS[:3], padding=True, return_tensors="pt")
    model.eval()
    with torch.no_grad():
        return model(**batch).logits


def norms(model: PreTrainedModel) -> dict[str, float]:
    """Of each weight that is neither 0 nor 1 throughout."""
    return {
        name: parameter.norm().item()
        for name, parameter in model.named_parameters()
        if parameter.std() > 0
    }


def write_rows(path: Path, rows: list[dict]) -> None:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


MEASURES: dict[str, Callable[[], Numbers]] = {
    "metrics": measure_metrics,
    "data": measure_data,
    "data.answers": measure_answers,
    "models": measure_models,
    "training": measure_training,
    "models.custom_gpt": measure_custom_gpt,
    "models.lora": measure_lora,
    "estimator": measure_estimator,
    "probe": measure_probe,
    "prompt": measure_prompt,
    "control.majority": lambda: measure_control("majority"),
    "control.tfidf-logreg": lambda: measure_control("tfidf-logreg"),
}
