import json

import pytest

from hfbench.errors import UserError
from hfbench.system.code_references import find_code_files, find_references
from hfbench.system.hub import refuse_code_elsewhere

OWN = {"AutoConfig": "mine.Config", "AutoModelForSequenceClassification": "mine.Model"}
ELSEWHERE = "somebody/else--evil.Thing"
PIPELINE = {"impl": ELSEWHERE, "pt": ["AutoModelForSequenceClassification"]}


@pytest.fixture
def folder(tmp_path):
    for name, content in {
        "mine.py": "from .more import x\n",
        "more.py": "x = 1\n",
        "unused.py": "",
        "config.json": json.dumps({"auto_map": OWN, "model_type": "mine"}),
        "tokenizer.json": json.dumps({"model": {"vocab": {"auto_map": 1, "a--b.C": 2}}}),
    }.items():
        (tmp_path / name).write_text(content)
    return tmp_path


def test_code_beside_the_settings_is_found_with_what_it_imports(folder):
    assert find_code_files(folder) == {"mine.py", "more.py"}


@pytest.mark.parametrize(
    ("file", "values", "key"),
    [
        ("config.json", {"auto_map": {"AutoModel": ELSEWHERE}}, "auto_map.AutoModel"),
        (
            "config.json",
            {"custom_pipelines": {"text-classification": PIPELINE}},
            "custom_pipelines.text-classification.impl",
        ),
        (
            "config.json",
            {"custom_pipelines": {"x": {"pt": [ELSEWHERE]}}},
            "custom_pipelines.x.pt.0",
        ),
        (
            "tokenizer_config.json",
            {"auto_map": {"AutoTokenizer": ["mine.Tokens", ELSEWHERE]}},
            "auto_map.AutoTokenizer.1",
        ),
        ("processor_config.json", {"a": [{"auto_map": ELSEWHERE}]}, "a[0].auto_map"),
        ("config.json", {"text_config": {"_attn_implementation": "org/kernel"}}, "text_config._at"),
        ("generation_config.json", {"auto_map": "/etc/evil.C"}, "auto_map"),
        ("config.json", {"auto_map": {"AutoModel": "..evil.C"}}, "auto_map.AutoModel"),
    ],
)
def test_code_elsewhere_is_refused_by_file_and_key(folder, file, values, key):
    (folder / file).write_text(json.dumps(values))
    for refuse in (find_code_files, lambda f: refuse_code_elsewhere(str(f), None, "models.m")):
        with pytest.raises(UserError) as error:
            refuse(folder)
        assert f"{folder / file}: {key}" in str(error.value)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, "{", "\udcff".encode("utf-8", "surrogatepass"), " " * 17_000_000]
)
def test_settings_that_are_none_are_named(folder, content):
    (folder / "tokenizer_config.json").write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    with pytest.raises(UserError, match=r"tokenizer_config\.json: "):
        find_references(folder)


def test_code_that_is_not_there_is_named(folder):
    (folder / "more.py").unlink()
    with pytest.raises(UserError, match=r"more\.py: the model's code is not complete"):
        find_code_files(folder)
