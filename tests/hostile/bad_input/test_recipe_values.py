"""Values of a recipe that are missing, of the wrong type or out of range.

Keys that are mistyped or do not go together are in `tests/test_recipe.py`.
"""

import pytest

GOOD = """name: x
task: {builtin: sentiment, validation_split: validation}
tokenizer: {train_on: task}
models:
  - {name: a, preset: gpt-nano}
  - {name: b, control: majority}
"""
NO_LINE = "must be one line of text, and not an empty one"


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
            "models[0]: give exactly one of model_name_or_path, preset, model_type, model, "
            "control, estimator, predictions; none is given",
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
        ("name: x", "name: x\nimports: mine", "imports: Input should be a valid list, not 'mine'"),
        ("name: x", "name: x\nimports: ['']", "imports[0]: '' is no module: write it as after Py"),
        ("name: x", "name: x\nimports: [a/b]", "imports[0]: 'a/b' is no module: write it as after"),
        ("name: x", "name: x\nimports: [a.py]", "imports[0]: 'a.py' is no module: write it as"),
        (
            "preset: gpt-nano",
            "model: GPT",
            "models[0].model: 'GPT' is no class: write it as package",
        ),
        ("preset: gpt-nano", "model: 'a b:C'", "models[0].model: 'a b' is no module: write it as"),
        (
            "preset: gpt-nano",
            "preset: gpt-nano, unfair: true",
            "models[0]: unfair is for an architecture of one's own",
        ),
        (
            "control: majority",
            "control: majorty",
            "model 'b': unknown control 'majorty'; did you mean 'majority'? (known: majority, "
            "tfidf-logreg; for one of your own give `imports`)",
        ),
        (
            "control: majority",
            "control: ../x",
            "models[1].control: '../x' is not a name: use up to",
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
def test_a_bad_value_is_named_with_its_key_and_what_would_be_right(
    recipe_mistake, old, new, message
):
    assert old in GOOD
    found = recipe_mistake(GOOD.replace(old, new))
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
def test_a_training_argument_out_of_its_range_is_named(recipe_mistake, argument, message):
    assert (
        recipe_mistake(GOOD + f"training_arguments: {{{argument}}}")
        == f"training_arguments: {message}"
    )


def test_a_folder_in_the_place_of_a_file_is_named(recipe_mistake, tmp_path):
    text = GOOD.replace("gpt-nano}", "gpt-nano, pretrain: {corpus: {text_file: .}}}")
    message = f"{str(tmp_path)!r} is a folder; a file is wanted"
    assert recipe_mistake(text) == f"models[0].pretrain.corpus.text_file: {message}"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("sep: ''", "task.sep: '' cannot part fields"),
        ("sep: '\"'", "task.sep: '\"' cannot part fields"),
        (
            "sep: '\\t'",
            "task.sep: '\\\\t' holds a backslash and a letter; write it in double quotes, in which "
            "YAML takes \\t for one character",
        ),
        ("encoding: utf9", "task.encoding: 'utf9' is no encoding that Python knows"),
        ("encoding: rot13", "task.encoding: 'rot13' is no encoding that Python knows"),
        ("quoting: all", "task.quoting: Input should be 'minimal' or 'none', not 'all'"),
        (
            "header: false",
            "task: header: false leaves the columns without names; give column_names",
        ),
        ("column_names: []", "task.column_names: List should have at least 1 item"),
        ("column_names: [text, text]", "task: column_names must differ: text, text"),
        ("text: no column", "task.text: 'no column' names no column, as {title} would"),
        ("text: '{a!r}'", "task.text: '{a!r}': a place for a column is written as {title}"),
        ("text: '{'", "task.text: '{': Single '{' encountered in format string"),
        (
            "text: '{a}', text_column: b",
            "task: give text_column, or text to join columns, and not both",
        ),
        ("text: '{label}'", "task: text_column and label_column must differ: label, label"),
    ],
)
def test_a_key_that_says_how_to_read_is_checked(recipe_mistake, keys, message):
    files = f"data_files: {{train: a.csv, validation: b.csv}}, {keys}"
    assert recipe_mistake(GOOD.replace("builtin: sentiment", files)) == message


@pytest.mark.parametrize("name", ["'https://example.org/a.csv'", "[a.csv, 's3://bucket/a.csv']"])
def test_an_address_is_no_file(recipe_mistake, name):
    found = recipe_mistake(GOOD.replace("builtin: sentiment", f"data_files: {{train: {name}}}"))
    assert found.startswith("task.data_files: train: ")
    assert "is an address, and files are local: download it and name the file" in found


@pytest.mark.parametrize("key", ["sep: ';'", "encoding: cp1252", "na_values: [NA]", "header: true"])
def test_a_key_that_says_how_to_read_files_goes_with_files(recipe_mistake, key):
    name = key.partition(":")[0]
    found = recipe_mistake(GOOD.replace("builtin: sentiment", f"builtin: sentiment, {key}"))
    assert found == f"task: {name} says how files are read, and built-in data are no files"


def test_a_long_value_is_shown_by_its_beginning(recipe_mistake):
    numbers = ", ".join(map(str, range(1000)))
    assert recipe_mistake(GOOD + f"description: [{numbers}]") == (
        "description: Input should be a valid string, not [0, 1, 2, 3, 4, 5, ...]"
    )
