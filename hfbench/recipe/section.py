"""What every mapping of a recipe has in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping of the recipe: strict types, no unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    def _require_one_of(self, *names: str) -> None:
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"not {' and '.join(given)}" if given else "none is given"
            raise ValueError(f"give exactly one of {', '.join(names)}; {found}")

    def _allow_only_with(self, owner: str, *names: str) -> None:
        """The keys ``names`` have a meaning only where ``owner`` is given."""
        if getattr(self, owner) is None:
            for name in names:
                if getattr(self, name) != type(self).model_fields[name].get_default():
                    raise ValueError(f"{name} goes with {owner}, which is not given")
