"""What a preset says about itself, as typed models that refuse what they do not know.

Every model is frozen, forbids unknown keys, converts nothing silently (``"30"`` is no number) and
admits neither NaN nor infinity. ``preset.toml`` is a :class:`Preset`, section for section.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, Strict, StringConstraints, model_validator

from cellsynth.presets.base import Integers, Origin, StrictModel, Text, Texts
from cellsynth.presets.recipe import Recipe
from cellsynth.presets.texture import TextureSpec

__all__ = [
    "Bound",
    "FieldSpec",
    "Gaussian",
    "Kernel",
    "Mixture",
    "Neighbourhood",
    "Origin",
    "Preset",
    "PresetNames",
    "Recipe",
    "Sampling",
    "Scale",
    "Strategy",
    "TextureSpec",
    "Topology",
    "Training",
]

COORDS = 4  # x, y, z, t

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Spdx = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+() -]{0,99}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class FieldSpec(StrictModel):
    """The network f(code, x, y, z, t) → signed distance.

    Layers are counted from 1, as in the paper. The default is the paper's SIREN auto-decoder;
    DeepSDF in 3D+t is the same class with other settings.
    """

    kind: Literal["siren", "relu"] = Field("siren", description="Activation")
    hidden_layers: int = Field(9, ge=1, le=64, description="Hidden layers")
    width: int = Field(128, ge=1, le=4096, description="Units of a hidden layer")
    latent_dim: int = Field(64, ge=1, le=4096, description="Length of a code")
    latent_layers: Integers = Field(
        (1, 5, 8), description="Layers that take the code, counted from 1"
    )
    coords_layers: Literal["all", "first", "latent", "all+output"] = Field(
        "all",
        description="Layers that take x, y, z, t; latent means those that take the code",
    )
    omega_0: float = Field(30.0, gt=0, le=1000, description="Frequency of the sines")
    widths_include_inputs: bool = Field(
        False, description="Whether the width counts what is concatenated, as in the authors' files"
    )
    experts: int = Field(
        0,
        ge=0,
        le=64,
        description="Matrices that the code mixes into that of each hidden layer but the first",
    )
    equivariant: bool = Field(True, description="Whether each sequence has its own rotation")
    output: Literal["linear", "tanh"] = Field("linear", description="Activation at the end")
    truncation: float = Field(
        0.2, gt=0, le=2, description="Beyond this distance (units of Ω) values mean nothing"
    )
    domain: Literal["ball", "cube"] = Field("ball", description="Where in Ω the field is defined")

    @model_validator(mode="after")
    def _layers_fit(self) -> FieldSpec:
        layers = self.latent_layers
        if not layers or list(layers) != sorted(set(layers)):
            raise ValueError(f"latent_layers must be ascending, got {list(layers)}")
        if layers[0] < 1 or layers[-1] > self.hidden_layers:
            raise ValueError(
                f"latent_layers must lie in 1 to {self.hidden_layers}, got {list(layers)}"
            )
        widest = max((self._concatenated(i) for i in range(2, self.hidden_layers + 2)), default=0)
        if self.widths_include_inputs and self.width <= widest:
            raise ValueError(
                f"width must be above {widest}, the inputs that it includes, got {self.width}"
            )
        return self

    def _concatenated(self, layer: int) -> int:
        """How many inputs layer ``layer`` (from 1) takes besides the previous layer's."""
        latent = self.latent_dim if layer in self.latent_layers else 0
        return latent + (COORDS if self.takes_coords(layer) else 0)

    def takes_coords(self, layer: int) -> bool:
        """Whether layer ``layer`` (from 1, the output layer last) takes x, y, z, t."""
        if layer > self.hidden_layers:
            return self.coords_layers == "all+output"
        if self.coords_layers == "latent" and layer in self.latent_layers:
            return True
        return layer == 1 or self.coords_layers in {"all", "all+output"}

    def layer_shapes(self) -> tuple[tuple[int, int], ...]:
        """Shapes ``(out, in)`` of all weight matrices, the output layer last.

        The input of a layer is, in this order, the previous layer (absent for the first), the
        code where the layer takes it, and x, y, z, t where the layer takes them.
        """
        shapes = []
        previous = 0
        for layer in range(1, self.hidden_layers + 1):
            out = self.width
            if self.widths_include_inputs:
                out -= self._concatenated(layer + 1)
            shapes.append((out, previous + self._concatenated(layer)))
            previous = out
        return (*shapes, (1, previous + self._concatenated(self.hidden_layers + 1)))


class Scale(StrictModel):
    """The one physical scale of a preset."""

    half_extent_um: float = Field(gt=0, description="Half the side of Ω in µm")
    frame_interval_s: float | None = Field(None, gt=0, description="Seconds between two frames")
    n_frames: int = Field(ge=1, description="Frames of a training sequence")
    assumed: Texts = Field((), description="What neither metadata nor user gave")


class Bound(StrictModel):
    """How steep the trained field is; the renderer decides by it where to look.

    A field is gentle near its surface and may be steep further off, so the slope is kept for
    four ranges of |f|, and a value is trusted only as far as the range it lies in allows.
    """

    slopes: Annotated[tuple[float, float, float, float], Strict(False)] = Field(
        description="Largest where |f| is below 1/4 … 4/4 of the truncation"
    )
    margin: float = Field(1.25, ge=1, description="Safety factor on those slopes")

    @model_validator(mode="after")
    def _slopes_rise(self) -> Bound:
        if self.slopes[0] <= 0 or list(self.slopes) != sorted(self.slopes):
            raise ValueError(f"slopes must be above 0 and not fall, got {list(self.slopes)}")
        return self

    def threshold(self, radius: float, truncation: float) -> float:
        """Smallest |f| at a point that rules out a surface within ``radius`` of it.

        On the way from a surface to a point where |f| = v, the field climbs from 0 to v through
        the ranges of |f| in between; each takes at least its width over its slope of the way.
        Infinite where no value that means something is large enough.
        """
        width = truncation / len(self.slopes)
        value, left = 0.0, radius
        for slope in self.slopes:
            way = width / (self.margin * slope)
            if left <= way:
                return value + left * self.margin * slope
            value, left = value + width, left - way
        return math.inf


class Gaussian(StrictModel):
    """New codes are drawn around zero."""

    sigma: float = Field(gt=0, description="Standard deviation of a code around zero")


class Neighbourhood(StrictModel):
    """New codes are drawn around learned ones."""

    sigma: float = Field(gt=0, description="Standard deviation of a code around a learned one")


class Mixture(StrictModel):
    """New codes are drawn from normal distributions fitted to groups of learned codes.

    A group's mean and covariance are those of the learned codes in it, so the groups are all that
    is kept. One group is a single normal distribution with the covariance of all codes.
    """

    members: Integers = Field(description="Group, from 0, that each learned code belongs to")
    width: float = Field(1.0, gt=0, description="Factor on the standard deviations of each group")

    @model_validator(mode="after")
    def _groups_have_members(self) -> Mixture:
        numbers = sorted(set(self.members))
        if numbers != list(range(len(numbers))) or not numbers:
            raise ValueError(f"members must number groups 0, 1, … without a gap, got {numbers}")
        return self


class Kernel(StrictModel):
    """New codes are drawn around learned ones, with the covariance that the learned codes have.

    The learned codes are drawn towards their mean, so that the covariance stays what it is.
    """

    width: float = Field(
        gt=0, le=1, description="Share of the learned codes' standard deviation that is drawn anew"
    )


Strategy = Literal["gaussian", "neighbourhood", "mixture", "kernel"]


class Sampling(StrictModel):
    """How new codes are drawn."""

    strategy: Strategy = Field(description="Used unless told otherwise")
    gaussian: Gaussian
    neighbourhood: Neighbourhood
    mixture: Mixture | None = Field(None, description="Absent where it was not calibrated")
    kernel: Kernel | None = Field(None, description="Absent where it was not calibrated")

    @model_validator(mode="after")
    def _strategy_is_there(self) -> Sampling:
        if getattr(self, self.strategy) is None:
            raise ValueError(f"strategy is {self.strategy}, which has no section of its own")
        return self


class Topology(StrictModel):
    """What a sequence must look like to be kept."""

    begin_cells: int = Field(1, ge=1, description="Cells in the first frame")
    divisions: int = Field(0, ge=0, description="Divisions in the sequence")
    end_cells: int = Field(1, ge=1, description="Cells in the last frame")
    smallest_share: float = Field(
        0.01,
        ge=0,
        lt=1,
        description="Loose pieces below this share of the frame's volume are dropped, "
        "larger ones fail the sequence",
    )
    judged_at: int = Field(
        64, ge=8, le=1024, description="Voxels across Ω of the grid that a draw is judged on"
    )

    @model_validator(mode="after")
    def _cells_come_from_cells(self) -> Topology:
        # A division is a cell gained; none is ever lost.
        end = self.begin_cells + self.divisions
        if self.end_cells != end:
            raise ValueError(
                f"end_cells must be begin_cells + divisions = {end}, got {self.end_cells}"
            )
        return self


class Training(StrictModel):
    """How and for how long the field was trained."""

    seed: int = Field(ge=0, description="Seed of everything random in the training")
    start: Text | None = Field(None, description="Preset that the field was started from, and hash")
    steps: int = Field(ge=0, description="Steps taken")
    seconds: float = Field(ge=0, description="Wall time taken")
    sequences: int = Field(ge=1, description="Training sequences, each with a code and a rotation")
    frames: int = Field(ge=1, description="Frames of all sequences together")
    versions: dict[str, str] = Field(description="Versions of what trained it")
    recipe: Recipe


class PresetNames(StrictModel):
    """Of a :class:`Preset`, what can be judged before there is one."""

    name: Slug = Field(description="What --preset takes")
    licence: Spdx = Field(description="Licence of the weights, as an SPDX expression")


class Preset(StrictModel):
    """Everything that ``preset.toml`` says; ``files`` is filled when the bundle is written."""

    format: Literal[1] = Field(description="Version of the bundle's format")
    name: Slug = Field(description="What --preset takes")
    title: Text
    description: Text
    licence: Spdx = Field(description="Licence of the weights, as an SPDX expression")
    scale: Scale
    field: FieldSpec
    bound: Bound
    sampling: Sampling
    topology: Topology
    training: Training
    origin: Origin
    texture: TextureSpec | None = Field(None, description="Absent where none was trained")
    files: dict[FileName, Sha256] = Field(
        default_factory=dict, description="SHA-256 of each file beside this one"
    )

    @model_validator(mode="after")
    def _mixture_knows_all_codes(self) -> Preset:
        mixture = self.sampling.mixture
        if mixture and len(mixture.members) != self.training.sequences:
            raise ValueError(
                f"sampling.mixture.members must be {self.training.sequences}, one a training "
                f"sequence, got {len(mixture.members)}"
            )
        return self
