"""What is said of a preset's codes, and of a walk between two, as strict models.

``cellsynth latent`` writes a :class:`LatentMap` as ``latent.json`` and a :class:`Walk` as
``walk.json``. Codes are numbered from 1, as training sequences are; distances are Euclidean, in
units of the codes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict

from cellsynth.evaluation.models import Mean, Numbers, Point, Preset
from cellsynth.presets.base import Integers, StrictModel, Text
from cellsynth.presets.models import Strategy

__all__ = [
    "DESCRIPTORS",
    "LATENT_FORMAT",
    "WALK_FORMAT",
    "Component",
    "Correlation",
    "Described",
    "Descriptor",
    "DrawnCode",
    "Held",
    "LatentMap",
    "LearnedCode",
    "Spacing",
    "Trend",
    "Variable",
    "Walk",
    "WalkStep",
]

LATENT_FORMAT = "cellsynth-latent"
WALK_FORMAT = "cellsynth-walk"
Descriptor = Literal["volume_um3", "surface_um2", "sphericity_paper", "growth"]
DESCRIPTORS: tuple[Descriptor, ...] = ("volume_um3", "surface_um2", "sphericity_paper", "growth")
Variable = Literal[
    "volume_um3", "surface_um2", "sphericity_wadell", "sphericity_paper", "total_um3", "growth"
]
Pair = Annotated[tuple[float, float], Strict(False)]
Codes = Annotated[tuple[int, int], Strict(False)]


class Described(StrictModel):
    """A code's cell, rendered small: means over frames and cells, a mother with each daughter."""

    volume_um3: float = Field(description="Volume in µm³")
    surface_um2: float = Field(description="Surface in µm², as cellsynth evaluate has it")
    sphericity_paper: float = Field(description="36πV²/S³")
    growth: float = Field(description="Volume of all its cells, last frame over first")


class LearnedCode(StrictModel):
    """A code of a training sequence."""

    number: int = Field(description="From 1, as training sequences are numbered")
    pca: Numbers = Field(description="Along the first principal components, at most three")
    tsne: Pair = Field(description="In the map of learned codes alone")
    tsne_among_drawn: Pair = Field(description="In the map of learned and drawn codes")
    nearest: int = Field(description="Number of the nearest other learned code")
    distance: float = Field(description="Distance of that")
    described: Described | None = Field(description="Its cell; null where the topology breaks")
    fault: Text | None = Field(description="What breaks the topology; null where nothing does")


class DrawnCode(StrictModel):
    """A code as ``cellsynth generate`` draws it first, whether its cell is kept or not."""

    strategy: Strategy = Field(description="How it was drawn")
    sequence: int = Field(description="Sequence, from 1, of a set of that seed")
    pca: Numbers = Field(description="Along the learned codes' principal components")
    tsne_among_drawn: Pair = Field(description="In the map of learned and drawn codes")
    nearest: int = Field(description="Number of the nearest learned code")
    distance: float = Field(description="Distance of that")


class Component(StrictModel):
    """A principal component of the learned codes."""

    variance: float = Field(description="Variance along it")
    ratio: float = Field(description="Its share of all variance")


class Held(StrictModel):
    """How many components hold a share of the variance."""

    share: float = Field(description="The share")
    components: int = Field(description="The first so many hold it")


class Spacing(StrictModel):
    """Distances to the nearest learned code, the code itself left out."""

    of: Literal["learned"] | Strategy = Field(description="Which codes")
    codes: int = Field(description="How many")
    least: float = Field(description="Smallest distance")
    median: float = Field(description="Median")
    most: float = Field(description="Largest")


class Correlation(StrictModel):
    """How a descriptor goes with the first principal components, over learned codes."""

    descriptor: Descriptor = Field(description="Which")
    spearman: Annotated[tuple[float | None, ...], Strict(False)] = Field(
        description="Rank correlation with each component of pca; null where all are equal"
    )
    neighbours: float | None = Field(
        description="Rank correlation with the descriptor of the nearest other code"
    )


class LatentMap(StrictModel):
    """The learned codes of a preset, and codes drawn among them."""

    format: Literal["cellsynth-latent"] = Field(description="What this is")
    version: Literal[1] = Field(description="Version of the format")
    versions: dict[str, str] = Field(description="Of Python and what computed it")
    preset: Preset = Field(description="Whose codes they are")
    seed: int = Field(description="Of the draws and of t-SNE")
    latent_dim: int = Field(description="Length of a code")
    frames: int = Field(description="Frames that each cell was described in")
    grid: Integers = Field(description="Voxels z, y, x that it was rendered on, over Ω")
    voxel_size_um: Point = Field(description="z, y, x in µm")
    components: Annotated[tuple[Component, ...], Strict(False)] = Field(
        description="Of the learned codes, most variance first"
    )
    held: Annotated[tuple[Held, ...], Strict(False)] = Field(
        description="Components that hold 90, 99 and 99.9 % of the variance"
    )
    perplexity: Pair = Field(description="Of t-SNE, learned codes alone, and with drawn ones")
    spacing: Annotated[tuple[Spacing, ...], Strict(False)] = Field(
        description="Of learned codes, and of those of each strategy"
    )
    correlations: Annotated[tuple[Correlation, ...], Strict(False)] = Field(
        description="One a descriptor"
    )
    learned: Annotated[tuple[LearnedCode, ...], Strict(False)] = Field(description="By number")
    drawn: Annotated[tuple[DrawnCode, ...], Strict(False)] = Field(
        description="By strategy and sequence"
    )


class WalkStep(StrictModel):
    """A step of a walk, and its cell as it lies in the data set."""

    number: int = Field(description="From 1")
    share: float = Field(description="How much of the way is gone, 0 … 1")
    sequence: Text | None = Field(description="Its sequence; null where there is no cell to write")
    labels: Literal["cells", "one body"] | None = Field(
        description="What has a label: each cell, or all pieces together where topology breaks"
    )
    fault: Text | None = Field(description="What breaks the topology; null where nothing does")
    cells: Mean | None = Field(
        description="Means over cells and frames; null where there are no cells to tell apart"
    )
    total_um3: float | None = Field(description="Volume of all pieces, mean over frames")
    growth: float | None = Field(
        description="Volume of all pieces, last frame over first; null where either has none"
    )
    pieces: int | None = Field(description="Most pieces in one frame, all labels together")


class Trend(StrictModel):
    """Whether a variable goes one way along the walk."""

    variable: Variable = Field(description="Which, as in the steps")
    steps: int = Field(description="Steps that have it")
    first: float = Field(description="At the first of them")
    last: float = Field(description="At the last")
    monotone: bool = Field(description="Whether no step turns back")
    setback: float = Field(
        description="The most it turns back, as a share of its range over the walk; 0 … 1"
    )
    setback_step: int | None = Field(description="Step at which that is; null where there is none")


class Walk(StrictModel):
    """A straight way between two learned codes."""

    format: Literal["cellsynth-walk"] = Field(description="What this is")
    version: Literal[1] = Field(description="Version of the format")
    versions: dict[str, str] = Field(description="Of Python and what rendered and measured it")
    preset: Preset = Field(description="Whose codes they are")
    codes: Codes = Field(description="Numbers of the first and the last code")
    distance: float = Field(description="How far apart they are")
    rotation: Literal["none", "learned"] = Field(description="How cells are turned")
    turn_degrees: float = Field(description="Angle between the two learned rotations")
    frames: int = Field(description="Frames of a sequence")
    grid: Integers = Field(description="Voxels z, y, x")
    voxel_size_um: Point = Field(description="z, y, x in µm")
    steps: Annotated[tuple[WalkStep, ...], Strict(False)] = Field(description="First to last")
    trends: Annotated[tuple[Trend, ...], Strict(False)] = Field(description="One a variable")
