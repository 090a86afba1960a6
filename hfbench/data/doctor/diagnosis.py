"""From a recipe or a file to findings: the flow."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset, Value

from hfbench.data.doctor.examples import CHECKS, MISSING_WORDS, QUICK, Examples, Split
from hfbench.data.doctor.files import FileFacts, ReadFile, can_read, is_delimited, read_file
from hfbench.data.doctor.finding import Finding, by_severity, short, some, worst
from hfbench.data.doctor.lengths import Cut, Lengths, count_cuts, measure
from hfbench.data.doctor.lengths import describe as describe_cuts
from hfbench.data.doctor.scripts import count_letters
from hfbench.data.files import find_files
from hfbench.data.tables import Texts, labels_of
from hfbench.errors import UserError
from hfbench.recipe.schema import Recipe
from hfbench.recipe.task import Task
from hfbench.recipe.types import ProblemType

if TYPE_CHECKING:
    from hfbench.data.task import LoadedTask


_KINDS_OF_LABEL: dict[ProblemType, str] = {
    "single_label_classification": "classes",
    "multi_label_classification": "labels",
    "regression": "ranges",
}


@dataclass(frozen=True)
class SplitFacts:
    """A split in numbers."""

    examples: int
    classes: dict[str, int]
    """Class -> examples, the most frequent first."""
    lengths: dict[str, Lengths]
    """By text column."""
    kinds_of_label: str
    """What ``classes`` are: classes, labels, or ranges of numbers."""
    letters: dict[str, int]
    """Script -> letters, the most frequent first."""


@dataclass
class Diagnosis:
    """All that the doctor has to say."""

    target: str
    files: dict[str, list[FileFacts]] = field(default_factory=dict)
    """By split, in the order in which they are read."""
    types: dict[str, dict[str, str]] = field(default_factory=dict)
    """Split -> column -> what its values are, of the split's files."""
    refusal: str | None = None
    """Why a comparison would not take these data."""
    splits: dict[str, SplitFacts] = field(default_factory=dict)
    """As a comparison would see them; as they stand in the files, where it would not take them."""
    cuts: list[Cut] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    """The worst first."""


def diagnose(target: str, recipe: Recipe) -> Diagnosis:
    """Read the data of ``recipe``, which has a task, and say what is odd about them.

    Args:
        target: what was asked for, to be said again.
        recipe: its task is read; of its models, only the files that are here are looked at.
    """
    from hfbench.data.task import load_task

    task = recipe.task
    assert task
    found = Diagnosis(target)
    examples: Examples | None
    columns: Mapping[str, Mapping[str, list[Any]]] = {}
    try:
        read = _read_files(task, recipe.folder)
        columns = {split: _columns(files) for split, files in read.items()}
        for split, files in read.items():
            found.files[split] = [file.facts for file in files]
            found.findings += [finding for file in files for finding in file.findings]
            found.types[split] = {name: describe_type(v) for name, v in columns[split].items()}
        loaded = load_task(task, recipe.folder)
    except UserError as error:
        found.refusal = str(error)
        said = f"hfbench refuses: {error}"
        found.findings.append(Finding("high", "refused", said, _cure(str(error))))
        examples = _as_they_stand(task, columns)
    else:
        if task.dataset_name:
            columns = _other_columns(loaded, task, recipe.folder)
            found.types = {
                split: {name: describe_type(values) for name, values in of_split.items()}
                for split, of_split in columns.items()
            }
        found.findings += _compare_readings(loaded, task, columns)
        examples = _as_loaded(task, loaded, columns)
    if examples:
        found.splits = {
            name: _facts(split, examples.kind) for name, split in examples.splits.items()
        }
        found.findings += [finding for check in CHECKS for finding in check(examples)]
        found.cuts = count_cuts(examples.splits["train"].joined(), recipe)
        found.findings += describe_cuts(found.cuts, recipe)
    if task.data_files and not task.title:
        found.findings.append(
            Finding(
                "low",
                "title",
                f"tables call these data {task.source!r}; `title` gives them a name",
                "title",
            )
        )
    found.findings = by_severity(found.findings)
    return found


def alarms(task: Task, loaded: "LoadedTask", folder: Path) -> list[Finding]:
    """The findings of severity high, of data that a comparison has loaded; within a second.

    The rows of files are read once more, unless these can be read in one way only, and nothing
    stands in them but texts and labels.
    """
    files = chain.from_iterable(find_files(task, folder).values())
    tells_more = loaded.other_columns or any(map(is_delimited, files))
    read = _read_files(task, folder, skipped=task.text_columns) if tells_more else {}
    columns = {split: _columns(files) for split, files in read.items()}
    if task.dataset_name:
        columns = _other_columns(loaded, task, folder)
    examples = _as_loaded(task, loaded, columns)
    found = [finding for files in read.values() for file in files for finding in file.findings]
    return worst([*found, *(finding for check in QUICK for finding in check(examples))])


def guess_columns(columns: Mapping[str, Sequence[Any]]) -> tuple[str, str] | None:
    """The columns that are likeliest the text and the label; None if there are not two.

    Called text and label; else the longest values, and of the others those with the fewest
    different ones.
    """
    names = list(columns)
    if len(names) < 2:
        return None
    text = "text" if "text" in names else max(names, key=lambda name: _characters(columns[name]))
    names.remove(text)
    if "label" in names:
        return text, "label"
    several = [name for name in names if _different(columns[name]) > 1]
    return text, min(several or names, key=lambda name: _different(columns[name]))


def describe_type(values: Sequence[Any]) -> str:
    """What the values of a column are, in a few words."""
    texts = [value for value in values if value not in (None, "")]
    missing = f", {len(values) - len(texts):,} empty" if len(texts) < len(values) else ""
    if not texts:
        return "empty"
    different = _different(texts)
    if not all(isinstance(value, str) for value in texts):
        kinds = sorted({type(value).__name__ for value in texts})
        return f"{' and '.join(kinds)} ({different:,} different{missing})"
    words = [value for value in texts if value.strip().lower() not in MISSING_WORDS]
    for name, pattern in (
        ("codes with leading zeros", r"\d*"),
        ("whole numbers", r"-?(0|[1-9]\d*)"),
        ("decimal numbers", r"-?\d+(\.\d+)?([eE][+-]?\d+)?"),
        ("dates", r"(19|20)\d\d-\d\d-\d\d.*"),
    ):
        if words and all(re.fullmatch(pattern, value) for value in words):
            if name.startswith("codes") and not any(re.match(r"0\d", value) for value in words):
                continue
            kind = name
            break
    else:
        kind = "words"
    nothing = f", {len(texts) - len(words):,} NA or the like" if len(words) < len(texts) else ""
    return f"{kind} ({different:,} different{missing}{nothing})"


def _cure(message: str) -> str | None:
    """The key that a message advises, or else the one that it is about."""
    advised = [key for key in re.findall(r"`(\w+)", message) if key in Task.model_fields]
    about = re.match(r"task\.(\w+)", message)
    return next(iter(advised), about[1] if about else None)


def _read_files(task: Task, folder: Path, skipped: Sequence[str] = ()) -> dict[str, list[ReadFile]]:
    """By split, of those that the task names and whose files can all be looked at."""
    wanted = (task.train_split, task.validation_split, task.test_split)
    return {
        split: [read_file(file, task, skipped) for file in files]
        for split, files in find_files(task, folder).items()
        if split in wanted and all(can_read(file, task) for file in files)
    }


def _other_columns(
    loaded: "LoadedTask", task: Task, folder: Path
) -> dict[str, dict[str, list[Any]]]:
    """Of a data set of the Hub, by split, the columns of words and numbers that are no texts."""
    from hfbench.data.sources import load_source

    source = load_source(task, folder, loaded.facts.revision)
    return {
        split: {
            name: source[split][name][:]
            for name, feature in source[split].features.items()
            if name not in (*task.text_columns, *task.label_columns)
            and isinstance(feature, Value)
            and (feature.dtype in ("string", "large_string") or "int" in feature.dtype)
        }
        for split in (task.train_split, task.validation_split, task.test_split)
        if split in source
    }


def _columns(files: list[ReadFile]) -> dict[str, list[Any]]:
    """Those that all files of a split have, one after another."""
    if len(files) == 1:
        return files[0].columns
    names = [name for name in files[0].columns if all(name in file.columns for file in files)]
    return {name: [value for file in files for value in file.columns[name]] for name in names}


def _compare_readings(
    loaded: "LoadedTask", task: Task, columns: Mapping[str, Mapping[str, list[Any]]]
) -> Iterator[Finding]:
    """Whether texts and classes of a comparison are those that stand in the files, row by row.

    Of texts that a template makes, only the classes are asked for.
    """
    text_columns = [] if task.text else task.text_columns
    others: list[tuple[str, Any, str]] = []
    compared = 0
    classes: set[tuple[Any, int]] = set()
    for data in loaded.splits.values():
        split, rows = _places(data)
        file = columns.get(split, {})
        for name, column in zip(("text", "text_pair"), text_columns, strict=False):
            if column not in file:
                continue
            compared += len(rows)
            for row, text in zip(rows, Texts(data, name), strict=True):
                there = file[column][row] if row < len(file[column]) else None
                others += [(f"{split}/{row}", there, text)] if there != text else []
        standing = file.get(task.label_columns[0], ())
        is_single = loaded.facts.problem_type == "single_label_classification"
        for row, label in zip(rows, data["label"][:], strict=True) if is_single else ():
            if row < len(standing) and isinstance(standing[row], (str, int, float)):
                classes.add((standing[row], label))
    if others:
        identity, there, text = others[0]
        yield Finding(
            "high",
            "other texts",
            f"{len(others):,} of {compared:,} texts are not those of the file: row {identity} is "
            f"read as {short(text)}, in the file it is {short(there) if there else 'none'}; say "
            "how the file is written: `quoting`, `sep`, `encoding`",
            "quoting",
        )
    standing_names = sorted({str(name) for name, _ in classes})
    read_names = [loaded.facts.labels[number] for number in sorted({n for _, n in classes})]
    if len(standing_names) != len(read_names):
        yield Finding(
            "high",
            "other classes",
            f"the {len(standing_names)} classes of the file ({some(standing_names)}) are read as "
            f"{len(read_names)} ({some(read_names)})",
            "label_column",
        )


def _as_loaded(
    task: Task, loaded: "LoadedTask", columns: Mapping[str, Mapping[str, list[Any]]]
) -> Examples:
    """The examples that a comparison sees, with the other columns of the files."""
    splits = {}
    facts = loaded.facts
    for role, data in loaded.splits.items():
        names = ["text"] if task.text else task.text_columns
        texts: dict[str, Sequence[str]] = {
            column: Texts(data, name)
            for name, column in zip(("text", "text_pair"), names, strict=False)
        }
        label_sets = numbers = None
        if facts.problem_type == "regression":
            numbers = labels_of(data)
            labels = _ranges(numbers, labels_of(loaded.splits["train"]))
        elif facts.problem_type == "multi_label_classification":
            label_sets = [list(compress(facts.labels, row)) for row in data["label"][:]]
            labels = [" + ".join(names) or "no label" for names in label_sets]
        else:
            labels = [facts.labels[label] for label in data["label"][:]]
        split, rows = _places(data)
        others = _others(task, columns.get(split, {}), rows)
        splits[role] = Split(texts, labels, rows, others, label_sets, numbers)
    return Examples(task, facts.problem_type, splits, facts.overlap)


def _ranges(numbers: np.ndarray, trained: np.ndarray) -> list[str]:
    """In which fifth of the training numbers each lies, in words."""
    edges = np.unique(np.quantile(trained, np.linspace(0, 1, 6)))
    places = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, len(edges) - 2)
    names = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges.tolist())]
    return [names[place] for place in places]


def _as_they_stand(task: Task, read: Mapping[str, Mapping[str, list[Any]]]) -> Examples | None:
    """The rows of the files that have text and label, of data that a comparison refuses."""
    splits = {}
    kind = task.said_problem_type or "single_label_classification"
    if kind != "single_label_classification":
        return None
    named = (task.train_split, task.validation_split, task.test_split)
    for role, name in zip(("train", "validation", "test"), named, strict=True):
        columns = read[name] if name and name in read else {}
        if not {*task.text_columns, *task.label_columns} <= set(columns):
            continue
        texts = [columns[column] for column in task.text_columns]
        labels = columns[task.label_columns[0]]
        rows = [
            row
            for row, label in enumerate(labels)
            if isinstance(label, (str, int, float)) and label != ""
            and all(isinstance(column[row], str) for column in texts)
        ]  # fmt: skip
        if rows:
            splits[role] = Split(
                {name: [columns[name][row] for row in rows] for name in task.text_columns},
                [str(labels[row]) for row in rows],
                rows,
                _others(task, columns, rows),
            )
    return Examples(task, kind, splits) if "train" in splits else None


def _places(data: Dataset) -> tuple[str, list[int]]:
    """From which split of the data the rows of a split come, and which rows they are."""
    ids = Texts(data, "id")
    return ids[0].rpartition("/")[0], [int(identity.rpartition("/")[2]) for identity in ids]


def _others(task: Task, columns: Mapping[str, list[Any]], rows: list[int]) -> dict[str, list[Any]]:
    """Of these rows the columns that are neither text nor label."""
    return {
        name: [values[row] for row in rows]
        for name, values in columns.items()
        if name not in (*task.text_columns, *task.label_columns) and max(rows) < len(values)
    }


def _facts(split: Split, kind: ProblemType) -> SplitFacts:
    return SplitFacts(
        len(split.labels),
        dict(split.class_counts.most_common()),
        {column: measure(texts) for column, texts in split.texts.items()},
        _KINDS_OF_LABEL[kind],
        count_letters(split.joined()),
    )


def _characters(values: Sequence[Any]) -> int:
    return sum(len(value) for value in values if isinstance(value, str))


def _different(values: Sequence[Any]) -> int:
    return len(set(map(repr, values)))
