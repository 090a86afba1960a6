"""Rows that are not fine-tuned: a probe on frozen features, and a prompt."""

from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, field_validator, model_validator

from hfbench.recipe.fields import shown
from hfbench.recipe.section import Section

ProbeHead = Literal["linear", "knn", "mlp"]
PoolingName = Literal["mean", "cls", "last", "best"]
Likelihood = Literal["sum", "mean"]

FIELDS = ("text", "text_pair")
"""What a template may name: the columns of a task."""


_SEPARATOR = "\n\n"


class Probe(Section):
    """A classifier on what a network makes of a text; the network itself is not trained."""

    head: ProbeHead = "linear"
    """``linear``: logistic regression (ridge for numbers); ``knn``: nearest neighbours by the
    cosine; ``mlp``: one hidden layer. What regularises the first, and how many neighbours the
    second asks, is chosen by cross-validation within the training examples."""
    pooling: PoolingName | None = None
    """What of a text's tokens is taken: their ``mean``, the first (``cls``), the ``last``; or the
    one that is ``best`` on the validation examples, for which the task needs a test split. Default:
    that of a sentence-transformers checkpoint, and otherwise the mean."""


class Prompt(Section):
    """A language model that is asked, and not trained: which label's words are likeliest."""

    template: Annotated[str, Field(min_length=1)]
    """What it reads, with ``{text}`` (and ``{text_pair}``) in it, e.g. ``"Review: {text} It was"``;
    a label's words follow its end."""
    labels: dict[str, str]
    """Label -> the words that stand for it, e.g. ``{no: " bad", yes: " good"}``; most tokenizers
    want the space."""
    shots: NonNegativeInt = 0
    """Training examples that stand before the text, with their labels' words: drawn by the seed,
    stratified by label."""
    separator: str = _SEPARATOR
    """After each of them."""
    likelihood: Likelihood = "sum"
    """Of a label's words: the ``sum`` of their tokens' log-likelihoods, or the ``mean``, for words
    of different numbers of tokens."""
    calibrate: bool = False
    """Divide each label's likelihood by that which it has after no text at all, see
    https://arxiv.org/abs/2102.09690."""

    @field_validator("template")
    @classmethod
    def _has_a_place(cls, template: str) -> str:
        try:
            parts = [part[1:] for part in Formatter().parse(template) if part[1] is not None]
        except ValueError as error:
            raise ValueError(
                f"{shown(template)}: {error}; a brace itself is {{{{ or }}}}"
            ) from None
        named = [name for name, *_ in parts]
        for name, form, conversion in parts:
            if name not in FIELDS or form or conversion:
                raise ValueError(
                    f"{shown(template)}: {{{name}}} is none of {{text}} and {{text_pair}}; a brace "
                    "itself is {{ or }}"
                )
        if "text" not in named or len({*named}) < len(named):
            raise ValueError(f"{shown(template)}: it must have {{text}} once")
        return template

    @field_validator("labels")
    @classmethod
    def _words_differ(cls, labels: dict[str, str]) -> dict[str, str]:
        if len(labels) < 2:
            raise ValueError(f"{labels}: give the words of two labels or more")
        for label, words in labels.items():
            if not words.strip():
                raise ValueError(f"{label}: {shown(words)} are no words")
        given = list(labels.values())
        if len({*given}) < len(given):
            twice = next(one for one in given if given.count(one) > 1)
            raise ValueError(f"{shown(twice)} stands for more than one label")
        return labels

    @model_validator(mode="after")
    def _separates_something(self) -> "Prompt":
        if self.separator != _SEPARATOR and not self.shots:
            raise ValueError("separator goes with shots, and there are none")
        return self

    @property
    def names_pairs(self) -> bool:
        """Whether the template has a place for the second text of a pair."""
        return any(name == "text_pair" for _, name, *_ in Formatter().parse(self.template))

    def fill(self, **texts: str) -> str:
        """The template with a text, or with both of a pair, in its places."""
        return "".join(
            literal + (texts[name] if name else "")
            for literal, name, *_ in Formatter().parse(self.template)
        )

    @property
    def ending(self) -> str:
        """What stands in the template after its last text, and so before a label's words."""
        *_, (literal, name, *_) = Formatter().parse(self.template)
        return "" if name else literal


def as_section(value: Any) -> Any:
    """``probe: linear`` is short for ``probe: {head: linear}``."""
    return {"head": value} if isinstance(value, str) else value
