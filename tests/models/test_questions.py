"""What is refused as a language model, against seeded faults whose effect is known."""

import pytest
import torch
from torch import nn
from transformers import GPT2LMHeadModel

from hfbench.errors import UserError
from hfbench.models import questions
from hfbench.models.custom_gpt import CustomGPTForCausalLM
from hfbench.models.prepare import prepare_model
from hfbench.models.questions import refuse_unfit
from hfbench.recipe.model import Model

LENGTH = 64
GPT = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": LENGTH}}
BERT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16, "max_position_embeddings": LENGTH}  # fmt: skip
XLNET = {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 16}
BART = {"d_model": 16, "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 16}
MAMBA = {"hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}


@pytest.fixture(autouse=True)
def answers(monkeypatch, tmp_path):
    """Where answers are kept; there are none yet."""
    monkeypatch.setattr(questions, "_known", {})
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    return tmp_path / "hfbench" / "answers"


def prepare(**entry):
    tokenizer = {"train_on": "task", "vocab_size": 270}
    values = {"name": "m", "tokenizer": tokenizer, **entry}
    return prepare_model(Model.model_validate(values), lambda source: ["a text"])


@pytest.mark.parametrize(
    "entry",
    [
        GPT,
        {"model_type": "mamba", "config": MAMBA},
        {"model_type": "bert", "config": {**BERT, "is_decoder": True}},
    ],
)
def test_a_causal_language_model_is_fine(entry):
    refuse_unfit(prepare(**entry), LENGTH)


@pytest.mark.parametrize(
    ("model_type", "config", "reason"),
    [
        ("bert", BERT, r"bert is no causal language model \(config: \{is_decoder: true\} makes"),
        ("xlnet", XLNET, "xlnet is no causal language model: its logits at place"),
        ("bart", BART, "bart has another loss than that of predicting the next token"),
    ],
)
def test_what_is_no_causal_language_model_is_refused(model_type, config, reason):
    with pytest.raises(UserError, match=rf"models\.m\.pretrain: {reason}"):
        refuse_unfit(prepare(model_type=model_type, config=config), LENGTH)


@pytest.mark.parametrize("place", [1, 40, LENGTH - 2])
@pytest.mark.parametrize("ahead", [1, 5])
def test_a_leak_of_the_future_is_found_wherever_it_begins(place, ahead, monkeypatch):
    """From ``place`` on each logit also sees the token that is ``ahead`` of it."""
    plain = CustomGPTForCausalLM.forward

    def leaking(self, input_ids=None, **kwargs):
        output = plain(self, input_ids=input_ids, **kwargs)
        later = torch.roll(input_ids, -ahead, 1)[:, place:-ahead, None] / 270
        output.logits[:, place:-ahead, :1] += later
        return output

    monkeypatch.setattr(CustomGPTForCausalLM, "forward", leaking)
    if place + ahead >= LENGTH:
        refuse_unfit(prepare(**GPT), LENGTH)  # nothing is there that could leak
        return
    with pytest.raises(UserError, match="is no causal language model: its logits at place"):
        refuse_unfit(prepare(**GPT), LENGTH)


def test_of_a_large_model_a_twin_of_two_layers_is_asked(monkeypatch):
    built = []
    plain = nn.Module.eval

    def note(self):
        built.append(self)
        return plain(self)

    monkeypatch.setattr(questions, "_LARGE", 1000)
    monkeypatch.setattr(GPT2LMHeadModel, "eval", note)
    config = {"n_layer": 5, "n_embd": 8, "n_head": 2, "n_positions": LENGTH}
    prepared = prepare(model_type="gpt2", config=config)
    refuse_unfit(prepared, LENGTH)
    assert [model.config.n_layer for model in built] == [2]
    assert prepared.config.n_layer == 5


def test_the_same_configuration_is_asked_once(monkeypatch):
    calls = []
    plain = questions._find_fault
    monkeypatch.setattr(questions, "_find_fault", lambda *a: calls.append(a) or plain(*a))
    for _ in range(2):
        refuse_unfit(prepare(**GPT), LENGTH)
    refuse_unfit(prepare(**GPT), LENGTH // 2)
    assert len(calls) == 2


@pytest.fixture
def asked(monkeypatch):
    """The questions that were asked, each as by a process of its own."""
    calls, plain = [], questions._find_fault

    def ask(*arguments):
        calls.append(arguments)
        return plain(*arguments)

    monkeypatch.setattr(questions, "_find_fault", ask)
    return calls


def ask_in_a_new_process(monkeypatch, **entry):
    monkeypatch.setattr(questions, "_known", {})
    refuse_unfit(prepare(**entry), LENGTH)


def test_answers_of_transformers_are_kept_between_processes(answers, asked, monkeypatch):
    for _ in range(2):
        with pytest.raises(UserError, match="no causal language model"):
            ask_in_a_new_process(monkeypatch, model_type="bert", config=BERT)
    assert len(asked) == len(list(answers.iterdir())) == 1
    ask_in_a_new_process(monkeypatch, model_type="bert", config={**BERT, "is_decoder": True})
    assert len(asked) == 2
    monkeypatch.setattr("transformers.__version__", "99")
    ask_in_a_new_process(monkeypatch, model_type="bert", config={**BERT, "is_decoder": True})
    assert len(asked) == 3


@pytest.mark.parametrize("content", [b"", b"{}", b'{"about": {}, "fault": null}', b"\xff"])
def test_an_answer_that_is_not_to_this_question_is_asked_again(
    answers, asked, monkeypatch, content
):
    ask_in_a_new_process(monkeypatch, model_type="mamba", config=MAMBA)
    (path,) = answers.iterdir()
    path.write_bytes(content)
    ask_in_a_new_process(monkeypatch, model_type="mamba", config=MAMBA)
    ask_in_a_new_process(monkeypatch, model_type="mamba", config=MAMBA)
    assert len(asked) == 2


def test_where_nothing_can_be_kept_it_is_asked_each_time(answers, asked, monkeypatch, tmp_path):
    (tmp_path / "hfbench").write_text("a file")
    for _ in range(2):
        ask_in_a_new_process(monkeypatch, model_type="mamba", config=MAMBA)
    assert len(asked) == 2


def test_of_code_that_may_change_nothing_is_kept(answers, asked, monkeypatch):
    for _ in range(2):
        ask_in_a_new_process(monkeypatch, **GPT)
    assert len(asked) == 2
    assert not answers.exists()
