"""A Trainer whose steps are replayed from CUDA graphs."""

from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hfbench.data.batches import IGNORED, round_tokens, round_widely
from hfbench.training.cuda_graphs import ReplayedAdamW, ReplayedFunction
from hfbench.training.packing import RealTokens, pays
from hfbench.training.reduced_weights import reduced_weights
from hfbench.training.replay_trial import why_not_replayed
from hfbench.training.skipping import SkippingTrainer


class ReplayingTrainer(SkippingTrainer):
    """The same training with steps that are recorded once and launched at once.

    For what `cuda_graphs.can_replay` allows. Batches are made on the GPU, from the numbers of their
    rows; a step of one process updates the parameters, too. Processes add up gradients between
    replays. A model whose passes turn out not to be the same in a replay takes plain steps.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.packs = self._can_pack()  # rows are chosen on the host, which knows their lengths
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
        self._replayed_count = ReplayedFunction(self._count_items)
        self._replayed_step = ReplayedFunction(self._step_on_rows, self._why_not_replayed)
        _, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
        options["max_grad_norm"] = self.args.max_grad_norm
        self.optimizer_cls_and_kwargs = (ReplayedAdamW, options)

    @property
    def replays(self) -> bool:
        """Whether steps are replayed, as far as was seen."""
        return self._replayed_step.refusal is None

    @property
    def replay_refusal(self) -> str | None:
        """Why they are not."""
        return self._replayed_step.refusal

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
        """The one batch of a step, whose items the step itself counts on the device."""
        return [next(epoch_iterator)], None

    def training_step(self, model: nn.Module, inputs: Any, *args: Any) -> Tensor:
        """Replay a step on the rows ``inputs``."""
        self.watch.begin(self.state.global_step + 1)
        if not model.training:
            model.train()
        shape = self._place(inputs.numpy())
        self.optimizer.optimizer.update_rates()
        if self.args.world_size == 1:
            self._replayed_step(*shape)
        else:
            self._replayed_count(*shape)
            dist.all_reduce(self._items)
            self._replayed_step(*shape)
            self.optimizer.optimizer.add_up()
        return self._loss

    def _place(self, rows: np.ndarray) -> tuple[int, bool, int]:
        """Let a step find the numbers ``rows``; gives what it is called with."""
        length, is_padded = self.train_dataset.shape(rows)
        self._rows.copy_(torch.from_numpy(rows), non_blocking=True)
        slots = round_tokens(int(self.train_dataset.lengths[rows].sum()))
        if not (self.packs and is_padded and pays(slots, len(rows), length)):
            return length, is_padded, 0
        # little is computed for padding now, and each shape is recorded
        length = min(round_widely(length), self.train_dataset.longest)
        index = self.train_dataset.real_tokens(rows, length)[:slots]
        self._index[:slots].copy_(torch.from_numpy(index), non_blocking=True)
        return length, is_padded, slots

    def _step_on_rows(self, length: int, is_padded: bool, slots: int) -> None:
        """A step on the rows in ``_rows``; leaves the loss in ``_loss``.

        Of several processes each does forward and backward pass, and collects its gradients.
        Layers see ``slots`` tokens, if it is not 0.
        """
        loss = self._passes(length, is_padded, slots)
        if self.args.world_size == 1:
            self.optimizer.optimizer.update()
        else:
            self.optimizer.optimizer.collect()
        self.watch.see(loss)
        self._loss.copy_(loss)

    def _passes(self, length: int, is_padded: bool, slots: int) -> Tensor:
        """Forward and backward pass; gives the loss."""
        inputs = self._rows_on_device.pad(self._rows, length, with_mask=is_padded)
        if self.args.world_size == 1:
            self._items.copy_(self._counted(inputs["labels"]))
        tokens = RealTokens(self._index[:slots], len(self._rows), length) if slots else None
        # what is cast is cast at once, in those models in which nothing asks for a weight's type
        reduced = reduced_weights(self.model) if self.packs and self.args.bf16 else nullcontext()
        with self.compute_loss_context_manager(), reduced, self.without_padding(tokens):
            loss = self.compute_loss(self.model_wrapped, inputs, num_items_in_batch=self._items)
        self.accelerator.backward(loss / self.args.world_size)
        return loss.detach()

    def _why_not_replayed(self, length: int, is_padded: bool, slots: int) -> str | None:
        """The reason, found by trying once for each kind of batch."""
        kind = (is_padded, slots > 0)
        if kind in self._tried:
            return None
        self._tried.add(kind)
        rows = self._rows.cpu().numpy()
        return why_not_replayed(
            partial(self._passes, length, is_padded, slots),
            [partial(self._place, np.roll(rows, 1)), partial(self._place, rows)],
            [p for p in self.model.parameters() if p.requires_grad],
            [*self.model.buffers(), self._right_and_seen],
            is_reduced=self.args.bf16 or next(self.model.parameters()).dtype != torch.float32,
        )

    def _count_items(self, length: int, is_padded: bool, slots: int) -> None:
        """Leaves in ``_items`` how many items of the rows in ``_rows`` the loss counts."""
        inputs = self._rows_on_device.pad(self._rows, length, with_mask=is_padded)
        self._items.copy_(self._counted(inputs["labels"]))

    def _counted(self, labels: Tensor) -> Tensor:
        if self.head == "language model":
            return (labels[:, 1:] != IGNORED).sum()
        return self.loss.items(labels)

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        # the optimizer clips; the Trainer would visit all parameters, which have no gradient now
        return self.optimizer.optimizer.grad_norm

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Tensor:
        return self.optimizer.optimizer.grad_norm
