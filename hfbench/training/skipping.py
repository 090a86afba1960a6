"""Work that changes no number and is left out."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from hfbench.data.batches import PackedRows
from hfbench.models.custom_gpt import CustomGPTForCausalLM, CustomGPTForSequenceClassification
from hfbench.training.compact_embedding import can_be_compact, compact_embedding
from hfbench.training.length_batches import MOST_TOKENS, LengthBatches
from hfbench.training.packing import RealTokens, can_pack, pays, without_padding
from hfbench.training.trainer import FairTrainer

# Not what is derived from them: it may mix tokens where without padding other rows are neighbours.
_SKIP_PADDING = (CustomGPTForCausalLM, CustomGPTForSequenceClassification)

_MOST_LOGITS = 2**28  # of a language model's batch; in float32 1 GiB, and as much for their losses


class SkippingTrainer(FairTrainer):
    """`FairTrainer` without work that changes no number.

    - A model that can skips padding, on a CPU or where steps are replayed; see `packing`.
    - A custom GPT skips logits that no loss counts.
    - On one GPU rows are evaluated in the order of length, many at once.
    - Rows of the word embedding that no example uses take no part in training.
    - Operations are counted once, see `models.flops`, and not at every step.
    - Checkpoints are written without torch's checksums, which `torch.load` does not look at.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._options: dict[str, Any] = {"skip_padding": True} if self._can_skip_padding() else {}
        self._training_options = dict(self._options)
        if self.head == "language model" and "skip_logits" in self.parameters:
            self._training_options["skip_logits"] = True
        self.is_compact = self._can_be_compact()
        # of a batch on a GPU it would have to wait for the number of real tokens
        self.packs = self.args.device.type == "cpu" and self._can_pack()
        self._evaluation_tokens = MOST_TOKENS

    def _can_skip_padding(self) -> bool:
        return (
            self.args.device.type == "cpu"  # a GPU would have to wait for the number of real tokens
            and not self.args.torch_compile
            and type(self.model) in _SKIP_PADDING
        )

    def _can_pack(self) -> bool:
        return self._has_plain_layers and can_pack(self.model)

    @property
    def _has_plain_layers(self) -> bool:
        # checkpointed layers run once more, in the backward pass, where they would be as they are
        return not (self.args.torch_compile or self.args.gradient_checkpointing)

    def _can_be_compact(self) -> bool:
        if (
            not self.args.optim.startswith("adamw_torch")  # others might move unused rows
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
        is_compact = self.is_compact
        compact = compact_embedding(self.model, self._used_ids) if is_compact else nullcontext()
        with compact, _without_checksums():
            return super().train(*args, **kwargs)

    def compute_loss(self, model: nn.Module, inputs: dict, *args: Any, **kwargs: Any) -> Any:
        """The loss."""
        with self.without_padding(self._real_tokens(inputs)):
            options = self._training_options if model.training else self._options
            return super().compute_loss(model, {**inputs, **options}, *args, **kwargs)

    def _real_tokens(self, inputs: dict) -> RealTokens | None:
        """What layers shall see of a batch; None for all of it."""
        mask = inputs.get("attention_mask")
        if not self.packs or mask is None or mask.device.type != "cpu":
            return None
        return RealTokens.of_mask(mask) if pays(int(mask.sum()), *mask.shape) else None

    def without_padding(self, tokens: RealTokens | None) -> AbstractContextManager:
        """Within, layers see these tokens alone, if they are given."""
        if tokens is None:
            return nullcontext()
        same_draws = self.args.device.type == "cpu"  # on which numbers are the same everywhere
        return without_padding(self.model, tokens, same_draws=same_draws)

    def evaluation_batches(self, rows: PackedRows) -> LengthBatches | None:
        """Of an evaluation on one GPU: large, and of rows of like length."""
        if self.args.device.type != "cuda" or self.args.world_size > 1:
            return None
        tokens = self._evaluation_tokens
        if self.head == "language model":
            tokens = min(tokens, _MOST_LOGITS // len(self.processing_class))
        return LengthBatches(rows.lengths, self.args.eval_batch_size, tokens)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Those batches."""
        rows = self.eval_dataset if eval_dataset is None else eval_dataset
        batches = self.evaluation_batches(rows)
        if batches is None:
            return super().get_eval_dataloader(eval_dataset)
        loader: DataLoader = DataLoader(rows, batch_sampler=batches, collate_fn=self.data_collator)
        return self.accelerator.prepare_data_loader(loader)

    get_test_dataloader = get_eval_dataloader

    def evaluation_loop(self, dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        """In batches of the recipe's size where the memory does not hold larger ones."""
        with _no_plan_for_each_shape():
            try:
                return super().evaluation_loop(dataloader, *args, **kwargs)
            except torch.OutOfMemoryError:
                if not self._evaluation_tokens:
                    raise
                self._evaluation_tokens = 0
                smaller = self.get_eval_dataloader(dataloader.dataset)
                return super().evaluation_loop(smaller, *args, **kwargs)

    def prediction_step(self, model: nn.Module, inputs: dict, *args: Any, **kwargs: Any) -> Any:
        """What `FairTrainer` predicts."""
        return super().prediction_step(model, {**inputs, **self._options}, *args, **kwargs)

    def floating_point_ops(self, inputs: Any) -> int:
        """Nothing, see the class."""
        return 0


@contextmanager
def _no_plan_for_each_shape() -> Iterator[None]:
    """Within, attention is not cuDNN's, which first takes 50 ms and more for a shape.

    Evaluations have many shapes, with a batch or two of each, and its forward passes are no faster.
    """
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


@contextmanager
def _without_checksums() -> Iterator[None]:
    """Within, `torch.save` computes none: they would take a quarter of a checkpoint's time."""
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        yield
    finally:
        torch.serialization.set_crc32_options(before)
