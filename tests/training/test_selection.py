import pytest
import torch
import torch.nn.functional as F
from support import probe
from transformers import TrainerCallback, TrainerState

from hfbench.training.arguments import training_arguments
from hfbench.training.build import build_trainer
from hfbench.training.selection import WeightSelection
from hfbench.training.trainer import predict


class Watch(TrainerCallback):
    """The logits of every evaluation, one row at a time by the model itself."""

    def __init__(self):
        self.logits = {}

    def on_evaluate(self, args, state, control, model, **kwargs):
        rows = probe.build_data().splits["validation"]["input_ids"]
        with torch.no_grad():
            logits = [model(input_ids=torch.tensor([row])).logits[0] for row in rows]
        self.logits[state.global_step] = torch.stack(logits)


class Spoil(TrainerCallback):
    """Turns what was learned into its opposite in the last step."""

    def on_step_end(self, args, state, control, model, **kwargs):
        if state.global_step == state.max_steps:
            with torch.no_grad():
                model.score.weight.neg_()


def train(folder, selection, name="custom", callbacks=(), patience=None, **arguments):
    watch, chosen = Watch(), WeightSelection(selection, patience)
    values = {
        "per_device_train_batch_size": 16,
        "num_train_epochs": 6,
        "eval_strategy": "epoch",
        "learning_rate": 0.1,
        **arguments,
    }
    args = training_arguments(values, probe.STREAMS, folder, "models.x")
    tokenizer = probe.train_tokenizer(["a b c"], 258)
    model, data = probe.build_model(name), probe.build_data()
    tools = (args, "study", probe.STREAMS, [*callbacks, watch, chosen])
    trainer = build_trainer("classifier", model, tokenizer, data, *tools)
    trainer.train()
    step = chosen.load_into(trainer.model, trainer.state.global_step)
    return step, predict(trainer, data.splits["validation"]), watch.logits


def scores(logits, selection):
    """Step -> how good its weights are, from the logits alone."""
    labels = torch.tensor(probe.build_data().splits["validation"]["labels"])
    if selection == "best_loss":
        return {step: -F.cross_entropy(found, labels).item() for step, found in logits.items()}
    return {
        step: (found.argmax(1) == labels).float().mean().item() for step, found in logits.items()
    }


@pytest.mark.parametrize("name", ["custom", pytest.param("gpt2", marks=pytest.mark.slow)])
@pytest.mark.parametrize("selection", ["best_loss", "best_accuracy"])
def test_the_weights_evaluated_are_those_of_the_best_evaluation(tmp_path, name, selection):
    step, predicted, logits = train(tmp_path, selection, name, [Spoil()])
    assert sorted(logits) == [3, 6, 9, 12, 15, 18]
    found = scores(logits, selection)
    assert step == max(found, key=found.get)  # the first of the highest
    assert step != 18  # else the last would do
    torch.testing.assert_close(torch.tensor(predicted), logits[step], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(torch.tensor(predicted), logits[18], atol=1e-2)


@pytest.mark.parametrize("selection", ["best_loss", "best_accuracy"])
def test_among_equal_evaluations_the_earliest_is_taken(tmp_path, selection):
    step, _, logits = train(tmp_path, selection, learning_rate=0.0)
    assert len(set(scores(logits, selection).values())) == 1
    assert step == 3


def test_loss_and_accuracy_may_choose_different_steps():
    evaluations = {3: (0.6, 0.7), 6: (0.4, 0.8), 9: (0.5, 0.9), 12: (0.7, 0.9)}
    for selection, best in (("best_loss", 6), ("best_accuracy", 9), ("last", 12)):
        chosen, model = WeightSelection(selection), torch.nn.Linear(1, 1)
        for step, (loss, accuracy) in evaluations.items():
            torch.nn.init.constant_(model.weight, step)
            metrics = {"eval_loss": loss, "eval_accuracy": accuracy}
            state = TrainerState(global_step=step)
            chosen.on_evaluate(None, state, None, model=model, metrics=metrics)
        assert chosen.load_into(model, last_step=12) == best
        assert model.weight.item() == best


def test_without_a_choice_the_last_weights_are_evaluated(tmp_path):
    step, predicted, logits = train(tmp_path, "last")
    assert step == 18
    torch.testing.assert_close(torch.tensor(predicted), logits[18], atol=1e-5, rtol=1e-5)


def test_a_training_too_short_for_an_evaluation_says_so(tmp_path):
    with pytest.raises(RuntimeError, match=r"best_loss has nothing to choose from.* in 18 steps"):
        train(tmp_path, "best_loss", eval_delay=100)


@pytest.mark.parametrize("name", ["custom", pytest.param("gpt2", marks=pytest.mark.slow)])
def test_a_training_ends_when_evaluations_get_no_better(tmp_path, name):
    """The same steps as without it, as far as they go; and the weights of the best evaluation."""
    _, _, whole = train(tmp_path, "best_accuracy", name, num_train_epochs=20)
    step, predicted, logits = train(
        tmp_path, "best_accuracy", name, patience=2, num_train_epochs=20
    )
    found = [*scores(whole, "best_accuracy").items()]
    best, no_better, ends = -float("inf"), 0, None
    for at, score in found:
        best, no_better = (score, 0) if score > best else (best, no_better + 1)
        if no_better == 2:
            ends = at
            break
    assert ends is not None  # else the test would say nothing
    assert ends < found[-1][0]
    assert [*logits] == [at for at, _ in found if at <= ends]
    for at, own in logits.items():
        torch.testing.assert_close(own, whole[at], atol=1e-6, rtol=0)
    assert scores(logits, "best_accuracy")[step] == best
    torch.testing.assert_close(torch.tensor(predicted), logits[step], atol=1e-5, rtol=1e-5)
