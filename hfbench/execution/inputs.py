"""All that the cells of a comparison share, loaded once: data, tokenizers, configurations.

Loading it before the first cell runs means that a column, a repo or a file that is not there is
known at once and not after hours.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cached_property, partial, wraps
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from transformers import TrainerCallback, TrainingArguments

from hfbench.data.answers import Answers, load_answers
from hfbench.data.contamination import count_corpus_overlaps
from hfbench.data.corpus import LoadedCorpus, load_corpus
from hfbench.data.groups import order_by_groups
from hfbench.data.strata import strata
from hfbench.data.subsets import check_train_sizes, nested_order
from hfbench.data.tables import labels_of
from hfbench.data.task import LoadedTask, WholeTask, load_task, load_whole
from hfbench.data.tokens import TokenizedData, predicted_bytes, tokenize_corpus, tokenize_task
from hfbench.data.weights import class_weights
from hfbench.errors import HfbenchError, UserError
from hfbench.metrics.built_in import DEFAULTS
from hfbench.metrics.estimate import UndefinedMeasureError
from hfbench.metrics.registry import Metric, find_metric
from hfbench.models.controls import refuse_unfit_control
from hfbench.models.imports import find_function, import_code
from hfbench.models.prepare import PreparedModel, check_head, check_lora, prepare_model
from hfbench.models.rivals.estimators import make_estimator
from hfbench.models.rivals.features import check_body, choose_poolings
from hfbench.models.rivals.prompt import check_prompt
from hfbench.models.tokenizer import tokenizer_hash
from hfbench.recipe.cells import Cell
from hfbench.recipe.model import Corpus, Model
from hfbench.recipe.schema import Recipe
from hfbench.records.data import Overlap
from hfbench.system.redaction import redact
from hfbench.training.arguments import training_arguments
from hfbench.training.process import process_of_its_own
from hfbench.training.seeds import derive_streams
from hfbench.training.sequence_loss import SequenceLoss

Result = TypeVar("Result")


class Inputs:
    """Data and prepared models of a recipe, by model name; tokenised once for all its cells."""

    def __init__(self, recipe: Recipe, cells: Sequence[Cell], like: "Inputs | None" = None) -> None:
        """Load what ``cells`` need.

        Args:
            recipe: has one task, or none; for several see `tasks`.
            cells: of the recipe.
            like: inputs of another task, or another fold, with the same models: what neither
                decides is taken from there.

        Raises:
            UserError: if data cannot be loaded or do not fit, or if not one model can run.
        """
        import_code(recipe)
        self.recipe = recipe
        self._like = like
        self._corpora: dict[Corpus, LoadedCorpus] = like._corpora if like else {}
        self._corpus_overlaps: dict[Corpus, dict[str, Overlap]] = {}
        self._subsets: dict[tuple[int, int], LoadedTask] = {}
        self._tokenized: dict[tuple[str, int], TokenizedData] = {}
        self._tokenized_corpora: dict[tuple[str, int, Corpus], TokenizedData] = (
            like._tokenized_corpora if like else {}
        )
        self.prepared: dict[str, PreparedModel] = {}
        self.tokenizer_hashes: dict[str, str] = {}
        self._answers: dict[str, Answers] = {}
        self.refused: dict[str, Exception] = {}
        """Model -> why it cannot run; it costs its own cells and no others."""
        if any(cell.is_compared for cell in cells):
            labels, names = self._train_labels, self.task.facts.labels
            subsets = {cell.subset for cell in cells if cell.subset}
            for seed in sorted({seed for seed, _ in subsets}):
                sizes = sorted(size for own, size in subsets if own == seed)
                check_train_sizes(sizes, labels, names, self._order(seed))
            self._refuse_unfit_keys(cells)
            self._refuse_unfit_measures()
        brought = {(c.kind, c.model.name): c for c in cells if c.can_be_refused}
        for cell in brought.values():
            self.refuse_where(cell.model, partial(self._look_at, cell))
        if self.refused.keys() == {cell.model.name for cell in brought.values()}:
            self.expect_all()

    def of(self, cell: Cell) -> "Inputs":
        """Those of the part of ``cell``: these; see `tasks.PartInputs`."""
        return self

    def refuse_where(self, model: Model, look: Callable[[], None]) -> None:
        """Note why ``model`` cannot run, if ``look`` raises it; nothing is asked of one twice."""
        if model.name in self.refused:
            return
        try:
            look()
        except Exception as error:  # a model's code runs, and may raise anything
            self.refused[model.name] = error

    def expect_all(self) -> "Inputs":
        """These, where every model can run.

        Raises:
            UserError: in a process that was given only cells that can, as it was found elsewhere.
        """
        if self.refused:
            raise UserError("\n".join(map(refusal, self.refused.values())))
        return self

    def _look_at(self, cell: Cell) -> None:
        if cell.kind == "predictions":
            self._refuse_unfit_answers(cell.model)
        elif cell.model.estimator:
            make_estimator(cell.model.estimator, f"models.{cell.model.name}.estimator")
        else:
            self._prepare(cell.model)
            self._check(cell)

    def _prepare(self, model: Model) -> None:
        if model.name in self.prepared:
            return
        like = self._like
        reads_task = model.tokenizer is not None and model.tokenizer.train_on == "task"
        if like and not reads_task and model.name in like.prepared:
            self.prepared[model.name] = replace(like.prepared[model.name], entry=model)
            self.tokenizer_hashes[model.name] = like.tokenizer_hashes[model.name]
        elif alike := self._prepared_alike(model):
            # of its own: a tokenizer or a configuration may be changed by what a row does with it
            own = deepcopy((self.prepared[alike].tokenizer, self.prepared[alike].config))
            self.prepared[model.name] = replace(
                self.prepared[alike], entry=model, tokenizer=own[0], config=own[1]
            )
            self.tokenizer_hashes[model.name] = self.tokenizer_hashes[alike]
        else:
            prepared = prepare_model(model, partial(self._tokenizer_texts, model))
            self.prepared[model.name] = prepared
            self.tokenizer_hashes[model.name] = tokenizer_hash(prepared.tokenizer)

    def _prepared_alike(self, model: Model) -> str | None:
        """One that is prepared and differs in how it is trained alone, as trials of tuning do."""
        wanted = _before_training(model)
        found = (n for n, p in self.prepared.items() if _before_training(p.entry) == wanted)
        return next(found, None)

    def _check(self, cell: Cell) -> None:
        """Refuse what would fail when the cell runs."""
        prepared = self.prepared[cell.model.name]
        if cell.head == "language model":
            self.corpus(cell.model)
        if cell.head:
            check_head(prepared, cell.head)
        if cell.kind == "probe":
            check_body(prepared)
            assert cell.model.probe is not None
            choose_poolings(prepared, cell.model.probe.pooling)
        if cell.kind == "prompt":
            check_head(prepared, "language model")
            facts, columns = self.task.facts, self.task.splits["train"].column_names
            has_pairs, prompt = "text_pair" in columns, cell.model.prompt
            assert prompt is not None
            check_prompt(prepared, prompt, facts.labels, facts.problem_type, has_pairs=has_pairs)
        if cell.model.lora:  # never of a pretraining
            check_lora(prepared, cell.model.lora)
        assert prepared.max_length > 0  # asks the model
        arguments(cell, self)

    def answers(self, model: Model) -> Answers:
        """What the file of ``model`` says of the examples."""
        if model.name not in self._answers:
            task, entry = self.recipe.task, model.predictions
            assert task is not None
            assert entry is not None
            self._answers[model.name] = load_answers(
                entry,
                f"models.{model.name}.predictions",
                task,
                self.task,
                self.recipe.folder,
                entry.seeds or self.recipe.seeds,
            )
        return self._answers[model.name]

    def _refuse_unfit_answers(self, model: Model) -> None:
        """Refuse labels where probabilities are asked, and what a choice on validation needs."""
        answers, task, key = self.answers(model), self.recipe.task, f"models.{model.name}"
        assert task is not None
        if answers.file.form == "labels" and (self.metric.of_probabilities or task.threshold):
            asked = "threshold" if task.threshold else f"metric: {self.metric.name}"
            raise UserError(
                f"{key}.predictions: {answers.file.name} has labels, and task.{asked} needs "
                "probabilities: give a score for each class"
            )
        if task.threshold and "validation" not in answers.file.answered:
            raise UserError(
                f"{key}.predictions: {answers.file.name} has no answers to the validation "
                "examples, on which task.threshold chooses"
            )

    @cached_property
    def task(self) -> LoadedTask:
        """The recipe's task, which it has."""
        task = self.recipe.task
        assert task is not None
        if task.folds is None:
            return load_task(task, self.recipe.folder)
        return self._whole.fold(task.folds.numbers[0])

    @property
    def is_first_fold(self) -> bool:
        """Whether it is the one to speak for its task: what is said of one fold holds for all."""
        folds = self.recipe.task and self.recipe.task.folds
        return not folds or folds.only in (None, 1)

    @cached_property
    def _whole(self) -> WholeTask:
        """What all folds of a cross-validation are cut from, read once for all of them."""
        assert self.recipe.task is not None
        if self._like and self._like.recipe.name == self.recipe.name:
            return self._like._whole
        return load_whole(self.recipe.task, self.recipe.folder)

    @cached_property
    def _train_labels(self) -> np.ndarray:
        return labels_of(self.task.splits["train"])

    def task_of(self, cell: Cell) -> LoadedTask:
        """The task as ``cell`` sees it: with its part of the train split."""
        key = cell.subset
        if key is None:
            return self.task
        if key not in self._subsets:
            self._subsets[key] = self.task.with_train_rows(self._rows(*key))
        return self._subsets[key]

    def train_rows(self, cell: Cell) -> np.ndarray | None:
        """Those that ``cell`` sees of the train split; None: all."""
        return None if cell.subset is None else self._rows(*cell.subset)

    def _rows(self, seed: int, train_size: int) -> np.ndarray:
        """The same for every model; in the split's order, so that a subset of all is the split."""
        return np.sort(self._order(seed)[:train_size])

    def _order(self, seed: int) -> np.ndarray:
        """The train split's rows, of which a subset is a beginning."""
        stream, groups = derive_streams(seed).subset, self.task.groups
        numbers = strata(self._train_labels)
        if groups is None:
            return nested_order(numbers, stream)
        return order_by_groups(numbers, groups["train"], stream)

    def class_weights(self, cell: Cell) -> tuple[float, ...] | None:
        """Of the labels, in the training part that ``cell`` sees; None where all count alike."""
        task = self.recipe.task
        if task is None or task.class_weights is None:
            return None
        loaded = self.task_of(cell)
        return class_weights(task, labels_of(loaded.splits["train"]), loaded.facts.labels)

    def loss(self, cell: Cell) -> SequenceLoss:
        """By which a classifier is trained; a language model has its own."""
        if cell.head != "classifier":
            return SequenceLoss()
        own = self.recipe.loss
        function = find_function(own, "loss") if own else None
        return SequenceLoss(self.task.facts.problem_type, self.class_weights(cell), function)

    def callbacks(self) -> list[TrainerCallback]:
        """New ones of the recipe's, for one training.

        Raises:
            UserError: if one of ``callbacks`` gives something else.
        """
        found = []
        for path in self.recipe.callbacks:
            made = find_function(path, "callbacks")()
            if not isinstance(made, TrainerCallback):
                raise UserError(
                    f"callbacks: {path} gave a {type(made).__name__}, and must give a "
                    "transformers.TrainerCallback"
                )
            found.append(made)
        return found

    def _refuse_unfit_keys(self, cells: Sequence[Cell]) -> None:
        """Refuse what means nothing for the task's problem type, which its data may have said."""
        kind, labels = self.task.facts.problem_type, self.task.facts.labels
        if self.recipe.selection not in ("last", "best_loss"):
            find_metric(self.recipe.selection.removeprefix("best_"), kind, labels, "selection")
        if kind == "single_label_classification":
            if self.recipe.task and self.recipe.task.threshold and len(labels) != 2:
                raise UserError(
                    f"task.threshold: it is for two classes or for several labels of a text, and "
                    f"{self.task.facts.source} has {len(labels)} classes"
                )
            return
        for cell in cells:
            smoothing = "label_smoothing_factor"
            if (
                kind == "regression"
                and cell.head == "classifier"
                and (cell.training_arguments.get(smoothing))
            ):
                raise UserError(
                    f"training_arguments.{smoothing} (model {cell.model.name!r}) has no meaning "
                    f"for {kind}, which the task is"
                )
            if cell.model.control:
                refuse_unfit_control(cell.model.control, kind, f"models.{cell.model.name}.control")

    @property
    def metric(self) -> Metric:
        """The measure by which models are ranked."""
        facts, task = self.task.facts, self.recipe.task
        name = (task and task.metric) or DEFAULTS[facts.problem_type]
        return find_metric(name, facts.problem_type, facts.labels, "task.metric")

    def _refuse_unfit_measures(self) -> None:
        """Refuse measures that are not known, or have no meaning for the task.

        Raises:
            UserError: of the ranking also where it has no number on the evaluation examples.
        """
        task, facts = self.recipe.task, self.task.facts
        assert task is not None
        kind, selected = facts.problem_type, self.recipe.selection.removeprefix("best_")
        wanted = [("task.metrics", name) for name in task.metrics]
        if selected not in ("last", "loss"):
            wanted.append((f"selection: {self.recipe.selection}", selected))
        metric = self.metric
        for key, name in wanted:
            find_metric(name, kind, facts.labels, key)
        labels = labels_of(self.task.splits[facts.evaluation_split])
        try:  # whatever the answers: what is wanting is in the labels
            metric.compute(np.zeros((len(labels), len(facts.labels)), np.float32), labels)
        except UndefinedMeasureError as error:
            raise UserError(
                f"task.metric: {metric.name} has no number on the {facts.evaluation_split} "
                f"examples of {facts.source}: {error}; choose another measure"
            ) from None
        except Exception:  # one of anybody's may do without answers that are all alike
            return

    def corpus(self, model: Model) -> LoadedCorpus:
        """The corpus that ``model`` is pretrained on."""
        corpus = _corpus_of(model)
        if corpus not in self._corpora:
            key = f"models.{model.name}.pretrain.corpus"
            self._corpora[corpus] = load_corpus(corpus, self.recipe.folder, key)
        return self._corpora[corpus]

    def corpus_overlap(self, model: Model) -> dict[str, Overlap] | None:
        """Which evaluation examples ``model`` saw in pretraining; None if it was not pretrained."""
        if model.pretrain is None:
            return None
        corpus = _corpus_of(model)
        if corpus not in self._corpus_overlaps:
            texts = self.corpus(model).texts["train"]
            self._corpus_overlaps[corpus] = count_corpus_overlaps(texts, self.task.splits)
        return self._corpus_overlaps[corpus]

    def max_length(self, model: Model) -> int:
        """Tokens at which the task's texts are truncated for ``model``."""
        limit = self.prepared[model.name].max_length
        task = self.recipe.task
        return min(limit, task.max_length) if task and task.max_length else limit

    def example_length(self, model: Model) -> int:
        """Tokens of the longest example that ``model`` may be pretrained on."""
        corpus, limit = _corpus_of(model), self.prepared[model.name].max_length
        return min(corpus.block_size if corpus.cut == "blocks" else corpus.max_length, limit)

    def tokenized_task(self, cell: Cell) -> TokenizedData:
        """The task as ``cell`` sees it, in its model's tokens."""
        whole = self.tokenized_whole(cell.model)
        return whole.with_train_rows(self._rows(*cell.subset)) if cell.subset else whole

    def tokenized_whole(self, model: Model) -> TokenizedData:
        """The task with its whole train split, in the model's tokens."""
        tokenizer, max_length = self.prepared[model.name].tokenizer, self.max_length(model)
        key = (self.tokenizer_hashes[model.name], max_length)
        if key not in self._tokenized:
            assert self.recipe.task is not None
            truncation = self.recipe.task.truncation
            self._tokenized[key] = tokenize_task(
                self.task.splits, tokenizer, max_length, truncation
            )
        return self._tokenized[key]

    def tokenized_corpus(self, model: Model) -> TokenizedData:
        """The pretraining corpus in the model's tokens."""
        prepared, corpus = self.prepared[model.name], _corpus_of(model)
        key = (self.tokenizer_hashes[model.name], prepared.max_length, corpus)
        if key not in self._tokenized_corpora:
            texts = self.corpus(model).texts
            self._tokenized_corpora[key] = tokenize_corpus(
                texts, prepared.tokenizer, corpus, prepared.max_length
            )
        return self._tokenized_corpora[key]

    def predicted_bytes(self, model: Model) -> int | None:
        """Bytes of the validation text that ``model`` predicts, if its tokenizer can say."""
        prepared, texts = self.prepared[model.name], self.corpus(model).texts["validation"]
        return predicted_bytes(texts, prepared.tokenizer, _corpus_of(model), prepared.max_length)

    def _tokenizer_texts(self, model: Model, source: str) -> Sequence[str]:
        """Training texts only: a tokenizer must not have seen the evaluation examples."""
        if source == "corpus":
            return self.corpus(model).texts["train"]
        train = self.task.splits["train"]
        columns = [name for name in ("text", "text_pair") if name in train.column_names]
        return [text for column in columns for text in train[column][:]]


def _before_training(model: Model) -> Model:
    """The entry as far as its tokenizer and configuration depend on it."""
    training: dict[str, Any] = {
        "training_arguments": {},
        "optimizer": None,
        "lora": None,
        "tune": {},
        "tuned": {},
        "hurdles": {},
    }
    return model.model_copy(update={"name": "", **training})


def refusal(error: Exception) -> str:
    """Why a model cannot run, in one line."""
    message = " ".join(redact(str(error)).split())
    return message if isinstance(error, HfbenchError) else f"{type(error).__name__}: {message}"


def _corpus_of(model: Model) -> Corpus:
    assert model.pretrain is not None
    return model.pretrain.corpus


def once_a_model(function: Callable[[Cell, Inputs], Result]) -> Callable[[Cell, Inputs], Result]:
    """Ask ``function`` once for all cells of the same kind and model, whatever their seed."""
    known: WeakKeyDictionary[Inputs, dict[tuple[str, str], Result]] = WeakKeyDictionary()

    @wraps(function)
    def answer(cell: Cell, inputs: Inputs) -> Result:
        found = known.setdefault(inputs, {})
        key = (cell.kind, cell.model.name)
        if key not in found:
            found[key] = function(cell, inputs)
        return found[key]

    return answer


@once_a_model
def arguments(cell: Cell, inputs: Inputs) -> TrainingArguments:
    """What ``cell`` is trained by, but for its seed and its folder, which is not made here.

    Raises:
        UserError: if transformers refuses a value.
    """
    key = f"models.{cell.model.name}.training_arguments"
    with process_of_its_own():  # they are looked at here, and act where the cell runs
        return training_arguments(cell.training_arguments, derive_streams(0), Path(), key)
