"""Rendered phantoms: one body, then two, at any voxel size."""

from dataclasses import replace

import cc3d
import numpy as np
import pytest

from cellsynth.errors import InputError, TopologyError
from cellsynth.geometry import Grid
from cellsynth.shapes.phantoms import Family, family_grid, phantom_families, render_family
from cellsynth.shapes.phantoms.lobes import lobe_field, smooth_union
from cellsynth.shapes.phantoms.render import render_crop

FINE = (0.1, 0.1, 0.1)
FLAT = (1.0, 0.09, 0.09)


@pytest.fixture(scope="module")
def families() -> list[Family]:
    return phantom_families("celegans", 3, frames=12, seed=4)


def _check_topology(family: Family, frame: int, labels: np.ndarray) -> None:
    expected = {1} if frame < family.division_frame else {2, 3}
    assert set(np.unique(labels)) - {0} == expected
    assert cc3d.connected_components(labels > 0, connectivity=26).max() == len(expected)
    for label in expected:
        assert cc3d.connected_components(labels == label, connectivity=26).max() == 1


@pytest.mark.parametrize("voxel_size_um", [FINE, FLAT, (0.3, 0.2, 0.4)])
def test_one_body_before_the_division_and_two_from_it_on(
    families: list[Family], voxel_size_um: tuple[float, float, float]
) -> None:
    for family in families:
        shape = family_grid(family, voxel_size_um).shape
        touched = np.zeros(3, bool)
        for frame in range(family.n_frames):
            labels = render_family(family, frame, voxel_size_um)
            assert labels.dtype == np.uint16
            assert labels.shape == shape
            _check_topology(family, frame, labels)
            for axis in range(3):
                sides = labels.take([0, -1], axis=axis)
                assert not sides.any()
                # The image is no larger than needed: some body comes within two voxels.
                touched[axis] |= bool(labels.take([1, 2, -3, -2], axis=axis).any())
        assert touched.all()


def test_the_whole_grid_is_evaluated_as_by_the_plain_formula(families: list[Family]) -> None:
    family = families[0]
    grid = family_grid(family, FINE)
    axes = np.ix_(*(o + np.arange(n) * 0.1 for o, n in zip(grid.origin, grid.shape, strict=True)))
    for frame in (0, family.division_frame - 1, family.division_frame, family.n_frames - 1):
        a, b = (lobe_field(family, frame, lobe, axes) for lobe in (0, 1))
        labels = render_family(family, frame, FINE)
        if frame < family.division_frame:
            expected = np.where(smooth_union(a, b, family.blends_um[frame]) < 0, 1, 0)
        else:
            expected = np.where(a < 0, 2, 0) + np.where(b < 0, 3, 0)
        assert np.count_nonzero(labels != expected) <= 2  # float32 against float64


def test_the_body_is_the_same_at_every_voxel_size(families: list[Family]) -> None:
    family = families[1]
    # A grid of three times the spacing whose centres are centres of the finer grid.
    fine = Grid((150, 156, 159), (0.05, 0.05, 0.05), (-3.7, -3.85, -3.9))
    coarse = Grid((50, 52, 53), (0.15, 0.15, 0.15), (-3.65, -3.8, -3.85))
    assert family.gap_um(family.n_frames - 1) > 0.3  # no coarse voxel needs mending
    for frame in (2, family.division_frame - 1, family.n_frames - 1):
        a = render_family(family, frame, fine)[1::3, 1::3, 1::3]
        np.testing.assert_array_equal(a, render_family(family, frame, coarse))


def test_a_grid_of_omega_is_a_voxel_size_in_micrometres(families: list[Family]) -> None:
    family, half_extent_um = families[0], 5.0
    grid = Grid.from_voxel_size(FINE, half_extent_um)
    labels = render_family(family, 9, grid, half_extent_um=half_extent_um)
    assert labels.shape == (100, 100, 100)
    crop, offset = render_crop(family, 9, grid, half_extent_um=half_extent_um)
    where = tuple(slice(o, o + n) for o, n in zip(offset, crop.shape, strict=True))
    np.testing.assert_array_equal(labels[where], crop)
    assert np.count_nonzero(labels) == np.count_nonzero(crop)
    small = family_grid(family, FINE)
    margin = [(100 - n) // 2 for n in small.shape]
    inner = labels[tuple(slice(m, m + n) for m, n in zip(margin, small.shape, strict=True))]
    np.testing.assert_array_equal(inner, render_family(family, 9, FINE))


def test_a_broken_neck_is_held_together_by_the_axis(families: list[Family]) -> None:
    family = families[0]
    frame = family.division_frame - 1
    # Slices of 1 µm, and lobes pulled apart along y until their neck passes between two slices.
    centres = family.centres_um.copy()
    centres[frame] = [[0, -1.4, 0], [0, 1.4, 0]]
    thin = replace(family, centres_um=centres, blends_um=family.blends_um * 0)
    grid = family_grid(thin, FLAT)
    a, b = (
        lobe_field(thin, frame, lobe, np.ix_(np.array([0.0]), np.array([0.0]), np.array([0.0])))
        for lobe in (0, 1)
    )
    assert min(a.item(), b.item()) > 0  # by the formula alone they would be two
    labels = render_family(thin, frame, grid)
    _check_topology(thin, frame, labels)


def test_daughters_nearer_than_a_voxel_are_held_apart(families: list[Family]) -> None:
    family = families[0]
    frame = family.division_frame
    axis = family.centres_um[frame, 1] - family.centres_um[frame, 0]
    near = family.centres_um.copy()
    near[frame] -= np.outer([-0.5, 0.5], axis / np.linalg.norm(axis)) * (
        family.gap_um(frame) - 0.02
    )
    touching = replace(family, centres_um=near)
    assert touching.gap_um(frame) < 0.1
    labels = render_family(touching, frame, FINE)
    _check_topology(touching, frame, labels)
    alone = render_family(family, frame, FINE)
    assert np.count_nonzero(labels) > 0.85 * np.count_nonzero(alone)


def test_voxels_too_coarse_for_two_daughters_are_refused(families: list[Family]) -> None:
    family = families[0]
    with pytest.raises(TopologyError, match=r"frame 11: voxels of \(9, 9, 9\) µm show"):
        render_family(family, 11, (9.0, 9.0, 9.0))


def test_bad_frames_and_voxel_sizes_are_refused(families: list[Family]) -> None:
    with pytest.raises(InputError, match="frame must be 0 to 11, got 12"):
        render_family(families[0], 12, FINE)
    with pytest.raises(InputError, match=r"voxel size must be above 0.*-1"):
        render_family(families[0], 0, (1.0, -1.0, 1.0))
