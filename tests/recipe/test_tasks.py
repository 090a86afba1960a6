"""Recipes with several tasks: what they may say, and the recipes of one task in them."""

import pytest

from hfbench.errors import UserError
from hfbench.recipe.cells import Shard, plan_comparison, plan_pretraining
from hfbench.recipe.load import load_recipe

TWO = [
    {"name": "first", "data_files": {"train": "train.jsonl"}, "validation_size": 0.25},
    {
        "name": "other.one",
        "data_files": {"train": "train.jsonl"},
        "validation_size": 0.5,
        "training_arguments": {"num_train_epochs": 3},
    },
]


@pytest.fixture
def write_tasks(write_recipe):
    def write(tasks, **changes):
        return write_recipe(task=None, tasks=tasks, **changes)

    return write


def test_each_task_is_the_recipe_of_that_task_alone(write_tasks, write_recipe):
    """Its cells have the same settings, from which their identity follows."""
    several = load_recipe(write_tasks(TWO))
    first, second = several.by_task
    assert (first.name, second.name) == ("tiny/first", "tiny/other.one")
    alone = load_recipe(write_recipe())
    ours, theirs = plan_comparison(first), plan_comparison(alone)
    assert [cell.settings for cell in ours] == [cell.settings for cell in theirs]
    assert [cell.stem for cell in ours] == [cell.stem for cell in theirs]
    assert {cell.task for cell in ours} == {"first"}
    assert {cell.task for cell in theirs} == {None}


def test_a_task_is_asked_of_the_rows_that_it_has(write_tasks):
    """Else a question about a row of another task would wait for results for ever."""
    floors = [{"name": name, "control": "majority"} for name in ("floor", "here", "there")]
    floors[1]["tasks"], floors[2]["tasks"] = ["first"], ["other.one"]
    asked = [["here", "floor"], ["there", "floor"]]
    recipe = load_recipe(write_tasks(TWO, models=floors, questions=asked))
    assert [part.questions for part in recipe.by_task] == [asked[:1], asked[1:]]
    some = recipe.only(["floor"], recipe.seeds)  # of a run in parts: the others are asked later
    assert [[model.name for model in part.models] for part in some.by_task] == [["floor"]] * 2
    assert [part.questions for part in some.by_task] == [asked[:1], asked[1:]]


def test_a_task_may_say_how_it_is_trained(write_tasks):
    cells = plan_comparison(load_recipe(write_tasks(TWO)))
    epochs = {
        (cell.task, cell.training_arguments["num_train_epochs"]) for cell in cells if cell.head
    }
    assert epochs == {("first", 2), ("other.one", 3)}
    names = [cell.name for cell in cells]
    assert len({*names}) == len(names) == 6
    assert names[0] == "first/mine--seed0"


def test_overrides_name_a_task_or_all(write_tasks):
    recipe = load_recipe(
        write_tasks(TWO), ["tasks.*.first=64", "tasks.other.one.validation_size=16"]
    )
    assert [task.first for task in recipe.tasks] == [64, 64]
    assert [task.validation_size for task in recipe.tasks] == [0.25, 16]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tasks": TWO[:1]}, "one task is given by the key task"),
        ({"tasks": [TWO[0], {**TWO[1], "name": "First"}]}, "'first' is there more than once"),
        ({"tasks": [TWO[0], {**TWO[1], "name": "Records"}]}, "'records' is the name of another"),
        ({"tasks": [TWO[0], {**TWO[1], "name": "../x"}]}, "is not a name"),
        ({"tasks": TWO, "selection": "best_loss"}, r"give tasks\[0\].test_split"),
        ({"tasks": [TWO[0], {**TWO[1], "frist": 3}]}, r"tasks\[1\].frist: unknown key; did you"),
        (
            {"tasks": [TWO[0], {**TWO[1], "data_files": {"train": "no.csv"}}]},
            r"tasks\[1\].data_files.train: there is no file",
        ),
    ],
)
def test_mistakes_are_named(write_recipe, changes, said):
    with pytest.raises(UserError, match=said):
        load_recipe(write_recipe(**{"task": None, **changes}))


def test_one_task_and_several_are_not_both_given(write_recipe):
    with pytest.raises(UserError, match="give task, or tasks for several, and not both"):
        load_recipe(write_recipe(tasks=TWO))


def test_an_override_of_no_task_names_those_that_there_are(write_tasks):
    with pytest.raises(UserError, match=r"no task 'frist'; did you mean 'first'"):
        load_recipe(write_tasks(TWO), ["tasks.frist.first=3"])


def test_a_pretraining_is_planned_for_each_task(write_tasks):
    model = {
        "name": "mine",
        "preset": "gpt-nano",
        "pretrain": {"corpus": {"builtin": "pets"}, "training_arguments": {"max_steps": 2}},
    }
    recipe = load_recipe(write_tasks(TWO, models=[model]))
    assert [cell.name for cell in plan_pretraining(recipe)] == [
        "first/pretrain--mine",
        "other.one/pretrain--mine",
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_parts_of_several_tasks_are_those_of_all_their_cells(count):
    cells = list("abcdefghijk")
    for number in range(1, count + 1):
        shard = Shard(number, count)
        for cut in range(len(cells)):
            in_two = shard.of(cells[:cut]) + shard.after(cut).of(cells[cut:])
            assert in_two == shard.of(cells)


def test_a_model_may_run_on_some_of_the_tasks_alone(write_tasks):
    """Its cells there are those of a model that runs on all of them."""
    models = [{"name": name, "control": "majority"} for name in ("everywhere", "there")]
    models[1]["tasks"] = ["first"]
    cells = plan_comparison(load_recipe(write_tasks(TWO, models=models)))
    assert [cell.name for cell in cells] == [
        "first/everywhere", "first/there", "other.one/everywhere",
    ]  # fmt: skip
    assert all("tasks" not in cell.settings["models"][0] for cell in cells)


@pytest.mark.parametrize(
    ("tasks", "said"),
    [(["frist"], "no task 'frist'; did you mean 'first'"), (["first"], "no model runs on the ta")],
)
def test_a_model_of_tasks_that_there_are_not_is_refused(write_tasks, tasks, said):
    with pytest.raises(UserError, match=said):
        load_recipe(
            write_tasks(TWO, models=[{"name": "one", "control": "majority", "tasks": tasks}])
        )
