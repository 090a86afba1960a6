"""The recipe that `hfbench init` writes: what was found in the data, and rivals that fit it."""

import json
import re
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hfbench.recipe.types import ProblemType

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
ROBERTA = "FacebookAI/roberta-base"

_KINDS: "dict[ProblemType, str]" = {
    "single_label_classification": "one of the classes",
    "multi_label_classification": "any number of labels",
    "regression": "a number",
}
_PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off"}
_PASSES = 20_000
"""Training examples that a model from scratch passes, about: so many rows are read once, fewer more
often."""


@dataclass(frozen=True)
class Facts:
    """What the draft depends on."""

    name: str
    task: dict[str, Any]
    """Keys of the task."""
    kind: "ProblemType"
    train_rows: int
    classes: int
    tokens: int
    """Of all but the longest twentieth of the texts, about."""
    is_latin: bool
    gpus: int
    cores: int
    reachable: dict[str, str | None]
    """Of the checkpoints that can be had here: name -> commit."""
    notes: list[str] = field(default_factory=list)
    """What is odd about the data, a sentence each."""
    groups: str | None = None
    """A column whose values may be groups."""


def checkpoints(is_latin: bool, gpus: int) -> list[str]:
    """The pretrained rivals that would be sensible, whether or not they can be had."""
    return [MINILM if is_latin else MULTILINGUAL, *([ROBERTA] if gpus and is_latin else [])]


def draft(facts: Facts, source: str, cost: str | None = None) -> str:
    """The text of a recipe.

    Args:
        facts: of data and machine.
        source: what was asked for, for the header.
        cost: how long it will take, in words; None: not known yet.
    """
    machine = f"{facts.gpus} GPU{'s' * (facts.gpus > 1)}" if facts.gpus else f"{facts.cores} cores"
    header = [
        f"A comparison on {source}, as `hfbench init` found it: change what is not so.",
        "",
        f"  hfbench plan {facts.name}.yaml      # what runs, how long, what it can show",
        f"  hfbench compare {facts.name}.yaml   # stop it whenever you like; it goes on from there",
        "",
        f"Cost on this machine ({machine}): {cost or 'see hfbench plan'}.",
    ]
    parts = [
        _comment(*header),
        f"name: {_value(facts.name)}",
        "",
        _comment(
            f"Data: {facts.train_rows:,} rows to train on; the answer is {_KINDS[facts.kind]}."
        ),
        *(_comment(*_wrap(note)) for note in facts.notes),
        _task(facts),
        "",
        _models(facts),
        "",
        _training(facts),
    ]
    return "\n".join(parts) + "\n"


def _task(facts: Facts) -> str:
    lines = ["task:", *(f"  {key}: {_value(value)}" for key, value in facts.task.items())]
    if facts.groups and "group_column" not in facts.task:
        lines.append(f"  # group_column: {_value(facts.groups)}  # rows that must stay together")
    if "validation_size" in facts.task and facts.train_rows < 1000:
        lines.append(
            "  # folds: 5  # in place of validation_size: every row is evaluated, 5 times the cost"
        )
    return "\n".join(lines)


def _models(facts: Facts) -> str:
    length = min(256, max(32, 1 << (facts.tokens - 1).bit_length()))
    vocabulary = 500 if facts.train_rows < 1000 else 2000 if facts.train_rows < 20_000 else 8000
    epochs = max(1, min(10, round(_PASSES / facts.train_rows)))
    lines = [
        "# Rivals: each answers the same rows; the first three need no network",
        f"tokenizer: {{train_on: task, vocab_size: {vocabulary}}}  # for gpt-nano",
        "models:",
        "  # floor: never reads a text",
        "  - {name: majority, control: majority}",
        "  # word and character counts with a linear classifier: hard to beat on little data",
        "  - {name: tfidf-logreg, control: tfidf-logreg}",
        "  # a small GPT from scratch; put your own model here: model, model_type or",
        "  # model_name_or_path in place of preset",
        "  - name: gpt-nano",
        "    preset: gpt-nano",
        f"    config: {{n_positions: {length}}}",
        "    optimizer: study",
        f"    training_arguments: {{learning_rate: 1e-3, num_train_epochs: {epochs}}}",
    ]
    encoder, *larger = checkpoints(facts.is_latin, facts.gpus)
    lines += _checkpoint(
        facts, encoder, "minilm-linear", "frozen sentence embeddings with a linear classifier",
        "probe: linear",
    )  # fmt: skip
    fine_tuned = "the same, all of it trained"
    if not facts.gpus and facts.train_rows > 3000:
        lines += [
            f"  # {fine_tuned}: minutes to hours a seed on {facts.cores} cores, so left out here",
            *(f"  # {line}" for line in _entry(facts, encoder, "minilm")),
        ]
    else:
        lines += _checkpoint(facts, encoder, "minilm", fine_tuned)
    for name in larger:
        lines += _checkpoint(facts, name, "roberta-base", "a larger encoder, all of it trained")
    return "\n".join(lines)


def _checkpoint(facts: Facts, checkpoint: str, name: str, what: str, *more: str) -> list[str]:
    """Of the Hub; commented out where it cannot be had from here."""
    entry = _entry(facts, checkpoint, name, *more)
    if checkpoint in facts.reachable:
        return [f"  # {what}", *(f"  {line}" for line in entry)]
    absent = "(left out: the Hub does not answer, and the checkpoint is not in the cache)"
    return [f"  # {what}", f"  # {absent}", *(f"  # {line}" for line in entry)]


def _entry(facts: Facts, checkpoint: str, name: str, *more: str) -> list[str]:
    commit = facts.reachable.get(checkpoint)
    return [
        f"- name: {name}",
        f"  model_name_or_path: {checkpoint}",
        *([f"  revision: {commit}"] if commit else []),
        *(f"  {line}" for line in more),
    ]


def _training(facts: Facts) -> str:
    seeds = [0, 1, 2, 3, 4] if facts.gpus else [0, 1, 2]
    epochs = 3 if facts.train_rows < 20_000 else 1
    return "\n".join(
        [
            "# Each model is trained once with every seed; more seeds, surer answers",
            f"seeds: {seeds}",
            "training_arguments:",
            f"  num_train_epochs: {epochs}",
            f"  per_device_train_batch_size: {32 if facts.gpus else 16}",
            "  per_device_eval_batch_size: 64",
            "  learning_rate: 5e-5",
            "  warmup_steps: 0.1",
        ]
    )


def _comment(*lines: str) -> str:
    return "\n".join(f"# {line}".rstrip() for line in lines)


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, 96, subsequent_indent="  ", break_on_hyphens=False)


def _value(value: Any) -> str:
    """As YAML has it in one line."""
    if isinstance(value, str):
        is_plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
        return value if is_plain else json.dumps(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_value(k)}: {_value(v)}' for k, v in value.items())}}}"
    return json.dumps(value)
