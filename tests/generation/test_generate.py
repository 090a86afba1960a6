import csv
import io
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from rich.cells import cell_len
from rich.console import Console
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from hfbench.cli import app as cli
from hfbench.errors import UserError
from hfbench.generation import generate as generation_module
from hfbench.generation.decoding import CHUNK, can_decode, decode_greedily
from hfbench.generation.generate import (
    Candidate,
    Generation,
    Step,
    _token_texts,
    generate,
    load_language_model,
)
from hfbench.generation.next_words import compare_next_words
from hfbench.generation.plot import draw_generations, write_generation_plot
from hfbench.generation.table import as_csv, as_markdown, print_generations, visible
from hfbench.models.custom_gpt import (
    CustomGPTConfig,
    CustomGPTForCausalLM,
    CustomGPTForSequenceClassification,
)
from hfbench.models.tokenizer import train_tokenizer

PROMPTS = ["the dog", "a", "a cat and a dog hold the"]
SHAPE = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 32, "initializer_range": 0.4}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["the dog and a cat hold the hand"] * 3, 290)


@pytest.fixture(scope="module", params=["custom", "gpt2", "llama"])
def model(request, tokenizer):
    torch.manual_seed(0)
    ids = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": None}
    if request.param == "custom":
        return CustomGPTForCausalLM(CustomGPTConfig(**ids, **SHAPE))
    if request.param == "gpt2":
        return GPT2LMHeadModel(GPT2Config(**ids, **SHAPE))
    config = LlamaConfig(
        **ids, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=32, initializer_range=0.4,
    )  # fmt: skip
    return LlamaForCausalLM(config)


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    """A saved custom GPT, as pretraining leaves it."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model")
    CustomGPTForCausalLM(CustomGPTConfig(vocab_size=len(tokenizer), **SHAPE)).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@torch.no_grad()
def next_probabilities(model, ids):
    """By hand: one forward pass over one row without padding or cache."""
    logits = model.eval()(torch.tensor([ids]), use_cache=False).logits[0, -1]
    return torch.exp(logits) / torch.exp(logits).sum()


def assert_probabilities_are_those_of_a_forward_pass(model, tokenizer, generation, top):
    ids = tokenizer(generation.prompt)["input_ids"]
    for step in generation.steps:
        expected = next_probabilities(model, ids)
        assert step.chosen.probability == pytest.approx(expected[step.chosen.token_id].item(), 1e-4)
        best = torch.topk(expected, top)
        assert [found.token_id for found in step.top] == best.indices.tolist()
        shares = [found.probability for found in step.top]
        assert shares == pytest.approx(best.values.tolist(), rel=1e-4)
        ids = [*ids, step.chosen.token_id]


def chosen(generation):
    return [step.chosen.token_id for step in generation.steps]


def test_greedy_probabilities_are_the_softmax_of_a_plain_forward_pass(model, tokenizer):
    for generation in generate(model, tokenizer, PROMPTS, max_new_tokens=6, top=5):
        assert len(generation.steps) == 6
        assert_probabilities_are_those_of_a_forward_pass(model, tokenizer, generation, 5)
        assert chosen(generation) == [step.top[0].token_id for step in generation.steps]


def test_sampling_leaves_probabilities_raw(model, tokenizer):
    warped = {"temperature": 2.0, "top_k": 3, "top_p": 0.9}
    (generation,) = generate(
        model, tokenizer, ["the dog"], max_new_tokens=12, do_sample=True, seed=4, **warped
    )
    assert_probabilities_are_those_of_a_forward_pass(model, tokenizer, generation, 6)
    ranks = [
        [found.token_id for found in step.top].index(step.chosen.token_id)
        for step in generation.steps
    ]
    assert max(ranks) in (1, 2)  # not greedy, and never beyond top_k


def test_prompts_together_are_as_one_by_one(model, tokenizer):
    together = generate(model, tokenizer, PROMPTS)
    for prompt, generation in zip(PROMPTS, together, strict=True):
        (alone,) = generate(model, tokenizer, [prompt])
        assert chosen(generation) == chosen(alone)
        assert generation.continuation == alone.continuation
        shares = [[found.probability for found in step.top] for step in generation.steps]
        expected = [[found.probability for found in step.top] for step in alone.steps]
        assert np.allclose(shares, expected, atol=1e-5)


def test_a_seed_repeats_a_sample_and_leaves_the_callers_random_state(model, tokenizer):
    def sample(seed):
        (found,) = generate(
            model, tokenizer, ["a"], max_new_tokens=12, do_sample=True, temperature=3.0, seed=seed
        )
        return found

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = sample(1)
    assert torch.rand(1) == expected
    assert sample(1) == first
    assert sample(2) != first


def test_sampling_draws_from_all_tokens_unless_told_otherwise(tokenizer):
    torch.manual_seed(0)
    flat = {**SHAPE, "n_positions": 512, "initializer_range": 1e-4}
    model = CustomGPTForCausalLM(CustomGPTConfig(vocab_size=len(tokenizer), **flat))
    (found,) = generate(
        model, tokenizer, ["a"], max_new_tokens=400, top=1, do_sample=True, temperature=10.0
    )
    assert len(set(chosen(found))) > 150  # transformers' own default would be the best 50


def test_settings_and_mode_of_the_model_change_nothing_and_settings_stay(model, tokenizer):
    before = generate(model, tokenizer, ["the dog"])
    own = model.generation_config
    own.repetition_penalty, own.suppress_tokens = 9.0, chosen(before[0])
    model.train()
    try:
        assert generate(model, tokenizer, ["the dog"]) == before
        assert model.generation_config is own
        assert own.repetition_penalty == 9.0
    finally:
        own.repetition_penalty, own.suppress_tokens = None, None


def test_eos_is_the_last_token_and_other_prompts_go_on(model, tokenizer):
    free = generate(model, tokenizer, PROMPTS, max_new_tokens=8)
    eos = chosen(free[1])[2]
    model.generation_config.eos_token_id = [eos]
    try:
        stopped = generate(model, tokenizer, PROMPTS, max_new_tokens=8)
    finally:
        model.generation_config.eos_token_id = None
    for before, after in zip(free, stopped, strict=True):
        ids = chosen(before)
        assert chosen(after) == (ids[: ids.index(eos) + 1] if eos in ids else ids)
    assert len(stopped[1].steps) <= 3


def inputs_of(prompts, tokenizer, device="cpu"):
    """Prompts as `generate` pads them: ids and mask, (B, P)."""
    rows = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    longest = max(map(len, rows))
    padded = [[0] * (longest - len(row)) + row for row in rows]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(padded, device=device), torch.tensor(mask, device=device)


def assert_decoding_is_that_of_transformers(model, ids, mask, steps):
    output = model.generate(
        ids, attention_mask=mask, max_new_tokens=steps, do_sample=False, pad_token_id=0,
        output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    found = decode_greedily(model, ids, mask, max_new_tokens=steps, top=4, eos=set())
    assert found.tokens.tolist() == output.sequences[:, ids.shape[1] :].tolist()
    expected = torch.stack(output.logits, dim=1).softmax(-1)  # (B, N, V)
    best = expected.topk(4)
    assert found.top_tokens.tolist() == best.indices.tolist()
    assert torch.allclose(found.top_probabilities, best.values, rtol=0, atol=1e-6)
    chosen_shares = expected.gather(-1, found.tokens[..., None])[..., 0]
    assert torch.allclose(found.probabilities, chosen_shares, rtol=0, atol=1e-6)


@pytest.mark.parametrize("prompts", [PROMPTS, ["the dog"]])
@pytest.mark.parametrize("steps", [1, 2, CHUNK, CHUNK + 2])
def test_steps_with_a_static_cache_are_those_of_transformers(model, tokenizer, prompts, steps):
    model.eval()
    ids, mask = inputs_of(prompts, tokenizer)
    assert_decoding_is_that_of_transformers(model, ids, mask, steps)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_replayed_steps_are_those_of_transformers(model, tokenizer):
    model.eval().to("cuda")
    try:
        assert can_decode(model)
        ids, mask = inputs_of(PROMPTS, tokenizer, "cuda")
        assert_decoding_is_that_of_transformers(model, ids, mask, CHUNK + 2)
    finally:
        model.to("cpu")


def test_only_on_a_gpu_is_a_step_recorded(model):
    assert can_decode(model) == (model.device.type == "cuda")


def test_decoding_ends_soon_after_every_row_has_its_eos(model, tokenizer):
    model.eval()
    ids, mask = inputs_of(PROMPTS, tokenizer)

    def tokens(eos):
        options = {"max_new_tokens": CHUNK + 2, "top": 1, "eos": eos}
        return decode_greedily(model, ids, mask, **options).tokens.tolist()

    free = tokens(set())
    assert tokens({row[3] for row in free}) == [row[:CHUNK] for row in free]
    some = next(token for row in free for token in row if sum(token in r for r in free) == 1)
    assert tokens({some}) == free  # the other rows go on
    late = {row[-1] for row in free} - {token for row in free for token in row[:CHUNK]}
    assert tokens(late) == free


def test_generations_of_both_ways_are_the_same(model, tokenizer, monkeypatch):
    expected = generate(model, tokenizer, PROMPTS, max_new_tokens=CHUNK + 2)
    eos = chosen(expected[1])[2]
    monkeypatch.setattr(generation_module, "can_decode", lambda model: True)
    for stop in (None, eos):
        model.generation_config.eos_token_id = stop
        try:
            found = generate(model, tokenizer, PROMPTS, max_new_tokens=CHUNK + 2)
        finally:
            model.generation_config.eos_token_id = None
        for mine, other in zip(found, expected, strict=True):
            ids = chosen(other)
            length = ids.index(stop) + 1 if stop in ids else len(ids)
            assert len(mine.steps) == length
            for step, wanted in zip(mine.steps, other.steps, strict=False):
                for one, two in zip(
                    (step.chosen, *step.top), (wanted.chosen, *wanted.top), strict=True
                ):
                    assert (one.token_id, one.text) == (two.token_id, two.text)
                    assert one.probability == pytest.approx(two.probability, abs=1e-6)


def test_texts_of_tokens_are_those_of_the_tokenizer_itself(tokenizer):
    class OtherTokenizer(PreTrainedTokenizerFast):
        def _decode(self, token_ids, **options):
            return super()._decode(token_ids, **options).upper()

    other = OtherTokenizer(tokenizer_object=tokenizer.backend_tokenizer)
    tokens = set(range(len(tokenizer)))
    plain, upper = _token_texts(tokenizer, tokens), _token_texts(other, tokens)
    for token in tokens:
        alone = tokenizer.decode([token])
        assert plain[token] == tokenizer.decode([token, token])[len(alone) :]
        assert upper[token] == plain[token].upper()


def test_the_texts_of_tokens_are_the_continuation(model, tokenizer):
    for generation in generate(model, tokenizer, PROMPTS):
        ids = tokenizer(generation.prompt)["input_ids"]
        assert generation.prompt + generation.continuation == tokenizer.decode(
            ids + chosen(generation)
        )
    assert " dog" in {  # the leading space is kept
        found.text
        for step in generate(model, tokenizer, ["a"], top=len(tokenizer))[0].steps
        for found in step.top
    }


def test_tokens_keep_the_leading_space_that_decoding_them_alone_would_lose():
    backend = Tokenizer(WordLevel({"▁a": 0, "▁dog": 1, "▁cat": 2}))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert tokenizer.decode([1]) == "dog"
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=3, bos_token_id=0, eos_token_id=None, **SHAPE))
    (generation,) = generate(model, tokenizer, ["a dog"], max_new_tokens=3, top=3)
    for step in generation.steps:
        assert {found.text for found in step.top} == {" a", " dog", " cat"}
    assert generation.continuation == "".join(step.chosen.text for step in generation.steps)


def test_past_the_models_positions_is_a_clear_error_before_anything_runs(model, tokenizer):
    tokens = len(tokenizer("the dog")["input_ids"])
    message = (
        rf"'the dog' has {tokens} tokens, which with max_new_tokens \({33 - tokens}\) is more "
        r"than the model's n_positions \(32\)"
    )
    with pytest.raises(UserError, match=message):
        generate(model, tokenizer, ["a", "the dog"], max_new_tokens=33 - tokens)
    (longest,) = generate(model, tokenizer, ["the dog"], max_new_tokens=32 - tokens)
    assert len(longest.steps) == 32 - tokens


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, r"max_new_tokens \(0\) must be at least 1"),
        ({"top": 0}, r"top \(0\) must be from 1 to the vocabulary's"),
        ({"top": 10_000}, r"top \(10000\) must be from 1 to the vocabulary's"),
        ({"do_sample": True, "temperature": 0.0}, "temperature .* above 0"),
        ({"do_sample": True, "top_p": 1.5}, "at most 1"),
        ({"top_k": 3}, "change nothing without sampling"),
    ],
)
def test_options_that_cannot_be_are_refused(model, tokenizer, options, message):
    with pytest.raises(UserError, match=message):
        generate(model, tokenizer, ["a"], **options)


def test_an_empty_prompt_is_refused(model, tokenizer):
    with pytest.raises(UserError, match="one is empty"):
        generate(model, tokenizer, ["a", ""])


@pytest.mark.slow
def test_a_clean_process_loads_a_saved_custom_gpt_by_its_class_without_its_code(folder):
    script = (
        "import sys; from hfbench.generation.generate import load_language_model; "
        "print(type(load_language_model(sys.argv[1])[0]).__module__)"
    )
    command = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == CustomGPTForCausalLM.__module__, done.stderr


def test_what_is_no_trained_language_model_is_refused(folder, tokenizer, tmp_path):
    config = CustomGPTConfig(vocab_size=len(tokenizer), **SHAPE)
    CustomGPTForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"no weights for lm_head.weight"):
        load_language_model(str(tmp_path))
    with pytest.raises(UserError, match="is no folder here"):
        load_language_model(str(folder / "nowhere"))


# Tables


@pytest.fixture
def hostile():
    """Two prompts; tokens with markup, pipes, control characters, wide letters; one not in top."""
    texts = ["[red]x[/red]", "a|b", " the\n", "\x1b[31m\u202e", "漢字" * 20, "", "`*_<b>", "=1+1"]
    found = [Candidate(i, text, 0.5 / (i + 1)) for i, text in enumerate(texts)]
    steps = tuple(Step(found[i % 8], tuple(found[:5])) for i in range(12))
    return [Generation("[bold]p|q\n", "[i]c", steps), Generation("second", " x", steps[:1])]


def on_terminal(generations, width=80):
    text = io.StringIO()
    print_generations(generations, Console(file=text, width=width))
    return text.getvalue()


@pytest.mark.parametrize("width", [80, *range(30, 130, 7)])
def test_no_line_is_wider_than_the_terminal_and_no_column_is_lost(hostile, width):
    shown = on_terminal(hostile, width)
    assert max(map(cell_len, shown.split("\n"))) <= width
    heads = [line.split() for line in shown.split("\n") if re.fullmatch(r"[ \d]+", line)]
    numbers = [int(number) for line in heads for number in line]
    assert numbers == [*range(1, 13), 1]
    assert len(re.findall(r" 0\.\d{3}(?=\s)", shown)) == 13 * 6


def test_markup_and_control_characters_are_shown_and_not_obeyed(hostile):
    shown = on_terminal(hostile)
    for text in ("[bold]p|q↵[i]c", "[red]x[/red]", "·the↵", r"\x1b[31m\u202e"[:13], "#5"):
        assert text in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert visible("a b\tc\u00a0") == r"a·b→c\xa0"


def markdown_tables(text):
    """Cells of each table, with escapes undone."""
    tables = []
    for part in re.split(r"\n\n", text):
        if part.startswith("|"):
            lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in part.strip().split("\n")]
            tables.append([[re.sub(r"\\(.)", r"\1", c.strip()) for c in line] for line in lines])
    return tables


def test_markdown_has_a_column_for_each_token_and_the_numbers_of_the_result(hostile):
    text = as_markdown(hostile)
    tables = markdown_tables(text)
    assert [len(table) for table in tables] == [8, 8]  # head, rule, chosen, 5 ranks
    for table, generation in zip(tables, hostile, strict=True):
        assert {len(line) for line in table} == {len(generation.steps) + 1}
        for column, step in enumerate(generation.steps, 1):
            shares = [float(line[column].rsplit(" ", 1)[1]) for line in table[2:]]
            expected = [f.probability for f in (step.chosen, *step.top)]
            assert shares == pytest.approx(expected, abs=6e-4)
    assert tables[0][3][1] == "[red]x[/red] 0.500"
    assert tables[0][4][1] == "a|b 0.250"
    assert r"\`\*\_\<b\>" in text
    assert "softmax of the model's logits, before" in text


def test_csv_has_every_number_of_the_result_as_it_is(hostile):
    rows = list(csv.DictReader(io.StringIO(as_csv(hostile), newline="")))
    expected = []
    for generation in hostile:
        for position, step in enumerate(generation.steps, 1):
            ranked = [(str(rank), found) for rank, found in enumerate(step.top, 1)]
            ranked += [("", step.chosen)] if step.chosen not in step.top else []
            for rank, found in ranked:
                is_chosen = str(int(found == step.chosen))
                expected.append(
                    [generation.prompt, str(position), rank, str(found.token_id), found.text,
                     str(found.probability), is_chosen]
                )  # fmt: skip
    assert [list(row.values()) for row in rows] == expected
    assert list(rows[0]) == [
        "prompt", "position", "rank", "token_id", "token", "probability", "chosen",
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Glyph")  # no font here has every letter
def test_the_heat_map_shows_every_probability_in_blocks(hostile, tmp_path):
    plot = draw_generations(hostile)
    maps = [axes.images[0].get_array() for axes in plot.figure.axes]
    assert [np.shape(found) for found in maps] == [(5, 10), (5, 2), (5, 1)]
    assert np.allclose(maps[0][:, 3], [found.probability for found in hostile[0].steps[3].top])
    paths = write_generation_plot(hostile, tmp_path)
    assert [path.name for path in paths] == ["generation.png", "generation.svg"]
    first = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in write_generation_plot(hostile, tmp_path)] == first


# The command line


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["hfbench", "generate", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as leave:
        cli.main()
    return leave.value.code or 0


def test_the_command_prints_and_writes_what_the_function_gives(
    folder, tmp_path, monkeypatch, capsys
):
    options = ["--prompt", "the dog", "--prompt", "a", "--max-new-tokens", 9, "--top", 4]
    sampling = ["--sample", "--temperature", 1.5, "--top-k", 40, "--top-p", 0.6, "--seed", 3]
    code = call(monkeypatch, folder, *options, *sampling, "--output", tmp_path / "out")
    assert code == 0
    shown = capsys.readouterr().out
    expected = generate(
        *load_language_model(str(folder)), ["the dog", "a"], max_new_tokens=9, top=4,
        do_sample=True, temperature=1.5, top_k=40, top_p=0.6, seed=3,
    )  # fmt: skip
    assert shown.startswith(on_terminal(expected))
    names = ["generation.csv", "generation.md", "generation.png", "generation.svg"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert (tmp_path / "out" / "generation.csv").read_text("utf-8") == as_csv(expected)
    assert (tmp_path / "out" / "generation.md").read_text("utf-8") == as_markdown(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompt", "the dog", "--max-new-tokens", 99], "n_positions (32)"),
        (["--prompt", "the dog", "--temperature", 2], "change nothing without sampling"),
    ],
)
def test_a_mistake_is_a_message_and_exit_code_2(folder, arguments, message, monkeypatch, capsys):
    assert call(monkeypatch, folder, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error


def test_the_grammars_next_words_stand_beside_the_models(folder, tmp_path, monkeypatch, capsys):
    arguments = ["--prompt", "He and I", "--grammar", "pets", "--output", tmp_path]
    assert call(monkeypatch, folder, *arguments) == 0
    shown = capsys.readouterr().out
    model, tokenizer = load_language_model(str(folder))
    found = compare_next_words(model, tokenizer, "He and I")
    lines = [["can", "0.500"], ["hold", "0.250"], ["rub", "0.250"]]
    expected = [[*line, f"{found.model[line[0]]:.3f}"] for line in lines]
    assert [line.split() for line in shown.split("word   ")[1].split("\n")[1:4]] == expected
    assert f"KL divergence {found.kl_divergence:.4f} nats" in shown
    table = markdown_tables((tmp_path / "generation.md").read_text("utf-8"))[1]
    assert table == [["word", "grammar", "model"], ["---"] * 3, *expected]
