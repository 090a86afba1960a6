import pytest
import torch
import torch.nn.functional as F

from hfbench.models.custom_gpt import CustomGPTConfig, CustomGPTForCausalLM, loss_custom_gpt
from hfbench.models.custom_gpt.loss_custom_gpt import causal_lm_loss, linear_cross_entropy

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def inputs(device, tokens=50, vocab_size=301, width=12, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, width, generator=generator) * scale
    weight = torch.randn(vocab_size, width, generator=generator)
    targets = torch.randint(vocab_size, (tokens,), generator=generator)
    targets[::7] = -100
    made = (hidden.to(device).requires_grad_(), weight.to(device).requires_grad_())
    return (*made, targets.to(device))


def gradients(loss, *tensors):
    return torch.autograd.grad(loss, tensors)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("chunk_bytes", [1, 10_000, 10**9])
def test_loss_and_gradients_are_those_of_plain_logits(device, chunk_bytes, monkeypatch):
    monkeypatch.setattr(loss_custom_gpt, "_CHUNK_BYTES_OF_CPU", chunk_bytes)
    monkeypatch.setattr(loss_custom_gpt, "_CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(loss_custom_gpt, "_CHUNK_BYTES_OF_WEIGHT", 0)
    hidden, weight, targets = inputs(device)
    plain = F.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    loss = linear_cross_entropy(hidden, weight, targets)
    assert loss.item() == pytest.approx(plain.item(), rel=1e-5)
    for ours, theirs in zip(
        gradients(3 * loss, hidden, weight), gradients(3 * plain, hidden, weight), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_large_logits_do_not_overflow(device):
    hidden, weight, targets = inputs(device, scale=10.0)
    loss = linear_cross_entropy(hidden, weight, targets)
    assert torch.isfinite(loss)
    assert all(torch.isfinite(one).all() for one in gradients(loss, hidden, weight))


@pytest.mark.parametrize("device", DEVICES)
def test_under_autocast_it_is_near_and_gradients_keep_their_types(device):
    hidden, weight, targets = inputs(device)
    plain = F.cross_entropy(hidden @ weight.T, targets, reduction="sum")
    with torch.autocast(device, torch.bfloat16):
        loss = linear_cross_entropy(hidden, weight, targets)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(plain.item(), rel=5e-4)
    ours, theirs = gradients(loss, hidden, weight), gradients(plain, hidden, weight)
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 0.02 * other.norm()


def test_a_padded_batch_has_the_loss_of_its_tokens():
    hidden, weight, targets = inputs("cpu", tokens=24)
    rows, labels = hidden.reshape(4, 6, -1), targets.reshape(4, 6)
    logits = rows[:, :-1] @ weight.T
    expected = F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
    counted = (labels[:, 1:] != -100).sum()
    places = (targets != -100).nonzero().flatten() - 1  # before what counts
    index = places[places >= 0].flip(0)
    for items in (None, counted, int(counted)):
        for at in (None, index):
            loss = causal_lm_loss(rows, weight, labels, items, at)
            assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    fewer = causal_lm_loss(rows, weight, labels, counted, index[1:])
    assert fewer.item() < expected.item() - 1e-3


@pytest.mark.slow
def test_compiled_it_is_the_same():
    torch.manual_seed(0)
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 8, "n_positions": 16, "vocab_size": 40}
    model = CustomGPTForCausalLM(CustomGPTConfig(**sizes)).eval()
    ids = torch.randint(40, (3, 9))
    labels = ids.clone()
    labels[1, 5:] = -100
    plain = model(input_ids=ids, labels=labels).loss
    loss = torch.compile(model, backend="aot_eager")(
        input_ids=ids, labels=labels, skip_logits=True
    ).loss
    assert loss.item() == pytest.approx(plain.item(), abs=1e-6)
    parameters = list(model.parameters())
    for one, other in zip(gradients(loss, *parameters), gradients(plain, *parameters), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)
