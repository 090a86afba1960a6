"""The verb `hfbench init`: from data to a recipe that runs."""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hfbench.cli.draft import Facts, checkpoints, draft
from hfbench.errors import UserError
from hfbench.system.terminal import note, show, tell

if TYPE_CHECKING:
    from hfbench.data.doctor import Diagnosis
    from hfbench.recipe.schema import Recipe

_VALIDATION = ("validation", "valid", "val", "dev")
_TEST = ("test",)
_SECONDS = 5.0
"""For the Hub to say whether it has a checkpoint."""
_MANY_ROWS = 50_000


def init(
    data: Annotated[
        str,
        typer.Argument(
            help="A csv, tsv, json, jsonl or parquet file, or a data set of the Hub.",
            metavar="FILE|USER/NAME",
        ),
    ],
    keys: Annotated[
        list[str] | None,
        typer.Argument(
            help="Keys of the task that are known, e.g. text_column=review or dataset_config=sst2.",
            metavar="[KEY=VALUE]...",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="The recipe to write, by default NAME.yaml here.", metavar="RECIPE"),
    ] = None,
) -> None:
    """Look at data and write a commented recipe for them, with rivals that fit this machine."""
    name = re.sub(r"[^\w.-]+", "-", Path(data).name.partition(".")[0]).strip("-.") or "data"
    path = output or Path(f"{name}.yaml")
    if path.exists():
        raise UserError(f"{path} is there already: name another by --output")
    if not path.parent.is_dir():
        raise UserError(f"--output {path}: there is no folder {str(path.parent)!r}")
    note(f"{data}: loading ...")
    doctor = logging.getLogger("hfbench.data")
    doctor.setLevel(logging.ERROR)  # what it warns of stands in the recipe
    try:
        written = _Draft(data, keys or [], path)
        text = written.text()
    finally:
        doctor.setLevel(logging.NOTSET)
    from hfbench.system.files import atomic, writing

    with writing(str(path)), atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    show(written.summary())
    show(f"Written: {path}. Next: `hfbench compare {path}`")
    tell({"recipe": path, "task": written.task, "notes": written.notes, "cost": written.cost})


class _Draft:
    """What is found step by step."""

    def __init__(self, data: str, keys: Sequence[str], path: Path) -> None:
        from hfbench.recipe.load import parse_override
        from hfbench.system.quiet import quiet_libraries

        quiet_libraries()
        self.data, self.path, self.name = data, path, path.stem
        self.given: dict[str, Any] = dict(parse_override(key) for key in keys)
        self.cost: str | None = None
        self.notes: list[str] = []
        source, splits = self._read()
        self.task = {**source, **self._guess(splits["train"]), **self._splits(splits)}
        self.task |= self.given
        self.found = self._diagnose()
        self._heed()
        self.facts = self._facts()

    def text(self) -> str:
        """The recipe, which was read once as `hfbench plan` reads it."""
        recipe = self._parse(draft(self.facts, self.data))
        self.cost = _cost(recipe)
        return draft(self.facts, self.data, self.cost)

    def summary(self) -> str:
        """What was found, for a person."""
        facts, label = self.facts, self.task["label_column"]
        what = {
            "single_label_classification": f"one of {facts.classes:,} classes",
            "multi_label_classification": "any number of labels",
            "regression": "a number",
        }[facts.kind]
        text = self.task.get("text") or self.task["text_column"]
        lines = [
            f"text: {_names(text)}; label: {_names(label)}, {what}; "
            f"{facts.train_rows:,} rows to train on",
            *self.notes,
            f"cost: {self.cost}",
        ]
        return "\n".join(lines)

    def _read(self) -> tuple[dict[str, Any], Mapping[str, Mapping[str, Sequence[Any]]]]:
        """Keys that say where the data are, and the columns of each split."""
        from hfbench.data.named import load_named
        from hfbench.data.sources import load_columns

        place = Path(self.data)
        if not place.exists() and place.suffix.lower() in (".csv", ".tsv", ".json", ".jsonl"):
            raise UserError(f"there is no file {self.data!r}")
        if place.exists():
            task = self._task({"data_files": {"train": str(place.resolve())}})
            files = {"train": place, **_siblings(place)}
            columns = {
                split: load_columns(_data_file(file, split, task.encoding), task)
                for split, file in files.items()
            }
            base = self.path.resolve().parent
            names = {split: os.path.relpath(file.resolve(), base) for split, file in files.items()}
            return {"data_files": {s: Path(n).as_posix() for s, n in names.items()}}, columns
        from hfbench.system.hub import resolve_revision

        task = self._task({"dataset_name": self.data})
        commit = resolve_revision(self.data, task.revision, "dataset", "the data set")
        loaded = load_named(task, commit)
        columns = {
            split: {
                name: [value for part in parts for value in _values(part, name)]
                for name in parts[0].column_names
            }
            for split, parts in loaded.items()
        }
        if "train" not in columns:
            raise UserError(f"{self.data} has no split 'train', but {', '.join(columns)}")
        source = {"dataset_name": self.data, "revision": commit}
        return {key: value for key, value in source.items() if value}, columns

    def _task(self, source: dict[str, Any]) -> Any:
        from hfbench.recipe.load import check_recipe

        reading = {
            key: value
            for key, value in self.given.items()
            if key
            in ("dataset_config", "revision", "encoding", "sep", "quoting", "header",
                "column_names", "na_values")
        }  # fmt: skip
        values = {
            "name": self.name,
            "task": {**source, **reading, "validation_size": 0.25},
            "models": [{"name": "floor", "control": "majority"}],
        }
        return check_recipe(values, [], self.path).task

    def _guess(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        from hfbench.data.guess import guess

        found = guess(columns)
        named = {"label_column"} <= self.given.keys() and (
            self.given.keys() & {"text_column", "text"}
        )
        if found is None and not named:
            raise UserError(
                f"{self.data}: no two columns look like text and label ({', '.join(columns)}): say "
                "which, as in `text_column=review label_column=stars`"
            )
        if found is None:
            return {}
        keys = found.keys
        if "label_column" in self.given:  # what was guessed of another column does not hold
            chosen = self.given["label_column"]
            own = guess({"": ["a b c"] * 2, "label": columns.get(str(chosen), [])})
            keys.pop("label_separator", None)
            keys.pop("problem_type")
            keys |= own.keys if own and isinstance(chosen, str) else {}
        else:
            self.notes += found.notes
        if "text" in self.given:
            keys.pop("text_column")
        return keys

    def _splits(self, columns: Mapping[str, Mapping[str, Sequence[Any]]]) -> dict[str, Any]:
        label = self.given.get("label_column")
        splits: dict[str, Any] = {}
        validation = next((name for name in _VALIDATION if name in columns), None)
        test = next((name for name in _TEST if name in columns), None)
        if test and _unlabelled(columns[test], label):
            test = None
        if validation is None or "folds" in self.given or "validation_size" in self.given:
            if "folds" not in self.given:
                splits["validation_size"] = 0.2
        else:
            splits["validation_split"] = validation
        if test and "folds" not in self.given:
            splits["test_split"] = test
        return splits

    def _diagnose(self) -> "Diagnosis":
        from hfbench.data.doctor import diagnose

        values = {
            "name": self.name,
            "task": self.task,
            "models": [{"name": "floor", "control": "majority"}],
        }
        from hfbench.recipe.load import check_recipe

        found = diagnose(self.data, check_recipe(values, [], self.path))
        if found.refusal:
            raise UserError(
                f"{found.refusal}\n`hfbench data {self.data}` tells more; keys that are known are "
                "given behind it, as in `text_column=review`"
            )
        return found

    def _heed(self) -> None:
        """Take from the findings what belongs into the recipe."""
        for finding in self.found.findings:
            if finding.severity == "low" or finding.check == "title":
                continue
            self.notes.append(f"{finding.severity}: {finding.sentence}")

    def _facts(self) -> Facts:
        from hfbench.system.launch import usable_cores, visible_gpus

        train = self.found.splits["train"]
        letters = sum(train.letters.values())
        is_latin = train.letters.get("LATIN", 0) >= 0.8 * letters
        lengths = [one.characters[1] for one in train.lengths.values()]
        gpus = len(visible_gpus())
        if train.examples > _MANY_ROWS and not gpus and "first" not in self.given:
            self.task["first"] = _MANY_ROWS
            self.notes.append(
                f"of {train.examples:,} rows the first {_MANY_ROWS:,} are taken, for this machine "
                "has no GPU: see the key `first`"
            )
        return Facts(
            name=self.name,
            task=self.task,
            kind=self.task.get("problem_type") or "single_label_classification",
            train_rows=min(train.examples, self.task.get("first", train.examples)),
            classes=len(train.classes),
            # a small vocabulary has short tokens; positions that no text needs cost next to nothing
            tokens=max(8, sum(lengths) // 2),
            is_latin=is_latin,
            gpus=gpus,
            cores=usable_cores(),
            reachable=_reachable(checkpoints(is_latin, gpus)),
            notes=self.notes,
            groups=_groups(self.found),
        )

    def _parse(self, text: str) -> "Recipe":
        from hfbench.recipe.load import parse_recipe

        return parse_recipe(text, self.path)


def _cost(recipe: "Recipe") -> str:
    """As `hfbench plan` tells it."""
    from hfbench.execution.jobs import choose_jobs
    from hfbench.execution.survey import cells_to_look_at
    from hfbench.execution.tasks import load_inputs
    from hfbench.execution.timing import expect, forecast

    cells = cells_to_look_at(recipe, only_pretraining=False)
    inputs = load_inputs(recipe, cells)
    able = [cell for cell in cells if cell.model.name not in inputs.of(cell).refused]
    expected = expect(able, inputs, [])
    return forecast(list(expected.values()), choose_jobs(None, able, inputs))


def _siblings(place: Path) -> dict[str, Path]:
    """Of a file called train.csv what lies beside it as validation and test."""
    stem, _, endings = place.name.partition(".")
    if stem.lower() != "train":
        return {}
    beside = {path.name.lower(): path for path in place.parent.iterdir() if path.is_file()}
    found = {}
    for names, split in ((_VALIDATION, "validation"), (_TEST, "test")):
        paths = [beside[key] for name in names if (key := f"{name}.{endings}".lower()) in beside]
        if paths:
            found[split] = paths[0]
    return found


def _data_file(path: Path, split: str, encoding: str | None) -> Any:
    from hfbench.data.files import DataFile

    return DataFile(path, f"task.data_files.{split}", encoding)


def _values(part: Any, name: str) -> Sequence[Any]:
    import pyarrow as pa

    return part[name].to_pylist() if isinstance(part, pa.Table) else part[name][:]


def _unlabelled(columns: Mapping[str, Sequence[Any]], label: Any) -> bool:
    """Whether the labels of a split are kept back, as those of GLUE's test splits are: all -1."""
    names = [label] if isinstance(label, str) else [n for n in columns if "label" in n.lower()]
    return any({str(value) for value in columns.get(name, [])} <= {"-1", "", "None"}
               for name in names)  # fmt: skip


def _groups(found: "Diagnosis") -> str | None:
    for finding in found.findings:
        if finding.check == "groups" and (named := re.search(r"their '([^']+)'", finding.sentence)):
            return named[1]
    return None


def _reachable(names: Sequence[str]) -> dict[str, str | None]:
    """Those that the Hub, a mirror or the cache has, with the commit of each."""
    import huggingface_hub

    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = huggingface_hub.HfApi().model_info(name, timeout=_SECONDS).sha
        except Exception:  # whatever the way to the Hub raises: then the cache has it or nobody
            cached = huggingface_hub.try_to_load_from_cache(name, "config.json")
            if isinstance(cached, str):
                found[name] = Path(cached).parent.name
    return found


def _names(column: str | list[str]) -> str:
    return column if isinstance(column, str) else " and ".join(column)
