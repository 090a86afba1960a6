import copy
import json
import math
import runpy
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from support import probe

from hfbench.data.builtin import pets
from hfbench.data.tokens import tokenize_corpus
from hfbench.errors import UserError
from hfbench.execution import fork_server
from hfbench.models.custom_gpt import (
    CustomGPTConfig,
    CustomGPTForSequenceClassification,
    loss_custom_gpt,
)
from hfbench.models.load import load_causal_lm
from hfbench.models.prepare import prepare_model
from hfbench.recipe.model import Corpus, Model
from hfbench.training.arguments import share_batch, training_arguments
from hfbench.training.build import build_trainer
from hfbench.training.losses import NonFiniteLossError
from hfbench.training.trainer import predict

PROBE = Path(probe.__file__)


def launch(folder: Path, *arguments: str) -> dict:
    """What the probe finds in two processes, as `torchrun` starts them.

    They are forks of a process that has imported everything; a launcher's are in tests/flows.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said, found = folder / "said.txt", folder / "out.json"
    processes = []
    for rank in ("0", "1"):
        given = {
            "command": [str(PROBE), *arguments[:3], str(found), *arguments[3:]],
            "environment": {
                "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            },
            "output": str(said),
        }  # fmt: skip
        script = str(PROBE.with_name("run_rank.py"))
        target = (script, {"given": given}, "__main__")
        processes.append(fork_server.context().Process(target=runpy.run_path, args=target))
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        process.kill()
    assert [process.exitcode for process in processes] == [0, 0], said.read_text()[-3000:]
    return json.loads(found.read_text())


@pytest.mark.parametrize("name", ["custom", pytest.param("gpt2", marks=pytest.mark.slow)])
def test_training_does_not_depend_on_how_the_batch_is_cut(name, tmp_path):
    whole = probe.run(name, 16, 1, tmp_path)
    halves = probe.run(name, 8, 2, tmp_path)
    two_processes = launch(tmp_path, name, "8", "1")
    assert whole.pop("world_size") == halves.pop("world_size") == 1
    assert two_processes.pop("world_size") == 2
    assert len(whole["loss"]) == 6  # 40 examples: two steps of 16 and one of 8, twice
    for other in (halves, two_processes):
        for key, value in whole.items():
            assert other[key] == pytest.approx(value, abs=1e-5, rel=1e-5), key


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.slow] * (kind != "multi, weighted"))
        for kind in probe.LOSSES
        if kind != "single"
    ],
)
def test_nor_does_it_for_other_answers_and_weights(kind, tmp_path):
    whole = probe.run("custom", 16, 1, tmp_path, kind)
    others = [probe.run("custom", batch, 16 // batch, tmp_path, kind) for batch in (8, 2)]
    if kind == "single, weighted":  # where the pieces' denominators differ
        others.append(launch(tmp_path, "custom", "8", "1", "2", kind))
    for other in others:
        for key in ("loss", "grad_norm", "eval_loss", "weights"):
            assert other[key] == pytest.approx(whole[key], abs=1e-5, rel=1e-5), key


@pytest.mark.parametrize("kind", probe.LOSSES)
def test_a_loss_is_torchs_and_that_of_transformers_models(kind):
    labels = kind.partition(",")[0]
    generator = torch.Generator().manual_seed(3)
    model = probe.build_model("bert", labels)
    ids = torch.randint(5, 32, (12, 7), generator=generator)
    logits = model(input_ids=ids).logits.detach()
    of_kind = {
        "single": torch.arange(12) % 2,
        "multi": (torch.rand(12, 3, generator=generator) < 0.4).long(),
        "regression": torch.randn(12, generator=generator),
    }
    targets, loss = of_kind[labels], probe.LOSSES[kind]
    weights = None if loss.weights is None else torch.tensor(loss.weights)
    found = {
        "single": lambda: F.cross_entropy(logits, targets, weights),
        "multi": lambda: F.binary_cross_entropy_with_logits(
            logits, targets.float(), pos_weight=weights
        ),
        "regression": lambda: F.mse_loss(logits[:, 0], targets),
    }[labels]()
    # a row that does not count adds nothing
    ignored = torch.full_like(targets[:1], math.nan if labels == "regression" else -100)
    more, rows = torch.cat([targets, ignored]), torch.cat([logits, logits[:1]])
    assert (loss.total(rows, more) / loss.items(more)).item() == pytest.approx(found.item())
    if weights is None:
        own = targets.float() if labels != "single" else targets
        for name in ("bert", "gpt2", "custom"):
            model = probe.build_model(name, labels)
            answer = model(input_ids=ids, labels=own)
            mean = loss.total(answer.logits, targets) / loss.items(targets)
            assert mean.item() == pytest.approx(answer.loss.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["gpt2"])
def test_stock_trainer_does_depend_on_how_the_batch_is_cut(name, tmp_path):
    # the negative control: if this fails, transformers has mended issue 47688
    whole, halves = probe.run_stock(name, 16, 1, tmp_path), probe.run_stock(name, 8, 2, tmp_path)
    assert halves["loss"][0] == pytest.approx(2 * whole["loss"][0], rel=0.05)
    assert halves["grad_norm"][0] > 1.5 * whole["grad_norm"][0]


def make_trainer(tmp_path, name="custom", optimizer="study", **arguments):
    values = {"per_device_train_batch_size": 16, "num_train_epochs": 1, **arguments}
    args = training_arguments(values, probe.STREAMS, tmp_path, "models.x")
    tokenizer = probe.train_tokenizer(["a b c"], 258)
    model, data = probe.build_model(name), probe.build_data()
    return build_trainer("classifier", model, tokenizer, data, args, optimizer, probe.STREAMS, [])


def test_first_loss_and_accuracy_are_those_of_the_first_batch_by_hand(tmp_path):
    trainer = make_trainer(tmp_path, logging_steps=1, max_steps=1)
    rows = trainer.sampler.order(0)[:16]
    data, model = probe.build_data().splits["train"], probe.build_model("custom")
    with torch.no_grad():
        logits = torch.cat(
            [model(input_ids=torch.tensor([data[int(r)]["input_ids"]])).logits for r in rows]
        )
    labels = torch.tensor([data[int(row)]["labels"] for row in rows])
    trainer.train()
    first = trainer.state.log_history[0]
    assert first["loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), abs=1e-6)
    assert first["accuracy"] == pytest.approx((logits.argmax(1) == labels).float().mean().item())


def losses_by_hand(model, rows):
    """Of each token that is predicted, row by row without padding."""
    with torch.no_grad():
        return torch.cat(
            [
                F.cross_entropy(
                    model(input_ids=torch.tensor([ids])).logits[0, :-1],
                    torch.tensor(ids[1:]),
                    reduction="none",
                )
                for ids in rows
            ]
        )


@pytest.mark.parametrize("name", ["custom", "gpt2"])
def test_first_loss_of_a_language_model_is_that_of_its_tokens_by_hand(tmp_path, monkeypatch, name):
    texts = {"train": pets.sentences()[:20], "validation": pets.sentences()[20:30]}
    source = {"preset": "gpt-nano"} if name == "custom" else {"model_type": "gpt2"}
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 8, "n_positions": 32}
    no_dropout = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}
    entry = {"name": "m", "config": {**sizes, **no_dropout}, "tokenizer": {"train_on": "task"}}
    prepared = prepare_model(Model.model_validate({**entry, **source}), lambda _: texts["train"])
    data = tokenize_corpus(texts, prepared.tokenizer, Corpus(builtin="pets"), 32)

    def train(batch, accumulation):
        values = {
            "per_device_train_batch_size": batch,
            "gradient_accumulation_steps": accumulation,
            "max_steps": 2,
            "logging_steps": 1,
            "per_device_eval_batch_size": 4,
        }
        args = training_arguments(values, probe.STREAMS, tmp_path, "m")
        model = load_causal_lm(prepared, 0)
        start = copy.deepcopy(model).eval()
        tools = (prepared.tokenizer, data, args, "study", probe.STREAMS, [])
        trainer = build_trainer("language model", model, *tools)
        trainer.train()
        return trainer, start

    predicted = []
    loss = loss_custom_gpt.linear_cross_entropy
    monkeypatch.setattr(
        loss_custom_gpt,
        "linear_cross_entropy",
        lambda hidden, *others: predicted.append(len(hidden)) or loss(hidden, *others),
    )
    trainer, model = train(8, 1)
    if name == "custom":  # no logits of padding, nor of a row's last token, which predicts nothing
        seen = data.lengths("train")[trainer.sampler.rows_seen(2)]
        assert len(predicted) == 2
        assert sum(predicted) == (seen - 1).sum()
    rows = [data.splits["train"][int(row)]["input_ids"] for row in trainer.sampler.order(0)[:8]]
    losses = losses_by_hand(model, rows)
    first, second = trainer.state.log_history[:2]
    assert first["loss"] == pytest.approx(losses.mean().item(), abs=1e-5)
    found = trainer.evaluate()["eval_loss"]  # the mean over tokens, not over rows or batches
    held_out = losses_by_hand(trainer.model.eval(), data.splits["validation"]["input_ids"])
    assert found == pytest.approx(held_out.mean().item(), abs=1e-5)
    cut = train(4, 2)[0].state.log_history
    for key in ("loss", "grad_norm"):
        assert cut[0][key] == pytest.approx(first[key], abs=1e-5)
        assert cut[1][key] == pytest.approx(second[key], abs=1e-5)


def test_label_smoothing_is_torchs(tmp_path):
    trainer = make_trainer(tmp_path, label_smoothing_factor=0.2)
    trainer.model.train()
    device = trainer.args.device
    logits = torch.randn(6, 2, device=device)
    labels = torch.tensor([0, 1, 1, -100, 0, 1], device=device)
    loss = trainer.classification_loss({"logits": logits}, labels, torch.tensor(5, device=device))
    kept = labels >= 0
    expected = F.cross_entropy(logits[kept], labels[kept], label_smoothing=0.2)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)


def test_of_smoothing_several_labels_nothing_false_is_said(tmp_path, monkeypatch, recwarn):
    build = probe.build_model

    def build_multi_label(name):
        model = build(name)
        model.config.problem_type = "multi_label_classification"
        return model

    monkeypatch.setattr(probe, "build_model", build_multi_label)
    trainer = make_trainer(tmp_path, label_smoothing_factor=0.2)
    assert not [warned for warned in recwarn if "smoothing" in str(warned.message)]
    assert trainer.args.label_smoothing_factor == 0.2  # as records have it


def test_every_model_sees_the_same_rows_in_the_same_order(tmp_path):
    def ids_seen(name):
        trainer, seen = make_trainer(tmp_path, name, num_train_epochs=2), []
        trainer.data_collator = lambda batch: seen.append(batch["input_ids"].tolist()) or batch
        trainer.train()
        return seen

    custom, gpt2 = ids_seen("custom"), ids_seen("gpt2")
    assert custom == gpt2
    assert custom[0] != custom[3]  # the second epoch has an order of its own


@pytest.mark.parametrize("name", ["custom", "gpt2"])
def test_study_optimizer_decays_matrices_but_not_embeddings_norms_and_biases(tmp_path, name):
    trainer = make_trainer(tmp_path, name, weight_decay=0.1)
    trainer.create_optimizer()
    decays, others = trainer.optimizer.param_groups
    names = {id(p): n for n, p in trainer.model.named_parameters()}
    assert decays["weight_decay"] == 0.1
    assert others["weight_decay"] == 0
    block = "transformer.h.0."
    expected = {f"{block}{n}.weight" for n in ("attn.c_attn", "attn.c_proj", "mlp.c_fc")}
    expected |= {f"{block}mlp.c_proj.weight", "score.weight"}
    assert {names[id(p)] for p in decays["params"]} == expected
    assert "transformer.wte.weight" in {names[id(p)] for p in others["params"]}


def test_huggingface_optimizer_is_the_trainers_own(tmp_path):
    trainer = make_trainer(tmp_path, optimizer="huggingface")
    assert "transformer.wte.weight" in trainer.get_decay_parameter_names(trainer.model)


def test_a_non_finite_loss_fails_the_run_with_its_step(tmp_path):
    trainer = make_trainer(tmp_path, num_train_epochs=4, logging_strategy="epoch")
    step = trainer.training_step

    def poison(*args, **kwargs):
        if trainer.state.global_step == 4:
            with torch.no_grad():
                trainer.model.score.weight.fill_(math.nan)
        return step(*args, **kwargs)

    trainer.training_step = poison
    with pytest.raises(NonFiniteLossError, match="not finite at optimizer step 5") as error:
        trainer.train()
    assert error.value.step == 5


def test_non_finite_logits_fail_the_evaluation(tmp_path):
    trainer = make_trainer(tmp_path)
    with torch.no_grad():
        trainer.model.score.bias.fill_(math.inf)
    with pytest.raises(NonFiniteLossError, match="logits are not finite"):
        trainer.evaluate()


def test_evaluation_does_not_depend_on_its_batch_size(tmp_path):
    losses = []
    for size in (1, 4, 21):
        trainer = make_trainer(tmp_path, per_device_eval_batch_size=size)
        losses.append(trainer.evaluate()["eval_loss"])
        assert predict(trainer, probe.build_data().splits["validation"]).shape == (21, 2)
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-6)


@pytest.mark.parametrize(
    ("batch", "processes", "launched", "message"),
    [
        (16, 3, 3, "models.x.per_device_train_batch_size: 16 examples cannot be shared by 3"),
        (16, 1, 2, "launched as 2 processes, but 1 train together"),
    ],
)
def test_a_batch_that_cannot_be_shared_is_an_error(batch, processes, launched, message):
    args = SimpleNamespace(per_device_train_batch_size=batch, world_size=processes)
    with pytest.raises(UserError) as error:
        share_batch(args, launched, "models.x")
    assert message in str(error.value)


def test_a_value_that_transformers_refuses_names_its_key(tmp_path):
    with pytest.raises(UserError, match=r"models\.x: .*linea"):
        make_trainer(tmp_path, lr_scheduler_type="linea")


def test_padding_is_left_out_of_a_custom_gpt_and_of_nothing_derived_from_it(tmp_path, monkeypatch):
    def shapes(model_class):
        monkeypatch.setattr(
            probe, "build_model", lambda _: model_class(CustomGPTConfig(**probe.SHAPE))
        )
        trainer, seen = make_trainer(tmp_path, max_steps=1), []
        trainer.model.transformer.h[0].mlp.register_forward_hook(
            lambda module, arguments, output: seen.append(arguments[0].shape)
        )
        trainer.train()
        return seen[0]

    derived = type("Derived", (CustomGPTForSequenceClassification,), {})
    assert shapes(CustomGPTForSequenceClassification)[0] == 1
    assert shapes(derived)[0] == 16


def test_evaluations_leave_cudnn_s_attention_out_and_training_does_not(tmp_path):
    """It makes a plan for each shape, of which an evaluation has many."""
    seen = {True: set(), False: set()}
    trainer = make_trainer(tmp_path, max_steps=1)
    trainer.model.register_forward_hook(
        lambda model, *_: seen[model.training].add(torch.backends.cuda.cudnn_sdp_enabled())
    )
    trainer.train()
    predict(trainer, probe.build_data().splits["validation"])
    assert seen == {True: {True}, False: {False}}
    assert torch.backends.cuda.cudnn_sdp_enabled()
