"""The bare way: the same models of transformers, or a plain GPT, in a loop of one's own."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2LMHeadModel,
    PreTrainedModel,
    set_seed,
)

from speed.measure import Clock, device
from speed.plain_gpt import PlainGPT
from speed.texts import MAX_LENGTH, VOCAB_SIZE
from speed.work import BETAS, MAX_GRAD_NORM, WEIGHT_DECAY, Inputs, Work

Batch = dict[str, Tensor]
_PADDED_VOCABULARY = -(-VOCAB_SIZE // 64) * 64  # nanoGPT's 50,304


def train_language_model(work: Work, inputs: Inputs, clock: Clock) -> None:
    """GPT2LMHeadModel, from scratch."""
    set_seed(0)
    rows = language_model_rows(work, inputs)
    model = GPT2LMHeadModel(work.gpt2_config()).to(device())
    batches = shuffled(rows, work, language_model_batch)
    train(model, lambda batch: model(**batch).loss, batches, work, clock)


def train_classifier(work: Work, inputs: Inputs, clock: Clock) -> None:
    """The classifier of transformers, a GPT-2 from a checkpoint."""
    set_seed(0)
    rows = classifier_rows(inputs)
    model = load_classifier(work, inputs).to(device())
    batches = shuffled(rows, work, partial(classifier_batch, work.pad_token))
    train(model, lambda batch: model(**batch).loss, batches, work, clock)


def load_classifier(work: Work, inputs: Inputs) -> PreTrainedModel:
    """The model of transformers that is fine-tuned."""
    if work.encoder:
        return work.classifier()
    return AutoModelForSequenceClassification.from_pretrained(inputs.checkpoint, num_labels=2)


def train_plain_gpt(work: Work, inputs: Inputs, clock: Clock) -> None:
    """A plain GPT compiled, its vocabulary padded, reading its tokens as nanoGPT does."""
    set_seed(0)
    ids = torch.tensor(list(chain.from_iterable(language_model_rows(work, inputs))))
    sizes = {**work.shape, "dropout": work.dropout, "n_positions": MAX_LENGTH}
    model = PlainGPT(_PADDED_VOCABULARY, **sizes, tied=work.tied).to(device())
    compiled = torch.compile(model)
    batches = random_windows(ids, work)
    train(model, lambda batch: compiled(**batch), batches, work, clock)


def train(
    model: nn.Module,
    loss_of: Callable[[Batch], Tensor],
    batches: Iterable[Batch],
    work: Work,
    clock: Clock,
    steps: int | None = None,
) -> list[float]:
    """The loop; gives the loss of each step."""
    optimizer = adamw(model, work.learning_rate)
    losses = []
    model.train()
    clock.begin()
    for batch in islice(batches, steps or work.steps):
        on_device = {name: values.to(device(), non_blocking=True) for name, values in batch.items()}
        with torch.autocast(device().type, torch.bfloat16, enabled=work.bf16):
            loss = loss_of(on_device)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
        clock.step()
    clock.end()
    return [loss.item() for loss in losses]


def adamw(model: nn.Module, learning_rate: float) -> torch.optim.AdamW:
    """AdamW of which matrices decay that are not embeddings."""
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    decays = [p for p in model.parameters() if p.ndim >= 2 and id(p) not in embeddings]
    others = [p for p in model.parameters() if p.ndim < 2 or id(p) in embeddings]
    groups = [
        {"params": decays, "weight_decay": WEIGHT_DECAY},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=BETAS, fused=True)


def language_model_rows(work: Work, inputs: Inputs) -> list[Tensor]:
    """The ids of each text or block."""
    tokenizer = AutoTokenizer.from_pretrained(inputs.tokenizer)
    texts = [row["text"] for row in read_json_lines(inputs.train)]
    rows = tokenizer(texts, truncation=True)["input_ids"]
    if work.block_size is None:
        return [torch.tensor(ids) for ids in rows]
    stream = torch.tensor(list(chain.from_iterable([*ids, tokenizer.eos_token_id] for ids in rows)))
    whole = len(stream) // work.block_size * work.block_size
    return list(stream[:whole].split(work.block_size))


def classifier_rows(inputs: Inputs) -> list[tuple[Tensor, int]]:
    """The ids of each text, and its label."""
    tokenizer = AutoTokenizer.from_pretrained(inputs.tokenizer)
    rows = read_json_lines(inputs.train)
    ids = tokenizer([row["text"] for row in rows], truncation=True)["input_ids"]
    return [(torch.tensor(text), row["label"]) for text, row in zip(ids, rows, strict=True)]


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def language_model_batch(rows: Sequence[Tensor]) -> Batch:
    """Rows padded to the longest, where one is shorter; no loss counts padding."""
    ids = pad_sequence(list(rows), batch_first=True, padding_value=VOCAB_SIZE - 1)
    if all(len(row) == ids.shape[1] for row in rows):
        return {"input_ids": ids, "labels": ids}
    mask = _mask(rows)
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.where(mask == 1, -100)}


def classifier_batch(pad_token: int, rows: Sequence[tuple[Tensor, int]]) -> Batch:
    """Texts padded to the longest, and their labels."""
    texts = [text for text, _ in rows]
    ids = pad_sequence(texts, batch_first=True, padding_value=pad_token)
    labels = torch.tensor([label for _, label in rows])
    return {"input_ids": ids, "attention_mask": _mask(texts), "labels": labels}


def shuffled(rows: Sequence[Any], work: Work, collate: Callable[..., Batch]) -> Iterator[Batch]:
    """Batches without end, in a new order each epoch."""
    pin = device().type == "cuda"
    loader = DataLoader(rows, work.batch, shuffle=True, collate_fn=collate, pin_memory=pin)
    while True:
        yield from loader


def random_windows(ids: Tensor, work: Work) -> Iterator[Batch]:
    """Blocks from anywhere in the stream, and the tokens after each of theirs."""
    assert work.block_size is not None
    while True:
        starts = torch.randint(len(ids) - work.block_size, (work.batch,)).tolist()
        windows = torch.stack([ids[start : start + work.block_size + 1] for start in starts])
        if device().type == "cuda":
            windows = windows.pin_memory()
        yield {"ids": windows[:, :-1], "targets": windows[:, 1:]}


def _mask(rows: Sequence[Tensor]) -> Tensor:
    return pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
