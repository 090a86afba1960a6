"""What every part of a record is, and the parts that several others have."""

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, model_validator
from typing_extensions import Self

_LARGEST = 10**18


class RecordPart(BaseModel):
    """A part of the record; a key that the schema does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _counts_what_there_can_be(self) -> Self:
        """JSON has whole numbers of any length, and neither a float nor Arrow has.

        Of operations there are more than 64 bits count: ``flops`` says itself how many can be.
        """
        for name, value in self.__dict__.items():
            kind = type(value)  # tens of thousands of parts are read: `isinstance` takes longer
            if kind is int or kind is dict:
                for number in value.values() if kind is dict else (value,):
                    if type(number) is int and abs(number) > _LARGEST and name != "flops":
                        raise ValueError(f"{name}: a whole number of more than 18 digits")
        return self


class Tokens(RecordPart):
    """Token counts of one split; padding does not count."""

    total: NonNegativeInt = Field(description="Tokens after truncation.")
    truncated_examples: NonNegativeInt = Field(description="Examples that were cut at max_length.")
    cut: NonNegativeInt | None = Field(
        default=None,
        description="Tokens that truncation cut off; null in records from before it was counted.",
    )
