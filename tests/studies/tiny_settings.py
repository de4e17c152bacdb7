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


_MAKERS = {"compactness": _compactness}
