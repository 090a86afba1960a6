"""All that the cells of a comparison share, loaded once: data, tokenizers, configurations.

Loading it before the first cell runs means that a column, a repo or a file that is not there is
known at once and not after hours.
"""

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    TrainingArguments,
)

from hfbench.data.contamination import count_corpus_overlaps
from hfbench.data.corpus import LoadedCorpus, load_corpus
from hfbench.data.subsets import check_train_sizes, nested_order
from hfbench.data.task import LoadedTask, load_task
from hfbench.data.tokens import TokenizedData, predicted_bytes, tokenize_corpus, tokenize_task
from hfbench.execution.identity import identify
from hfbench.models.facts import count_parameters
from hfbench.models.flops import count_flops
from hfbench.models.imports import import_code
from hfbench.models.prepare import PreparedModel, check_head, check_lora, prepare_model
from hfbench.models.tokenizer import tokenizer_hash
from hfbench.recipe.cells import Cell
from hfbench.recipe.schema import Corpus, Model, Recipe
from hfbench.records.identity import cell_id
from hfbench.records.schema import Overlap
from hfbench.training.arguments import training_arguments
from hfbench.training.seeds import derive_streams

_SAMPLE = 1000  # training examples by which the mean length is told


class Workbench:
    """Data and prepared models of a recipe, by model name; tokenised once for all its cells."""

    def __init__(self, recipe: Recipe, cells: list[Cell]) -> None:
        """Load what ``cells`` need.

        Raises:
            UserError: for whatever cannot be loaded or does not fit.
        """
        import_code(recipe)
        self.recipe = recipe
        self._corpora: dict[Corpus, LoadedCorpus] = {}
        self._corpus_overlaps: dict[Corpus, dict[str, Overlap]] = {}
        self._subsets: dict[tuple[int, int], LoadedTask] = {}
        self._identities: dict[str, dict[str, Any]] = {}
        self._tokenized: dict[tuple[str, int], TokenizedData] = {}
        self._tokenized_corpora: dict[tuple[str, int, Corpus], TokenizedData] = {}
        self._arguments: dict[tuple[str, str], TrainingArguments] = {}
        self._mean_tokens: dict[tuple[str, str], float] = {}
        self._matrix_parameters: dict[tuple[str, str], int] = {}
        self._flops: dict[tuple[str, str, int], list[int]] = {}
        self.prepared: dict[str, PreparedModel] = {}
        self.tokenizer_hashes: dict[str, str] = {}
        if any(cell.kind == "classification" for cell in cells):
            sizes = sorted({cell.train_size for cell in cells if cell.train_size is not None})
            check_train_sizes(sizes, self._train_labels, self.task.facts.labels)
        for cell in cells:
            model = cell.model
            if model.control or model.name in self.prepared:
                continue
            texts_for = partial(self._tokenizer_texts, model)
            self.prepared[model.name] = prepare_model(model, texts_for)
            self.tokenizer_hashes[model.name] = tokenizer_hash(self.prepared[model.name].tokenizer)
        for cell in cells:
            model = cell.model
            if cell.kind == "pretraining":
                self.corpus(model)
            if not model.control and (cell.kind, model.name) not in self._arguments:
                check_head(self.prepared[model.name], cell.kind)
                if model.lora:  # never of a pretraining
                    check_lora(self.prepared[model.name], model.lora)
                self.arguments(cell)

    def identity(self, cell: Cell) -> dict[str, Any]:
        """All that decides the result of ``cell``."""
        if cell.stem not in self._identities:
            self._identities[cell.stem] = identify(cell, self)
        return self._identities[cell.stem]

    def cell_id(self, cell: Cell) -> str:
        """The hash of that."""
        return cell_id(self.identity(cell))

    def arguments(self, cell: Cell) -> TrainingArguments:
        """What ``cell`` is trained by, but for its seed and its folder, which is not made here."""
        key = (cell.kind, cell.model.name)
        if key not in self._arguments:
            # they are checked by their own class
            self._arguments[key] = training_arguments(
                cell.training_arguments,
                derive_streams(0),
                Path(),
                f"models.{cell.model.name}.training_arguments",
            )
        return self._arguments[key]

    @cached_property
    def task(self) -> LoadedTask:
        """The recipe's task."""
        assert self.recipe.task is not None
        return load_task(self.recipe.task, self.recipe.folder)

    @cached_property
    def _train_labels(self) -> np.ndarray:
        return np.array(self.task.splits["train"]["label"][:])

    def task_of(self, cell: Cell) -> LoadedTask:
        """The task as ``cell`` sees it: with its part of the train split."""
        if cell.train_size is None:
            return self.task
        assert cell.seed is not None
        key = (cell.seed, cell.train_size)
        if key not in self._subsets:
            self._subsets[key] = self.task.with_train_rows(self._rows(*key))
        return self._subsets[key]

    def _rows(self, seed: int, train_size: int) -> np.ndarray:
        """The same for every model; in the split's order, so that a subset of all is the split."""
        order = nested_order(self._train_labels, derive_streams(seed).subset)
        return np.sort(order[:train_size])

    def corpus(self, model: Model) -> LoadedCorpus:
        """The corpus that ``model`` is pretrained on."""
        assert model.pretrain is not None
        corpus = model.pretrain.corpus
        if corpus not in self._corpora:
            key = f"models.{model.name}.pretrain.corpus"
            self._corpora[corpus] = load_corpus(corpus, self.recipe.folder, key)
        return self._corpora[corpus]

    def corpus_overlap(self, model: Model) -> dict[str, Overlap] | None:
        """Which evaluation examples ``model`` saw in pretraining; None if it was not pretrained."""
        if model.pretrain is None:
            return None
        corpus = model.pretrain.corpus
        if corpus not in self._corpus_overlaps:
            texts = self.corpus(model).texts["train"]
            self._corpus_overlaps[corpus] = count_corpus_overlaps(texts, self.task.splits)
        return self._corpus_overlaps[corpus]

    def max_length(self, model: Model) -> int:
        """Tokens at which the task's texts are truncated for ``model``."""
        limit = self.prepared[model.name].max_length
        task = self.recipe.task
        return min(limit, task.max_length) if task and task.max_length else limit

    def tokenized_task(self, cell: Cell) -> TokenizedData:
        """The task as ``cell`` sees it, in its model's tokens."""
        whole = self._tokenized_whole(cell.model)
        if cell.train_size is None:
            return whole
        assert cell.seed is not None
        return whole.with_train_rows(self._rows(cell.seed, cell.train_size))

    def _tokenized_whole(self, model: Model) -> TokenizedData:
        tokenizer, max_length = self.prepared[model.name].tokenizer, self.max_length(model)
        key = (self.tokenizer_hashes[model.name], max_length)
        if key not in self._tokenized:
            self._tokenized[key] = tokenize_task(self.task.splits, tokenizer, max_length)
        return self._tokenized[key]

    def tokenized_corpus(self, model: Model) -> TokenizedData:
        """The pretraining corpus in the model's tokens."""
        assert model.pretrain is not None
        prepared, corpus = self.prepared[model.name], model.pretrain.corpus
        key = (self.tokenizer_hashes[model.name], prepared.max_length, corpus)
        if key not in self._tokenized_corpora:
            texts = self.corpus(model).texts
            self._tokenized_corpora[key] = tokenize_corpus(
                texts, prepared.tokenizer, corpus, prepared.max_length
            )
        return self._tokenized_corpora[key]

    def predicted_bytes(self, model: Model) -> int | None:
        """Bytes of the validation text that ``model`` predicts, if its tokenizer can say."""
        assert model.pretrain is not None
        prepared = self.prepared[model.name]
        texts = self.corpus(model).texts["validation"]
        corpus = model.pretrain.corpus
        return predicted_bytes(texts, prepared.tokenizer, corpus, prepared.max_length)

    def mean_tokens(self, cell: Cell) -> float:
        """Tokens of a training example, by the first of them; a block's, where there are blocks."""
        key = (cell.kind, cell.model.name)
        if key not in self._mean_tokens:
            self._mean_tokens[key] = self._count_mean_tokens(cell)
        return self._mean_tokens[key]

    def _count_mean_tokens(self, cell: Cell) -> float:
        prepared, pairs = self.prepared[cell.model.name], None
        if cell.kind == "pretraining":
            assert cell.model.pretrain is not None
            corpus = cell.model.pretrain.corpus
            if corpus.cut == "blocks":
                return min(corpus.block_size, prepared.max_length)
            max_length = min(corpus.max_length, prepared.max_length)
            texts = self.corpus(cell.model).texts["train"][:_SAMPLE]
        else:
            max_length = self.max_length(cell.model)
            first = self.task.splits["train"][:_SAMPLE]
            texts, pairs = first["text"], first.get("text_pair")
        # cut here: a tokenizer that is asked to truncate keeps that as part of its state
        encoded = prepared.tokenizer(texts, pairs, truncation=False, verbose=False)
        return float(np.mean([min(len(ids), max_length) for ids in encoded["input_ids"]]))

    def parameter_count(self, cell: Cell) -> int:
        """All parameters of a cell's model, counted without making its weights."""
        return count_parameters(self._model_without_weights(cell))[0]

    def matrix_parameters(self, cell: Cell) -> int:
        """Parameters that every token is multiplied by: matrices that are no embeddings."""
        key = (cell.kind, cell.model.name)
        if key not in self._matrix_parameters:
            self._matrix_parameters[key] = sum(
                parameter.numel()
                for module in self._model_without_weights(cell).modules()
                # a head that shares the embedding's matrix is a module of its own
                if not isinstance(module, nn.Embedding)
                for parameter in module.parameters(recurse=False)
                if parameter.ndim >= 2
            )
        return self._matrix_parameters[key]

    def flops(self, cell: Cell, model: PreTrainedModel, longest: int) -> list[int]:
        """Operations of an example by its tokens, see `flops.count_flops`; ``model`` is the cell's.

        They are those of all seeds.
        """
        key = (cell.kind, cell.model.name, longest)
        if key not in self._flops:
            self._flops[key] = count_flops(model, cell.kind, longest)
        return self._flops[key]

    def _model_without_weights(self, cell: Cell) -> PreTrainedModel:
        prepared = self.prepared[cell.model.name]
        is_lm = cell.kind == "pretraining"
        auto_class = AutoModelForCausalLM if is_lm else AutoModelForSequenceClassification
        config = prepared.config
        if not is_lm:
            values = {**config.to_dict(), "num_labels": len(self.task.facts.labels)}
            config = type(config).from_dict(values)
        with torch.device("meta"):
            trust = cell.model.trust_remote_code
            model = auto_class.from_config(config, trust_remote_code=trust)
            if prepared.embedding_rows > model.get_input_embeddings().num_embeddings:
                model.resize_token_embeddings(prepared.embedding_rows, mean_resizing=False)
        return model

    def _tokenizer_texts(self, model: Model, source: str) -> Sequence[str]:
        """Training texts only: a tokenizer must not have seen the evaluation examples."""
        if source == "corpus":
            return self.corpus(model).texts["train"]
        train = self.task.splits["train"]
        columns = [name for name in ("text", "text_pair") if name in train.column_names]
        return [text for column in columns for text in train[column][:]]
