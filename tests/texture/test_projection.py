"""Rays belong to the cell with most voxels on them, and no cell goes under."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellsynth.errors import ShapeError
from cellsynth.texture.projection import project_image, project_labels, project_values


def column(*labels: int) -> np.ndarray:
    return np.array(labels, np.uint16)[:, None, None]


@pytest.mark.parametrize(
    ("ray", "owner"),
    [((0, 0, 0), 0), ((0, 7, 0), 7), ((3, 5, 5), 5), ((5, 3, 3), 3), ((9, 4, 0), 4)],
)
def test_a_ray_belongs_to_the_cell_with_most_voxels_on_it_ties_to_the_lower(ray, owner):
    # Beside it every cell has rays of its own, so that none goes under.
    others = np.arange(1, 10, dtype=np.uint16)[None, None].repeat(3, axis=0)
    flat = project_labels(np.concatenate([column(*ray), others], axis=2))
    assert flat[0, 0] == owner
    assert flat.dtype == np.uint16
    np.testing.assert_array_equal(flat[0, 1:], np.arange(1, 10))


def buried() -> np.ndarray:
    """A thick cell 1 on 10 × 10 rays over a thin cell 2 on 5 × 8; twice 1 is half as thick."""
    labels = np.zeros((9, 10, 10), np.uint16)
    labels[:6] = 1
    labels[6, 2:7, 1:9] = 2
    labels[3:6, 2, 1:3] = 0
    return labels


def test_a_buried_cell_keeps_the_tenth_of_its_rays_where_its_share_is_largest():
    flat = project_labels(buried())
    assert np.count_nonzero(flat == 2) == 4  # of 40
    # The two rays with the largest share, then the first of equal ones.
    assert flat[2, 1] == flat[2, 2] == flat[2, 3] == flat[2, 4] == 2
    assert np.count_nonzero(flat == 1) == 96


def test_who_lends_rays_keeps_a_tenth_too():
    # Thirty cells one over the other on the same three rays: there is room for three.
    stack = np.arange(1, 31, dtype=np.uint16)[:, None, None].repeat(3, axis=2)
    assert len(np.unique(project_labels(stack))) == 3


def reference(labels: np.ndarray) -> np.ndarray:
    flat = np.zeros(labels.shape[1:], labels.dtype)
    for place in np.ndindex(flat.shape):
        counts = Counter(int(v) for v in labels[:, *place] if v)
        if counts:
            flat[place] = min(counts, key=lambda label: (-counts[label], label))
    return flat


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.tuples(*3 * [st.integers(1, 6)]))
def test_against_a_slow_reference(seed, n, shape):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n + 1, shape).astype(np.uint16)
    flat, expected = project_labels(labels), reference(labels)
    np.testing.assert_array_equal(flat > 0, labels.any(axis=0))
    short = {
        label
        for label in range(1, n + 1)
        if np.count_nonzero(expected == label) < 0.1 * np.count_nonzero((labels == label).any(0))
    }
    if not short:
        np.testing.assert_array_equal(flat, expected)
    # A ray that changed hands went to a cell that has voxels there and had too few.
    for place in np.argwhere(flat != expected):
        assert flat[tuple(place)] in short
        assert flat[tuple(place)] in labels[:, *place]


def test_the_image_is_its_brightest_voxel():
    image = np.random.default_rng(0).integers(0, 4000, (5, 6, 7)).astype(np.uint16)
    np.testing.assert_array_equal(project_image(image), image.max(axis=0))
    assert project_image(image).dtype == np.uint16


def test_values_are_those_of_the_ray_s_own_cell():
    labels = np.stack([column(1, 1, 2), column(0, 0, 3)], axis=2)[..., 0]
    values = np.arange(6, dtype=np.float32).reshape(labels.shape) - 10
    found = project_values(values, labels, project_labels(labels))
    np.testing.assert_array_equal(found, [[values[1, 0, 0], values[2, 0, 1]]])
    assert not project_values(values, np.zeros_like(labels), np.zeros((1, 2))).any()


@pytest.mark.parametrize("shape", [(4, 5), (0, 4, 5), (1, 2, 3, 4)])
def test_what_is_no_volume_is_refused(shape):
    for project in (project_image, project_labels):
        with pytest.raises(ShapeError, match=r"\(z, y, x\), got shape"):
            project(np.zeros(shape, np.uint16))
    with pytest.raises(ShapeError, match="do not fit"):
        project_values(np.zeros((2, 3, 4)), np.zeros((2, 3, 5)), np.zeros((3, 5)))
