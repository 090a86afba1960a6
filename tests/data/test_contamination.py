import random
import time
import unicodedata

import numpy as np
import pytest
from datasets import Dataset

from hfbench.data.contamination import (
    count_corpus_overlaps,
    count_overlaps,
    count_repetitions,
    count_task_overlaps,
)
from hfbench.data.task import load_task
from hfbench.execution import inputs as workbench
from hfbench.execution.inputs import Inputs
from hfbench.recipe.cells import plan_comparison
from hfbench.recipe.load import load_recipe
from hfbench.recipe.task import Task
from hfbench.records.data import NEAR_SHARE, RUN, Overlap

PARTS = ("examples", "exact", "near", "short")
SENTENCE = "a quiet film that says more about grief than any of its louder rivals ever did"


def count(train, evaluation) -> Overlap:
    return count_overlaps(train, {"test": evaluation})["test"]


def kinds(train, evaluation) -> tuple[int, int]:
    overlap = count(train, evaluation)
    return overlap.exact, overlap.near


def literal_words(text: str) -> list[str]:
    """Character by character; for texts that have letters."""
    words = [""]
    for character in unicodedata.normalize("NFKC", text).casefold():
        if unicodedata.category(character)[0] in "PZC":
            words.append("")
        else:
            words[-1] += character
    return [word for word in words if word]


def literal_count(train, evaluation) -> Overlap:
    """The definition as it is written, each text against each: n times m."""
    exact = near = short = 0
    for text in evaluation:
        words = literal_words(text)
        short += len(words) < 8
        if any("".join(words) == "".join(literal_words(other)) for other in train):
            exact += 1
            continue
        lies_in_a_shared_run = [False] * len(words)
        for start in range(len(words) - 7):
            run = f" {' '.join(words[start : start + 8])} "
            if any(run in f" {' '.join(literal_words(other))} " for other in train):
                lies_in_a_shared_run[start : start + 8] = [True] * 8
        near += 10 * sum(lies_in_a_shared_run) >= 8 * len(words)
    return Overlap(examples=len(evaluation), exact=exact, near=near, short=short)


def random_texts(rng: random.Random, number: int) -> list[str]:
    """Texts of 1 to 30 words out of few, some of them pieces of one another."""
    texts = []
    for _ in range(number):
        words = [rng.choice(["The", "the", "cat", "Sat", "ca n't", "mat!"]) for _ in range(30)]
        if texts and rng.random() < 0.6:
            words = rng.choice(texts).split(" ")
            cut = rng.randrange(len(words))
            words = words[cut:] if rng.random() < 0.5 else [*words[:cut], "new", *words[cut + 1 :]]
        texts.append(" ".join(words[: rng.randint(1, 30)]) or "cat")
    return texts


@pytest.mark.parametrize("seed", range(20))
def test_counts_are_those_of_the_literal_definition(seed):
    rng = random.Random(seed)
    texts = random_texts(rng, 80)
    rng.shuffle(texts)
    overlap = count(texts[:50], texts[50:])
    assert overlap == literal_count(texts[:50], texts[50:])
    assert overlap.exact + overlap.near > 0


@pytest.mark.parametrize("seed", range(10))
def test_repetitions_are_those_of_each_text_in_those_before_it(seed):
    texts = random_texts(random.Random(seed), 60)
    found = [literal_count(texts[:place], [text]) for place, text in enumerate(texts)]
    expected = {part: sum(getattr(each, part) for each in found) for part in PARTS}
    assert count_repetitions(texts) == Overlap(**expected)
    assert expected["exact"]
    assert expected["near"]


def test_the_constants_are_those_of_the_literal_definition():
    assert (RUN, NEAR_SHARE) == (8, 0.8)


@pytest.mark.parametrize(
    "copy",
    [
        SENTENCE,
        SENTENCE.upper(),
        f"  {SENTENCE.replace(' ', chr(0xA0))}…!\n",  # no-break spaces
        SENTENCE.replace("quiet film", "quiet, “film” --"),
        "".join(chr(ord(c) + 0xFEE0) if c.isalpha() else c for c in SENTENCE),  # full width
    ],
)
def test_case_punctuation_and_encoding_make_no_other_text(copy):
    assert kinds([copy], [SENTENCE]) == (1, 0)


def test_words_split_by_a_tokenizer_and_accents_in_two_parts_are_the_same_text():
    assert kinds(["You can't like the Café."], ["you ca n't like the cafe\u0301 ."]) == (1, 0)


@pytest.mark.parametrize(
    ("train", "evaluation"), [("की", "का"), ("👍", "👎"), ("?!", "..."), ("naïve", "naive")]
)
def test_other_letters_vowel_signs_symbols_and_marks_are_other_texts(train, evaluation):
    assert kinds([train], [evaluation]) == (0, 0)
    assert kinds([evaluation], [evaluation]) == (1, 0)


def test_planted_near_duplicates_are_found_and_a_third_of_a_text_is_none():
    words = SENTENCE.split()  # 16
    assert kinds([f"indeed, {SENTENCE}, he wrote"], [SENTENCE]) == (0, 1)
    assert kinds([" ".join(words[:8]), " ".join(words[8:])], [SENTENCE]) == (0, 1)
    assert kinds([" ".join(words[:13])], [SENTENCE]) == (0, 1)  # 13 of 16 are 81 %
    assert kinds([" ".join(words[:12])], [SENTENCE]) == (0, 0)  # 12 are 75 %
    assert kinds([" ".join([*words[:8], "or", *words[9:]])], [SENTENCE]) == (0, 0)  # 8 and 7


def test_a_text_shorter_than_a_run_is_found_as_a_whole_only():
    overlap = count(["he called it a must see for all ages"], ["a must see"])
    assert overlap == Overlap(examples=1, exact=0, near=0, short=1)
    assert kinds(["A must-see!"], ["a must see"]) == (1, 0)


def test_both_texts_of_a_pair_count():
    train = Dataset.from_dict({"text": ["it rains", "it snows"], "text_pair": ["it is wet"] * 2})
    test = Dataset.from_dict({"text": ["it rains", "it rains"], "text_pair": ["it is wet", "no"]})
    splits = {"train": train, "validation": train.select([1]), "test": test}
    overlaps = count_task_overlaps(splits)
    assert {split: found.exact for split, found in overlaps.items()} == {"validation": 1, "test": 1}
    assert count_corpus_overlaps(["it snows; it is wet"], splits)["validation"].exact == 1


def test_a_task_counts_its_overlaps_and_a_subset_its_own(tmp_path):
    rows = [f'{{"text": "text number {i}", "label": {i % 2}}}' for i in range(8)]
    (tmp_path / "train.jsonl").write_text("\n".join(rows))
    (tmp_path / "test.jsonl").write_text("\n".join(rows[:3] + rows[6:]))
    files = {"train": "train.jsonl", "test": "test.jsonl"}
    task = Task(data_files=files, validation_size=2, test_split="test")
    loaded = load_task(task, tmp_path)
    kept = [row.rpartition("/")[2] for row in loaded.splits["train"]["id"]]
    expected = len({"0", "1", "2", "6", "7"} & {*kept})
    assert loaded.facts.overlap == {
        "validation": Overlap(examples=2, exact=0, near=0, short=2),
        "test": Overlap(examples=5, exact=expected, near=0, short=5),
    }
    number = kept.index("6") if "6" in kept else kept.index("7")
    subset = loaded.with_train_rows(np.array([number]))
    assert subset.facts.overlap["test"].exact == 1


def test_a_large_training_set_is_read_in_seconds():
    rng = random.Random(0)
    vocabulary = [f"word{i}" for i in range(5000)]
    train = [" ".join(rng.choices(vocabulary, k=10)) for _ in range(67_000)]
    start = time.perf_counter()
    count(iter(train), train[:872])
    assert time.perf_counter() - start < 10  # 1 s; it would be minutes each against each


def test_a_corpus_is_compared_once_for_all_models_that_pretrain_on_it(
    write_recipe, tmp_path, rows, monkeypatch
):
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return count_corpus_overlaps(*arguments)

    monkeypatch.setattr(workbench, "count_corpus_overlaps", counted)
    lines = [row["text"].upper() for row in rows] + ["The last fifth of it is not trained on."] * 24
    (tmp_path / "book.txt").write_text("\n".join(lines))
    model = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
    pretrain = {"corpus": {"text_file": "book.txt", "cut": "rows"}}
    models = [{"name": name, **model, "pretrain": pretrain} for name in ("one", "other")]
    models.append({"name": "fresh", **model})
    recipe = load_recipe(write_recipe(models=models))
    bench = Inputs(recipe, plan_comparison(recipe))
    one, other, fresh = map(bench.corpus_overlap, recipe.models)
    assert one["validation"].exact == one["validation"].examples == 24
    assert other is one
    assert fresh is None
    assert len(calls) == 1
