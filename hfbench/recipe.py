"""What a recipe may say: one YAML file is one comparison.

Nothing here imports torch, transformers or datasets, so that a mistyped recipe is an error at once.
The classes below are the reference of the recipe's keys; each field has its line.
"""

import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    PrivateAttr,
    field_validator,
    model_validator,
)

from hfbench.errors import nearest
from hfbench.record import Selection
from hfbench.source_fields import (
    check_field,
    custom_gpt_fields,
    custom_gpt_presets,
    training_arguments_fields,
)

BuiltinTask = Literal["sentiment"]
BuiltinCorpus = Literal["pets", "sentiment-unlabelled"]
Control = Literal["majority", "tfidf-logreg"]
Optimizer = Literal["huggingface", "study"]

# The training arguments that a name of `optimizer` stands for; written-out arguments win.
OPTIMIZER_ARGUMENTS: dict[Optimizer, dict[str, Any]] = {
    "huggingface": {},
    # Weight decay on matrices that are not embeddings, besides: see `trainer.BenchTrainer`.
    "study": {
        "learning_rate": 5e-4,
        "lr_scheduler_type": "constant",
        "adam_beta1": 0.9,
        "adam_beta2": 0.95,
        "weight_decay": 0.1,
        "max_grad_norm": 1.0,
    },
}

# Training arguments that would break the comparison or that another key of the recipe sets.
_OWNED_ARGUMENTS = {
    "output_dir": "set by --results-dir",
    "seed": "derived from `seeds`",
    "data_seed": "derived from `seeds`",
    "do_train": "hfbench always trains and evaluates",
    "do_eval": "hfbench always trains and evaluates",
    "do_predict": "hfbench always trains and evaluates",
    "resume_from_checkpoint": "a finished cell is kept; an unfinished pretraining goes on from its "
    "newest checkpoint, if save_strategy asks for any; any other cell starts again",
    "ignore_data_skip": "a pretraining that goes on must not see examples twice",
    "auto_find_batch_size": "every model must train with the same batch",
    "train_sampling_strategy": "every model must see the same order",
    "dataloader_drop_last": "every model must see every example",
    "accelerator_config": "every model must see the same batches",
    "average_tokens_across_devices": "the loss must not depend on the number of processes",
    "logging_nan_inf_filter": "a non-finite loss must fail the run",
    "load_best_model_at_end": "set by `selection`",
    "metric_for_best_model": "set by `selection`",
    "greater_is_better": "set by `selection`",
    "remove_unused_columns": "set by hfbench",
    "label_names": "set by hfbench",
    "include_for_metrics": "set by hfbench",
    "batch_eval_metrics": "set by hfbench",
    "prediction_loss_only": "set by hfbench",
    "eval_do_concat_batches": "set by hfbench",
    "disable_tqdm": "set by hfbench",
    "deepspeed": "not supported",
    "push_to_hub": "publishing is not part of a recipe",
    "hub_token": "a token never belongs into a file; log in with `hf auth login`",
    "hub_model_id": "publishing is not part of a recipe",
    "hub_strategy": "publishing is not part of a recipe",
    "hub_private_repo": "publishing is not part of a recipe",
    "hub_always_push": "publishing is not part of a recipe",
    "hub_revision": "publishing is not part of a recipe",
}


class Section(BaseModel):
    """A mapping of the recipe: strict types, no unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    def _require_one_of(self, *names: str) -> None:
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"not {' and '.join(given)}" if given else "none is given"
            raise ValueError(f"give exactly one of {', '.join(names)}; {found}")

    def _allow_only_with(self, owner: str, *names: str) -> None:
        """The keys ``names`` have a meaning only where ``owner`` is given."""
        if getattr(self, owner) is None:
            for name in names:
                if getattr(self, name) != type(self).model_fields[name].get_default():
                    raise ValueError(f"{name} goes with {owner}, which is not given")


def _check_slug(name: str) -> str:
    # names become file names: no separators, no leading dot; "--" stands before the seed
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) or "--" in name:
        raise ValueError(
            f"{name!r} is not a name: use up to 64 letters, digits, '.', '_' and single '-', "
            "beginning with a letter or digit"
        )
    return name


def _check_training_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    for name, value in arguments.items():
        if name in _OWNED_ARGUMENTS:
            raise ValueError(f"{name} cannot be set here: {_OWNED_ARGUMENTS[name]}")
        if problem := check_field(name, value, training_arguments_fields()):
            raise ValueError(f"{problem} (a field of transformers.TrainingArguments)")
        if name in ("gradient_accumulation_steps", "per_device_train_batch_size") and value < 1:
            raise ValueError(f"{name}: {value} must be at least 1")
    return arguments


Name = Annotated[str, AfterValidator(_check_slug)]
Share = Annotated[float, Field(gt=0, lt=1)]
TrainingArgumentsDict = Annotated[dict[str, Any], AfterValidator(_check_training_arguments)]


class Task(Section):
    """A labelled data set, how its columns are read and how it is split.

    Where ``test_split`` is given it is evaluated once, after training, and the table reports it;
    otherwise the table reports the validation split.
    """

    dataset_name: str | None = None
    """A data set of the Hub, e.g. ``nyu-mll/glue``."""
    dataset_config: str | None = None
    """Its configuration, e.g. ``sst2``."""
    revision: str | None = None
    """Branch, tag or commit of the data set; the commit it stood for is recorded."""
    data_files: dict[str, str] | None = None
    """Split name -> local csv, tsv, json, jsonl or parquet file, relative to the recipe."""
    builtin: BuiltinTask | None = None
    """Synthetic data generated by hfbench."""
    text_column: str | list[str] = "text"
    """The column with the text, or two columns for pairs of texts."""
    label_column: str = "label"
    """Class names (strings) or numbers; a ClassLabel's names are kept."""
    train_split: str = "train"
    first: PositiveInt | None = None
    """Only the first this many rows of the train split (before any validation is taken)."""
    validation_split: str | None = None
    """A split of the data set; or give ``validation_size``."""
    validation_size: PositiveInt | Share | None = None
    """Examples, or a share of them, taken from the train split, stratified by label."""
    split_seed: int = 0
    """Seed of that stratified split; the same for all seeds of the comparison."""
    test_split: str | None = None
    max_length: PositiveInt | None = None
    """Texts are truncated to this many tokens (or to what the model can take, if less)."""

    @field_validator("text_column")
    @classmethod
    def _one_or_two(cls, value: str | list[str]) -> str | list[str]:
        if isinstance(value, list) and len(value) != 2:
            raise ValueError(f"{value} must be one column or a list of two")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "Task":
        self._require_one_of("dataset_name", "data_files", "builtin")
        self._allow_only_with("dataset_name", "dataset_config", "revision")
        self._require_one_of("validation_split", "validation_size")
        return self

    @property
    def text_columns(self) -> list[str]:
        """One or two column names."""
        return [self.text_column] if isinstance(self.text_column, str) else self.text_column

    @property
    def source(self) -> str:
        """The data set in one word, for messages and tables."""
        if self.dataset_name:
            return (
                f"{self.dataset_name}{f' ({self.dataset_config})' if self.dataset_config else ''}"
            )
        return f"built-in {self.builtin}" if self.builtin else ", ".join(self.data_files or {})


class Corpus(Section):
    """Text for language-model pretraining and how it is cut into examples."""

    builtin: BuiltinCorpus | None = None
    """Synthetic text generated by hfbench."""
    text_file: str | None = None
    """A UTF-8 text file, relative to the recipe."""
    dataset_name: str | None = None
    dataset_config: str | None = None
    revision: str | None = None
    split: str = "train"
    text_column: str = "text"
    cut: Literal["sentences", "rows", "blocks"] = "sentences"
    """``sentences``: each sentence is an example; ``rows``: each row of the data set (or line of
    the file) is; ``blocks``: rows are joined by EOS and cut every ``block_size`` tokens."""
    block_size: PositiveInt = 128
    max_length: PositiveInt = 512
    """Sentences and rows are truncated to this many tokens."""
    first: PositiveInt | None = None
    """Only the first this many examples."""
    train_share: Share = 0.8
    """The first share, in order, is for training, the rest for validation."""

    @model_validator(mode="after")
    def _consistent(self) -> "Corpus":
        self._require_one_of("builtin", "text_file", "dataset_name")
        self._allow_only_with("dataset_name", "dataset_config", "revision")
        return self


class Tokenizer(Section):
    """A tokenizer of the Hub or a local folder, or one trained here."""

    name_or_path: str | None = None
    revision: str | None = None
    train_on: Literal["task", "corpus"] | None = None
    """Byte-level BPE trained on the task's train split, or on the train share of the model's
    pretraining corpus. With ``train_sizes`` it still sees the whole train split at each size."""
    vocab_size: Annotated[int, Field(ge=258)] = 1000
    """At most this many entries: 256 bytes, two special tokens, and merges."""

    @model_validator(mode="after")
    def _consistent(self) -> "Tokenizer":
        self._require_one_of("name_or_path", "train_on")
        self._allow_only_with("name_or_path", "revision")
        self._allow_only_with("train_on", "vocab_size")
        return self


class Pretrain(Section):
    """Language-model training before the comparison: done once, shared by all seeds."""

    corpus: Corpus
    seed: Annotated[int, Field(ge=0)] = 0
    optimizer: Optimizer | None = None
    """Default: the recipe's."""
    training_arguments: TrainingArgumentsDict = {}
    """Not merged with the recipe's: pretraining is another kind of run."""

    @field_validator("training_arguments")
    @classmethod
    def _no_label_smoothing(cls, value: dict[str, Any]) -> dict[str, Any]:
        if "label_smoothing_factor" in value:
            raise ValueError("label_smoothing_factor is for classification only")
        return value


class Lora(Section):
    """Low-rank adapters: they and the head are trained, the weights that the model had stay.

    The keys are PEFT's, as in ``peft.LoraConfig``. The adapters are merged into the weights in the
    end, so that what is evaluated and kept is an ordinary model. For the method see
    https://arxiv.org/abs/2106.09685.
    """

    r: PositiveInt = 8
    """Rank of the adapters."""
    lora_alpha: PositiveInt = 16
    """What an adapter adds is multiplied by this and divided by ``r``."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of what goes into an adapter."""
    target_modules: Annotated[list[str], Field(min_length=1)] | None = None
    """Names of the linear layers that get one, e.g. ``[c_attn]``; default: PEFT's choice for the
    architecture, where it has one."""


class Model(Section):
    """A row of the table."""

    name: Name
    model_name_or_path: str | None = None
    """A checkpoint of the Hub, or a local folder relative to where hfbench is started."""
    preset: str | None = None
    """A custom GPT of this size, from scratch."""
    model_type: str | None = None
    """Any architecture of transformers, from scratch, e.g. ``gpt2``; its sizes go in ``config``."""
    control: Control | None = None
    """``majority``, or TF-IDF and logistic regression."""
    revision: str | None = None
    trust_remote_code: bool = False
    """Run the code that comes with this checkpoint."""
    random_init: bool = False
    """The checkpoint's architecture and tokenizer with random weights: its untrained twin."""
    config: dict[str, Any] = {}
    """Fields of the model's configuration, e.g. ``n_positions: 256``."""
    tokenizer: Tokenizer | None = None
    """Default: the checkpoint's own, else the recipe's."""
    pretrain: Pretrain | None = None
    lora: Lora | None = None
    """Fine-tune adapters in place of all weights; needs ``pip install 'hfbench[clients]'``."""
    optimizer: Optimizer | None = None
    """Default: the recipe's."""
    training_arguments: TrainingArgumentsDict = {}
    """Merged over the recipe's."""

    @model_validator(mode="after")
    def _consistent(self) -> "Model":
        self._require_one_of("model_name_or_path", "preset", "model_type", "control")
        self._allow_only_with("model_name_or_path", "revision", "trust_remote_code", "random_init")
        if self.control:
            unfit = ("config", "tokenizer", "pretrain", "lora", "optimizer", "training_arguments")
            for name in unfit:
                if getattr(self, name):
                    raise ValueError(f"{name} has no meaning for the control {self.control!r}")
        brings_weights = self.model_name_or_path and not self.random_init
        if self.lora and not (brings_weights or self.pretrain):
            raise ValueError("lora needs weights to start from: a checkpoint's, or give pretrain")
        if self.preset is not None:
            _check_preset(self.preset, self.config)
        return self

    @property
    def source(self) -> str:
        """Where the model comes from, in one word."""
        return self.model_name_or_path or self.preset or self.model_type or self.control or ""


def _check_preset(preset: str, config: dict[str, Any]) -> None:
    presets = custom_gpt_presets()
    if preset not in presets:
        known = ", ".join(presets)
        raise ValueError(f"unknown preset {preset!r}{nearest(preset, presets)} (known: {known})")
    for name, value in config.items():
        if problem := check_field(name, value, custom_gpt_fields()):
            raise ValueError(f"config: {problem} (a field of CustomGPTConfig)")


class Recipe(Section):
    """A comparison: the task, the models, the seeds and the training that all models share."""

    name: Name
    """Names the folder under the results folder."""
    description: str = ""
    task: Task | None = None
    """May be missing where every model is only pretrained."""
    tokenizer: Tokenizer | None = None
    """For models that bring none of their own."""
    models: Annotated[list[Model], Field(min_length=1)]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0]
    train_sizes: list[PositiveInt] = []
    """A learning curve: every model runs with every seed on so many training examples, and only
    so. Subsets are stratified, nested within a seed and the same for every model."""
    selection: Selection = "last"
    """Which weights of a classifier are evaluated in the end: the ``last``, or those with the
    lowest loss (``best_loss``) or the highest accuracy (``best_accuracy``) of the evaluations on
    the validation split during training, the earliest among equals."""
    optimizer: Optimizer = "huggingface"
    """``huggingface``: the defaults of TrainingArguments; ``study``: the optimiser of the study."""
    training_arguments: TrainingArgumentsDict = {}
    """Verbatim fields of TrainingArguments. ``per_device_train_batch_size`` times
    ``gradient_accumulation_steps`` is the batch of an optimizer step;
    several processes share it."""
    save_models: bool = False
    """Keep the weights of every cell under ``<results>/<name>/models/``."""
    _folder: Path = PrivateAttr(default=Path())

    @field_validator("models")
    @classmethod
    def _unique_names(cls, models: list[Model]) -> list[Model]:
        names = [model.name.lower() for model in models]  # some file systems ignore case
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"model names must differ; {repeated[0]!r} is there more than once")
        return models

    @field_validator("seeds")
    @classmethod
    def _unique_seeds(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) != len(seeds):
            raise ValueError(f"seeds must differ: {seeds}")
        return seeds

    @field_validator("train_sizes")
    @classmethod
    def _ascending_sizes(cls, sizes: list[int]) -> list[int]:
        if len(set(sizes)) != len(sizes):
            raise ValueError(f"train_sizes must differ: {sizes}")
        return sorted(sizes)

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        self._allow_only_with("task", "train_sizes")
        for model in self.models:
            if self.task is None and model.pretrain is None:
                raise ValueError(f"without a task, model {model.name!r} needs a pretrain block")
            if model.control or model.model_name_or_path:
                continue
            tokenizer = model.tokenizer or self.tokenizer
            if tokenizer is None:
                raise ValueError(f"model {model.name!r} needs a tokenizer: its own or the recipe's")
            if tokenizer.train_on == "corpus" and model.pretrain is None:
                raise ValueError(f"model {model.name!r} has no corpus to train a tokenizer on")
            if tokenizer.train_on == "task" and self.task is None:
                raise ValueError(f"model {model.name!r}: no task to train a tokenizer on")
        return self

    @model_validator(mode="after")
    def _can_select(self) -> "Recipe":
        if self.selection == "last":
            return self
        if self.task is None or self.task.test_split is None:
            raise ValueError(
                f"selection: {self.selection} chooses on the validation examples, so the table "
                "needs others: give task.test_split"
            )
        for model in self.models:
            arguments = {**self.training_arguments, **model.training_arguments}
            if arguments.get("eval_strategy") == "no" and not model.control:
                raise ValueError(
                    f"selection: {self.selection} needs evaluations during training, but model "
                    f"{model.name!r} has eval_strategy: no; give epoch or steps"
                )
        return self

    @classmethod
    def from_values(cls, values: dict[str, Any], folder: Path) -> "Recipe":
        """Check ``values``, as a YAML file holds them; relative paths start at ``folder``.

        Raises:
            pydantic.ValidationError: listing every mistake.
        """
        recipe = cls.model_validate(values)
        recipe._folder = folder
        return recipe

    @property
    def folder(self) -> Path:
        """The recipe file's folder; relative paths start there."""
        return self._folder

    @cached_property
    def file_paths(self) -> dict[str, Path]:
        """Key path -> resolved path, of every local file that the recipe names."""
        paths = {}
        if self.task and self.task.data_files:
            for split, file in self.task.data_files.items():
                paths[f"task.data_files.{split}"] = self.folder / file
        for index, model in enumerate(self.models):
            if model.pretrain and model.pretrain.corpus.text_file:
                key = f"models[{index}].pretrain.corpus.text_file"
                paths[key] = self.folder / model.pretrain.corpus.text_file
        return paths


BUILTIN_TASKS: tuple[str, ...] = get_args(BuiltinTask)
BUILTIN_CORPORA: tuple[str, ...] = get_args(BuiltinCorpus)
