"""What to train, and how it is to be called."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cellsynth.geometry import Triple
from cellsynth.presets.bundle import Bundle
from cellsynth.presets.models import FieldSpec
from cellsynth.presets.recipe import Recipe
from cellsynth.shapes.pose import Orientation
from cellsynth.training.stepping import Length

__all__ = ["TrainOptions"]


@dataclass(frozen=True)
class TrainOptions:
    """What to train.

    Attributes:
        name: Name of the preset.
        length: Steps or seconds.
        title, description: For people; made up from the data where absent.
        licence: Of the weights, as an SPDX expression.
        data, data_licence, source, limits: For the card, in words.
        commands: That make the preset again, for the card.
        kind: Which folders of a Cell Tracking Challenge set hold the masks.
        n_frames: Frames of a sequence; 30, or as many as the data have.
        voxel_size_um, frame_interval_s: Instead of what the data say.
        orientation: How cells are aligned before training.
        one_size: Bring the cells of each data set to the size of those of the first.
        half_extent_um: Half the side of Ω; from the data by default.
        recipe: Hyperparameters.
        spec: The network.
        start: A preset whose field the training starts from; ``spec`` and ``half_extent_um`` are
            then its own. Where the data have as many sequences as it learned, its codes and
            rotations are taken over too, else all codes start at the mean of its codes.
        seed: Of everything random.
        evaluate_every: Measure every so many frames of each sequence, counted from the last.
    """

    name: str
    length: Length
    title: str | None = None
    description: str | None = None
    licence: str = "LicenseRef-unstated"
    data: str | None = None
    data_licence: str = "not stated"
    source: str = "not stated"
    limits: str | None = None
    commands: tuple[str, ...] = ()
    kind: Literal["TRA", "SEG", "ST"] | None = None
    n_frames: int | None = None
    voxel_size_um: Triple | None = None
    frame_interval_s: float | None = None
    orientation: Orientation = "sequence"
    one_size: bool = False
    half_extent_um: float | None = None
    recipe: Recipe = field(default_factory=Recipe)
    spec: FieldSpec = field(default_factory=FieldSpec)
    start: Bundle | None = None
    seed: int = 0
    evaluate_every: int = 1
