"""Files of recipes as they come from a broken editor or from somebody who means ill.

Typing errors and keys that do not go together are in `tests/test_recipe.py`, values in
`test_recipe_values.py`.
"""

import time

import pytest

from hfbench.errors import UserError
from hfbench.recipe.load import load_recipe

GOOD = """name: x
task: {builtin: sentiment, validation_split: validation}
tokenizer: {train_on: task}
models:
  - {name: a, preset: gpt-nano}
  - {name: b, control: majority}
"""
LINES = len(GOOD.splitlines())  # what is added to it begins in the next line


def bomb(levels=9, width=9):
    """Lists of lists of ...: a few hundred bytes that stand for width ** levels words."""
    lines = ["x0: &x0 [word]"]
    for level in range(1, levels + 1):
        aliases = ", ".join([f"*x{level - 1}"] * width)
        lines.append(f"x{level}: &x{level} [{aliases}]")
    return "\n".join(lines) + "\n"


def merge_bomb(levels=9, width=9):
    """Mappings into which mappings are merged into which ..."""
    lines = ["x0: &x0 {k: v}"]
    for level in range(1, levels + 1):
        aliases = ", ".join([f"*x{level - 1}"] * width)
        lines.append(f"x{level}: &x{level} {{<<: [{aliases}]}}")
    return "\n".join(lines) + "\n"


NO_KIND = (
    "; write text (in quotes where it looks like a date), a number, true, false, null, a list or a "
    "mapping"
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "this recipe is empty"),
        ("# nothing but a comment\n", "this recipe is empty"),
        ("- name: x\n", "a recipe is a mapping of keys; this is a list"),
        ("name\n", "a recipe is a mapping of keys; this is a str"),
        (GOOD.encode("utf-16"), "not UTF-8 text; save it as UTF-8 ('utf-8' codec can't decode"),
        (GOOD.encode("utf-16-le"), "not valid YAML: unacceptable character #x0000"),
        ((GOOD + "description: é").encode("latin-1"), "not UTF-8 text; save it as UTF-8"),
        (GOOD.replace("  - {name: a", "\t- {name: a"), "not valid YAML: while scanning for the"),
        (GOOD.encode() + b"\0", "not valid YAML: unacceptable character #x0000"),
        (GOOD + "---\n" + GOOD, "not valid YAML: expected a single document in the stream"),
        (GOOD + "description: *nothing", "not valid YAML: found undefined alias 'nothing'"),
        (GOOD + "task: {}\n", "not valid YAML: while constructing a mapping"),
        (GOOD + "seeds: [!!int one]", "not valid YAML: invalid literal for int()"),
        (GOOD + "save_models: !!bool perhaps", "not valid YAML: 'perhaps'"),
        (GOOD + "seeds: [!!int '']", "not valid YAML: string index out of range"),
        (
            GOOD + "description: !!python/object/apply:os.system ['exit']",
            f"line {LINES + 1}: a recipe holds no value of the kind "
            f"'python/object/apply:os.system'{NO_KIND}",
        ),
        (
            GOOD + "description: !mine x",
            f"line {LINES + 1}: a recipe holds no value of the kind '!mine'{NO_KIND}",
        ),
        (
            GOOD + "description: 2026-01-31",
            f"line {LINES + 1}: a recipe holds no value of the kind 'timestamp'{NO_KIND}",
        ),
        (
            GOOD + "seeds: !!set {1, 2}",
            f"line {LINES + 1}: a recipe holds no value of the kind 'set'{NO_KIND}",
        ),
        (
            GOOD + "description: !!binary eA==",
            f"line {LINES + 1}: a recipe holds no value of the kind 'binary'{NO_KIND}",
        ),
        (
            GOOD + f"seeds: [{'9' * 5000}]",
            f"line {LINES + 1}: a number of 5,000 digits",
        ),
        (GOOD + r'description: "\ud800"', f"line {LINES + 1}: a recipe holds no character '\\ud8"),
        (GOOD + r'description: "a\0b"', f"line {LINES + 1}: a recipe holds no character '\\x00'"),
        (GOOD + "1: 2", "[1]: Keys should be strings, not 1"),
    ],
)
def test_a_file_that_is_no_recipe_is_an_error(recipe_mistake, content, message):
    assert recipe_mistake(content).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD + bomb(), "more than 100,000 values when its aliases are written out"),
        (
            bomb() + GOOD.replace("preset: gpt-nano", "model_type: gpt2, config: *x9"),
            "more than 100,000 values when its aliases are written out",
        ),
        (GOOD + merge_bomb(), "more than 100,000 values when its aliases are written out"),
        (
            GOOD + "training_arguments: &a {x: *a}",
            f"line {LINES + 1}: values are nested more than 30 deep, or an anchor holds itself",
        ),
        (
            GOOD + "description: " + "[" * 40 + "]" * 40,
            f"line {LINES + 1}: values are nested more than 30 deep, or an anchor holds itself",
        ),
        (GOOD + "description: " + "{a: " * 9000, "values are nested more than 30 deep"),
    ],
)
def test_a_yaml_bomb_is_refused_at_once(recipe_mistake, content, message):
    started = time.perf_counter()
    assert recipe_mistake(content) == message
    assert time.perf_counter() - started < 3


def test_a_file_of_100_mb_is_refused_unread(tmp_path):
    path = tmp_path / "recipe.yaml"
    with path.open("wb") as file:
        file.write(GOOD.encode())
        file.truncate(100_000_000)
    started = time.perf_counter()
    with pytest.raises(UserError) as error:
        load_recipe(path)
    assert str(error.value) == f"{path}: more than 131,072 bytes are no recipe; are they data?"
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (".", "'.' cannot be read: [Errno 21] Is a directory: '.'"),
        ("a\0b", "'a\\x00b' cannot be read: embedded null byte"),
        ("a" * 5000, "File name too long"),
    ],
)
def test_a_path_that_is_no_file_is_an_error(path, message):
    with pytest.raises(UserError) as error:
        load_recipe(path)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("=3", "override '=3': write it as key=value, with dots in the key"),
        ("task..first=3", "override 'task..first=3': write it as key=value, with dots in the key"),
        ("seeds=[", "override 'seeds=[': not valid YAML: while parsing a flow node"),
        ("seeds=*a", "override 'seeds=*a': not valid YAML: found undefined alias 'a'"),
        (
            "description=!!python/name:os.system",
            "override 'description=!!python/name:os.system': line 1: a recipe holds no value of "
            f"the kind 'python/name:os.system'{NO_KIND}",
        ),
        ("models.0.preset=gpt2", "override 'models.0.preset=gpt2': no model '0' (models: a, b)"),
        ("description=" + "[" * 500, "[[[': values are nested more than 30 deep"),
    ],
)
def test_a_malformed_override_is_named(recipe_mistake, override, message):
    assert message in recipe_mistake(GOOD, override)


def test_ordinary_anchors_a_byte_order_mark_and_windows_line_ends_are_no_mistake(tmp_path):
    text = """name: x
task: {builtin: sentiment, validation_split: validation}
tokenizer: {train_on: task}
models:
  - &first {name: a, preset: gpt-nano, config: &shape {n_layer: 1}}
  - {name: b, preset: gpt-micro, config: *shape}
  - {<<: *first, name: c}
"""
    path = tmp_path / "recipe.yaml"
    path.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    models = load_recipe(path).models
    assert [model.preset for model in models] == ["gpt-nano", "gpt-micro", "gpt-nano"]
    assert [model.config for model in models] == [{"n_layer": 1}] * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD + bomb(), "more than 100,000 values when its aliases are written out"),
        (GOOD.encode("utf-16"), "not UTF-8 text"),
        (GOOD + "training_arguments: {learning_rate: .nan}", "learning_rate: nan is not a finite"),
        (GOOD + r'description: "\ud800"', r"a recipe holds no character '\ud800'"),
    ],
)
def test_on_the_command_line_it_is_one_message_and_exit_code_2(tmp_path, command, content, message):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    code, error = command("compare", path)
    assert code == 2
    assert error.startswith(f"error: {path}: ")
    assert message in error
    assert "Traceback" not in error
