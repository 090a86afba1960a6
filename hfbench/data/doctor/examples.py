"""What examples show once they are read and split: classes, duplicates, groups, words, scripts."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any

import numpy as np

from hfbench.data.contamination import count_overlaps, count_repetitions
from hfbench.data.doctor.finding import Finding, percent, short, some
from hfbench.data.doctor.scripts import UNSPACED, count_letters, has_letters
from hfbench.data.groups import has_few_values
from hfbench.recipe.task import Task
from hfbench.recipe.types import ProblemType
from hfbench.records.data import Overlap

MISSING_WORDS = frozenset({"na", "n/a", "nan", "none", "null", "nil", "-", "?"})
"""What some write for a value that is not there, in lower case."""
_WORD = re.compile(r"\w\w+")  # of what scikit-learn's vectorizers count
_WHOLE = re.compile(r"-?\d+")
_DATE = re.compile(r"(19|20)\d\d-\d\d-\d\d([T ].*)?")
_FEW = 10  # examples of a class of which little can be said
_FAR, _NARROW = 5.0, 0.05
"""Mean or standard deviation of numbers to be predicted from which on, and the deviation below
which, a network that starts with outputs around 0 does not reach them at usual learning rates:
docs/your-data.md has a trial."""


@dataclass(frozen=True)
class Split:
    """Examples of a split, in columns of the same length."""

    texts: dict[str, Sequence[str]]
    """By the names that the columns have in the data."""
    labels: list[str]
    """Of a text with several all of them in one; of numbers to be predicted in what range each is.
    """
    rows: list[int]
    """Where each stood in the data."""
    others: dict[str, list[Any]] = field(default_factory=dict)
    """Columns that are neither text nor label."""
    label_sets: list[list[str]] | None = None
    """Where a text may have several."""
    numbers: np.ndarray | None = None
    """Of a regression, what is to be predicted, shape (examples,)."""

    @property
    def class_counts(self) -> Counter[str]:
        """Class -> examples that have it."""
        return Counter(self.labels if self.label_sets is None else chain(*self.label_sets))

    def joined(self) -> Sequence[str]:
        """A text an example: that of a pair is both."""
        if len(self.texts) == 1:
            return next(iter(self.texts.values()))
        return [" ".join(parts) for parts in zip(*self.texts.values(), strict=True)]


@dataclass(frozen=True)
class Examples:
    """The splits ``train``, ``validation`` and perhaps ``test``, or ``train`` alone."""

    task: Task
    kind: ProblemType
    splits: dict[str, Split]
    overlap: dict[str, Overlap] | None = None
    """Split -> how many of its examples are in train, if it was counted before."""

    @property
    def evaluated(self) -> dict[str, Split]:
        """All but ``train``."""
        return {name: split for name, split in self.splits.items() if name != "train"}

    @property
    def regrouping(self) -> str | None:
        """The key that keeps rows together, where hfbench parts them; given splits stay."""
        is_open = self.task.validation_split is None and self.task.group_column is None
        return "group_column" if is_open else None


Check = Callable[[Examples], Iterator[Finding]]


def check_classes(examples: Examples) -> Iterator[Finding]:
    """Classes that are rare, that are no classes, or that are numbers without names."""
    if examples.kind == "regression":
        return
    task, counts = examples.task, examples.splits["train"].class_counts
    if rare := {name: n for name, n in counts.items() if n < _FEW}:
        shown = some([f"{name!r} {n:,}" for name, n in sorted(rare.items(), key=lambda x: x[1])])
        yield Finding(
            "high" if task.validation_split is None and min(rare.values()) < 2 else "medium",
            "rare classes",
            f"classes with fewer than {_FEW} training examples: {len(rare)} of {len(counts)} "
            f"({shown}); of them little can be learned or said",
            "min_class_size",
        )
    if missing := [name for name in counts if name.strip().lower() in MISSING_WORDS]:
        yield Finding(
            "medium",
            "missing labels",
            f"{some(list(map(repr, missing)))} counts as a class (training examples: "
            f"{sum(counts[name] for name in missing):,}); if it says that there is no label, name "
            "it under `na_values`",
            "na_values",
        )
    if isinstance(task.label_column, str) and task.label_column in counts:
        yield Finding(
            "high",
            "header as class",
            f"a class is called {task.label_column!r} as its column is (training examples: "
            f"{counts[task.label_column]:,}): a header may stand among the rows",
            "header",
        )
    if counts and all(map(_WHOLE.fullmatch, counts)):
        yield Finding(
            "low",
            "class names",
            f"the classes are numbers ({some(sorted(counts, key=int))}); `label_names` gives them "
            "names in tables",
            "label_names",
        )
    name, most = counts.most_common(1)[0]
    is_single = examples.kind == "single_label_classification"
    if is_single and len(counts) > 1 and most >= 0.9 * counts.total():
        yield Finding(
            "medium",
            "balance",
            f"{percent(most, counts.total())} of the training examples are {name!r}: accuracy is "
            "as high without any model; look at macro F1",
        )


def check_order(examples: Examples) -> Iterator[Finding]:
    """Rows sorted by class, of which the first or the last are of a few classes only."""
    train, task = examples.splits["train"], examples.task
    ordered = [train.labels[place] for place in np.argsort(train.rows).tolist()]
    changes = sum(a != b for a, b in pairwise(ordered))
    classes, is_class = len(set(ordered)), examples.kind != "regression"
    if classes > 1 and changes < 2 * classes and len(ordered) >= 10 * classes:
        yield Finding(
            "high" if task.first else "low",
            "order",
            f"the training rows are sorted by {'class' if is_class else 'number'} ({changes + 1} "
            f"runs of {classes} {'classes' if is_class else 'ranges'}): `first` and `split: last` "
            "would take only some of them; mix the rows before",
            "first" if task.first else "split: last",
        )
    for column, values in train.others.items():
        if task.split == "last":
            continue
        if values and all(isinstance(value, str) and _DATE.fullmatch(value) for value in values):
            yield Finding(
                "low",
                "time",
                f"column {column!r} holds dates from {min(values)[:10]} to {max(values)[:10]}: "
                "with the rows in that order, `split: last` validates on the newest, as in use",
                "split: last",
            )


def check_scale(examples: Examples) -> Iterator[Finding]:
    """Numbers that are far from where a network starts, or nearly all the same to it."""
    numbers = examples.splits["train"].numbers
    if numbers is None or not len(numbers):
        return
    mean, sd = float(numbers.mean()), float(numbers.std())
    found = f"the numbers to be predicted have the mean {mean:.4g} and standard deviation {sd:.4g}"
    if max(abs(mean), sd) > _FAR or sd < _NARROW:
        unit = float(f"{sd:.1g}") or 1.0
        yield Finding(
            "high",
            "scale of numbers",
            f"{found}: a network starts with outputs around 0 that vary by about 1, learns them as "
            "they stand, and at usual learning rates does not get there; rescale the column before "
            f"(such as: subtract {mean:.3g}, divide by {unit:g}), and `target_range` with it",
        )


def check_label_noise(examples: Examples) -> Iterator[Finding]:
    """Equal texts with different labels, which no model can get right."""
    if examples.kind == "regression":  # two judgements of a text need not agree
        return
    train = examples.splits["train"]
    texts, total = train.joined(), len(train.labels)
    # hashes, since of a million texts the words would take more memory than they do themselves
    hashes = np.fromiter((hash(text.casefold().strip()) for text in texts), np.int64, total)
    _, text_of, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    rows: dict[int, list[int]] = defaultdict(list)
    for row in np.flatnonzero(counts[text_of] > 1).tolist():
        rows[int(text_of[row])].append(row)
    noisy = [group for group in rows.values() if len({train.labels[row] for row in group}) > 1]
    if noisy:
        number = sum(map(len, noisy))
        first = noisy[0]
        labels = " and ".join(sorted({repr(train.labels[row]) for row in first}))
        yield Finding(
            "high" if number >= 0.05 * total else "medium",
            "label noise",
            f"texts in train with different labels: {len(noisy):,} ({number:,} rows, "
            f"{percent(number, total)}), e.g. rows {some([train.rows[row] for row in first])}: "
            f"{short(texts[first[0]])} is {labels}",
        )


def check_overlap(examples: Examples) -> Iterator[Finding]:
    """Evaluation examples that are in train, too."""
    overlap = examples.overlap
    if overlap is None:
        texts = {name: split.joined() for name, split in examples.evaluated.items()}
        overlap = count_overlaps(examples.splits["train"].joined(), texts)
    for name, found in overlap.items():
        if both := found.exact + found.near:
            yield Finding(
                "high" if both >= 0.1 * found.examples else "medium",
                "overlap",
                f"{both:,} of {found.examples:,} {name} examples "
                f"({percent(both, found.examples)}) are in train, too: {found.exact:,} word for "
                f"word, {found.near:,} nearly",
                examples.regrouping,
            )


def check_repetitions(examples: Examples) -> Iterator[Finding]:
    """Examples that repeat another of the same split."""
    for name, split in examples.splits.items():
        found = count_repetitions(split.joined())
        if both := found.exact + found.near:
            yield Finding(
                "medium" if both >= 0.05 * found.examples else "low",
                "repetitions",
                f"{both:,} of {found.examples:,} {name} examples "
                f"({percent(both, found.examples)}) repeat one before them: {found.exact:,} word "
                f"for word, {found.near:,} nearly",
                examples.regrouping,
            )


def check_groups(examples: Examples) -> Iterator[Finding]:
    """Columns whose values come several times and are parted between train and another split.

    They matter where equal values say something of the label: rows of a person, of a document, of a
    premise. How much they do is the share of pairs of rows with one value that have one label, as
    against that of any two rows.
    """
    train = examples.splits["train"]
    columns: dict[str, Sequence[Any]] = dict(train.others)
    if len(train.texts) > 1:  # of one text, equal values are duplicates
        columns |= train.texts
    classes = len(set(train.labels))
    for column, values in columns.items():
        for name, split in examples.evaluated.items():
            held_out = {**split.others, **split.texts}.get(column)
            if held_out is None or not _may_be_groups([*values, *held_out], classes):
                continue
            known = set(values)
            parted = sum(value in known for value in held_out)
            if parted < 0.2 * len(held_out):
                continue
            labels = [*train.labels, *split.labels]
            pairs = list(zip([*values, *held_out], labels, strict=True))
            together, chance = _agreement(pairs)
            yield Finding(
                "high" if abs(together - chance) >= 0.15 else "medium",
                "groups",
                f"{parted:,} of {len(held_out):,} {name} examples share their {column!r} with "
                f"training examples; rows that share it have the same label in "
                f"{percent(together, 1)} of the cases, any two rows in {percent(chance, 1)}"
                + (f": give `group_column: {column}`" if examples.regrouping else ""),
                examples.regrouping,
            )


def check_words(examples: Examples) -> Iterator[Finding]:
    """Evaluation texts without any word of the training texts, and texts without words."""
    train = examples.splits["train"]
    known = {word for text in train.joined() for word in _words(text)}
    for name, split in examples.evaluated.items():
        texts = split.joined()
        unknown = sum(known.isdisjoint(_words(text)) for text in texts)
        if unknown >= 0.02 * len(texts):
            yield Finding(
                "medium",
                "unknown words",
                f"{unknown:,} of {len(texts):,} {name} examples ({percent(unknown, len(texts))}) "
                "have no word of the training texts: a control that counts words knows nothing of "
                "them",
            )
    texts = train.joined()
    if silent := sum(not has_letters(text) for text in texts):
        yield Finding(
            "medium" if silent >= 0.1 * len(texts) else "low",
            "no letters",
            f"{silent:,} of {len(texts):,} training texts have no letter and no digit, e.g. emoji "
            "alone",
        )


def check_scripts(examples: Examples) -> Iterator[Finding]:
    """Scripts that are evaluated and not trained, and scripts without spaces."""
    found = {name: count_letters(split.joined()) for name, split in examples.splits.items()}
    train = found["train"]
    total = sum(train.values()) or 1
    for name, letters_of in found.items():
        for script, count in letters_of.items():
            share = count / sum(letters_of.values())
            if share >= 0.1 and train.get(script, 0) < 0.01 * total:
                yield Finding(
                    "high",
                    "scripts",
                    f"{percent(share, 1)} of the letters of {name} are {script}, of train "
                    f"{percent(train.get(script, 0), total)}: another language than was trained?",
                )
    unspaced = sum(train.get(script, 0) for script in UNSPACED)
    if unspaced >= 0.3 * total:
        yield Finding(
            "medium",
            "no spaces",
            f"{percent(unspaced, total)} of the letters are of scripts without spaces between "
            "words: only exact duplicates are found, and a control must count characters",
        )


def check_values(examples: Examples) -> Iterator[Finding]:
    """Texts that are hardly texts."""
    for column, texts in examples.splits["train"].texts.items():
        if missing := sum(text.strip().lower() in MISSING_WORDS for text in texts):
            yield Finding(
                "medium",
                "missing texts",
                f"{missing:,} of {len(texts):,} training texts in {column!r} are a word for "
                "nothing (as NA or null), which counts as text; name it under `na_values` or "
                "remove the rows",
                "na_values",
            )
        if all(map(_WHOLE.fullmatch, texts)):
            yield Finding(
                "medium",
                "numbers as texts",
                f"each training text in {column!r} is a number: is it the column that is meant?",
                "text_column",
            )


QUICK: tuple[Check, ...] = (
    check_classes,
    check_order,
    check_label_noise,
    check_overlap,
    check_groups,
    check_scripts,
    check_scale,
)
"""Those that can find something of severity high; a comparison waits for them."""
CHECKS: tuple[Check, ...] = (*QUICK, check_words, check_values, check_repetitions)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _may_be_groups(values: list[Any], classes: int) -> bool:
    """Whether there are many values that come several times each, as those of persons do."""
    if not all(isinstance(value, (str, int)) for value in values):
        return False
    return not has_few_values(values, classes) and len(values) >= 1.5 * len(set(values))


def _agreement(pairs: list[tuple[Any, str]]) -> tuple[float, float]:
    """How often two rows with one value have one label, and how often any two rows have."""
    groups: dict[Any, Counter[str]] = defaultdict(Counter)
    for value, label in pairs:
        groups[value][label] += 1
    same = sum(n * (n - 1) for counts in groups.values() for n in counts.values())
    all_pairs = sum(counts.total() * (counts.total() - 1) for counts in groups.values())
    labels = Counter(label for _, label in pairs)
    any_two = sum(n * (n - 1) for n in labels.values())
    return same / all_pairs, any_two / (labels.total() * (labels.total() - 1))
