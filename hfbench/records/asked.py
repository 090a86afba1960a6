"""What a comparison was asked, and when: kept beside the records, before results are seen."""

import json
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hfbench.errors import RecordError
from hfbench.recipe.schema import Recipe
from hfbench.recipe.tuning import Tune
from hfbench.records.record_file import read_file, refuse_link
from hfbench.records.store import ResultsFolder
from hfbench.system.files import atomic, clear_unfinished, make_folder, writing


def _check_tune(values: dict[str, Any]) -> dict[str, Any]:
    Tune.model_validate(values)
    return values


class Asked(BaseModel):
    """The questions of a recipe at the time when it was compared."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    questions: list[tuple[str, str]] = Field(default=[], description="Pairs of models.")
    reference: str | None = Field(default=None, description="Each other model against this one.")
    margin: float | None = Field(default=None, gt=0, description="In units of the measure.")
    metric: str | None = Field(
        default=None, description="The measure by which models are ranked; null: the default."
    )
    metrics: list[str] = Field(default=[], description="Further measures that are columns.")
    seeds: list[int] = Field(default=[], description="Those that the recipe names.")
    looks: list[int] = Field(default=[], description="Seeds at each planned look; [] without.")
    tune: Annotated[dict[str, Any], AfterValidator(_check_tune)] | None = Field(
        default=None, description="How settings were to be chosen; null: they were not."
    )
    asked: str = Field(default="", description="When; ISO 8601, UTC.")
    finished: int = Field(default=0, description="Compared runs that had a result then.")

    @classmethod
    def by(cls, recipe: Recipe, finished: int = 0) -> "Asked":
        """By ``recipe``, now."""
        return cls(
            questions=[(first, second) for first, second in recipe.questions],
            reference=recipe.reference,
            margin=recipe.margin,
            metric=recipe.task.metric if recipe.task else None,
            metrics=recipe.task.metrics if recipe.task else [],
            seeds=recipe.seeds,
            looks=recipe.looks,
            tune=recipe.tune.model_dump(mode="json", exclude_none=True) if recipe.tune else None,
            asked=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            finished=finished,
        )

    @property
    def about_something(self) -> bool:
        """Whether it asks for more than which model is best."""
        return bool(self.questions or self.reference)

    def about(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """The pairs that are asked of models with these names."""
        names = list(names)
        pairs = [pair for pair in self.questions if {*pair} <= {*names}]
        if self.reference in names:
            pairs += [(name, self.reference) for name in names if name != self.reference]
        return list({frozenset(pair): pair for pair in reversed(pairs)}.values())[::-1]

    def waiting(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """The questions that models with these names cannot answer yet."""
        names = {*names}
        return [pair for pair in self.questions if not {*pair} <= names]

    def is_like(self, other: "Asked") -> bool:
        """Whether it asks the same, whenever."""
        ours = self.model_dump(exclude={"asked", "finished"})
        return ours == other.model_dump(exclude={"asked", "finished"})


def load_asked(folder: Path) -> list[Asked]:
    """Whatever was asked of the results in ``folder``, the first first; empty if nothing was kept.

    Raises:
        RecordError: if it cannot be read.
    """
    path = ResultsFolder(folder).asked_path
    refuse_link(path)
    if not path.exists():
        return []
    try:
        return TypeAdapter(list[Asked]).validate_json(read_file(path))
    except (OSError, ValidationError) as error:
        raise RecordError(f"{path}: not what a comparison was asked: {error}") from None


def keep_asked(folder: Path, recipe: Recipe) -> None:
    """Add what ``recipe`` asks, unless it was asked last.

    Raises:
        RecordError: if what was kept before cannot be read.
        StorageError: if it cannot be written.
    """
    before, place = load_asked(folder), ResultsFolder(folder)
    now = Asked.by(recipe, place.count_finished())
    if before and before[-1].is_like(now):
        return
    with writing(f"what {recipe.name} asks"):
        make_folder(folder)
        with place.lock("asked") as is_ours:
            if not is_ours:  # a process that shares the folder writes the same now
                return
            clear_unfinished(place.asked_path)
            with atomic(place.asked_path) as temporary:
                entries = [entry.model_dump(mode="json") for entry in [*before, now]]
                temporary.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
