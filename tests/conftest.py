"""What all tests share: no network, and a comparison small enough to run in a second."""

import json
import os
import random
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported: no test asks the real Hub
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny tensors: more threads only wait
# processes that a test starts find this checkout, as this one does
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
)

import pytest

GOOD, BAD = ["good", "fine", "great", "lovely"], ["bad", "poor", "awful", "dull"]


@pytest.fixture(scope="session")
def rows() -> list[dict]:
    """96 texts of 3 to 9 words whose label is in one of them."""
    rng = random.Random(0)
    rows = []
    for number in range(96):
        label = number % 2
        words = [rng.choice(["the", "a", "film", "meal", "was", "so"]) for _ in range(8)]
        words = [*words[: rng.randint(1, 8)], rng.choice(GOOD if label else BAD), "indeed"]
        rows.append({"text": " ".join(words), "label": ["no", "yes"][label]})
    return rows


@pytest.fixture
def write_recipe(tmp_path, rows):
    """A function that writes data and a recipe (changed by its arguments) and gives its path."""
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    def write(**changes) -> Path:
        recipe = {
            "name": "tiny",
            "task": {"data_files": {"train": "train.jsonl"}, "validation_size": 0.25},
            "tokenizer": {"train_on": "task", "vocab_size": 300},
            "models": [
                {
                    "name": "mine",
                    "preset": "gpt-nano",
                    "config": {"n_layer": 1, "n_positions": 32},
                },
                {"name": "floor", "control": "majority"},
            ],
            "seeds": [0, 1],
            "optimizer": "study",
            "training_arguments": {"per_device_train_batch_size": 16, "num_train_epochs": 2},
            **changes,
        }
        path = tmp_path / "tiny.yaml"
        path.write_text(json.dumps(recipe), encoding="utf-8")  # JSON is YAML
        return path

    return write
