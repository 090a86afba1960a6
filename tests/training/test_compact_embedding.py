import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel

from hfbench.models.custom_gpt import CustomGPTConfig, CustomGPTForCausalLM
from hfbench.training.compact_embedding import CompactEmbedding, can_be_compact, compact_embedding

USED = torch.tensor([0, 2, 3, 11])
SIZES = {"n_layer": 1, "n_head": 2, "n_embd": 8, "n_positions": 16, "vocab_size": 40}
NO_DROPOUT = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}


def custom(**changes):
    torch.manual_seed(0)
    return CustomGPTForCausalLM(CustomGPTConfig(**{**SIZES, **NO_DROPOUT, **changes}))


def steps(model, number, weight_decay=0.0):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=weight_decay)
    generator = torch.Generator().manual_seed(1)
    losses = []
    for _ in range(number):
        ids = USED[torch.randint(len(USED), (3, 7), generator=generator)]
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def test_training_is_that_of_the_whole_embedding():
    plain, model = custom(), custom()
    expected = steps(plain, 20)
    assert can_be_compact(model, USED, set())
    with compact_embedding(model, USED):
        assert isinstance(model.get_input_embeddings(), CompactEmbedding)
        assert model.get_input_embeddings().weight.shape == (4, 8)
        losses = steps(model, 20)
    assert losses == pytest.approx(expected, abs=1e-6)
    assert type(model.get_input_embeddings()) is nn.Embedding
    for (name, one), other in zip(
        model.named_parameters(), plain.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one.detach(), other, atol=1e-6, rtol=1e-5, msg=name)


def test_unused_rows_stay_as_they_were():
    model = custom()
    before = model.get_input_embeddings().weight.detach().clone()
    with compact_embedding(model, USED):
        steps(model, 3)
    changed = (model.get_input_embeddings().weight != before).any(1).nonzero().flatten()
    assert changed.tolist() == USED.tolist()


def test_its_state_is_that_of_the_whole_embedding():
    model, other = custom(), custom(initializer_range=0.5)
    names = set(model.state_dict())
    with compact_embedding(model, USED):
        steps(model, 3)
        assert set(model.state_dict()) == names
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.testing.assert_close(state, dict(model.state_dict()))
    with compact_embedding(other, USED):
        other.load_state_dict(state)
        ids = USED[None]
        assert torch.equal(other(input_ids=ids).logits, model(input_ids=ids).logits)
    torch.testing.assert_close(dict(other.state_dict()), state)


def test_an_id_that_was_not_announced_is_an_error():
    model = custom()
    with compact_embedding(model, USED), pytest.raises(IndexError):
        model(input_ids=torch.tensor([[1]]))


def test_the_padding_row_of_a_bert_gets_no_gradient():
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = BertForSequenceClassification(
        BertConfig(**sizes, intermediate_size=8, vocab_size=40, pad_token_id=3)
    )
    with compact_embedding(model, USED):
        compact = model.get_input_embeddings()
        assert compact.padding_idx == 2
        model(input_ids=USED[None], labels=torch.tensor([0])).loss.backward()
        assert compact.weight.grad[2].abs().sum() == 0
        assert (compact.weight.grad[[0, 1, 3]].abs().sum(1) > 0).all()


@pytest.mark.parametrize("why", ["tied", "frozen", "decays", "hardly smaller", "own class"])
def test_the_embedding_stays_whole_where_that_would_change_something(why):
    model = GPT2LMHeadModel(GPT2Config(**SIZES)) if why == "tied" else custom()
    if why == "frozen":
        model.get_input_embeddings().weight.requires_grad_(False)
    if why == "own class":
        model.set_input_embeddings(type("Own", (nn.Embedding,), {})(40, 8))
    decays = {"transformer.wte.weight"} if why == "decays" else set()
    used = torch.arange(30) if why == "hardly smaller" else USED
    assert not can_be_compact(model, used, decays)
