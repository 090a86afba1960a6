from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from support.small_encoders import small_classifier
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.activations import NewGELUActivation
from transformers.models.modernbert import modeling_modernbert

from hfbench.training.fewer_kernels import fewer_kernels, rotate

KINDS = ("gpt2", "modernbert")


class CountingMode(TorchDispatchMode):
    """Counts what would be kernels."""

    number = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.number += not (function.is_view or "empty" in function.__name__)
        return function(*args, **(kwargs or {}))


def passes(model, dtype, within):
    """Loss and gradients, from the same random numbers each time, and how many operations."""
    torch.manual_seed(1)
    ids = torch.randint(4, 100, (5, 20))
    model.zero_grad()
    casts = nullcontext() if dtype == torch.float32 else torch.autocast("cpu", dtype)
    with CountingMode() as counted:
        with casts, within:
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        loss = F.cross_entropy(logits.float(), torch.tensor([0, 1, 0, 1, 1]))
        loss.backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return loss.item(), gradients, counted.number


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients_are_the_same_by_fewer_operations(kind, dtype, tolerance):
    model = small_classifier(kind).train()
    loss, gradients, many = passes(model, dtype, nullcontext())
    found, of_found, few = passes(model, dtype, fewer_kernels(model))
    assert few < 0.95 * many
    assert found == pytest.approx(loss, rel=tolerance)
    assert of_found.keys() == gradients.keys()
    whole = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    for name, gradient in gradients.items():
        assert (of_found[name] - gradient).norm() < tolerance * whole, name
    # and it is over
    assert passes(model, dtype, nullcontext())[2] == many


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_rotation_has_the_type_and_the_precision_of_the_model_s(dtype):
    torch.manual_seed(0)
    query, key = (torch.randn(2, 3, 70, 8, dtype=dtype) for _ in "12")
    angles = torch.randn(2, 70, 4).repeat(1, 1, 2)
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
    found = rotate(query, key, cos, sin)
    expected = modeling_modernbert.apply_rotary_pos_emb(query, key, cos, sin)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one, other, rtol=torch.finfo(dtype).eps, atol=1e-6)


def test_a_rotation_is_that_of_the_model():
    torch.manual_seed(0)
    query, key = (torch.randn(2, 3, 7, 8, dtype=torch.double, requires_grad=True) for _ in "12")
    angles = torch.randn(2, 7, 4, dtype=torch.double).repeat(1, 1, 2)
    found = rotate(query, key, angles.cos(), angles.sin())
    expected = modeling_modernbert.apply_rotary_pos_emb(query, key, angles.cos(), angles.sin())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)  # in float32 there
    assert torch.autograd.gradcheck(
        lambda states: rotate(states, key, angles.cos(), angles.sin()), (query,)
    )


def test_what_a_model_was_is_there_again_after_an_error():
    model = small_classifier("gpt2")
    activations = [m for m in model.modules() if type(m) is NewGELUActivation]
    within = []

    def fail():
        within.extend("forward" in vars(module) for module in activations)
        raise ValueError("in between")

    with pytest.raises(ValueError, match="in between"), fewer_kernels(model):
        fail()
    assert within == [True] * 2
    assert not any("forward" in vars(module) for module in activations)
