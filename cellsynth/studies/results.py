"""What a study says in ``result.json``, as typed models that refuse what they do not know."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from cellsynth.evaluation.files import read_result
from cellsynth.presets.base import StrictModel, Texts

__all__ = ["RESULT", "Ordering", "Scale", "StageRecord", "StudyResult", "Table", "read_study"]

RESULT = "result.json"
FORMAT = "cellsynth-study"

Scale = Literal["small", "paper"]
Rows = Annotated[tuple[Texts, ...], Strict(False)]


class Table(StrictModel):
    """A table as it is shown: the paper's numbers beside ours."""

    title: str = Field(description="What it shows")
    head: Texts = Field(description="Columns")
    rows: Rows = Field(description="Rows, as many cells as columns")


class Ordering(StrictModel):
    """One thing that the paper claims, and whether it is so here."""

    claim: str = Field(description="What the paper says")
    ours: str = Field(description="What was found, in numbers")
    holds: bool = Field(description="Whether that agrees")


class StageRecord(StrictModel):
    """One stage, and what it took."""

    name: str
    seconds: float = Field(ge=0, description="Wall time")
    core_seconds: float = Field(ge=0, description="Processor time of this process")


class StudyResult(StrictModel):
    """A study that has been run."""

    format: Literal["cellsynth-study"]
    version: Literal[1]
    study: str = Field(description="Name")
    title: str
    scale: Scale
    seed: int = Field(ge=0)
    threads: int = Field(ge=1, description="Cores used at most")
    device: str = Field("cpu", description="Torch device of the trainings")
    settings: dict[str, Any] = Field(description="All settings of that scale")
    versions: dict[str, str]
    minutes: float = Field(ge=0, description="Wall time of all stages, interrupted tries too")
    core_minutes: float = Field(ge=0, description="Processor time of the same")
    stages: Annotated[tuple[StageRecord, ...], Strict(False)]
    text: str = Field(description="What was found, in a few sentences")
    tables: Annotated[tuple[Table, ...], Strict(False)]
    orderings: Annotated[tuple[Ordering, ...], Strict(False)]
    holds: bool = Field(description="Whether all of the paper's orderings do")
    numbers: dict[str, Any] = Field(description="Every figure, by name")


def read_study(path: str | os.PathLike[str]) -> StudyResult:
    """A result from its file; raises as :func:`cellsynth.evaluation.files.read_result`."""
    made_by = "result of a study; make one with cellsynth study NAME"
    return read_result(path, StudyResult, FORMAT, made_by)
