"""Multi-label and regression models on the Hub and back."""

import json
from io import BytesIO

import pyarrow.parquet as pq
import pytest
from huggingface_hub import ModelCard

from hfbench import compare, load_recipe
from hfbench.publish.push import push_model, verify_push
from hfbench.publish.results import push_results

TASKS = {
    "multi": (
        "multi_label_classification",
        {"threshold": "best_f1", "class_weights": "balanced", "metrics": ["f1:b"]},
    ),
    "regression": ("regression", {"metric": "spearman"}),
    # by which transformers knows a single label: it is said nowhere
    "single": (None, {"class_weights": "balanced", "metric": "f1_macro"}),
}
HUB_TYPES = {"multi": "f1", "regression": "spearmanr", "single": "f1"}


def label_of(kind, number):
    if kind == "regression":
        return number * 7 % 13 / 4
    if kind == "single":
        return "rare" if number % 5 == 0 else "usual"
    return [name for name, every in (("a", 2), ("b", 3)) if number % every == 0]


@pytest.fixture
def compared(request, tmp_path):
    """The results of a comparison whose weights were kept."""
    kind = request.param
    for split, start in (("train", 0), ("dev", 100), ("test", 200)):
        rows = [
            {"text": f"{'good ' * (n % 2)}{'bad ' * (n % 3)}film {n}", "label": label_of(kind, n)}
            for n in range(start, start + 30)
        ]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    recipe = {
        "name": kind,
        "task": {
            "data_files": {split: f"{split}.jsonl" for split in ("train", "dev", "test")},
            "validation_split": "dev",
            "test_split": "test",
            **TASKS[kind][1],
        },
        "tokenizer": {"train_on": "task", "vocab_size": 300},
        "seeds": [0, 1],
        "save_models": True,
        "training_arguments": {
            "num_train_epochs": 2,
            "learning_rate": 5e-3,
            **({"label_smoothing_factor": 0.1} if kind == "multi" else {}),
        },
        "models": [
            {"name": "floor", "control": "majority"},
            {
                "name": "mine",
                "preset": "gpt-nano",
                "config": {"n_layer": 1, "n_positions": 32},
            },
        ],
    }
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    return kind, compare(load_recipe(tmp_path / "r.yaml"), tmp_path / "results").folder


@pytest.mark.slow
@pytest.mark.parametrize("compared", TASKS, indirect=True)
def test_it_is_pushed_proven_and_described(compared, hub):
    kind, results = compared
    push = push_model(results, "mine", "ada/kind", licence="mit")
    assert verify_push("ada/kind", trust_remote_code=True)[1] == push.proof
    files = hub.files("ada/kind")
    config = json.loads(files["config.json"])
    assert config.get("problem_type") == TASKS[kind][0]
    card = " ".join(files["README.md"].decode().split())
    metric = {"multi": "micro F1", "regression": "Spearman", "single": "macro F1"}[kind]
    assert f"Seed {json.loads(files['record.json'])['seed']}: {metric} " in card
    assert f"By mean {metric} over its seeds" in card
    data = ModelCard(files["README.md"].decode()).data
    types = {result.metric_name: result.metric_type for result in data.eval_results}
    assert types[metric] == types[f"{metric}, mean of 2 seeds"] == HUB_TYPES[kind]
    if kind == "multi":
        assert types["F1 of b"] == "f1"
        assert "truncation=True, top_k=None)" in card
        assert "labels smoothed by 0.1; " in card
        assert 'any number of the labels "a", "b"' in card
        assert "from these probabilities on, which were chosen on the validation examples" in card
        assert "classes weighted (a 1, b 2)" in card
    elif kind == "single":
        assert "classes weighted (rare 2.5, usual 0.625)" in card
    else:
        assert types["RMSE"] == "rmse"
        assert 'It predicts the number "label"' in card
        assert "numbers from 0 to 3" in card
    pushed = push_results(results, "ada/results")
    assert pushed[0].commit.oid
    back = hub.files("ada/results", "dataset")
    runs = pq.read_table(BytesIO(back["data/runs.parquet"])).to_pylist()
    columns = {
        "multi": ("f1_micro", "f1:b"),
        "regression": ("spearman", "rmse"),
        "single": ("f1_macro", "accuracy"),
    }[kind]
    assert all(isinstance(run[name], float) for run in runs for name in columns)
    stem = columns[0]
    assert f"`table.md`, `{stem}.csv`, `{stem}.tex`" in back["README.md"].decode()
    assert f"{stem}.csv" in back
