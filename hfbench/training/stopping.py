"""An interrupted pretraining, which may have run for hours, saves before it leaves."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfbench.system.interruption import leave, note_signal, signal_that_came
from hfbench.training.agreement import is_time_to_ask, largest_of_all


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
        """Called by the Trainer before it logs, evaluates and saves.

        A signal that came to one of several processes stops them all after the same step.
        """
        if not is_time_to_ask(state.global_step):
            return
        (number,) = largest_of_all(signal_that_came() or 0)
        if number:
            note_signal(number)
            control.should_save = True
            control.should_training_stop = True

    def on_prediction_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Called by the Trainer in an evaluation, which may last: not waited for.

        Of several processes one cannot leave the others there.
        """
        if args.world_size == 1:
            leave()
