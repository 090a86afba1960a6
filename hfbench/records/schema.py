"""One run's record: what was run, on what, and what came out.

The record is the contract between training and statistics: tables and figures are made from records
alone. It is a JSON file, written whole or not at all and never edited afterwards, with the
predictions of every example beside it as Parquet. Shares are fractions in [0, 1]. The file has one
key more, ``checksum``, by which damage is noticed, see `store.checksum`.
"""

import hashlib
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    PrivateAttr,
    field_validator,
    model_validator,
)
from typing_extensions import Self

from hfbench.recipe.types import Kind, Selection, cell_stem
from hfbench.records.data import CorpusData, Overlap, TaskData
from hfbench.records.parts import RecordPart, Tokens
from hfbench.records.rivals import FeatureFacts, HeadFacts, PromptFacts
from hfbench.records.use import UseFacts

SCHEMA_VERSION: Literal[3] = 3
SCHEMA_BEFORE = 2  # which is read, too, see `identity.upgrade`

WEIGHT_FILES = (".safetensors",)
"""Endings of the weights that hfbench keeps."""

# at the start: a hidden file or folders above; in a CSV file a spreadsheet's formula
OWN_NAME = re.compile(r"[^\s.=+@\uff1d\uff0b\uff0d\uff20/\\\0-][^/\\\0]{0,199}")
"""Of a file that belongs to a record: it does not lead out of its folder."""

Curves = dict[str, list[dict[str, float]]]
"""Split -> points, in the order of training."""


class ModelFacts(RecordPart):
    """What was trained."""

    source: str = Field(description="Checkpoint, preset, architecture or control.")
    revision: str | None = Field(description="Commit of a Hub checkpoint that was resolved.")
    weights_hash: str | None = Field(description="SHA-256 of a local checkpoint's weight files.")
    final_weights: str | None = Field(
        default=None,
        description="SHA-256 of the weights that are evaluated, see `digest.hash_tensors`; null "
        "for a control.",
    )
    class_name: str = Field(description="The class of the model.")
    parameters: NonNegativeInt | None = Field(
        description="All parameters; null for a control without any."
    )
    embedding_parameters: NonNegativeInt | None = Field(
        description="Of these, in token/position embeddings."
    )
    trainable_parameters: NonNegativeInt | None = Field(
        default=None, description="Parameters that were trained, where not all were (LoRA)."
    )
    config: dict[str, Any] = Field(
        description="The model's configuration, as differs from default."
    )
    vocab_size: NonNegativeInt | None = Field(description="Entries of the tokenizer.")
    max_length: PositiveInt | None = Field(
        description="Tokens at which texts were truncated; null where nothing limits them."
    )
    notes: list[str] = Field(
        default=[], description="In what the model is not what its name says, in words."
    )


class TrainingFacts(RecordPart):
    """How it was trained."""

    arguments: dict[str, Any] = Field(description="Every TrainingArguments field, as run.")
    optimizer: str = Field(description="'study' or 'huggingface': which parameters decay.")
    streams: dict[str, NonNegativeInt] = Field(
        description="Derived seeds: init, order, dropout, subset."
    )
    world_size: PositiveInt = Field(description="Processes that trained together.")
    batch: PositiveInt = Field(description="Examples of one optimizer step, over all processes.")
    steps: NonNegativeInt = Field(description="Optimizer steps taken.")
    selection: Selection = Field(
        description="Which weights are evaluated: the last, or those of the validation's best."
    )
    selected_step: NonNegativeInt = Field(
        description="Optimizer step of the weights that are evaluated."
    )
    patience: PositiveInt | None = Field(
        default=None,
        description="Early stopping: evaluations in a row without a better one after which the "
        "training ended; null: none.",
    )
    planned_steps: NonNegativeInt | None = Field(
        default=None,
        description="Where it may end early: the steps that it would have taken at most.",
    )
    pruned_at: float | None = Field(
        default=None,
        description="Of a trial that was behind those before it: the epoch at which it was ended.",
    )
    examples_seen: NonNegativeInt = Field(
        description="Training examples seen, repetitions included."
    )
    tokens_seen: NonNegativeInt = Field(description="Their tokens, padding apart.")
    tokens: dict[str, Tokens] = Field(description="Token counts by split.")
    flops: Annotated[int, Field(ge=0, le=10**30)] | None = Field(
        description="Floating-point operations of all forward and backward passes, padding apart; "
        "null where they could not be counted, see `not_recorded`."
    )
    device: str = Field(description="Name of the device.")
    batch_parts: PositiveInt = Field(
        default=1,
        description="Parts in which each device's share of a batch was passed, because the memory "
        "did not hold it whole; the batch of a step is the same.",
    )
    cuda_graphs: bool = Field(
        default=False, description="Whether steps were replayed, see `cuda_graphs`."
    )
    class_weights: dict[str, float] | None = Field(
        default=None,
        description="Label -> its weight in the loss, see `SequenceLoss.weights`; null: all alike.",
    )
    without_padding: bool = Field(
        default=False, description="Whether layers saw real tokens alone, where that was worth it."
    )
    replay_refusal: str | None = Field(
        default=None, description="Why they were not, where that was tried."
    )
    train_seconds: float = Field(
        description="Wall time of training, evaluations apart. Where a pretraining went on from a "
        "checkpoint: up to that checkpoint and from it, without the steps that were lost."
    )
    peak_memory_bytes: NonNegativeInt = Field(description="Highest memory use; see peak_memory_of.")
    peak_memory_of: str = Field(
        description="'device allocations', or the resident size of 'the process during the run' "
        "or, where the system cannot say that, of 'the process since its start'."
    )


class Probe(RecordPart):
    """What the process that trained a model says of it, by which a copy can be known."""

    weights: str = Field(description="SHA-256 of the weights, see `digest.hash_tensors`.")

    texts: list[str] = Field(description="The texts, hfbench's own.")
    max_length: PositiveInt | None = Field(
        description="Tokens at which they were truncated; null: nowhere."
    )
    logits: list[list[float]] = Field(
        description="Of each text, alone in its batch, on the CPU, in float32, by one thread and "
        "without the key-value cache."
    )

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the logits, as little-endian float32, text by text."""
        import numpy as np

        return hashlib.sha256(np.array(self.logits, dtype="<f4").tobytes()).hexdigest()


def _without_surrogates(text: str) -> str:
    """Bytes of a file's name that are no UTF-8 stand in a message as half a character each."""
    return text.encode("utf-8", "backslashreplace").decode()


class Failure(RecordPart):
    """Why a run has no result."""

    type: str = Field(description="Class of the exception.")
    message: Annotated[str, AfterValidator(_without_surrogates)] = Field(description="Its message.")
    step: NonNegativeInt | None = Field(description="Optimizer step, where one is to blame.")
    module: str | None = Field(
        default=None, description="Python's name of the module in which it was raised."
    )
    line: NonNegativeInt | None = Field(default=None, description="Of that module.")
    frames: list[str] = Field(
        default=[],
        description="The calls that led there, the last ones, each as `module:line function`.",
    )

    @property
    def text(self) -> str:
        """What was raised, and where, in one line."""
        where = f" ({self.module}, line {self.line})" if self.module else ""
        return f"{self.type}: {self.message}{where}"

    @property
    def what(self) -> str:
        """What was raised, without the step."""
        return f"{self.type}: {self.message.removesuffix(f' at optimizer step {self.step}')}"

    @property
    def likeness(self) -> tuple[str, str]:
        """Equal where runs failed for the same reason, at whatever step."""
        return self.what, f"{self.module}:{self.line}"


class RunRecord(RecordPart):
    """What every record says: whose run it is, what decides its result, where it ran."""

    schema_version: Literal[3] = Field(default=SCHEMA_VERSION, description="Of this schema.")
    kind: Kind
    recipe: str = Field(
        description="Name of the recipe; of one with several tasks, <recipe>/<task>."
    )
    model: str = Field(description="Name of the model in the recipe.")
    seed: NonNegativeInt | None = Field(
        description="Seed of the recipe, of a pretraining that is one of several its own; null if "
        "nothing is random, and of the only pretraining of a model."
    )
    train_size: PositiveInt | None = Field(
        default=None, description="Training examples of a learning curve's point; null: all."
    )
    fold: PositiveInt | None = Field(
        default=None, description="Of a cross-validation, from 1, as `task.fold` says; null: none."
    )
    cell_id: str = Field(description="SHA-256 of `identity`: by this a result is known again.")
    identity: dict[str, Any] = Field(
        default={},
        description="All that decides the result, by content, see `execution.identity`; empty if "
        "it is old.",
    )
    code_hashes: dict[str, str] | None = Field(
        default=None,
        description="Of a record from before concepts had versions: hashes of hfbench's modules.",
    )
    settings: dict[str, Any] = Field(description="A recipe with this one model and seed.")
    adopted_from: str | None = Field(
        default=None,
        description="recipe/record under which the same content had run before; null: it ran here.",
    )
    started: str = Field(description="UTC time, ISO 8601.")
    environment: dict[str, Any] = Field(description="Versions, commit, platform, launch.")
    cell_seconds: float = Field(description="Wall time of the whole run, evaluations included.")

    @model_validator(mode="after")
    def _names_files_of_its_own(self) -> Self:
        """A record may come from anybody: what it says must not lead out of its folder."""
        for name in filter(None, (self.model, self.stem, getattr(self, "predictions", None))):
            if not OWN_NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be the name of a file of its own")
        if not re.fullmatch(r"\d[\dT:.+Z-]*", self.started, re.ASCII):
            raise ValueError(f"started: {self.started!r} is not a time as in ISO 8601")
        return self

    @property
    def cell_name(self) -> str:
        """Of its cell among all of the recipe; see `recipe.cells.Cell.name`."""
        return "/".join([*self.recipe.split("/")[1:], self.stem])

    @property
    def stem(self) -> str:
        """The file name without its ending."""
        return cell_stem(self.kind, self.model, self.train_size, self.seed, self.fold)


class FailedRecord(RunRecord):
    """A run of any kind that has no result."""

    status: Literal["failed"] = "failed"
    failure: Failure


class FinishedRecord(RunRecord):
    """A run of any kind that has a result."""

    status: Literal["finished"] = "finished"
    model_facts: ModelFacts
    metrics: dict[str, dict[str, float]] = Field(
        description=(
            "Split -> metric -> value, of the selected weights. Of a pretraining: loss (nats a "
            "token), perplexity, and bits_per_byte of the text that is predicted."
        ),
    )
    not_recorded: dict[str, str] = Field(
        default={},
        description="What is null in this record because it could not be had -> the reason.",
    )


class TrainedRecord(FinishedRecord):
    """A neural network, trained."""

    training: TrainingFacts
    curves: Curves = Field(
        description=(
            "train: loss (mean since the entry before), accuracy (of the training batches, with "
            "dropout), grad_norm, learning_rate; validation: loss and the metrics. Each entry has "
            "step and epoch."
        ),
    )
    saved_weights: str | None = Field(
        default=None,
        description="SHA-256 of the weight files under models/; null: none were kept.",
    )

    @field_validator("curves")
    @classmethod
    def _of_both_splits(cls, curves: Curves) -> Curves:
        if missing := [name for name in ("train", "validation") if name not in curves]:
            raise ValueError(f"there is none of {missing[0]!r}")
        return curves

    @property
    def training_losses(self) -> list[float]:
        """In the order of training; in float16 some may be left out."""
        return [point["loss"] for point in self.curves["train"] if "loss" in point]


class ComparedRecord(FinishedRecord):
    """A row of the table with one seed: what answered the examples of a task."""

    task: TaskData
    predictions: str = Field(
        description="Parquet file beside this one: split, id, label, logits (one row an example); "
        "where there are any, the number of its group and `slice.<name>`, its value of a slice.",
    )
    thresholds: list[float] | None = Field(
        default=None,
        description="Of each label, or of the second of two classes, the probability from which on "
        "it is given, as chosen on the validation examples; null: 0.5.",
    )
    predictions_hash: str | None = Field(
        default=None,
        description="SHA-256 of that file; null in records from before it was written.",
    )
    _of_folds: list["Compared"] = PrivateAttr(default_factory=list)
    """Of a run that is made of folds, in `evidence.folds` alone: their records."""
    corpus_overlap: dict[str, Overlap] | None = Field(
        default=None,
        description="Split -> how many of its examples are in the training part of the corpus that "
        "the model was pretrained on here; null for other models.",
    )
    use: UseFacts | None = Field(
        default=None,
        description="What it costs to ask it; null where it was not measured: in runs of other "
        "seeds than the first, and in records from before it was.",
    )

    @property
    def learning_seconds(self) -> float | None:
        """Wall time of what it learnt from the training examples, evaluations apart."""
        raise NotImplementedError

    @property
    def cut_tokens(self) -> dict[str, Tokens] | None:
        """Token counts by split; None of what reads whole texts, without a tokenizer."""
        raise NotImplementedError


class PretrainingRecord(TrainedRecord):
    """A language model, from whose weights runs of its model start."""

    kind: Literal["pretraining"] = "pretraining"
    corpus: CorpusData


class ClassificationRecord(TrainedRecord, ComparedRecord):
    """A model that was trained on a task."""

    kind: Literal["classification"] = "classification"
    seed: NonNegativeInt = Field(description="Seed of the recipe.")
    probe: Probe | None = Field(
        default=None,
        description="By which a copy of the model can be known; given where its weights were kept.",
    )

    @property
    def learning_seconds(self) -> float:
        """Of its training."""
        return self.training.train_seconds

    @property
    def cut_tokens(self) -> dict[str, Tokens]:
        """As it was trained on them."""
        return self.training.tokens


class ControlRecord(ComparedRecord):
    """What is no neural network."""

    kind: Literal["control"] = "control"
    fit_seconds: float = Field(description="Wall time of fitting.")
    unknown_texts: dict[str, NonNegativeInt] | None = Field(
        default=None,
        description="Split -> texts of which the control knows no feature, as it says; null for a "
        "control that cannot say.",
    )

    @property
    def learning_seconds(self) -> float:
        """Of its fit."""
        return self.fit_seconds

    @property
    def cut_tokens(self) -> None:
        """It reads whole texts."""


class ProbeRecord(ComparedRecord):
    """A classifier on the features of a network that was not trained."""

    kind: Literal["probe"] = "probe"
    features: FeatureFacts
    fitted: HeadFacts
    fit_seconds: float = Field(description="Wall time of fitting, cross-validation included.")

    @property
    def learning_seconds(self) -> float:
        """Of the features and the fit."""
        return self.features.seconds + self.fit_seconds

    @property
    def cut_tokens(self) -> dict[str, Tokens]:
        """As the network read them."""
        return self.features.tokens


class PromptRecord(ComparedRecord):
    """A language model that was asked, and not trained."""

    kind: Literal["prompt"] = "prompt"
    prompt: PromptFacts

    @property
    def learning_seconds(self) -> float:
        """It learns nothing."""
        return 0.0

    @property
    def cut_tokens(self) -> dict[str, Tokens]:
        """Of whole prompts."""
        return self.prompt.tokens


AnswerForm = Literal["labels", "probabilities", "logits", "numbers"]
"""What the answers of a file are."""


class AnswersFile(RecordPart):
    """A file with answers that hfbench did not make."""

    name: str = Field(description="Its name, without folders.")
    sha256: str = Field(description="SHA-256 of the file.")
    rows: NonNegativeInt = Field(description="Rows in it.")
    form: AnswerForm = Field(
        description="What the answers are. Of labels there are no measures of probabilities."
    )
    matched_by: str = Field(description="By what rows were known, in words.")
    columns: list[str] = Field(description="The columns that were read.")
    inferred: list[str] = Field(description="What the recipe did not say and was found, in words.")
    answered: dict[str, NonNegativeInt] = Field(
        description="Split -> examples that have an answer: all."
    )
    ignored: dict[str, NonNegativeInt] = Field(
        description="Of what kind -> rows that answer no evaluated example."
    )


class PredictionsRecord(ComparedRecord):
    """Answers that something else gave."""

    kind: Literal["predictions"] = "predictions"
    answers: AnswersFile

    @property
    def learning_seconds(self) -> None:
        """Nobody said."""

    @property
    def cut_tokens(self) -> None:
        """Nobody said."""


Compared = ClassificationRecord | ControlRecord | PredictionsRecord | ProbeRecord | PromptRecord
Finished = PretrainingRecord | Compared
Record = FailedRecord | Finished
"""One run: a model on a task with a seed, whatever its kind, or one pretraining."""

_CLASSES: dict[str, type[Finished]] = {
    "classification": ClassificationRecord,
    "control": ControlRecord,
    "predictions": PredictionsRecord,
    "pretraining": PretrainingRecord,
    "probe": ProbeRecord,
    "prompt": PromptRecord,
}


def record_class(values: dict[str, Any]) -> type[Record]:
    """The class of a record that holds ``values``.

    Raises:
        ValueError: if its kind is none; to be read after "not a valid record".
    """
    kind = values.get("kind")
    if not (isinstance(kind, str) and kind in _CLASSES):
        *others, last = _CLASSES
        raise ValueError(f": kind: it must be {', '.join(others)} or {last}")
    return FailedRecord if values.get("status") == "failed" else _CLASSES[kind]
