"""A Trainer whose steps are replayed from CUDA graphs."""

from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hfbench.data.batches import IGNORED
from hfbench.training.cuda_graphs import ReplayedAdamW, ReplayedFunction
from hfbench.training.skipping import SkippingTrainer


class ReplayingTrainer(SkippingTrainer):
    """The same training with steps that are recorded once and launched at once.

    For what `cuda_graphs.can_replay` allows. Batches are made on the GPU, from the numbers of their
    rows; a step of one process updates the parameters, too. Processes add up gradients between
    replays.
    """

    replays = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        device = self.args.device
        self._rows_on_device = self.train_dataset.to(device)
        rows = self.args.per_device_train_batch_size
        self._rows = torch.zeros(rows, dtype=torch.long, device=device)
        self._items = torch.zeros((), device=device)
        self._loss = torch.zeros((), device=device)
        self._replayed_count = ReplayedFunction(self._count_items)
        self._replayed_step = ReplayedFunction(self._step_on_rows)
        _, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
        options["max_grad_norm"] = self.args.max_grad_norm
        self.optimizer_cls_and_kwargs = (ReplayedAdamW, options)

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
        self.watch.see(loss.detach())
        self._loss.copy_(loss.detach())

    def _count_items(self, length: int, is_padded: bool) -> None:
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
