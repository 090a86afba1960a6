"""A Trainer whose steps are replayed from CUDA graphs."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hfbench.data.batches import IGNORED, round_tokens, round_widely
from hfbench.models.custom_gpt import CustomGPTForCausalLM
from hfbench.training.agreement import largest_of_all
from hfbench.training.cuda_graphs import ReplayedAdamW, ReplayedFunction, ReplayedScaler
from hfbench.training.fewer_kernels import fewer_kernels
from hfbench.training.packing import ATTENTION, RealTokens, pays
from hfbench.training.reduced_weights import reduced_weights
from hfbench.training.replay_trial import why_not_replayed
from hfbench.training.skipping import SkippingTrainer

# Of a mean batch's tokens, as many as the fewest slots: fewer would save little, and each shape is
# planned, run once and recorded.
_LEAST_SLOTS = 0.9


class Shape(NamedTuple):
    """How a batch is computed; of each there is a graph."""

    length: int
    """Of its rows, padded."""
    is_padded: bool
    slots: int
    """Tokens that layers see; 0: all, padding too."""


class Batch(NamedTuple):
    """A batch of a process."""

    rows: np.ndarray
    """Their numbers in the training split, shape (B,)."""
    shape: Shape
    """The same in all processes."""


class ReplayingTrainer(SkippingTrainer):
    """The same training with steps that are recorded once and launched at once.

    For what `cuda_graphs.can_replay` allows. Batches are made on the GPU, from the numbers of their
    rows. Where a step is one batch of one process it is one graph, its update included. Where it is
    several, each is one, and the update another, before which processes add up their gradients. A
    model whose passes turn out not to be the same in a replay takes plain steps.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # rows are chosen on the host, which knows their lengths
        self.packs = self._can_pack() or self._is_told_real_tokens
        device = self.args.device
        self._rows_on_device = self.train_dataset.to(device)
        rows = self.args.per_device_train_batch_size
        self._rows = torch.zeros(rows, dtype=torch.long, device=device)
        # of the batch's tokens those that are real, then padding; see `packing`
        most = rows * self.train_dataset.longest
        self._index = torch.zeros(most, dtype=torch.long, device=device)
        self._tried: set[tuple[bool, bool]] = set()
        self._items = torch.zeros((), device=device)
        self._loss = torch.zeros((), device=device)
        self._collects = self.args.gradient_accumulation_steps * self.args.world_size > 1
        self._begins_step = True
        self._replayed_count = ReplayedFunction(self._count_items)
        self._replayed_step = ReplayedFunction(self._step_on_rows, self._why_not_replayed)
        _, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
        options["max_grad_norm"] = self.args.max_grad_norm
        if self.accelerator.scaler is not None:
            self.accelerator.scaler = options["scaler"] = ReplayedScaler(device.type)
        self.optimizer_cls_and_kwargs = (ReplayedAdamW, options)

    @property
    def replays(self) -> bool:
        """Whether steps are replayed, as far as was seen."""
        return self._replayed_step.refusal is None

    @property
    def replay_refusal(self) -> str | None:
        """Why they are not."""
        return self._replayed_step.refusal

    @cached_property
    def _is_told_real_tokens(self) -> bool:
        """Whether the model leaves padding out itself, see `CustomGPTModel.forward`.

        Of a custom GPT that is a language model most of the work is that of the logits.
        """
        return (
            self._has_plain_layers
            and type(self.model) is CustomGPTForCausalLM
            and self.model.config._attn_implementation == ATTENTION
        )

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train; several processes stay together from here on."""
        if self.args.world_size > 1:
            self._stay_together()
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
        """The numbers of the rows of each batch."""
        numbers: Any = range(len(self.train_dataset))
        loader: DataLoader = DataLoader(
            numbers,
            batch_size=len(self._rows),
            sampler=self.sampler,
            collate_fn=torch.tensor,
        )
        return self.accelerator.prepare_data_loader(loader, device_placement=False)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """The batches of a step, whose items are counted on the device.

        A step of one batch of one process counts them itself.
        """
        rows = [next(epoch_iterator).numpy() for _ in range(num_batches)]
        batches = [*map(Batch, rows, self._shapes(rows))]
        self._begins_step = True
        if self._collects:
            self._items.zero_()
            for batch in batches:
                self._place(batch)
                self._replayed_count(*batch.shape)
            if self.args.world_size > 1:
                dist.all_reduce(self._items)
        return batches, None

    def _shapes(self, batches: list[np.ndarray]) -> list[Shape]:
        """Of the batches of a step, shapes that hold those of every process.

        Then all record at once, where each would let the others wait.
        """
        data = self.train_dataset
        needs = []
        for rows in batches:
            lengths = data.lengths[rows]
            needs += [data.shape(rows)[0], -int(lengths.min()), int(lengths.sum())]
        agreed = iter(largest_of_all(*needs))
        return [self._shape(*three) for three in zip(agreed, agreed, agreed, strict=True)]

    @cached_property
    def _least_tokens(self) -> int:
        return int(_LEAST_SLOTS * len(self._rows) * self.train_dataset.lengths.mean())

    def _shape(self, length: int, minus_shortest: int, tokens: int) -> Shape:
        is_padded = -minus_shortest < length
        slots = round_tokens(max(tokens, self._least_tokens))
        if not (self.packs and is_padded and pays(slots, len(self._rows), length)):
            return Shape(length, is_padded, 0)
        # little is computed for padding now, and each shape is recorded
        return Shape(min(round_widely(length), self.train_dataset.longest), is_padded, slots)

    def training_step(self, model: nn.Module, inputs: Any, *args: Any) -> Tensor:
        """Replay a step, or a batch of one, on the `Batch` ``inputs``."""
        self.watch.begin(self.state.global_step + 1)
        if not model.training:
            model.train()
        self._place(inputs)
        optimizer = self.optimizer.optimizer
        optimizer.update_rates()
        self._replayed_step(*inputs.shape, self._begins_step)
        self._begins_step = False
        if self.args.world_size > 1 and self.accelerator.sync_gradients:
            optimizer.add_up()
        return self._loss

    def _place(self, batch: Batch) -> None:
        """Let a step find the rows of ``batch``."""
        rows, (length, _, slots) = batch
        self._rows.copy_(torch.from_numpy(rows), non_blocking=True)
        if slots:
            index = self.train_dataset.real_tokens(rows, length)[:slots]
            self._index[:slots].copy_(torch.from_numpy(index), non_blocking=True)

    def _step_on_rows(self, length: int, is_padded: bool, slots: int, begins_step: bool) -> None:
        """A step on the rows in ``_rows``, or a batch of one; leaves the loss in ``_loss``.

        Layers see ``slots`` tokens, if it is not 0. Where gradients are collected, the batch
        ``begins_step`` or does not.
        """
        optimizer = self.optimizer.optimizer
        inputs = self._batch(length, is_padded)
        if self._collects:
            loss = self._passes(inputs, length, slots)
            optimizer.collect(adds=not begins_step)
        else:
            self._items.copy_(self._counted(inputs["labels"]))
            loss = self._passes(inputs, length, slots)
            optimizer.update()
        self.watch.see(loss)
        self._loss.copy_(loss)

    def _batch(self, length: int, is_padded: bool) -> dict[str, Tensor]:
        """The rows in ``_rows``."""
        return self._rows_on_device.pad(self._rows, length, with_mask=is_padded)

    def _passes(self, inputs: dict[str, Tensor], length: int, slots: int) -> Tensor:
        """Forward and backward pass; gives the loss, divided by ``_items``."""
        tokens = RealTokens(self._index[:slots], len(self._rows), length) if slots else None
        # what is cast is cast at once, in those models in which nothing asks for a weight's type
        casts = self.packs and not self._is_told_real_tokens and self.args.bf16
        reduced = reduced_weights(self.model) if casts else nullcontext()
        fewer = fewer_kernels(self.model) if self._has_plain_layers else nullcontext()
        with self.compute_loss_context_manager(), reduced, fewer, self.without_padding(tokens):
            loss = self.compute_loss(self.model_wrapped, inputs, num_items_in_batch=self._items)
        if self.head == "language model" and not self.model_accepts_loss_kwargs:
            loss = loss / self.args.gradient_accumulation_steps  # as `Trainer` does it
        self.accelerator.backward(loss / self.args.world_size)
        return loss.detach()

    def without_padding(self, tokens: RealTokens | None) -> AbstractContextManager:
        """Within, the model sees these tokens alone, if they are given."""
        if tokens is None or not self._is_told_real_tokens:
            return super().without_padding(tokens)
        return self._telling(tokens.index)

    @contextmanager
    def _telling(self, index: Tensor) -> Iterator[None]:
        before = self._training_options
        self._training_options = {**before, "skip_padding": index}
        try:
            yield
        finally:
            self._training_options = before

    def _real_tokens(self, inputs: dict) -> RealTokens | None:
        return None  # those of a batch are known before it is made, see `_passes`

    def _why_not_replayed(
        self, length: int, is_padded: bool, slots: int, begins_step: bool
    ) -> str | None:
        """The reason, found by trying once for each kind of batch, in all processes at once."""
        kind = (is_padded, slots > 0)
        if kind in self._tried:
            return None
        self._tried.add(kind)
        rows, shape = self._rows.cpu().numpy(), Shape(length, is_padded, slots)
        placed = [Batch(some, shape) for some in (np.roll(rows, 1), rows)]
        reason = why_not_replayed(
            lambda: self._passes(self._batch(length, is_padded), length, slots),
            [partial(self._place, batch) for batch in placed],
            [p for p in self.model.parameters() if p.requires_grad],
            [*self.model.buffers(), self._right_and_seen],
            is_reduced=self.args.bf16
            or self.args.fp16
            or next(self.model.parameters()).dtype != torch.float32,
            computes_again=bool(self.args.gradient_checkpointing),
        )
        (one_refuses,) = largest_of_all(reason is not None)
        return reason or (
            "its passes cannot be replayed in another process" if one_refuses else None
        )

    def _count_items(self, length: int, is_padded: bool, slots: int) -> None:
        """Adds to ``_items`` how many items of the rows in ``_rows`` the loss counts."""
        self._items += self._counted(self._batch(length, is_padded)["labels"])

    def _counted(self, labels: Tensor) -> Tensor:
        if self.head == "language model":
            return (labels[:, 1:] != IGNORED).sum()
        return self.loss.items(labels)

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        # the optimizer clips; the Trainer would visit all parameters, which have no gradient now
        return self.optimizer.optimizer.grad_norm

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Tensor:
        return self.optimizer.optimizer.grad_norm
