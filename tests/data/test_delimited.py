"""CSV and TSV files: what was written comes back, and what cannot be right is refused."""

import csv
import io
import json
import random
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hfbench.data.delimited import read_delimited
from hfbench.data.files import DataFile
from hfbench.data.sources import load_source
from hfbench.data.task import load_task
from hfbench.errors import UserError
from hfbench.recipe.task import Task

NAMES = ["text", "label", "more"]
FIELDS = st.text(st.sampled_from('",;\t\r\n a0é\u2028\x85\x00') | st.characters(codec="utf-8"))
TABLES = st.lists(st.tuples(FIELDS, FIELDS, FIELDS), min_size=1, max_size=8)
PLAIN = st.text(st.sampled_from('",; a0é\r') | st.characters(codec="utf-8")).map(
    lambda text: "x" + text.replace("\n", " ").replace("\t", " ").rstrip("\r")
)


def read(folder, content, ending="csv", **task):
    """The rows as they are read, with "" for what is missing."""
    path = Path(folder) / f"t.{ending}"
    path.write_bytes(content)
    task = Task.model_validate({"data_files": {"train": path.name}, "validation_size": 1, **task})
    table = read_delimited(DataFile(path, "task.data_files.train", task.encoding), task)
    return [tuple(value or "" for value in row.values()) for row in table.to_pylist()]


@pytest.fixture
def refusal(tmp_path):
    def refused(content, ending="csv", **task):
        with pytest.raises(UserError) as error:
            read(tmp_path, content, ending, **task)
        where = f"task.data_files.train: {tmp_path / 't.'}{ending}"
        assert str(error.value).startswith(where)
        return str(error.value).removeprefix(where).lstrip(": ")

    return refused


def written(rows, dialect, **options):
    file = io.StringIO(newline="")
    writer = csv.writer(file, dialect, **options)
    writer.writerow(NAMES)
    writer.writerows(rows)
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


def exactly_or_refused(folder, rows, content, ending):
    """Where the recipe does not say whether marks quote, a doubt is no guess."""
    try:
        found = read(folder, content, ending)
    except UserError as error:
        found = rows if "`quoting: " in str(error) else error
    assert found == rows


@given(rows=TABLES, mark=st.sampled_from(["", "\ufeff"]), data=st.data())
@example(rows=[('"', "a\rb", "\r\n")], mark="\ufeff", data=None)
@pytest.mark.parametrize("quoting", ["QUOTE_MINIMAL", "QUOTE_ALL", "QUOTE_NONNUMERIC"])
@pytest.mark.parametrize("dialect", ["excel", "excel-tab", "unix"])
def test_what_csv_writes_comes_back(folder, dialect, quoting, rows, mark, data):
    rows = [(*others, last.rstrip("\r")) for *others, last in rows]
    text = mark + written(rows, dialect, quoting=getattr(csv, quoting))
    ending = "tsv" if dialect == "excel-tab" else "csv"
    assert read(folder, text.encode(), ending, quoting="minimal") == rows
    exactly_or_refused(folder, rows, text.encode(), ending)


@given(rows=TABLES, end=st.sampled_from(["\n", "\r\n"]), sep=st.sampled_from([",", ";", "\t"]))
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_what_pandas_writes_comes_back(folder, quoting, rows, end, sep):
    # without quotes a line that ends with "\r\n" may be a text with "\r" and "\n"
    rows = [(*others, last.rstrip("\r")) for *others, last in rows]
    data = pd.DataFrame(rows, columns=NAMES)
    text = data.to_csv(index=False, sep=sep, lineterminator=end, quoting=quoting)
    assert read(folder, text.encode(), quoting="minimal", sep=sep) == rows


@given(rows=st.lists(st.tuples(PLAIN, PLAIN, PLAIN), min_size=1), end=st.sampled_from("\n\r"))
def test_what_is_written_without_quoting_comes_back(folder, rows, end):
    if end == "\r":
        rows = [tuple(field.replace("\r", "") for field in row) for row in rows]
    text = "".join("\t".join(row) + end for row in [NAMES, *rows])
    assert read(folder, text.encode(), "tsv", quoting="none") == rows
    exactly_or_refused(folder, rows, text.encode(), "tsv")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_20001_rows_come_back(tmp_path, end):
    rows = [(f"{n:06d}", "NA" if n % 2 else "07", f"{n}.50") for n in range(20_001)]
    text = written(rows, "excel", lineterminator=end)
    assert read(tmp_path, text.encode()) == rows


def test_a_field_may_be_longer_than_the_limit_of_csv(tmp_path):
    long = "a, b " * 100_000
    text = written([(long, "x", "y")], "excel")
    assert len(long) > csv.field_size_limit()
    assert read(tmp_path, text.encode()) == [(long, "x", "y")]


def tsv(*texts, labels=("neg", "pos")):
    lines = [f"{labels[n % 2]}\t{text}" for n, text in enumerate(texts)]
    return "\n".join(["label\ttext", *lines, ""]).encode()


STRAY = ['"Oh no it said', "fine", "bad", 'the end"', "good"]


@pytest.mark.parametrize("options", [{}, {"quoting": "none"}])
def test_a_tsv_with_stray_marks_has_all_of_its_rows(tmp_path, options):
    rows = read(tmp_path, tsv(*STRAY), "tsv", **options)
    assert [text for _, text in rows] == STRAY


@pytest.mark.parametrize(
    "texts",
    [
        ['said ""no""', 'a "b" c'],
        ['said "x"', '"y"'],
        ['"quoted"', "not"],
        ['"a"b', 'c"'],
        ["a", '""'],
    ],
)
def test_marks_of_a_tsv_that_no_writer_would_quote_so_are_characters(tmp_path, texts):
    assert [text for _, text in read(tmp_path, tsv(*texts), "tsv")] == texts


@pytest.mark.parametrize("texts", [['a "b"', "c"], ["a\tb", "c"], ["two\nlines", "c"]])
def test_a_tsv_that_shows_that_it_quotes_is_read_so(tmp_path, texts):
    rows = [(text, "x", "y") for text in texts]
    assert read(tmp_path, written(rows, "excel-tab").encode(), "tsv") == rows


def test_nothing_in_the_place_of_a_label_is_no_known_label(tmp_path):
    rows = [("a", "", "b"), ("a", "\n", "b")]
    assert read(tmp_path, written(rows, "excel-tab").encode(), "tsv") == rows


def test_a_tsv_that_can_be_read_in_two_ways_is_refused(refusal, tmp_path):
    rows = [("a\tq\tr\nb", "x", "y"), ("c", "x", "y")]
    content = written(rows, "excel-tab").encode()
    assert refusal(content, "tsv") == (
        "it has 3 rows if quotation marks are characters, and 2 if they enclose fields; say which "
        "by `quoting: none` or `quoting: minimal`"
    )
    assert read(tmp_path, content, "tsv", quoting="minimal") == rows
    assert len(read(tmp_path, content, "tsv", quoting="none")) == 3


def test_a_text_of_a_csv_that_swallowed_rows_is_refused(refusal, tmp_path):
    lines = ["text,label", "fine,pos", '"Oh no it said,neg', "good,pos", 'the end",neg', "bad,neg"]
    content = "\n".join(lines).encode()
    assert refusal(content).startswith(
        "lines 3 to 5 are one row, in which a quotation mark seems to have swallowed others"
    )
    assert len(read(tmp_path, content, quoting="none")) == 5
    assert len(read(tmp_path, content, quoting="minimal")) == 3


def test_a_text_of_several_lines_is_one(tmp_path):
    rows = [("first, with a comma\nsecond\n\nlast", "neg", "1"), ("good", "pos", "2")]
    assert read(tmp_path, written(rows, "excel").encode()) == rows


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a,b,pos"] * 8, "lines 2 to 9 have 3 fields, the header has 2; what parts fields is ','"),
        (["a,pos", "b", "c,pos"], "line 3 has 1 field, the header has 2"),
        (["a,b,c", "a,b", "a", "x,y"], "lines 2, 4 have 1, 3 fields, the header has 2"),
        (
            ["a,b", "a"] * 7,
            "lines 3, 5, 7, 9, 11 and more (7 in all) have 1 field, the header has 2",
        ),
        (
            ['a,"b" c'],
            "line 2: a quotation mark closes a field in its middle; give `quoting: none` if "
            "quotation marks are characters, otherwise double those within a field",
        ),
        (["a,b", '"c,d'], "line 3: a quotation mark opens a field that is never closed"),
        (["a,b", "text,label", "c,d"], "the header stands again in line 3; remove it there"),
    ],
)
def test_lines_that_cannot_be_right_are_named(refusal, lines, message):
    assert refusal("\n".join(["text,label", *lines]).encode()).startswith(message)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("text;label", "one column, 'text;label', cannot hold text and label; what parts fields"),
        ("text;label", "is not ',': give `sep: \";\"`"),
        ("text\tlabel", r"is not ',': give `sep: " + r'"\t"`'),
        ("text", "is not ',' (key `sep`)"),
        ("text,text", "the header names 'text' twice; give `column_names`"),
    ],
)
def test_a_header_that_cannot_be_right_is_named(refusal, header, message):
    assert message in refusal(f"{header}\n1{header[4:5]}2\n".encode())


def test_columns_without_a_name_are_numbered(tmp_path):
    (tmp_path / "t.csv").write_text(",text,label,\n0,a,x,\n")
    task = Task(data_files={"train": "t.csv"}, validation_size=1)
    columns = load_source(task, tmp_path, None)["train"].column_names
    assert columns == ["column 1", "text", "label", "column 4"]


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("a,x\nb,y\n", {"column_names": ["text", "label"]}),
        ("one,two\na,x\nb,y\n", {"column_names": ["text", "label"], "header": True}),
        ("text;label\na;x\nb;y\n", {"sep": ";"}),
        ("text::label\na::x\nb::y\n", {"sep": "::"}),
        ("text,label\na,x\n\n\r\nb,y", {}),
    ],
)
def test_keys_say_how_a_file_is_to_be_read(tmp_path, content, options):
    for ending in ("csv", "txt") if "sep" in options else ("csv",):
        assert read(tmp_path, content.encode(), ending, **options) == [("a", "x"), ("b", "y")]


def test_column_names_that_are_not_as_many_as_the_columns_are_refused(refusal):
    options = {"column_names": ["text", "label"]}
    assert refusal(b"a,b,c\n", **options).startswith("line 1 has 3 fields, column_names has 2")
    assert refusal(b"a,b,c\n1,2,3\n", header=True, **options) == (
        "column_names has 2 names, the header 3 fields"
    )


def load(folder, content, ending="csv", **task):
    (folder / f"t.{ending}").write_bytes(content)
    values = {"data_files": {"train": f"t.{ending}"}, "validation_size": 2, **task}
    return load_task(Task.model_validate(values), folder)


def labelled(*labels, n=40):
    lines = [f"text {i},{labels[i % len(labels)]}\n" for i in range(n)]
    return ("text,label\n" + "".join(lines)).encode()


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["01", "02", "1"], ["01", "02", "1"]),
        (["NA", "None", "null"], ["NA", "None", "null"]),
        (["False", "True"], ["False", "True"]),
        (["10", "9"], ["9", "10"]),
        (["-1", "0", "1"], ["-1", "0", "1"]),
        (["0.0", "1.0", "10.0", "2"], ["0", "1", "2", "10"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        (["1_0", "2"], ["1_0", "2"]),
        (["٣", "2"], ["2", "٣"]),
        (["9" * 19, "10"], ["10", "9" * 19]),
    ],
)
def test_labels_are_words_unless_all_are_whole_numbers(tmp_path, labels, names):
    assert load(tmp_path, labelled(*labels), validation_size=11).facts.labels == names


def test_numbers_with_fractions_are_to_be_predicted_unless_the_recipe_says_that_they_are_names(
    tmp_path,
):
    content = labelled("1.5", "2")
    facts = load(tmp_path, content).facts
    assert (facts.problem_type, facts.labels) == ("regression", ["label"])
    said = {"problem_type": "single_label_classification"}
    assert load(tmp_path, content, **said).facts.labels == ["1.5", "2"]


def test_a_class_is_no_number_in_one_split_and_a_word_in_another(tmp_path):
    (tmp_path / "v.csv").write_bytes(labelled("1", "2"))
    files = {"train": "t.csv", "validation": "v.csv"}
    options = {"data_files": files, "validation_split": "validation", "validation_size": None}
    assert load(tmp_path, labelled("2", "1", "x"), **options).facts.labels == ["1", "2", "x"]


def test_what_means_none_is_for_the_recipe_to_say(tmp_path):
    content = labelled("NA", "-", "EU", "US")
    assert load(tmp_path, content, validation_size=4).facts.labels == ["-", "EU", "NA", "US"]
    with pytest.raises(UserError, match="20 of 40 rows of split 'train' have no label"):
        load(tmp_path, content, na_values=["NA", "-"])


def test_a_key_of_csv_without_any_csv_is_refused(tmp_path):
    row = json.dumps({"text": "a", "label": "x"}).encode()
    with pytest.raises(UserError, match=r"task\.quoting: it is for csv and tsv files, and data_f"):
        load(tmp_path, row, "jsonl", quoting="none")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_file_is_loaded_in_three_times_its_size(tmp_path):
    rng, words = random.Random(0), [f"word{number}" for number in range(20_000)]
    for name, megabytes in (("small", 0.1), ("large", 200)):
        lines, size = ["text,label\n"], 0
        while size < megabytes * 1_000_000:
            lines.append(f"{' '.join(rng.choices(words, k=25))},{rng.choice(['pos', 'neg'])}\n")
            size += len(lines[-1])
        (tmp_path / f"{name}.csv").write_text("".join(lines))
    script = Path(__file__).with_name("reading.py")
    command = [sys.executable, str(script), "small.csv", "large.csv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 3 * 200
