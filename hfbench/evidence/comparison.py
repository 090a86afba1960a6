"""Records -> the comparison: what may be asked of it as a whole. No torch here."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hfbench.errors import RecordError, UserError, nearest
from hfbench.evidence.compared import ComparedModels, Pair
from hfbench.evidence.fairness import refuse_different_examples, unlike
from hfbench.evidence.findings import Findings
from hfbench.evidence.folds import whole_runs
from hfbench.evidence.latex import as_latex
from hfbench.evidence.model_runs import by_model
from hfbench.evidence.rows import all_values
from hfbench.evidence.standing import stand
from hfbench.evidence.table import as_markdown
from hfbench.evidence.tuning import find_tuning
from hfbench.evidence.words import enumerate_names, few_names
from hfbench.metrics.registry import METRICS
from hfbench.records.asked import Asked, load_asked
from hfbench.records.consistency import contradiction
from hfbench.records.record_file import WHAT_TO_DO
from hfbench.records.schema import Compared, FailedRecord, Record
from hfbench.records.store import ResultsFolder, load_records

if TYPE_CHECKING:
    import pandas as pd

    from hfbench.evidence.decision import Decision, Prefer
    from hfbench.evidence.notebook import ComparisonPlots


class Comparison(ComparedModels):
    """A comparison of models, from its records alone."""

    def __repr__(self) -> str:
        """In a line; the table is `to_markdown`, or what a notebook shows."""
        source = f" on {self.task.source}" if self.task else ""
        said = f"; may be the best: {few_names(self.best())}" if self.best_set else ""
        return f"<Comparison {self.recipe}: {len(self.models)} models{source}{said}>"

    def _repr_html_(self) -> str:
        """As a notebook shows it: the answer, the table and a chart."""
        from hfbench.evidence.notebook import as_html  # here: matplotlib

        return as_html(self)

    @property
    def plot(self) -> "ComparisonPlots":
        """Its figures: ``comparison.plot.accuracy()`` is matplotlib's Axes."""
        from hfbench.evidence.notebook import ComparisonPlots  # here: matplotlib

        return ComparisonPlots(self)

    def best(self) -> list[str]:
        """Names of the models that may be the best, with 95 % confidence; the best result first.

        One name where a model is shown to be the best; empty where models answered different
        examples.
        """
        return [model.name for model in self.finished if model.name in self.best_set]

    def pair(self, first: str, second: str) -> Pair:
        """What is known of two models: by how much the first is better, and how sure that is.

        Its p-value and interval are for all pairs of the table together (Holm's method).

        Raises:
            UserError: if one has no result, or they answered different examples.
        """
        names = [model.name for model in self.finished]
        for name in (first, second):
            if name not in names:
                known = ", ".join(names)
                raise UserError(f"no model {name!r} has a result{nearest(name, names)} ({known})")
        for pair in self.pairs:
            if (pair.first.name, pair.second.name) == (first, second):
                return pair
            if (pair.second.name, pair.first.name) == (first, second):
                return Pair(pair.second, pair.first, -pair.difference)
        raise UserError(f"{first!r} and {second!r} are not two models of the same examples")

    def decide(self, margin: float, prefer: "Prefer" = "parameters") -> "Decision":
        """The cheapest model that is worse than the best by less than ``margin``, if at all.

        The arguments are those of `evidence.decision.decide`, where it stands how sure it is.
        """
        from hfbench.evidence.decision import decide

        return decide({"": self}, margin, prefer)

    def to_dataframe(self) -> "pd.DataFrame":
        """A row for each model, with the columns of the CSV file."""
        import pandas as pd  # here: tables are made without it

        return pd.DataFrame(all_values(Findings.of(self)))

    def to_markdown(self) -> str:
        """The page that `hfbench table` writes: the answer, all tables and their notes."""
        return as_markdown(Findings.of(self))

    def to_latex(self) -> str:
        """The first table, as `hfbench table` writes it; needs the package booktabs."""
        return as_latex(Findings.of(self))


def load_comparison(
    results: str | Path, *, different_examples: bool = False, measures: Sequence[str] = ()
) -> Comparison:
    """Compare the models of a results folder from its records alone.

    Where there is a learning curve, models are compared at its largest size.

    Args:
        results: the folder with ``records/``.
        different_examples: accept models that were evaluated on different examples; they stand
            beside each other and are not compared.
        measures: further ones that are wanted as columns.

    Raises:
        UserError: if no model was compared yet, or the models were evaluated on different examples.
        RecordError: if a record or its predictions cannot be read.
    """
    records = load_records(results)
    asked = load_asked(Path(results))
    return compare_records(
        records, Path(results), asked, different_examples=different_examples, measures=measures
    )


def compare_records(
    records: Sequence[Record],
    results: Path,
    asked: Sequence[Asked] = (),
    *,
    different_examples: bool = False,
    measures: Sequence[str] = (),
) -> Comparison:
    """As `load_comparison`, of some of the records in ``results``.

    Args:
        records: of compared models and of pretrainings.
        results: the folder that they are of.
        asked: what was asked, and when; the last counts. By default, which model is best.
        different_examples: see `load_comparison`.
        measures: see there.
    """
    compared = [record for record in records if record.kind != "pretraining"]
    if not compared:
        raise UserError(f"{results}: no model was compared yet; run `hfbench compare`")
    _refuse_mixture(compared, results)
    for record in compared:
        if problem := contradiction(record):
            raise RecordError(
                f"{results}: the record of {record.stem} does not fit together: {problem}; "
                f"{WHAT_TO_DO}"
            )
    compared, unfinished = whole_runs(compared)
    if not compared:
        raise UserError(f"{results}: no run has all of its folds yet; run `hfbench compare`")
    finished = [record for record in compared if isinstance(record, Compared)]
    for runs in by_model(finished).values() if different_examples else [finished]:
        refuse_different_examples(runs, results)
    sizes = sorted({r.train_size for r in compared if r.train_size is not None})
    question = asked[-1] if asked else Asked()
    _refuse_measures_of_modules(question, compared, results)
    question = question.model_copy(update={"metrics": [*question.metrics, *measures]})
    curve = {
        size: stand([r for r in compared if r.train_size == size], results, question)
        for size in sizes
    }
    shown = [r for r in compared if r.train_size is None]
    standing = stand(shown, results, question) if shown else curve[sizes[-1]]
    shown = [record for model in standing.models for record in [*model.finished, *model.failed]]
    comparison = Comparison(
        models=standing.models,
        pairs=standing.pairs,
        questions=standing.questions,
        best_set=standing.best_set,
        letters=standing.letters,
        recipe=compared[0].recipe,
        floors=standing.floors,
        table=standing.table,
        metric=standing.metric,
        columns=standing.columns,
        differences=unlike(shown),
        curve=curve if len(curve) > 1 else {},
        pretraining=[record for record in records if record.kind == "pretraining"],
        asked=list(asked),
        unfinished=unfinished,
    )
    return replace(comparison, tuning=find_tuning(comparison, ResultsFolder(results)))


def _refuse_measures_of_modules(
    question: Asked, records: Sequence[Compared | FailedRecord], results: Path
) -> None:
    """Of a measure that nobody has registered here, say what may register it.

    The modules that records name are not imported: results may be anybody's, and a module is code.
    """
    names = [name for name in (question.metric, *question.metrics) if name]
    unknown = [name for name in names if name.partition(":")[0] not in METRICS]
    modules = {module for record in records for module in record.settings.get("imports", [])}
    if not unknown:
        return
    options = "".join(f" --imports {module}" for module in sorted(modules) or ["MODULE"])
    whose = f"Its recipe imports {enumerate_names(sorted(modules))}, which" if modules else ""
    raise UserError(
        f"{results}: no measure {unknown[0]!r} is known here. {whose or 'A module of your own'} "
        f"may register it; that code runs only at your word: `hfbench{options}` and then the verb, "
        "or `import` in Python"
    )


def _refuse_mixture(records: Sequence[Compared | FailedRecord], results: Path) -> None:
    recipes = Counter(record.recipe for record in records)
    if len(recipes) > 1:
        found = ", ".join(f"{name!r} ({count:,})" for name, count in recipes.most_common(5))
        raise UserError(
            f"{results}: records of several recipes in one folder: {found}; give each its own"
        )
