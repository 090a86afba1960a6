import random

import pytest
import torch

from hfbench.training import replay_trial
from hfbench.training.replay_trial import why_not_replayed


class Again:
    """In the place of a CUDA graph, which a CPU cannot have: does the same once more."""

    def __init__(self, function):
        self.replay = function


class AsRecorded:
    """A graph that holds values of its recording."""

    def __init__(self, function):
        function()
        self.replay = lambda: None


def cannot_be_recorded(function):
    try:
        raise RuntimeError("a value was looked at")
    except RuntimeError:
        raise RuntimeError("the recording is broken off") from None


def plain_passes(weight, data, calls):
    """With dropout, and a count of calls."""
    calls.add_(1)
    loss = (weight * data * torch.rand(3)).square().sum()
    loss.backward()
    return loss.detach()


def why(monkeypatch, record, passes=plain_passes):
    """The reason, for a small model; what the trial uses is as it was."""
    monkeypatch.setattr(replay_trial, "record", record)
    # what a GPU draws is not drawn on the host
    monkeypatch.setattr(replay_trial, "_host_state", random.getstate)
    torch.manual_seed(0)
    weight, data, calls = torch.randn(3, requires_grad=True), torch.zeros(3), torch.zeros(())
    before = torch.get_rng_state(), random.getstate()
    reason = why_not_replayed(
        lambda: passes(weight, data, calls),
        [lambda: data.fill_(2.0), lambda: data.fill_(3.0)],
        [weight],
        [calls],
        is_reduced=False,
    )
    assert (weight.grad, calls, data[0]) == (None, 0, 3.0)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    return reason


def test_a_replay_that_does_the_same_is_taken(monkeypatch):
    assert why(monkeypatch, Again) is None


def test_a_replay_of_old_values_is_refused(monkeypatch):
    assert "a replay gives the loss" in why(monkeypatch, AsRecorded)


def test_the_first_cause_of_a_recording_that_broke_off_is_told(monkeypatch):
    reason = why(monkeypatch, cannot_be_recorded)
    assert reason == "its passes cannot be recorded: a value was looked at"


def test_random_numbers_of_the_host_are_refused(monkeypatch):
    def passes(weight, data, calls):
        (weight.sum() * random.random()).backward()
        return weight.sum().detach()

    assert why(monkeypatch, Again, passes) == "its passes draw random numbers on the host"


def test_other_gradients_are_refused(monkeypatch):
    count = []

    def passes(weight, data, calls):
        count.append(1)
        (weight.sum() * (1.0 if len(count) < 3 else 1.1)).backward()
        return torch.tensor(1.0)

    assert "other norms" in why(monkeypatch, Again, passes)


def test_numbers_that_a_replay_does_not_give_are_refused(monkeypatch):
    def passes(weight, data, calls):
        weight.sum().backward()
        return torch.tensor(float("nan"))

    assert "nan" in why(monkeypatch, Again, passes)


@pytest.mark.parametrize("draw", [lambda: torch.rand(1), random.random])
def test_the_state_of_the_host_tells_of_a_drawn_number(draw):
    before = replay_trial._host_state()
    assert replay_trial._host_state() == before
    draw()
    assert replay_trial._host_state() != before
