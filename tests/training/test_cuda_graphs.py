import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import probe, probe_replayed
from support.small_encoders import pad_tokenizer, small_classifier, without_dropout
from transformers import set_seed

from hfbench.data.batches import round_tokens
from hfbench.data.builtin import pets
from hfbench.data.tokens import tokenize_corpus
from hfbench.models import CustomGPTConfig, CustomGPTForCausalLM
from hfbench.models.custom_gpt import modeling_custom_gpt
from hfbench.models.custom_gpt.loss_custom_gpt import causal_lm_loss
from hfbench.models.lora import add_adapters
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.model import Corpus, Lora
from hfbench.training import replay
from hfbench.training.arguments import training_arguments
from hfbench.training.build import build_trainer
from hfbench.training.cuda_graphs import can_replay
from hfbench.training.losses import NonFiniteLossError
from hfbench.training.trainer import predict

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")


def arguments(**changes):
    values = {
        "device": torch.device("cuda"),
        "n_gpu": 1,
        "optim": "adamw_torch_fused",
        "neftune_noise_alpha": None,
        "include_num_input_tokens_seen": "no",
        "lr_scheduler_type": "linear",
    }
    return SimpleNamespace(**{**values, **changes})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("device", torch.device("cpu")),
        ("n_gpu", 2),
        ("optim", "adafactor"),
        ("neftune_noise_alpha", 5.0),
        ("include_num_input_tokens_seen", "all"),
        ("lr_scheduler_type", "reduce_lr_on_plateau"),
    ],
)
def test_steps_are_replayed_only_where_nothing_else_happens_in_them(name, value):
    model = probe.build_model("custom")
    assert can_replay(model, arguments())
    assert not can_replay(model, arguments(**{name: value}))


def test_a_model_of_several_types_is_not_replayed():
    model = probe.build_model("custom")
    model.score.double()
    assert not can_replay(model, arguments())


def launch(script, processes, batch, out, visible, epochs=2, accumulation=1):
    """A probe's findings, of so many processes with ``batch`` examples each at once."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [
        "--nproc_per_node",
        str(processes),
        str(Path(probe.__file__).with_name(script)),
    ]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": visible}
    run = subprocess.run(
        [*command, "custom", str(batch), str(accumulation), str(out), str(epochs)],
        env=env, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(out.read_text())


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "accumulation"), [(8, 1), (4, 2)])
def test_replayed_steps_add_up_what_processes_have(tmp_path, batch, accumulation):
    """On a CPU, where nothing is recorded: the arithmetic alone."""
    plain = launch("probe.py", 1, 16, tmp_path / "plain.json", visible="")
    out = tmp_path / "out.json"
    found = launch("probe_replayed.py", 2, batch, out, visible="", accumulation=accumulation)
    assert (plain.pop("world_size"), found.pop("world_size")) == (1, 2)
    for name, values in plain.items():
        assert found[name] == pytest.approx(values, abs=1e-5, rel=1e-5), name


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize(("batch", "accumulation"), [(8, 1), (4, 2)])
def test_two_gpus_replay_the_steps_of_one(tmp_path, batch, accumulation):
    # 60 steps: those after the tenth of a length are replayed
    one = launch("probe.py", 1, 16, tmp_path / "one.json", visible="0", epochs=20)
    out = tmp_path / "two.json"
    two = launch("probe.py", 2, batch, out, visible="0,1", epochs=20, accumulation=accumulation)
    assert (one.pop("world_size"), two.pop("world_size")) == (1, 2)
    # gradients of later steps show most of the sums that were rounded otherwise: 1.2e-4 was seen
    norms = [found.pop("grad_norm") for found in (one, two)]
    assert norms[1] == pytest.approx(norms[0], rel=1e-3)
    for name, values in one.items():
        assert two[name] == pytest.approx(values, abs=1e-4, rel=1e-4), name


def make(tmp_path, kind, cuda_graphs, dropout=0.1, **values):
    tokenizer = train_tokenizer(pets.sentences(), 300)
    if kind == "language model":
        sentences = pets.sentences()
        rows = [" ".join(sentences[i : i + 1 + i % 3]) for i in range(160)]  # most is padding
        texts = {"train": rows, "validation": sentences[160:]}
        data = tokenize_corpus(texts, tokenizer, Corpus(builtin="pets", cut="rows"), 32)
        set_seed(0)
        sizes = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 32, "vocab_size": 300}
        rates = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), dropout)
        model = CustomGPTForCausalLM(CustomGPTConfig(**sizes, **rates))
    else:
        answers = kind if kind in probe.LOSSES else "single"
        labels, name = answers.partition(",")[0], "gpt2" if kind == "gpt2" else "custom"
        data, model = probe.build_data(kind=labels), probe.build_model(name, labels)
    values = {
        "per_device_train_batch_size": 8,
        "max_steps": 60,
        "logging_steps": 1,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 5,
        **values,
    }
    args = training_arguments(values, probe.STREAMS, tmp_path, "m")
    which = "language model" if kind == "language model" else "classifier"
    tools = (tokenizer, data, args, "study", probe.STREAMS, [])
    loss = probe.LOSSES.get(kind)
    return build_trainer(which, model, *tools, loss=loss, cuda_graphs=cuda_graphs)


def trained(*args, **values):
    trainer = make(*args, **values)
    trainer.train()
    return trainer


def assert_same_numbers(replayed, plain, **tolerance):
    assert (replayed.replays, plain.replays) == (True, False)
    logs = [
        [entry for entry in trainer.state.log_history if "loss" in entry]
        for trainer in (replayed, plain)
    ]
    assert len(logs[0]) == len(logs[1]) == plain.args.max_steps
    for ours, theirs in zip(*logs, strict=True):
        assert ours.keys() == theirs.keys()
        for key in {"loss", "grad_norm", "accuracy", "learning_rate"} & ours.keys():
            assert ours[key] == pytest.approx(theirs[key], rel=2e-4, abs=1e-6), key
    weights = [trainer.model.state_dict() for trainer in (replayed, plain)]
    torch.testing.assert_close(*weights, **tolerance)


ANSWERS = ["single, weighted", "multi, weighted", "regression"]


@pytest.mark.parametrize("kind", ["custom", "language model", *ANSWERS])
def test_a_step_that_updates_gives_the_numbers_of_a_plain_one(tmp_path, kind, monkeypatch):
    """On a CPU, where nothing is recorded: the arithmetic alone."""
    plain = trained(tmp_path, kind, False, dropout=0.0, max_steps=12)
    probe_replayed.record_nothing(monkeypatch.setattr)
    replayed = trained(tmp_path, kind, True, dropout=0.0, max_steps=12)
    assert_same_numbers(replayed, plain, atol=2e-5, rtol=1e-3)
    pieces = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
    in_pieces = trained(tmp_path, kind, True, dropout=0.0, max_steps=12, **pieces)
    assert_same_numbers(in_pieces, plain, atol=2e-5, rtol=1e-3)


def test_logits_of_a_language_model_are_those_of_few_slots(tmp_path, monkeypatch):
    probe_replayed.record_nothing(monkeypatch.setattr)
    trainer = make(tmp_path, "language model", True, dropout=0.0, max_steps=12)
    taken = []

    def loss(hidden, weight, labels, items, index):
        taken.append((labels.numel(), None if index is None else len(index)))
        return causal_lm_loss(hidden, weight, labels, items, index)

    monkeypatch.setattr(modeling_custom_gpt, "causal_lm_loss", loss)
    trainer.train()
    assert trainer.packs
    # most batches have few tokens beside their longest row; where they have not, none are left out
    assert len(taken) == 12
    assert {slots for _, slots in taken} == {128, None}
    assert sum((slots or 208) <= 128 for _, slots in taken) >= 6
    assert all(padded == 208 for padded, slots in taken if slots)


def packing_trainer(tmp_path, monkeypatch):
    """As on a GPU, for batches of four rows without padding."""
    probe_replayed.record_nothing(monkeypatch.setattr)
    values = {"per_device_train_batch_size": 4, "max_steps": 2, "use_cpu": True}
    args = training_arguments(values, probe.STREAMS, tmp_path, "m")
    tools = (pad_tokenizer(), probe.build_data(80), args, "study", probe.STREAMS, [])
    trainer = build_trainer("classifier", small_classifier("bert"), *tools)
    assert trainer.packs
    # rows of 1 to 200 tokens, of 100 in the mean
    trainer.train_dataset.lengths = np.linspace(1, 199, 80).astype(int)
    trainer.train_dataset.longest = 199
    return trainer


def test_processes_ask_once_a_step_for_the_shapes_of_all_its_batches(tmp_path, monkeypatch):
    trainer, asked = packing_trainer(tmp_path, monkeypatch), []

    def largest_of_all(*values):
        asked.append(values)
        return [max(pair) for pair in zip(values, (150, -3, 450, 81, -81, 324), strict=True)]

    monkeypatch.setattr(replay, "largest_of_all", largest_of_all)
    batches = iter([torch.tensor([2, 20, 30, 40]), torch.tensor([32, 32, 32, 32])])
    (first, second), _ = trainer.get_batch_samples(batches, 2, trainer.args.device)
    assert len(asked) == 1
    # the other process has a longer row in the first batch, and in the second one as long as ours
    assert first.shape == (199, True, round_tokens(450))
    assert second.shape == (81, False, 0)
    assert first.rows.tolist() == [2, 20, 30, 40]


def test_batches_of_few_tokens_have_the_slots_of_a_usual_one(tmp_path, monkeypatch):
    trainer = packing_trainer(tmp_path, monkeypatch)
    few, usual, many = ([0, 1, 2, 79], [10, 20, 40, 79], [30, 60, 70, 79])
    shapes = trainer._shapes([*map(np.array, (few, usual, many))])
    tokens = [int(trainer.train_dataset.lengths[rows].sum()) for rows in (few, usual, many)]
    assert tokens[0] < tokens[1] < 384 < tokens[2]
    assert [shape.slots for shape in shapes] == [384, 384, round_tokens(tokens[2])]


@needs_cuda
@pytest.mark.parametrize("kind", ["custom", "gpt2", "language model", *ANSWERS])
def test_replayed_steps_give_the_numbers_of_plain_ones(tmp_path, kind):
    """Dropout included: a replay draws the random numbers that the plain step would draw."""
    # without padding, dropout draws other numbers
    dropout = 0.0 if kind == "language model" else 0.1
    plain, replayed = (trained(tmp_path, kind, graphs, dropout) for graphs in (False, True))
    assert replayed._replayed_step._graphs
    assert replayed.packs == (kind == "language model")
    # the rate is a float32 on the device; in a plain step it is a number of Python's
    assert_same_numbers(replayed, plain, atol=2e-5, rtol=1e-3)


WAYS = {
    "accumulation": {"gradient_accumulation_steps": 3},
    "float16": {"fp16": True},
    "float16, accumulation": {"fp16": True, "gradient_accumulation_steps": 2},
    "smoothing": {"label_smoothing_factor": 0.1},
}


@needs_cuda
@pytest.mark.parametrize("way", WAYS)
def test_replayed_steps_of_other_ways_give_the_numbers_of_plain_ones(tmp_path, way):
    plain, replayed = (
        trained(tmp_path, "custom", cuda_graphs, dropout=0.0, **WAYS[way])
        for cuda_graphs in (False, True)
    )
    assert replayed._replayed_step._graphs
    if "fp16" not in WAYS[way]:
        assert_same_numbers(replayed, plain, atol=2e-5, rtol=1e-3)
        return
    scales = [trainer.accelerator.scaler.state_dict() for trainer in (replayed, plain)]
    assert scales[0] == scales[1]
    losses = [[e["loss"] for e in t.state.log_history if "loss" in e] for t in (replayed, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)


@needs_cuda
def test_a_loss_that_overflows_in_float16_changes_nothing_but_the_scale(tmp_path):
    trainer = make(tmp_path, "custom", True, fp16=True, max_steps=30)
    trainer.train()
    graphs = dict(trainer._replayed_step._graphs)
    assert graphs
    before = {name: w.clone() for name, w in trainer.model.state_dict().items()}
    scaler = trainer.accelerator.scaler
    scaler._scale.fill_(1e30)
    key = next(iter(graphs))
    graphs[key].replay()
    assert scaler.get_scale() == pytest.approx(5e29)
    for name, weight in trainer.model.state_dict().items():
        assert torch.equal(weight, before[name]), name


@needs_cuda
def test_layers_that_are_computed_again_are_replayed_where_they_draw_nothing(tmp_path):
    found = {}
    for rate in (0.0, 0.1):
        trainer = make(tmp_path, "gpt2", True, gradient_checkpointing=True)
        for module in trainer.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = rate
        trainer.train()
        found[rate] = trainer
    assert_same_numbers(found[0.0], trained(tmp_path, "gpt2", False), atol=2e-5, rtol=1e-3)
    assert found[0.0]._replayed_step._graphs
    assert "computed again draw random numbers" in found[0.1].replay_refusal


@needs_cuda
def test_adapters_are_replayed(tmp_path):
    losses = []
    for cuda_graphs in (False, True):
        args = training_arguments(
            {"per_device_train_batch_size": 8, "max_steps": 40, "logging_steps": 1},
            probe.STREAMS, tmp_path, "m",
        )  # fmt: skip
        model = probe.build_model("bert")
        add_adapters(model, Lora(r=4, target_modules=["query", "value"]), set(), "lora")
        tools = (pad_tokenizer(), probe.build_data(80), args, "study", probe.STREAMS, [])
        trainer = build_trainer("classifier", model, *tools, cuda_graphs=cuda_graphs)
        trainer.train()
        assert trainer.replays == cuda_graphs
        losses.append([e["loss"] for e in trainer.state.log_history if "loss" in e])
    assert trainer._replayed_step._graphs
    assert losses[1] == pytest.approx(losses[0], rel=2e-3, abs=1e-4)


def forward_hook(model, look):
    """Let ``look`` change what the classifier's head gives."""
    model.score.register_forward_hook(lambda _, __, logits: logits * look(logits))


LOOKS = {
    "cannot be recorded": lambda logits: 1.0 + 0.0 * logits.sum().item(),
    "random numbers on the host": lambda logits: 1.0 + 0.1 * float(torch.rand(())),
}


@needs_cuda
@pytest.mark.parametrize("reason", LOOKS)
def test_what_a_graph_cannot_hold_is_found_and_costs_no_number(tmp_path, reason):
    trainers = [make(tmp_path, "custom", cuda_graphs) for cuda_graphs in (False, True)]
    for trainer in trainers:
        forward_hook(trainer.model, LOOKS[reason])
        torch.manual_seed(7)
        trainer.train()
    assert reason in trainers[1].replay_refusal
    assert not trainers[1].replays
    trainers[1]._replayed_step.refusal = None
    assert_same_numbers(trainers[1], trainers[0], atol=2e-5, rtol=1e-3)


@needs_cuda
@pytest.mark.parametrize("kind", ["bert", "distilbert", "modernbert", "gpt2"])
@pytest.mark.parametrize("bf16", [False, True])
def test_replayed_steps_without_padding_give_the_numbers_of_padded_ones(tmp_path, kind, bf16):
    logs = []
    for cuda_graphs in (False, True):
        values = {"per_device_train_batch_size": 8, "max_steps": 40, "logging_steps": 1}
        args = training_arguments({**values, "bf16": bf16}, probe.STREAMS, tmp_path, "m")
        model = small_classifier(kind)
        without_dropout(model)
        tools = (pad_tokenizer(), probe.build_data(80), args, "study", probe.STREAMS, [])
        trainer = build_trainer("classifier", model, *tools, cuda_graphs=cuda_graphs)
        assert trainer.packs == cuda_graphs
        trainer.train()
        assert trainer.replays == cuda_graphs
        logs.append([entry for entry in trainer.state.log_history if "loss" in entry])
    assert any(slots for _, _, slots, _ in trainer._replayed_step._graphs)
    tolerance = {"rel": 3e-2, "abs": 1e-2} if bf16 else {"rel": 2e-3, "abs": 1e-4}
    for plain, replayed in zip(*logs, strict=True):
        assert replayed["loss"] == pytest.approx(plain["loss"], **tolerance)


@needs_cuda
def test_a_language_model_is_evaluated_in_the_order_of_length_with_the_same_losses(tmp_path):
    trainer = make(tmp_path, "language model", True)
    found = trainer.evaluate(trainer.train_dataset)["eval_loss"]
    sums = []
    model = trainer.model.cpu().eval()
    rows = trainer.train_dataset
    for number, length in enumerate(rows.lengths):
        ids = rows.__getitems__([number])["input_ids"][:, :length]
        logits = model(input_ids=ids).logits[0, :-1].detach()
        sums.append(F.cross_entropy(logits, ids[0, 1:], reduction="sum").item())
    expected = sum(sums) / (rows.lengths - 1).sum()
    assert found == pytest.approx(expected, rel=1e-4)


@needs_cuda
def test_logits_of_an_evaluation_in_the_order_of_length_are_in_that_of_the_rows(tmp_path):
    trainer = make(tmp_path, "custom", True)
    rows = probe.build_data(70).splits["train"]
    found = predict(trainer, rows)
    model = trainer.model.eval()
    for number in (0, 33, 69):
        ids = torch.tensor([rows[number]["input_ids"]], device=model.device)
        expected = model(input_ids=ids).logits[0].detach().cpu()
        torch.testing.assert_close(torch.from_numpy(found[number]), expected, atol=1e-4, rtol=1e-3)


@needs_cuda
def test_a_non_finite_loss_in_a_replay_has_its_step(tmp_path):
    trainer = make(tmp_path, "custom", True, max_steps=100, logging_steps=50)
    step = trainer.training_step

    def poison(*args):
        if trainer.state.global_step == 80:
            with torch.no_grad():
                trainer.model.score.weight.fill_(math.nan)
        return step(*args)

    trainer.training_step = poison
    with pytest.raises(NonFiniteLossError) as error:
        trainer.train()
    assert error.value.step == 81


@needs_cuda
def test_evaluation_between_replays_changes_nothing(tmp_path):
    weights = []
    for strategy in ("no", "steps"):
        trainer = make(tmp_path, "custom", True, eval_strategy=strategy, eval_steps=7)
        trainer.train()
        weights.append({name: w.cpu() for name, w in trainer.model.state_dict().items()})
    for name, one in weights[0].items():
        assert torch.equal(one, weights[1][name]), name


@needs_cuda
def test_the_loss_of_a_replayed_language_model_is_that_of_its_tokens(tmp_path):
    trainer = make(tmp_path, "language model", True, dropout=0.0, learning_rate=0.0)
    trainer.train()
    model = trainer.model.eval()
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    losses = []
    for row in trainer.sampler.rows_seen(40)[-8:]:
        length = int(trainer.train_dataset.lengths[row])  # the batch of one is padded, too
        ids = trainer.train_dataset.__getitems__([int(row)])["input_ids"][:, :length]
        ids = ids.to(model.device)
        logits = model(input_ids=ids).logits
        losses.append(F.cross_entropy(logits[0, :-1], ids[0, 1:], reduction="none"))
    expected = torch.cat(losses).mean().item()
    assert log[39]["loss"] == pytest.approx(expected, rel=1e-5)
