import numpy as np
import pytest
from datasets import Dataset, DatasetDict
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from hfbench.data.tokens import predicted_bytes, tokenize_corpus, tokenize_task
from hfbench.errors import UserError
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.model import Corpus

TEXTS = ["a b c d e f g h", "a b", "c", "h g f"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["a b c d e f g h"], 258)


def test_truncated_texts_are_counted(tokenizer):
    splits = DatasetDict(train=Dataset.from_dict({"text": TEXTS, "label": [0, 1, 0, 1]}))
    data = tokenize_task(splits, tokenizer, max_length=5)
    # every letter is a token, and so is every space
    assert [len(ids) for ids in data.splits["train"]["input_ids"]] == [5, 3, 1, 5]
    assert data.tokens["train"].truncated_examples == 1
    assert data.tokens["train"].total == 14
    assert list(data.splits["train"]["labels"]) == [0, 1, 0, 1]


def test_counts_of_chosen_rows_are_those_of_tokenising_them_alone(tokenizer):
    columns = {"text": TEXTS, "label": [0, 1, 0, 1]}
    splits = DatasetDict(train=Dataset.from_dict(columns), validation=Dataset.from_dict(columns))
    whole = tokenize_task(splits, tokenizer, max_length=4)
    for rows in ([0], [1, 2], [1, 3], [3, 0, 2]):
        chosen = whole.with_train_rows(np.array(rows))
        alone = tokenize_task(
            DatasetDict({**splits, "train": splits["train"].select(rows)}), tokenizer, max_length=4
        )
        assert chosen.tokens == alone.tokens
        assert chosen.splits["train"].to_list() == alone.splits["train"].to_list()
        assert chosen.tokens["validation"] == whole.tokens["train"]


def test_pairs_are_one_input(tokenizer):
    columns = {"text": ["a b"], "text_pair": ["c"], "label": [0]}
    data = tokenize_task(DatasetDict(train=Dataset.from_dict(columns)), tokenizer, 16)
    assert data.splits["train"]["input_ids"][0] == tokenizer("a b", "c")["input_ids"]


def test_pairs_of_which_some_are_cut_are_those_of_one_at_a_time(tokenizer):
    texts = [" ".join("abcdefgh"[: 1 + row % 8]) for row in range(1100)]  # more than one batch
    columns = {"text": texts, "text_pair": texts[::-1], "label": [0, 1] * 550}
    data = tokenize_task(DatasetDict(train=Dataset.from_dict(columns)), tokenizer, 12)
    expected, lengths = [], []
    for text, pair in zip(texts, texts[::-1], strict=True):
        lengths.append(len(tokenizer(text, pair, truncation=False)["input_ids"]))
        expected.append(dict(tokenizer(text, pair, truncation=True, max_length=12)))
    assert 0 < sum(length > 12 for length in lengths) < len(lengths)
    found = data.splits["train"].remove_columns("labels").to_list()
    assert found == expected
    assert data.cut["train"].tolist() == [max(length - 12, 0) for length in lengths]
    assert data.tokens["train"].cut == sum(lengths) - data.tokens["train"].total
    assert data.lengths("train").tolist() == [min(length, 12) for length in lengths]


def test_tokens_are_those_of_one_text_at_a_time(tokenizer):
    texts = [f"{letter} b" for letter in "abcdefgh"] * 300  # more than one batch
    corpus = Corpus(builtin="pets")
    data = tokenize_corpus({"train": texts}, tokenizer, corpus, model_max_length=64)
    expected = [tokenizer(text)["input_ids"] for text in texts]
    assert list(data.splits["train"]["input_ids"]) == expected
    assert list(data.splits["train"]["labels"]) == expected


def test_blocks_hold_all_tokens_with_an_end_after_each_text(tokenizer):
    corpus = Corpus(builtin="pets", cut="blocks", block_size=4)
    data = tokenize_corpus({"train": TEXTS}, tokenizer, corpus, model_max_length=64)
    stream = [i for text in TEXTS for i in [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]]
    blocks = list(data.splits["train"]["input_ids"])
    assert {len(block) for block in blocks} == {4}
    assert [i for block in blocks for i in block] == stream[: len(stream) // 4 * 4]


def test_blocks_go_on_from_batch_to_batch(tokenizer):
    corpus = Corpus(builtin="pets", cut="blocks", block_size=16)
    texts = [TEXTS[row % 4] for row in range(2500)]
    data = tokenize_corpus({"train": texts}, tokenizer, corpus, model_max_length=64)
    stream = [i for text in texts for i in [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]]
    columns = data.splits["train"].to_dict()
    assert [i for block in columns["input_ids"] for i in block] == stream[: len(stream) // 16 * 16]
    assert columns["labels"] == columns["input_ids"]
    assert columns["attention_mask"] == [[1] * 16] * len(columns["input_ids"])
    assert set(data.lengths("train")) == {16}


def test_a_part_that_fills_no_block_is_an_error(tokenizer):
    corpus = Corpus(builtin="pets", cut="blocks", block_size=64)
    texts = {"train": TEXTS * 10, "validation": ["a b"]}
    with pytest.raises(UserError, match="does not fill one block of 32 tokens"):
        tokenize_corpus(texts, tokenizer, corpus, model_max_length=32)


def test_predicted_bytes_are_those_of_all_tokens_that_are_left_but_the_first(tokenizer):
    rows = Corpus(builtin="pets", cut="rows", max_length=5)
    # a token is a byte: 5, 3, 1 and 5 tokens are left
    assert predicted_bytes(TEXTS, tokenizer, rows, 64) == 4 + 2 + 0 + 4
    assert predicted_bytes(TEXTS, tokenizer, rows, model_max_length=2) == 1 + 1 + 0 + 1
    assert predicted_bytes(["a b"] * 2500, tokenizer, rows, 64) == 5000  # more than one batch


def test_predicted_bytes_of_letters_that_are_several_tokens(tokenizer):
    rows = Corpus(builtin="pets", cut="rows")
    assert len(tokenizer("€aé")["input_ids"]) == 6
    assert predicted_bytes(["a€é"], tokenizer, rows, 64) == 3 + 2
    assert (
        predicted_bytes(["€aé"], tokenizer, rows, 64) == 1 + 2
    )  # the first token reaches all of €


def test_predicted_bytes_include_white_space_that_a_tokenizer_drops_and_no_special_token():
    words = {"[BOS]": 0, "a": 1, "dog": 2, "[EOS]": 3}
    backend = Tokenizer(WordLevel(words))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = [("[BOS]", 0), ("[EOS]", 3)]
    backend.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=special
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert tokenizer("a   dog")["input_ids"] == [0, 1, 2, 3]
    rows = Corpus(builtin="pets", cut="rows")
    assert predicted_bytes(["a   dog"], tokenizer, rows, 64) == len("a   dog")
    assert predicted_bytes(["a   dog"], tokenizer, rows, model_max_length=3) == len("a")


def test_predicted_bytes_of_blocks_leave_out_each_blocks_first_token_and_the_rest(tokenizer):
    corpus = Corpus(builtin="pets", cut="blocks", block_size=5)
    # $ is EOS; the last three tokens fill no block
    blocks = ["a b c", " d e ", "f g h", "$a b$", "c$h g"]
    assert predicted_bytes(TEXTS, tokenizer, corpus, 64) == 4 + 4 + 4 + 3 + 3
    data = tokenize_corpus({"validation": TEXTS}, tokenizer, corpus, 64)
    texts = [tokenizer.decode(ids) for ids in data.splits["validation"]["input_ids"]]
    assert [text.replace("<|endoftext|>", "$") for text in texts] == blocks


def special_tokenizer():
    """A word is a token, [B] stands before a text and [E] behind each text of a pair."""
    names = ["[B]", "[E]", "[P]", *(f"w{n}" for n in range(40)), *(f"v{n}" for n in range(40))]
    backend = Tokenizer(WordLevel({name: number for number, name in enumerate(names)}))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[B] $A [E]",
        pair="[B] $A [E] $B:1 [E]:1",
        special_tokens=[("[B]", 0), ("[E]", 1)],
    )
    columns = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[P]", model_input_names=columns
    )


def words(letter, *numbers):
    return [f"{letter}{number}" for number in numbers]


def left_of(truncation, texts, pairs=None, max_length=10, tokenizer=None):
    tokenizer = tokenizer or special_tokenizer()
    columns = {"text": texts, "label": [0] * len(texts)}
    columns |= {"text_pair": pairs} if pairs else {}
    splits = DatasetDict(train=Dataset.from_dict(columns))
    data = tokenize_task(splits, tokenizer, max_length, truncation)
    found = data.splits["train"]["input_ids"]
    return data, [tokenizer.convert_ids_to_tokens(ids) for ids in found]


@pytest.mark.parametrize("own_side", ["left", "right"])
@pytest.mark.parametrize(
    ("truncation", "kept"),
    [
        ("head", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("tail", [12, 13, 14, 15, 16, 17, 18, 19]),
        ("head_tail", [0, 1, 14, 15, 16, 17, 18, 19]),
    ],
)
def test_what_is_left_of_a_long_text_is_what_the_recipe_says(truncation, kept, own_side):
    tokenizer = special_tokenizer()
    tokenizer.truncation_side = own_side
    long, short = " ".join(words("w", *range(20))), "w3 w4"
    data, found = left_of(truncation, [long, short], tokenizer=tokenizer)
    assert found == [["[B]", *words("w", *kept), "[E]"], ["[B]", "w3", "w4", "[E]"]]
    assert data.cut["train"].tolist() == [12, 0]
    assert data.tokens["train"].truncated_examples == 1
    assert tokenizer.truncation_side == own_side
    assert data.splits["train"]["attention_mask"] == [[1] * 10, [1] * 4]


def test_a_tokenizer_without_a_limit_cuts_nothing():
    data, [found] = left_of("head", ["w1 w2"], max_length=int(1e30))
    assert found == ["[B]", "w1", "w2", "[E]"]
    assert data.cut["train"].tolist() == [0]


def test_of_a_pair_each_text_keeps_beginning_and_end():
    texts = [" ".join(words("w", *range(20)))]
    pairs = [" ".join(words("v", *range(20)))]
    data, [found] = left_of("head_tail", texts, pairs, max_length=19)
    kept = (0, 1, *range(14, 20))
    assert found == ["[B]", *words("w", *kept), "[E]", *words("v", *kept), "[E]"]
    types = data.splits["train"]["token_type_ids"][0]
    assert types == [0] * 10 + [1] * 9
    _, [short_pair] = left_of("head_tail", texts, ["v0 v1"], max_length=13)
    assert short_pair == ["[B]", *words("w", 0, 1, *range(14, 20)), "[E]", "v0", "v1", "[E]"]


def test_beginning_and_end_need_the_places_of_the_tokens():
    tokenizer = special_tokenizer()

    class Slow(PreTrainedTokenizerFast):
        is_fast = False

    tokenizer.__class__ = Slow
    with pytest.raises(UserError, match=r"task.truncation: head_tail needs .* Slow does not: give"):
        left_of("head_tail", [" ".join(words("w", *range(20)))], tokenizer=tokenizer)
