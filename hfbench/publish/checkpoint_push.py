"""Checkpoints of a long pretraining on the Hub, by the Trainer's own arguments for that.

The Trainer itself would also upload its pickled arguments; here the same allow-list and the same
search for leaks as in a push decide.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfbench.errors import HubError, UserError
from hfbench.publish.bundle import CARD, is_ours, stage_files
from hfbench.publish.card import render_checkpoint_card
from hfbench.publish.leaks import refuse_leaks
from hfbench.publish.repos import Destination, look_at, upload
from hfbench.recipe.cells import Cell


def open_publishers(cells: Sequence[Cell]) -> dict[str, "CheckpointPush"]:
    """What publishes checkpoints while a cell trains, by the cell's name.

    Raises:
        UserError, HubError: if one may not, or cannot, publish there.
    """
    pushes = {}
    for cell in cells:
        if cell.publishing:
            assert cell.model.pretrain is not None
            corpus = cell.model.pretrain.corpus
            source = f"{cell.model.source}, pretrained on {corpus.source}"
            pushes[cell.name] = CheckpointPush(cell.publishing, source)
    return pushes


class CheckpointPush(TrainerCallback):
    """Publishes the model at each save, beside the training; what fails is said and tried again.

    A push that is still under way when the next save comes is waited for only with
    ``hub_always_push``; otherwise that save is not published.
    """

    def __init__(self, arguments: dict[str, Any], source: str) -> None:
        """Look at the repo, so that a missing token or right is known before training.

        Args:
            arguments: ``hub_model_id`` and further ``hub_`` fields of TrainingArguments.
            source: the model and its corpus in words, for the card.

        Raises:
            UserError: if one may not publish there.
            HubError: if the Hub cannot be asked.
        """
        self.arguments, self.source = arguments, source
        self.say: Callable[[str], None] = print
        """Is told what was published and what failed."""
        self.repo_id: str = arguments["hub_model_id"]
        self.state: TrainerState | None = None
        self._threads = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None
        self._look()

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Called by the Trainer after it has written a checkpoint."""
        if not state.is_world_process_zero or self.arguments.get("hub_strategy") == "end":
            return
        is_busy = self._pending is not None and not self._pending.done()
        if is_busy and not self.arguments.get("hub_always_push"):
            return
        self._wait()
        folder = self._stage(Path(args.output_dir) / f"checkpoint-{state.global_step}", state)
        self._pending = self._threads.submit(self._publish, folder, state.global_step)

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Called by the Trainer after the last step."""
        self.state = state

    def finish(self, model: Path) -> str | None:
        """Publish the finished model, saved in ``model``; gives the reason where that fails."""
        assert self.state is not None
        self._wait()
        try:
            self._publish(self._stage(model, self.state), self.state.global_step)
        except UserError as error:  # a leak, say: nobody should upload that by hand
            return f"the finished model was not published: {error}"
        except HubError as error:
            return (
                f"the finished model was not published: {error}\n  It is kept; publish it with "
                f"`hf upload {self.repo_id} {model}`"
            )
        finally:
            self._threads.shutdown()
        return None

    def _wait(self) -> None:
        """Until the push under way is over; its failure is said, and the next one makes it good."""
        if self._pending:
            error = self._pending.exception()
            if error is not None:
                self.say(f"{self.repo_id}: a checkpoint was not published: {error}")
            self._pending = None

    def _stage(self, model: Path, state: TrainerState) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="hfbench-push-"))
        stage_files(model, folder)
        card = render_checkpoint_card(
            self.repo_id, self.source, state.global_step, state.max_steps, state.log_history
        )
        (folder / CARD).write_text(card, encoding="utf-8")
        return folder

    def _publish(self, folder: Path, step: int) -> None:
        try:
            refuse_leaks(folder, self.repo_id)
            destination = self._look()
            stale = [name for name in destination.files if is_ours(name)]
            commit = upload(destination, folder, f"Step {step}", stale)
        finally:
            shutil.rmtree(folder)
        self.say(f"{self.repo_id}: step {step} published, commit {commit.oid[:12]}")

    def _look(self) -> Destination:
        return look_at(
            self.repo_id,
            "model",
            private=self.arguments.get("hub_private_repo"),
            revision=self.arguments.get("hub_revision"),
        )
