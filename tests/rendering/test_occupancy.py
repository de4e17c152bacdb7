"""Hierarchical against dense: no voxel differs, whatever the field and the grid."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cellsynth.field.decoder import Decoder
from cellsynth.field.folded import FoldedDecoder
from cellsynth.geometry import Grid, random_rotation
from cellsynth.presets.models import Bound, FieldSpec
from cellsynth.rendering import occupancy as occupancy_module
from cellsynth.rendering.occupancy import occupancy, occupancy_dense

CLOSED_FORM = Bound(slopes=(1.1, 1.1, 1.1, 1.1))


def random_field(seed: int) -> tuple[FoldedDecoder, Bound]:
    """An untrained field whose surface halves the ball, and how steep it is at the most."""
    rng = np.random.default_rng(seed)
    spec = FieldSpec(
        hidden_layers=int(rng.integers(1, 4)),
        width=16,
        latent_dim=4,
        latent_layers=(1,),
        omega_0=float(rng.choice([5.0, 15.0, 30.0])),
        truncation=float(rng.choice([0.1, 0.2, 1.0])),
        domain=str(rng.choice(["ball", "cube"])),
    )
    decoder = Decoder(spec, generator=torch.Generator().manual_seed(seed))
    frame = {
        "latent": torch.from_numpy(rng.standard_normal(4).astype(np.float32)),
        "time": float(rng.uniform(-1, 1)),
        "rotation": random_rotation(rng),
    }
    coords = rng.uniform(-1.2, 1.2, (20_000, 3))

    def slope_and_median() -> tuple[float, float]:
        field = FoldedDecoder(decoder, **frame)
        value = field.sdf(coords, exact=True)
        steps = [field.sdf(coords + 1e-5 * e, exact=True) - value for e in np.eye(3)]
        return float(np.linalg.norm(steps, axis=0).max() / 1e-5), float(np.median(value))

    with torch.no_grad():
        slope, median = slope_and_median()
        decoder.output.weight /= slope
        decoder.output.bias.copy_((decoder.output.bias - median) / slope)
    # Slopes are 1 at the points looked at; elsewhere they may be somewhat larger.
    return FoldedDecoder(decoder, **frame), Bound(slopes=(1.2, 1.2, 1.2, 1.2), margin=1.2)


@st.composite
def grids(draw) -> Grid:
    """Grids of any shape: cubic or flat, coarse or fine, over Ω or a corner of it."""
    shape = draw(st.tuples(*[st.integers(1, 33)] * 3))
    if draw(st.booleans()):
        return Grid.over_omega(shape)
    spacing = draw(st.tuples(*[st.sampled_from([0.004, 0.011, 0.03, 0.1])] * 3))
    centre = draw(st.tuples(*[st.floats(-1, 1)] * 3))
    origin = tuple(c - (n - 1) / 2 * s for c, n, s in zip(centre, shape, spacing, strict=True))
    return Grid(shape, spacing, origin)


def assert_same(field: FoldedDecoder, grid: Grid, bound: Bound) -> np.ndarray:
    """Hierarchical is dense; returns the mask."""
    found = occupancy(field, grid, bound=bound)
    assert found.shape == grid.shape
    dense = occupancy_dense(field, grid)
    differing = np.argwhere(found.to_dense() != dense)
    assert not len(differing), f"{len(differing)} voxels of {grid} differ, first {differing[0]}"
    return dense


def sphere_at(sphere, radius: float | None, rotation=None) -> FoldedDecoder:
    """The sphere of that radius, at least 0.1, or none.

    Units relu(n·x - a) have a mean of (|x| - a)² / 4|x|, and a is half the first code.
    """
    rotation = np.eye(3) if rotation is None else rotation
    code = -0.5 if radius is None else 2 * (radius - math.sqrt(0.4 * radius))
    return sphere.at(np.array([code, 0], np.float32), 0.0, rotation)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10_000), grids())
def test_random_fields_on_random_grids(seed, grid):
    field, bound = random_field(seed)
    assert_same(field, grid, bound)


@pytest.mark.parametrize("shape", [(96, 96, 96), (17, 130, 101), (7, 64, 200)])
def test_random_fields_on_grids_that_are_interpolated(shape):
    for seed in range(3):
        field, bound = random_field(100 + seed)
        mask = assert_same(field, Grid.over_omega(shape), bound)
        assert mask.any()
        assert not mask.all()


@settings(max_examples=60, deadline=None)
@given(st.floats(0.1, 1.3), grids(), st.integers(0, 100))
def test_spheres_on_random_grids(sphere, radius, grid, seed):
    rotation = random_rotation(np.random.default_rng(seed))
    assert_same(sphere_at(sphere, radius, rotation), grid, CLOSED_FORM)


@pytest.mark.parametrize("time", [-1.0, -0.2, 0.0, 0.15, 1.0])
@pytest.mark.parametrize("shape", [(128, 128, 128), (21, 150, 99)])
def test_a_dividing_cell(dividing, time, shape):
    rotation = random_rotation(np.random.default_rng(5))
    field = dividing.at(np.zeros(2, np.float32), time, rotation)
    assert assert_same(field, Grid.over_omega(shape), dividing.preset.bound).any()


def test_a_sphere_has_a_sphere_s_volume(sphere):
    grid = Grid.over_omega((100, 100, 100))
    found = occupancy(sphere_at(sphere, 0.5), grid, bound=CLOSED_FORM)
    expected = 4 / 3 * math.pi * 0.5**3 / 0.02**3
    # The field is a sphere but for a percent of its radius.
    assert found.inside.sum() == pytest.approx(expected, rel=0.05)


def test_no_cell(sphere):
    grid = Grid.over_omega((40, 50, 60))
    found = occupancy(sphere_at(sphere, None), grid, bound=CLOSED_FORM)
    assert not found.to_dense().any()
    assert found.to_dense().shape == grid.shape
    assert 0 < found.evaluations < grid.size / 10


def test_a_cell_smaller_than_a_voxel(sphere):
    """The middle voxel's centre lies in it, or no voxel's."""
    for n, voxels in ((3, 1), (2, 0)):
        field = sphere_at(sphere, 0.12)
        assert assert_same(field, Grid.over_omega((n, n, n)), CLOSED_FORM).sum() == voxels


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 64), (2, 1, 1), (1, 200, 1)])
def test_tiny_grids(sphere, shape):
    assert assert_same(sphere_at(sphere, 0.7), Grid.over_omega(shape), CLOSED_FORM).any()


def test_a_cell_that_the_ball_cuts(sphere):
    """A sphere wider than the ball ends where the ball does, and the corners of Ω are empty."""
    for n in (32, 101):
        grid = Grid.over_omega((n, n, n))
        mask = assert_same(sphere_at(sphere, 1.2), grid, CLOSED_FORM)
        radius = np.linalg.norm(grid.voxel_to_coords(np.argwhere(np.ones(grid.shape))), axis=1)
        np.testing.assert_array_equal(mask.ravel(), radius <= 1)


def test_a_field_of_the_cube_is_not_cut(sphere, monkeypatch):
    field = sphere_at(sphere, 1.2)
    cube = field.spec.model_copy(update={"domain": "cube"})
    monkeypatch.setattr(field, "spec", cube)
    mask = assert_same(field, Grid.over_omega((64, 64, 64)), CLOSED_FORM)
    assert mask.sum() > 1.05 * 4 / 3 * math.pi * 32**3


def test_a_grid_beside_the_cell_and_one_inside_it(sphere):
    beside = Grid((20, 20, 20), (0.01, 0.01, 0.01), (0.5, 0.5, 0.5))
    assert not assert_same(sphere_at(sphere, 0.4), beside, CLOSED_FORM).any()
    within = Grid((20, 20, 20), (0.01, 0.01, 0.01), (-0.1, -0.1, -0.1))
    assert assert_same(sphere_at(sphere, 0.4), within, CLOSED_FORM).all()
    outside_omega = Grid((20, 20, 20), (0.1, 0.1, 0.1), (2.0, 2.0, 2.0))
    assert not assert_same(sphere_at(sphere, 0.4), outside_omega, CLOSED_FORM).any()


@pytest.mark.parametrize("seed", range(4))
def test_a_larger_bound_is_slower_and_never_different(seed):
    field, bound = random_field(seed)
    grid = Grid.over_omega((70, 45, 91))
    results = [
        occupancy(field, grid, bound=bound.model_copy(update={"margin": margin}))
        for margin in (1.2, 1.5, 2.0, 5.0, 50.0)
    ]
    for result in results[1:]:
        np.testing.assert_array_equal(result.to_dense(), results[0].to_dense())
    assert results[-1].evaluations >= results[0].evaluations


def test_a_bound_that_is_too_small_is_seen():
    """The comparison above can fail: half the slope loses voxels."""
    wrong = 0
    for seed in range(8):
        field, _ = random_field(seed)
        grid = Grid.over_omega((64, 64, 64))
        found = occupancy(field, grid, bound=Bound(slopes=(0.05,) * 4, margin=1))
        wrong += int((found.to_dense() != occupancy_dense(field, grid)).sum())
    assert wrong


@pytest.mark.parametrize("batch", [1, 1000, 1 << 15])
def test_the_batch_does_not_matter(dividing, monkeypatch, batch):
    field = dividing.at(np.zeros(2, np.float32), 0.1, np.eye(3))
    grid = Grid.over_omega((90, 100, 110))
    expected = occupancy(field, grid, bound=CLOSED_FORM)
    monkeypatch.setattr(occupancy_module, "BATCH", batch)
    found = occupancy(field, grid, bound=CLOSED_FORM)
    np.testing.assert_array_equal(found.inside, expected.inside)
    assert (found.offset, found.evaluations) == (expected.offset, expected.evaluations)


@pytest.mark.parametrize(("size", "share"), [(64, 0.12), (128, 0.04), (256, 0.01)])
def test_few_points_are_asked(sphere, size, share):
    grid = Grid.over_omega((size, size, size))
    found = occupancy(sphere_at(sphere, 0.5), grid, bound=CLOSED_FORM)
    assert 0 < found.evaluations < share * grid.size


def test_rows_of_dense(dividing):
    field = dividing.at(np.zeros(2, np.float32), 0.4, np.eye(3))
    grid = Grid.over_omega((20, 30, 40))
    whole = occupancy_dense(field, grid)
    np.testing.assert_array_equal(occupancy_dense(field, grid, rows=slice(7, 12)), whole[7:12])


def test_the_box_holds_the_cell_and_little_more(sphere):
    found = occupancy(sphere_at(sphere, 0.3), Grid.over_omega((128, 128, 128)), bound=CLOSED_FORM)
    for axis in range(3):
        at = np.flatnonzero(found.inside.any(axis=tuple(a for a in range(3) if a != axis)))
        assert at[0] <= 8
        assert found.inside.shape[axis] - 1 - at[-1] <= 8


@pytest.mark.parametrize(
    ("radius", "expected"),
    [
        (0.0, 0.0),
        (0.02, 0.02 * 1.25 * 1),  # within the first quarter of 0.2, which takes 0.04
        (0.04, 0.05),
        (0.065, 0.05 + 0.025 * 1.25 * 1.6),  # the second takes another 0.025
        (0.085, 0.1 + 0.02 * 1.25 * 2),
        (0.089, 0.15 + 0.004 * 1.25 * 4),
        (0.095, 0.2),
        (0.0951, math.inf),  # beyond the truncation
    ],
)
def test_threshold_in_closed_form(radius, expected):
    bound = Bound(slopes=(1.0, 1.6, 2.0, 4.0), margin=1.25)
    assert bound.threshold(radius, 0.2) == pytest.approx(expected)


@given(
    st.lists(st.floats(0.1, 5), min_size=4, max_size=4).map(sorted),
    st.floats(1, 3),
    st.floats(0.01, 2),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_wider_block_needs_a_larger_value(slopes, margin, truncation, radii):
    bound = Bound(slopes=tuple(slopes), margin=margin)
    near, far = (bound.threshold(radius, truncation) for radius in sorted(radii))
    assert near <= far
    assert math.isinf(far) or far <= truncation
