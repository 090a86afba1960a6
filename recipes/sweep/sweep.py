"""Every architecture of transformers through hfbench, small and from scratch; what became of each.

    python -m recipes.sweep.sweep results/local

Two comparisons in one process: all classifiers, trained for two steps on a few texts, and all
causal language models, pretrained for two steps. What is finished is not run again. Saved
classifiers are loaded by a fresh process without hfbench, which must find the recorded logits. What
fails is tried with the stock Trainer. The outcomes are written beside this file, and
`recipes.sweep.table` makes the page of docs of them.
"""

import json
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
)

from hfbench import Outcome, Recipe, compare, load_recipe
from hfbench.api import pretrain
from hfbench.recipe.types import Head
from hfbench.records.schema import ClassificationRecord, FailedRecord, Record, TrainedRecord
from hfbench.records.store import ResultsFolder, load_records
from hfbench.system.quiet import quiet_libraries
from hfbench.system.stranger import run_stranger
from recipes.sweep import OUTCOMES
from recipes.sweep.small import NOT_TRIED, small_config
from recipes.sweep.stock import try_stock_trainer

TYPES: dict[Head, Sequence[str]] = {
    "classifier": [*MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES],
    "language model": [*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES],
}
_WORDS = ["she", "nobody", "likes", "hates", "this", "long", "slow", "good", "bad", "film", "not"]
_STEPS = {"max_steps": 2, "per_device_train_batch_size": 8}
_REFUSED = "models.{}.pretrain: "  # by what a language model is asked before it is pretrained

# Loads each folder as a stranger would, and tells the logits of its texts.
_STRANGER = """
import json, sys, torch, transformers
torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
found = {}
for folder, texts, most in json.load(open(sys.argv[1])):
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        load = transformers.AutoModelForSequenceClassification.from_pretrained
        model = load(folder).eval()
        for weight in (*model.parameters(), *model.buffers()):
            weight.data = weight.data.clone()  # in a mapped file they may lie at any address
        model.config.use_cache = False
        cut = {"truncation": most is not None, "max_length": most, "return_tensors": "pt"}
        with torch.no_grad():
            found[folder] = [model(**tokenizer(t, **cut)).logits[0].tolist() for t in texts]
    except Exception as error:
        found[folder] = f"{type(error).__name__}: {error}"
json.dump(found, open(sys.argv[2], "w"))
"""


def write_texts(folder: Path) -> None:
    """Texts of 4 to 12 words and some of 60, which are longer than most of the models take."""
    rng = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    lengths = [60 if number % 8 == 0 else rng.randint(4, 12) for number in range(64)]
    texts = [" ".join(rng.choices(_WORDS, k=length)) for length in lengths]
    rows = [{"text": text, "label": "ab"[number % 2]} for number, text in enumerate(texts)]
    lines = "\n".join(map(json.dumps, rows))
    (folder / "texts.jsonl").write_text(lines, encoding="utf-8")
    (folder / "corpus.txt").write_text("\n".join(texts), encoding="utf-8")


def make_recipe(head: Head, types: Sequence[str], folder: Path) -> Recipe:
    """A comparison of all these architectures, on the texts in ``folder``."""
    models: list[dict[str, Any]] = [
        {"name": name, "model_type": name, "config": small_config(name, head)} for name in types
    ]
    values: dict[str, Any] = {
        "name": f"sweep-{head.replace(' ', '-')}",
        "tokenizer": {"train_on": "task", "vocab_size": 300},
        "task": {"data_files": {"train": "texts.jsonl"}, "validation_size": 0.25},
        "models": models,
        "training_arguments": {**_STEPS, "use_cpu": True},
        "save_models": True,
    }
    if head == "language model":
        corpus = {"text_file": "corpus.txt", "cut": "rows"}
        for model in models:
            training = {**_STEPS, "use_cpu": True}
            model["pretrain"] = {"corpus": corpus, "training_arguments": training}
    path = folder / f"{values['name']}.yaml"
    path.write_text(json.dumps(values), encoding="utf-8")  # JSON is YAML
    return load_recipe(path)


def run(head: Head, types: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """The outcome of each architecture, by ``types``."""
    write_texts(folder)
    recipe = make_recipe(head, types, folder)
    outcome: Outcome = (compare if head == "classifier" else pretrain)(recipe, folder)
    records = {record.model: record for record in load_records(outcome.folder)}
    elsewhere = _logits_elsewhere(records, ResultsFolder(outcome.folder))
    return [_describe(head, records[name], elsewhere) for name in types]


def _describe(head: Head, record: Record, elsewhere: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"head": head, "type": record.model}
    if isinstance(record, FailedRecord):
        message = " ".join(record.failure.message.split())
        if message.startswith(refused := _REFUSED.format(record.model)):
            return {**told, "outcome": "refused", "reason": message.removeprefix(refused)}
        stock = try_stock_trainer(head, record.model, small_config(record.model, head))
        return {**told, "outcome": "failed", "reason": message[:300], "stock": stock}
    assert isinstance(record, TrainedRecord)
    told |= {
        "outcome": "trained",
        "class": record.model_facts.class_name,
        "max_length": record.model_facts.max_length,
        "notes": record.model_facts.notes,
        "not_recorded": record.not_recorded,
    }
    if isinstance(record, ClassificationRecord):
        told["elsewhere"] = _agreement(record, elsewhere)
    return told


def _logits_elsewhere(records: dict[str, Record], folder: ResultsFolder) -> dict[str, Any]:
    """Model -> its logits of the probe's texts in a fresh process, or why there are none."""
    tasks = {
        str(folder.weights(record.stem).resolve()): record
        for record in records.values()
        if isinstance(record, ClassificationRecord) and record.probe
    }
    if not tasks:
        return {}
    asked = [(path, r.probe.texts, r.probe.max_length) for path, r in tasks.items() if r.probe]
    with tempfile.TemporaryDirectory() as temporary:
        room = Path(temporary)
        (room / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
        arguments = [str(room / name) for name in ("asked.json", "found.json")]
        weights = list(map(Path, tasks))
        run = run_stranger(_STRANGER, arguments, room, seconds=1800, readable=weights)
        run.check_returncode()
        found = json.loads((room / "found.json").read_text("utf-8"))
    return {record.model: found[path] for path, record in tasks.items()}


def _agreement(record: ClassificationRecord, elsewhere: dict[str, Any]) -> str:
    """Whether a fresh process finds the recorded logits, in words."""
    if record.probe is None:
        return "no logits were recorded"
    found = elsewhere[record.model]
    if isinstance(found, str):
        return " ".join(found.split())[:300]
    recorded = torch.tensor(record.probe.logits)
    difference = (torch.tensor(found) - recorded).abs().max().item()
    return "equal" if difference == 0 else f"differs by up to {difference:.1g}"


def main() -> None:
    """Run both sweeps, and write what came out."""
    quiet_libraries()
    torch.set_num_threads(1)
    folder = Path(sys.argv[1]) / "sweep"
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    outcomes = []
    for head, types in TYPES.items():
        tried = [name for name in types if head == "classifier" or name not in NOT_TRIED]
        outcomes += run(head, tried, folder)
        left_out = [name for name in types if name not in tried]
        outcomes += [
            {"head": head, "type": name, "outcome": "not tried", "reason": NOT_TRIED[name]}
            for name in left_out
        ]
    content = {"versions": versions, "outcomes": outcomes}
    OUTCOMES.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
