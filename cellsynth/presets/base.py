"""What the models of a preset share: their strictness, their texts, where data come from."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints

__all__ = ["Integers", "Origin", "StrictModel", "Text", "Texts"]

# TOML has arrays, we want tuples: only the outer type is taken leniently.
Texts = Annotated[tuple[str, ...], Strict(False)]
Integers = Annotated[tuple[int, ...], Strict(False)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]


class StrictModel(BaseModel):
    """Frozen; forbids unknown keys, converts nothing silently, admits only finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Origin(StrictModel):
    """Where the training data come from and how the weights are made again."""

    data: Text = Field(description="What the weights were trained on")
    licence: Text = Field(description="Licence of the data")
    source: Text = Field(description="Where the data are published")
    limits: Text = Field(description="What they cannot claim")
    commands: Texts = Field(description="The commands that make them again")
