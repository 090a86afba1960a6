"""Which columns of a file have what: as the recipe says, else as they are called."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hfbench.data.task import LoadedTask
from hfbench.errors import UserError, nearest
from hfbench.recipe.predictions import Predictions
from hfbench.recipe.task import Task

_ANSWERS = ("prediction", "predicted_label")
_SCORES = ("probabilities", "logits")


@dataclass(frozen=True)
class Columns:
    """The columns of a file of answers."""

    id: str | None
    texts: list[str]
    """Of which the text is made; empty where rows are known by their id."""
    labels: str | None
    """Of the answers, where they are no scores."""
    scores: list[str]
    """One for each class in their order, or one column with all; empty where there are labels."""
    says: str | None
    """Whether they are ``probabilities`` or ``logits``, where the recipe or a name says so."""
    inferred: list[str]
    """What was found in the file, in words."""
    may_be_labels: bool
    """Whether the answers stand in a column that is called as the data set's own labels."""

    @property
    def names(self) -> list[str]:
        """All of them."""
        return [*([self.id] if self.id else self.texts), *self.answers]

    @property
    def answers(self) -> list[str]:
        """Those that hold the answer."""
        return [self.labels] if self.labels else self.scores


def find_columns(
    entry: Predictions, where: str, columns: Mapping[str, Any], task: Task, loaded: LoadedTask
) -> Columns:
    """As ``entry`` says, else as the columns are called.

    Raises:
        UserError: if one is not there, or none can be found.
    """
    inferred: list[str] = []
    known = list(columns)
    _refuse_missing(_named(entry), where, known)
    if entry.seed_column is None and "seed" in columns:
        raise UserError(
            f"{where}: there is a column 'seed': give `seed_column: seed` if it tells runs apart, "
            "otherwise leave it out of the file"
        )
    ids, texts = _rows_known_by(entry, where, known, task)
    scores, says = _score_columns(entry, where, known, loaded, inferred)
    labels, may_be_labels = entry.label_column, False
    if not scores and labels is None:
        own = task.label_columns[0]
        labels = next((name for name in (*_ANSWERS, own) if name in columns), None)
        may_be_labels = labels == own and own not in _ANSWERS
        if labels is None:
            raise UserError(
                f"{where}: no column has the answers (columns: {', '.join(known)}); give "
                "`label_column`, or `score_columns` with a score for each class"
            )
        inferred.append(f"answers from column {labels!r}")
    return Columns(ids, texts, labels, scores, says, inferred, may_be_labels)


def _named(entry: Predictions) -> dict[str, str]:
    """Column -> the key that names it."""
    found: dict[str, str] = {}
    for key in ("id_column", "text_column", "label_column", "score_columns", "seed_column"):
        value = getattr(entry, key)
        names = value.values() if isinstance(value, dict) else value
        for name in [names] if isinstance(names, str) else names or []:
            found[name] = key
    return found


def _refuse_missing(named: Mapping[str, str], where: str, known: list[str]) -> None:
    for name, key in named.items():
        if name not in known:
            raise UserError(
                f"{where}: {key}: no column {name!r}{nearest(name, known)} (columns: "
                f"{', '.join(known)})"
            )


def _rows_known_by(
    entry: Predictions, where: str, known: list[str], task: Task
) -> tuple[str | None, list[str]]:
    if entry.id_column:
        return entry.id_column, []
    if entry.text_column:
        given = entry.text_column
        return None, [given] if isinstance(given, str) else given
    if "id" in known:
        return "id", []
    own = task.text_columns
    texts = own if set(own) <= set(known) else ["text"] if "text" in known else []
    if not texts:
        raise UserError(
            f"{where}: no column says which example a row answers (columns: {', '.join(known)}); "
            "give `id_column` or `text_column`"
        )
    return None, texts


def _score_columns(
    entry: Predictions, where: str, known: list[str], loaded: LoadedTask, inferred: list[str]
) -> tuple[list[str], str | None]:
    """The columns with scores, and what they are called as."""
    classes, given = loaded.facts.labels, entry.score_columns
    if loaded.facts.problem_type == "regression":
        if given is not None or entry.scores is not None:
            raise UserError(
                f"{where}: score_columns and scores have no meaning for regression, whose answers "
                "are numbers: give `label_column`"
            )
        return [], None
    if isinstance(given, dict):
        _refuse_other_classes(given, where, classes)
        return [given[name] for name in classes], entry.scores
    if given is not None:
        names = [given] if isinstance(given, str) else given
        if len(names) not in (1, len(classes)):
            raise UserError(
                f"{where}: score_columns names {len(names)} columns, and there are {len(classes)} "
                f"classes ({', '.join(classes[:20])})"
            )
        says = names[0] if len(names) == 1 and names[0] in _SCORES else None
        return names, entry.scores or says
    if entry.label_column is not None:
        return [], None
    if set(classes) <= set(known):
        inferred.append("scores from the columns that are called as the classes")
        return list(classes), entry.scores
    for name in _SCORES:
        if name in known:
            inferred.append(f"scores from column {name!r}")
            return [name], entry.scores or name
    if entry.scores:
        raise UserError(
            f"{where}: no columns are called as the classes ({', '.join(classes[:20])}), nor one "
            f"{' or '.join(_SCORES)}; give `score_columns`"
        )
    return [], None


def _refuse_other_classes(given: Iterable[str], where: str, classes: list[str]) -> None:
    given = set(given)
    if given != set(classes):
        others = sorted(given - set(classes)) or sorted(set(classes) - given)
        problem = "is no class" if given - set(classes) else "has no column"
        raise UserError(
            f"{where}: score_columns: {others[0]!r} {problem} (classes: {', '.join(classes[:20])})"
        )
