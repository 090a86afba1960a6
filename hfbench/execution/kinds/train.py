"""The training of a neural network, as its record tells it; common to all kinds that train one."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, TrainerCallback

from hfbench.data.tokens import TokenizedData
from hfbench.execution.inputs import Inputs, arguments, once_a_model
from hfbench.execution.kinds.bookkeeping import Bookkeeping
from hfbench.execution.kinds.run import Run, Surroundings
from hfbench.metrics.registry import find_metric
from hfbench.models.facts import count_parameters, describe_config, hash_weights
from hfbench.models.flops import count_flops, total_flops
from hfbench.models.lengths import NO_LIMIT
from hfbench.recipe.cells import Cell
from hfbench.records.schema import Curves, ModelFacts, TrainingFacts
from hfbench.records.trials import EPOCH_DIGITS
from hfbench.system.environment import device_names, peak_memory, reset_peak_memory
from hfbench.system.hashes import hash_tensors
from hfbench.training.arguments import training_arguments
from hfbench.training.build import build_trainer
from hfbench.training.curves import training_curves
from hfbench.training.limits import TimeLimit, divide_batch, in_parts
from hfbench.training.pruning import Pruning
from hfbench.training.seeds import Streams
from hfbench.training.selection import WeightSelection
from hfbench.training.trackers import RunLabels
from hfbench.training.trainer import FairTrainer


def run_labels(cell: Cell, surroundings: Surroundings) -> RunLabels:
    """By which a tracker knows the run of a cell."""
    recipe, place = surroundings.inputs.recipe.name, surroundings.folder.tensorboard
    return RunLabels(recipe, cell.model.name, cell.stem, cell.seed, place)


class Training:
    """One training of a network, from its model to what its record says."""

    def __init__(
        self,
        cell: Cell,
        surroundings: Surroundings,
        model: PreTrainedModel,
        data: TokenizedData,
        streams: Streams,
        selection: WeightSelection,
        limit: TimeLimit,
        parts: int,
    ) -> None:
        """Build the Trainer; ``parts`` are those in which a batch is passed, see `limits`."""
        assert cell.head is not None
        self.cell, self.inputs, self.data = cell, surroundings.inputs, data
        self.streams, self.parts = streams, parts
        self.selection = selection
        self.bookkeeping = Bookkeeping()
        run_folder = surroundings.folder.run(cell.stem)
        if parts > 1:  # another way of training: its checkpoints are others
            run_folder /= f"in-{parts}-parts"
        key = f"models.{cell.model.name}.training_arguments"
        labels = run_labels(cell, surroundings)
        values = {**cell.training_arguments, **labels.arguments(cell.training_arguments)}
        args = training_arguments(values, streams, run_folder, key)
        divide_batch(args, parts)
        self.pruning = None
        if cell.model.hurdles:
            self.pruning = Pruning(self.inputs.metric, cell.model.hurdles, EPOCH_DIGITS)
        self.trainer = build_trainer(
            cell.head,
            model,
            self.inputs.prepared[cell.model.name].tokenizer,
            data,
            args,
            cell.optimizer,
            streams,
            [
                surroundings.bar,
                limit,
                self.selection,
                *filter(None, [self.pruning]),
                *self._own_callbacks(),
            ],
            loss=self.inputs.loss(cell),
            # what a loss of anybody's does may be no part of a graph
            cuda_graphs=self.inputs.recipe.cuda_graphs and self.inputs.recipe.loss is None,
        )
        task = self.inputs.recipe.task
        self.trainer.chooses_thresholds = cell.head == "classifier" and bool(
            task and task.threshold
        )
        if self.selection.measure not in ("last", "loss"):
            facts = self.inputs.task.facts
            chosen_by = self.selection.measure
            self.trainer.also += (
                find_metric(chosen_by, facts.problem_type, facts.labels, "selection"),
            )
        if cell.head == "classifier" and task and task.trial:  # later trials look at its curve
            self.trainer.also += (self.inputs.metric,)

    def run(self, checkpoint: Path | None = None) -> tuple[TrainingFacts, Curves]:
        """Train, from ``checkpoint`` if there is one; then the model has the selected weights."""
        trainer, args, lengths = self.trainer, self.trainer.args, self.data.lengths("train")
        # before training, which wraps the model
        flops = self.bookkeeping.ask("flops", self._flops)
        reset_peak_memory(args.device)
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        evaluation = sum(entry.get("eval_runtime", 0.0) for entry in trainer.state.log_history)
        peak, peak_of = peak_memory(args.device)
        steps = trainer.state.global_step
        selected_step = self.selection.load_into(trainer.model, steps)
        seen = lengths[trainer.sampler.rows_seen(steps)]
        # where files lie, and what concerns publishing, is no part of how a model was trained
        may_end_early = self.selection.patience or self.pruning
        private = ("output_dir", "run_name", "hub_", "push_to_hub", "logging_dir")
        facts = TrainingFacts(
            arguments={k: v for k, v in args.to_dict().items() if not k.startswith(private)},
            optimizer=trainer.optimizer_name,
            streams=asdict(self.streams),
            world_size=args.world_size,
            batch=trainer.batch,
            steps=steps,
            selection=self.selection.selection,
            selected_step=selected_step,
            patience=self.selection.patience,
            planned_steps=trainer.state.max_steps if may_end_early else None,
            pruned_at=self.pruning and self.pruning.pruned_at,
            examples_seen=len(seen),
            tokens_seen=int(seen.sum()),
            tokens=self.data.tokens,
            flops=None if flops is None else total_flops(flops, seen),
            device=device_names(args.device),
            batch_parts=self.parts,
            cuda_graphs=trainer.replays,
            class_weights=self._class_weights(),
            without_padding=trainer.packs,
            replay_refusal=trainer.replay_refusal,
            train_seconds=trainer.seconds_before + result.metrics["train_runtime"] - evaluation,
            peak_memory_bytes=peak,
            peak_memory_of=peak_of,
        )
        return facts, training_curves(trainer)

    def facts(
        self,
        weights: dict[str, Tensor],
        max_length: int,
        trainable_parameters: int | None = None,
        notes: Sequence[str] = (),
    ) -> ModelFacts:
        """What was trained; ``weights`` are those that are evaluated, ``notes`` of this cell."""
        ask, prepared = self.bookkeeping.ask, self.inputs.prepared[self.cell.model.name]
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        counts = ask("parameters", lambda: count_parameters(model)) or (None, None)
        return ModelFacts(
            source=self.cell.model.source,
            revision=prepared.revision,
            weights_hash=hash_weights(self.cell.model.model_name_or_path),
            final_weights=ask("final_weights", lambda: hash_tensors(weights)),
            class_name=type(model).__name__.removeprefix("FSDP"),
            parameters=counts[0],
            embedding_parameters=counts[1],
            trainable_parameters=trainable_parameters,
            config=describe_config(model.config),
            vocab_size=len(prepared.tokenizer),
            max_length=None if max_length == NO_LIMIT else max_length,
            notes=[*prepared.notes, *notes],
        )

    def _own_callbacks(self) -> list[TrainerCallback]:
        return self.inputs.callbacks() if self.cell.head == "classifier" else []

    def _class_weights(self) -> dict[str, float] | None:
        weights = self.trainer.loss.weights
        labels = self.inputs.task.facts.labels if weights else []
        return dict(zip(labels, weights, strict=True)) if weights else None

    def _flops(self) -> list[int]:
        """Operations of an example by its tokens, see `flops.count_flops`; once for all seeds."""
        assert self.cell.head is not None
        lengths, known = self.data.lengths("train"), _known_flops(self.cell, self.inputs)
        ends = int(lengths.min()), int(lengths.max())
        if ends not in known:
            columns: dict[str, Any] = self.data.splits["train"][int(lengths.argmax())]
            row = {
                name: values
                for name, values in columns.items()
                if isinstance(values, list) and name in self.trainer.parameters and name != "labels"
            }
            known[ends] = count_flops(self.trainer.model, self.cell.head, row, ends[0])
        return known[ends]


@once_a_model
def _known_flops(cell: Cell, inputs: Inputs) -> dict[tuple[int, int], list[int]]:
    """Tokens of the shortest and longest example -> what was counted; filled as cells run."""
    return {}


def in_parts_that_fit(
    cell: Cell, surroundings: Surroundings, train: Callable[[TimeLimit, int], Run]
) -> Run:
    """What ``train`` gives, with a batch in as many parts as are needed; see `limits.in_parts`."""
    limit = TimeLimit(surroundings.inputs.recipe.max_cell_seconds)
    rows = arguments(cell, surroundings.inputs).per_device_train_batch_size

    def say(message: str) -> None:
        free_memory()  # here: what was thrown away is no longer held by the exception
        surroundings.bar.say(f"{cell.stem}: {message}")

    return in_parts(rows, partial(train, limit), say)


def free_memory() -> None:
    """A Trainer and its model hold each other; without this, models of past cells pile up."""
    gc.collect()
    gc.freeze()  # what is left outlasts the cells, as what they import: not to be looked at again
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def save_model(trainer: FairTrainer, weights: dict[str, Tensor], path: Path) -> None:
    """Weights as safetensors, configuration, tokenizer; not the pickled training arguments."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if "use_cache" in model.config.to_dict():
        model.config.use_cache = True  # the Trainer turned it off for training
    model.save_pretrained(path, state_dict=weights)
    trainer.processing_class.save_pretrained(path)
