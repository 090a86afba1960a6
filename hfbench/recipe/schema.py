"""What a recipe may say: one YAML file is one comparison.

Nothing here imports torch, transformers or datasets, so that a mistyped recipe is an error at once.
The classes below, and those of `task` and `model`, are the reference of the recipe's keys; each
field has its line.
"""

import itertools
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveInt, PrivateAttr, field_validator, model_validator

from hfbench.errors import nearest
from hfbench.recipe.arguments import Optimizer, TrainingArgumentsDict
from hfbench.recipe.model import BUILTIN_CONTROLS, Model, Tokenizer
from hfbench.recipe.objects import take_objects
from hfbench.recipe.section import Section
from hfbench.recipe.task import NamedTask, Task
from hfbench.recipe.tuning import Tune, combinations
from hfbench.recipe.types import FunctionPath, Line, ModuleName, Name, Seed, Selection, is_pattern

TUNING = "tuning"
"""The folder of a recipe's trials, in its results."""
FOLDERS = frozenset(
    {"records", "models", "runs", "features", "locks", "push", "plots", "tensorboard", TUNING}
)
"""Beside the folders of tasks in a results folder, so that no task is called so."""
_LONGEST_TUNED = 58


class EarlyStopping(Section):
    """A training ends when evaluations on the validation split get no better."""

    patience: PositiveInt
    """It ends after so many evaluations in a row that are no better than the best one before."""
    metric: Line = "loss"
    """By what they are compared: ``loss``, or a measure."""


class Recipe(Section):
    """A comparison: the task, the models, the seeds and the training that all models share."""

    name: Name
    """Names the folder under the results folder."""
    description: str = ""
    task: Task | None = None
    """May be missing where every model is only pretrained."""
    tasks: list[NamedTask] = []
    """In place of ``task``: several, e.g. ``[{name: sst2, dataset_name: ...}, {name: trec, ...}]``.
    Every model runs on each with every seed; each task has its own folder of results, and a page
    above them compares the models over all tasks. A pretraining is shared by the tasks."""
    imports: list[ModuleName] = []
    """Modules that bring architectures, controls or metrics of your own, e.g.
    ``[my_package.my_model]``: found as Python finds them, or beside the recipe. They are imported
    in every process before models are built: their code runs when the recipe is compared,
    pretrained or planned (``hfbench plan``), and not when it is only read."""
    tokenizer: Tokenizer | None = None
    """For models that bring none of their own."""
    models: Annotated[list[Model], Field(min_length=1)]
    seeds: Annotated[list[Seed], Field(min_length=1)] = [0]
    """A list; or ``{at_most: 10, looks: [3, 5, 10]}``: seeds 0 to 9, of which each model runs 3,
    then five and ten if it is still in question. The comparison looks at its results after 3 and 5
    seeds, and goes on with the models that a question cannot yet distinguish, or without questions
    those that may be the best. The error allowed is shared by the looks: 5 % for all of them."""
    looks: list[PositiveInt] = []
    """How many seeds there are at each look; written as a part of ``seeds``."""
    questions: list[list[Name]] = []
    """Pairs of models that are to be compared, e.g. ``[[mine, baseline]]``: they are answered
    first, and their errors are controlled for them alone. Without any, the question is which model
    is best; all pairs are in the table in any case. Decide before you see results: the results
    folder keeps what was asked, and when."""
    reference: Name | None = None
    """A model with which each other one is compared: so many questions more."""
    margin: Annotated[float, Field(gt=0)] | None = None
    """The difference that matters, in units of the measure (``task.metric``), of accuracies a
    fraction: with ``0.01``, two models whose difference is shown to be below one point are
    equivalent."""
    train_sizes: list[PositiveInt] = []
    """A learning curve: every model runs with every seed on so many training examples, and only
    so. Subsets are stratified, nested within a seed and the same for every model."""
    selection: Selection = "last"
    """Which weights of a classifier are evaluated in the end: the ``last``, or those with the
    lowest loss (``best_loss``), the highest accuracy (``best_accuracy``) or the best of any other
    measure (``best_f1_macro``) of the evaluations on the validation split during training, the
    earliest among equals."""
    early_stopping: EarlyStopping | None = None
    """End the training of every model by the same rule, e.g. ``{patience: 3, metric: loss}``; the
    weights of the best evaluation are evaluated in the end (``selection``). The learning rate still
    follows the steps that were planned."""
    tune: Tune | None = None
    """Choose settings of each model on other examples than the table reports, with the same budget
    for each, before the comparison runs with them; see docs/tuning.md."""
    optimizer: Optimizer = "huggingface"
    """``huggingface``: the defaults of TrainingArguments; ``study``: the optimiser of the study."""
    training_arguments: TrainingArgumentsDict = {}
    """Verbatim fields of TrainingArguments. ``per_device_train_batch_size`` times
    ``gradient_accumulation_steps`` is the batch of an optimizer step;
    several processes share it."""
    loss: FunctionPath | None = None
    """A training loss of your own, ``package.module:function``: of logits (rows, labels) in float32
    and of labels it returns the loss of each row, shape (rows,). hfbench adds them up, so that it
    does not depend on how a batch is cut; evaluations keep the usual loss. The module is found as
    those of ``imports`` are."""
    callbacks: list[FunctionPath] = []
    """Classes, or functions without arguments, that give a ``TrainerCallback``, e.g.
    ``[my_package.my_callbacks:Freeze]``; every training of a classifier has its own ones."""
    cuda_graphs: bool = True
    """On one GPU, replay training steps where the model allows it: the same numbers within
    rounding, several times faster for a small model. It has no part in a cell's identity."""
    max_cell_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """A cell that takes longer fails, and the others run. It has no part in a cell's identity."""
    save_models: bool = False
    """Keep the weights of every cell under ``<results>/<name>/models/``."""
    _folder: Path = PrivateAttr(default=Path())
    _parts: "list[Recipe] | None" = PrivateAttr(default=None)
    _bound: list[str] = PrivateAttr(default=[])
    _whole: "Recipe | None" = PrivateAttr(default=None)

    def __init__(self, /, **values: Any) -> None:
        """From keywords, as YAML has them, with objects where they are handy; see docs/python.md.

        Raises:
            UserError: listing every mistake, each with its key.
        """
        from hfbench.recipe.load import checked_recipe  # which imports this

        values, bound = take_objects(values)
        checked_recipe(lambda: super(Recipe, self).__init__(**values), values, "Recipe")
        self._bound = bound

    @model_validator(mode="before")
    @classmethod
    def _seeds_with_looks(cls, values: Any) -> Any:
        plan = values.get("seeds") if isinstance(values, dict) else None
        if not isinstance(plan, dict):
            return values
        keys = ("at_most", "looks")
        for key in plan:
            if key not in keys:
                raise ValueError(f"seeds: unknown key {key!r}{nearest(str(key), keys)}")
        at_most, looks = plan.get("at_most"), plan.get("looks")
        if type(at_most) is not int or not 2 <= at_most <= 1000:
            raise ValueError(f"seeds: at_most must be a whole number from 2 to 1000, not {at_most}")
        numbers = looks if isinstance(looks, list) and looks else None
        if numbers is None or any(type(number) is not int for number in numbers):
            raise ValueError(f"seeds: looks must be a list of whole numbers, not {looks}")
        if sorted({*numbers}) != numbers or numbers[0] < 2 or numbers[-1] != at_most:
            raise ValueError(
                f"seeds: looks must rise from 2 or more to at_most ({at_most}), not {numbers}"
            )
        return {**values, "seeds": list(range(at_most)), "looks": numbers}

    @model_validator(mode="before")
    @classmethod
    def _selection_of_early_stopping(cls, values: Any) -> Any:
        """Whoever stops by a measure evaluates the weights that it says are best."""
        stopping = values.get("early_stopping") if isinstance(values, dict) else None
        if not isinstance(stopping, dict):
            return values
        own = f"best_{stopping.get('metric', 'loss')}"
        if values.get("selection", own) != own:
            raise ValueError(
                f"selection: early_stopping evaluates the weights of {own}, not of "
                f"{values['selection']}; leave selection out"
            )
        return {**values, "selection": own}

    @field_validator("models")
    @classmethod
    def _unique_names(cls, models: list[Model]) -> list[Model]:
        names = [model.name.lower() for model in models]  # some file systems ignore case
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"model names must differ; {repeated[0]!r} is there more than once")
        return models

    @field_validator("tasks")
    @classmethod
    def _several_tasks(cls, tasks: list[NamedTask]) -> list[NamedTask]:
        names = [task.name.lower() for task in tasks]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"task names must differ; {repeated[0]!r} is there more than once")
        if taken := sorted({*names} & FOLDERS):
            raise ValueError(f"{taken[0]!r} is the name of another folder of the results")
        if len(tasks) == 1:
            raise ValueError("one task is given by the key task, without a name")
        return tasks

    @field_validator("seeds")
    @classmethod
    def _unique_seeds(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) != len(seeds):
            raise ValueError(f"seeds must differ: {seeds}")
        return seeds

    @model_validator(mode="after")
    def _known_questions(self) -> "Recipe":
        names = [model.name for model in self.models]
        asked = [("questions", name) for pair in self.questions for name in pair]
        asked += [("reference", self.reference)] if self.reference else []
        for pair in self.questions:
            if len(pair) != 2:
                raise ValueError(f"questions: a question is two models, not {pair}")
        for key, name in asked:
            if name not in names:
                raise ValueError(f"{key}: no model {name!r}{nearest(name, names)}")
        pairs = [frozenset(pair) for pair in self.questions]
        for pair in self.questions:
            if len({*pair}) == 1:
                raise ValueError(f"questions: {pair[0]!r} is compared with itself")
            if pairs.count(frozenset(pair)) > 1:
                raise ValueError(f"questions: {' and '.join(pair)} are there more than once")
        return self

    @model_validator(mode="after")
    def _margin_of_a_share(self) -> "Recipe":
        """Who asks for 3 points means 0.03; only what is no share can differ by 1 and more."""
        unbounded = any(
            task.metric or task.said_problem_type == "regression"
            for task in self.all_tasks.values()
        )
        if self.margin is not None and self.margin >= 1 and not unbounded:
            raise ValueError(
                f"margin: {self.margin:g} must be less than 1: it is a fraction (of a measure that "
                "is none, name it as task.metric)"
            )
        return self

    @field_validator("train_sizes")
    @classmethod
    def _ascending_sizes(cls, sizes: list[int]) -> list[int]:
        if len(set(sizes)) != len(sizes):
            raise ValueError(f"train_sizes must differ: {sizes}")
        return sorted(sizes)

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        if self.task and self.tasks:
            raise ValueError("give task, or tasks for several, and not both")
        if not self.tasks:
            self._allow_only_with("task", "train_sizes")
        folded = [key for key, task in self.all_tasks.items() if task.folds]
        if folded and self.train_sizes:
            raise ValueError(
                f"train_sizes: a learning curve needs examples that no size is trained on, and "
                f"{folded[0]}.folds has none: give validation_size or validation_split"
            )
        for model in self.models:
            if not self.all_tasks and model.pretrain is None:
                raise ValueError(f"without a task, model {model.name!r} needs a pretrain block")
            if model.model_name_or_path or not model.has_network:
                continue
            tokenizer = model.tokenizer or self.tokenizer
            if tokenizer is None:
                raise ValueError(f"model {model.name!r} needs a tokenizer: its own or the recipe's")
            if tokenizer.train_on == "corpus" and model.pretrain is None:
                raise ValueError(f"model {model.name!r} has no corpus to train a tokenizer on")
            if tokenizer.train_on == "task" and not self.all_tasks:
                raise ValueError(f"model {model.name!r}: no task to train a tokenizer on")
            if tokenizer.train_on == "task" and folded and model.pretrain:
                raise ValueError(
                    f"model {model.name!r}: with {folded[0]}.folds a tokenizer that is trained on "
                    "the task is another one in each fold, and the pretraining is one for all; "
                    "give `tokenizer: {train_on: corpus}` or a tokenizer by name"
                )
        return self

    @model_validator(mode="after")
    def _models_of_known_tasks(self) -> "Recipe":
        names = [task.name for task in self.tasks]
        for model in self.models:
            for name in model.tasks:
                if name not in names:
                    raise ValueError(
                        f"model {model.name!r}: tasks: no task {name!r}{nearest(name, names)}"
                    )
        for name in names:
            if all(model.tasks and name not in model.tasks for model in self.models):
                raise ValueError(f"no model runs on the task {name!r}")
        return self

    @model_validator(mode="after")
    def _one_loss(self) -> "Recipe":
        if self.loss is None:
            return self
        if weighted := [key for key, task in self.all_tasks.items() if task.class_weights]:
            raise ValueError(
                f"loss: {weighted[0]}.class_weights has no meaning for a loss of yours"
            )
        for model in self.models:
            if {**self.training_arguments, **model.training_arguments}.get(
                "label_smoothing_factor"
            ):
                raise ValueError("loss: label_smoothing_factor has no meaning for your own")
        return self

    @model_validator(mode="after")
    def _no_curve_of_predictions(self) -> "Recipe":
        for model in self.models:
            if model.predictions and self.train_sizes:
                raise ValueError(
                    f"model {model.name!r}: predictions have no place on a learning curve "
                    "(train_sizes): hfbench does not train what gave them"
                )
            if model.predictions and self.tasks:
                raise ValueError(
                    f"model {model.name!r}: one file of predictions is of one task; give each "
                    "task a recipe of its own, and `hfbench table --overall` compares over them"
                )
        return self

    @model_validator(mode="after")
    def _known_controls(self) -> "Recipe":
        """Where modules are imported, only they can say which controls there are."""
        for model in self.models if not self.imports else []:
            if model.control and model.control not in BUILTIN_CONTROLS:
                raise ValueError(
                    f"model {model.name!r}: unknown control {model.control!r}"
                    f"{nearest(model.control, BUILTIN_CONTROLS)} (known: "
                    f"{', '.join(BUILTIN_CONTROLS)}; for one of your own give `imports`)"
                )
        return self

    @model_validator(mode="after")
    def _can_select(self) -> "Recipe":
        chooses = "early_stopping" if self.early_stopping else "selection"
        chosen = {chooses: self.selection} if self.selection != "last" else {}
        for model in self.models:
            if model.probe and model.probe.pooling == "best":
                chosen[f"models.{model.name}.probe.pooling"] = "best"
        if chosen and (folded := [key for key, task in self.all_tasks.items() if task.folds]):
            key, rule = next(iter(chosen.items()))
            raise ValueError(
                f"{key}: {rule} chooses on the validation examples, and those of "
                f"{folded[0]}.folds are what the table shows: give validation_size and test_split"
            )
        without = [
            key
            for key, task in self.all_tasks.items()
            if task.test_split is None and task.trial is None  # a trial is in no table
        ]
        if chosen and (without or not self.all_tasks):
            key, rule = next(iter(chosen.items()))
            raise ValueError(
                f"{key}: {rule} chooses on the validation examples, so the table needs others: "
                f"give {(without or ['task'])[0]}.test_split"
            )
        pruner = self.tune and self.tune.pruner
        if self.selection == "last" and not pruner:
            return self
        looks = f"tune.pruner: {pruner}" if pruner else f"selection: {self.selection}"
        of_tasks = [task.training_arguments for task in self.tasks] or [{}]
        for model, own in itertools.product(self.models, of_tasks):
            arguments = {**self.training_arguments, **model.training_arguments, **own}
            if arguments.get("eval_strategy") == "no" and model.is_trained:
                raise ValueError(
                    f"{looks} needs evaluations during training, but model "
                    f"{model.name!r} has eval_strategy: no; give epoch or steps"
                )
        return self

    @model_validator(mode="after")
    def _can_tune(self) -> "Recipe":
        if self.tune is None:
            if tuned := [model.name for model in self.models if model.tune]:
                raise ValueError(f"models.{tuned[0]}.tune goes with tune, which is not given")
            return self
        if not self.all_tasks:
            raise ValueError("tune: there is no task to choose settings on")
        if self.train_sizes:
            raise ValueError(
                "tune: settings would be chosen with more examples than the smaller of train_sizes "
                "have; give one of the two"
            )
        for key, task in self.all_tasks.items():
            if task.folds:
                raise ValueError(
                    f"tune: {key}.folds leaves no examples to choose settings on for all folds "
                    "alike: give validation_size and test_split, or the chosen settings themselves"
                )
            if task.split == "last" and (self.tune.folds or task.test_split is None):
                raise ValueError(
                    f"tune: {key}.split: last says that rows are in the order of time, which folds "
                    f"would break: give {key}.test_split and no tune.folds"
                )
        self._check_spaces(self.tune)
        return self

    def _check_spaces(self, tune: Tune) -> None:
        spaces = {model.name: model.space(tune) for model in self.models}
        if not any(spaces.values()):
            raise ValueError("tune: no model has anything to tune: give tune.space")
        for key in tune.space:
            if not any(key in space for space in spaces.values()):
                raise ValueError(f"tune.space.{key}: no model has it, or each gives its own value")
        for task, model in itertools.product(self.tasks, self.models):
            if both := sorted({*task.training_arguments} & {*model.tune}):
                raise ValueError(
                    f"tasks.{task.name}.training_arguments.{both[0]}: models.{model.name}.tune has "
                    "it, too"
                )
        for model in self.models:
            space, number = spaces[model.name], combinations(spaces[model.name])
            if not space:
                continue
            if len(model.name) > _LONGEST_TUNED:
                raise ValueError(
                    f"model {model.name!r}: a name of up to {_LONGEST_TUNED} characters is wanted, "
                    "since its trials are called after it"
                )
            if tune.sampler == "grid" and number is None:
                continuous = [key for key, values in space.items() if not hasattr(values, "values")]
                raise ValueError(
                    f"tune.sampler: a grid is of lists of choices, and {continuous[0]} of model "
                    f"{model.name!r} is a range; give a list, or sampler: random"
                )
            if tune.sampler != "grid" and number is not None and number <= (tune.trials or 0):
                raise ValueError(
                    f"tune.trials: model {model.name!r} has {number} combinations, and is to have "
                    f"{tune.trials} trials; sampler: grid tries each of them once"
                )
            if not model.is_trained and not tune.trials and not tune.train_seconds and tune.flops:
                raise ValueError(
                    f"tune.flops: those of {model.name!r}, which is not trained, are not counted; "
                    "give trials as well"
                )

    @classmethod
    def from_values(cls, values: dict[str, Any], folder: Path) -> "Recipe":
        """Check ``values``, as a YAML file holds them; relative paths start at ``folder``.

        Raises:
            pydantic.ValidationError: listing every mistake.
        """
        # without __init__, whose messages are a program's
        recipe = cls.__pydantic_validator__.validate_python(values, self_instance=cls.__new__(cls))
        recipe._folder = folder
        return recipe

    @property
    def folder(self) -> Path:
        """The recipe file's folder; relative paths start there."""
        return self._folder

    @property
    def bound_to_process(self) -> list[str]:
        """Why it can run in this process alone; empty where any other can run it, too."""
        return self._bound

    @property
    def all_tasks(self) -> dict[str, Task]:
        """Key path -> task, of the one or of each."""
        one = {"task": self.task} if self.task else {}
        return one | {f"tasks[{place}]": task for place, task in enumerate(self.tasks)}

    @property
    def task_name(self) -> str | None:
        """Of a recipe that is one task's part of another (`by_task`), that task's name."""
        return self.name.partition("/")[2] or None

    @property
    def by_task(self) -> "list[Recipe]":
        """A recipe for each task, whose results are those of this one; one task: the recipe itself.

        The name of each, ``<recipe>/<task>``, is the path of its results.
        """
        if self._parts is not None:
            return self._parts
        if not self.tasks:
            return [self]
        return [self._about(task) for task in self.tasks]

    def _about(self, task: NamedTask) -> "Recipe":
        """That of one task, with its rows and the questions about them."""
        models = [m for m in self.models if not m.tasks or task.name in m.tasks]
        names = {model.name for model in models}
        return self.model_copy(
            update={
                "name": f"{self.name}/{task.name}",
                "task": task.alone,
                "tasks": [],
                "models": [_of_task(model, task) for model in models],
                "questions": [pair for pair in self.questions if {*pair} <= names],
            }
        )

    @property
    def by_fold(self) -> "list[Recipe]":
        """A recipe of one task, for each of its folds, with the same name; itself without folds."""
        if self.task is None or self.task.folds is None:
            return [self]
        folds = self.task.folds
        of_one = [folds.model_copy(update={"only": number}) for number in folds.numbers]
        tasks = [self.task.model_copy(update={"folds": fold}) for fold in of_one]
        return [self.model_copy(update={"task": task}) for task in tasks]

    @property
    def has_parts(self) -> bool:
        """Whether `by_task` gives others than itself."""
        return bool(self.tasks) or self._parts is not None

    def of_parts(self, parts: "list[Recipe]") -> "Recipe":
        """The recipe with these in place of its tasks; their names begin with its own and ``/``."""
        recipe = self.model_copy()
        recipe._parts = parts
        return recipe

    def only(self, models: Collection[str], seeds: list[int]) -> "Recipe":
        """The recipe with the models of these names, and with these seeds, alone.

        What is asked of the others stays asked.
        """
        own = [model for model in self.models if model.name in models]
        recipe = self.model_copy(update={"models": own, "seeds": seeds})
        recipe._whole = self.whole
        if self.has_parts:
            recipe._parts = [part.only(models, seeds) for part in self.by_task]
        return recipe

    @property
    def whole(self) -> "Recipe":
        """That with all models and seeds, where this one has some alone; see `only`."""
        return self._whole or self

    @property
    def modules(self) -> dict[str, str]:
        """Module -> the key that names it, of every module whose code this recipe runs."""
        modules = dict.fromkeys(self.imports, "imports")
        for key, paths in {"loss": [self.loss or ""], "callbacks": self.callbacks}.items():
            modules |= {path.partition(":")[0]: key for path in paths if path}
        for model in self.models:
            for key in ("model", "estimator"):
                if path := getattr(model, key):
                    modules.setdefault(path.partition(":")[0], f"models.{model.name}.{key}")
        return modules

    @property
    def foreign_code(self) -> list[str]:
        """What it runs that is not hfbench's: modules, and checkpoints that bring code."""
        return [*self.modules, *(model.source for model in self.models if model.trust_remote_code)]

    @property
    def file_paths(self) -> dict[str, Path]:
        """Key path -> resolved path, of every local file (or folder of data) that it names."""
        paths = {
            f"{key}.{own}": self.folder / name
            for key, task in self.all_tasks.items()
            for own, name in task.files.items()
            if not is_pattern(name)
        }
        for index, model in enumerate(self.models):
            if model.predictions:
                paths[f"models[{index}].predictions"] = self.folder / model.predictions.file
            if model.pretrain and model.pretrain.corpus.text_file:
                key = f"models[{index}].pretrain.corpus.text_file"
                paths[key] = self.folder / model.pretrain.corpus.text_file
        return paths


def _of_task(model: Model, task: NamedTask) -> Model:
    """``model`` as it stands in the task's own recipe: with what that says of its training."""
    changes: dict[str, Any] = {"tasks": []}
    if model.is_trained and task.training_arguments:
        changes["training_arguments"] = {**model.training_arguments, **task.training_arguments}
    return model.model_copy(update=changes)
