"""Cross-validation: the runs of folds, taken together, are runs that answer every example."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hfbench.errors import RecordError
from hfbench.records.consistency import misfit
from hfbench.records.data import Overlap
from hfbench.records.predictions import load_all_predictions, load_predictions
from hfbench.records.record_file import WHAT_TO_DO
from hfbench.records.schema import (
    ClassificationRecord,
    Compared,
    ControlRecord,
    Curves,
    FailedRecord,
    ProbeRecord,
    TrainingFacts,
)

INFLATION = 1.5
"""By what the variance over examples is larger where models of overlapping training sets answer.

Answers of a fold have one training set in common, and training sets of different folds most of
their rows, so that answers are not independent; nothing within one data set tells how much that
matters (Bengio and Grandvalet 2004). Nadeau and Bengio (2003) take 1 + k / (k - 1) for k folds, 2.1
to 3, which is more than is needed; results/simulations/cross_validation.md has what holds."""


def inflation(folds: int | None) -> float:
    """The factor for so many folds; 1 without any."""
    return 1.0 if folds is None else INFLATION


def whole_runs(
    records: Sequence[Compared | FailedRecord],
) -> tuple[list[Compared | FailedRecord], dict[str, int]]:
    """Records of folds as one for each run, and others as they are.

    A run of which a fold failed has failed; one of which folds are missing is left out.

    Returns:
        The runs, and model -> how many of its runs lack folds.
    """
    runs: dict[tuple[Any, ...], list[Compared | FailedRecord]] = {}
    whole: list[Compared | FailedRecord] = []
    for record in records:
        if record.fold is None:
            whole.append(record)
        else:
            runs.setdefault((record.model, record.seed, *_partition(record)), []).append(record)
    unfinished: dict[str, int] = {}
    for (model, _, folds, _), parts in runs.items():
        failed = [part for part in parts if isinstance(part, FailedRecord)]
        finished = [part for part in parts if not isinstance(part, FailedRecord)]
        if failed:
            whole.append(failed[0])
        elif len(finished) < folds:
            unfinished[model] = unfinished.get(model, 0) + 1
        else:
            whole.append(_together(sorted(finished, key=lambda part: part.fold or 0)))
    return whole, unfinished


def _partition(record: Compared | FailedRecord) -> tuple[int, int]:
    """How many folds there are, and which repetition it is."""
    if isinstance(record, FailedRecord):
        folds = record.settings["task"]["folds"]["folds"]
    else:
        assert record.task.fold is not None  # see `consistency.contradiction`
        folds = record.task.fold.folds
    assert record.fold is not None
    return folds, (record.fold - 1) // folds


def _together(parts: list[Compared]) -> Compared:
    """One record of a run, from those of its folds; what each says alone are means or sums."""
    first = parts[0]
    fold = first.task.fold
    assert fold is not None
    train = fold.whole.model_copy(update={"examples": first.task.splits["train"].examples})
    split = first.task.evaluation_split
    splits = {"train": train, split: fold.whole}
    overlap = _sum_overlaps([part.task.overlap for part in parts], split)
    notes = dict.fromkeys(note for part in parts for note in part.model_facts.notes)
    changes: dict[str, Any] = {
        "fold": None,
        "task": first.task.model_copy(update={"splits": splits, "overlap": overlap}),
        "metrics": {split: {}},
        "model_facts": first.model_facts.model_copy(
            update={"notes": [*notes], "final_weights": None}
        ),
        "cell_seconds": float(np.mean([part.cell_seconds for part in parts])),
    }
    changes["corpus_overlap"] = _sum_overlaps([part.corpus_overlap for part in parts], split)
    trained = [part for part in parts if isinstance(part, ClassificationRecord)]
    if trained:
        changes["training"] = _mean_training([part.training for part in trained], split)
        changes["curves"] = _mean_curves([part.curves for part in trained])
        changes["not_recorded"] = {k: v for part in trained for k, v in part.not_recorded.items()}
    timed = [part.fit_seconds for part in parts if isinstance(part, ControlRecord | ProbeRecord)]
    if timed:
        changes["fit_seconds"] = float(np.mean(timed))
    fitted = [part for part in parts if isinstance(part, ControlRecord)]
    if fitted:
        unknown = [part.unknown_texts for part in fitted if part.unknown_texts is not None]
        changes["unknown_texts"] = _sum_parts(unknown) if len(unknown) == len(fitted) else None
    whole = first.model_copy(update=changes)
    whole._of_folds = list(parts)
    return whole


def _mean_training(parts: Sequence[TrainingFacts], split: str) -> TrainingFacts:
    """Of one training: the mean over folds, and of memory the highest; ``split`` is evaluated."""
    flops = [part.flops for part in parts if part.flops is not None]
    tokens = dict(parts[0].tokens)
    if all(split in part.tokens for part in parts):  # every example is evaluated once
        counts = [part.tokens[split] for part in parts]
        cut = [count.cut for count in counts if count.cut is not None]
        tokens[split] = counts[0].model_copy(
            update={
                "total": sum(count.total for count in counts),
                "truncated_examples": sum(count.truncated_examples for count in counts),
                "cut": sum(cut) if len(cut) == len(counts) else None,
            }
        )
    return parts[0].model_copy(
        update={
            "train_seconds": float(np.mean([part.train_seconds for part in parts])),
            "tokens_seen": round(np.mean([part.tokens_seen for part in parts])),
            "examples_seen": round(np.mean([part.examples_seen for part in parts])),
            "flops": round(np.mean(flops)) if len(flops) == len(parts) else None,
            "peak_memory_bytes": max(part.peak_memory_bytes for part in parts),
            "tokens": tokens,
        }
    )


def _mean_curves(parts: Sequence[Curves]) -> Curves:
    """Point by point, as far as all folds have one; what not all of them have is left out."""
    return {
        split: [
            {
                name: float(np.mean([point[name] for point in points]))
                for name in points[0]
                if all(name in point for point in points)
            }
            for points in zip(*(part.get(split, []) for part in parts), strict=False)
        ]
        for split in parts[0]
    }


def _sum_overlaps(
    parts: Iterable[dict[str, Overlap] | None], split: str
) -> dict[str, Overlap] | None:
    """Of the examples of all folds, each with the training examples of its own fold."""
    known = [part[split] for part in parts if part]
    if not known:
        return None

    def total(name: str) -> int | None:
        counts = [getattr(part, name) for part in known]
        return None if None in counts else sum(counts)

    names = ("examples", "exact", "near", "short", "groups")
    changes = {name: total(name) for name in names}
    pairs = _sum_parts([part.parts for part in known])
    return {split: known[0].model_copy(update={**changes, "parts": pairs})}


def _sum_parts(parts: Sequence[dict[str, int] | None]) -> dict[str, int] | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return {
        name: sum(part[name] for part in known)
        for name in known[0]
        if all(name in part for part in known)
    }


def load_run_predictions(
    records: Sequence[Compared], results: Path, split: str
) -> list[dict[str, np.ndarray]]:
    """As `load_all_predictions`, of runs that may be made of folds: in the order of the data.

    Raises:
        RecordError: also where predictions are not those of their record.
    """
    if not any(record._of_folds for record in records):
        found = load_all_predictions(records, results, split)
        for record, one in zip(records, found, strict=True):
            _refuse_misfit(record, one, results)
        return found
    return [_load_folds(record, results, split) for record in records]


def _load_folds(record: Compared, results: Path, split: str) -> dict[str, np.ndarray]:
    parts = []
    for part in record._of_folds or [record]:
        parts.append(load_predictions(part, results, split))
        _refuse_misfit(part, parts[-1], results)
    whole = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    order = np.array(sorted(range(len(whole["id"])), key=lambda n: _place(str(whole["id"][n]))))
    whole = {key: values[order] for key, values in whole.items()}
    _refuse_misfit(record, whole, results)
    return whole


def _place(identifier: str) -> tuple[str, int, str]:
    """Of ids as they should be, split and row."""
    split, _, row = identifier.rpartition("/")
    return split, int(row) if row.isdecimal() and len(row) < 19 else -1, row


def _refuse_misfit(record: Compared, predictions: dict[str, np.ndarray], results: Path) -> None:
    if problem := misfit(record, predictions):
        raise RecordError(
            f"{results}: the predictions of {record.stem} have {problem}; {WHAT_TO_DO}"
        )
