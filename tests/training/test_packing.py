import pytest
import torch
import torch.nn.functional as F
import transformers
from support import probe
from support.small_encoders import pad_tokenizer, small_classifier, without_dropout
from torch import nn

from hfbench.training.arguments import training_arguments
from hfbench.training.build import build_trainer
from hfbench.training.packing import FAMILIES, RealTokens, can_pack, pays, without_padding

LENGTHS = (20, 3, 7, 11, 5)
ROWS, LENGTH = len(LENGTHS), max(LENGTHS)
KINDS = [getattr(transformers, name).config_class.model_type for name in FAMILIES]


def batch(pads_left=False):
    torch.manual_seed(1)
    mask = torch.zeros(ROWS, LENGTH, dtype=torch.long)
    for row, length in enumerate(LENGTHS):
        mask[row, LENGTH - length :] = 1
    mask = mask if pads_left else mask.flip(1)
    ids = torch.randint(4, 100, (ROWS, LENGTH)).where(mask == 1, 1)
    return {"input_ids": ids, "attention_mask": mask}


def passes(model, inputs):
    """Loss and gradients, from the same random numbers each time."""
    torch.manual_seed(2)
    model.zero_grad()
    logits = model(**inputs).logits
    loss = F.cross_entropy(logits, torch.tensor([0, 1, 0, 1, 1]))
    loss.backward()
    return loss.item(), {
        n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None
    }


def assert_same(found, expected):
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert found[1].keys() == expected[1].keys()
    whole = torch.stack([gradient.norm() for gradient in expected[1].values()]).norm()
    for name, gradient in expected[1].items():
        assert (found[1][name] - gradient).norm() < 1e-5 * whole, name


@pytest.mark.parametrize("kind", KINDS)
def test_each_family_gives_the_same_with_its_dropout(kind):
    model, inputs = small_classifier(kind), batch()
    assert can_pack(model)
    tokens, widths = RealTokens.of_mask(inputs["attention_mask"]), []
    expected = passes(model, inputs)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.register_forward_hook(lambda _, __, output: widths.append(output.shape[:-1]))
    with without_padding(model, tokens, same_draws=True):
        found = passes(model, inputs)
    assert (1, sum(LENGTHS)) in widths
    assert_same(found, expected)
    assert_same(passes(model, inputs), expected)  # afterwards it is as it was


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spare", [0, 9])
def test_each_family_gives_the_same_in_one_row(kind, spare):
    """``spare`` padding behind the real tokens, as fills a shape on a GPU."""
    model, inputs = small_classifier(kind), batch()
    without_dropout(model)
    mask = inputs["attention_mask"].flatten()
    index = torch.cat([mask.nonzero()[:, 0], (mask == 0).nonzero()[:spare, 0]])
    expected = passes(model, inputs)
    with without_padding(model, RealTokens(index, ROWS, LENGTH), same_draws=False):
        assert_same(passes(model, inputs), expected)


def test_padding_on_the_left_is_left_out_too():
    model, inputs = small_classifier("gpt2"), batch(pads_left=True)
    expected = passes(model, inputs)
    with without_padding(model, RealTokens.of_mask(inputs["attention_mask"]), same_draws=True):
        assert_same(passes(model, inputs), expected)


def test_a_token_sees_none_of_another_row():
    """What the tests above would not show if the rows were alike."""
    model, inputs = small_classifier("bert"), batch()
    without_dropout(model)
    tokens = RealTokens.of_mask(inputs["attention_mask"])
    changed = {**inputs, "input_ids": inputs["input_ids"].clone()}
    changed["input_ids"][0, 5] = 99 - changed["input_ids"][0, 5]
    for same_draws in (True, False):
        with without_padding(model, tokens, same_draws=same_draws), torch.no_grad():
            before, after = model(**inputs).logits, model(**changed).logits
        assert not torch.equal(before[0], after[0])
        assert torch.equal(before[1:], after[1:])


def test_what_is_not_known_or_not_worth_it_is_padded():
    class Own(transformers.BertModel):
        pass

    own = small_classifier("bert")
    own.bert.__class__ = Own
    assert not can_pack(own)
    assert not can_pack(small_classifier("bert", hidden_size=64))
    assert not can_pack(small_classifier("bert", attn_implementation="eager"))
    assert not can_pack(small_classifier("llama", num_key_value_heads=2))
    assert pays(50, 10, 10)
    assert not pays(95, 10, 10)


def test_a_trainer_gives_the_numbers_of_padded_batches(tmp_path):
    logs, weights = [], []
    for packs in (True, False):
        values = {"per_device_train_batch_size": 8, "max_steps": 12, "logging_steps": 1}
        values |= {"use_cpu": True, "learning_rate": 1e-3}
        args = training_arguments(values, probe.STREAMS, tmp_path, "m")
        tools = (pad_tokenizer(), probe.build_data(), args, "study", probe.STREAMS, [])
        trainer = build_trainer("classifier", small_classifier("bert"), *tools)
        assert trainer.packs
        trainer.packs = packs
        trainer.train()
        trainer.evaluate()
        logs.append(trainer.state.log_history)
        # no output depends on what is added to all scores of a query: of these biases the gradient
        # is rounding alone, which Adam makes as large as any
        learnt = {n: w for n, w in trainer.weights().items() if not n.endswith("key.bias")}
        weights.append(learnt)
    for ours, theirs in zip(*logs, strict=True):
        for key in {"loss", "accuracy", "grad_norm", "eval_loss"} & theirs.keys():
            assert ours[key] == pytest.approx(theirs[key], rel=1e-3, abs=1e-5), key
    for found in weights:  # of a key's bias the gradient is 0, and what Adam makes of its rounding
        for name in [name for name in found if name.endswith("key.bias")]:
            del found[name]
    torch.testing.assert_close(*weights, atol=1e-4, rtol=1e-3)
