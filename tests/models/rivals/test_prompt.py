"""A prompt's likelihoods by two routes, and what it does with texts that are too long."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, MambaConfig, MambaForCausalLM

from hfbench.errors import UserError
from hfbench.models.load import load_prompted
from hfbench.models.rivals.prompt import (
    Example,
    LabelReader,
    Writer,
    _likelihood,
    calibration,
    check_prompt,
    count_tokens,
    encode,
)
from tests.models.rivals.networks import TEXTS, prepare, save_bert, save_gpt2

KIND = "single_label_classification"
LABELS = ["no", "yes"]
PROMPT = {"template": "so {text} was", "labels": {"yes": " great", "no": " bad film"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_gpt2(tmp_path_factory.mktemp("gpt2"), positions=160)


def writer_of(prepared, shots=(), truncation="head", text_length=1000):
    return Writer(
        prepared,
        prepared.entry.prompt,
        LABELS,
        shots,
        text_length=text_length,
        truncation=truncation,
    )


SHOTS = [Example(TEXTS[0], label="yes"), Example(TEXTS[1], label="no")]


def by_hand(model, prompts, words):
    """From the model's own loss of each whole sequence, one after another."""
    found = np.empty((len(prompts), len(words)))
    for row, prompt in enumerate(prompts):
        for column, own in enumerate(words):
            ids = torch.tensor([[*prompt, *own]])
            labels = torch.tensor([[-100] * len(prompt) + own])
            with torch.no_grad():
                logits = model(input_ids=ids).logits
            loss = F.cross_entropy(logits[0, :-1], labels[0, 1:], reduction="sum")
            found[row, column] = -loss.item()
    return found


@pytest.mark.parametrize("shots", [(), SHOTS])
def test_shared_and_whole_and_the_models_own_loss_agree(folder, shots):
    prepared = prepare(folder, prompt={**PROMPT, **({"shots": 2} if shots else {})})
    model, writer = load_prompted(prepared, None), writer_of(prepared, shots)
    prompts = [writer.write(Example(text))[0] for text in TEXTS]
    reader = LabelReader(model, writer.words, "sum")
    shared, whole = reader.read(prompts), reader.read(prompts, share=False)
    assert shared.shares_prefix is bool(shots)
    assert not whole.shares_prefix
    assert [len(one) for one in writer.words] != [1, 1]  # more than the first token counts
    assert shared.logits == pytest.approx(whole.logits, abs=1e-4)
    assert shared.logits == pytest.approx(by_hand(model, prompts, writer.words), abs=1e-4)
    mean = LabelReader(model, writer.words, "mean").read(prompts).logits
    sizes = [len(one) for one in writer.words]
    assert mean == pytest.approx(shared.logits / sizes, abs=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_answers_as_a_cpu_does(folder):
    prepared = prepare(folder, prompt=PROMPT)
    model, writer = load_prompted(prepared, None), writer_of(prepared)
    prompts = [writer.write(Example(text))[0] for text in TEXTS]
    assert [len(one) for one in writer.words] != [1, 1]
    plain = LabelReader(model, writer.words, "sum").read(prompts).logits
    found = LabelReader(model.to("cuda"), writer.words, "sum").read(prompts).logits
    assert found == pytest.approx(plain, abs=1e-3)


def test_likelihoods_stay_on_the_device_of_the_logits():
    logits = torch.zeros(2, 3, 5, device="meta")
    assert _likelihood(logits, [1, 4]).device == logits.device


def test_a_model_whose_cache_is_no_keys_and_values_reads_whole_prompts():
    torch.manual_seed(0)
    config = MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, state_size=4)
    model = MambaForCausalLM(config).eval()
    prompts, words = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 7, 8]], [[9, 10], [11]]
    found = LabelReader(model, words, "sum").read(prompts)
    assert not found.shares_prefix
    assert found.logits == pytest.approx(by_hand(model, prompts, words), abs=1e-4)


def test_answers_without_a_text_are_taken_off():
    answers = np.log([[0.2, 0.6], [0.1, 0.1]])
    shares = np.array([[0.25, 0.75], [0.5, 0.5]]).mean(0)
    assert calibration(answers) == pytest.approx(np.log(shares))


@pytest.mark.parametrize("truncation", ["head", "tail", "head_tail"])
def test_of_a_long_text_its_own_tokens_are_cut_and_nothing_else(folder, truncation):
    prepared = prepare(folder, prompt={**PROMPT, "shots": 2})
    writer, tokenizer = writer_of(prepared, SHOTS, truncation), prepared.tokenizer
    long = " ".join(f"{text} {n}" for n, text in enumerate(TEXTS))
    ids, removed = writer.write(Example(long))
    assert len(ids) + max(map(len, writer.words)) <= prepared.max_length
    assert len(ids) + max(map(len, writer.words)) >= prepared.max_length - 3  # no more than it must
    said = tokenizer.decode(ids)
    before, after = writer.before + "so ", " was"
    assert said.startswith(before)
    assert said.endswith(after)
    left = said[len(before) : -len(after)]
    head, tail = truncation != "tail", truncation != "head"
    assert long.startswith(left[:3]) is head
    assert long.endswith(left[-3:]) is tail
    assert removed == pytest.approx(
        len(encode(tokenizer, long)) - len(encode(tokenizer, left)), abs=2
    )
    counted = count_tokens(
        [(ids, removed), (writer.write(Example("so"))[0], 0)], writer.shot_tokens
    )
    assert counted.truncated_examples == 1
    assert counted.cut == removed


def test_of_a_pair_the_longer_text_is_cut_first(folder):
    prompt = {**PROMPT, "template": "{text} and {text_pair} was"}
    prepared = prepare(folder, prompt=prompt)
    ids, _ = writer_of(prepared).write(Example("good film", " ".join(TEXTS * 3)))
    said = prepared.tokenizer.decode(ids)
    assert said.startswith("good film and ")
    assert said.endswith(" was")


def test_examples_that_leave_no_room_are_refused(folder):
    prepared = prepare(folder, prompt={**PROMPT, "shots": 9})
    with pytest.raises(
        UserError, match=r"prompt.shots: 9 examples and the template take \d+ of the 160"
    ):
        writer_of(prepared, [Example(" ".join(TEXTS[:6]), label="yes")] * 9)
    assert writer_of(prepared, [Example(TEXTS[2], label="yes")] * 2, text_length=2).room > 0


@pytest.mark.parametrize(
    ("changes", "kind", "pairs", "message"),
    [
        ({}, "regression", False, "asks for one label of several, and the task is regression"),
        (
            {"labels": {"yess": " a", "no": " b"}},
            KIND,
            False,
            "no label 'yess'.*did you mean 'yes'",
        ),
        ({}, KIND, True, r"texts are pairs: give \{text_pair\} a place"),
        ({"template": "{text_pair} {text} is"}, KIND, False, "leave {text_pair} out"),
        ({"labels": {"yes": " good", "no": " good film"}}, KIND, False, "then always likelier"),
        (
            {"template": "{text} was ", "labels": {"yes": "film", "no": "bad"}},
            KIND,
            False,
            "shares a token",
        ),
    ],
)
def test_what_does_not_go_with_the_task_or_the_tokenizer_is_refused(
    folder, changes, kind, pairs, message
):
    prepared = prepare(folder, prompt={**PROMPT, **changes})
    with pytest.raises(UserError, match=message):
        check_prompt(prepared, prepared.entry.prompt, LABELS, kind, has_pairs=pairs)


def test_a_label_without_words_is_refused(folder):
    prepared, labels = prepare(folder, prompt=PROMPT), [*LABELS, "maybe"]
    with pytest.raises(UserError, match="no words for the label 'maybe'"):
        check_prompt(prepared, prepared.entry.prompt, labels, KIND, has_pairs=False)


def test_a_checkpoint_without_a_language_model_head_is_refused(tmp_path):
    with pytest.raises(UserError, match="so that its language-model head would be random"):
        load_prompted(prepare(save_bert(tmp_path), prompt=PROMPT), None)


def test_the_language_model_is_the_checkpoint(folder):
    loaded = load_prompted(prepare(folder, prompt=PROMPT), None)
    plain = AutoModelForCausalLM.from_pretrained(folder)
    assert all(torch.equal(loaded.state_dict()[n], w) for n, w in plain.state_dict().items())
