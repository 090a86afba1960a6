"""Logs of lm-evaluation-harness and inspect_ai, in the forms that these tools write."""

import json
import struct
import sys
import tracemalloc
import zipfile
import zlib

import numpy as np
import pyarrow as pa
import pytest

from hfbench.cli import app as cli
from hfbench.errors import UserError
from hfbench.evidence.judge import judge
from hfbench.evidence.logs import judge_logs, read_logs
from hfbench.evidence.logs.inspect_ai import read_inspect_log

TIME = "2025-03-01T10-20-30.123456"
RIGHT = np.random.default_rng(0).random((3, 60)) < [[0.8], [0.5], [0.75]]


def write_lm_eval(
    folder, right, model="org/a", task="arc", time=TIME, filters=("none",), mean=None,
    shots=0, version=1.0, doc="d", order=None, **changes,
):  # fmt: skip
    """As `--log_samples` leaves it: the results, and an example a line for each filter."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for of in filters:
        for place in order or range(len(right)):
            value = float(right[place])
            lines.append(
                {
                    "doc_id": place,
                    "doc": {"question": f"question {place}"},
                    "target": "1",
                    "arguments": {"gen_args_0": {"arg_0": "Question:", "arg_1": " a"}},
                    "resps": [[["-1.5", "False"]]],
                    "filtered_resps": [["-1.5", "False"]],
                    "filter": of,
                    "metrics": ["acc", "acc_norm"],
                    "doc_hash": f"{doc}{place}",
                    "prompt_hash": f"p{shots}{place}",
                    "target_hash": f"t{place}",
                    "acc": value,
                    "acc_norm": 1.0 - value,
                    **changes,
                }
            )
    path = folder / f"samples_{task}_{time}.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    share = float(np.mean(right)) if mean is None else mean
    scores = {f"acc,{of}": share for of in filters} | {
        f"acc_norm,{of}": 1 - share for of in filters
    }
    results = {
        "results": {task: {"alias": task, "acc_stderr,none": 0.01, **scores}},
        "configs": {task: {"num_fewshot": shots}},
        "versions": {task: version},
        "n-shot": {task: shots},
        "higher_is_better": {task: {"acc": True, "acc_norm": True}},
        "config": {"model": "hf", "model_args": f"pretrained={model},dtype=float32"},
        "model_name": model,
    }
    (folder / f"results_{time}.json").write_text(json.dumps(results))
    return path


def inspect_log(right, model="openai/a", epochs=1, values=("I", "C")):
    """As `inspect eval` writes it; ``right``: shape (epochs, samples)."""
    samples = [
        {
            "id": number + 1,
            "epoch": epoch + 1,
            "input": [{"id": f"random{epoch}", "role": "user", "content": f"question {number}"}],
            "target": "A",
            "messages": [],
            "scores": {"choice": {"value": values[int(one)], "answer": "A"}},
        }
        for epoch, of_epoch in enumerate(np.reshape(right, (epochs, -1)))
        for number, one in enumerate(of_epoch)
    ]
    spec = {"task": "arc", "task_version": 0, "model": model, "task_args": {}, "created": "2025"}
    return {"version": 2, "status": "success", "eval": spec, "plan": {}, "samples": samples}


def write_eval(path, log, compress=zipfile.ZIP_DEFLATED):
    log = dict(log)
    samples = log.pop("samples")
    entries = {"_journal/start.json": {"version": 2, "eval": log["eval"]}}
    entries |= {f"samples/{s['id']}_epoch_{s['epoch']}.json": s for s in samples}
    entries |= {"summaries.json": samples, "header.json": log}
    if compress == 93:
        return write_zstd(path, entries)
    with zipfile.ZipFile(path, "w", compress) as archive:
        for name, content in entries.items():
            archive.writestr(name, json.dumps(content))
    return path


def write_zstd(path, entries):
    """A zip by hand, with the method that newer versions of inspect_ai use."""
    body, listed = b"", b""
    for name, content in entries.items():
        text, where = json.dumps(content).encode(), len(body)
        packed = pa.Codec("zstd").compress(text).to_pybytes()
        sizes = struct.pack("<III", zlib.crc32(text), len(packed), len(text))
        common = struct.pack("<HHHHH", 63, 0, 93, 0, 33) + sizes
        lengths = struct.pack("<HH", len(name), 0)
        body += b"PK\x03\x04" + common + lengths + name.encode() + packed
        listed += b"PK\x01\x02" + struct.pack("<H", 63) + common + lengths
        listed += struct.pack("<HHHII", 0, 0, 0, 0, where) + name.encode()
    end = struct.pack("<HHHHIIH", 0, 0, len(entries), len(entries), len(listed), len(body), 0)
    path.write_bytes(body + listed + b"PK\x05\x06" + end)
    return path


def rows(*places):
    return {name: read_logs(place) for name, place in zip("abc", places, strict=False)}


def test_samples_of_lm_eval_give_what_judge_gives_of_the_same_numbers(tmp_path):
    for name, right in zip("ab", RIGHT, strict=False):
        write_lm_eval(tmp_path / name / "org__m", right, f"org/{name}", order=[*range(60)][::-1])
    (one,) = judge_logs(rows(tmp_path / "a", tmp_path / "b"))
    expected = judge(
        {"a": RIGHT[:1].astype(float), "b": RIGHT[1:2].astype(float)}, controls=["a", "b"]
    )
    assert one.judgement.pairs == expected.pairs
    assert (one.task, one.metric, one.examples) == ("arc", "acc", 60)
    assert [row.mean for row in one.judgement.rows] == [row.mean for row in expected.rows]
    assert any("Other metrics: acc_norm" in note for note in one.notes)


def test_another_metric_or_filter_can_be_asked_for(tmp_path):
    for name, right in zip("ab", RIGHT, strict=False):
        write_lm_eval(tmp_path / name, right, f"org/{name}", filters=("strict-match", "flexible"))
    found = rows(tmp_path / "a", tmp_path / "b")
    (one,) = judge_logs(found, metric="acc_norm,flexible")
    assert {r.name: r.mean for r in one.judgement.rows}["a"] == pytest.approx(1 - RIGHT[0].mean())
    with pytest.raises(UserError, match=r"of all models; did you mean .acc_norm,flexible"):
        judge_logs(found, metric="acc_norn,flexible")


def test_files_of_other_times_are_further_runs(tmp_path):
    for number, right in enumerate(RIGHT):
        write_lm_eval(tmp_path / "a", right, time=f"2025-03-0{number + 1}T10-20-30.1")
        write_lm_eval(tmp_path / "b", ~right, time=f"2025-03-0{number + 1}T10-20-30.1")
    (one,) = judge_logs(rows(tmp_path / "a", tmp_path / "b"))
    expected = judge({"a": RIGHT.astype(float), "b": (~RIGHT).astype(float)})
    assert one.judgement.pairs == expected.pairs
    assert [row.runs for row in one.judgement.rows] == [3, 3]


@pytest.mark.parametrize("form", ["json", "eval", "zstd"])
def test_logs_of_inspect_ai_are_read_in_each_form_and_epochs_are_runs(tmp_path, form):
    for name, right in zip("ab", (RIGHT, ~RIGHT), strict=True):
        log = inspect_log(right, f"openai/{name}", epochs=3)
        path = tmp_path / name / f"log.{'json' if form == 'json' else 'eval'}"
        path.parent.mkdir()
        if form == "json":
            path.write_text(json.dumps(log))
        else:
            write_eval(path, log, 93 if form == "zstd" else zipfile.ZIP_DEFLATED)
    (one,) = judge_logs(rows(tmp_path / "a", tmp_path / "b"))
    expected = judge({"a": RIGHT.astype(float), "b": (~RIGHT).astype(float)})
    assert one.judgement.pairs == expected.pairs
    assert one.metric == "choice"
    assert not any("NOT THE SAME" in note for note in one.notes)  # ids of messages are random


@pytest.mark.parametrize(
    ("values", "means"),
    [
        (("I", "P"), 0.5), ((0, 1), 1.0), ((False, True), 1.0), (("0.25", "0.75"), None),
        (({"x": 0, "y": 2}, {"x": 1, "y": 2}), 1.0),
    ],
)  # fmt: skip
def test_values_of_inspect_ai_are_numbers_as_it_takes_them(tmp_path, values, means):
    path = tmp_path / "log.json"
    path.write_text(json.dumps(inspect_log(RIGHT[0], values=values)))
    (run,) = read_logs(path)
    found = np.array([*next(iter(run.scores.values())).values()])
    expected = RIGHT[0] * means if means else 0.25 + 0.5 * RIGHT[0]
    assert found == pytest.approx(expected)
    if isinstance(values[0], dict):
        assert list(run.scores) == ["choice/x", "choice/y"]


def test_several_tasks_are_judged_alone_and_together(tmp_path):
    for name, flip in zip("ab", (0, 1), strict=True):
        for task, right in zip(("arc", "boolq"), RIGHT[:2], strict=True):
            own = right if not flip else ~right
            write_lm_eval(tmp_path / name / task, own, f"org/{name}", task)
    judged = judge_logs(rows(tmp_path / "a", tmp_path / "b"))
    assert [one.task for one in judged] == ["arc", "boolq", "all tasks"]
    assert judged[-1].examples == 120
    together = RIGHT[:2].reshape(1, -1).astype(float)
    expected = judge({"a": together, "b": 1 - together}, controls=["a", "b"])
    assert judged[-1].judgement.pairs == expected.pairs


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"doc": "e"}, "60 of 60 examples of b are others than those of a"),
        ({"task": "boolq"}, "no task in common"),
        ({"order": [*range(50)], "mean": RIGHT[1][:50].mean()}, r"has 50 examples, .* 60; 10 are"),
        ({"mean": 0.9}, r"acc is 0\.9 in the results, its examples' mean"),
        ({"acc": None, "acc_norm": "x"}, "no metric has a number for each"),
        ({"doc_id": None}, "line 1: no doc_id"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path, change, said):
    write_lm_eval(tmp_path / "a", RIGHT[0])
    write_lm_eval(tmp_path / "b", RIGHT[1], **change)
    with pytest.raises(UserError, match=said):
        judge_logs(rows(tmp_path / "a", tmp_path / "b"))


def test_other_shots_versions_and_prompts_are_told(tmp_path):
    write_lm_eval(tmp_path / "a", RIGHT[0])
    write_lm_eval(tmp_path / "b", RIGHT[1], shots=5, version=2.0)
    (one,) = judge_logs(rows(tmp_path / "a", tmp_path / "b"))
    assert any("version of the task: 1.0 (a), 2.0 (b)" in note for note in one.notes)
    assert any("shots: 0 (a), 5 (b)" in note for note in one.notes)
    assert any("60 of 60 prompts of b are others" in note for note in one.notes)


def test_a_metric_of_which_lower_is_better_is_judged_so(tmp_path):
    for name, right in zip("ab", RIGHT, strict=False):
        path = write_lm_eval(tmp_path / name, right, f"org/{name}").parent / f"results_{TIME}.json"
        results = json.loads(path.read_text())
        results["higher_is_better"]["arc"]["acc"] = False
        path.write_text(json.dumps(results))
    (one,) = judge_logs(rows(tmp_path / "a", tmp_path / "b"))
    assert one.lower_is_better
    assert one.judgement.rows[0].name == "b"  # which has the lower mean


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 100_000, "not valid JSON"),
        (b"{\n", "not valid JSON"),
        (b"[1]\n", "no sample, which is an object"),
        (b'{"doc_id": 1, "acc": NaN}\n', "no metric has a number"),
        (b'{"doc_id": 1, "acc": 1' + b"0" * 400 + b"}\n", "no metric has a number"),
    ],
)
def test_strange_samples_are_refused_without_a_traceback(tmp_path, content, said):
    (tmp_path / "samples_arc.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_logs(tmp_path)


def test_strange_archives_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "log.eval"
    path.write_bytes(b"no zip")
    with pytest.raises(UserError, match=r"no log of inspect_ai"):
        read_logs(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", json.dumps(inspect_log(RIGHT[0])))
        archive.writestr("samples/1_epoch_1.json", b"0" * 9_000_000)
    monkeypatch.setattr("hfbench.evidence.logs.inspect_ai.MOST_BYTES", 2_000_000)
    with pytest.raises(UserError, match="more than is read of a sample"):
        read_logs(path)
    log = inspect_log(RIGHT[0]) | {"status": "started"}
    write_eval(path, log)
    with pytest.raises(UserError, match="its status is 'started'"):
        read_logs(path)
    log = inspect_log(RIGHT[0])
    log["samples"][3]["scores"] = None
    write_eval(path, log)
    with pytest.raises(UserError, match=r"1 samples have no score \('4'\)"):
        read_logs(path)


@pytest.mark.parametrize("compress", [zipfile.ZIP_DEFLATED, 93])
def test_a_flipped_bit_of_an_archive_is_noticed_or_without_effect(tmp_path, compress):
    path = write_eval(tmp_path / "a.eval", inspect_log(RIGHT[0, :5]), compress)
    whole, undamaged = path.read_bytes(), read_inspect_log(path)
    refused = 0
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            assert read_inspect_log(path) == undamaged, place
        except UserError:
            refused += 1
    assert refused > len(whole) / 2


def test_a_small_sample_takes_little_memory(tmp_path):
    path = write_eval(tmp_path / "a.eval", inspect_log(RIGHT[0, :5]), 93)
    tracemalloc.start()
    try:
        read_inspect_log(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**22


def test_an_archive_is_opened_once_however_many_samples_it_has(tmp_path, monkeypatch):
    """To open it is to read the list of all its samples: of 5,000 that took minutes."""
    path = write_eval(tmp_path / "a.eval", inspect_log(RIGHT[0]))
    opened, opens = [], zipfile.ZipFile.__init__
    monkeypatch.setattr(
        zipfile.ZipFile, "__init__", lambda *args, **kw: (opened.append(1), opens(*args, **kw))[1]
    )
    assert len(read_inspect_log(path)[0].contents) == 60
    assert len(opened) == 1


def test_half_of_a_surrogate_pair_is_shown_as_a_mark(tmp_path, call):
    for name, right in zip("ab", RIGHT, strict=False):
        write_lm_eval(tmp_path / name, right, f"org/{name}\ud800")
    assert "org/a\ufffd is better than org/b\ufffd" in call(tmp_path / "a", tmp_path / "b")


def test_links_are_not_followed(tmp_path):
    write_lm_eval(tmp_path / "away", RIGHT[0])
    (tmp_path / "here").mkdir()
    name = f"samples_arc_{TIME}.jsonl"
    (tmp_path / "here" / name).symlink_to(tmp_path / "away" / name)
    with pytest.raises(UserError, match="no logs with the scores"):
        read_logs(tmp_path / "here")


@pytest.fixture
def call(monkeypatch, capsys):
    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["hfbench", "judge", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as leave:
            cli.main()
        said = capsys.readouterr()
        assert (leave.value.code or 0) == code, said.err
        return " ".join((said.out + said.err).split())

    return run


def test_the_verb_prints_table_and_sentences(tmp_path, call):
    for name, right in zip("ab", RIGHT, strict=False):
        write_lm_eval(tmp_path / name, right, f"org/{name}")
    said = call(tmp_path / "a", tmp_path / "b", "--margin", "0.02")
    assert "arc: acc, 60 examples" in said
    assert "org/a is better than org/b by" in said
    assert "points (95 % interval" in said
    # one folder with both is the same
    assert said == call(tmp_path, "--margin", "0.02")


def test_models_of_the_same_name_are_called_by_their_folder_or_as_one_likes(tmp_path, call):
    for name, right in zip("ab", RIGHT, strict=False):
        write_lm_eval(tmp_path / name, right, "org/same")
    assert "a is better than b by" in call(tmp_path / "a", tmp_path / "b")
    assert "mine is better than b by" in call(f"mine={tmp_path / 'a'}", tmp_path / "b")
    said = call(tmp_path / "a", "--metric", "acc", code=2)
    assert "two models or more are compared, and there is org/same" in said


def test_a_damaged_or_encrypted_sample_is_a_message(tmp_path):
    """zlib raises an error of its own, and zipfile a RuntimeError where a password is wanted."""
    path = tmp_path / "a.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", json.dumps({str(i): i * i for i in range(500)}))
    whole = path.read_bytes()
    central = whole.rindex(b"PK\x01\x02")
    damaged = [(place, 255) for place in range(50, central, 37)]
    for place, flipped in [*damaged, (central + 8, 1)]:
        changed = bytearray(whole)
        changed[place] ^= flipped
        path.write_bytes(changed)
        with pytest.raises(UserError, match=r"a\.eval"):
            read_inspect_log(path)
