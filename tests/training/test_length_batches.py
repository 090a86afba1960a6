from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support import probe

from hfbench.data.builtin import pets
from hfbench.data.tokens import tokenize_corpus
from hfbench.models import CustomGPTConfig, CustomGPTForCausalLM
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.model import Corpus
from hfbench.training import skipping
from hfbench.training.arguments import training_arguments
from hfbench.training.build import build_trainer
from hfbench.training.length_batches import LengthBatches


@pytest.mark.parametrize(("rows", "tokens"), [(1, 0), (4, 0), (4, 40), (2, 1000)])
def test_each_row_comes_once_and_batches_are_as_large_as_is_asked(rows, tokens):
    lengths = np.random.default_rng(0).integers(1, 30, 50)
    batches = LengthBatches(lengths, rows, tokens)
    drawn = list(batches)
    assert len(drawn) == len(batches)
    assert np.concatenate(drawn).tolist() == batches.order.tolist()
    assert sorted(batches.order.tolist()) == list(range(50))
    assert (np.diff(lengths[batches.order]) >= 0).all()
    for batch in drawn[:-1]:
        padded = len(batch) * lengths[batch].max()
        assert len(batch) == rows or (len(batch) > rows and padded <= tokens)


def test_no_rows_make_no_batch():
    assert list(LengthBatches(np.array([], dtype=int), 4, 100)) == []


@pytest.fixture
def trainer(tmp_path):
    """Of a language model, on the CPU, with rows of one to three sentences."""
    tokenizer = train_tokenizer(pets.sentences(), 300)
    sentences = pets.sentences()
    rows = [" ".join(sentences[i : i + 1 + i % 3]) for i in range(40)]
    corpus = Corpus(builtin="pets", cut="rows")
    data = tokenize_corpus({"train": sentences[:8], "validation": rows}, tokenizer, corpus, 32)
    config = CustomGPTConfig(n_layer=1, n_head=2, n_embd=16, n_positions=32, vocab_size=300)
    torch.manual_seed(0)
    args = training_arguments({"max_steps": 1, "use_cpu": True}, probe.STREAMS, tmp_path, "m")
    tools = (tokenizer, data, args, "study", probe.STREAMS, [])
    return build_trainer("language model", CustomGPTForCausalLM(config), *tools)


def test_the_loss_of_a_language_model_does_not_depend_on_the_batches(trainer, monkeypatch):
    in_order = trainer.evaluate()["eval_loss"]
    monkeypatch.setattr(
        trainer, "evaluation_batches", lambda rows: LengthBatches(rows.lengths, 4, 100)
    )
    batches = [len(batch["input_ids"]) for batch in trainer.get_eval_dataloader()]
    assert max(batches) > 4
    assert trainer.evaluate()["eval_loss"] == pytest.approx(in_order, rel=1e-6)


def test_on_a_gpu_a_batch_of_a_language_model_has_no_more_logits_than_it_holds(
    trainer, monkeypatch
):
    assert trainer.evaluation_batches(trainer.eval_dataset) is None
    gpu = SimpleNamespace(type="cuda")
    monkeypatch.setattr(
        trainer, "args", SimpleNamespace(device=gpu, world_size=1, eval_batch_size=2)
    )
    monkeypatch.setattr(skipping, "_MOST_LOGITS", len(trainer.processing_class) * 60)
    batches = [*trainer.evaluation_batches(trainer.eval_dataset)]
    longest = [int(trainer.eval_dataset.lengths[batch].max()) for batch in batches]
    sizes = [len(batch) * most for batch, most in zip(batches, longest, strict=True)]
    assert max(sizes) <= 60
    assert sum(map(len, batches)) == 40
    assert len(batches) < 20
