"""The one Trainer for every model: the same order, the same loss, the same optimiser."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import EvalPrediction, Trainer, TrainingArguments

from hfbench.data.batches import IGNORED, PackedRows
from hfbench.metrics.measure import classification_metrics, language_model_metrics
from hfbench.metrics.registry import Metric
from hfbench.metrics.threshold import best_f1_thresholds
from hfbench.recipe.arguments import Optimizer
from hfbench.recipe.types import Head
from hfbench.training.length_batches import LengthBatches
from hfbench.training.losses import (
    FiniteWatch,
    NonFiniteLossError,
    first_output,
    refuse_non_finite_logits,
    row_losses,
)
from hfbench.training.sampler import EpochSampler, with_ignored_row
from hfbench.training.seeds import Streams
from hfbench.training.sequence_loss import SequenceLoss

Metrics = Callable[[EvalPrediction], dict[str, float]]


class FairTrainer(Trainer):
    """`Trainer` with what a fair comparison needs; what makes it fast is in its subclasses.

    - The order of the examples is `EpochSampler`'s.
    - A classifier's loss is the sum over the examples divided by the number of examples (or their
      weights) in the whole optimizer step, over accumulation and processes, see `SequenceLoss`. The
      model's own loss would be a mean of each piece that the stock Trainer then does not divide
      (transformers issue 47688).
    - With the study's optimiser only matrices that are not embeddings decay.
    - The training accuracy is logged beside the loss.
    - A loss that is not finite ends the run.

    Batches come padded from `PackedRows`.
    """

    is_compact = False
    """Whether the optimizer's state has another shape than the model; see `SkippingTrainer`."""
    packs = False
    """Whether layers see no padding where that pays; see `SkippingTrainer`."""

    def __init__(
        self,
        *,
        head: Head,
        args: TrainingArguments,
        train_dataset: Dataset,
        eval_dataset: Dataset,
        optimizer_name: Optimizer,
        streams: Streams,
        loss: SequenceLoss,
        **kwargs: Any,
    ) -> None:
        # smoothing is `SequenceLoss`'s; the stock Trainer would warn that several labels get none
        smoothing, args.label_smoothing_factor = args.label_smoothing_factor, 0.0
        super().__init__(
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            data_collator=_as_it_is,
            **kwargs,
        )
        self.args.label_smoothing_factor = smoothing
        self.head, self.loss = head, loss
        self.label_names = ["labels"]  # Trainer would find them only where forward names them
        self.compute_metrics: Metrics | None = self._language_model_metrics
        if head == "classifier":
            self.compute_loss_func = self.classification_loss
            self.preprocess_logits_for_metrics = first_output
            self.compute_metrics = self._classification_metrics
        self.also: tuple[Metric, ...] = ()  # measures of an evaluation beside the usual ones
        self.chooses_thresholds = False  # by each evaluation, as for its final answers
        self.parameters = inspect.signature(self.model.forward).parameters
        self.train_dataset = self.pack(with_ignored_row(train_dataset))
        self.eval_dataset = self.pack(eval_dataset)
        self.optimizer_name = optimizer_name
        self.batch = (
            self.args.per_device_train_batch_size
            * self.args.gradient_accumulation_steps
            * self.args.world_size
        )
        self.sampler = EpochSampler(len(train_dataset), self.batch, streams.order)
        self.seconds_before = 0.0  # of training, in starts that this one goes on from
        self.watch = FiniteWatch(self.args.device)
        self._right_and_seen = torch.zeros(2, dtype=torch.long, device=self.args.device)

    @property
    def replays(self) -> bool:
        """Whether steps are replayed from CUDA graphs; see `ReplayingTrainer`."""
        return False

    @property
    def replay_refusal(self) -> str | None:
        """Why they are not, where that was tried."""
        return None

    def pack(self, dataset: Dataset) -> PackedRows:
        """The columns that the model takes, as batches for it."""
        columns = [name for name in dataset.column_names if name in {*self.parameters, "labels"}]
        return PackedRows(
            dataset.select_columns(columns),
            self.processing_class,
            round_lengths=self.args.device.type == "cuda",
        )

    def evaluation_batches(self, rows: PackedRows) -> LengthBatches | None:
        """In which rows are evaluated; None: in their order, as many as the recipe says."""
        return None

    def weights(self) -> dict[str, Tensor]:
        """All weights by name."""
        return self.accelerator.unwrap_model(self.model).state_dict()

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        # `get_train_dataloader`, which is public, would have to make the whole loader anew
        return self.sampler

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Names of the parameters that decay."""
        names = super().get_decay_parameter_names(model)
        if self.optimizer_name == "study":
            # by identity: a head that shares the embedding's weight is one, too
            embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
            parameters = dict(model.named_parameters(remove_duplicate=False))
            names = [
                name
                for name in names
                if parameters[name].ndim >= 2 and id(parameters[name]) not in embeddings
            ]
        return names

    def training_step(self, model: nn.Module, inputs: Any, *args: Any) -> Tensor:
        """Forward and backward; notes the step of the first non-finite loss."""
        self.watch.begin(self.state.global_step + 1)
        loss = super().training_step(model, inputs, *args)
        self.watch.see(loss)
        return loss

    def classification_loss(
        self, outputs: Any, labels: Tensor, num_items_in_batch: Tensor | None = None
    ) -> Tensor:
        """The loss of this piece's rows / the items of the whole step.

        Weights of classes and label smoothing are for training alone.
        """
        logits = outputs["logits"].float()  # (B, outputs)
        if not self.model.training:
            plain = SequenceLoss(self.loss.problem_type)
            return plain.total(logits, labels) / plain.items(labels)
        if self.loss.problem_type == "single_label_classification":
            hits = (logits.detach().argmax(-1) == labels).sum()
            self._right_and_seen += torch.stack([hits, (labels != IGNORED).sum()])
        total = self.loss.total(logits, labels, self.args.label_smoothing_factor)
        return total / (
            num_items_in_batch if num_items_in_batch is not None else self.loss.items(labels)
        )

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """The batches of a step, and by what the sum of their losses is divided."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self.head == "classifier" and batches:
            own = torch.stack([self.loss.items(batch["labels"]) for batch in batches]).sum()
            items = self.accelerator.gather(own.to(device).reshape(1)).sum()
        return batches, items

    def prediction_step(self, model: nn.Module, inputs: dict, *args: Any, **kwargs: Any) -> Any:
        """As `Trainer` does it; of a language model each row's losses in the place of logits."""
        if self.head == "classifier":
            return super().prediction_step(model, inputs, *args, **kwargs)
        labels = inputs["labels"]  # a model that saw them would compute the loss, too
        others = {name: value for name, value in inputs.items() if name != "labels"}
        with torch.no_grad(), self.compute_loss_context_manager():
            logits = model(**others)["logits"]  # (B, T, V)
        losses = row_losses(logits, labels)
        # nothing is measured where there are no labels; those of all rows would be padded alike
        return None, losses, losses[:, 1]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the training accuracy since the last log.

        Raises:
            NonFiniteLossError: in every process, if the loss of any was not finite.
        """
        self.refuse_non_finite()
        if "loss" in logs and self._counts_right:
            right, seen = self.accelerator.reduce(self._right_and_seen, "sum").tolist()
            logs["accuracy"] = right / max(seen, 1)
            self._right_and_seen.zero_()
        super().log(logs, start_time)

    @property
    def _counts_right(self) -> bool:
        kind = self.loss.problem_type
        return self.head == "classifier" and kind == "single_label_classification"

    def refuse_non_finite(self) -> None:
        """Raises NonFiniteLossError, in every process, if the loss of any was not finite."""
        self.watch.refuse(self.accelerator)

    def _classification_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        refuse_non_finite_logits(prediction.predictions, self.state.global_step)
        kind, labels = self.loss.problem_type, prediction.label_ids
        if kind == "regression":
            labels = labels.astype(np.float64)
        logits = prediction.predictions
        thresholds = best_f1_thresholds(logits, labels) if self.chooses_thresholds else None
        return classification_metrics(logits, labels, kind, thresholds, self.also)

    def _language_model_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        losses, tokens = np.asarray(prediction.predictions, dtype=np.float64).T
        if not np.isfinite(losses).all():
            raise NonFiniteLossError("the validation loss is not finite", self.state.global_step)
        return language_model_metrics(losses, tokens)


def _as_it_is(batch: Any) -> Any:
    """The collator: `PackedRows` has padded the batch. By name, for loaders in other processes."""
    return batch


def predict(trainer: FairTrainer, dataset: Dataset) -> np.ndarray:
    """Logits of every row, shape (rows, outputs), in the order of the rows.

    Raises:
        NonFiniteLossError: if one is not finite.
    """
    trainer.compute_metrics = None  # that is for who asked
    rows = trainer.pack(dataset)
    logits = np.asarray(trainer.predict(rows).predictions, dtype=np.float32)
    if batches := trainer.evaluation_batches(rows):
        logits = logits[np.argsort(batches.order)]
    refuse_non_finite_logits(logits, trainer.state.global_step)
    return logits
