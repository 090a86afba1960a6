"""Every mode of `generate` on the custom GPT: padding, caches and the end of the positions."""

import pytest
import torch
from transformers import set_seed

from hfbench.models import CustomGPTConfig, CustomGPTForCausalLM

N_POSITIONS = 24
MODES = {
    "greedy": {"do_sample": False},
    "beam": {"do_sample": False, "num_beams": 3},
    "beams returned": {"do_sample": False, "num_beams": 4, "num_return_sequences": 2},
    "penalty": {"do_sample": False, "repetition_penalty": 1.5, "no_repeat_ngram_size": 2},
}


def build(seed=0, **overrides):
    """A small model in evaluation mode that repeats itself little."""
    set_seed(seed)
    sizes = {"vocab_size": 50, "n_positions": N_POSITIONS, "n_layer": 2, "n_head": 2, "n_embd": 16}
    ids = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    config = CustomGPTConfig(**sizes | ids | {"initializer_range": 0.3} | overrides)
    return CustomGPTForCausalLM(config).eval()


def prompt(*lengths, width=None):
    """Rows of random tokens padded on the left, and their attention mask."""
    width = width or max(lengths)
    mask = torch.tensor(
        [[position >= width - length for position in range(width)] for length in lengths]
    )
    ids = torch.randint(1, 50, mask.shape, generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids * mask, "attention_mask": mask.long()}


def continuation(model, inputs, tokens=8, **options):
    """The new tokens of shape (rows, tokens)."""
    generated = model.generate(**inputs, max_new_tokens=tokens, **options)
    assert generated.shape[1] == inputs["input_ids"].shape[1] + tokens
    return generated[:, inputs["input_ids"].shape[1] :]


def one_by_one(inputs):
    for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"].bool(), strict=True):
        yield {"input_ids": ids[mask][None], "attention_mask": torch.ones(1, int(mask.sum()))}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cache", ["dynamic", "static", None])
def test_a_padded_batch_continues_like_its_rows_alone_with_every_cache(mode, cache):
    model, inputs, options = build(), prompt(2, 7, 5), MODES[mode]
    how = {"use_cache": False} if cache is None else {"cache_implementation": cache}
    together = continuation(model, inputs, **options, **how)
    alone = [continuation(model, row, **options) for row in one_by_one(inputs)]
    assert torch.equal(together, torch.cat(alone))
    assert min(len(set(row.tolist())) for row in together) > 2  # else it would prove little


def test_sampling_depends_on_the_seed_and_not_on_the_cache():
    model, inputs = build(), prompt(2, 7, 5)

    def sample(seed, **how):
        set_seed(seed)
        options = {"temperature": 0.8, "top_k": 20, "top_p": 0.9}
        return continuation(model, inputs, do_sample=True, **options, **how)

    first = sample(0, cache_implementation="dynamic")
    assert torch.equal(sample(0, cache_implementation="static"), first)
    assert torch.equal(sample(0, use_cache=False), first)
    assert not torch.equal(sample(1), first)


def test_samples_are_as_frequent_as_the_model_says():
    model, inputs = build(), prompt(5)
    expected = model(**inputs).logits[0, -1].softmax(-1)
    set_seed(0)
    drawn = continuation(model, inputs, 1, do_sample=True, top_k=0, num_return_sequences=4000)
    frequencies = torch.bincount(drawn[:, 0], minlength=50) / 4000
    errors = (expected * (1 - expected) / 4000).sqrt()
    assert ((frequencies - expected).abs() < 4.5 * errors + 1e-3).all()
    assert expected.max() > 0.05


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_beams_find_what_looking_at_everything_finds(cache):
    model, inputs = build(), prompt(4)
    best = continuation(
        model, inputs, 2, do_sample=False, num_beams=50, cache_implementation=cache
    )  # with a beam for each word nothing is lost
    first = model(**inputs).logits[0, -1].log_softmax(-1)
    pairs = torch.cat([inputs["input_ids"].expand(50, -1), torch.arange(50)[:, None]], dim=1)
    second = model(pairs).logits[:, -1].log_softmax(-1)
    assert best[0].tolist() == list(divmod(int((first[:, None] + second).argmax()), 50))


@pytest.mark.parametrize("assistant", ["another model", "the prompt"])
def test_assisted_generation_gives_what_greedy_gives(assistant):
    model, inputs = build(), prompt(12)
    helper = (
        {"assistant_model": build(seed=1, n_layer=1)}
        if assistant == "another model"
        else {"prompt_lookup_num_tokens": 3}
    )
    greedy = continuation(model, inputs, 13, do_sample=False)
    assert torch.equal(continuation(model, inputs, 13, do_sample=False, **helper), greedy)


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("mode", MODES)
def test_to_run_past_the_positions_is_a_clear_error(mode, cache):
    model = build()
    options = {**MODES[mode], "cache_implementation": cache}
    # the last token generated is never fed back, so one more than the positions is possible
    continuation(model, prompt(20), 5, **options)
    message = r"a text of 25 tokens is longer than n_positions \(24\); truncate it or generate"
    with pytest.raises(ValueError, match=message):
        continuation(model, prompt(20), 6, **options)
    with pytest.raises(ValueError, match=message):
        continuation(model, prompt(25), 1, **options)


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_padding_uses_up_no_positions(cache):
    model = build()
    wide, narrow = prompt(4, 3, width=30), prompt(4, 3)
    narrow["input_ids"] = wide["input_ids"][:, -4:]
    options = {"do_sample": False, "cache_implementation": cache}
    assert torch.equal(
        continuation(model, wide, 20, **options), continuation(model, narrow, 20, **options)
    )
    with pytest.raises(ValueError, match="a text of 25 tokens"):
        continuation(model, wide, 22, **options)


def test_generation_stops_at_the_end_token_and_pads_after_it():
    model, inputs = build(), prompt(2, 7, 5)
    free = continuation(model, inputs, do_sample=False)
    end = int(free[0, 3])
    stopped = model.generate(**inputs, max_new_tokens=8, do_sample=False, eos_token_id=end)[:, 7:]
    for row, whole in zip(stopped.tolist(), free.tolist(), strict=True):
        length = whole.index(end) + 1 if end in whole else len(whole)
        assert row[:length] == whole[:length]
        assert set(row[length:]) <= {0}
