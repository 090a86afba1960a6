"""Work that changes no number and is left out."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import nn

from hfbench.models.custom_gpt import CustomGPTForCausalLM, CustomGPTForSequenceClassification
from hfbench.training.compact_embedding import can_be_compact, compact_embedding
from hfbench.training.packing import RealTokens, can_pack, pays, without_padding
from hfbench.training.trainer import FairTrainer

# Not what is derived from them: it may mix tokens where without padding other rows are neighbours.
_SKIP_PADDING = (CustomGPTForCausalLM, CustomGPTForSequenceClassification)


class SkippingTrainer(FairTrainer):
    """`FairTrainer` without work that changes no number.

    - A model that can skips padding, on a CPU or where steps are replayed; see `packing`.
    - A custom GPT skips logits that no loss counts.
    - Rows of the word embedding that no example uses take no part in training.
    - Operations are counted once, see `models.flops`, and not at every step.
    - Checkpoints are written without torch's checksums, which `torch.load` does not look at.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._options = {"skip_padding": True} if self._can_skip_padding() else {}
        self._training_options = dict(self._options)
        if self.head == "language model" and "skip_logits" in self.parameters:
            self._training_options["skip_logits"] = True
        self.is_compact = self._can_be_compact()
        # checkpointed layers run once more, in the backward pass, where they would be as they are
        plain_layers = not (self.args.torch_compile or self.args.gradient_checkpointing)
        self.packs = plain_layers and can_pack(self.model)

    def _can_skip_padding(self) -> bool:
        return (
            self.args.device.type == "cpu"  # a GPU would have to wait for the number of real tokens
            and not self.args.torch_compile
            and type(self.model) in _SKIP_PADDING
        )

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
        options = self._training_options if model.training else self._options
        tokens = self.real_tokens(inputs)
        packed = nullcontext()
        if tokens is not None:
            packed = without_padding(self.model, tokens, same_draws=self.args.device.type == "cpu")
        with packed:
            return super().compute_loss(model, {**inputs, **options}, *args, **kwargs)

    def real_tokens(self, inputs: dict) -> RealTokens | None:
        """What the layers see of a batch, where that is less and pays."""
        mask = inputs.get("attention_mask")
        if mask is None or mask.device.type != "cpu" or not self.packs:
            return None
        return RealTokens.of_mask(mask) if pays(int(mask.sum()), *mask.shape) else None

    def prediction_step(self, model: nn.Module, inputs: dict, *args: Any, **kwargs: Any) -> Any:
        """What `FairTrainer` predicts."""
        return super().prediction_step(model, {**inputs, **self._options}, *args, **kwargs)

    def floating_point_ops(self, inputs: Any) -> int:
        """Nothing, see the class."""
        return 0


@contextmanager
def _without_checksums() -> Iterator[None]:
    """Within, `torch.save` computes none: they would take a quarter of a checkpoint's time."""
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        yield
    finally:
        torch.serialization.set_crc32_options(before)
