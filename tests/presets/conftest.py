"""A small preset, its tensors, and its bundle on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cellsynth.presets.bundle import expected_tensors, write_bundle
from cellsynth.presets.models import (
    Bound,
    FieldSpec,
    Gaussian,
    Neighbourhood,
    Origin,
    Preset,
    Recipe,
    Sampling,
    Scale,
    Topology,
    Training,
)

EVALUATION = {
    "dsc": {
        "mean": 0.9812,
        "worst": 0.9431,
        "worst_where": "sequence 2, frame 17",
        "per_sequence": [0.98, 0.97, 0.985],
    },
    "grid": 256,
    "latents": {"std": 0.0123},
    "versions": {"numpy": "2.0"},
    "seed": 7,
}


@pytest.fixture
def preset() -> Preset:
    return Preset(
        format=1,
        name="tiny",
        title="Tiny cells",
        description="Cells of the tests.",
        licence="CC0-1.0",
        scale=Scale(half_extent_um=5, frame_interval_s=None, n_frames=4, assumed=("voxel size",)),
        field=FieldSpec(hidden_layers=3, width=8, latent_dim=4, latent_layers=(1, 3)),
        bound=Bound(slopes=(1.2, 1.3, 1.4, 1.5)),
        sampling=Sampling(
            strategy="gaussian",
            gaussian=Gaussian(sigma=0.01),
            neighbourhood=Neighbourhood(sigma=0.005),
        ),
        topology=Topology(begin_cells=1, divisions=1, end_cells=2),
        training=Training(
            recipe=Recipe(),
            seed=7,
            steps=100,
            seconds=12.5,
            sequences=3,
            frames=12,
            versions={"numpy": "2.0", "odd name": 'with "quotes"'},
        ),
        origin=Origin(
            data="Three spheres.",
            licence="CC-BY-4.0",
            source="doi:10.0/0",
            limits="None of it is a cell.",
            commands=("cellsynth phantom celegans --out p", "cellsynth train-preset p --name tiny"),
        ),
    )


@pytest.fixture
def tensors(preset: Preset) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = expected_tensors(preset.field, preset.training.sequences)
    return {name: rng.standard_normal(s).astype(np.float32) for name, s in shapes.items()}


@pytest.fixture
def evaluation() -> dict[str, object]:
    return dict(EVALUATION)


@pytest.fixture
def folder(tmp_path: Path, preset: Preset, tensors: dict[str, np.ndarray]) -> Path:
    """A bundle on disk."""
    path = tmp_path / "library" / "tiny"
    write_bundle(path, preset, tensors, card="# Tiny\n", evaluation=EVALUATION, preview=b"\x89PNG")
    return path
