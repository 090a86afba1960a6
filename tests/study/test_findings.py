"""What the study's scripts conclude from the records of its comparisons."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from hfbench.errors import UserError
from hfbench.evidence.judge import judge
from hfbench.records.asked import Asked

STUDY = Path(__file__).parents[2] / "recipes" / "study"


def write_asked(folder, questions):
    """Beside the records, as `hfbench compare` does."""
    folder.mkdir(parents=True, exist_ok=True)
    entry = Asked(questions=questions).model_dump(mode="json")
    (folder / "asked.json").write_text(json.dumps([entry]), encoding="utf-8")


def answers(text):
    """Runs in words, whether each answer is right: ``"110 010"``."""
    return np.array([[digit == "1" for digit in run] for run in text.split()])


@pytest.fixture
def study(script, tmp_path, write_record):
    """The study's numbers, of two models and the majority answer in step 05."""
    folder = tmp_path / "study_05_sst2"
    rng = np.random.default_rng(0)
    hard = rng.random(200)
    for seed in range(4):
        write_record(folder, "good", seed, hard < 0.8 + rng.normal(0, 0.1, 200))
        write_record(folder, "bad", seed, hard < 0.6 + rng.normal(0, 0.1, 200))
    write_record(folder, "majority", None, np.arange(200) % 2 == 1, control=True)
    write_asked(folder, [("good", "bad"), ("bad", "majority")])
    return script("write_up").Study(tmp_path)


def test_numbers_in_the_findings_are_those_of_the_comparison(study):
    comparison = study.comparison("05_sst2")
    good, bad, _ = comparison.models
    (pair, _) = comparison.questions
    low_of_good, high_of_good = (100 * bound for bound in good.interval)
    expected = f"{100 * good.correct.mean():.1f} % ({low_of_good:.1f} to {high_of_good:.1f})"
    assert study.accuracy("good") == expected
    means = 100 * bad.correct.mean(1)
    assert study.single_runs("bad") == f"{means.min():.1f} to {means.max():.1f} %"
    mean, low, high = (
        100 * getattr(pair.difference, name) for name in ("mean", "family_low", "family_high")
    )
    assert study.difference("good", "bad") == f"+{mean:.1f} points ({low:.1f} to {high:.1f})"
    assert study.difference("bad", "good") == f"-{mean:.1f} points ({-high:.1f} to {-low:.1f})"
    assert study.relation("good", "bad") == "is better than"
    assert study.relation("bad", "good") == "is worse than"
    assert study.relation("bad", "majority") == "cannot be distinguished from"
    assert study.place(low_of_good - 0.1, "good") == "lies below"
    assert study.place(100 * good.value, "good") == "lies in"
    assert study.place(high_of_good + 0.1, "good") == "lies above"
    assert study.collapsed_runs("majority") == "0 of 1"  # it does what it is for
    assert study.collapsed_runs("good") == "0 of 4"


def test_a_new_run_lies_where_it_is_said_and_is_ahead_as_often(script):
    """Of a model that is known well, against new runs on new examples."""
    rng = np.random.default_rng(0)

    def draw(runs, examples):
        hard = rng.normal(size=examples)
        tables = []
        for level in (0.6, 0.2):
            value = (
                level + 0.1 * rng.normal(size=(runs, 1)) + hard + rng.normal(size=(runs, examples))
            )
            tables.append(value > 0)
        return tables

    good, bad = draw(50, 4000)
    table = judge({"good": good, "bad": bad}).table
    new = [[one.mean() for one in draw(1, 120)] for _ in range(4000)]
    new = np.array(new)
    low, high = script("new_studies").one_run(table, "good", 120)
    assert np.quantile(new[:, 0], [0.025, 0.975]) == pytest.approx([low, high], abs=0.02)
    ahead = np.mean(new[:, 0] > new[:, 1]) + np.mean(new[:, 0] == new[:, 1]) / 2
    found = script("new_studies").beats(table, "good", "bad", 120)
    assert float(found.split()[0]) == pytest.approx(100 * ahead, abs=4)


def test_so_many_examples_as_are_needed_have_the_power(study):
    """Small studies of one run of each, drawn from the same answers; their seeds are known."""
    found = study.needed_examples("good", "bad")
    fewest, most = (int(n.replace(",", "")) for n in found.removesuffix(" examples").split(" to "))
    assert fewest < most
    good, bad, _ = study.comparison("05_sst2").models
    table, rng = study._table("05_sst2"), np.random.default_rng(1)
    of_seeds = sum(table.seeds.sd(table.number[name]) ** 2 for name in ("good", "bad"))

    def shown(number):
        significant = 0
        for _ in range(600):
            drawn = rng.integers(200, size=number)
            one, other = (m.correct[rng.integers(4)][drawn] for m in (good, bad))
            gaps = one.astype(float) - other
            significant += gaps.mean() > 1.96 * np.sqrt(gaps.var() / number + of_seeds)
        return significant / 600

    # the difference that is there lies between the ends of its interval
    assert shown(fewest) < 0.8 < shown(most)


def test_findings_know_only_what_was_run(study, script):
    render = script("write_up").render
    found = render("{{ study.accuracy('good') }}:\n\n{{ study.table('05_sst2') }}\n", study.results)
    assert found.startswith(study.accuracy("good"))
    assert found.count("\n| ") == 5  # header, rule and three models
    with pytest.raises(UserError, match="05_sst2 has no finished run of 'other'"):
        render("{{ study.accuracy('other') }}", study.results)
    with pytest.raises(UserError, match="no overlap of 'good' with a corpus"):
        render("{{ study.overlap('good') }}", study.results)
    with pytest.raises(UserError, match="does not ask about 'good' and 'other'"):
        render("{{ study.difference('good', 'other') }}", study.results)
    with pytest.raises(Exception, match="'nothing' is undefined"):
        render("{{ nothing }}", study.results)


def test_next_tokens_are_those_of_the_table_also_at_another_temperature(study):
    from hfbench.generation.generate import Candidate, Generation, Step
    from hfbench.generation.table import write_generations

    logits = np.array([2.0, 1.5, 0.0])
    shares = np.exp(logits) / np.exp(logits).sum()
    top = tuple(
        Candidate(i, text, float(shares[i])) for i, text in enumerate((" can", " rub", "."))
    )
    later = tuple(Candidate(i, " later", 0.3) for i in range(3, 6))
    steps = (Step(top[0], top), Step(later[0], later))
    folder = study.results / "study_01_small_corpus" / "generations"
    write_generations([Generation("He and I", " can later", steps)], folder)

    def text(p):
        return f"can {p[0]:.3f}, rub {p[1]:.3f}, . {p[2]:.3f}"

    assert study.next_tokens("01_small_corpus", "He and I") == text(shares)
    cooler = np.exp(logits / 0.8) / np.exp(logits / 0.8).sum()
    assert study.next_tokens("01_small_corpus", "He and I", 0.8) == text(cooler)
    with pytest.raises(UserError, match="nothing after the prompt 'She'"):
        study.next_tokens("01_small_corpus", "She")


@pytest.mark.slow  # that they are made of the committed records is asked in test_results.py
def test_the_findings_ask_for_what_the_recipes_run(script, tmp_path, write_record):
    """All of the template, with records of every model that the recipes name."""
    from hfbench.generation.generate import Candidate, Generation, Step
    from hfbench.generation.table import write_generations

    rng = np.random.default_rng(0)
    corpus = {"source": "c", "revision": None, "examples": {"train": 9}, "content_hash": {}}
    overlap = {"validation": {"exact": 3, "near": 4, "examples": 240, "short": 0}}
    loaded = YAML(typ="safe", pure=True)
    for path in sorted(STUDY.glob("[0-9]*.yaml")):
        values = loaded.load(path.read_text("utf-8"))
        folder = tmp_path / values["name"]
        if "task" not in values:
            step = Step(Candidate(1, " can", 0.5), (Candidate(1, " can", 0.5),))
            prompts = ("He and I", "She rubs", "They are", "Money is")
            generations = [Generation(prompt, " can", (step,)) for prompt in prompts]
            write_generations(generations, folder / "generations")
            for model in values["models"]:
                metrics = {"validation": {"loss": 5.678}}
                curve = [{"step": 200.0, "loss": 5.432}, {"step": 400.0, "loss": 5.678}]
                write_record(
                    folder,
                    model["name"],
                    None,
                    [True],
                    corpus=corpus,
                    metrics=metrics,
                    curves={"train": curve[::-1], "validation": curve},
                )
            continue
        names = [values["name"], f"{values['name']}_tuned"] if path.stem == "05_sst2" else [None]
        for name in names:
            for model in values["models"]:
                place = tmp_path / name if name else folder
                write_asked(place, values.get("questions", []))
                for seed in range(2):
                    correct = rng.random(240) < 0.6
                    of_step = hashlib.sha256(place.name.encode()).hexdigest()
                    write_record(
                        place, model["name"], seed, correct,
                        corpus_overlap=overlap, evaluated=of_step,
                    )  # fmt: skip
    write_up = script("write_up")
    text = write_up.render(write_up.TEMPLATE.read_text("utf-8"), tmp_path)
    assert "{{" not in text
    # of both tables, of that across tasks, and of the three questions that begin with it
    assert text.count("\n| gpt-nano-coins | ") == 6
    losses = "loss of 5.68 nats a token", "it has 5.68, on the way there at best 5.43 (step 200)"
    assert all(loss in text for loss in losses)
    assert "in which 7 of 240 test sentences occur" in " ".join(text.split())
    assert "training loss goes from 5.68 to 5.43 nats" in text
