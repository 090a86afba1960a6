"""An interrupted pretraining, which may have run for hours, saves before it leaves."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfbench.system.interruption import leave, signal_that_came


class SaveBeforeLeaving(TrainerCallback):
    """Ends an interrupted training with a checkpoint of the step under way.

    It stands before `ExactResumption`, which prepares what is saved.
    """

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Called by the Trainer before it logs, evaluates and saves."""
        if signal_that_came() is not None:
            control.should_save = True
            control.should_training_stop = True

    def on_prediction_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Called by the Trainer in an evaluation, which may last: not waited for."""
        leave()
