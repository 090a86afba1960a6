"""The one Trainer for every model: the same order, the same loss, the same optimiser."""

import inspect
import math
from contextlib import nullcontext
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import torch.distributed as dist
import torch.nn.functional as F
from datasets import Dataset
from datasets.table import InMemoryTable
from torch import nn
from torch.utils.data import DataLoader, Sampler
from transformers import (
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainingArguments,
)

from hfbench.data.batches import IGNORED, PackedRows
from hfbench.data.tokens import TokenizedData
from hfbench.metrics.registry import METRICS
from hfbench.metrics.scores import classification_metrics, language_model_metrics
from hfbench.models.custom_gpt import CustomGPTForCausalLM, CustomGPTForSequenceClassification
from hfbench.recipe.arguments import Optimizer
from hfbench.recipe.types import Head
from hfbench.records.schema import Curves
from hfbench.training.compact_embedding import can_be_compact, compact_embedding
from hfbench.training.cuda_graphs import ReplayedAdamW, ReplayedFunction, can_replay
from hfbench.training.sampler import EpochSampler
from hfbench.training.seeds import Streams
from hfbench.training.sharded import ShardingTrainer

# Not what is derived from them: it may mix tokens where without padding other rows are neighbours.
_SKIP_PADDING = (CustomGPTForCausalLM, CustomGPTForSequenceClassification)


class NonFiniteLossError(ArithmeticError):
    """The loss or the logits became NaN or infinite."""

    def __init__(self, message: str, step: int) -> None:
        super().__init__(f"{message} at optimizer step {step}")
        self.step = step


class BenchTrainer(ShardingTrainer):
    """`Trainer` with what a fair comparison needs, and without what makes a small model wait.

    - The order of the examples is `EpochSampler`'s.
    - A classifier's loss is the sum over the examples divided by the number of examples in the
      whole optimizer step, over accumulation and processes. The model's own loss would be a mean
      of each piece that the stock Trainer then does not divide (transformers issue 47688).
    - With the study's optimiser only matrices that are not embeddings decay.
    - The training accuracy is logged beside the loss.
    - A loss that is not finite ends the run. It is watched on the device and read when logging, so
      that no step waits for it.
    - Batches come from `PackedRows`. With ``cuda_graphs`` they are made on the GPU, and steps are
      replayed from CUDA graphs, see `can_replay`.
    """

    def __init__(
        self,
        *,
        head: Head,
        train_dataset: Dataset,
        eval_dataset: Dataset,
        optimizer_name: Optimizer,
        streams: Streams,
        cuda_graphs: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            data_collator=lambda batch: batch,  # `PackedRows` has padded it
            **kwargs,
        )
        self.parameters = inspect.signature(self.model.forward).parameters
        self.train_dataset = self.pack(_with_ignored_row(train_dataset))
        self.eval_dataset = self.pack(eval_dataset)
        self.optimizer_name = optimizer_name
        self.batch = (
            self.args.per_device_train_batch_size
            * self.args.gradient_accumulation_steps
            * self.args.world_size
        )
        self.sampler = EpochSampler(len(train_dataset), self.batch, streams.order)
        self.head = head
        self.seconds_before = 0.0  # of training, in starts that this one goes on from
        device = self.args.device
        self._can_skip_logits = head == "language model" and "skip_logits" in self.parameters
        self._can_skip_padding = (
            device.type == "cpu"  # a GPU would have to wait for the number of real tokens
            and not self.args.torch_compile
            and type(self.model) in _SKIP_PADDING
        )
        self._step = torch.tensor(0, device=device)
        self._first_bad_step = torch.tensor(-1, device=device)
        self._right_and_seen = torch.zeros(2, dtype=torch.long, device=device)
        self.replays = (
            cuda_graphs and not self.is_fsdp_enabled and can_replay(self.model, self.args)
        )
        if self.replays:
            self._rows_on_device = self.train_dataset.to(device)
            rows = self.args.per_device_train_batch_size
            self._rows = torch.zeros(rows, dtype=torch.long, device=device)
            self._items = torch.zeros((), dtype=torch.long, device=device)
            self._loss = torch.zeros((), device=device)
            self._replayed_count = ReplayedFunction(self._count_items)
            self._replayed_step = ReplayedFunction(self._step_on_rows)
            _, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            options["max_grad_norm"] = self.args.max_grad_norm
            self.optimizer_cls_and_kwargs = (ReplayedAdamW, options)

    def pack(self, dataset: Dataset) -> PackedRows:
        """The columns that the model takes, as batches for it."""
        columns = [name for name in dataset.column_names if name in {*self.parameters, "labels"}]
        return PackedRows(
            dataset.select_columns(columns),
            self.processing_class,
            round_lengths=self.args.device.type == "cuda",
        )

    @cached_property
    def is_compact(self) -> bool:
        """Whether rows of the word embedding that no example uses take no part in training."""
        if (
            not self.args.optim.startswith("adamw_torch")  # others might move them
            or self.args.torch_compile
            or self.is_fsdp_enabled
        ):
            return False
        decays = self.get_decay_parameter_names(self.model) if self.args.weight_decay else []
        return can_be_compact(self.model, self._used_ids, set(decays))

    @cached_property
    def _used_ids(self) -> torch.Tensor:
        """Ascending, of all examples."""
        return torch.cat([self.train_dataset.used_ids(), self.eval_dataset.used_ids()]).unique()

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train, with a word embedding that is compact where that changes nothing else."""
        if self.replays and self.args.world_size > 1:
            self._stay_together()
        with compact_embedding(self.model, self._used_ids) if self.is_compact else nullcontext():
            return super().train(*args, **kwargs)

    def _stay_together(self) -> None:
        """Let all processes start from the same weights, without DistributedDataParallel.

        It would compile a model in parts, one for each bucket of gradients, and its communication
        cannot be recorded; gradients are added up between replays instead.
        """
        for tensor in self.model.state_dict().values():
            dist.broadcast(tensor, 0)
        prepare = self.accelerator.prepare_model
        self.accelerator.prepare_model = partial(prepare, evaluation_mode=True)

    def get_train_dataloader(self) -> Any:
        """Padded batches or, where steps are replayed, the numbers of their rows."""
        if not self.replays:
            return super().get_train_dataloader()
        numbers: Any = range(len(self.train_dataset))
        loader: DataLoader = DataLoader(
            numbers,
            batch_size=len(self._rows),
            sampler=self.sampler,
            collate_fn=torch.tensor,
        )
        return self.accelerator.prepare_data_loader(loader, device_placement=False)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """The batches of a step, and the number of items that its loss is divided by."""
        if not self.replays:
            return super().get_batch_samples(epoch_iterator, num_batches, device)
        return [next(epoch_iterator)], None  # a replayed step counts its items on the device

    def floating_point_ops(self, inputs: Any) -> int:
        """Nothing: operations are counted once, see `flops`, and not at every step."""
        return 0

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
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

    def classification_loss(
        self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Cross entropy over the labelled rows of this piece / rows of the whole step."""
        logits = outputs["logits"].float()  # (B, num_labels)
        if self.model.training:
            hits = (logits.detach().argmax(-1) == labels).sum()
            self._right_and_seen += torch.stack([hits, (labels != IGNORED).sum()])
        total = F.cross_entropy(
            logits,
            labels,
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=self.args.label_smoothing_factor if self.model.training else 0.0,
        )
        return total / (num_items_in_batch if num_items_in_batch is not None else len(labels))

    def compute_loss(self, model: nn.Module, inputs: dict, *args: Any, **kwargs: Any) -> Any:
        """The loss; a model that can skips padding, and logits that no loss counts."""
        if self._can_skip_logits and model.training:
            inputs = {**inputs, "skip_logits": True}
        if self._can_skip_padding:
            inputs = {**inputs, "skip_padding": True}
        return super().compute_loss(model, inputs, *args, **kwargs)

    def prediction_step(self, model: nn.Module, inputs: dict, *args: Any, **kwargs: Any) -> Any:
        """As `Trainer` does it; of a language model each row's losses in the place of logits."""
        if self.head == "classifier":
            return super().prediction_step(model, inputs, *args, **kwargs)
        inputs = self._prepare_inputs(inputs)
        labels = inputs.pop("labels")  # a model that saw them would compute the loss, too
        if self._can_skip_padding:
            inputs["skip_padding"] = True
        with torch.no_grad(), self.compute_loss_context_manager():
            logits = model(**inputs)["logits"]  # (B, T, V)
        return None, _row_losses(logits, labels), labels

    def training_step(self, model: nn.Module, inputs: Any, *args: Any) -> torch.Tensor:
        """Forward and backward; notes the step of the first non-finite loss.

        A replayed step of one process updates the parameters, too.
        """
        self._step.fill_(self.state.global_step + 1)
        if self.replays:
            if not model.training:
                model.train()
            self._rows.copy_(inputs, non_blocking=True)
            shape = self.train_dataset.shape(inputs.numpy())
            self.optimizer.optimizer.update_rates()
            if self.args.world_size == 1:
                self._replayed_step(*shape)
            else:
                self._replayed_count(*shape)
                dist.all_reduce(self._items)
                self._replayed_step(*shape)
                self.optimizer.optimizer.add_up()
            return self._loss
        loss = super().training_step(model, inputs, *args)
        self._watch(loss)
        return loss

    def _step_on_rows(self, length: int, is_padded: bool) -> None:
        """A step on the rows in ``_rows``; leaves the loss in ``_loss``.

        Of several processes each does forward and backward pass, and collects its gradients.
        """
        inputs = self._rows_on_device.pad(self._rows, length, with_mask=is_padded)
        if self.args.world_size == 1:
            self._items.copy_(self._counted(inputs["labels"]))
        with self.compute_loss_context_manager():
            loss = self.compute_loss(self.model_wrapped, inputs, num_items_in_batch=self._items)
        self.accelerator.backward(loss / self.args.world_size)
        if self.args.world_size == 1:
            self.optimizer.optimizer.update()
        else:
            self.optimizer.optimizer.collect()
        self._watch(loss.detach())
        self._loss.copy_(loss.detach())

    def _count_items(self, length: int, is_padded: bool) -> None:
        """Leaves in ``_items`` how many items of the rows in ``_rows`` the loss counts."""
        inputs = self._rows_on_device.pad(self._rows, length, with_mask=is_padded)
        self._items.copy_(self._counted(inputs["labels"]))

    def _counted(self, labels: torch.Tensor) -> torch.Tensor:
        counted = labels[:, 1:] if self.head == "language model" else labels
        return (counted != IGNORED).sum()

    def _watch(self, loss: torch.Tensor) -> None:
        is_first = (self._first_bad_step < 0) & ~torch.isfinite(loss)
        self._first_bad_step.copy_(torch.where(is_first, self._step, self._first_bad_step))

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        if self.replays:  # the optimizer clips
            return self.optimizer.optimizer.grad_norm
        return super()._clip_grad_norm(model)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        if self.replays:
            return self.optimizer.optimizer.grad_norm
        return super()._get_grad_norm(model, grad_norm)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        # torch's checksums take a quarter of the time, and `torch.load` does not look at them
        before = torch.serialization.get_crc32_options()
        torch.serialization.set_crc32_options(False)
        try:
            super()._save_optimizer_and_scheduler(output_dir)
        finally:
            torch.serialization.set_crc32_options(before)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the training accuracy since the last log.

        Raises:
            NonFiniteLossError: in every process, if the loss of any was not finite.
        """
        self.refuse_non_finite()
        if "loss" in logs and self.head == "classifier":
            right, seen = self.accelerator.reduce(self._right_and_seen, "sum").tolist()
            logs["accuracy"] = right / max(seen, 1)
            self._right_and_seen.zero_()
        super().log(logs, start_time)

    def refuse_non_finite(self) -> None:
        """Raises NonFiniteLossError, in every process, if the loss of any was not finite."""
        steps = self.accelerator.gather(self._first_bad_step.reshape(1))
        if (bad := steps[steps >= 0]).numel():
            raise NonFiniteLossError("the training loss is not finite", int(bad.min()))


def build_trainer(
    head: Head,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: TokenizedData,
    args: TrainingArguments,
    optimizer_name: Optimizer,
    streams: Streams,
    callbacks: list[TrainerCallback],
    *,
    cuda_graphs: bool = True,
) -> BenchTrainer:
    """The Trainer of every run, for a classifier and for a causal language model alike.

    ``data.splits`` holds train and validation with input columns and ``labels``: a class number for
    each row of a classifier, ids for a language model. Batches are padded to their longest row, or
    on a GPU a little further. ``cuda_graphs`` replays steps where `can_replay` allows.
    """
    trainer = BenchTrainer(
        head=head,
        model=model,
        args=args,
        optimizer_name=optimizer_name,
        streams=streams,
        cuda_graphs=cuda_graphs,
        train_dataset=data.splits["train"],
        eval_dataset=data.splits["validation"],
        processing_class=tokenizer,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    if head == "classifier":
        trainer.compute_loss_func = trainer.classification_loss
        trainer.preprocess_logits_for_metrics = _first_output
        trainer.compute_metrics = lambda prediction: _classification(prediction, trainer)
    else:
        trainer.compute_metrics = lambda prediction: _language_modeling(prediction, trainer)
    return trainer


def predict(trainer: BenchTrainer, dataset: Dataset) -> np.ndarray:
    """Logits of every row, shape (rows, num_labels), in the order of the rows.

    Raises:
        NonFiniteLossError: if one is not finite.
    """
    trainer.compute_metrics = None  # that is for who asked
    found = trainer.predict(trainer.pack(dataset)).predictions
    logits = np.asarray(found, dtype=np.float32)
    _refuse_non_finite_logits(logits, trainer)
    return logits


def training_curves(trainer: BenchTrainer) -> Curves:
    """The Trainer's log as two curves; float16 training may log an infinite norm, left out."""
    train_keys = ("step", "epoch", "loss", "accuracy", "grad_norm", "learning_rate")
    validation_keys = ("loss", *METRICS)
    train, validation = [], []
    for entry in trainer.state.log_history:
        if "loss" in entry:
            point = {key: entry[key] for key in train_keys if key in entry}
            train.append({key: value for key, value in point.items() if math.isfinite(value)})
        elif "eval_loss" in entry:
            found = {key: entry[f"eval_{key}"] for key in validation_keys if f"eval_{key}" in entry}
            validation.append({"step": entry["step"], "epoch": entry["epoch"], **found})
    return {"train": train, "validation": validation}


def _with_ignored_row(dataset: Dataset) -> Dataset:
    """``dataset`` and one more row that no loss counts."""
    table = dataset.with_format("arrow")[:]
    row = table.slice(0, 1).to_pylist()[0]
    labels = row["labels"]
    ignored = [IGNORED] * len(labels) if isinstance(labels, list) else IGNORED
    last = pa.Table.from_pylist([{**row, "labels": ignored}], schema=table.schema)
    # `concatenate_datasets`, or a fingerprint of the table, takes as long as many steps may take
    both = InMemoryTable(pa.concat_tables([table, last]))
    return Dataset(both, fingerprint="never looked up")


def _first_output(logits: Any, labels: torch.Tensor) -> torch.Tensor:
    """Some architectures return more than their logits."""
    return logits[0] if isinstance(logits, tuple) else logits


def _row_losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Sum of each row's token losses, and how many there are: shape (B, 2)."""
    # row by row, so that what is as large as the logits does not exist once more
    losses = [
        F.cross_entropy(row[:-1].float(), targets[1:], ignore_index=IGNORED, reduction="sum")
        for row, targets in zip(logits, labels, strict=True)
    ]
    return torch.stack([torch.stack(losses), (labels[:, 1:] != IGNORED).sum(1)], dim=1)


def _refuse_non_finite_logits(logits: np.ndarray, trainer: BenchTrainer) -> None:
    if not np.isfinite(logits).all():
        raise NonFiniteLossError("the model's logits are not finite", trainer.state.global_step)


def _classification(prediction: EvalPrediction, trainer: BenchTrainer) -> dict[str, float]:
    _refuse_non_finite_logits(prediction.predictions, trainer)
    return classification_metrics(prediction.predictions, prediction.label_ids)


def _language_modeling(prediction: EvalPrediction, trainer: BenchTrainer) -> dict[str, float]:
    losses, tokens = np.asarray(prediction.predictions, dtype=np.float64).T
    if not np.isfinite(losses).all():
        raise NonFiniteLossError("the validation loss is not finite", trainer.state.global_step)
    return language_model_metrics(losses, tokens)
