"""Settings with which trainings are known to fail, told before time is spent on them."""

from collections.abc import Iterator, Sequence

from transformers import MODEL_FOR_MASKED_LM_MAPPING

from hfbench.execution.inputs import Inputs, arguments
from hfbench.recipe.cells import Cell

TOO_HIGH = 5e-4
"""Learning rate of a pretrained encoder all of whose weights are trained. In hfbench's study all 10
runs of all-MiniLM-L6-v2 collapsed at it and none at 5e-5; 2e-5 to 5e-5 is what the authors of BERT
chose from (https://arxiv.org/abs/1810.04805), and rates above are less stable
(https://arxiv.org/abs/2006.04884)."""


def doubtful_settings(cells: Sequence[Cell], inputs: Inputs) -> Iterator[str]:
    """A line for each model that is likely to collapse; none of trials, which are to find out."""
    task = inputs.recipe.task
    seen = {cell.model.name: cell for cell in cells if cell.head == "classifier"}
    for name, cell in seen.items() if task and not task.trial else []:
        model = cell.model
        if model.model_name_or_path is None or model.random_init or model.lora:
            continue
        if name not in inputs.prepared or name in inputs.refused:
            continue
        rate = arguments(cell, inputs).learning_rate
        is_encoder = type(inputs.prepared[name].config) in MODEL_FOR_MASKED_LM_MAPPING
        if is_encoder and rate >= TOO_HIGH:
            warm_up = "" if arguments(cell, inputs).warmup_steps else ", with warmup_steps: 0.1,"
            yield (
                f"{name}: learning_rate {rate:g} is likely to make a pretrained encoder collapse "
                f"to one answer; 2e-05 to 5e-05 is usual{warm_up} or let `tune` find one"
            )
