"""How a pretraining that was stopped goes on, so that its result is that of one that was not."""

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xxhash
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME
from transformers.utils import SAFE_WEIGHTS_NAME

from hfbench.system.files import atomic, clear_unfinished
from hfbench.training.trainer import FairTrainer

_CLAIM = "cell.txt"  # whose checkpoints a folder holds
_MANIFEST = "hfbench.json"  # name -> hash of each file of a checkpoint; written last
_OURS = "hfbench"  # our entry in it
_NEEDED = (SAFE_WEIGHTS_NAME, OPTIMIZER_NAME, SCHEDULER_NAME)


def claim(trainer: FairTrainer, identity: str, say: Callable[[str], None]) -> Path | None:
    """The newest whole checkpoint of ``identity`` in the Trainer's folder, which is now its.

    None if there is none. Checkpoints of another identity, of none, and unfinished ones are
    removed; one whose files are no longer what was written is set aside. Called in every process.
    As many processes as wrote it go on exactly; fewer or more, or with FSDP where there was none,
    go on with other random numbers.

    Args:
        trainer: where checkpoints are and will be.
        identity: equal for two runs if, and only if, one may go on where the other stopped.
        say: is told from where it goes on, and what is set aside.
    """
    folder = Path(trainer.args.output_dir)
    if trainer.is_compact:  # the optimizer's state has another shape
        identity += " compact"
    if trainer.accelerator.is_main_process:
        note = folder / _CLAIM
        clear_unfinished(note)
        if not note.exists() or note.read_text(encoding="utf-8") != identity:
            clear(folder)
            folder.mkdir(parents=True, exist_ok=True)
            with atomic(note) as temporary:
                temporary.write_text(identity, encoding="utf-8")
        for path in _by_step(folder).values():
            if not _is_finished(path):
                _remove(path)
            elif damaged := _damaged_files(path):
                aside = _set_aside(path)
                say(f"{path}: {', '.join(damaged)} is not as it was written; moved to {aside.name}")
    trainer.accelerator.wait_for_everyone()
    found = _by_step(folder)
    if not found:
        return None
    newest = found[max(found)]
    if trainer.accelerator.is_main_process:
        writers = len(list(newest.glob("rng_state*.pth")))
        number = f"{writers} process{'es' if writers > 1 else ''}"
        others = "" if writers == trainer.args.world_size else f", which {number} wrote"
        say(f"resumes from its checkpoint of step {max(found)}{others}")
    return newest


def clear(folder: Path) -> None:
    """Remove the checkpoints in ``folder``; what else a run left there stays."""
    clear_unfinished(folder / _CLAIM)
    (folder / _CLAIM).unlink(missing_ok=True)  # first: what remains, if stopped here, is nobody's
    for path in _by_step(folder).values():
        _remove(path)
    for parts in folder.glob("in-*-parts"):
        if parts.is_symlink():  # of what it leads to, nothing is removed
            parts.unlink()
        else:
            clear(parts)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _by_step(folder: Path) -> dict[int, Path]:
    paths = [p for p in folder.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", p.name)]
    return {_step_of(path): path for path in paths}


def _remove(checkpoint: Path) -> None:
    if checkpoint.is_symlink():  # of what it leads to, nothing is removed
        checkpoint.unlink()
        return
    (checkpoint / _MANIFEST).unlink(missing_ok=True)  # first: what then remains is no checkpoint
    shutil.rmtree(checkpoint)


def _is_finished(checkpoint: Path) -> bool:
    """Whether it was written to its end, with all that training goes on from."""
    return all((checkpoint / name).is_file() for name in (_MANIFEST, *_NEEDED))


def _damaged_files(checkpoint: Path) -> list[str]:
    """Files that are missing or other than the manifest says."""
    try:
        written = json.loads((checkpoint / _MANIFEST).read_text(encoding="utf-8"))
    except ValueError:
        return [_MANIFEST]
    found = _hash_files(checkpoint)
    return [name for name in written if found.get(name) != written[name]]


def _hash_files(checkpoint: Path) -> dict[str, str]:
    """Name -> hash, against damage and not against malice: XXH3 is as fast as memory."""
    return {
        str(path.relative_to(checkpoint)): _hash_file(path)
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file() and path.name != _MANIFEST
    }


def _hash_file(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _set_aside(checkpoint: Path) -> Path:
    taken = len(list(checkpoint.parent.glob(f"damaged-{checkpoint.name}*")))
    aside = checkpoint.with_name(f"damaged-{checkpoint.name}" + (f"-{taken}" if taken else ""))
    return checkpoint.rename(aside)


class ExactResumption(TrainerCallback):
    """Keeps in each checkpoint, and gives back, what the Trainer forgets when it resumes.

    - The loss since the last log, else the next point of the curve lacks the steps before.
    - The logging and the evaluation at the end of an epoch: a checkpoint of its last step is
      written after them, else they are left out when training goes on with the next epoch.
    - That training was over: from a checkpoint of the very last step it would train one step more,
      so none is written.
    - The epoch: with several processes accelerate does not reach the sampler of a resumed epoch.
    """

    def __init__(self, trainer: FairTrainer) -> None:
        self.trainer = trainer
        self.steps_per_epoch = len(trainer.sampler) // trainer.batch
        self.started = 0.0
        self._postponed = False
        self._evaluates_on_start = trainer.args.eval_on_start

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Called by the Trainer after it has read a checkpoint's state."""
        self.started = time.perf_counter()
        kept: Any = state.stateful_callbacks
        if ours := kept.get(_OURS):
            # the Trainer's own sum of losses, and where it began, which it keeps nowhere else
            self.trainer._tr_loss += ours["loss"]
            self.trainer._globalstep_last_logged = ours["logged_step"]
            self.trainer.seconds_before = ours["seconds"]
            args.eval_on_start = False  # it was evaluated when it started

    def on_epoch_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Called by the Trainer before it asks for an epoch's batches."""
        args.eval_on_start = self._evaluates_on_start
        self.trainer.sampler.set_epoch(state.global_step // self.steps_per_epoch)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Called by the Trainer before it logs, evaluates and saves."""
        self._postponed = control.should_save and state.global_step % self.steps_per_epoch == 0
        control.should_save = control.should_save and not self._postponed
        self._prepare_save(state, control)

    def on_epoch_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Called by the Trainer before it logs, evaluates and saves, once more."""
        control.should_save = control.should_save or self._postponed
        self._prepare_save(state, control)

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Called by the Trainer in every process, after its part of a checkpoint."""
        self.trainer.accelerator.wait_for_everyone()
        if self.trainer.accelerator.is_main_process:
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            hashes = json.dumps(_hash_files(checkpoint))  # before there is a file for them, too
            with atomic(checkpoint / _MANIFEST) as temporary:
                temporary.write_text(hashes, encoding="utf-8")

    def _prepare_save(self, state: TrainerState, control: TrainerControl) -> None:
        control.should_save = control.should_save and state.global_step < state.max_steps
        if not control.should_save:
            return
        trainer = self.trainer
        trainer.refuse_non_finite()  # nobody should go on from there
        loss = trainer.accelerator.gather(trainer._tr_loss.reshape(1)).mean().item()
        logged_step = trainer._globalstep_last_logged
        if control.should_log:  # it will be, before the checkpoint is written
            loss, logged_step = 0.0, state.global_step
        seconds = trainer.seconds_before + time.perf_counter() - self.started
        kept: Any = state.stateful_callbacks
        kept[_OURS] = {"loss": loss, "logged_step": logged_step, "seconds": seconds}
