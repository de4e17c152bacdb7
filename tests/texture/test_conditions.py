"""Conditions in closed form: squares, half planes, and grids over one field."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellsynth.errors import InputError, ShapeError
from cellsynth.shapes.cell_mask import label_boxes
from cellsynth.shapes.distance import label_distance, signed_distance
from cellsynth.texture.conditions import (
    CONDITIONS,
    conditions_2d,
    conditions_3d,
    resample_image,
    resample_labels,
    stack_slices,
    standardise,
    trained_grid,
)

MASK, BOUNDARY, DISTANCE, GRAIN = range(4)


def halves() -> np.ndarray:
    """Cells 1 and 2 side by side from column 4 on, meeting between columns 7 and 8."""
    labels = np.zeros((6, 12), np.uint16)
    labels[:, 4:8] = 1
    labels[:, 8:] = 2
    return labels


def test_channels_of_two_cells_that_touch():
    labels = halves()
    grain = np.random.default_rng(0).standard_normal(labels.shape).astype(np.float32)
    found = conditions_2d(labels, grain, (0.5, 0.5), reach_um=1.0)
    assert found.shape == (len(CONDITIONS), 6, 12)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[MASK], labels > 0)
    np.testing.assert_array_equal(np.flatnonzero(found[BOUNDARY][0]), [3, 4, 7, 8])
    # Faces lie at columns 4 and 8; a pixel beside one is a quarter of a micrometre off.
    np.testing.assert_allclose(
        found[DISTANCE][2], [1, 1, 0.75, 0.25, -0.25, -0.75, -0.75, -0.25, -0.25, -0.75, -1, -1]
    )
    np.testing.assert_array_equal(found[GRAIN], grain)


def test_no_cell_and_nothing_but_one_cell():
    for fill, distance in ((0, 1), (3, -1)):
        labels = np.full((5, 4), fill, np.uint16)
        found = conditions_2d(labels, np.zeros((5, 4), np.float32), (1, 1), reach_um=2.0)
        assert (found[MASK] == (fill > 0)).all()
        assert not found[BOUNDARY].any()
        assert (found[DISTANCE] == distance).all()


def test_distances_of_slices_are_those_in_space():
    labels = np.zeros((7, 5, 5), np.uint16)
    labels[3:] = 4
    found = conditions_3d(labels, np.zeros(labels.shape, np.float32), (2.0, 0.1, 0.1), 10.0)
    assert found.shape == (7, 4, 5, 5)
    expected = np.clip((np.arange(7) - 2.5) * -2.0 / 10, -1, 1)
    np.testing.assert_allclose(
        found[:, DISTANCE], np.broadcast_to(expected[:, None, None], (7, 5, 5)), rtol=1e-6
    )
    # In its plane a slice has no boundary here.
    assert not found[:, BOUNDARY].any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9999), st.floats(0.2, 3), st.floats(0.2, 3), st.floats(0.3, 4))
def test_distance_of_labels_against_each_cell_alone(seed, y_um, x_um, limit):
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 4, (3, 4)), np.ones((3, 3))).astype(np.uint16)
    found = label_distance(labels, (y_um, x_um), limit_um=limit)
    expected = np.full(labels.shape, limit)
    for label in np.unique(labels[labels > 0]):
        mine = labels == label
        if mine.all():
            expected[:] = -limit
            continue
        alone = signed_distance(mine[None], (1, y_um, x_um), limit_um=limit)[0]
        expected = np.where(
            mine, alone, np.where(labels > 0, expected, np.minimum(expected, alone))
        )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_array_equal(found < 0, labels > 0)


def test_neighbours_become_channels_and_ends_are_repeated():
    conditions = np.arange(3 * 2, dtype=np.float32).reshape(3, 2, 1, 1)
    stacked = stack_slices(conditions, 3)[..., 0, 0]
    np.testing.assert_array_equal(
        stacked, [[0, 1, 0, 1, 2, 3], [0, 1, 2, 3, 4, 5], [2, 3, 4, 5, 4, 5]]
    )
    np.testing.assert_array_equal(stack_slices(conditions, 1), conditions)


def test_grids_of_the_trained_size_fill_the_same_field():
    shape, size = trained_grid((384, 384), (0.0276, 0.0276), (0.09, 0.09))
    assert shape == (118, 118)
    np.testing.assert_allclose(np.multiply(shape, size), 384 * 0.0276)
    # Nearly the same size is the same size, and a flat axis stays flat.
    assert trained_grid((100, 100), (0.0925, 0.0860), (0.09, 0.09))[0] == (100, 100)
    assert trained_grid((1, 10), (5.0, 1.0), (0.5, 0.5))[0] == (1, 20)
    assert trained_grid((3, 3), (0.1, 0.1), (5.0, 5.0))[0] == (1, 1)


def test_labels_come_from_the_nearest_centre():
    labels = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]])
    np.testing.assert_array_equal(resample_labels(labels, (2, 2)), [[1, 2], [3, 4]])
    np.testing.assert_array_equal(resample_labels(labels, (8, 8)), np.kron(labels, np.ones((2, 2))))
    assert resample_labels(labels, (4, 4)) is labels


def test_images_keep_slopes_and_means():
    ramp = (np.arange(10) + 0.5)[:, None] * np.ones((10, 4))
    finer = resample_image(ramp, (30, 4))
    np.testing.assert_allclose(finer[2:-2, 0], (np.arange(30)[2:-2] + 0.5) / 3, rtol=1e-6)
    coarser = resample_image(ramp, (5, 4))
    np.testing.assert_allclose(coarser[:, 1], (np.arange(5) + 0.5) * 2, rtol=1e-6)
    noise = np.random.default_rng(1).standard_normal((9, 14, 11))
    smaller = resample_image(noise, (4, 5, 11))
    assert smaller.shape == (4, 5, 11)
    assert smaller.mean() == pytest.approx(noise.mean(), abs=1e-6)
    for shape in ((4, 5, 11), (9, 5, 11), (30, 20, 11)):
        whole = resample_image(noise, shape)
        parts = [
            resample_image(noise, shape, part=range(*ends)) for ends in ((0, 2), (2, shape[0]))
        ]
        np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


def test_few_planes_of_an_image_take_little_memory():
    image = np.random.default_rng(0).standard_normal((256, 40, 40)).astype(np.float32)
    for depth in (128, 512):
        whole = resample_image(image, (depth, 40, 40))
        tracemalloc.start()
        try:
            part = resample_image(image, (depth, 40, 40), part=range(40, 48))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        np.testing.assert_allclose(part, whole[40:48], atol=1e-6)
        assert peak < image.nbytes / 2


def test_boxes_of_labels_and_of_a_plain_mask():
    assert list(label_boxes(halves())) == [
        (1, (slice(0, 6), slice(4, 8))),
        (2, (slice(0, 6), slice(8, 12))),
    ]
    assert list(label_boxes(halves() == 2)) == [(1, (slice(0, 6), slice(8, 12)))]
    assert list(label_boxes(np.zeros((2, 3), np.uint32))) == []


def test_grain_is_brought_to_one_mean_and_variance_in_each_cell():
    labels = halves()
    labels[0, 0] = 9  # one pixel: nothing to bring anywhere
    grain = np.random.default_rng(2).normal(3, 5, labels.shape).astype(np.float32)
    found = standardise(grain, labels)
    for label in (1, 2):
        assert found[labels == label].mean() == pytest.approx(0, abs=1e-5)
        assert found[labels == label].std() == pytest.approx(1, abs=1e-5)
    assert not found[(labels == 0) | (labels == 9)].any()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda z: conditions_2d(z((2, 3, 4)), z((2, 3, 4)), (1, 1), 1), ShapeError, "flat frame"),
        (lambda z: conditions_3d(z((2, 3, 4)), z((2, 3, 5)), (1, 1, 1), 1), ShapeError, "of one"),
        (lambda z: conditions_2d(z((3, 4)), z((3, 4)), (1, 1), 0.0), InputError, "limit.*got 0.0"),
        (lambda z: conditions_2d(z((3, 4)), z((3, 4)), (1, 0), 1.0), InputError, "above 0 on"),
        (lambda z: label_distance(z((3, 4)), (1, 1, 1), limit_um=1), ShapeError, "do not fit"),
        (lambda z: label_distance(z((3,)), (1,), limit_um=1), ShapeError, "do not fit"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(lambda shape: np.zeros(shape, np.uint16))
