"""What the values of a recipe's keys are, where that is more than a type of Python."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from hfbench.recipe.fields import shown


def _check_slug(name: str) -> str:
    # names become file names: no separators, no leading dot; "--" stands before the seed
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) or "--" in name:
        raise ValueError(
            f"{shown(name)} is not a name: use up to 64 letters, digits, '.', '_' and single '-', "
            "beginning with a letter or digit"
        )
    if re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*\.", name, re.IGNORECASE):
        raise ValueError(
            f"{shown(name)} cannot be the name of a file on Windows, where results may be opened"
        )
    return name


def _check_line(text: str) -> str:
    if not text.strip() or re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", text):
        raise ValueError(f"{shown(text)} must be one line of text, and not an empty one")
    return text


def _check_revision(revision: str) -> str:
    # git's own rules, of which a name of a file in the Hub's cache is made
    if ".." in revision or revision.startswith(("/", "-")) or not re.fullmatch(r"\S+", revision):
        raise ValueError(f"{shown(revision)} is no branch, tag or commit")
    return _check_line(revision)


def _check_module(name: str) -> str:
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts) or (len(parts) > 1 and parts[-1] == "py"):
        raise ValueError(
            f"{shown(name)} is no module: write it as after Python's `import`, e.g. "
            "my_package.my_model"
        )
    return name


def _check_class(path: str) -> str:
    return _check_path(path, "class", "ConfigClass")


def _check_function(path: str) -> str:
    return _check_path(path, "function", "make")


def _check_path(path: str, what: str, example: str) -> str:
    module, _, name = path.partition(":")
    if not name.isidentifier():
        raise ValueError(f"{shown(path)} is no {what}: write it as package.module:{example}")
    return f"{_check_module(module)}:{name}"


def _check_selection(rule: str) -> str:
    if not re.fullmatch(r"last|best_.+", rule):
        raise ValueError(
            f"{shown(rule)} must be last, best_loss, best_accuracy or best_ and another measure"
        )
    return rule


def is_pattern(name: str) -> bool:
    """Whether the name of a file stands for all that match it."""
    return re.search(r"[*?[]", name) is not None


Name = Annotated[str, AfterValidator(_check_slug)]
Line = Annotated[str, AfterValidator(_check_line)]
Lines = Annotated[list[Line], Field(min_length=1)]
Revision = Annotated[str, AfterValidator(_check_revision)]
ModuleName = Annotated[str, AfterValidator(_check_module)]
ClassPath = Annotated[str, AfterValidator(_check_class)]
FunctionPath = Annotated[str, AfterValidator(_check_function)]
Share = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""As NumPy and torch take them."""

Kind = Literal["classification", "control", "predictions", "pretraining", "probe", "prompt"]
"""A classifier is trained, a control is fitted, a file's answers are taken, a language model is
pretrained, a probe is fitted to the features of a network, or a language model is prompted."""
Head = Literal["classifier", "language model"]
"""What stands on the body of a neural network."""
ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]
"""What a sequence classifier is asked, in transformers' words; as `metrics.registry.ProblemType`,
which a recipe is read without, for it needs scipy."""
Selection = Annotated[str, AfterValidator(_check_selection)]
"""``last``, ``best_loss``, or ``best_`` and the name of a measure."""
Truncation = Literal["head", "tail", "head_tail"]
"""What is left of a text that is too long."""


def cell_stem(kind: Kind, model: str, train_size: int | None, seed: int | None) -> str:
    """File name (without ending) of a run's record."""
    prefix = "pretrain--" if kind == "pretraining" else ""
    size = "" if train_size is None else f"--n{train_size}"
    return f"{prefix}{model}{size}" + ("" if seed is None else f"--seed{seed}")
