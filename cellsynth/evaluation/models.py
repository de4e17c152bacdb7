"""What an evaluation says, as strict models: what ``cellsynth evaluate --json`` writes.

Lengths are in µm and axes in the order z, y, x. Figures of one cell over time are lists beside each
other, one entry a frame in which the cell is there; :class:`Series` says which frames these are.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict

from cellsynth.presets.base import Integers, StrictModel, Text

__all__ = [
    "DESCRIPTORS",
    "FORMAT",
    "Agreements",
    "Descriptor",
    "Distribution",
    "Evaluation",
    "Family",
    "FrameSummary",
    "Mean",
    "Overall",
    "Overlap",
    "Preset",
    "Samples",
    "SequenceMeasures",
    "Series",
    "SetMeasures",
    "Test",
    "Tests",
    "Topology",
    "TrackEntry",
]

FORMAT = "cellsynth-evaluation"
Descriptor = Literal["volume_um3", "surface_um2", "sphericity_wadell", "sphericity_paper"]
DESCRIPTORS: tuple[Descriptor, ...] = (
    "volume_um3",
    "surface_um2",
    "sphericity_wadell",
    "sphericity_paper",
)
Numbers = Annotated[tuple[float, ...], Strict(False)]
Gaps = Annotated[tuple[float | None, ...], Strict(False)]
Flags = Annotated[tuple[bool, ...], Strict(False)]
Point = Annotated[tuple[float, float, float], Strict(False)]
Points = Annotated[tuple[Point, ...], Strict(False)]
Counts = Annotated[tuple[int, int], Strict(False)]


class Series(StrictModel):
    """One cell, or a family as one body, through the frames in which it is there."""

    frames: Integers = Field(description="Frames in which it is there; the other lists go with it")
    volume_um3: Numbers = Field(description="Volume in µm³")
    surface_um2: Numbers = Field(description="Surface in µm²")
    sphericity_wadell: Numbers = Field(description="π^⅓ (6V)^⅔ / S, 1 for a ball")
    sphericity_paper: Numbers = Field(description="36πV²/S³, the cube of the former")
    components: Integers = Field(description="Betti number b0, connected pieces")
    handles: Integers = Field(description="Betti number b1, handles")
    voids: Integers = Field(description="Betti number b2, closed hollows")
    euler: Integers = Field(description="Euler characteristic, b0 - b1 + b2")
    centroid_um: Points = Field(description="z, y, x from the centre of voxel 0, 0, 0")
    at_border: Flags = Field(description="Whether it touches the border of the image")


class TrackEntry(StrictModel):
    """A tracklet, as a line of ``man_track.txt``, and its measures."""

    label: int = Field(description="Its label")
    begin: int = Field(description="First frame")
    end: int = Field(description="Last frame")
    parent: int = Field(description="Label of the cell it comes from, 0 where there is none")
    series: Series = Field(description="Its measures over time")


class Mean(StrictModel):
    """Means of one family over frames and cells."""

    volume_um3: float | None = Field(description="Volume in µm³")
    surface_um2: float | None = Field(description="Surface in µm²")
    sphericity_wadell: float | None = Field(description="π^⅓ (6V)^⅔ / S")
    sphericity_paper: float | None = Field(description="36πV²/S³")


class Family(StrictModel):
    """A cell and all that it divides into: one independent sample."""

    founder: int = Field(description="Label of the first cell")
    labels: Integers = Field(description="Labels of all its cells, the founder too")
    mean: Mean = Field(description="Over frames and courses, without frames at the border")
    series: Series = Field(description="All its cells as one body")


class SequenceMeasures(StrictModel):
    """One sequence of masks."""

    name: Text = Field(description="Its number, or the name of its file")
    frames: int = Field(description="Number of frames")
    shape: Integers = Field(description="Voxels z, y, x")
    voxel_size_um: Point = Field(description="z, y, x in µm")
    frame_interval_s: float | None = Field(description="Seconds between frames, if known")
    cells: Annotated[tuple[TrackEntry, ...], Strict(False)] = Field(description="Tracklets")
    families: Annotated[tuple[Family, ...], Strict(False)] = Field(
        description="Cells with all that they divide into"
    )


class FrameSummary(StrictModel):
    """One descriptor frame by frame, over families; a family's cells are averaged first."""

    n: Integers = Field(description="Families that have a whole cell in the frame")
    mean: Gaps = Field(description="Mean over families; null where n is 0")
    q1: Gaps = Field(description="First quartile")
    median: Gaps = Field(description="Median")
    q3: Gaps = Field(description="Third quartile")


class Overall(StrictModel):
    """One descriptor over all frames of all courses; mothers count with each of their daughters."""

    mean: float | None = Field(description="Mean; null where every cell touches the border")
    sd: float | None = Field(description="Standard deviation")
    values: int = Field(description="Frames of courses")
    families: int = Field(description="Families that they are of: the independent samples")


class Topology(StrictModel):
    """Over all cells in all frames, each daughter a cell of its own."""

    bodies: int = Field(description="Cells, counted in every frame")
    in_pieces: int = Field(description="Of these, in more than one piece")
    with_handles: int = Field(description="Of these, with a handle")
    with_voids: int = Field(description="Of these, with a closed hollow")
    at_border: int = Field(description="Of these, at the border of the image; no samples")


class Preset(StrictModel):
    """The preset that a data set was made from."""

    name: str = Field(description="Its name")
    sha256: str = Field(description="SHA-256 of the bundle")


class SetMeasures(StrictModel):
    """One data set."""

    name: Text = Field(description="Name of the folder or file")
    preset: Preset | None = Field(description="From dataset.json, where there is one")
    seed: int | None = Field(description="From dataset.json, where there is one")
    made_with: dict[str, str] | None = Field(description="Versions, from dataset.json")
    sequences: Annotated[tuple[SequenceMeasures, ...], Strict(False)] = Field(
        description="Its sequences"
    )
    overall: dict[Descriptor, Overall] = Field(description="Over all frames and courses")
    summary: dict[Descriptor, FrameSummary] = Field(description="Frame by frame, over families")
    topology: Topology = Field(description="Pieces, handles and voids")


class Test(StrictModel):
    """A two-sample Kolmogorov-Smirnov test."""

    statistic: float = Field(description="Largest distance of the distribution functions")
    p: float = Field(description="Probability of that or more where nothing differs")


class Tests(StrictModel):
    """The same question, with four ideas of what a sample is; see docs/sampling.md."""

    exchanged: Test = Field(description="Every frame; whole families dealt out anew")
    per_family: Test = Field(description="One mean a family")
    pooled: Test = Field(description="Every frame as if independent, as in the paper")
    worst_frame: Test | None = Field(description="The frame that differs most, if frames agree")
    worst_frame_at: int | None = Field(description="Which frame that is")


class Distribution(StrictModel):
    """One descriptor in both sets; pairs are of the set, then of the other."""

    descriptor: Descriptor = Field(description="Which")
    independent: Counts = Field(description="Families: the independent samples")
    values: Counts = Field(description="Frames of courses")
    tests: Tests = Field(description="Kolmogorov-Smirnov tests")


class Samples(StrictModel):
    """How both sets are distributed."""

    exchanges: int = Field(description="Times that families were dealt out anew")
    seed: int = Field(description="Of that")
    distributions: Annotated[tuple[Distribution, ...], Strict(False)] = Field(
        description="One a descriptor"
    )


class Agreements(StrictModel):
    """One label of one sequence in both sets."""

    sequence: Text = Field(description="Name of the sequence")
    label: int = Field(description="The label")
    frames: Integers = Field(description="Frames that have it in both sets")
    dsc: Numbers = Field(description="Dice similarity coefficient")
    distance_mean_um: Numbers = Field(description="Mean distance of the surfaces")
    distance_p95_um: Numbers = Field(description="95 % of either surface lie within this")


class Overlap(StrictModel):
    """Cells with the same sequence, frame and label in both sets, on the same grid."""

    pairs: int = Field(description="Cells compared, counted in every frame")
    unmatched: Counts = Field(description="Cells of these sequences in one set only")
    dsc_mean: float | None = Field(description="Mean Dice similarity coefficient")
    dsc_min: float | None = Field(description="The worst")
    distance_mean_um: float | None = Field(description="Mean of the mean distances")
    distance_p95_um: float | None = Field(description="Mean of the 95 % distances")
    cells: Annotated[tuple[Agreements, ...], Strict(False)] = Field(description="One by one")


class Evaluation(StrictModel):
    """What a data set is like, and how it compares with another."""

    format: Literal["cellsynth-evaluation"] = Field(description="What this is")
    version: Literal[1] = Field(description="Version of the format")
    versions: dict[str, str] = Field(description="Of Python and what measured")
    of: SetMeasures = Field(description="The set")
    against: SetMeasures | None = Field(description="What it is compared with")
    samples: Samples | None = Field(description="Both sets as distributions")
    overlap: Overlap | None = Field(description="Both sets cell by cell")
