"""What a preset says about its texture: the network, its conditions, its camera, its training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict, model_validator

from cellsynth.presets.base import Origin, StrictModel

__all__ = [
    "GENERATORS",
    "BackgroundSpec",
    "BrightnessSpec",
    "Condition",
    "GeneratorSpec",
    "Intensities",
    "Mode",
    "TextureRecipe",
    "TextureSpec",
    "TextureTraining",
]

Mode = Literal["mip", "3d"]
Condition = Literal["mask", "boundary", "distance", "grain", "brightness", "background"]
Numbers = Annotated[tuple[Annotated[float, Field(ge=-10, le=10)], ...], Strict(False)]


class GeneratorSpec(StrictModel):
    """The network that turns conditions into an image.

    The published size is 64 channels, 4 downsamplings, 9 blocks and an enhancer.
    Source: Wang et al. 2018, section 3.
    """

    channels: int = Field(16, ge=2, le=256, description="Channels at full resolution")
    downsamplings: int = Field(2, ge=1, le=5, description="Halvings of the resolution")
    blocks: int = Field(9, ge=0, le=32, description="Residual blocks at the lowest resolution")
    enhancer: bool = Field(
        False, description="Whether a local enhancer doubles the resolution, for large frames"
    )
    enhancer_blocks: int = Field(3, ge=0, le=32, description="Residual blocks of the enhancer")
    upsampling: Literal["resize", "transposed"] = Field(
        "resize", description="How resolution is won back; transposed is as published"
    )
    noise: bool = Field(
        True, description="Whether the last channel is white noise, new in every frame"
    )

    @model_validator(mode="after")
    def _channels_halve(self) -> GeneratorSpec:
        if self.enhancer and self.channels % 2:
            raise ValueError(f"channels must be even with an enhancer, got {self.channels}")
        return self


GENERATORS = {
    "default": GeneratorSpec(),
    # Wang et al. 2018, at full size; a bundle with it is far beyond a few megabytes.
    "published": GeneratorSpec(
        channels=64, downsamplings=4, enhancer=True, upsampling="transposed"
    ),
}


class Intensities(StrictModel):
    """What counts of the camera the generator's range [-1, 1] stands for."""

    dtype: Literal["uint8", "uint16"] = Field(description="Type of the images")
    low: float = Field(description="Counts at -1")
    high: float = Field(description="Counts at +1")
    bend: float = Field(
        0.0,
        ge=0,
        le=10_000,
        description="0 is linear; larger spreads the dark end, as a square root does",
    )
    smallest: int = Field(0, ge=0, le=65535, description="Counts below are never written")
    largest: int = Field(ge=1, le=65535, description="Counts above are never written")

    @model_validator(mode="after")
    def _ranges_fit(self) -> Intensities:
        if self.high <= self.low:
            raise ValueError(f"high must be above low = {self.low:g}, got {self.high:g}")
        if self.largest <= self.smallest:
            raise ValueError(
                f"largest must be above smallest = {self.smallest}, got {self.largest}"
            )
        if self.dtype == "uint8" and self.largest > 255:
            raise ValueError(f"largest must be at most 255 for uint8, got {self.largest}")
        return self


class BrightnessSpec(StrictModel):
    """How bright cells are: natural logarithm of their mean counts above the background.

    All but ``level`` and ``size`` are differences or standard deviations of that logarithm: 0.15
    is about 15 %. The condition is (logarithm - mean) / deviation, cut at lowest and highest.
    """

    mean: float = Field(ge=-20, le=20, description="Of all training cells and frames")
    deviation: float = Field(gt=0, le=10, description="Standard deviation of the same")
    lowest: float = Field(ge=-10, le=0, description="Smallest condition, in deviations")
    highest: float = Field(ge=0, le=10, description="Largest condition, in deviations")
    level: float = Field(
        ge=-20, le=20, description="Of a cell of middling size that does not divide soon"
    )
    size: float = Field(
        ge=-50, le=50, description="Mean logarithm of the size, in µm² (3d: µm³), that is middling"
    )
    size_slope: float = Field(0.0, ge=-10, le=10, description="Change with the size's logarithm")
    middle: float = Field(0.0, ge=0, description="Mean number of the training frames")
    trend: float = Field(0.0, ge=-10, le=10, description="Change per frame; bleaching is below 0")
    between_sequences: float = Field(0.0, ge=0, le=10, description="Deviation between sequences")
    between_cells: float = Field(
        0.0, ge=0, le=10, description="Deviation between cells of a sequence; daughters inherit"
    )
    changing: float = Field(0.0, ge=0, le=10, description="Deviation of what changes with time")
    memory: float = Field(
        0.0, ge=0, lt=1, description="Correlation of what changes, from a frame to the next"
    )
    quantiles: Numbers = Field(
        (),
        description="What deviates of normal deviates -3 … 3, in even steps; none: it is normal",
    )
    before: Numbers = Field(
        (), description="Change in a mother's last frames, in the very last one last"
    )
    after: Numbers = Field((), description="Change in a daughter's first frames")


class BackgroundSpec(StrictModel):
    """How bright the background is where no cell is near, in counts, and how it varies slowly.

    The condition is (counts - mean) / deviation, cut at lowest and highest.
    """

    mean: float = Field(ge=0, le=65535, description="Counts, over all training frames")
    deviation: float = Field(gt=0, le=65535, description="Standard deviation of the same")
    lowest: float = Field(ge=-10, le=0, description="Smallest condition, in deviations")
    highest: float = Field(ge=0, le=10, description="Largest condition, in deviations")
    between_sequences: float = Field(0.0, ge=0, le=65535, description="Deviation of the level")
    unevenness: float = Field(0.0, ge=0, le=65535, description="Deviation within a frame")
    feature_um: float = Field(gt=0, description="Diameter of its brighter and darker areas")
    middle: float = Field(0.0, ge=0, description="Mean number of the training frames")
    trend: float = Field(0.0, ge=-65535, le=65535, description="Counts gained per frame")


class TextureRecipe(StrictModel):
    """How a texture is trained: losses as published, sizes for two cores."""

    crop: int = Field(128, ge=32, le=4096, description="Side of a training crop in pixels")
    batch: int = Field(1, ge=1, le=256, description="Crops in one step")
    cell_share: float = Field(
        0.8, ge=0, le=1, description="Share of crops around a cell; the others lie anywhere"
    )
    learning_rate: float = Field(4e-4, gt=0, le=1, description="Adam's rate of the generator")
    discriminator_rate: float = Field(
        4e-4, gt=0, le=1, description="Adam's rate of the discriminators"
    )
    fall_share: float = Field(
        0.5, ge=0, le=1, description="Share of the training at whose end rates fall to zero"
    )
    scales: int = Field(2, ge=1, le=4, description="Discriminators, each at half the resolution")
    discriminator_channels: int = Field(
        24, ge=2, le=256, description="Channels of a discriminator's first layer"
    )
    discriminator_layers: int = Field(
        3, ge=1, le=5, description="Strided layers of a discriminator"
    )
    judged_grain: bool = Field(
        False,
        description="Whether the discriminators see the grain: only where the images follow it",
    )
    feature_weight: float = Field(10.0, ge=0, description="Weight of feature matching")
    l1_weight: float = Field(5.0, ge=0, description="Weight of the mean absolute difference")
    noise_weight: float = Field(
        10.0,
        ge=0,
        description="Weight of how much weaker or stronger than the images' the noise is",
    )
    perceptual_weight: float = Field(
        10.0, ge=0, description="Weight of the perceptual term, where its weights file is given"
    )
    window: int = Field(
        8,
        ge=1,
        le=256,
        description="Pixels over which images and features are averaged before they are compared",
    )
    frozen_share: float = Field(
        0.4, gt=0, lt=1, description="Last share of the training, with frozen normalisation"
    )
    coarse_share: float = Field(
        0.3, ge=0, lt=1, description="First share of the training, without the enhancer"
    )
    average: float = Field(0.998, ge=0, lt=1, description="Decay per step of the averaged weights")

    @model_validator(mode="after")
    def _enhancer_is_measured(self) -> TextureRecipe:
        # Its normalisation has to see images before it is frozen.
        if self.coarse_share + self.frozen_share >= 1:
            raise ValueError(
                f"coarse_share must be below 1 - frozen_share = {1 - self.frozen_share:g}, "
                f"got {self.coarse_share:g}"
            )
        return self


class TextureTraining(StrictModel):
    """How and for how long the texture was trained."""

    seed: int = Field(ge=0, description="Seed of everything random in the training")
    steps: int = Field(ge=0, description="Steps taken")
    seconds: float = Field(ge=0, description="Wall time taken")
    pairs: int = Field(ge=1, description="Images, each with its mask")
    versions: dict[str, str] = Field(description="Versions of what trained it")
    recipe: TextureRecipe


class TextureSpec(StrictModel):
    """From masks to images, as one microscope sees them."""

    mode: Mode = Field(description="mip: maximum projections; 3d: slices with their neighbours")
    pixel_size_um: float = Field(gt=0, description="Size of a pixel that the generator knows")
    depth_um: float | None = Field(None, gt=0, description="Distance of the slices trained on")
    conditions: Annotated[tuple[Condition, ...], Strict(False)] = Field(
        ("mask", "boundary", "distance", "grain"), description="What the generator sees of a slice"
    )
    reach_um: float = Field(gt=0, description="Distances to the boundary are cut off here")
    grain_um: float = Field(gt=0, description="Size of the grain's largest features")
    grain_octaves: int = Field(3, ge=1, le=12, description="Octaves of the grain")
    generator: GeneratorSpec
    intensities: Intensities
    brightness: BrightnessSpec | None = Field(
        None, description="How bright cells are, where that is a condition"
    )
    background: BackgroundSpec | None = Field(
        None, description="How bright the background is, where that is a condition"
    )
    training: TextureTraining
    origin: Origin

    @model_validator(mode="after")
    def _measured_is_described(self) -> TextureSpec:
        for name in ("brightness", "background"):
            described = getattr(self, name) is not None
            if described != (name in self.conditions):
                raise ValueError(
                    f"{name} is described, but not among the conditions"
                    if described
                    else f"{name} is missing, though it is among the conditions"
                )
        return self

    @model_validator(mode="after")
    def _conditions_differ(self) -> TextureSpec:
        if not self.conditions or len(set(self.conditions)) != len(self.conditions):
            raise ValueError(f"conditions must name each once, got {list(self.conditions)}")
        if self.mode == "3d" and self.depth_um is None:
            raise ValueError("depth_um is missing; a texture in 3d needs the distance of slices")
        return self

    @property
    def slices(self) -> int:
        """Slices whose conditions the generator sees: 1, or a slice and its two neighbours."""
        return 3 if self.mode == "3d" else 1

    @property
    def inputs(self) -> int:
        """Channels that the generator takes: conditions, slice by slice, then the noise."""
        return len(self.conditions) * self.slices + self.generator.noise
