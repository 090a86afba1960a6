"""That the list of transformers' private names is whole, and that they are as they were tested."""

import ast
import inspect
import re
from pathlib import Path

import transformers
from torch import nn
from transformers import PreTrainedModel, Trainer

import hfbench.training
from hfbench.training.trainer_contract import PRIVATE_NAMES, TESTED, changed, source_hashes

PACKAGE = Path(hfbench.training.__file__).parent
# What transformers' classes define, and what their methods set; torch's own is not theirs.
OF_TRANSFORMERS = {
    name
    for owner in (Trainer, PreTrainedModel)
    for name in (*vars(owner), *re.findall(r"self\.(_\w+)\b.* = ", inspect.getsource(owner)))
    if re.match(r"_[^_]", name) and not hasattr(nn.Module, name)
}


def private_names(source):
    """The private names that some code defines in classes, reads, calls or sets of objects."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and re.match(r"_[^_]", node.attr):
            yield node.attr
        if isinstance(node, ast.ClassDef):
            yield from (
                part.name
                for part in node.body
                if isinstance(part, ast.FunctionDef) and re.match(r"_[^_]", part.name)
            )


def test_the_list_has_the_private_names_that_training_uses_and_no_other():
    used = {
        name
        for path in PACKAGE.glob("*.py")
        for name in private_names(path.read_text("utf-8"))
        if name in OF_TRANSFORMERS
    }
    assert used == {private.name for private in PRIVATE_NAMES}


def test_the_private_names_are_as_they_were_tested():
    version = transformers.__version__
    hashes = source_hashes()
    names = changed(version, hashes)
    base = version if version in TESTED else f"{list(TESTED)[-1]}, the newest that was tested"
    assert not names, (
        f"transformers {version}: {', '.join(names)} of the Trainer are not as in {base}. Read how "
        f"they changed and what `trainer_contract` says they are for; then add {hashes} to TESTED."
    )


def test_a_changed_source_is_named_on_a_known_and_on_an_unknown_version():
    newest, hashes = list(TESTED.items())[-1]
    assert changed(newest, hashes) == changed("99.0", hashes) == []
    other = {**hashes, "_save": "missing"}
    assert changed(newest, other) == changed("99.0", other) == ["_save"]
    oldest = next(iter(TESTED))
    assert "_run_epoch" in changed(oldest, hashes)  # a known version is held to its own sources


def test_the_oldest_transformers_that_is_promised_was_tested():
    assert f"transformers>={next(iter(TESTED)).removesuffix('.0')}," in (
        PACKAGE.parents[1].joinpath("pyproject.toml").read_text("utf-8")
    )
