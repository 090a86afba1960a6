"""Choose learning rate and epochs for each model of a recipe by the same small grid.

    python recipes/study/tune.py --config recipes/study/05_sst2.yaml --results-dir results/local

writes 05_sst2_tuned.yaml beside the recipe. Every trained model without settings of its own runs
with each pair of GRID, with seeds that the recipe does not use; of each, the pair with the highest
mean accuracy on the validation examples is taken. The test examples are not even loaded.
"""

import argparse
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from hfbench import compare, load_recipe, load_records, pretrain
from hfbench.cli.script import exit_on_user_error
from hfbench.errors import UserError
from hfbench.recipe.model import Model
from hfbench.recipe.schema import Recipe
from hfbench.records.schema import ClassificationRecord, Record
from hfbench.system.quiet import quiet_libraries

SEEDS = [1000, 1001, 1002]


@dataclass(frozen=True)
class Setting:
    """What is tuned, under the names of TrainingArguments."""

    learning_rate: float
    num_train_epochs: int

    def __str__(self) -> str:
        return f"lr{self.learning_rate:g}.epochs{self.num_train_epochs}"


# Around the study's 5e-4 and 50. Of settings that are equally good the first is taken.
GRID = [Setting(rate, epochs) for epochs in (10, 50) for rate in (5e-5, 5e-4, 5e-3)]

Accuracies = dict[Setting, float | None]
"""Mean accuracy on the validation examples, a fraction; None if a run failed."""


def tune(path: Path, results: Path) -> Path:
    """Run the grid for the recipe in ``path`` and write the chosen settings beside it.

    Raises:
        UserError: if the recipe uses a seed of the tuning, or if a model fails with every setting.
    """
    recipe = load_recipe(path)
    variants = variants_of(recipe)
    if any(model.pretrain for model in recipe.models):  # once; the variants then find it
        pretrain(recipe, results, jobs=None)
    outcome = compare(tuning_recipe(recipe, variants), results, jobs=None)
    measured = accuracies(load_records(outcome.folder), variants)
    tuned = path.with_name(f"{path.stem}_tuned.yaml")
    tuned.write_text(tuned_yaml(path, measured), encoding="utf-8")
    return tuned


def variants_of(recipe: Recipe) -> dict[str, tuple[Model, Setting]]:
    """Name -> model and setting, of each model that has no settings of its own."""
    return {
        f"{model.name}.{setting}": (model, setting)
        for model in recipe.models
        if not (model.control or model.training_arguments or model.optimizer)
        for setting in GRID
    }


def tuning_recipe(recipe: Recipe, variants: dict[str, tuple[Model, Setting]]) -> Recipe:
    """``recipe`` with the variants for models and other seeds, and without its test.

    Raises:
        UserError: if ``recipe`` uses one of `SEEDS`.
    """
    if used := {*recipe.seeds} & {*SEEDS}:
        raise UserError(f"seeds {sorted(used)} are for tuning; give {recipe.name} others")
    assert recipe.task is not None
    models = [
        model.model_copy(update={"name": name, "training_arguments": vars(setting)})
        for name, (model, setting) in variants.items()
    ]
    changes: dict[str, Any] = {
        "name": f"{recipe.name}_tuning",
        "task": recipe.task.model_copy(update={"test_split": None}),
        "models": models,
        "questions": [],
        "seeds": SEEDS,
    }
    return recipe.model_copy(update=changes)


def accuracies(
    records: list[Record], variants: dict[str, tuple[Model, Setting]]
) -> dict[str, Accuracies]:
    """Model -> what each setting gave, in the order of the grid."""
    measured: dict[str, Accuracies] = {}
    for name, (model, setting) in variants.items():
        runs = [r for r in records if isinstance(r, ClassificationRecord) and r.model == name]
        right = [run.metrics["validation"]["accuracy"] for run in runs]
        # rounded, since equal means of other runs differ in the last bit and are to be equal
        mean = round(sum(right) / len(right), 9) if len(right) == len(SEEDS) else None
        measured.setdefault(model.name, {})[setting] = mean
    return measured


def choose(measured: Accuracies, model: str) -> Setting:
    """The setting with the highest accuracy.

    Raises:
        UserError: if none has any.
    """
    finished = {setting: mean for setting, mean in measured.items() if mean is not None}
    if not finished:
        raise UserError(f"model {model!r}: no setting was finished with every seed")
    return max(finished, key=lambda setting: finished[setting])


def tuned_yaml(path: Path, measured: dict[str, Accuracies]) -> str:
    """The recipe in ``path`` with the chosen settings, and the whole grid in its header."""
    values = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    chosen = {name: choose(means, name) for name, means in measured.items()}
    for model in values["models"]:
        if model["name"] in chosen:
            model["training_arguments"] = {**vars(chosen[model["name"]])}  # one object: an alias
    values["name"] += "_tuned"
    values["description"] = f"{path.stem}, each model with settings chosen on validation."
    body = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.sort_base_mapping_type_on_output = False, False
    yaml.dump(values, body)
    return _header(path, measured, chosen) + body.getvalue()


def _header(path: Path, measured: dict[str, Accuracies], chosen: dict[str, Setting]) -> str:
    lines = [
        f"Made by tune.py from {path.name}; run that again and do not edit this.",
        "",
        f"Accuracy in % on the validation examples, the mean over the seeds {SEEDS}; * is chosen.",
        "A setting with which a run failed has none. A model without a line here is as it was.",
        "",
    ]
    for name, means in measured.items():
        shown = (
            f"{setting} {'failed' if mean is None else f'{100 * mean:.2f}'}"
            f"{'*' if setting == chosen[name] else ''}"
            for setting, mean in means.items()
        )
        lines += [f"{name}:", *(f"  {line}" for line in shown)]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def main() -> None:
    """Tune the recipe that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, required=True, help="the recipe")
    parser.add_argument("--results-dir", type=Path, default=Path("results"))
    args = parser.parse_args()
    with exit_on_user_error():
        quiet_libraries()
        print(f"Settings in {tune(args.config, args.results_dir)}")


if __name__ == "__main__":
    main()
