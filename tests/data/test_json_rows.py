"""JSON files: what is wrong has its line, and what nobody asks for harms nobody."""

import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfbench.data.files import DataFile
from hfbench.data.json_rows import read_json
from hfbench.errors import UserError
from hfbench.recipe.task import Task

TASK = Task(data_files={"train": "t.jsonl"}, validation_size=1)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from([0.5, -1e9, 0.1])
    | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
ROWS = st.lists(st.dictionaries(st.sampled_from("abc"), VALUES, min_size=1), min_size=1)


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    path = tmp_path_factory.mktemp("json") / "t.jsonl"

    def rows(content):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        data = read_json(DataFile(path, "key"), TASK)
        return [dict(row) for row in data]

    rows.path = path
    return rows


@pytest.fixture
def refusal(read):
    def refused(content):
        with pytest.raises(UserError) as error:
            read(content)
        return str(error.value).removeprefix(f"key: {read.path}").lstrip(": ")

    return refused


@given(rows=ROWS, is_list=st.booleans(), escaped=st.booleans())
def test_what_is_written_comes_back(read, rows, is_list, escaped):
    if is_list:
        content = json.dumps(rows, ensure_ascii=escaped, indent=1)
    else:
        content = "\n".join(json.dumps(row, ensure_ascii=escaped) for row in rows)
    found = read(content)
    names = {name for row in rows for name in row}
    assert found == [{name: row.get(name) for name in names} for row in rows]


def test_a_column_is_what_it_is_in_all_batches(read):
    values = [*range(10_000), 0.5, *["x"] * 9_999, [1], None]
    content = "\n".join(json.dumps({"a": value, "b": str(value)}) for value in values)
    assert [row["a"] for row in read(content)] == values
    late = "\n".join(
        json.dumps({"a": 1} | ({"b": "c"} if i > 10_000 else {})) for i in range(10_002)
    )
    assert [row["b"] for row in read(late)] == [None] * 10_001 + ["c"]


def test_a_date_is_a_text(read):
    assert read('{"text": "2020-01-01"}') == [{"text": "2020-01-01"}]
    assert not isinstance(read('{"text": "2020-01-01 10:00:00"}')[0]["text"], date)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}\n{"a": 2\n{"a": 3}', "line 2, column 8: Expecting ',' delimiter; an object a"),
        ('{"a": 1}\n\n  {"a": x}', "line 3, column 9: Expecting value; an object a line is wanted"),
        ('{"a": 1}\n[1]', "line 2, column 1: [1] is no object; an object a line is wanted"),
        ('{"a": 1} {"a": 2}', "line 1, column 9: '{\"a\": 2}' follows the end of the object"),
        ('{\n"a": 1}', "line 1, column 2: Expecting property name enclosed in double quotes"),
        ('[{"a": 1},\n {"a": x}]', "line 2, column 8: Expecting value; an object a line is"),
        ('[{"a": 1}\n {"a": 2}]', "line 2, column 2: ',' or ']' is missing"),
        ('\n[{"a": 1},\n "b"]', "line 3, column 2: 'b' is no object"),
        ('[{"a": 1}]\n{"a": 1}', "line 2, column 1: '{\"a\": 1}' follows the end of the list"),
        ('[{"a": 1},', "line 1, column 11: Expecting value"),
        ('{"a": 1}\n{"a": "\\ud800"}', "line 2, column 1: '\\ud800' is half a character"),
        ('{"a": 1}\n{"b": 1, "b": 2}', "line 2, column 1: key 'b' is there twice"),
        (b'{"a": 1}\n{"a": "\xe9"}', "is not UTF-8 (line 2)"),
    ],
)
def test_what_is_wrong_has_its_line(refusal, content, message):
    assert refusal(content).startswith(message)


def test_a_byte_order_mark_and_raw_tabs_are_no_fault(read):
    assert read('\ufeff{"a": "x\ty"}\r\n{"a": "z"}') == [{"a": "x\ty"}, {"a": "z"}]
