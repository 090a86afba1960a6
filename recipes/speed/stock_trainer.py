"""The stock way, as a user of transformers writes it: GPT-2's own classes and the `Trainer`."""

from itertools import chain
from typing import Any

from datasets import load_dataset
from transformers import (
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    DataCollatorWithPadding,
    GPT2LMHeadModel,
    Trainer,
    TrainingArguments,
    default_data_collator,
)

from speed.bare_loop import load_classifier
from speed.measure import Clock
from speed.work import BETAS, MAX_GRAD_NORM, WEIGHT_DECAY, Inputs, Work


def train_language_model(work: Work, inputs: Inputs, clock: Clock) -> None:
    """GPT2LMHeadModel, from scratch."""
    tokenizer = AutoTokenizer.from_pretrained(inputs.tokenizer)
    data = load_texts(inputs)
    if work.block_size:
        data = data.map(
            lambda rows: tokenize_blocks(rows, tokenizer, work.block_size),
            batched=True,
            batch_size=None,
            remove_columns="text",
        )
        collator = default_data_collator
    else:
        data = data.map(
            lambda rows: tokenizer(rows["text"], truncation=True),
            batched=True,
            remove_columns="text",
        )
        collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)
    trainer = Trainer(
        model=GPT2LMHeadModel(work.gpt2_config()),
        args=training_arguments(work, inputs),
        data_collator=collator,
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        callbacks=[clock],
    )
    trainer.train()
    trainer.evaluate()
    trainer.save_model()


def train_classifier(work: Work, inputs: Inputs, clock: Clock) -> None:
    """The classifier of transformers, batches padded to their longest text."""
    tokenizer = AutoTokenizer.from_pretrained(inputs.tokenizer)
    data = load_texts(inputs).map(
        lambda rows: tokenizer(rows["text"], truncation=True), batched=True, remove_columns="text"
    )
    _train_classifier(work, inputs, clock, data, DataCollatorWithPadding(tokenizer))


def train_classifier_on_max_length(work: Work, inputs: Inputs, clock: Clock) -> None:
    """The same as most tutorials have it: each text padded to all that the model can take."""
    tokenizer = AutoTokenizer.from_pretrained(inputs.tokenizer)
    if work.encoder:  # as BERT's own tokenizer has it
        tokenizer.model_max_length = 512
    data = load_texts(inputs).map(
        lambda rows: tokenizer(rows["text"], padding="max_length", truncation=True),
        batched=True,
        remove_columns="text",
    )
    _train_classifier(work, inputs, clock, data, default_data_collator)


def _train_classifier(work: Work, inputs: Inputs, clock: Clock, data: Any, collator: Any) -> None:
    trainer = Trainer(
        model=load_classifier(work, inputs),
        args=training_arguments(work, inputs),
        data_collator=collator,
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        callbacks=[clock],
    )
    trainer.train()
    trainer.evaluate()


def load_texts(inputs: Inputs) -> Any:
    """The rows of both splits."""
    files = {"train": str(inputs.train), "validation": str(inputs.validation)}
    return load_dataset("json", data_files=files)


def tokenize_blocks(rows: Any, tokenizer: Any, block_size: int) -> dict[str, list[list[int]]]:
    """Texts with EOS between them, cut every ``block_size`` tokens, as `run_clm.py` does it."""
    ids = tokenizer(rows["text"])["input_ids"]
    stream = list(chain.from_iterable([*text, tokenizer.eos_token_id] for text in ids))
    ends = range(block_size, len(stream) + 1, block_size)
    blocks = [stream[end - block_size : end] for end in ends]
    return {
        "input_ids": blocks,
        "attention_mask": [[1] * block_size for _ in blocks],
        "labels": blocks,
    }


def training_arguments(work: Work, inputs: Inputs) -> TrainingArguments:
    """The study's optimiser; one evaluation, in the end."""
    return TrainingArguments(
        output_dir=str(inputs.scratch()),
        max_steps=work.steps,
        per_device_train_batch_size=work.batch,
        learning_rate=work.learning_rate,
        lr_scheduler_type="constant",
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        weight_decay=WEIGHT_DECAY,
        max_grad_norm=MAX_GRAD_NORM,
        optim="adamw_torch_fused",
        bf16=work.bf16,
        torch_compile=work.compiled,
        logging_steps=work.logging_steps,
        eval_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
