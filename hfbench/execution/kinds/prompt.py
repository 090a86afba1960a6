"""A prompt: a language model is asked which label's words are likeliest, and learns nothing."""

import time
from functools import partial
from typing import Any

import numpy as np

from hfbench.data.subsets import nested_order
from hfbench.data.tables import labels_of
from hfbench.errors import UserError
from hfbench.execution.inputs import Inputs, arguments
from hfbench.execution.kinds.bookkeeping import Bookkeeping
from hfbench.execution.kinds.facts import compared_outcome, describe_task, measure, tabulate
from hfbench.execution.kinds.run import Run, Surroundings
from hfbench.execution.kinds.start import (
    describe_frozen,
    frozen_facts,
    weights_to_start_from,
)
from hfbench.execution.use import (
    Texts,
    evaluation_texts,
    is_measured,
    measure_use,
    weight_bytes,
)
from hfbench.models.load import load_prompted
from hfbench.models.rivals.prompt import (
    NO_TEXT,
    Example,
    LabelReader,
    Writer,
    calibration,
    count_tokens,
)
from hfbench.recipe.cells import Cell
from hfbench.recipe.rivals import Prompt
from hfbench.records.rivals import PromptFacts
from hfbench.records.schema import PromptRecord
from hfbench.system.environment import device_names
from hfbench.training.seeds import shots_stream

RECORD = PromptRecord
KEEPS_WEIGHTS = False


def describe(cell: Cell, inputs: Inputs) -> dict[str, Any]:
    """See `run.KindOfRun`."""
    prompt = _prompt(cell)
    return {
        "kind": cell.kind,
        "seed": cell.seed,
        "task": describe_task(cell, inputs),
        **describe_frozen(cell, inputs),
        "prompt": prompt.model_dump(mode="json"),
    }


def run(cell: Cell, surroundings: Surroundings) -> Run:
    """Write the prompts of the other splits, and read the answers."""
    inputs, prompt = surroundings.inputs, _prompt(cell)
    prepared, task = inputs.prepared[cell.model.name], inputs.task_of(cell)
    labels, device = task.facts.labels, arguments(cell, inputs).device
    assert inputs.recipe.task is not None
    ids, shots = _shots(cell, inputs)
    writer = Writer(
        prepared,
        prompt,
        labels,
        shots,
        text_length=inputs.max_length(cell.model),
        truncation=inputs.recipe.task.truncation,
    )
    evaluated = [split for split in task.splits if split != "train"]
    written = {
        split: [writer.write(example) for example in _examples(task.splits[split])]
        for split in evaluated
    }
    model = load_prompted(prepared, weights_to_start_from(cell, surroundings)).to(device)
    started = time.perf_counter()
    reader = LabelReader(model, writer.words, prompt.likelihood)
    answers = {split: reader.read([one for one, _ in written[split]]) for split in evaluated}
    taken_off = None
    if prompt.calibrate:
        pairs = prompt.names_pairs
        nothing = [writer.write(Example(text, text if pairs else ""))[0] for text in NO_TEXT]
        taken_off = calibration(reader.read(nothing).logits)
    seconds = time.perf_counter() - started
    logits = {
        split: (found.logits - (0.0 if taken_off is None else taken_off)).astype(np.float32)
        for split, found in answers.items()
    }
    bookkeeping, use = Bookkeeping(), None
    if is_measured(cell, inputs):

        def ask(texts: Texts) -> Any:
            return reader.read([writer.write(Example(*parts))[0] for parts in texts])

        held, some = weight_bytes(model), evaluation_texts(inputs)
        use = bookkeeping.ask("use", partial(measure_use, ask, some, held, device))
    fields = {
        "task": task.facts,
        "use": use,
        "not_recorded": bookkeeping.not_recorded,
        "corpus_overlap": inputs.corpus_overlap(cell.model),
        "model_facts": frozen_facts(cell, inputs, model),
        "prompt": PromptFacts(
            template=prompt.template,
            words={label: prompt.labels[label] for label in labels},
            word_tokens={
                label: len(words) for label, words in zip(labels, writer.words, strict=True)
            },
            likelihood=prompt.likelihood,
            calibration=None if taken_off is None else taken_off.tolist(),
            shots=ids,
            shot_tokens=writer.shot_tokens,
            tokens={split: count_tokens(written[split], writer.shot_tokens) for split in evaluated},
            shares_prefix=answers[evaluated[0]].shares_prefix,
            device=device_names(device),
            seconds=seconds,
        ),
        **measure(logits, inputs),
    }
    return Run(fields, tabulate(logits, inputs))


def outcome(record: PromptRecord) -> str:
    """See `run.KindOfRun`."""
    return f"{compared_outcome(record)}, {record.prompt.seconds:.1f} s"


def _prompt(cell: Cell) -> Prompt:
    assert cell.model.prompt is not None
    return cell.model.prompt


def _shots(cell: Cell, inputs: Inputs) -> tuple[list[str], list[Example]]:
    """Ids and texts of the training examples that are shown: stratified, in an order of chance."""
    number = _prompt(cell).shots
    if not number:
        return [], []
    assert cell.seed is not None
    task = inputs.task_of(cell)
    train = task.splits["train"]
    if number > len(train):
        raise UserError(
            f"models.{cell.model.name}.prompt.shots: {number} are more than the {len(train)} "
            "training examples"
        )
    stream, labels = shots_stream(cell.seed), labels_of(train)
    chosen = nested_order(labels, stream)[:number]
    # else the classes would always come in the same order, and the last one counts most
    chosen = np.random.default_rng([stream, 1]).permutation(chosen)
    rows = train.select(chosen)
    names = [task.facts.labels[label] for label in labels[chosen]]
    examples = [
        Example(one.text, one.pair, name) for one, name in zip(_examples(rows), names, strict=True)
    ]
    return [str(one) for one in rows["id"][:]], examples


def _examples(data: Any) -> list[Example]:
    texts = data["text"][:]
    pairs = data["text_pair"][:] if "text_pair" in data.column_names else [""] * len(texts)
    return [Example(text, pair) for text, pair in zip(texts, pairs, strict=True)]
