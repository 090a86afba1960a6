"""Parts of the records of rows that are not fine-tuned."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from hfbench.records.parts import RecordPart, Tokens


class FeatureFacts(RecordPart):
    """What a network made of the texts, for a probe."""

    pooling: str = Field(
        description="What was taken of a text's tokens, e.g. `mean`, or of a sentence-transformers "
        "checkpoint its own, e.g. `mean, normalised`."
    )
    chosen_by: Literal["recipe", "checkpoint", "default", "validation"] = Field(
        description="Who says so."
    )
    tried: dict[str, float] | None = Field(
        default=None,
        description="Pooling -> the task's measure on the validation examples, where they chose.",
    )
    width: PositiveInt = Field(description="Numbers of a text.")
    tokens: dict[str, Tokens] = Field(description="Token counts by split.")
    device: str = Field(description="Name of the device that computed them.")
    seconds: float = Field(
        description="Wall time of computing them for all splits, loading apart, when that was done."
    )
    were_there: bool = Field(description="Whether they were computed before this run.")


class HeadFacts(RecordPart):
    """What was fitted to them."""

    name: Literal["linear", "knn", "mlp"] = Field(description="As the recipe's `probe.head`.")
    chosen: dict[str, float] = Field(
        description="Setting -> what cross-validation chose; empty where it chose nothing."
    )
    tried: dict[str, float] = Field(
        default={},
        description="Value of that setting, as text -> mean loss of the parts that were held out: "
        "nats an example, of a regression the squared error.",
    )
    folds: PositiveInt | None = Field(
        default=None, description="Parts; null where there were none."
    )


class PromptFacts(RecordPart):
    """What a language model was asked, and how its answer was read."""

    template: str = Field(description="With the places of the texts.")
    words: dict[str, str] = Field(description="Label -> the words that stand for it.")
    word_tokens: dict[str, NonNegativeInt] = Field(description="Label -> tokens of these.")
    likelihood: Literal["sum", "mean"] = Field(description="Of the tokens of a label's words.")
    calibration: list[float] | None = Field(
        default=None,
        description="Of each label the logarithm of the mean probability after no text at all, "
        "which is taken off; null where it is not.",
    )
    shots: list[str] = Field(description="Ids of the training examples in the prompt, in order.")
    shot_tokens: NonNegativeInt = Field(
        description="Tokens before the template's own, those of the examples."
    )
    tokens: dict[str, Tokens] = Field(
        description="Token counts by split, of prompts without the examples before them."
    )
    shares_prefix: bool = Field(
        description="Whether what all prompts begin with was computed once, by the model's cache."
    )
    device: str = Field(description="Name of the device.")
    seconds: float = Field(description="Wall time of all answers, loading apart.")
