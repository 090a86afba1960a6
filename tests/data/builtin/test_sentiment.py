"""The synthetic sentiment task: its rules by hand-written examples, its splits by counting."""

import hashlib
import json
import re
from collections import Counter

import pytest
from scipy.stats import binom
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from hfbench.data.builtin import sentiment
from hfbench.data.builtin.sentiment import add, clause, contrast, quality


@pytest.fixture(scope="module")
def examples() -> dict[str, list[sentiment.Example]]:
    return sentiment.examples()


@pytest.fixture(scope="module")
def splits(examples) -> dict[str, list[tuple[str, int]]]:
    return {name: [(e.text, e.label) for e in rows] for name, rows in examples.items()}


@pytest.fixture(scope="module")
def unlabelled() -> list[str]:
    return sentiment.unlabelled()


def is_(aspect: str, word: str, degree: str | None = None) -> sentiment.Phrase:
    return clause("the {aspect} is {quality}", aspect, quality(word, degree))


# The rules, one by one.


def test_a_plain_clause_has_the_score_of_its_quality():
    assert is_("plot", "clever") == ("the plot is clever", 1.0)
    assert is_("plot", "dull") == ("the plot is dull", -1.0)
    assert is_("soup", "superb").score == 2.0
    assert is_("soup", "awful").score == -2.0


def test_degrees_change_the_strength_but_not_the_sign():
    assert is_("plot", "dull", "very") == ("the plot is very dull", -1.5)
    assert is_("plot", "dull", "somewhat") == ("the plot is somewhat dull", -0.5)


@pytest.mark.parametrize(
    ("frame", "word", "text", "score"),
    [
        ("the {aspect} is not {quality}", "superb", "the plot is not superb", -1.0),
        ("the {aspect} is hardly {quality}", "clever", "the plot is hardly clever", -0.5),
        (
            "the {aspect} is anything but {quality}",
            "clever",
            "the plot is anything but clever",
            -1.0,
        ),
        (
            "nobody could call the {aspect} {quality}",
            "dull",
            "nobody could call the plot dull",
            0.5,
        ),
        (
            "i do not think that the {aspect} is {quality}",
            "awful",
            "i do not think that the plot is awful",
            1.0,
        ),
        (
            "the {aspect} soon stopped being {quality}",
            "funny",
            "the plot soon stopped being funny",
            -0.5,
        ),
    ],
)
def test_a_denial_turns_the_sign(frame, word, text, score):
    assert clause(frame, "plot", quality(word)) == (text, score)


@pytest.mark.parametrize(
    ("frame", "word", "text", "score"),
    [
        (
            "the {aspect} never stops being {quality}",
            "funny",
            "the plot never stops being funny",
            1.5,
        ),
        (
            "nobody could deny that the {aspect} is {quality}",
            "dull",
            "nobody could deny that the plot is dull",
            -1.0,
        ),
    ],
)
def test_a_denied_denial_does_not_turn_the_sign(frame, word, text, score):
    assert clause(frame, "plot", quality(word)) == (text, score)


def test_not_only_but_also_adds_two_qualities_and_turns_nothing():
    frame = "the {aspect} is not only {quality} but also {second}"

    assert clause(frame, "plot", quality("dull"), quality("awful")) == (
        "the plot is not only dull but also awful",
        -3.0,
    )


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{loser} but {winner}", "the soup is superb but the fish is stale"),
        ("although {loser}, {winner}", "although the soup is superb, the fish is stale"),
        ("{winner}, although {loser}", "the fish is stale, although the soup is superb"),
    ],
)
def test_of_two_contrasted_clauses_the_stronger_may_lose(template, text):
    both = contrast(template, winner=is_("fish", "stale"), loser=is_("soup", "superb"))

    assert both == (text, -1.0)


def test_despite_takes_a_noun_phrase_that_loses():
    loser = clause("the {quality} {aspect}", "soup", quality("superb"))
    winner = clause("the {aspect} is not {quality}", "fish", quality("fresh"))

    assert contrast("despite {loser}, {winner}", winner, loser) == (
        "despite the superb soup, the fish is not fresh",
        -0.5,
    )


@pytest.mark.parametrize("joint", ["and", "while"])
def test_of_two_added_clauses_the_stronger_wins(joint):
    template = f"{{x}} {joint} {{y}}"

    assert add(template, is_("soup", "superb"), is_("fish", "stale")) == (
        f"the soup is superb {joint} the fish is stale",
        1.0,
    )
    assert add(template, is_("soup", "tasty", "fairly"), is_("fish", "stale")).score == -0.5
    assert add(template, is_("soup", "tasty"), is_("fish", "stale")).score == 0.0


# The drawn sentences, read back without the grammar's code.


def test_in_drawn_contrasts_the_winner_decides(examples):
    """Reads the plainest contrasts by a regular expression and the signs of two words."""
    half = r"the \w+ (?:is|seemed) (\w+)"
    forms = {
        rf"{half} but {half}": 1,
        rf"although {half}, {half}": 1,
        rf"{half}, although {half}": 0,
    }
    found = Counter()
    for example in (e for rows in examples.values() for e in rows):
        for form, winner in forms.items():
            if match := re.match(rf"{form}\.", example.text):
                words = match.groups()
                assert (example.score > 0) == is_positive(words[winner])
                assert is_positive(words[0]) != is_positive(words[1])
                found[form] += 1
    assert len(found) == len(forms)


def test_in_drawn_denials_the_sign_is_turned(examples):
    """Single clauses only: the whole sentence is one frame."""
    forms = {
        r"the \w+ is not (\w+)\.": False,
        r"the \w+ is anything but (\w+)\.": False,
        r"nobody could call the \w+ (\w+)\.": False,
        r"nobody could deny that the \w+ is (\w+)\.": True,
        r"the \w+ never stops being (\w+)\.": True,
        r"the \w+ is not only (\w+) but also \w+\.": True,
    }
    found = Counter()
    for example in (e for rows in examples.values() for e in rows):
        for form, is_kept in forms.items():
            if match := re.fullmatch(form, example.text):
                assert (example.score > 0) == (is_positive(match[1]) == is_kept), example.text
                found[form] += 1
    assert len(found) == len(forms)


def is_positive(word: str) -> bool:
    negative, positive = zip(*sentiment.MILD.values(), sentiment.STRONG, strict=True)
    assert any(word in group for group in negative + positive), word
    return any(word in group for group in positive)


def test_no_word_is_both_positive_and_negative():
    pairs = [*sentiment.MILD.values(), sentiment.STRONG]
    words = [word for pair in pairs for group in pair for word in group]

    assert len(words) == len(set(words)) == len(sentiment.STRENGTH)


def test_texts_are_short_lower_case_plainly_punctuated_and_not_repetitive(splits, unlabelled):
    texts = unlabelled + [text for rows in splits.values() for text, _ in rows]

    assert all(re.fullmatch(r"[a-z]+(,? [a-z]+|\. [a-z]+)*\.", text) for text in texts)
    assert not any(re.search(r"not only (\w+) but also \1\b", text) for text in texts)
    assert min(len(text.split()) for text in texts) >= 4
    assert max(len(text.split()) for text in texts) <= 30
    assert 150 <= len({word for text in texts for word in re.findall("[a-z]+", text)}) <= 500


# The splits.


def test_splits_have_their_sizes_and_share_no_text(splits, unlabelled):
    texts = [text for rows in splits.values() for text, _ in rows]

    assert {name: len(rows) for name, rows in splits.items()} == {
        "train": 3000,
        "validation": 500,
        "test": 1500,
    }
    assert len(unlabelled) == 8000
    assert len({*texts, *unlabelled}) == 5000 + 8000


@pytest.mark.parametrize(
    ("split", "positives"), [("train", 1635), ("validation", 272), ("test", 818)]
)
def test_positives_are_a_majority_of_54_5_percent(split, positives, splits):
    labels = Counter(label for _, label in splits[split])

    assert labels[sentiment.LABELS.index("positive")] == positives
    assert 0.53 <= positives / labels.total() <= 0.56


def test_both_labels_are_spread_over_a_split(splits):
    """The first rows of a split must be usable as a smaller split."""
    assert 0.45 < sum(label for _, label in splits["train"][:300]) / 300 < 0.64


def test_noise_is_5_percent_in_both_classes(examples):
    rows = [example for split in examples.values() for example in split]

    assert all(example.score != 0 for example in rows)
    for label in (0, 1):
        of_label = [example for example in rows if example.label == label]
        n_flipped = sum((example.score > 0) != bool(label) for example in of_label)
        assert 0.005 < binom.cdf(n_flipped, len(of_label), 0.05) < 0.995


def test_a_seed_gives_the_same_rows_twice_and_another_gives_others(splits):
    again, other = sentiment.splits(seed=0), sentiment.splits(seed=1)

    assert again == splits
    shared = {text for text, _ in other["test"]} & {text for text, _ in splits["test"]}
    assert len(shared) < 150


def test_a_smaller_unlabelled_list_begins_a_larger_one_and_follows_the_seed(unlabelled):
    assert sentiment.unlabelled(size=100) == unlabelled[:100]
    assert sentiment.unlabelled(size=100, seed=1) != unlabelled[:100]


# What the task is for.


def test_word_counts_beat_the_majority_but_do_not_suffice(splits):
    train_texts, train_labels = zip(*splits["train"], strict=True)
    test_texts, test_labels = zip(*splits["test"], strict=True)
    vectorizer = TfidfVectorizer(ngram_range=(1, 2))
    model = LogisticRegression(max_iter=1000)
    model.fit(vectorizer.fit_transform(train_texts), train_labels)

    accuracy = model.score(vectorizer.transform(test_texts), test_labels)

    majority = sum(test_labels) / len(test_labels)
    assert majority + 0.1 < accuracy < 0.78


def test_seed_0_is_pinned_so_that_results_stay_comparable(splits, unlabelled):
    """A change of this hash makes every recorded result on the task incomparable with new ones."""
    content = json.dumps({"splits": splits, "unlabelled": unlabelled}).encode()

    assert (
        hashlib.sha256(content).hexdigest()
        == "7edcf41b43a5d581455b61873bec29665309d19a8e6cb708030a60d1093ccc5f"
    )
