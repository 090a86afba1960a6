from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from torch import nn

from hfbench.data.batches import PackedRows
from hfbench.training.steadiness import unsteady

ROWS = Dataset.from_dict(
    {
        "input_ids": [[3, 4], [5, 6, 7], [3, 9, 4, 8, 2]],
        "attention_mask": [[1] * 2, [1] * 3, [1] * 5],
        "labels": [0, 1, 0],
    }
)
PADDING = SimpleNamespace(padding_side="right", pad_token_id=1, pad_token_type_id=0)


class Scores(nn.Module):
    """The mean of the ids, with the padding or without; and something that is drawn."""

    def __init__(self, *, counts_padding=False, noise=0.0):
        super().__init__()
        self.counts_padding, self.noise = counts_padding, noise

    def forward(self, input_ids, attention_mask):
        assert not self.training
        mask = torch.ones_like(attention_mask) if self.counts_padding else attention_mask
        mean = (input_ids * mask).sum(1) / mask.sum(1)
        return {"logits": torch.stack([mean, -mean], 1) + self.noise * torch.rand(1)}


def ask(model, **precision):
    names = ("bf16", "fp16", "tf32", "bf16_full_eval", "fp16_full_eval")
    trainer = SimpleNamespace(
        args=SimpleNamespace(device="cpu", **{**dict.fromkeys(names, False), **precision}),
        pack=lambda dataset: PackedRows(dataset, PADDING, round_lengths=False),
        accelerator=SimpleNamespace(unwrap_model=lambda model: model),
        model=model.train(),
    )
    found = unsteady(trainer, ROWS)
    assert model.training
    return found


def test_nothing_is_said_of_a_model_that_answers_the_same_however_it_is_asked():
    assert ask(Scores()) == []


def test_padding_that_changes_logits_is_said():
    assert ask(Scores(counts_padding=True)) == ["padding changes its predictions"]


def test_other_logits_each_time_are_said_and_not_taken_for_paddings():
    note = "the same text has other predictions each time"
    assert ask(Scores(counts_padding=True, noise=1.0)) == [note]


@pytest.mark.parametrize("precision", ["bf16", "fp16", "tf32"])
def test_in_a_lower_precision_nothing_is_asked(precision):
    assert ask(Scores(counts_padding=True), **{precision: True}) == []


def test_the_random_state_is_left_as_it_was():
    state = torch.get_rng_state()
    ask(Scores(noise=1.0))
    assert torch.equal(torch.get_rng_state(), state)
