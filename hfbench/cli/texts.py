"""The texts of examples, which no record holds: from the data of a recipe."""

from datasets import concatenate_datasets

from hfbench.data.task import load_task
from hfbench.errors import UserError
from hfbench.evidence.fairness import evaluation_hash
from hfbench.evidence.model_runs import ModelRuns
from hfbench.recipe.schema import Recipe


def load_texts(recipe: Recipe, models: list[ModelRuns]) -> dict[str, str]:
    """Id -> text of the evaluation examples, loaded again as the recipe says; not from records.

    Raises:
        UserError: if the recipe's data are not those that ``models`` were evaluated on.
    """
    if recipe.tasks and models:
        task = models[0].finished[0].recipe.partition("/")[2]
        named = [one for one in recipe.by_task if one.task_name == task]
        if not named:
            raise UserError(f"recipe {recipe.name!r} has no task {task!r}, of which results are")
        (recipe,) = named
    if recipe.task is None:
        raise UserError(f"recipe {recipe.name!r} has no task whose texts could be shown")
    loaded = load_task(recipe.task, recipe.folder)
    split = loaded.facts.evaluation_split
    examples, found = loaded.splits[split], loaded.facts.splits[split].content_hash
    if fold := loaded.facts.fold:
        examples, found = concatenate_datasets([*loaded.splits.values()]), fold.whole.content_hash
    for model in models:
        if (expected := evaluation_hash(model.finished[0])) != found:
            raise UserError(
                f"recipe {recipe.name!r}: its {split} examples ({found[:8]}) are not those that "
                f"{model.name} was evaluated on ({expected[:8]}): the data or the recipe changed"
            )
    texts = examples["text"][:]
    if "text_pair" in examples.column_names:
        pairs = zip(texts, examples["text_pair"], strict=True)
        texts = [f"{text} / {pair}" for text, pair in pairs]
    return dict(zip(examples["id"], texts, strict=True))
