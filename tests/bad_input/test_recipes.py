"""Recipes as they come from a hurried hand, a broken editor or somebody who means ill.

Typing errors and keys that do not go together are in `tests/test_recipe.py`; here is what is wrong
with the file, and what is wrong with values.
"""

import time

import pytest

from hfbench.errors import UserError
from hfbench.recipe_file import load_recipe

GOOD = """name: x
task: {builtin: sentiment, validation_split: validation}
tokenizer: {train_on: task}
models:
  - {name: a, preset: gpt-nano}
  - {name: b, control: majority}
"""
LINES = len(GOOD.splitlines())  # what is added to it begins in the next line
NO_LINE = "must be one line of text, and not an empty one"


@pytest.fixture
def mistake(tmp_path):
    """The message about a recipe, without the path that it begins with."""
    path = tmp_path / "recipe.yaml"

    def read(content, *overrides):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(UserError) as error:
            load_recipe(path, list(overrides))
        message = str(error.value)
        assert overrides or message.startswith(f"{path}: ")
        return message.removeprefix(f"{path}: ")

    return read


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
def test_a_file_that_is_no_recipe_is_an_error(mistake, content, message):
    assert mistake(content).startswith(message)


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
def test_a_yaml_bomb_is_refused_at_once(mistake, content, message):
    started = time.perf_counter()
    assert mistake(content) == message
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
    ("old", "new", "message"),
    [
        (GOOD[GOOD.index("models") :], "", "models: this key is required"),
        (GOOD[GOOD.index("models") :], "models: []", "models: List should have at least 1 item"),
        (
            GOOD[GOOD.index("models") :],
            "models: {name: a}",
            "models: Input should be a valid list, not {'name': 'a'}",
        ),
        ("name: a, ", "", "models[0].name: this key is required"),
        (
            "{name: a, preset: gpt-nano}",
            "gpt2",
            "models[0]: this must be a mapping of keys, not 'g",
        ),
        (
            ", preset: gpt-nano",
            "",
            "models[0]: give exactly one of model_name_or_path, preset, model_type, control; none "
            "is given",
        ),
        (
            "task: {builtin: sentiment, validation_split: validation}\n",
            "",
            "without a task, model 'a' needs a pretrain block",
        ),
        (
            "{builtin: sentiment, validation_split: validation}",
            "sst2",
            "task: this must be a mapping of keys, not 'sst2'",
        ),
        (
            "preset: gpt-nano",
            "preset: gpt-nano, pretrain: {seed: 1}",
            "models[0].pretrain.corpus: this key is required",
        ),
        (
            "preset: gpt-nano",
            "preset: gpt-nano, pretrain: {corpus: {}}",
            "models[0].pretrain.corpus: give exactly one of builtin, text_file, dataset_name; none "
            "is given",
        ),
        (
            "{train_on: task}",
            "{}",
            "tokenizer: give exactly one of name_or_path, train_on; none is given",
        ),
        ("name: x", "name: x\nseeds: 3", "seeds: Input should be a valid list, not 3"),
        (
            "name: x",
            "name: x\nseeds: [true]",
            "seeds[0]: Input should be a valid integer, not True",
        ),
        ("name: x", "name: x\nseeds: [1.0]", "seeds[0]: Input should be a valid integer, not 1.0"),
        (
            "name: x",
            "name: x\nseeds: [4294967296]",
            "seeds[0]: Input should be less than 4294967296, not 4294967296",
        ),
        (
            "name: x",
            "name: x\nsave_models: yes",
            "save_models: Input should be a valid boolean, not 'yes'",
        ),
        (
            "builtin: sentiment",
            "builtin: sentiment, first: 0",
            "task.first: Input should be greater than 0, not 0",
        ),
        (
            "builtin: sentiment",
            "builtin: sentiment, first: true",
            "task.first: Input should be a valid integer, not True",
        ),
        (
            "builtin: sentiment",
            "builtin: sentiment, max_length: -1",
            "task.max_length: Input should be greater than 0, not -1",
        ),
        (
            "builtin: sentiment",
            "builtin: sentiment, split_seed: -1",
            "task.split_seed: Input should be greater than or equal to 0, not -1",
        ),
        (
            "validation_split: validation",
            "validation_size: 1.0",
            "task.validation_size: Input should be less than 1, not 1.0",
        ),
        (
            "validation_split: validation",
            "validation_size: .nan",
            "task.validation_size: Input should be a finite number, not nan",
        ),
        (
            "validation_split: validation",
            "validation_split: train",
            "task: train_split, validation_split and test_split must differ: train, train",
        ),
        (
            "validation_split: validation",
            "validation_split: validation, test_split: train",
            "task: train_split, validation_split and test_split must differ: train, validation, "
            "train",
        ),
        (
            "builtin: sentiment",
            "builtin: sentiment, text_column: label",
            "task: text_column and label_column must differ: label, label",
        ),
        (
            "builtin: sentiment",
            "builtin: sentiment, text_column: [text, text]",
            "task: text_column and label_column must differ: text, text, label",
        ),
        (
            "builtin: sentiment",
            "builtin: sentiment, text_column: ''",
            f"task.text_column: '' {NO_LINE}",
        ),
        ("builtin: sentiment", "data_files: {}", "task.data_files: this is empty"),
        (
            "builtin: sentiment",
            "data_files: [train.csv]",
            "task.data_files: this must be a mapping of keys, not ['train.csv']",
        ),
        (
            "validation_split: validation",
            "validation_size: 0",
            "task.validation_size: Input should",
        ),
        ("builtin: sentiment", r'dataset_name: "a\nb"', rf"task.dataset_name: 'a\nb' {NO_LINE}"),
        (
            "builtin: sentiment",
            "dataset_name: a/b, revision: ../../x",
            "task.revision: '../../x' is no branch, tag or commit",
        ),
        ("name: x", "name: /etc/passwd", "name: '/etc/passwd' is not a name: use up to 64 letters"),
        (
            "name: x",
            "name: a/b",
            "name: 'a/b' is not a name: use up to 64 letters, digits, '.', '_'",
        ),
        ("name: x", "name: ..", "name: '..' is not a name"),
        ("name: x", r'name: "a\n"', r"name: 'a\n' is not a name"),
        ("name: x", f"name: {'a' * 65}", f"name: '{'a' * 65}' is not a name"),
        ("name: a,", "name: ../a,", "models[0].name: '../a' is not a name"),
        (
            "preset: gpt-nano",
            "model_name_or_path: ''",
            f"models[0].model_name_or_path: '' {NO_LINE}",
        ),
        (
            "preset: gpt-nano",
            r'model_name_or_path: "a/b\nc"',
            rf"models[0].model_name_or_path: 'a/b\nc' {NO_LINE}",
        ),
        (
            "preset: gpt-nano",
            "model_name_or_path: a/b, revision: ''",
            "models[0].revision: '' is no branch, tag or commit",
        ),
        (
            "preset: gpt-nano",
            "model_name_or_path: a/b, trust_remote_code: 'true'",
            "models[0].trust_remote_code: Input should be a valid boolean, not 'true'",
        ),
        (
            "preset: gpt-nano",
            "preset: gpt-nano, config: {n_layer: 0}",
            "models[0]: config: n_layer: 0 must be at least 1",
        ),
        (
            "preset: gpt-nano",
            "preset: gpt-nano, config: {resid_pdrop: 1.5}",
            "models[0]: config: resid_pdrop: 1.5 must be at least 0 and less than 1",
        ),
        (
            "preset: gpt-nano",
            "preset: gpt-nano, config: {embd_pdrop: .nan}",
            "models[0]: config: embd_pdrop: nan is not a finite number (a field of CustomGPTCon",
        ),
        (
            "preset: gpt-nano",
            "model_type: gpt2, config: {resid_pdrop: .inf}",
            "models[0]: config: resid_pdrop: inf is not a finite number",
        ),
        (
            "preset: gpt-nano",
            "preset: gpt-nano, pretrain: {corpus: {builtin: pets, block_size: 0}}",
            "models[0].pretrain.corpus.block_size: Input should be greater than 0, not 0",
        ),
        (
            "preset: gpt-nano",
            "model_name_or_path: a/b, lora: {r: 0}",
            "models[0].lora.r: Input should be greater than 0, not 0",
        ),
    ],
)
def test_a_bad_value_is_named_with_its_key_and_what_would_be_right(mistake, old, new, message):
    assert old in GOOD
    found = mistake(GOOD.replace(old, new))
    assert found.startswith(message)
    assert len(found.splitlines()) == 1


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            "learning_rate: .nan",
            "learning_rate: nan is not a finite number (a field of transformers.TrainingArguments)",
        ),
        (
            "weight_decay: -.inf",
            "weight_decay: -inf is not a finite number (a field of transformers.TrainingArguments)",
        ),
        ("learning_rate: -1e-3", "learning_rate: -0.001 must be at least 0"),
        ("num_train_epochs: 0", "num_train_epochs: 0 must be more than 0"),
        ("max_steps: 0", "max_steps: 0 must be at least 1, or -1 to go by num_train_epochs"),
        ("per_device_eval_batch_size: 0", "per_device_eval_batch_size: 0 must be at least 1"),
        ("gradient_accumulation_steps: -2", "gradient_accumulation_steps: -2 must be at least 1"),
        ("adam_beta2: 1.0", "adam_beta2: 1.0 must be less than 1"),
        ("label_smoothing_factor: 1.5", "label_smoothing_factor: 1.5 must be less than 1"),
        ("max_grad_norm: -1", "max_grad_norm: -1 must be at least 0"),
    ],
)
def test_a_training_argument_out_of_its_range_is_named(mistake, argument, message):
    assert mistake(GOOD + f"training_arguments: {{{argument}}}") == f"training_arguments: {message}"


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
def test_a_malformed_override_is_named(mistake, override, message):
    assert message in mistake(GOOD, override)


def test_a_folder_in_the_place_of_a_file_is_named(mistake, tmp_path):
    text = GOOD.replace("builtin: sentiment", "data_files: {train: .}")
    message = f"task.data_files.train: {str(tmp_path)!r} is a folder; a file is wanted"
    assert mistake(text) == message


def test_a_long_value_is_shown_by_its_beginning(mistake):
    numbers = ", ".join(map(str, range(1000)))
    assert mistake(GOOD + f"description: [{numbers}]") == (
        "description: Input should be a valid string, not [0, 1, 2, 3, 4, 5, ...]"
    )


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
