"""The stock Trainer of transformers on the same architecture: what it makes of it."""

import tempfile
from typing import Any

from datasets import Dataset
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    DataCollatorForLanguageModeling,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from hfbench.models.tokenizer import end_texts, train_tokenizer
from hfbench.recipe.types import Head

_TEXTS = ["she likes this long film", "nobody hates the very good book"] * 8


def try_stock_trainer(head: Head, model_type: str, fields: dict[str, Any]) -> str:
    """``trains``, or the error with which building, training or evaluating it ends."""
    tokenizer = train_tokenizer(_TEXTS, 300)
    ids = {f"{n}_token_id": getattr(tokenizer, f"{n}_token_id") for n in ("pad", "bos", "eos")}
    is_classifier = head == "classifier"
    auto_class = AutoModelForSequenceClassification if is_classifier else AutoModelForCausalLM
    try:
        config = AutoConfig.for_model(model_type, **{"vocab_size": 300, **ids, **fields})
        if config.is_encoder_decoder:
            end_texts(tokenizer)
        columns = dict(tokenizer(_TEXTS))
        if is_classifier:
            columns["labels"] = [number % 2 for number in range(len(_TEXTS))]
        collator = (
            DataCollatorWithPadding(tokenizer)
            if is_classifier
            else DataCollatorForLanguageModeling(tokenizer, mlm=False)
        )
        data = Dataset.from_dict(columns)
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                auto_class.from_config(config),
                TrainingArguments(folder, max_steps=2, use_cpu=True, disable_tqdm=True),
                collator,
                data,
                data,
            )
            trainer.train()
            trainer.evaluate()
    except Exception as error:  # whatever it is, it is what a user of transformers would see
        return " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return "trains"
