"""Train a tiny classifier for a few steps and print what happened; also run by `torchrun`.

python tests/probe.py MODEL PER_DEVICE_BATCH ACCUMULATION OUT.json [EPOCHS]
"""

import gc
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from datasets import Dataset, DatasetDict
from transformers import (
    AutoModelForSequenceClassification,
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

SHAPE = {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 16, "vocab_size": 32}
NO_DROPOUT = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}
STREAMS = derive_streams(0)


def build_data(examples: int = 40) -> TokenizedData:
    """Rows of different lengths; 40 is no multiple of 16, so that an epoch ends in half a step."""
    generator = torch.Generator().manual_seed(1)
    rows = []
    for _ in range(examples):
        length = int(torch.randint(2, 12, (1,), generator=generator))
        ids = torch.randint(5, 32, (length,), generator=generator).tolist()
        rows.append({"input_ids": ids, "attention_mask": [1] * length, "labels": ids[0] % 2})
    split = Dataset.from_list(rows)
    return TokenizedData(DatasetDict(train=split, validation=split.select(range(21))), {})


def build_model(name: str):
    """A "custom" GPT or a Hub "gpt2", the same weights each time, no dropout."""
    values = {**SHAPE, **NO_DROPOUT, "pad_token_id": 1}
    config = CustomGPTConfig(**values) if name == "custom" else GPT2Config(**values)
    set_seed(STREAMS.init)
    model = AutoModelForSequenceClassification.from_config(config)
    model.accepts_loss_kwargs = False
    return model


def run(name: str, per_device: int, accumulation: int, folder: Path, **arguments) -> dict:
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
    trainer = build_trainer(
        "classifier", build_model(name), tokenizer, build_data(), args, "study", STREAMS, []
    )
    return measure(trainer)


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
    name, per_device, accumulation, out, *epochs = sys.argv[1:]
    arguments = {"num_train_epochs": int(epochs[0])} if epochs else {}
    result = run(name, int(per_device), int(accumulation), Path(out).parent / "runs", **arguments)
    if int(os.environ.get("RANK", "0")) == 0:
        Path(out).write_text(json.dumps(result))
    if torch.distributed.is_initialized():
        gc.collect()  # the trainer holds the group
        torch.distributed.destroy_process_group()
