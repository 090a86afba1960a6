"""The benchmark of speed runs, checks the losses, and makes its table from records alone."""

import json
import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

# `datasets` reads its cache's place when it is imported: not while the benchmark has one of its own
import hfbench.execution.compare  # noqa: F401

RECIPES = Path(__file__).parents[2] / "recipes"
# six processes each; the losses alone, and tables from records, are looked at by default
ROWS = [
    pytest.param(name, marks=pytest.mark.slow) for name in ("lm-small-corpus", "finetune-tiny-gpt2")
]
FEW = ["--steps", "3", "--repetitions", "1", "--epochs", "1", "--seeds", "1"]


@pytest.fixture(scope="module")
def benchmark():
    """A function that runs the script and gives its exit code; the environment stays as it is."""
    sys.path.insert(0, str(RECIPES))
    before = dict(os.environ)
    import benchmark_speed

    def run(*arguments):
        try:
            return benchmark_speed.main(list(map(str, arguments)))
        finally:
            os.environ.clear()
            os.environ.update(before)

    yield run
    sys.path.remove(str(RECIPES))


@pytest.fixture(scope="module", params=ROWS)
def row(request):
    return request.param


@pytest.fixture(scope="module")
def out(benchmark, row, tmp_path_factory):
    """Where a row of a few steps was written to."""
    out = tmp_path_factory.mktemp("speed")
    assert benchmark("--rows", row, *FEW, "--out", out) == 0
    return out


def test_committed_findings_are_those_of_the_records(benchmark):
    from speed.findings import render

    speed = Path(__file__).parents[2] / "results" / "speed"
    assert (speed / "README.md").read_text("utf-8") == render(speed)


def test_the_page_ends_with_the_marks_of_the_committed_records(benchmark):
    from speed import marks

    assert marks.PAGE.read_text("utf-8") == marks.page()


@pytest.mark.parametrize(
    ("ours", "said"), [(0.0059, "5.90 ms | met"), (0.0071, "7.10 ms | **not met**"), (None, "not")]
)
def test_a_mark_is_met_by_what_a_record_says(benchmark, tmp_path, ours, said):
    from speed import marks

    if ours:
        runs = {name: [{"seconds": value}] for name, value in {"hfbench": ours, "T": 1}.items()}
        (tmp_path / "gpu").mkdir()
        record = {"sides": runs, "warm_up_runs": 0}
        (tmp_path / "gpu" / "finetune-bert-base.json").write_text(json.dumps(record))
    line = "| H200: a step of BERT base | at most 6.50 ms | "
    (found,) = [m.cells(tmp_path) for m in marks.MARKS if m.what == "H200: a step of BERT base"]
    assert f"| {' | '.join(found)} |".startswith(line + said)


@pytest.mark.slow
def test_findings_are_the_numbers_of_the_table(benchmark, out, row):
    from speed.findings import Row
    from speed.records import table

    found = Row("cpu", row, out)
    lines = [line.split(" | ") for line in table("cpu", [found.record]).splitlines()[-3:]]
    for _, side, median, _, ratio, tokens, _, _, memory, *_ in lines:
        assert f"{found.median(side)} a step" == median
        assert float(found.times(side)) == pytest.approx(float(ratio), abs=0.006)
        assert (found.tokens(side), found.memory(side)) == (tokens, memory)


@pytest.mark.parametrize("name", ["lm-124m-ddp", "finetune-bert-base-ddp", "comparison"])
def test_the_paces_of_several_gpus_are_those_of_the_table(benchmark, name):
    from speed.findings import Row
    from speed.records import table

    row = Row("gpus", name, Path(__file__).parents[2] / "results" / "speed")
    lines = [line.split(" | ") for line in table("gpus", [row.record]).splitlines()[-2:]]
    ((gpus, _),) = row.several.items()
    shares = [100 / gpus / float(lines[1][4])]
    least = [float(line[3].split()[0]) for line in lines]
    shares.append(100 / gpus * least[0] / least[1])
    for found, share in zip([row.paces(), row.paces(fastest=True)], shares, strict=True):
        pace, number = re.fullmatch(r"(\d+) % on (\d+)", found).groups()
        assert int(number) == gpus
        assert int(pace) == pytest.approx(share, rel=0.02, abs=1)


def test_what_comes_before_the_first_cell_is_told_apart(benchmark):
    from speed.findings import Row

    row = Row("gpus", "comparison", Path(__file__).parents[2] / "results" / "speed")
    runs = {side: run for side, (run,) in row.record["sides"].items()}
    first = {side: sorted(run["details"]["starts"])[0] for side, run in runs.items()}
    alone, several = runs
    assert float(row.start(several).removesuffix(" s")) == pytest.approx(first[several], abs=0.06)
    cells = [run["seconds"] - first[side] for side, run in runs.items()]
    (gpus,) = row.several
    assert row.pace_of_cells(alone, several, gpus) == f"{100 * cells[0] / cells[1] / gpus:.0f} %"


def test_utilisation_is_that_of_the_formula(benchmark):
    from speed.findings import PEAK_FLOPS, Row

    speed = Path(__file__).parents[2] / "results" / "speed"
    row = Row("gpus", "lm-xl-fsdp2", speed)
    for number, side in row.several.items():
        parameters = 12 * 48 * 1600**2 + 50_257 * 1600  # of matrices, the head's included
        of_a_token = 6 * parameters + 12 * 48 * 1600 * 1024  # and attention, as a square
        rate = float(row.tokens(side).replace(",", "")) * of_a_token / number
        share = float(row.utilisation(side, number).removesuffix(" %"))
        assert share == pytest.approx(100 * rate / PEAK_FLOPS, abs=0.6)


def test_findings_say_which_record_they_lack(benchmark, tmp_path, capsys):
    assert benchmark("--findings", "--out", tmp_path) == 2
    lacking = re.escape(str(tmp_path / "cpu"))
    assert re.search(rf"no {lacking}/[\w-]+\.json; measure", capsys.readouterr().err)


def read(out, row):
    return json.loads((out / "cpu" / f"{row}.json").read_text("utf-8"))


def test_a_record_has_every_run_of_every_side(out, row):
    record = read(out, row)
    assert (record["suite"], record["row"], record["unit"]) == ("cpu", row, "step")
    assert record["settings"]["steps"] == 3
    assert record["environment"]["packages"]["torch"] == torch.__version__
    assert len(record["sides"]) == 3
    for runs in record["sides"].values():
        assert len(runs) == 1 + 1
        for run in runs:
            assert run["details"]["steps"] == 3
            assert 0 < run["seconds"] < run["train_seconds"] < run["total_seconds"]
            assert run["peak_memory_bytes"] > 2**27  # torch alone needs as much
    run = record["sides"]["hfbench"][1]
    # hfbench's own clock ran while the two steps after the warm-up were taken
    assert run["details"]["record_train_seconds"] > run["seconds"]


def test_losses_are_those_of_the_stock_model_in_a_bare_loop(out, row):
    check = read(out, row)["check"]
    assert check["passed"]
    found = check["details"]
    assert len(found["hfbench"]) == len(found["stock"]) == 3
    assert len(set(found["stock"])) == 3
    assert found["first_difference"] < 1e-5


def test_the_table_has_a_line_for_each_side(out, row):
    lines = (out / "cpu.md").read_text("utf-8").splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    assert len(table) == 2 + 3
    assert {len(cells) for cells in table} == {len(table[0])}
    assert [cells[0] for cells in table[2:]] == [row] * 3
    hfbench_line, stock_line = table[2], table[3]
    assert hfbench_line[1] == "hfbench"
    assert hfbench_line[4] == "1.00"
    assert hfbench_line[-1] == read(out, row)["check"]["summary"]
    median = {
        name: record_side[1]["seconds"] for name, record_side in read(out, row)["sides"].items()
    }
    assert float(stock_line[4]) == pytest.approx(
        median[stock_line[1]] / median["hfbench"], abs=0.01
    )


def test_the_table_is_made_again_from_records_byte_for_byte(benchmark, tmp_path):
    committed = Path(__file__).parents[2] / "results" / "speed"
    shutil.copytree(committed / "cpu", tmp_path / "cpu")
    assert benchmark("--table-only", "--out", tmp_path) == 0
    assert (tmp_path / "cpu.md").read_bytes() == (committed / "cpu.md").read_bytes()


def test_other_weights_fail_the_check_after_all_is_written(
    benchmark, tmp_path, monkeypatch, capsys
):
    from speed import losses, training
    from speed.measure import Run

    def convert_otherwise(model):
        converted = convert_model(model)
        with torch.no_grad():
            converted.lm_head.weight.mul_(1.1)
        return converted

    convert_model = losses.convert_model
    monkeypatch.setattr(losses, "convert_model", convert_otherwise)
    # how long each side takes has been seen above
    monkeypatch.setattr(
        training,
        "in_turns",
        lambda sides, rounds: {name: [Run(1.0, 2.0)] * rounds for name in sides},
    )
    assert benchmark("--rows", "lm-small-corpus", "--steps", 2, "--out", tmp_path) == 1
    assert "lm-small-corpus: FAILED" in capsys.readouterr().err
    check = read(tmp_path, "lm-small-corpus")["check"]
    assert not check["passed"]
    assert check["details"]["first_difference"] > check["details"]["tolerance_of_first"]
    assert "FAILED" in (tmp_path / "cpu.md").read_text("utf-8")


def test_a_loss_that_is_no_number_fails_the_check(benchmark):
    from speed.losses import compare

    assert compare([1.0, 2.0], [1.0, 2.0], "float32").passed
    assert not compare([1.0, float("nan")], [1.0, 2.0], "float32").passed
    assert not compare([1.0, 2.0], [1.0, 2.001], "float32").passed
    assert compare([1.0, 2.0], [1.0, 2.001], "bfloat16").passed


def test_generated_texts_are_as_varied_as_english(benchmark):
    from speed.texts import BOOK, REVIEWS, texts

    for number, lengths, tokens, different in (
        (4950, BOOK, 105e3, 10.6e3),
        (1200, REVIEWS, 15e3, 4e3),
    ):
        words = " ".join(texts(number, lengths, seed=0)).split()
        assert len(words) == pytest.approx(tokens, rel=0.25)
        assert len(set(words)) == pytest.approx(different, rel=0.15)


def test_a_checkpoint_is_over_when_the_next_step_begins(benchmark, monkeypatch):
    """What other callbacks do about it, as its hashes, is not of the steps."""
    from speed import measure

    time = 0.0
    monkeypatch.setattr(measure, "_now", lambda: time)
    clock = measure.Clock(warm_up=2)
    clock.begin()
    for step in range(1, 7):
        clock.on_step_begin(None, None, None)
        time += 5 if step <= 2 else 1
        saves = step == 4
        clock.on_step_end(None, None, SimpleNamespace(should_save=saves))
        if saves:
            time += 100  # the Trainer writes it
            clock.on_save(None, None, None)
            time += 20  # and others hash it
    clock.end()
    assert clock.checkpoint_seconds == [120]
    assert clock.step_seconds == pytest.approx(1 + 120 / measure.CHECKPOINT_INTERVAL)


def test_a_row_that_is_not_there_is_an_error_that_names_those_that_are(benchmark, tmp_path, capsys):
    assert benchmark("--rows", "no-such-row", "--out", tmp_path) == 2
    assert "finetune-gpt-nano" in capsys.readouterr().err


@pytest.mark.parametrize(("suite", "needed"), [("gpu", "1 GPU"), ("gpus", "2 GPUs")])
def test_a_suite_for_gpus_is_refused_without_them(benchmark, tmp_path, capsys, suite, needed):
    assert benchmark("--suite", suite, "--out", tmp_path) == 2
    assert f"the suite {suite} needs {needed} or more" in capsys.readouterr().err


def test_more_gpus_than_there_are_is_an_error_that_says_how_many_can_be(
    benchmark, tmp_path, capsys
):
    assert benchmark("--gpus", 2, "--rows", "lm-small-corpus", "--out", tmp_path) == 2
    assert "--gpus 2: can be [] here" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_it_says_what_it_takes(benchmark, capsys):
    with pytest.raises(SystemExit) as leave:
        benchmark("--help")
    assert not leave.value.code
    assert "--rows" in capsys.readouterr().out


def test_numbers_of_gpus_are_powers_of_two(benchmark, monkeypatch):
    from speed import scaling

    monkeypatch.setattr(scaling, "_gpus", lambda: list("0123456"))
    assert scaling.several_gpus(()) == [2, 4]
    assert scaling.several_gpus((4,)) == [4]
    monkeypatch.setattr(scaling, "_gpus", lambda: list("01234567"))
    assert scaling.several_gpus(()) == [2, 4, 8]


@pytest.mark.slow
def test_whole_processes_are_measured(benchmark, tmp_path):
    rows = ["comparison", "start-up"]
    assert benchmark("--rows", *rows, *FEW, "--out", tmp_path) == 0
    comparison = read(tmp_path, "comparison")
    ours, stock = comparison["sides"].values()
    assert [len(run["details"]["accuracies"]) for run in [*ours, *stock]] == [2, 2, 2]
    assert len(read(tmp_path, "start-up")["sides"]) == 4


@pytest.mark.slow
def test_a_custom_gpt_writes_the_tokens_of_gpt2(benchmark, tmp_path):
    from speed.generation import Generating

    measured = Generating("gpt-nano", new_tokens=5, repetitions=1).measure(tmp_path)
    assert measured.check.passed
    assert {len(tokens) for tokens in measured.check.details.values()} == {5}


SHARDED = Path(__file__).parents[1] / "support" / "scaled_sharded.py"


def as_on_gpus(arguments, variables):
    """`run_python` with processes of the CPU, where `accelerate launch` would take GPUs."""
    from speed.processes import run_python

    if "accelerate.commands.launch" not in arguments:
        return run_python(arguments, {"OMP_NUM_THREADS": "1"})
    number = arguments[arguments.index("--num_processes") + 1]
    script = arguments[arguments.index("--num_processes") + 2 :]
    if Path(arguments[arguments.index("--config_file") + 1]).stem == "fsdp2":
        script[0] = str(SHARDED)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", number]
    return run_python([*launch, *script], {"OMP_NUM_THREADS": "1"})


@pytest.fixture
def two_gpus(monkeypatch):
    """Two processes of the CPU stand for two GPUs."""
    from speed import scaling

    monkeypatch.setattr(scaling, "run_python", as_on_gpus)
    monkeypatch.setattr(scaling, "_gpus", lambda: ["0", "1"])


@pytest.mark.slow
@pytest.mark.parametrize(("config", "kind"), [("multi_gpu", "DDP"), ("fsdp2", "FSDP2")])
def test_a_pretraining_on_more_and_more_gpus_is_measured(
    benchmark, two_gpus, tmp_path, config, kind
):
    from speed.scaling import ONE, Scaling, Way
    from speed.texts import VOCAB_SIZE
    from speed.work import Work

    work = Work(
        kind="language model", preset="gpt-nano", batch=8, steps=9, warm_up=3, logging_steps=3,
        corpus="book", texts=300, train_share=0.9, block_size=32, tied=True, dropout=0.0,
        loss_steps=12,
    )  # fmt: skip
    one_way = Way(1, config) if config == "fsdp2" else ONE  # as of gpt2-xl
    measured = Scaling(work, config, alone=one_way).measure(tmp_path)
    alone, pair = one_way.name, f"2 GPUs, {kind}"
    assert list(measured.sides) == [alone, pair]
    assert [len(runs) for runs in measured.sides.values()] == [3, 2]  # laps of 3 steps
    assert measured.settings["world_sizes"] == {alone: 1, pair: 2}
    assert measured.settings["devices"][pair].startswith("2 x ")
    assert "--nproc_per_node 2" in measured.settings["commands"][pair]
    assert measured.tokens == 8 * 32
    parameters = 3 * 12 * 48**2 + VOCAB_SIZE * 48  # of matrices, the head's included
    assert measured.flops == pytest.approx(6 * parameters * measured.tokens, rel=0.02)
    assert measured.check.passed
    losses = measured.check.details["losses"]
    assert len(losses[alone]) == len(losses[pair]) == 1 + 4  # the first step, laps
    assert losses[alone][-1] < losses[alone][0] - 0.1


@pytest.mark.slow
def test_an_epoch_of_an_encoder_on_more_and_more_gpus_is_measured(benchmark, two_gpus, tmp_path):
    from speed.scaling import Scaling
    from speed.work import Work

    work = Work(
        kind="classifier", preset="tiny-bert", batch=8, steps=6, warm_up=2, logging_steps=2,
        corpus="reviews", texts=100, dropout=0.0, loss_steps=6, learning_rate=1e-3,
    )  # fmt: skip
    measured = Scaling(work, "multi_gpu", epoch=True).measure(tmp_path)
    alone, pair = measured.sides.values()
    assert alone[0].details["steps"] == 13  # 100 texts in batches of 8, and of 16
    assert pair[0].details["steps"] == 7
    assert measured.check.passed
    losses = measured.check.details["losses"]["1 GPU"]
    assert len(set(losses)) == len(losses) == 3  # laps of 2 steps


@pytest.mark.slow
def test_losses_are_compared_in_float32_where_the_row_says_so(benchmark, two_gpus, tmp_path):
    from speed.scaling import Scaling
    from speed.work import Work

    work = Work(
        kind="classifier", preset="tiny-bert", batch=8, steps=4, warm_up=2, logging_steps=2,
        corpus="reviews", texts=100, dropout=0.0, loss_steps=6, learning_rate=1e-3, bf16=True,
    )  # fmt: skip
    measured = Scaling(work, "multi_gpu", losses_in_float32=True).measure(tmp_path)
    assert measured.sides["1 GPU"][0].details["steps"] == 4  # not as many as are compared
    assert measured.check.passed
    assert "6 steps, float32, 2 GPUs" in measured.check.summary
    alone, pair = measured.check.details["losses"].values()
    assert alone == pytest.approx(pair, abs=1e-6)


@pytest.mark.slow
def test_losses_that_differ_fail_the_check(benchmark, two_gpus, tmp_path, monkeypatch):
    from speed import scaling
    from speed.work import Work

    work = Work(
        kind="classifier", preset="tiny-bert", batch=8, steps=4, warm_up=2, logging_steps=2,
        corpus="reviews", texts=100, loss_steps=4,
    )  # fmt: skip
    launch, rates = scaling.Scaling._launch, iter([1e-5, 1e-5, 1e-2])
    monkeypatch.setattr(
        scaling.Scaling,
        "_launch",
        lambda self, work, *args: launch(self, replace(work, learning_rate=next(rates)), *args),
    )
    measured = scaling.Scaling(work, "multi_gpu").measure(tmp_path)
    assert not measured.check.passed
    assert measured.check.summary.startswith("FAILED")


@pytest.mark.slow
def test_a_comparison_on_more_and_more_gpus_leaves_the_same_records(benchmark, two_gpus, tmp_path):
    from speed.scaling import SpreadComparison

    measured = SpreadComparison(epochs=1, seeds=2, repetitions=1).measure(tmp_path)
    assert list(measured.sides) == ["hfbench compare, 1 GPU", "hfbench compare, 2 GPUs"]
    assert measured.check.passed
    assert measured.check.summary == "4 of 4 records the same, apart from times"
    for (run,) in measured.sides.values():
        assert all(0 < start < run.seconds for start in run.details["starts"])
        assert len(run.details["train_seconds"]) == 4
        assert run.details["command"].startswith("hfbench compare comparison.yaml")


@pytest.mark.slow
def test_models_that_people_use_are_compared_with_scripts(benchmark, tmp_path, monkeypatch):
    from speed import real

    # the stock Trainer refuses bf16 where there is no GPU
    run_python = real.run_python
    monkeypatch.setattr(
        real, "run_python", lambda words: run_python([word for word in words if word != "--bf16"])
    )
    sizes = {"texts": 100, "epochs": 1, "seeds": 2, "scripts": 1, "repetitions": 1}
    measured = real.RealComparison(("tiny-bert",), **sizes).measure(tmp_path)
    assert list(measured.sides) == ["hfbench compare", "2 stock scripts, 1 measured and scaled"]
    (ours,), scripts = measured.sides.values()
    cells = zip(ours.details["starts"], ours.details["cell_seconds"], strict=True)
    assert all(0 < start < start + seconds < ours.seconds for start, seconds in cells)
    (taken,) = scripts[0].details["scripts"]["tiny-bert"]
    assert scripts[0].seconds == 2 * taken
    (tmp_path / "seeds").mkdir()
    together = real.SeedsTogether("tiny-bert", texts=100, seeds=2, repetitions=1)
    measured = together.measure(tmp_path / "seeds")
    (one,), (two,) = measured.sides.values()
    assert (len(one.details["accuracies"]), len(two.details["accuracies"])) == (1, 2)
    assert measured.settings["steps"] == 4
