"""Presets that need no training: networks whose weights are written down, not learned.

The mean of relu(n·x) over directions n all around is |x|/4. One hidden layer of such units is
therefore a sphere, 4·mean(relu(n·x)) - r, with a slope of 1 but for a percent; biases that depend
on code and time make its radius do so. A second layer takes the nearer of two spheres:
min(a, b) = a - relu(a - b).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cellsynth.presets.bundle import Bundle, expected_tensors, write_bundle
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

DIRECTIONS = 48
SEQUENCES = 3
HALF_EXTENT_UM = 5.0
RADIUS = 0.4  # of the sphere, in units of Ω, at a code of zero


@pytest.fixture(scope="session")
def sphere_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One cell, a sphere of 2 µm that the code makes larger or smaller; no division; 4 frames."""
    spec = FieldSpec(
        kind="relu",
        hidden_layers=1,
        width=DIRECTIONS,
        latent_dim=2,
        latent_layers=(1,),
        coords_layers="first",
    )
    weight, bias = _distance_units(center_moves=0.0)
    tensors = {
        "field.layers.0.weight": weight,
        "field.layers.0.bias": bias,
        "field.layers.1.weight": np.full((1, DIRECTIONS), 4 / DIRECTIONS),
        "field.layers.1.bias": np.array([-RADIUS]),
    }
    return _write(tmp_path_factory.mktemp("presets") / "sphere", spec, tensors, Topology())


@pytest.fixture(scope="session")
def dividing_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One sphere that becomes two: they start as one and move apart along x; 4 frames."""
    n = DIRECTIONS
    spec = FieldSpec(
        kind="relu",
        hidden_layers=2,
        width=2 * n,
        latent_dim=2,
        latent_layers=(1,),
        coords_layers="first",
    )
    left, right = (_distance_units(center_moves=move) for move in (-0.25, 0.25))
    # Second layer: unit 0 is a + 1, which is above 0, unit 1 is a - b; the rest do nothing.
    second = np.zeros((2 * n, 2 * n))
    second[0, :n] = second[1, :n] = 4 / n
    second[1, n:] = -4 / n
    bias = np.zeros(2 * n)
    bias[0] = 1
    last = np.zeros((1, 2 * n))
    last[0, :2] = 1, -1
    tensors = {
        "field.layers.0.weight": np.concatenate([left[0], right[0]]),
        "field.layers.0.bias": np.concatenate([left[1], right[1]]),
        "field.layers.1.weight": second,
        "field.layers.1.bias": bias,
        "field.layers.2.weight": last,
        "field.layers.2.bias": np.array([-1 - 0.3]),
    }
    topology = Topology(begin_cells=1, divisions=1, end_cells=2)
    return _write(tmp_path_factory.mktemp("presets") / "dividing", spec, tensors, topology)


@pytest.fixture
def no_presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the presets of this machine's user nor those of the package are found."""
    from cellsynth.presets import catalogue

    monkeypatch.delenv(catalogue.VARIABLE, raising=False)
    monkeypatch.setattr(catalogue, "user_folder", lambda: tmp_path / "user")
    monkeypatch.setattr(catalogue, "_shipped", lambda: tmp_path / "shipped")


def _distance_units(*, center_moves: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights ``(units, [z z x y z t])`` and biases of units whose mean is a fourth of |x - c|.

    The centre c moves along x from 0 at t = -1 to ``2 * center_moves`` at t = 1.
    """
    i = np.arange(DIRECTIONS) + 0.5
    height = 1 - 2 * i / DIRECTIONS
    around = np.pi * (1 + 5**0.5) * i
    ring = np.sqrt(1 - height**2)
    normals = np.stack([ring * np.cos(around), ring * np.sin(around), height], axis=1)
    weight = np.zeros((DIRECTIONS, 6))
    weight[:, 0] = -0.5  # a larger first code, a larger sphere
    weight[:, 2:5] = normals
    weight[:, 5] = -center_moves * normals[:, 0]
    return weight, -center_moves * normals[:, 0]


def _write(
    folder: Path, spec: FieldSpec, tensors: dict[str, NDArray[np.float64]], topology: Topology
) -> Bundle:
    rng = np.random.default_rng(0)
    shapes = expected_tensors(spec, SEQUENCES)
    tensors["latents"] = 0.03 * rng.standard_normal(shapes["latents"])
    tensors["rotations"] = np.zeros(shapes["rotations"])
    preset = Preset(
        format=1,
        name=folder.name,
        title=f"A {folder.name} cell",
        description="A cell of the tests, in closed form.",
        licence="CC0-1.0",
        scale=Scale(half_extent_um=HALF_EXTENT_UM, frame_interval_s=30, n_frames=4),
        field=spec,
        bound=Bound(slopes=(1.1, 1.1, 1.1, 1.1)),
        sampling=Sampling(
            strategy="gaussian",
            gaussian=Gaussian(sigma=0.03),
            neighbourhood=Neighbourhood(sigma=0.01),
        ),
        topology=topology,
        training=Training(
            recipe=Recipe(),
            seed=0,
            steps=0,
            seconds=0,
            sequences=SEQUENCES,
            frames=4 * SEQUENCES,
            versions={},
        ),
        origin=Origin(
            data="A formula.",
            licence="CC0-1.0",
            source="Closed form.",
            limits="No cell ever looked like it.",
            commands=("pytest",),
        ),
    )
    evaluation = {"dsc": {"mean": 0.9876, "worst": 0.9, "worst_where": "nowhere"}}
    return write_bundle(folder, preset, tensors, card=f"# {folder.name}\n", evaluation=evaluation)
