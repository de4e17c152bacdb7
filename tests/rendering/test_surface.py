"""Surfaces as closed meshes: spheres in closed form, and fields that nobody would call cells."""

from __future__ import annotations

import math

import numpy as np
import pytest
from closed import check_closed, euler, volume
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from cellsynth.formats.mesh_files import Mesh
from cellsynth.geometry import Grid
from cellsynth.rendering import surface
from cellsynth.rendering.occupancy import occupancy_dense
from cellsynth.rendering.surface import (
    Lattice,
    lattice_of_field,
    mesh_of_mask,
    meshes_by_label,
)

RADIUS = 0.4
GRID = Grid.over_omega((48, 48, 48))


def field_of(model, code=0.0, time=0.0):
    return model.at(np.array([code, 0], np.float32), time, np.eye(3))


def one_label(lattice, grid=GRID):
    """The mesh where a single mask voxel is all of Ω."""
    whole = Grid.over_omega((1, 1, 1))
    [(label, mesh)] = meshes_by_label(lattice, grid, np.full((1, 1, 1), 7, np.uint16), whole)
    assert label == 7
    return mesh


@pytest.mark.parametrize("n", [24, 48, 96])
def test_a_sphere_of_the_field_is_a_sphere(sphere, n):
    grid = Grid.over_omega((n, n, n))
    lattice = lattice_of_field(field_of(sphere), grid, bound=sphere.preset.bound)
    mesh = one_label(lattice, grid)
    check_closed(mesh)
    assert euler(mesh) == 2
    assert volume(mesh) == pytest.approx(4 / 3 * math.pi * RADIUS**3, rel=0.01 + (8 / n) ** 2)
    if n >= 48:
        assert volume(mesh) == pytest.approx(4 / 3 * math.pi * RADIUS**3, rel=0.01)
    assert np.linalg.norm(mesh.verts, axis=1) == pytest.approx(RADIUS, abs=0.01)


def test_vertices_lie_where_the_field_is_zero(sphere):
    field = field_of(sphere)
    mesh = one_label(lattice_of_field(field, GRID, bound=sphere.preset.bound))
    # Linear between points of the lattice, where this field has an edge now and then.
    assert np.abs(field.sdf(mesh.verts)).max() < GRID.spacing[0] / 10


def test_the_lattice_is_the_dense_field_where_it_counts(dividing):
    field = field_of(dividing, time=1.0)
    lattice = lattice_of_field(field, GRID, bound=dividing.preset.bound)
    inside = np.zeros(GRID.shape, bool)
    box = tuple(slice(o, o + n) for o, n in zip(lattice.offset, lattice.sdf.shape, strict=True))
    inside[box] = lattice.sdf < 0
    np.testing.assert_array_equal(inside, occupancy_dense(field, GRID))
    assert lattice.evaluations < GRID.size / 5
    border = np.ones_like(lattice.sdf, bool)
    border[1:-1, 1:-1, 1:-1] = False
    assert (lattice.sdf[border] > 0).all()


def test_work_grows_with_the_surface_not_the_volume(sphere):
    asked = []
    for n in (32, 64, 128):
        grid = Grid.over_omega((n, n, n))
        asked.append(
            lattice_of_field(field_of(sphere), grid, bound=sphere.preset.bound).evaluations
        )
    assert asked[2] / asked[1] < 5  # a volume would make it 8


def test_nothing_inside_is_no_lattice(sphere):
    assert lattice_of_field(field_of(sphere, code=-2.0), GRID, bound=sphere.preset.bound) is None


def test_a_cell_that_leaves_the_grid_is_closed_at_its_border(sphere):
    quarter = Grid((24, 24, 24), (2 / 48,) * 3, (-1.0, -1.0, -1.0))  # up to 0 on every axis
    lattice = lattice_of_field(field_of(sphere), quarter, bound=sphere.preset.bound)
    mesh = one_label(lattice, quarter)
    check_closed(mesh)
    assert euler(mesh) == 2
    assert volume(mesh) == pytest.approx(math.pi * RADIUS**3 / 6, rel=0.15)


def test_anisotropic_lattices_and_axes(sphere):
    """Points are x, y, z: a lattice that is fine along z alone is no other sphere."""
    grid = Grid.over_omega((96, 32, 48))
    mesh = one_label(lattice_of_field(field_of(sphere), grid, bound=sphere.preset.bound), grid)
    check_closed(mesh)
    assert volume(mesh) == pytest.approx(4 / 3 * math.pi * RADIUS**3, rel=0.02)


def split_mask(n=40):
    """A mask whose halves along x are labels 2 and 3."""
    labels = np.full((n, n, n), 2, np.uint16)
    labels[:, :, n // 2 :] = 3
    return labels, Grid.over_omega((n, n, n))


def test_daughters_are_two_meshes_with_the_labels_of_the_mask(dividing):
    field = field_of(dividing, time=1.0)  # two spheres at x = -0.5 and 0.5
    lattice = lattice_of_field(field, GRID, bound=dividing.preset.bound)
    found = dict(meshes_by_label(lattice, GRID, *split_mask()))
    assert sorted(found) == [2, 3]
    for label, x in ((2, -0.5), (3, 0.5)):
        check_closed(found[label])
        assert euler(found[label]) == 2
        # Vertices count from the centre of the mask's first voxel, half a voxel within Ω.
        centre = found[label].verts.mean(axis=0) - (1 - 1 / 40)
        assert centre == pytest.approx((x, 0, 0), abs=0.02)


def test_where_the_mask_has_two_cells_and_the_field_one_the_mask_decides(sphere):
    lattice = lattice_of_field(field_of(sphere), GRID, bound=sphere.preset.bound)
    found = dict(meshes_by_label(lattice, GRID, *split_mask()))
    assert sorted(found) == [2, 3]
    for mesh in found.values():
        check_closed(mesh)
        assert volume(mesh) == pytest.approx(2 / 3 * math.pi * RADIUS**3, rel=0.02)


def test_where_the_mask_has_one_cell_and_the_field_two_pieces_it_is_one_mesh(dividing):
    lattice = lattice_of_field(field_of(dividing, time=1.0), GRID, bound=dividing.preset.bound)
    mesh = one_label(lattice)
    check_closed(mesh)
    assert euler(mesh) == 4


def test_a_piece_in_which_the_mask_has_no_cell_is_dropped(dividing):
    lattice = lattice_of_field(field_of(dividing, time=1.0), GRID, bound=dividing.preset.bound)
    labels, grid = split_mask()
    labels[labels == 3] = 0
    [(label, mesh)] = meshes_by_label(lattice, GRID, labels, grid)
    assert label == 2
    assert mesh.verts[:, 0].max() < 1 - 1 / 40


def test_points_beside_the_mask_belong_to_the_nearest_label(dividing):
    lattice = lattice_of_field(field_of(dividing, time=1.0), GRID, bound=dividing.preset.bound)
    whole = dict(meshes_by_label(lattice, GRID, *split_mask()))
    labels, grid = split_mask()
    z, y, x = np.indices(labels.shape)
    labels[(z + y + x) % 3 > 0] = 0  # a mask with holes
    for label, mesh in meshes_by_label(lattice, GRID, labels, grid):
        np.testing.assert_array_equal(mesh.verts, whole[label].verts)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    smooth=st.sampled_from([0.0, 0.5, 0.8]),
    shape=st.tuples(*[st.integers(1, 9)] * 3),
)
def test_any_field_at_all_is_closed(seed, smooth, shape):
    """Saddles, single points, holes, touching corners: where marching cubes are ambiguous."""
    noise = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    noise = gaussian_filter(noise, smooth) if smooth else noise
    inside = np.pad(noise < 0, 1)
    if not inside.any():
        return
    lattice = Lattice(surface._signed(np.pad(noise, 1), inside, 1e-3), (-1, -1, -1), 0)
    grid = Grid(shape, (0.1, 0.2, 0.3), (0.0, 0.0, 0.0))
    mesh = one_label(lattice, grid)
    check_closed(mesh)
    assert volume(mesh) > 0


def ball(n, radius, step=(1, 1, 1)):
    z, y, x = ((np.arange(n) - (n - 1) / 2)[::s] for s in step)
    return z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 < radius**2


@pytest.mark.parametrize(("radius", "within"), [(8, 0.03), (14, 0.01), (20, 0.01)])
def test_a_mask_keeps_its_volume_and_loses_its_steps(radius, within):
    mask = ball(2 * radius + 5, radius)
    mesh = mesh_of_mask(mask, (0.5, 0.5, 0.5))
    check_closed(mesh)
    assert euler(mesh) == 2
    assert volume(mesh) == pytest.approx(mask.sum() * 0.125, rel=within)
    a, b, c = (mesh.verts[mesh.faces[:, i]] - (radius + 2) * 0.5 for i in range(3))
    normals, outwards = np.cross(b - a, c - a).astype(np.float64), (a + b + c).astype(np.float64)
    areas = np.linalg.norm(normals, axis=1)
    cosines = (normals * outwards).sum(axis=1) / (areas * np.linalg.norm(outwards, axis=1))
    angles = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    # Marching cubes on the mask itself are off by 21 to 23 degrees.
    assert np.sqrt(np.average(angles**2, weights=areas)) < 5


def test_a_mask_of_flat_voxels_lies_where_it_should():
    mask = ball(41, 15, step=(5, 1, 1))
    mesh = mesh_of_mask(mask, (5.0, 1.0, 1.0), offset=(2, 3, 4))
    check_closed(mesh)
    assert mesh.verts.mean(axis=0) == pytest.approx((24, 23, 30), abs=0.05)
    assert volume(mesh) == pytest.approx(mask.sum() * 5, rel=0.05)


@pytest.mark.parametrize(
    "mask",
    [np.ones((1, 1, 1)), np.ones((1, 5, 5)), np.ones((1, 1, 9)), np.eye(4)[None]],
    ids=["a voxel", "a plate", "a rod", "corners that touch"],
)
def test_the_smallest_masks_are_closed(mask):
    mesh = mesh_of_mask(mask, (1.0, 0.5, 0.25))
    check_closed(mesh)
    assert volume(mesh) > 0


def test_pytorch3d_takes_it(sphere):
    torch = pytest.importorskip("torch")
    structures = pytest.importorskip("pytorch3d.structures")
    mesh = one_label(lattice_of_field(field_of(sphere), GRID, bound=sphere.preset.bound))
    meshes = structures.Meshes([torch.from_numpy(mesh.verts)], [torch.from_numpy(mesh.faces)])
    assert not meshes.isempty()
    assert len(meshes.edges_packed()) == len(mesh.faces) * 3 // 2
    a, b, c = (meshes.verts_packed()[meshes.faces_packed()[:, i]] for i in range(3))
    normals = torch.cross(b - a, c - a, dim=1)
    # Outwards: along the vertex, as seen from the centre of the sphere.
    assert ((normals * a).sum(dim=1) > 0).all()
    assert isinstance(mesh, Mesh)
