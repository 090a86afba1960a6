"""What in a results folder is not what was written, and setting it aside."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hfbench.errors import RecordError, UserError
from hfbench.records.consistency import contradiction, misfit
from hfbench.records.predictions import load_predictions
from hfbench.records.schema import Compared, FailedRecord, Record, TrainedRecord
from hfbench.records.store import ResultsFolder, folders_below


@dataclass(frozen=True)
class Damage:
    """A cell of which something is not what was written."""

    folder: ResultsFolder
    stem: str
    part: Literal["record", "weights"]
    """What is to be set aside; with a record go its predictions."""
    what: str
    """In words, naming the file."""

    def set_aside(self) -> Path:
        """Give it another name, which is returned, so that the cell runs again.

        Raises:
            OSError: if it cannot be moved.
        """
        if self.part == "record":
            return self.folder.set_record_aside(self.stem)
        return self.folder.set_weights_aside(self.stem)


def find_folders(results: Path) -> list[ResultsFolder]:
    """The results folder and those of its trials, or those of all recipes and tasks below it.

    Raises:
        UserError: if there is none.
    """
    folder = ResultsFolder(results)
    own = [folder, *folder.tuning] if folder.holds_records() else []
    if found := own or folders_below(results):
        return found
    raise UserError(f"{results}: no records here, nor in a folder below it")


def find_damage(folder: ResultsFolder) -> Iterator[Damage]:
    """Read every record, its predictions and its weights, and say what is not as it was written."""
    packed = folder.packed
    for stem in folder.stems:
        path = packed.path if packed else folder.record_path(stem)
        try:
            record = packed.record(stem) if packed else folder.record(stem)
            assert record is not None
            problem = _what_is_wrong_with(record, folder)
        except RecordError as error:
            problem = str(error)
        else:
            problem = problem and f"{path}: {problem}"
            if record.stem != stem:
                problem = f"{path}: is the record of {record.stem}"
        if problem:
            yield Damage(folder, stem, "record", problem)
        elif isinstance(record, TrainedRecord) and record.saved_weights:
            weights = folder.weights(record.stem)
            if weights.is_dir() and not folder.has_weights_of(record):
                said = f"{weights}: these are not the weights that were saved"
                yield Damage(folder, stem, "weights", said)


def _what_is_wrong_with(record: Record, folder: ResultsFolder) -> str | None:
    if isinstance(record, FailedRecord) and record.kind == "pretraining":
        return None
    if isinstance(record, (Compared, FailedRecord)) and (problem := contradiction(record)):
        return f"does not fit together: {problem}"
    if not isinstance(record, Compared):
        return None
    predictions = load_predictions(record, folder.path, record.task.evaluation_split)
    problem = misfit(record, predictions)
    return problem and f"the predictions have {problem}"
