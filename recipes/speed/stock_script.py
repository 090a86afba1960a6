"""Fine-tune a model for classification once, as a script of one's own does it; prints the accuracy.

python stock_script.py MODEL --train FILE --validation FILE --output FOLDER --seed 0 --epochs 50
"""

import argparse

import numpy as np
from datasets import load_dataset
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)


def main() -> None:
    """Load, tokenise, train, evaluate after each epoch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--from-scratch", action="store_true", help="only the model's shape")
    parser.add_argument("--train", required=True)
    parser.add_argument("--validation", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--epochs", type=float, required=True)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--bf16", action="store_true")
    args = parser.parse_args()

    set_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    data = load_dataset("json", data_files={"train": args.train, "validation": args.validation})
    data = data.map(lambda rows: tokenizer(rows["text"], truncation=True), batched=True)
    if args.from_scratch:
        config = AutoConfig.from_pretrained(args.model, num_labels=2)
        model = AutoModelForSequenceClassification.from_config(config)
    else:
        model = AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=2)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=args.output,
            seed=args.seed,
            num_train_epochs=args.epochs,
            per_device_train_batch_size=args.batch,
            per_device_eval_batch_size=120,
            learning_rate=args.learning_rate,
            bf16=args.bf16,
            lr_scheduler_type="constant",
            adam_beta1=0.9,
            adam_beta2=0.95,
            weight_decay=0.1,
            eval_strategy="epoch",
            logging_strategy="epoch",
            save_strategy="no",
            report_to="none",
        ),
        data_collator=DataCollatorWithPadding(tokenizer),
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        compute_metrics=accuracy,
    )
    trainer.train()
    print("accuracy", trainer.evaluate()["eval_accuracy"])


def accuracy(prediction: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    """Share of the rows whose largest logit is the label's."""
    logits, labels = prediction
    return {"accuracy": float((logits.argmax(-1) == labels).mean())}


if __name__ == "__main__":
    main()
