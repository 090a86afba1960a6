"""Which Trainer a run has: what makes it fast is chosen, and can be switched off, here."""

from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainingArguments,
)

from hfbench.data.tokens import TokenizedData
from hfbench.recipe.arguments import Optimizer
from hfbench.recipe.types import Head
from hfbench.training.cuda_graphs import can_replay
from hfbench.training.replay import ReplayingTrainer
from hfbench.training.seeds import Streams
from hfbench.training.sequence_loss import SequenceLoss
from hfbench.training.sharded import ShardingTrainer, will_shard
from hfbench.training.skipping import SkippingTrainer
from hfbench.training.trainer import FairTrainer


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
    loss: SequenceLoss | None = None,
    cuda_graphs: bool = True,
) -> FairTrainer:
    """The Trainer of every run, for a classifier and for a causal language model alike.

    ``data.splits`` holds train and validation with input columns and ``labels``: for each row of a
    classifier what its ``loss`` takes (by default a class number), ids for a language model.
    Batches are padded to their longest row, or on a GPU a little further. ``cuda_graphs`` replays
    steps where `can_replay` allows.
    """
    trainer = choose_trainer(model, args, cuda_graphs)(
        head=head,
        model=model,
        args=args,
        optimizer_name=optimizer_name,
        streams=streams,
        loss=loss or SequenceLoss(),
        train_dataset=data.splits["train"],
        eval_dataset=data.splits["validation"],
        processing_class=tokenizer,
        callbacks=callbacks,
    )
    assert trainer.is_fsdp_enabled == isinstance(trainer, ShardingTrainer)
    trainer.remove_callback(PrinterCallback)
    return trainer


def choose_trainer(
    model: PreTrainedModel, args: TrainingArguments, cuda_graphs: bool
) -> type[FairTrainer]:
    """The fastest Trainer for ``model``; a `FairTrainer` itself gives the same numbers, slowly."""
    if will_shard(args):
        return ShardingTrainer
    if cuda_graphs and can_replay(model, args):
        return ReplayingTrainer
    return SkippingTrainer
