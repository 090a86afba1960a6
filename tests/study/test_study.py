"""The study's recipes and its page: tried whole on tiny data, recomputed from packed records."""

import json
import random
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console
from scipy.stats import norm

from hfbench import compare, pretrain
from hfbench.errors import UserError
from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.overall import load_overall
from hfbench.execution.tuning import searches_of
from hfbench.generation.generate import Candidate, Generation, Step
from hfbench.generation.table import write_generations
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.cells import plan_comparison, plan_pretraining
from hfbench.recipe.load import load_recipe
from hfbench.recipe.trials import trials_recipe
from hfbench.records.asked import load_asked
from hfbench.records.damage import find_folders
from hfbench.records.pack import pack
from hfbench.records.store import ResultsFolder, load_records

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "recipes" / "study"
RECIPES = ("study", "as_it_was", "sizes", "why")
RESULTS = ROOT / "results" / "study"
COMMITTED = sorted(path for path in RESULTS.glob("study*") if path.is_dir())
TASKS = ("sst2", "rotten-tomatoes", "trec")
PRETRAINED = [
    "study-gpt",
    *(
        f"gpt-{size}-{corpus}"
        for size in ("nano", "mini")
        for corpus in ("pets", "coins-2000", "coins", "novels", "unlabelled")
    ),
]
WORDS = {"sst2": ("good", "bad"), "rotten-tomatoes": ("fine", "poor"), "trec": ("who", "where")}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Overrides of each recipe: corpora that are there."""
    folder = tmp_path_factory.mktemp("texts")
    rng = random.Random(0)
    words = ["the", "film", "was", "so", *(word for pair in WORDS.values() for word in pair)]
    lines = [" ".join(rng.choices(words, k=6)).capitalize() + "." for _ in range(60)]
    (folder / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    of_book = {"study": PRETRAINED, "as_it_was": ["study-gpt"],
               "sizes": ["gpt-nano-coins", "gpt-nano-novels"],
               "why": ["gpt-nano-coins", "gpt-nano-coins-10000"]}  # fmt: skip
    return {
        recipe: [
            f"models.{name}.pretrain.corpus.text_file={folder / 'text.txt'}"
            for name in names
            if not name.endswith("-pets")
        ]
        for recipe, names in of_book.items()
    }


def load(stem, overrides):
    return load_recipe(STUDY / f"{stem}.yaml", overrides)


def test_the_recipe_has_every_row_of_the_study_tuned_alike(texts):
    recipe = load("study", texts["study"])
    assert tuple(task.name for task in recipe.tasks) == TASKS
    # 19 rows that are random, 3 that are not, and one that is asked in the words of one task
    assert len(plan_comparison(recipe)) == 3 * (19 * 10 + 3) + 1
    pretrained = plan_pretraining(recipe)
    assert len(pretrained) == 3 * len(PRETRAINED) * 3
    assert list(dict.fromkeys(cell.model.name for cell in pretrained)) == PRETRAINED
    searches = searches_of(recipe)
    spaces = {search.model.name: search.space for search in searches}
    trained = [model.name for model in recipe.models if model.is_trained]
    assert {*spaces} == {*trained, "tfidf-logreg"} - {"study-gpt", "study-tiny-gpt2"}
    assert len(searches) == 3 * len(spaces)
    del spaces["tfidf-logreg"]
    assert all(space == spaces["gpt-nano"] for space in spaces.values())
    asked = {name for question in recipe.questions for name in question}
    assert asked <= {model.name for model in recipe.models}
    assert all(model.tasks in ([], ["sst2"]) for model in recipe.models)


def test_all_trials_of_a_pretrained_row_start_from_one_of_its_pretrainings(texts):
    """What they choose is for all three: `tune.seeds` is one, and a seed has its pretraining."""
    recipe = load("study", texts["study"])
    rounds = {part.task_name: [] for part in recipe.by_task}
    for search in searches_of(recipe):
        if search.model.name == "gpt-nano-coins":
            rounds[search.task] += search.ask()
    trials = trials_recipe(recipe, rounds)
    cells = [cell for cell in plan_comparison(trials) if cell.model.pretrain]
    assert len(cells) == 3 * 12
    assert len({cell.pretraining_seed for cell in cells}) == 1
    rows = [c for c in plan_comparison(recipe) if c.model.name == "gpt-nano-coins"]
    assert {cell.pretraining_seed for cell in rows} == {0, 1, 2}


def test_the_study_s_settings_are_its_50_epochs(texts):
    """Of 1,080 in batches of 16; with another number held out, as_it_was.yaml has them by name."""
    recipe = load("study", texts["study"])
    batches = -(-(1200 - recipe.tasks[0].validation_size) // 16)
    own = {model.name: model.training_arguments for model in recipe.models}
    assert own["study-gpt"] == {"learning_rate": 5e-4, "max_steps": 50 * batches}
    assert own["study-tiny-gpt2"] == {"learning_rate": 5e-5, "max_steps": 50 * batches}
    as_it_was = load("as_it_was", texts["as_it_was"])
    assert as_it_was.training_arguments["num_train_epochs"] == 50
    assert as_it_was.task.model_dump() == recipe.by_task[0].task.model_dump()


def test_a_name_stands_for_the_same_pretraining_in_every_recipe(texts):
    """Else it would not be found, but done again: 100,000 steps."""
    content = {}
    for stem in RECIPES:
        for cell in plan_pretraining(load(stem, texts[stem])):
            entry = cell.model.model_dump(mode="json", include={"preset", "config", "tokenizer"})
            pretrain = cell.pretraining.model_dump(mode="json", exclude={"seed", "seeds"})
            key = (cell.model.name, cell.pretraining_seed)
            content.setdefault(key, set()).add(json.dumps([entry, pretrain], sort_keys=True))
    assert all(len(found) == 1 for found in content.values())
    assert {name for name, _ in content} == {*PRETRAINED, "gpt-nano-coins-10000"}


def test_every_comparison_holds_a_test_and_the_floor(texts):
    for stem in RECIPES:
        recipe = load(stem, texts[stem])
        assert all(part.task.test_split for part in recipe.by_task), stem
        assert "majority" in [model.control for model in recipe.models], stem


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda folder: folder.name)
def test_the_committed_records_are_of_rows_and_questions_of_the_recipes(texts, folder):
    stem = folder.name.removeprefix("study_").removesuffix("_240")
    recipe = load(stem, texts[stem])
    for task in ResultsFolder(folder).tasks or [ResultsFolder(folder)]:
        records = load_records(task.path)
        assert {record.status for record in records} == {"finished"}
        assert {record.model for record in records} <= {model.name for model in recipe.models}
        asked = load_asked(task.path)[-1]
        assert [list(pair) for pair in asked.questions] == recipe.questions
        assert asked.margin == recipe.margin


# --- the whole study on tiny data ----------------------------------------------------------------


def write_task(folder, name):
    """A task whose label is in one word of each text, most of the time."""
    rng = random.Random(name)
    labels = ("positive", "negative")
    splits = {}
    for split, number in (("train", 72), ("validation", 24), ("test", 60)):
        lines = []
        for row in range(number):
            label = row % 2
            word = WORDS[name][label if rng.random() < 0.9 else 1 - label]
            words = [*rng.choices(["the", "film", "was", "so"], k=rng.randint(2, 6)), word]
            text = f"{' '.join(words)} {split} {row}"
            lines.append(json.dumps({"text": text, "label": labels[label]}))
        path = folder / f"{name}-{split}.jsonl"
        path.write_text("\n".join(lines), encoding="utf-8")
        splits[split] = str(path)
    return {"name": name, "data_files": splits, "validation_split": "validation",
            "test_split": "test"}  # fmt: skip


def shrunk(folder, texts):
    """Recipe -> overrides: the same rows and questions, of seconds."""
    from transformers import AutoModelForCausalLM, GPT2Config

    tokenizer = train_tokenizer((folder / "corpus.txt").read_text("utf-8").splitlines(), 300)
    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=1, n_head=2, n_embd=16, n_positions=64, vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    checkpoint = folder / "checkpoint"
    AutoModelForCausalLM.from_config(config).save_pretrained(checkpoint)
    tokenizer.save_pretrained(checkpoint)
    tasks = [write_task(folder, name) for name in TASKS]
    one = {key: value for key, value in tasks[0].items() if key != "name"}
    size = "n_layer: 1, n_head: 2, n_embd: 16, n_positions: 64"
    presets = {"gpt-nano": f"{{{size}}}", "gpt-mini": f"{{{size}, n_inner: 16}}"}
    # at a rate by which words get longer than new ones
    short = "{max_steps: 4, per_device_train_batch_size: 4, learning_rate: 0.05}"
    found = {}
    for stem, own in texts.items():
        recipe = load(stem, own)
        training = {"per_device_train_batch_size": 16, "use_cpu": True}
        overrides = [
            *own, "seeds=[0, 1, 2]", f"tokenizer={{name_or_path: {checkpoint}}}",
            f"training_arguments={json.dumps(training)}",
        ]  # fmt: skip
        if stem == "study":
            overrides += [f"tasks={json.dumps(tasks)}", "tune.trials=1"]
            overrides += ["tune.space.max_steps=[2, 4, 8]"]
        elif stem == "why":
            overrides += [f"tasks={json.dumps([tasks[0], tasks[2]])}"]
            overrides += ["training_arguments.max_steps=4"]
        else:
            overrides += [f"task={json.dumps(one)}", "training_arguments.max_steps=4"]
        if stem in ("sizes", "why"):
            overrides += ["train_sizes=[16, 32]"]
        for model in recipe.models:
            key = f"models.{model.name}"
            if model.preset:
                overrides.append(f"{key}.config={presets[model.preset]}")
            elif stem == "why" and model.model_name_or_path:
                mix = folder / "mixes" / Path(model.model_name_or_path).name
                overrides.append(f"{key}.model_name_or_path={mix}")
            elif model.name != "reads-padding" and model.model_name_or_path:
                overrides.append(f"{key}.model_name_or_path={checkpoint}")
            if model.pretrain:
                less = short.replace("4,", "2,", 1) if model.name.endswith("-10000") else short
                overrides.append(f"{key}.pretrain.training_arguments={less}")
            if "max_steps" in model.training_arguments:
                overrides.append(f"{key}.training_arguments.max_steps=6")
        found[stem] = overrides
    found["as_it_was"].append(f"models.reads-padding.model_name_or_path={folder / 'wrong'}")
    return found


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, texts):
    """The results of the study's recipes, shrunk, packed, and run in two parts."""
    folder = tmp_path_factory.mktemp("study")
    corpus = next(override.partition("=")[2] for override in texts["as_it_was"])
    (folder / "corpus.txt").write_text(Path(corpus).read_text("utf-8"), encoding="utf-8")
    overrides, results = shrunk(folder, texts), folder / "results"
    quiet = Console(quiet=True)
    study = load("study", overrides["study"])
    small = {m.name for m in study.models if not m.name.startswith("gpt-mini")}
    for part in (study.only(small, study.seeds), study):
        assert not compare(part, results, console=quiet).failed
        for one in find_folders(results):  # as after a session on another machine
            if not one.packed:
                pack(one)
    import reads_padding

    pretrained = results / "study" / "sst2" / "models" / "pretrain--study-gpt--seed0"
    reads_padding.convert(pretrained, folder / "wrong")
    for ending in ("", "_240"):
        changed = [*overrides["as_it_was"], f"name=study_as_it_was{ending}"]
        assert not compare(load("as_it_was", changed), results, console=quiet).failed
    assert not compare(load("sizes", overrides["sizes"]), results, console=quiet).failed
    why_recipe = load("why", overrides["why"])
    assert not pretrain(why_recipe, results, console=quiet).failed
    import why

    coins = results / "study_why" / "sst2" / "models" / "pretrain--gpt-nano-coins--seed0"
    why.write_mixes(coins, folder / "mixes", results / "study_why" / "norms.json")
    assert not compare(why_recipe, results, console=quiet).failed
    step = Step(Candidate(1, " can", 0.5), (Candidate(1, " can", 0.5), Candidate(2, " rub", 0.2)))
    prompts = {"pets": ("He and I", "She rubs"), "coins": ("They are", "Money is")}
    for name, own in prompts.items():
        generations = [Generation(prompt, " can", (step,)) for prompt in own]
        write_generations(generations, results / "generations" / name)
    for one in find_folders(results):
        if not one.packed:
            pack(one)
    return results


@pytest.fixture(scope="module", autouse=True)
def scripts():
    """The scripts of recipes/study can be imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(STUDY))
        yield


@pytest.mark.slow
def test_the_page_is_made_of_the_results_of_the_recipes(tiny):
    import page

    text = page.render(page.TEMPLATE.read_text("utf-8"), tiny)
    assert "{{" not in text
    overall = load_overall([tiny / "study" / task for task in TASKS], "study")
    questions = load_comparison(tiny / "study" / "sst2").questions
    assert len(questions) == len(overall.questions) == 22
    names = [f"{pair.first.name} minus {pair.second.name}" for pair in questions]
    asked = text.split("## What was asked")[1].split("\n## ")[0]
    levels = dict(re.findall(r"^\| (\S+ minus \S+) \|.*\| ([a-z ,]+) \|$", asked, re.M))
    assert list(levels) == names
    assert levels["gpt-nano-coins minus gpt-nano"] == "new seeds, new pretrainings"
    assert levels["tiny-gpt2 minus tiny-gpt2-random"] == "new seeds, these weights"
    assert levels["gpt-nano minus tfidf-logreg"] == "new seeds"
    header, _, *table = (
        line.strip("| ").split(" | ") for line in asked.splitlines() if line.startswith("| ")
    )
    table = table[: len(questions)]  # other tables follow
    lost = {"over the 3": [overall.loses_by_choice(pair) for pair in overall.questions]}
    for task in TASKS:
        comparison = load_comparison(tiny / "study" / task)
        lost[task] = [comparison.tuning.loses_by_choice(pair) for pair in comparison.questions]
    assert {*header[1:5]} == {*lost}
    for place, column in enumerate(header[1:5], 1):
        assert [row[place].endswith(" †") for row in table] == lost[column]
    pretrained = [r for r in load_records(tiny / "study" / "sst2") if r.kind == "pretraining"]
    lowest = [
        min(point["loss"] for point in record.curves["validation"])
        for record in pretrained
        if record.model == "gpt-nano-coins"
    ]
    (losses,) = (t for t in re.findall(r"(?:^\|.*\n)+", text, re.M) if "its lowest" in t)
    (row,) = re.findall(r"^\| gpt-nano-coins \|.*", losses, re.M)
    assert row.split(" | ")[4] == f"{min(lowest):.2f}-{max(lowest):.2f}"
    # the first table: one row a family, the best of each
    header, _, *rows = re.search(r"(?:^\|.*\n)+", text, re.M)[0].splitlines()
    assert header.startswith("| model | family |")
    best = [row.split(" | ")[0].removeprefix("| ") for row in rows]
    assert best[0] == overall.rows[0].model
    assert len({row.split(" | ")[1] for row in rows}) == len(rows) == 5
    assert "can 0.500, rub 0.200" in text


@pytest.mark.slow
def test_why_is_told_of_every_question_of_its_recipe(tiny):
    import page

    study = page.Study(tiny)
    text = page.render(page.TEMPLATE.read_text("utf-8"), tiny)
    section = text.split("## Why does it harm, or not?")[1].split("\n## ")[0]
    asked, fitted = re.findall(r"(?:^\|.*\n)+", section, re.M)
    header, _, *rows = asked.splitlines()
    titles = ["sst2, 16", "sst2, 32", "trec, 16", "trec, 32"]
    assert header == f"| what is asked | rows | {' | '.join(titles)} | over both, 32 |"
    recipe_asks = study.why.standings["sst2", 32].questions
    assert len(rows) == len(recipe_asks) == 13
    cells = {row.split(" | ")[1]: row.strip("| ").split(" | ")[2:] for row in rows}
    for place, task in ((1, "sst2"), (3, "trec")):  # of all sizes it is the last that counts
        for pair in load_comparison(tiny / "study_why" / task).questions:
            mean = f"{100 * pair.difference.mean:+.1f}".replace("-0.0", "0.0").replace(
                "+0.0", "0.0"
            )
            told = cells[f"{pair.first.name} minus {pair.second.name}"][place]
            assert told.startswith(f"{mean} (")
            assert told.endswith(pair.difference.words)
    assert [row.split(" | ")[0] for row in fitted.splitlines()[2:]][:2] == [
        "| gpt-nano", "| gpt-nano-coins",
    ]  # fmt: skip
    assert {*" | ".join(fitted.splitlines()[2:]).split(" | ")} >= {"never"}  # in four steps
    norms = json.loads((tiny / "study_why" / "norms.json").read_text("utf-8"))
    assert norms["mean_norm"]["all"] > norms["mean_norm"]["none"]
    moved = study.why.rate * norms["width"] ** 0.5 / norms["mean_norm"]["none"]
    told = f"{norms['mean_norm']['none']:.3f}, of which a step moves up to {100 * moved:.1f} %"
    assert told in " ".join(section.split())


@pytest.mark.slow
def test_a_question_of_why_that_the_page_leaves_out_is_an_error(tiny):
    import page

    text = page.TEMPLATE.read_text("utf-8")
    line = '  ("these, brought to one norm", "only-words-equal-norms", "only-words"),\n'
    assert line in text
    with pytest.raises(UserError, match="not on the page: only-words-equal-norms minus only-words"):
        page.render(text.replace(line, ""), tiny)


@pytest.mark.slow
def test_pretraining_on_the_coin_book_is_found_and_not_done_again(tiny):
    records = [
        record
        for task in ("sst2", "trec")
        for record in load_records(tiny / "study_why" / task)
        if record.kind == "pretraining"
    ]
    again = {record.model for record in records if not record.adopted_from}
    assert again == {"gpt-nano-coins-10000"}


@pytest.mark.slow
def test_the_page_of_partial_results_names_what_has_not_run(tiny, tmp_path):
    import page

    def told(results):
        text = page.render(page.TEMPLATE.read_text("utf-8"), results)
        lacking = text.split("Not run yet, or not with every seed:")[1].split("\n## ")[0]
        return text, re.findall(r"^\| (?!where|---)(.*) \|$", lacking, re.M)

    assert "not run yet" not in page.render(page.TEMPLATE.read_text("utf-8"), tiny).lower()
    part = tmp_path / "part"
    for name in ("study", "study_as_it_was", "generations"):
        shutil.copytree(tiny / name, part / name)
    text, lacking = told(part)
    assert lacking == [
        "study_as_it_was_240, study_sizes, study_why and study_why/norms.json | all of it"
    ]
    assert text.split("## Why does it harm, or not?")[1].startswith("\n\nNot run yet")
    assert "learning_curve.png" not in text
    waits = tmp_path / "waits"
    shutil.copytree(tiny, waits)
    asked = waits / "study" / "trec" / "asked.json"
    entries = json.loads(asked.read_text("utf-8"))
    entries[-1]["questions"].append(["not-yet", "gpt-nano"])
    entries[-1]["seeds"].append(3)
    asked.write_text(json.dumps(entries), encoding="utf-8")
    text, (row,) = told(waits)
    assert row.startswith("study/trec | not-yet, ")
    assert "gpt-nano (3 of 4 runs)" in row


@pytest.mark.slow
def test_a_question_that_no_recipe_asks_is_an_error_on_partial_results_too(tiny):
    import page

    for asked, said in (
        ("study.question('gpt-nano', 'gpt-mini', 'sst2')", "are not compared"),
        ("study.collapsed('gpt-nona')", "no finished run of 'gpt-nona'"),
    ):
        with pytest.raises(UserError, match=said):
            page.render(f"{{{{ {asked} }}}}", tiny)


@pytest.mark.slow
def test_two_parts_came_together_without_running_anything_twice(tiny):
    for task in TASKS:
        comparison = load_comparison(tiny / "study" / task)
        runs = {model.name: len(model.finished) for model in comparison.models}
        assert runs["gpt-mini-coins"] == runs["gpt-nano-coins"] == 3
        assert [entry.finished for entry in comparison.asked] == [0]
        assert comparison.tuning is not None
        assert ("stories260k-asked" in runs) == (task == "sst2")


@pytest.mark.slow
def test_the_headline_rows_are_recomputed_from_the_packed_answers(tiny):
    for task in TASKS:
        recompute(tiny / "study" / task)


@pytest.mark.parametrize("task", TASKS)
def test_the_headline_rows_of_the_study_are_recomputed(task):
    folder = RESULTS / "study" / task
    recompute(folder)


WIDER = 0.006
"""By how much an interval may be wider than that of a row's own draws, on each side."""


def recompute(folder):
    """Means, differences and intervals by another route than hfbench.evidence.

    From the packed files alone: a mean over pretrainings of the means of their runs, and what
    examples and draws add to its variance by the moments of a two-way table. hfbench learns the
    draws' part from all rows, so that its intervals are near these where a row has many draws, and
    wider where these show less variance than other rows: of tiny-gpt2, which nearly guesses.
    """
    right = answers(folder)
    comparison = load_comparison(folder)
    assert len(right) == len(comparison.finished) > 10
    for model in comparison.finished:
        draws = right[model.name]
        if model.collapsed.any():  # the table's mean is of the others
            continue
        assert model.value == pytest.approx(draws.mean(), abs=1e-9), model.name
        if len(draws) >= 5:
            half = norm.ppf(0.975) * np.sqrt(variance(draws))
            low, high = model.interval
            assert -0.0025 < draws.mean() - half - low < WIDER, model.name
            assert -0.0025 < high - draws.mean() - half < WIDER, model.name
    for pair in comparison.questions:
        first, second = right[pair.first.name], right[pair.second.name]
        if pair.first.collapsed.any() or pair.second.collapsed.any():
            continue
        found = pair.difference
        assert found.mean == pytest.approx(first.mean() - second.mean(), abs=1e-9)
        gaps = first.mean(0) - second.mean(0)
        of_examples = gaps.var(ddof=1) / len(gaps)
        least = norm.ppf(0.975) * np.sqrt(of_examples)  # if draws added nothing more
        assert (found.high - found.low) / 2 > 0.97 * least
        if min(len(first), len(second)) >= 5:
            of_draws = sum(max(0.0, excess(one)) / len(one) for one in (first, second))
            half = norm.ppf(0.975) * np.sqrt(of_examples + of_draws)
            assert -0.0025 < (found.high - found.low) / 2 - half < WIDER


def answers(folder):
    """Model -> whether each answer is right, (draws, examples)."""
    rows = pq.read_table(folder / "records.parquet").to_pylist()
    records = [json.loads(row["record"]) for row in rows if row["kind"] != "pretraining"]
    table = pq.read_table(folder / "predictions.parquet").to_pandas()
    table = table[table["split"] == records[0]["task"]["evaluation_split"]]
    found = {}
    for record in records:
        seed = record["seed"]
        mine = table[table["model"] == record["model"]]
        mine = mine[mine["seed"].isna()] if seed is None else mine[mine["seed"] == seed]
        mine = mine.sort_values("id")
        logits = np.stack(mine["logits"].to_numpy())
        entry = record["settings"]["models"][0].get("pretrain") or {}
        right = logits.argmax(1) == mine["label"].to_numpy()
        found.setdefault(record["model"], []).append((entry.get("seeds"), right))
    return {model: _draws(runs) for model, runs in found.items()}


def _draws(runs):
    """Of runs that start from several pretrainings the mean of each; else each run."""
    kinds = [str(kind) for kind, _ in runs]
    right = np.stack([one for _, one in runs]).astype(float)
    if len({*kinds}) == 1:
        return right
    return np.stack([right[[k == kind for k in kinds]].mean(0) for kind in sorted({*kinds})])


def excess(draws):
    """By how much the draws' means vary more than the rest explains."""
    runs, examples = draws.shape
    residual = draws - draws.mean(0) - draws.mean(1)[:, None] + draws.mean()
    rest = (residual**2).sum() / ((runs - 1) * (examples - 1))
    return draws.mean(1).var(ddof=1) - rest / examples


def variance(draws):
    """Of the mean over draws and examples."""
    of_examples = draws.mean(0).var(ddof=1) / draws.shape[1]
    return of_examples + max(0.0, excess(draws)) / len(draws)
