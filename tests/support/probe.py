"""Train a tiny classifier for a few steps and print what happened; also run by `torchrun`.

python tests/probe.py MODEL PER_DEVICE_BATCH ACCUMULATION OUT.json [EPOCHS [KIND]]
"""

import gc
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from datasets import Dataset, DatasetDict, Features, List, Value
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    GPT2Config,
    Trainer,
    TrainingArguments,
    set_seed,
)

from hfbench.data.tokens import TokenizedData
from hfbench.models import CustomGPTConfig
from hfbench.models.tokenizer import train_tokenizer
from hfbench.training.arguments import training_arguments
from hfbench.training.build import build_trainer
from hfbench.training.seeds import derive_streams
from hfbench.training.sequence_loss import SequenceLoss

SHAPE = {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 16, "vocab_size": 32}
NO_DROPOUT = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}
BERT = {
    "vocab_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16,
    "intermediate_size": 32, "max_position_embeddings": 16, "pad_token_id": 1,
    "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
STREAMS = derive_streams(0)
HEADS = {
    "single": {"num_labels": 2},
    "multi": {"num_labels": 3, "problem_type": "multi_label_classification"},
    "regression": {"num_labels": 1, "problem_type": "regression"},
}
"""By kind of answers the fields of a configuration."""
LOSSES = {
    "single": SequenceLoss(),
    "single, weighted": SequenceLoss(weights=(0.5, 3.0)),
    "multi": SequenceLoss("multi_label_classification"),
    "multi, weighted": SequenceLoss("multi_label_classification", weights=(0.5, 4.0, 1.0)),
    "regression": SequenceLoss("regression"),
}


def build_data(examples: int = 40, kind: str = "single") -> TokenizedData:
    """Rows of different lengths; 40 is no multiple of 16, so that an epoch ends in half a step."""
    labels = {
        "single": lambda ids: ids[0] % 2,
        "multi": lambda ids: [int(ids[0] % 2), int(ids[0] % 3 == 0), int(len(ids) > 5)],
        "regression": lambda ids: ids[0] / 8 - 2.0,
    }[kind]
    generator = torch.Generator().manual_seed(1)
    rows = []
    for _ in range(examples):
        length = int(torch.randint(2, 12, (1,), generator=generator))
        ids = torch.randint(5, 32, (length,), generator=generator).tolist()
        rows.append({"input_ids": ids, "attention_mask": [1] * length, "labels": labels(ids)})
    split = Dataset.from_list(rows)
    if kind == "multi":  # lists of a fixed size, as `tokenize_task` gives them
        features = Features({**split.features, "labels": List(Value("int8"), length=3)})
        split = split.cast(features)
    return TokenizedData(DatasetDict(train=split, validation=split.select(range(21))), {})


def build_model(name: str, kind: str = "single"):
    """A "custom" GPT, or a Hub "gpt2" or "bert", the same weights each time, no dropout."""
    values = {**SHAPE, **NO_DROPOUT, "pad_token_id": 1, **HEADS[kind]}
    config = CustomGPTConfig(**values) if name == "custom" else GPT2Config(**values)
    if name == "bert":
        config = BertConfig(**BERT, **HEADS[kind])
    set_seed(STREAMS.init)
    model = AutoModelForSequenceClassification.from_config(config)
    model.accepts_loss_kwargs = False
    return model


def run(
    name: str,
    per_device: int,
    accumulation: int,
    folder: Path,
    kind: str = "single",
    **arguments,
) -> dict:
    """Train two epochs as hfbench does; first losses, gradient norms, evaluation, weights."""
    tokenizer = train_tokenizer(["a b c"], 258)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    values = {
        "per_device_train_batch_size": per_device * world,  # the recipe's batch, to be shared
        "gradient_accumulation_steps": accumulation,
        "per_device_eval_batch_size": 4,
        "num_train_epochs": 2,
        "logging_steps": 1,
        "learning_rate": 1e-2,
        **arguments,
    }
    args = training_arguments(values, STREAMS, folder, "probe")
    labels, loss = kind.partition(",")[0], LOSSES[kind]
    model, data = build_model(name, labels), build_data(kind=labels)
    tools = (tokenizer, data, args, "study", STREAMS, [])
    return measure(build_trainer("classifier", model, *tools, loss=loss))


def run_stock(name: str, per_device: int, accumulation: int, folder: Path) -> dict:
    """The same with the Trainer as it comes, for a model as it comes."""
    model = build_model(name)
    del model.accepts_loss_kwargs
    args = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=per_device,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=2,
        logging_steps=1,
        learning_rate=1e-2,
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
    )
    data = build_data(32)
    tokenizer = train_tokenizer(["a b c"], 258)
    trainer = Trainer(
        model,
        args,
        train_dataset=data.splits["train"],
        eval_dataset=data.splits["validation"],
        processing_class=tokenizer,
    )
    return measure(trainer)


def measure(trainer: Trainer) -> dict:
    """Losses, gradient norms, evaluation loss and the sum of the weights' magnitudes."""
    trainer.train()
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    metrics = trainer.evaluate()
    weights = sum(float(p.detach().abs().sum()) for p in trainer.model.parameters())
    return {
        "loss": [entry["loss"] for entry in log],
        "grad_norm": [entry["grad_norm"] for entry in log],
        "accuracy": [entry.get("accuracy", -1.0) for entry in log],
        "eval_loss": metrics["eval_loss"],
        "weights": weights,
        "world_size": trainer.args.world_size,
    }


if __name__ == "__main__":
    name, per_device, accumulation, out, *more = sys.argv[1:]
    arguments: dict = {"num_train_epochs": int(more[0])} if more else {}
    arguments |= {"kind": more[1]} if more[1:] else {}
    result = run(name, int(per_device), int(accumulation), Path(out).parent / "runs", **arguments)
    if int(os.environ.get("RANK", "0")) == 0:
        Path(out).write_text(json.dumps(result))
    if torch.distributed.is_initialized():
        gc.collect()  # the trainer holds the group
        torch.distributed.destroy_process_group()
