import pytest
import torch
from support import probe
from torch import nn
from transformers import set_seed

from hfbench.data.builtin import pets
from hfbench.data.tokens import tokenize_corpus
from hfbench.models.custom_gpt import (
    CustomGPTConfig,
    CustomGPTForCausalLM,
    CustomGPTForSequenceClassification,
)
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.model import Corpus
from hfbench.training import build
from hfbench.training.arguments import training_arguments
from hfbench.training.skipping import SkippingTrainer
from hfbench.training.trainer import FairTrainer

SIZES = {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 32, "tie_word_embeddings": False}


def trained(head, folder):
    """A small model after 12 steps, of a vocabulary of which the data have a small part."""
    tokenizer = train_tokenizer(pets.sentences(), 300)
    if head == "classifier":
        data, model_class = probe.build_data(), CustomGPTForSequenceClassification
    else:
        texts = {"train": pets.sentences()[:60], "validation": pets.sentences()[60:80]}
        data = tokenize_corpus(texts, tokenizer, Corpus(builtin="pets", cut="rows"), 32)
        model_class = CustomGPTForCausalLM
    set_seed(0)
    model = model_class(CustomGPTConfig(**SIZES, **probe.NO_DROPOUT, vocab_size=900))
    values = {"per_device_train_batch_size": 8, "max_steps": 12, "logging_steps": 1}
    values["use_cpu"] = True  # where padding is skipped
    args = training_arguments(values, probe.STREAMS, folder, "m")
    tools = (tokenizer, data, args, "study", probe.STREAMS, [])
    trainer = build.build_trainer(head, model, *tools)
    shapes = []
    model.get_input_embeddings().register_forward_hook(lambda *_: shapes.append("whole"))
    model.transformer.h[0].mlp.register_forward_hook(
        lambda module, arguments, output: shapes.append(len(arguments[0]))
    )
    trainer.train()
    trainer.evaluate()
    return trainer, shapes


@pytest.mark.parametrize("head", ["classifier", "language model"])
def test_what_is_left_out_changes_no_number(head, tmp_path, monkeypatch):
    fast, fast_shapes = trained(head, tmp_path)
    monkeypatch.setattr(build, "choose_trainer", lambda *_: FairTrainer)
    plain, plain_shapes = trained(head, tmp_path)
    assert (type(fast), type(plain)) == (SkippingTrainer, FairTrainer)
    assert fast.is_compact
    assert set(fast_shapes[:12]) == {1}  # one row of real tokens, and the embedding was replaced
    assert {"whole", 8} <= set(plain_shapes)
    for ours, theirs in zip(fast.state.log_history, plain.state.log_history, strict=True):
        for key in {"loss", "accuracy", "grad_norm", "eval_loss"} & theirs.keys():
            assert ours[key] == pytest.approx(theirs[key], rel=1e-4, abs=1e-6), key
    for name, weight in plain.weights().items():
        torch.testing.assert_close(fast.weights()[name], weight, atol=1e-5, rtol=1e-4, msg=name)


def test_the_embedding_is_whole_again_and_checksums_are_computed_again(tmp_path):
    trainer, _ = trained("classifier", tmp_path)
    assert type(trainer.model.get_input_embeddings()) is nn.Embedding
    assert torch.serialization.get_crc32_options()
