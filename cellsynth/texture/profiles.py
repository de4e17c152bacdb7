"""What a simulated microscope is made of, as typed models, and where profiles are found.

A profile is a TOML file of the keys below. Three are shipped, in the folder ``profiles`` beside
this file; a user's own is given by its path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints, model_validator

from cellsynth.errors import MissingError
from cellsynth.presets.named import find_named
from cellsynth.presets.toml import from_toml

__all__ = [
    "Actin",
    "Background",
    "Camera",
    "Chromatin",
    "Fluorophore",
    "Optics",
    "OpticsProfile",
    "find_profile",
    "profile_for",
    "shipped_profiles",
]

_FOLDER = Path(__file__).parent / "profiles"

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Modality = Literal["widefield", "confocal", "spinning-disk", "light-sheet"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Optics(_Model):
    """Objective and modality: what the point spread function is computed from."""

    modality: Modality = Field(description="How planes are told apart")
    magnification: float = Field(gt=0, description="Of the objective; names it, computes nothing")
    na: float = Field(gt=0.05, le=1.7, description="Numerical aperture")
    immersion_index: float = Field(ge=1, le=2, description="Refractive index under the objective")
    sample_index: float = Field(ge=1, le=2, description="Refractive index of the sample")
    depth_um: float = Field(
        0.0, ge=0, le=1000, description="Depth in the sample, where its index aberrates"
    )
    excitation_nm: float = Field(gt=200, lt=2000, description="Wavelength that excites")
    emission_nm: float = Field(gt=200, lt=2000, description="Wavelength that is detected")
    pinhole_airy: float | None = Field(
        None, ge=0, le=10, description="Diameter of the pinhole in Airy units (confocal)"
    )
    sheet_um: float | None = Field(
        None, gt=0, le=100, description="Thickness of the light sheet, full width at half maximum"
    )
    z_step_um: float = Field(gt=0, description="Distance of planes in a stack that is projected")

    @model_validator(mode="after")
    def _parts_fit(self) -> Optics:
        if self.na >= self.immersion_index:
            raise ValueError(f"na must be below immersion_index, got {self.na}")
        confocal = self.modality in {"confocal", "spinning-disk"}
        if confocal == (self.pinhole_airy is None):
            raise ValueError(f"pinhole_airy {'is missing' if confocal else 'must be left out'}")
        if (self.modality == "light-sheet") == (self.sheet_um is None):
            missing = self.sheet_um is None
            raise ValueError(f"sheet_um {'is missing' if missing else 'must be left out'}")
        return self


class _Grained(_Model):
    """A fluorophore with a grain; the same grain conditions a generator trained on it."""

    grain_um: float = Field(gt=0, description="Diameter of the coarsest grains")
    grain_octaves: int = Field(3, ge=1, le=8, description="Each half as fine as the one before")
    contrast: float = Field(
        ge=0, le=3, description="Standard deviation of the logarithm of the density"
    )


class Chromatin(_Grained):
    """Labelled histones: grain throughout the nucleus, which condenses before it divides."""

    kind: Literal["chromatin"]
    condensed_contrast: float = Field(ge=0, le=3, description="The same, at a division")
    condensed_brightness: float = Field(
        1.0, gt=0, le=20, description="Density at a division, in units of that between divisions"
    )
    condensing_frames: int = Field(ge=0, description="Frames before a division in which it happens")
    relaxing_frames: int = Field(ge=0, description="Frames after a division in which it is undone")


class Actin(_Grained):
    """Labelled actin: a bright cortex, thin parts brighter, some throughout the cell."""

    kind: Literal["actin"]
    cytoplasm: float = Field(ge=0, description="Density throughout the cell")
    cortex: float = Field(ge=0, description="Density added at the surface")
    cortex_um: float = Field(gt=0, description="Thickness of the cortex")
    filopodia: float = Field(ge=0, description="Density added in parts that are thin")
    filopodia_um: float = Field(gt=0, description="Diameter under which a part is thin")


Fluorophore = Annotated[Chromatin | Actin, Field(discriminator="kind")]


class Brightness(_Model):
    """How much light there is. Photons are detected ones, in one pixel and one exposure."""

    photons: float = Field(
        gt=0, le=1e6, description="From the midst of a large evenly labelled object of density 1"
    )
    variation: float = Field(
        0.0, ge=0, le=2, description="Standard deviation of its logarithm between sequences"
    )
    bleaching: float = Field(0.0, ge=0, lt=1, description="Share lost from a frame to the next")


class Background(_Model):
    """Light that comes from no cell: out of focus, autofluorescence, stray."""

    photons: float = Field(ge=0, le=1e6, description="Mean in a pixel and exposure")
    unevenness: float = Field(
        0.0, ge=0, le=2, description="Standard deviation of its logarithm over the frame"
    )
    feature_um: float = Field(10.0, gt=0, description="Diameter of brighter and darker areas")


class Camera(_Model):
    """From photoelectrons to counts."""

    bits: Literal[8, 12, 16] = Field(description="Range of counts, from 0")
    offset: float = Field(ge=0, le=60000, description="Counts without light")
    gain: float = Field(gt=0, le=10000, description="Counts of one photoelectron")
    read_noise: float = Field(ge=0, le=1000, description="Standard deviation, in electrons")
    excess_noise: float = Field(
        1.0, ge=1, le=4, description="Factor by which multiplication raises the variance of shots"
    )


class OpticsProfile(_Model):
    """A simulated microscope with its sample."""

    name: Name = Field(description="What --profile takes, where it is shipped")
    title: str = Field(min_length=1, max_length=200)
    for_presets: Annotated[tuple[str, ...], Strict(False)] = Field(
        (), description="Presets that it is the default of"
    )
    optics: Optics
    fluorophore: Fluorophore
    brightness: Brightness
    background: Background
    camera: Camera
    sources: dict[str, str] = Field(
        default_factory=dict, description="Where a value comes from, by its key"
    )

    @model_validator(mode="after")
    def _sources_name_keys(self) -> OpticsProfile:
        data = self.model_dump()
        for path in self.sources:
            section, _, key = path.partition(".")
            if key not in data.get(section, {}) if key else section not in data:
                raise ValueError(f"sources: {path} names no key of the profile")
        return self


def shipped_profiles() -> dict[str, OpticsProfile]:
    """The profiles that come with the package, by name."""
    found = {}
    for path in sorted(_FOLDER.glob("*.toml")):
        text = path.read_text(encoding="utf-8")
        found[path.stem] = from_toml(text, OpticsProfile, f"profile {path.stem}")
    return found


def find_profile(name: str | Path) -> OpticsProfile:
    """The shipped profile of that name, or the one in that TOML file.

    Raises:
        MissingError: Neither a known name nor a file; the message lists the names.
        BundleError: A key or value that the model refuses.
        FormatError, StorageError: The file is no text, or cannot be read.
    """
    return find_named("profile", str(name), shipped_profiles(), OpticsProfile)


def profile_for(preset: str) -> OpticsProfile:
    """The shipped profile that suits a preset.

    Raises:
        MissingError: None names it; the message lists those there are.
    """
    known = shipped_profiles()
    for profile in known.values():
        if preset in profile.for_presets:
            return profile
    raise MissingError(
        f"no microscope is known for preset {preset!r}; pass --profile {', '.join(known)} "
        "or a TOML file"
    )
