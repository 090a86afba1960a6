"""Each kind of finding, on a small file or recipe of its kind, and none of it on healthy data."""

import gzip
import json
import random

import pandas as pd
import pytest
from datasets import Dataset, DatasetDict
from tokenizers import Tokenizer, models, pre_tokenizers

from hfbench.data.contamination import count_repetitions
from hfbench.data.doctor import alarms, diagnose, diagnosis
from hfbench.data.doctor.diagnosis import describe_type, guess_columns
from hfbench.data.doctor.files import read_file
from hfbench.data.doctor.lengths import estimate_tokens
from hfbench.data.doctor.report import format_report
from hfbench.data.files import DataFile
from hfbench.data.task import load_task
from hfbench.recipe.schema import Recipe

NOUNS = ["film", "meal", "trip", "song", "game", "book", "hotel", "phone", "plot", "cast"]
GOOD, BAD = ["lovely", "warm", "clever", "fresh"], ["dull", "cold", "weak", "stale"]


def texts(number, start=0):
    """So many different texts, and their labels."""
    rows = []
    for i in range(start, start + number):
        word = (GOOD, BAD)[i % 2][i // 2 % 4]
        rows.append((f"the {NOUNS[i % 10]} was {word}, said person {i}", ("pos", "neg")[i % 2]))
    return rows


def write(path, rows, header="text,label", sep=",", quote='"'):
    """As CSV; a field with the separator stands in quotation marks."""
    lines = [header] if header else []
    for row in rows:
        lines.append(sep.join(f"{quote}{v}{quote}" if sep in str(v) else str(v) for v in row))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def recipe(folder, *, models=None, **task):
    task = {"data_files": {"train": "data.csv"}, "validation_size": 0.25, **task}
    if "validation_split" in task:
        del task["validation_size"]
    entries = models or [{"name": "floor", "control": "majority"}]
    values = {"name": "r", "task": task, "models": entries}
    return Recipe.from_values(values, folder)


def read(path, **task):
    """A file as it stands."""
    task = recipe(path.parent, data_files={"train": path.name}, **task).task
    return read_file(DataFile(path, "task.data_files.train", task.encoding), task)


def look(folder, **task):
    """Check -> finding."""
    found = diagnose("data.csv", recipe(folder, **task))
    assert len({f.check for f in found.findings}) == len(found.findings)
    return {finding.check: finding for finding in found.findings}


def test_healthy_data_have_no_finding_but_their_name(tmp_path):
    write(tmp_path / "data.csv", texts(200))
    assert set(look(tmp_path)) == {"title"}


# --- files


@pytest.mark.parametrize(
    ("text", "written", "said"),
    [
        ("café für {}", "cp1252", "cp1252"),
        ("Это хороший фильм, номер {}", "cp1251", "cp1251"),
        ("a film as any, number {}", "utf-16", "utf-16"),
    ],
)
def test_another_encoding_is_named_with_its_key(tmp_path, text, written, said):
    lines = [f'"{text.format(i)}",{("pos", "neg")[i % 2]}' for i in range(40)]
    (tmp_path / "data.csv").write_bytes("\n".join(["text,label", *lines]).encode(written))
    finding = look(tmp_path)["encoding"]
    assert (finding.severity, finding.key) == ("high", "encoding")
    assert f"`encoding: {said}`" in finding.sentence


def test_utf_8_with_a_mark_is_nothing_to_say(tmp_path):
    write(tmp_path / "data.csv", texts(40))
    content = (tmp_path / "data.csv").read_bytes()
    (tmp_path / "data.csv").write_bytes(b"\xef\xbb\xbf" + content)
    found = read(tmp_path / "data.csv")
    assert (found.facts.encoding, found.facts.columns) == ("utf-8-sig", ["text", "label"])
    assert found.findings == []


def test_an_encoding_that_is_given_and_wrong_is_named(tmp_path):
    (tmp_path / "data.csv").write_bytes("text,label\ncafé,a\n".encode("cp1252"))
    found = read(tmp_path / "data.csv", encoding="utf-8")
    assert "cannot be read as utf-8; it seems to be" in found.findings[0].sentence
    assert read(tmp_path / "data.csv", encoding="cp1252").columns["text"] == ["café"]


def test_characters_that_a_wrong_encoding_left_are_counted(tmp_path):
    rows = texts(40)
    rows[3] = ("le café".encode().decode("cp1252"), "pos")
    rows[7] = ("lost \ufffd here", "neg")
    write(tmp_path / "data.csv", rows)
    finding = look(tmp_path)["garbled"]
    assert "in 2 of 40 rows" in finding.sentence
    assert "lines 5, 9" in finding.sentence


def test_a_refusal_has_the_key_that_it_advises(tmp_path):
    (tmp_path / "data.csv").write_bytes("text,label\ncafé,a\n".encode("cp1252"))
    assert look(tmp_path)["refused"].key == "encoding"


@pytest.mark.parametrize("sep", [";", "\t", "|"])
def test_another_separator_is_named_with_its_key(tmp_path, sep):
    write(tmp_path / "data.csv", texts(40), header=sep.join(["text", "label"]), sep=sep)
    finding = look(tmp_path)["separator"]
    assert (finding.severity, finding.key) == ("high", "sep")
    assert f"`sep: {json.dumps(sep)}`" in finding.sentence
    assert "separator" not in {f.check for f in read(tmp_path / "data.csv", sep=sep).findings}


def test_rows_with_another_number_of_fields_are_counted_with_their_lines(tmp_path):
    rows = [f"{text},{label}" for text, label in texts(40)]  # each text has a comma, unquoted
    (tmp_path / "data.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    finding = look(tmp_path)["fields"]
    assert (finding.severity, finding.key) == ("high", "quoting")
    assert "40 of 40 rows have 3 fields where 2 are expected (lines 2, 3, 4, 5, 6, ...)" in (
        finding.sentence
    )


def test_rows_that_a_quotation_mark_swallowed_are_counted(tmp_path):
    rows = [(label, text.replace(",", " -")) for text, label in texts(40)]
    rows[10] = ("neg", '"Oh no it said')
    rows[20] = ("pos", 'so it said"')
    write(tmp_path / "data.csv", rows, header="label,text")
    finding = look(tmp_path)["swallowed"]
    assert (finding.severity, finding.key) == ("high", "quoting")
    assert "of 30 rows 1 may hold 10 others: in line 12" in finding.sentence
    assert "ends in line 22" in finding.sentence


def test_a_text_of_several_lines_swallows_nothing(tmp_path):
    rows = texts(40)
    rows[5] = ("first line, then\na second, and\nthe last", "neg")
    rows[9] = ("two, each\nwith, a comma", "neg")
    write(tmp_path / "data.csv", rows)
    found = look(tmp_path)
    assert "swallowed" not in found
    assert "40 rows in 44 lines; rows in several lines: 2" in found["rows and lines"].sentence


def test_tsv_stands_bare_unless_the_file_proves_otherwise(tmp_path):
    bare = tmp_path / "bare.tsv"
    marked = [("pos", '"so it began'), ("neg", 'and so it ended"')]
    plain = [(label, text) for text, label in texts(8)]
    write(bare, [marked[0], *plain, marked[1], *plain], "label\ttext", "\t")
    found = read(bare)
    assert not found.facts.quoted
    assert len(found.columns["text"]) == 18
    assert found.columns["text"][0] == '"so it began'
    quoted = tmp_path / "quoted.tsv"
    values = ["one", 'he said "yes"', "a\tb", "two\nlines"]
    pd.DataFrame({"label": list("abab"), "text": values}).to_csv(quoted, sep="\t", index=False)
    found = read(quoted)
    assert found.facts.quoted
    assert found.columns["text"] == values
    pd.DataFrame({"label": ["a"], "text": ["one"]}).to_csv(quoted, sep="\t", index=False, quoting=1)
    assert read(quoted).columns == {"label": ["a"], "text": ["one"]}


def test_texts_and_classes_that_are_read_otherwise_are_told(tmp_path):
    rows = texts(40)
    write(tmp_path / "data.csv", rows)
    loaded = load_task(recipe(tmp_path).task, tmp_path)
    rows[4] = ("another text", "pos")
    rows[5] = (rows[5][0], "third")
    write(tmp_path / "data.csv", rows)
    from hfbench.data.doctor.diagnosis import _compare_readings

    columns = {"train": read(tmp_path / "data.csv").columns}
    found = {f.check: f.sentence for f in _compare_readings(loaded, recipe(tmp_path).task, columns)}
    assert "1 of 40 texts are not those of the file: row train/4" in found["other texts"]
    assert "the 3 classes of the file (neg, pos, third) are read as 2" in found["other classes"]


def test_a_header_that_stands_again_is_named_by_its_line(tmp_path):
    rows = texts(40)
    rows.insert(20, ("text", "label"))
    rows.insert(30, ("text", "label"))
    write(tmp_path / "data.csv", rows)
    found = look(tmp_path)
    assert "line 22, 32" in found["repeated header"].sentence
    assert found["repeated header"].severity == "high"
    assert found["header as class"].severity == "high"
    assert "header" not in found


@pytest.mark.parametrize("first", [("a film", "pos"), ("0", "pos")])
def test_a_first_line_that_is_a_row_is_suspected(tmp_path, first):
    write(tmp_path / "data.csv", [first, *texts(40)], header=None)
    finding = read(tmp_path / "data.csv").findings[0]
    assert (finding.severity, finding.check, finding.key) == ("high", "header", "column_names")
    assert "'pos' stands 20 times below it" in finding.sentence
    named = read(tmp_path / "data.csv", column_names=["text", "label"])
    assert (named.findings, named.facts.rows) == ([], 41)


def test_a_number_over_numbers_is_no_header(tmp_path):
    write(tmp_path / "data.csv", [(text, i) for i, (text, _) in enumerate(texts(40))], "a film,40")
    finding = read(tmp_path / "data.csv").findings[0]
    assert (finding.check, finding.key) == ("header", "column_names")
    assert "'40' is a number as all below it" in finding.sentence


@pytest.mark.parametrize(("header", "said"), [("text,", "column 2"), ("text,text", "'text' twice")])
def test_a_header_without_names_is_told(tmp_path, header, said):
    write(tmp_path / "data.csv", texts(40), header=header)
    finding = read(tmp_path / "data.csv").findings[0]
    assert (finding.severity, finding.key) == ("medium", "column_names")
    assert said in finding.sentence


@pytest.mark.parametrize("bad", ['{"text": "a', "[1, 2]"])
def test_a_broken_line_of_json_is_named(tmp_path, bad):
    lines = [json.dumps({"text": text, "label": label}) for text, label in texts(40)]
    lines[20] = bad
    (tmp_path / "data.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = look(tmp_path, data_files={"train": "data.jsonl"})
    assert "lines that are no rows: 1 of 40 (line 21" in found["format"].sentence


def test_json_lists_and_parquet_are_read_as_they_stand(tmp_path):
    frame = pd.DataFrame(texts(40), columns=["text", "label"])
    frame.to_json(tmp_path / "data.json", orient="records")
    frame.to_parquet(tmp_path / "data.parquet")
    for name in ("data.json", "data.parquet"):
        found = read(tmp_path / name)
        assert found.columns == {"text": list(frame["text"]), "label": list(frame["label"])}
        assert set(look(tmp_path, data_files={"train": name})) == {"title"}
    (tmp_path / "data.json").write_text('[{"text": 1,}]')
    assert "line 1, column 13" in read(tmp_path / "data.json").findings[0].sentence
    (tmp_path / "data.parquet").write_bytes(gzip.compress(b"x"))
    assert "cannot be read as Parquet" in read(tmp_path / "data.parquet").findings[0].sentence


def test_what_a_comparison_refuses_is_a_finding_and_the_rest_is_told(tmp_path):
    rows = texts(40)
    write(tmp_path / "data.csv", [*rows, ("a film of its own", "rare")])
    found = diagnose("data.csv", recipe(tmp_path))
    refused = next(f for f in found.findings if f.check == "refused")
    assert found.refusal in refused.sentence
    assert (refused.severity, refused.key) == ("high", "validation_size")
    assert found.splits["train"].classes == {"pos": 20, "neg": 20, "rare": 1}
    rare = next(f for f in found.findings if f.check == "rare classes")
    assert (rare.severity, rare.key) == ("high", "min_class_size")
    assert "1 of 3 ('rare' 1)" in rare.sentence


# --- examples


def test_classes_that_are_numbers_and_words_for_nothing(tmp_path):
    rows = [(text, str(i % 2)) for i, (text, _) in enumerate(texts(40))]
    write(tmp_path / "data.csv", rows)
    finding = look(tmp_path)["class names"]
    assert (finding.severity, finding.key) == ("low", "label_names")
    assert "(0, 1)" in finding.sentence
    rows = [(text, ("n/a", "here")[i % 2]) for i, (text, _) in enumerate(texts(40))]
    frame = pd.DataFrame(rows, columns=["text", "label"])
    frame.to_json(tmp_path / "data.jsonl", orient="records", lines=True)
    finding = look(tmp_path, data_files={"train": "data.jsonl"})["missing labels"]
    assert finding.key == "na_values"
    assert "'n/a' counts as a class (training examples: 15)" in finding.sentence


def test_one_class_that_is_nearly_all(tmp_path):
    rows = [(text, "rare" if i % 15 == 0 else "usual") for i, (text, _) in enumerate(texts(300))]
    write(tmp_path / "data.csv", rows)
    assert "93 % of the training examples are 'usual'" in look(tmp_path)["balance"].sentence


def test_rows_sorted_by_class(tmp_path):
    rows = sorted(texts(60), key=lambda row: row[1])
    write(tmp_path / "data.csv", rows)
    finding = look(tmp_path)["order"]
    assert (finding.severity, finding.key) == ("low", "split: last")
    finding = look(tmp_path, first=40)["order"]
    assert (finding.severity, finding.key) == ("high", "first")


def test_dates_are_a_reason_to_split_by_time(tmp_path):
    rows = [
        (*row, f"2024-{1 + i // 28 % 12:02}-{1 + i % 28:02}") for i, row in enumerate(texts(60))
    ]
    write(tmp_path / "data.csv", rows, header="text,label,day")
    finding = look(tmp_path)["time"]
    assert finding.key == "split: last"
    assert "column 'day' holds dates from 2024-01-01 to 2024-03-04" in finding.sentence


@pytest.mark.parametrize(
    ("scale", "said"),
    [
        (lambda n: 12_000 + 2_500 * n, "subtract 1.2e+04, divide by 4000"),
        (lambda n: 8 + n, "subtract 8, divide by 1"),
        (lambda n: n / 1_000, "divide by 0.001"),
    ],
)
def test_numbers_far_from_where_a_network_starts_are_an_alarm(tmp_path, scale, said):
    def found(of):
        rows = [(text, f"{of(i % 5 - 2):.6f}") for i, (text, _) in enumerate(texts(80))]
        write(tmp_path / "data.csv", rows)
        task = recipe(tmp_path, problem_type="regression").task
        findings = alarms(task, load_task(task, tmp_path), tmp_path)
        return [f for f in findings if f.check == "scale of numbers"]

    (finding,) = found(scale)
    assert said in finding.sentence
    assert found(lambda n: 3 + n) == []  # as stars are


@pytest.mark.parametrize(("number", "severity"), [(1, "medium"), (12, "high")])
def test_equal_texts_with_different_labels(tmp_path, number, severity):
    other = {"pos": "neg", "neg": "pos"}
    rows = texts(200)
    rows += [(text.upper(), other[label]) for text, label in rows[:number]]
    write(tmp_path / "data.csv", rows)
    write(tmp_path / "validation.csv", texts(40, 500))
    files = {"train": "data.csv", "validation": "validation.csv"}
    finding = look(tmp_path, data_files=files, validation_split="validation")["label noise"]
    assert finding.severity == severity
    assert f"texts in train with different labels: {number} ({2 * number} rows" in (
        finding.sentence
    )
    assert "rows 0, 200" in finding.sentence


@pytest.mark.parametrize(("number", "severity"), [(2, "medium"), (20, "high")])
def test_examples_that_are_in_train_too(tmp_path, number, severity):
    rows = texts(200)
    write(tmp_path / "data.csv", rows)
    write(tmp_path / "validation.csv", [*texts(60, 500), *rows[:number]])
    files = {"train": "data.csv", "validation": "validation.csv"}
    finding = look(tmp_path, data_files=files, validation_split="validation")["overlap"]
    assert (finding.severity, finding.key) == (severity, None)
    assert f"{number} of {60 + number} validation examples" in finding.sentence


def test_repetitions_within_a_split(tmp_path):
    long = "one two three four five six seven eight nine ten eleven twelve of number"
    rows = texts(100)
    rows[10:14] = [(f"{long} {i}", rows[10 + i][1]) for i in range(4)]
    rows[50] = (rows[40][0].upper(), rows[40][1])
    write(tmp_path / "data.csv", texts(40, 500))
    write(tmp_path / "test.csv", rows)
    files = {"train": "data.csv", "test": "test.csv"}
    found = look(tmp_path, data_files=files, validation_split="test")["repetitions"]
    assert found.severity == "low"
    assert "4 of 100 validation examples" in found.sentence
    assert "1 word for word, 3 nearly" in found.sentence


def test_repetitions_are_those_that_each_text_has_with_the_ones_before():
    long = "one two three four five six seven eight nine ten"
    found = count_repetitions([long, "short one", f"{long} eleven", "Short, one!", "another"])
    assert (found.examples, found.exact, found.near, found.short) == (5, 1, 1, 3)


def grouped(folder, label_of):
    """120 rows of 40 authors."""
    rows = []
    for i in range(120):
        text = f"{NOUNS[i % 10]} number {i} and {GOOD[i % 4]} {BAD[i // 4 % 4]}"
        rows.append((text, f"author {i // 3}", label_of(i)))
    return write(folder / "data.csv", rows, header="text,author,label")


@pytest.mark.parametrize(
    ("label_of", "severity", "share"),
    [
        (lambda i: ("x", "y", "z")[i // 3 % 3], "high", "100 %"),
        (lambda i: ("x", "y", "z")[i % 3], "high", "0 %"),
        (lambda i: random.Random(i).choice("xyz"), "medium", None),
    ],
)
def test_a_column_whose_values_are_parted_between_splits(tmp_path, label_of, severity, share):
    grouped(tmp_path, label_of)
    finding = look(tmp_path)["groups"]
    assert (finding.severity, finding.key) == (severity, "group_column")
    assert "`group_column: author`" in finding.sentence
    if share:
        assert f"have the same label in {share} of the cases, any two rows in 33 %" in (
            finding.sentence
        )


def test_groups_of_a_named_data_set_are_seen_by_the_doctor_and_before_a_comparison(
    tmp_path,
):
    path = grouped(tmp_path, lambda i: ("x", "y", "z")[i // 3 % 3])
    data = Dataset.from_pandas(pd.read_csv(path))
    DatasetDict(train=data).save_to_disk(tmp_path / "named")
    named = recipe(tmp_path, data_files=None, dataset_name=str(tmp_path / "named"))
    found = diagnose("named", named)
    assert found.types["train"] == {"author": "words (40 different)"}
    groups = next(finding for finding in found.findings if finding.check == "groups")
    assert (groups.severity, groups.key) == ("high", "group_column")
    assert groups in alarms(named.task, load_task(named.task, tmp_path), tmp_path)


def test_json_is_read_again_only_where_it_holds_more_than_texts_and_labels(tmp_path, monkeypatch):
    def found(**columns):
        rows = [{"text": text, "label": label} for text, label in texts(300)]
        for name, values in columns.items():
            rows = [{**row, name: value} for row, value in zip(rows, values, strict=True)]
        (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        asked = recipe(tmp_path, data_files={"train": "data.jsonl"})
        return [f.check for f in alarms(asked.task, load_task(asked.task, tmp_path), tmp_path)]

    # a person whose texts are all of one class
    assert found(person=[i % 2 + 2 * (i // 20) for i in range(300)]) == ["groups"]
    monkeypatch.setattr(diagnosis, "read_file", lambda *_: pytest.fail("read again"))
    assert found() == []


def test_json_with_raw_control_characters_is_read_as_a_comparison_reads_it(tmp_path):
    rows = [{"text": text, "label": label} for text, label in texts(100)]
    lines = [json.dumps(row) for row in rows]
    lines[3] = lines[3].replace("was", "\t")
    (tmp_path / "data.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "data.json").write_text(f"[{','.join(lines)}]", encoding="utf-8")
    for name in ("data.jsonl", "data.json"):
        assert set(look(tmp_path, data_files={"train": name})) == {"title"}


def test_a_premise_with_one_hypothesis_a_label_is_an_alarm(tmp_path):
    rows = []
    for i in range(150):
        premise = f"{NOUNS[i // 3 % 10]} premise {i // 3}"
        rows.append((premise, f"hypothesis {i} is {GOOD[i % 4]}", ("yes", "maybe", "no")[i % 3]))
    write(tmp_path / "data.csv", rows, header="premise,hypothesis,label")
    asked = recipe(tmp_path, text_column=["premise", "hypothesis"])
    found = alarms(asked.task, load_task(asked.task, tmp_path), tmp_path)
    assert [finding.check for finding in found] == ["groups"]
    assert "share their 'premise' with training examples" in found[0].sentence


def test_columns_of_few_values_or_of_hardly_any_repeated_are_no_groups(tmp_path):
    rows = [(*row, f"shop {i % 4}", f"row {i * 5 // 6}") for i, row in enumerate(texts(120))]
    write(tmp_path / "data.csv", rows, header="text,label,shop,number")
    assert "groups" not in look(tmp_path)


def test_words_that_no_training_text_has(tmp_path):
    write(tmp_path / "data.csv", texts(100))
    other = [(f"wort{i} steht{i}", ("pos", "neg")[i % 2]) for i in range(30)]
    write(tmp_path / "test.csv", [*texts(30, 500), *other])
    files = {"train": "data.csv", "test": "test.csv"}
    finding = look(tmp_path, data_files=files, validation_split="test")["unknown words"]
    assert "30 of 60 validation examples (50 %) have no word of the training" in finding.sentence


def test_texts_without_letters(tmp_path):
    rows = texts(40)
    rows[:20] = [("😀" * (i + 1), label) for i, (_, label) in enumerate(rows[:20])]
    write(tmp_path / "data.csv", rows)
    finding = look(tmp_path)["no letters"]
    assert finding.severity == "medium"
    assert "of 30 training texts have no letter and no digit" in finding.sentence


def test_another_script_than_was_trained_is_an_alarm(tmp_path):
    write(tmp_path / "data.csv", texts(100))
    other = [(f"фильм был хороший, номер {i}", ("pos", "neg")[i % 2]) for i in range(40)]
    write(tmp_path / "test.csv", other)
    files = {"train": "data.csv", "test": "test.csv"}
    finding = look(tmp_path, data_files=files, validation_split="test")["scripts"]
    assert finding.severity == "high"
    assert "100 % of the letters of validation are CYRILLIC, of train 0 %" in finding.sentence


def test_scripts_without_spaces_are_told(tmp_path):
    rows = [(f"这个电影很好看第{i}号", ("pos", "neg")[i % 2]) for i in range(40)]
    write(tmp_path / "data.csv", rows)
    assert (
        "100 % of the letters are of scripts without spaces" in look(tmp_path)["no spaces"].sentence
    )


def test_texts_that_are_numbers_or_nothing(tmp_path):
    rows = [(str(1000 + i), label) for i, (_, label) in enumerate(texts(40))]
    frame = pd.DataFrame(rows, columns=["text", "label"])
    frame.to_json(tmp_path / "data.jsonl", orient="records", lines=True)
    found = look(tmp_path, data_files={"train": "data.jsonl"})
    assert found["numbers as texts"].key == "text_column"
    frame.loc[:7, "text"] = ["N/A", "null", "none", "nan", "na", "-", "?", "nil"]
    frame.to_json(tmp_path / "data.jsonl", orient="records", lines=True)
    assert look(tmp_path, data_files={"train": "data.jsonl"})["missing texts"].key == "na_values"


# --- lengths


def word_level(folder, vocabulary):
    """A checkpoint's folder, as far as the doctor looks at it."""
    folder.mkdir()
    words = {word: number for number, word in enumerate(["[UNK]", *vocabulary])}
    tokenizer = Tokenizer(models.WordLevel(words, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text('{"max_position_embeddings": 10}')
    no_limit = {"model_max_length": int(1e30)}  # as transformers writes it
    (folder / "tokenizer_config.json").write_text(json.dumps(no_limit))
    return str(folder)


def test_what_a_model_at_hand_cuts_is_counted(tmp_path):
    rows = [(" ".join(["a"] * (8 if i % 4 else 20)) + f" {i}", "xy"[i % 2]) for i in range(400)]
    write(tmp_path / "data.csv", rows)
    checkpoint = word_level(tmp_path / "checkpoint", ["a", *map(str, range(400))])
    entries = [
        {"name": "mine", "model_name_or_path": checkpoint},
        {"name": "tf", "control": "tfidf-logreg"},
    ]
    asked = recipe(tmp_path, models=entries)
    found = diagnose("r", asked)
    cut = found.cuts[0]
    assert (cut.model, cut.limit, cut.counted, cut.unknown) == ("mine", 10, True, 0.0)
    # of 9, 9, 9 and 21 tokens
    assert cut.examples == pytest.approx(1 / 4, abs=0.05)
    assert cut.tokens == pytest.approx(11 / 48, abs=0.05)
    finding = next(f for f in found.findings if f.check == "truncation")
    assert (finding.severity, finding.key) == ("medium", "truncation")
    assert "longer than 10 tokens" in finding.sentence
    assert "tf reads whole texts" in finding.sentence
    shorter = diagnose("r", recipe(tmp_path, models=entries, max_length=8))
    finding = next(f for f in shorter.findings if f.check == "truncation")
    assert (shorter.cuts[0].limit, finding.severity, finding.key) == (8, "high", "max_length")


def test_tokens_that_a_tokenizer_does_not_know_are_counted(tmp_path):
    write(tmp_path / "data.csv", [(f"a b {i}", "xy"[i % 2]) for i in range(40)])
    entries = [{"name": "m", "model_name_or_path": word_level(tmp_path / "c", ["a", "b"])}]
    found = diagnose("r", recipe(tmp_path, models=entries))
    assert found.cuts[0].unknown == pytest.approx(1 / 3)
    finding = next(f for f in found.findings if f.check == "unknown tokens")
    assert "m: about 33 % of the tokens" in finding.sentence


def test_what_a_model_that_is_not_here_cuts_is_estimated_by_max_length(tmp_path):
    write(tmp_path / "data.csv", [(f"{'word ' * (5 + i)}", "xy"[i % 2]) for i in range(40)])
    entries = [{"name": "hub", "model_name_or_path": "somebody/else"}]
    found = diagnose("r", recipe(tmp_path, models=entries, max_length=24))
    assert (found.cuts[0].limit, found.cuts[0].counted) == (24, False)
    assert 0.3 < found.cuts[0].examples < 0.9
    assert "by an estimate of tokens" in format_report(found).replace("\n       ", " ")
    assert diagnose("r", recipe(tmp_path, models=entries)).cuts[0].limit is None


def test_a_tokenizer_that_knows_no_limit_is_none(tmp_path):
    write(tmp_path / "data.csv", texts(40))
    checkpoint = word_level(tmp_path / "checkpoint", ["the"])
    (tmp_path / "checkpoint" / "config.json").write_text("{}")
    entries = [{"name": "mine", "model_name_or_path": checkpoint}]
    cut = diagnose("r", recipe(tmp_path, models=entries)).cuts[0]
    assert (cut.limit, cut.counted) == (None, True)


def test_tokens_are_estimated_by_words_marks_and_characters_of_scripts_without_spaces():
    assert estimate_tokens("word " * 100) == 117
    assert estimate_tokens("word, " * 100) == 232
    assert estimate_tokens("电" * 100) == 117


# --- what is said


def test_columns_are_guessed_by_name_or_by_what_they_hold():
    texts = ["a long text of words"] * 4
    assert guess_columns({"label": texts, "text": ["x"] * 4}) == ("text", "label")
    columns = {"id": list("abcd"), "stars": list("1212"), "review": texts, "shop": list("xxxx")}
    assert guess_columns(columns) == ("review", "stars")
    assert guess_columns({"text": texts}) is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["01", "10", "02"], "codes with leading zeros (3 different)"),
        (["1", "-10", "1"], "whole numbers (2 different)"),
        (["0.0", "1.5"], "decimal numbers (2 different)"),
        (["2024-01-31", "2024-02-01 10:00"], "dates (2 different)"),
        (["EU", "NA", ""], "words (2 different, 1 empty, 1 NA or the like)"),
        ([["a"], ["b"]], "list (2 different)"),
        ([1, 2.5, None], "float and int (2 different, 1 empty)"),
        (["", None], "empty"),
    ],
)
def test_types_are_told_in_words(values, said):
    assert describe_type(values) == said


def test_the_report_has_80_columns_and_all_findings(tmp_path):
    rows = [(f"{'a long text ' * 20} {i}", f"class number {i % 70}") for i in range(280)]
    write(tmp_path / "data.csv", rows)
    found = diagnose("data.csv", recipe(tmp_path))
    report = format_report(found)
    assert max(map(len, report.splitlines())) <= 80
    flat = " ".join(report.split())
    assert "70 classes: " in flat
    assert "and 64 more" in flat
    for finding in found.findings:
        assert " ".join(finding.sentence.split()) in flat
    severities = [finding.severity for finding in found.findings]
    assert severities == sorted(severities, key=["high", "medium", "low"].index)
