"""Settings that make a study end in seconds; it then shows that it runs, not what is so."""

from __future__ import annotations

from typing import Any

from cellsynth.presets.models import FieldSpec
from cellsynth.presets.recipe import Recipe
from cellsynth.studies.fields import Learning
from cellsynth.studies.phantom_cells import Cells

FIELD = FieldSpec(hidden_layers=2, width=16, latent_dim=4, latent_layers=(1,))
RECIPE = Recipe(
    pool_points=512, frames_per_step=8, points_per_frame=32, learning_rate=5e-3, coords_gain=4.0
)
LEARNING = Learning(steps=40, recipe=RECIPE, field=FIELD)
FILOPODIA = Cells(kind="a549", count=2, frames=(0, 29), across=24)


def tiny(name: str) -> Any:
    """The settings of a study."""
    return _MAKERS[name]()


def _compactness() -> Any:
    from cellsynth.studies.compactness import CompactnessSettings

    return CompactnessSettings(
        cells=Cells(kind="platynereis", count=2, frames=(0, 29), across=20),
        copies=2,
        latent_dims=(2, 3),
        mapped=3,
        measured=3,
        learning=LEARNING,
    )


def _omega() -> Any:
    from cellsynth.studies.omega import OmegaSettings

    return OmegaSettings(cells=FILOPODIA, omegas=(10.0, 30.0), learning=LEARNING)


def _deepsdf() -> Any:
    from cellsynth.studies.deepsdf import DeepSdfSettings

    relu = FieldSpec(
        kind="relu", hidden_layers=2, width=24, latent_dim=4, latent_layers=(1,), equivariant=False
    )
    return DeepSdfSettings(
        cells=FILOPODIA, steps=40, recipe=RECIPE, every=20, siren=FIELD, deepsdf=relu
    )


def _time_interpolation() -> Any:
    from cellsynth.studies.time_interpolation import TimeSettings

    return TimeSettings(
        cells=Cells(kind="a549", count=2, course=5, across=24), every=2, learning=LEARNING
    )


def _space_interpolation() -> Any:
    from cellsynth.studies.space_interpolation import SpaceSettings

    return SpaceSettings(
        cells=FILOPODIA.model_copy(update={"across": 32}),
        trained=(16, 32),
        rendered=(8, 16, 32),
        learning=LEARNING,
    )


def _classification() -> Any:
    from cellsynth.studies.classification import ClassificationSettings

    return ClassificationSettings(
        cells=tuple(
            Cells(kind=kind, count=2, frames=(0, 29), across=32)
            for kind in ("platynereis", "celegans", "a549")
        ),
        learning=LEARNING,
    )


def _exploration() -> Any:
    from cellsynth.studies.exploration import ExplorationSettings

    # Which preset is for the test to say.
    return ExplorationSettings(preset="platynereis", frames=2)


def _reconstruction() -> Any:
    from cellsynth.studies.reconstruction import Kind, ReconstructionSettings

    two = (0, 29)
    return ReconstructionSettings(
        kinds=(
            Kind(
                cells=Cells(kind="celegans", count=2, frames=two, across=32),
                strategy="gaussian",
                spread=1.0,
                divides=True,
            ),
            Kind(
                cells=Cells(kind="a549", count=2, frames=two, across=24),
                strategy="neighbourhood",
                spread=0.7,
            ),
        ),
        learning=LEARNING,
        exchanges=9,
    )


def _texture() -> Any:
    from cellsynth.studies.texture import TexturedKind, TextureSettings

    return TextureSettings(
        kinds=(TexturedKind(kind="celegans", preset="celegans", voxel_size_um=(0.5, 0.18, 0.18)),),
        sequences=1,
        frames=2,
        patch=32,
    )


_MAKERS = {
    "reconstruction": _reconstruction,
    "texture": _texture,
    "compactness": _compactness,
    "omega": _omega,
    "deepsdf": _deepsdf,
    "time-interpolation": _time_interpolation,
    "space-interpolation": _space_interpolation,
    "classification": _classification,
    "exploration": _exploration,
}
